/* What a kernel level offers: function pointers and block sizes, one constant table per level.

   Every file in kernels/ is compiled once per level and exports one table whose name ends with the level:
   nacre_gemm_kernels_avx512 and so on, written NACRE_AT_LEVEL(nacre_gemm_kernels) there. That suffix is
   the only pasted name of the library.

   Kernels know plain arrays of f32 (where not said otherwise): no shapes, no threads, no scratch. */
#ifndef NACRE_BACKEND_CPU_KERNELS_H
#define NACRE_BACKEND_CPU_KERNELS_H

#include "base/cpu.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"

#define NACRE_PASTE_(name, level) name##_##level
#define NACRE_PASTE_EXPANDED_(name, level) NACRE_PASTE_(name, level)
#define NACRE_AT_LEVEL(name) NACRE_PASTE_EXPANDED_(name, NACRE_LEVEL)

/* ---- products ---- */

/* A product sums k in chunks of this length: one fma chain per chunk from zero, chunks added in order.
   Part of the bit contract. 256, 384 and 512 measured within 0.5 % of each other (Zen 5). */
#define NACRE_GEMM_CHUNK 512
#define NACRE_GEMM_MAX_ROWS 14
/* Rows of A so few that they share what it takes to read B, at most. */
#define NACRE_THIN_ROWS 4
#define NACRE_GEMM_MAX_COLUMNS 32

/* What becomes of a tile's sums: y > 0 ? sum : 0 with y as mask; or + bias and + add where they are there, then
   max(., 0) if relu. mask and add: as far apart from row to row as the output, which may be either of them. */
typedef struct nacre_gemm_finish {
    const float *bias, *mask, *add;
    bool relu;
} nacre_gemm_finish;

/* c[r * c_row + j] = sum over k of A[r, k] b[k * b_row + j], r < rows, j < columns of the panel. finished as `finish`
   says (NULL: not at all). strided: A[r, k] = a[r * a_step + k]; adjacent: A[r, k] = a[r + k * a_step]. */
typedef void nacre_gemm_tile(int rows, int64_t depth, const float *a, int64_t a_step,
                             const float *b, int64_t b_row, float *c, int64_t c_row,
                             const nacre_gemm_finish *finish);

typedef struct nacre_gemm_kernels {
    int rows;    /* of the largest tile */
    int columns; /* of a panel of B */
    int narrow;  /* of the last panel where no more are left */
    nacre_gemm_tile *strided, *adjacent, *strided_narrow, *adjacent_narrow;
    /* Few rows of A, rows <= NACRE_THIN_ROWS, by `columns` of B in packed panels one behind the other, the last of them
       narrow where `columns` ends so: for rows that tiles of one panel would leave waiting for each fma. */
    void (*thin)(int rows, int64_t columns, int64_t depth, const float *a, int64_t a_row,
                 const float *panels, float *c, int64_t c_row);
    /* The same for sums that lie elsewhere first: c, rows of whole vectors c_row apart, to `width` columns of out. */
    void (*finish)(int rows, int width, const float *c, int64_t c_row,
                   const nacre_gemm_finish *finish, float *out, int64_t out_row);
    /* 16 lanes and the fixed tree of the sums, with fma. */
    float (*dot)(int64_t depth, const float *a, int64_t a_k, const float *b, int64_t b_k);
} nacre_gemm_kernels;

typedef struct nacre_pack_kernels {
    /* A panel out[depth][columns] of X[k, j] = x[k * x_k + j * x_j], j < width. The columns from `width` on are written
       too, with zeros or the last column again: a sum over them may be computed, but must not be used. */
    void (*panel)(int64_t depth, int width, int columns, const float *x, int64_t x_k, int64_t x_j,
                  float *out);
    /* Few rows of A against X[k, j] = x[k + j * x_j], which is transposed in registers and not stored:
       c[r * c_row + j], r < rows <= NACRE_THIN_ROWS, any number of columns. Same bits as the tiles. */
    void (*thin)(int rows, int64_t columns, int64_t depth, const float *a, int64_t a_row,
                 const float *x, int64_t x_j, float *c, int64_t c_row);
} nacre_pack_kernels;

/* f64, any strides: c[r, j] for r < count <= rows, j < width <= columns. */
typedef struct nacre_gemm_f64_kernels {
    int rows, columns;
    void (*tile)(int count, int width, int64_t depth, const double *a, int64_t a_row, int64_t a_k,
                 const double *b, int64_t b_k, int64_t b_column, double *c, int64_t c_row);
} nacre_gemm_f64_kernels;

/* ---- element-wise tiles ---- */

/* n elements, contiguous. out may be one of the inputs. Outputs of comparisons and inputs of where and
   the casts are bytes; everything else is f32. */
typedef void nacre_tile_function(size_t n, void *out, const void *a, const void *b, const void *c);

typedef enum nacre_tile_code {
    NACRE_TILE_COPY,
    NACRE_TILE_ADD,
    NACRE_TILE_SUB,
    NACRE_TILE_MUL,
    NACRE_TILE_DIV,
    NACRE_TILE_POW,
    NACRE_TILE_MAXIMUM,
    NACRE_TILE_MINIMUM,
    NACRE_TILE_NEG,
    NACRE_TILE_EXP,
    NACRE_TILE_LOG,
    NACRE_TILE_SQRT,
    NACRE_TILE_RELU,
    NACRE_TILE_RELU_BACKWARD,
    NACRE_TILE_TANH,
    NACRE_TILE_ERF,
    NACRE_TILE_GELU,
    NACRE_TILE_GELU_TANH,
    NACRE_TILE_GELU_BACKWARD,
    NACRE_TILE_GELU_TANH_BACKWARD,
    NACRE_TILE_EQUAL,
    NACRE_TILE_NOT_EQUAL,
    NACRE_TILE_LESS,
    NACRE_TILE_LESS_EQUAL,
    NACRE_TILE_GREATER,
    NACRE_TILE_GREATER_EQUAL,
    NACRE_TILE_WHERE,
    NACRE_TILE_CAST_U8,
    NACRE_TILE_COUNT
} nacre_tile_code;

typedef struct nacre_elementwise_kernels {
    nacre_tile_function *tile[NACRE_TILE_COUNT];
    void (*fill)(size_t n, float *out, float value);
    /* out = x / 255 for bytes x, correctly rounded; then (out - mean) / std unless std is 0. */
    void (*pixels)(size_t n, const uint8_t *x, float mean, float std, float *out);
    /* rows of width elements each, from_row and to_row apart */
    void (*copy_rows)(int64_t rows, int64_t width, const float *from, int64_t from_row, float *to,
                      int64_t to_row);
} nacre_elementwise_kernels;

/* ---- reductions ---- */

/* Sums, maxima and minima of one segment: lane j takes elements j, j + 16, ..., then a fixed tree. Longer
   reductions reduce the segments' results in the same way. Part of the bit contract. */
#define NACRE_REDUCE_SEGMENT 8192

/* Columns that are reduced side by side, their partial results in the first-level cache. */
#define NACRE_REDUCE_COLUMNS 256

typedef enum nacre_reduce_kind {
    NACRE_REDUCE_SUM,
    NACRE_REDUCE_MAX, /* NaN if any is NaN */
    NACRE_REDUCE_MIN,
    NACRE_REDUCE_COUNT
} nacre_reduce_kind;

typedef struct nacre_reduce_kernels {
    float (*run[NACRE_REDUCE_COUNT])(int64_t n, const float *x);
    /* out[j] = reduction over i < n of x[i * row + j], j < width */
    void (*columns[NACRE_REDUCE_COUNT])(int64_t n, int64_t width, const float *x, int64_t row,
                                        float *out);
    /* Index of the first largest (smallest), or of the first NaN. n > 0. */
    int64_t (*argmax)(int64_t n, const float *x);
    int64_t (*argmin)(int64_t n, const float *x);
} nacre_reduce_kernels;

/* ---- softmax and cross-entropy ---- */

/* Rows of n adjacent elements; or, as columns: n elements `stride` apart for each of width columns. */
typedef void nacre_softmax_rows(int64_t rows, int64_t n, const float *x, const float *dy,
                                float *out);
typedef void nacre_softmax_columns(int64_t n, int64_t width, int64_t stride, const float *x,
                                   const float *dy, float *out);

typedef struct nacre_softmax_kernels {
    nacre_softmax_rows *softmax, *log_softmax;
    nacre_softmax_rows *softmax_backward, *log_softmax_backward; /* x: the forward's output */
    nacre_softmax_columns *softmax_columns, *log_softmax_columns;
    nacre_softmax_columns *softmax_backward_columns, *log_softmax_backward_columns;
    /* -log softmax(x)[target] of each row, 0 where target is no class; and scale * (softmax(x) - target). */
    void (*losses)(int64_t rows, int64_t n, const float *x, const int64_t *target, float *out);
    void (*losses_backward)(int64_t rows, int64_t n, const float *x, const int64_t *target,
                            float scale, float *out);
    /* One row, with weights: -sum of target[j] log softmax(x)[j], and scale * (softmax(x) sum(target) - target). */
    float (*loss_rows)(int64_t n, const float *x, const float *target);
    void (*loss_rows_backward)(int64_t n, const float *x, const float *target, float scale,
                               float *out);
} nacre_softmax_kernels;

/* ---- layer norm ---- */

typedef struct nacre_layer_norm_kernels {
    /* Rows of n elements; weight and bias: [n] or NULL. out may be x. */
    void (*forward)(int64_t rows, int64_t n, float epsilon, const float *x, const float *weight,
                    const float *bias, float *out);
    /* dweight and dbias, [n], are added to, row after row. dx may be x or dy. */
    void (*backward)(int64_t rows, int64_t n, float epsilon, const float *x, const float *dy,
                     const float *weight, float *dx, float *dweight, float *dbias);
} nacre_layer_norm_kernels;

/* ---- attention ---- */

/* One head: rows of `width` adjacent floats, a multiple of 16, *_row floats apart. out: y, or dq. */
typedef struct nacre_attention_head {
    int64_t queries, keys, width;
    const float *q, *k, *v, *dy;
    int64_t q_row, k_row, v_row, dy_row;
    float *out, *dk, *dv;
    int64_t out_row, dk_row, dv_row;
    float scale;
    bool causal;
} nacre_attention_head;

/* Keys that are transposed at once. */
#define NACRE_ATTENTION_KEYS 64
/* Probabilities of one block of queries: so many floats, and so many queries at least. */
#define NACRE_ATTENTION_BLOCK 4096
#define NACRE_ATTENTION_QUERIES 8

static inline int64_t nacre_attention_pitch(int64_t keys) { return (keys + 15) / 16 * 16; }
/* Queries of a block: a function of the shape alone. */
static inline int64_t nacre_attention_rows(int64_t queries, int64_t keys) {
    int64_t rows = NACRE_ATTENTION_BLOCK / nacre_attention_pitch(keys > 0 ? keys : 1);
    if (rows < NACRE_ATTENTION_QUERIES) rows = NACRE_ATTENTION_QUERIES;
    return rows < queries ? rows : queries;
}

/* scratch: NACRE_ATTENTION_KEYS * width floats, and once, backward twice, rows * pitch. */
typedef struct nacre_attention_kernels {
    void (*forward)(const nacre_attention_head *head, float *scratch);
    void (*backward)(const nacre_attention_head *head, float *scratch);
} nacre_attention_kernels;

/* ---- random numbers ---- */

typedef struct nacre_random_kernels {
    /* n numbers in [0, 1), from word 0 of `block` on: key and upper counter words of a nacre_philox_start. */
    void (*uniform)(int64_t n, const uint32_t key[2], const uint32_t high[2], uint64_t block,
                    float *out);
} nacre_random_kernels;

/* ---- optimiser updates ---- */

/* Constants of one update, folded in double. */
typedef struct nacre_adam_constants {
    float beta1, one_minus_beta1, beta2, one_minus_beta2;
    float rate; /* lr / (1 - beta1^t) */
    float root; /* 1 / sqrt(1 - beta2^t) */
    float epsilon;
    float keep; /* 1 - lr * weight_decay */
} nacre_adam_constants;

typedef struct nacre_update_kernels {
    /* out arrays may be the in arrays. */
    void (*adam)(size_t n, const nacre_adam_constants *constants, const float *p, const float *g,
                 const float *m, const float *v, float *p_out, float *m_out, float *v_out);
    void (*sgd)(size_t n, float rate, float weight_decay, const float *p, const float *g,
                float *p_out);
    void (*sgd_momentum)(size_t n, float rate, float weight_decay, float momentum, const float *p,
                         const float *g, const float *velocity, float *p_out, float *velocity_out);
} nacre_update_kernels;

/* ---- laned arrays: [blocks of 16 samples][channel][row][column][16] ---- */

/* A tap along one axis: where its pixel and its weights lie, in floats. */
typedef struct nacre_conv_tap {
    int64_t x, w;
} nacre_conv_tap;

/* What follows the sums and their bias, as separate element-wise ops would do it, in this order: - mean, * scale and
   + shift of the channel, + add, relu, 0 where mask is not above 0. */
typedef struct nacre_conv_after {
    const float *out; /* the output's first element */
    const float *add,
        *mask; /* lie as the output does, which may be either of them; NULL: left out */
    const float
        *norm; /* [mean, scale, shift][channel], from the call's first one on; NULL: left out */
    int64_t norm_step; /* from mean to scale to shift */
    bool relu;
} nacre_conv_after;

/* out[o] = sum over channels c, then taps r of `row`, then taps t of `column`, of
   w[c * w_channel + r.w + t.w + o] x[c * x_channel + r.x + t.x], for pixels x_step and out_step apart; then
   the bias, then what `after` says, if not NULL. */
typedef struct nacre_conv_sum {
    int64_t channels, x_channel, w_channel, x_step, out_channel, out_step;
    const nacre_conv_tap *row, *column;
    int rows, columns;
    const nacre_conv_after *after;
} nacre_conv_sum;

/* Taps of one axis, at most: a larger window goes to the reference. */
enum { NACRE_CONV_MOST_TAPS = 64 };

/* Which pixels of a plane, counted row after row, see a tap inside the image: of those from
   row_first[r] to row_end[r] the ones in columns column_first[t] to column_end[t]. */
typedef struct nacre_conv_sight {
    bool whole;          /* all of them see all taps */
    int64_t columns;     /* of a row */
    const float *column; /* of each pixel, up to a multiple of 16 */
    const int64_t *row_first, *row_end, *column_first, *column_end;
} nacre_conv_sight;

/* Accumulator o of tap t lies at acc[slot[t] + 16 o]; each lane += the sum over images, rows and pixels of
   dy[o * dy_channel] x[tap[t]]. */
typedef struct nacre_conv_products {
    int64_t images, rows, pixels;
    int64_t dy_image, dy_channel, dy_row, x_image, x_row, x_step;
    const int64_t *tap, *slot;
} nacre_conv_products;

/* Of one call of products, at most. */
enum { NACRE_CONV_TAPS = 9, NACRE_CONV_OUTS = 8 };

typedef struct nacre_conv_kernels {
    int outs;                         /* channels of one call of sum, at most */
    int outs_beside[NACRE_CONV_TAPS]; /* of one of products with i + 1 taps */
    void (*sum)(const nacre_conv_sum *s, int outs, int64_t pixels, const float *x, const float *w,
                const float *bias, float *out);
    /* The same, with the same bits, for a sample alone and 16 outputs: out[pixel][16], bias and norm of 16; x_channel,
       x_step and taps' x count single floats. Without `add` and `mask`. */
    void (*sum_channels)(const nacre_conv_sum *s, int64_t pixels, const float *x, const float *w,
                         const float *bias, float *out);
    /* The same for pixels from .. end of a sample alone, counted row after row, of which `from` is a multiple of 16:
       taps' x count from what pixel 0 sees, and pixels lie side by side, readable up to a multiple of 16; taps that a
       pixel does not see are passed over (a weight may be NaN). out: planes out_channel apart. */
    void (*sum_flat)(const nacre_conv_sum *s, const nacre_conv_sight *sight, int outs, int64_t from,
                     int64_t end, const float *x, const float *w, const float *bias, float *out);
    /* Rows of every stride-th number, one after the other. May read 32 floats behind the last, and write whatever up
       to 16 behind it. */
    void (*take_columns)(int64_t rows, int64_t columns, int64_t stride, const float *x,
                         int64_t x_row, float *out);
    void (*products)(const nacre_conv_products *p, int outs, int taps, const float *dy,
                     const float *x, float *acc);
    /* out[i] += the tree of the sums over the first `samples` lanes of acc[i] */
    void (*join_lanes)(int64_t count, int samples, const float *acc, float *out);
    /* acc[lane] += sum over the pixels */
    void (*sum_pixels)(int64_t pixels, const float *x, float *acc);
    /* out[lane * out_sample + pixel] = x[pixel][lane], for the first `samples`; after: NULL, or with `add` and relu
       alone */
    void (*unlane)(int64_t pixels, int samples, const float *x, const nacre_conv_after *after,
                   float *out, int64_t out_sample);
} nacre_conv_kernels;

/* A plane of outputs, and the tiles that it is made of. */
typedef struct nacre_winograd_grid {
    int64_t rows, columns, tile_rows, tile_columns;
} nacre_winograd_grid;

/* Tiles of 4 x 4 pixels beside each other, two columns apart. Pixels of rows whose bit is 0, and of columns outside
   [first, end), counted from the first tile's first one, are 0 and not read. */
typedef struct nacre_winograd_run {
    int64_t tiles;
    unsigned rows;
    int64_t first, end;
    int64_t x_row;
} nacre_winograd_run;

/* Winograd's transforms for 3 x 3 windows, 2 x 2 outputs at a time; `step`: from one of the 16 products to the
   next. */
typedef struct nacre_winograd_kernels {
    /* x: the first tile's first pixel. out: a pixel for each tile */
    void (*input)(const nacre_winograd_run *run, const float *x, float *out, int64_t step);
    /* y: the first `rows` x `columns` of 2 x 2 pixels, bias added, then what `after` says, if not NULL */
    void (*output)(const float *m, int64_t step, const float *bias, const nacre_conv_after *after,
                   int rows, int columns, float *y, int64_t y_row);
    /* dy: the first `rows` x `columns` of 2 x 2 output gradients, 0 beyond, to their 16 factors of the weights'
       gradient */
    void (*gradient)(int rows, int columns, const float *dy, int64_t dy_row, float *out,
                     int64_t step);
    /* Of a sample alone, whose tiles are counted row after row, sixteen to a group: neighbours in a row, two pixels
       apart, between zeros. May read 34 floats behind them. */
    void (*row_of_tiles)(int64_t tiles, const float *x, int64_t x_row, float *out, int64_t step);
    /* m[group][16] of each product, group `first` of the grid being the first one, to the pixels of the plane, with
       bias and what `after` says */
    void (*place_groups)(const nacre_winograd_grid *grid, int64_t first, int64_t groups,
                         const float *m, int64_t step, const float *bias,
                         const nacre_conv_after *after, float *plane);
    /* packed [channels][9][16] -> out[product * step + channel * 16]; flipped: taps in reverse order */
    void (*weights)(int64_t channels, bool flipped, const float *packed, float *out, int64_t step);
} nacre_winograd_kernels;

/* Pooling of one laned plane; pairs are rows, columns. */
typedef struct nacre_pool {
    int64_t rows, columns, out_rows, out_columns;
    int64_t kernel[2], stride[2], padding[2];
} nacre_pool;

typedef struct nacre_pool_kernels {
    void (*max)(const nacre_pool *p, const float *x, float *y);
    void (*max_backward)(const nacre_pool *p, const float *x, const float *dy, float *dx);
    /* and 0 where x is not above 0: the gradient of the relu that made x */
    void (*max_relu_backward)(const nacre_pool *p, const float *x, const float *dy, float *dx);
    /* of z, laid out as x, the pixels that max chose */
    void (*max_pick)(const nacre_pool *p, const float *x, const float *z, float *out);
    void (*average)(const nacre_pool *p, const float *x, float *y);
    void (*average_backward)(const nacre_pool *p, const float *dy, float *dx);
    /* of one plain plane, with the same bits */
    void (*max_alone)(const nacre_pool *p, const float *x, float *y);
    void (*average_alone)(const nacre_pool *p, const float *x, float *y);
} nacre_pool_kernels;

/* Batch normalisation of one laned plane; acc: one sum per lane. */
typedef struct nacre_batch_norm_kernels {
    void (*deviation)(int64_t pixels, const float *x, float mean, float *acc);
    /* other NULL: none is added */
    void (*apply)(int64_t pixels, const float *x, float mean, float scale, float shift,
                  const float *other, bool relu, float *y);
    void (*products)(int64_t pixels, const float *x, const float *dy, float mean, float *dy_acc,
                     float *product_acc);
    void (*apply_backward)(int64_t pixels, const float *x, const float *dy, float mean, float a,
                           float b, float c, float *dx);
} nacre_batch_norm_kernels;

/* ---- levels ---- */

typedef struct nacre_cpu_level {
    const char *name;
    const nacre_gemm_kernels *gemm;
    const nacre_pack_kernels *pack;
    const nacre_gemm_f64_kernels *gemm_f64;
    const nacre_elementwise_kernels *elementwise;
    const nacre_reduce_kernels *reduce;
    const nacre_softmax_kernels *softmax;
    const nacre_layer_norm_kernels *layer_norm;
    const nacre_random_kernels *random;
    const nacre_attention_kernels *attention;
    const nacre_update_kernels *update;
    const nacre_conv_kernels *conv;
    const nacre_winograd_kernels *winograd;
    const nacre_pool_kernels *pool;
    const nacre_batch_norm_kernels *batch_norm;
} nacre_cpu_level;

extern const nacre_cpu_level nacre_cpu_level_portable;
#if NACRE_BUILD_AVX2
extern const nacre_cpu_level nacre_cpu_level_avx2;
#endif
#if NACRE_BUILD_AVX512
extern const nacre_cpu_level nacre_cpu_level_avx512;
#endif
#if NACRE_BUILD_NEON
extern const nacre_cpu_level nacre_cpu_level_neon;
#endif

/* The kernels of that level, or the portable ones where this build has none of it. */
const nacre_cpu_level *nacre_cpu_level_at(nacre_isa_level level);

#endif
