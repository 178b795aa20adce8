/* Attention of one head, forward and backward: probabilities of a block of queries stay in the caches and are
   never stored; the backward pass makes them again. Products keep one fma chain per element; sums along rows
   have the 16 lanes and the tree of all sums. */
#include "backend/cpu/kernels.h"
#include "math.h"
#include "sum.h"
#include "tile.h"
#include "transpose.h"

#define TILE_VECS 2
#define KEYS NACRE_ATTENTION_KEYS

/* ---- tiles: c[r, j] = sum over k of A[r, k] b[k * b_row + j], or added to c ---- */

/* Only ever called with constants for rows, vecs and adjacent. A[r, k] = a[r * a_step + k], or, adjacent,
   a[r + k * a_step]. */
INLINE void multiply(const int rows, const int vecs, const bool adjacent, int64_t depth,
                     const float *a, int64_t a_step, const float *b, int64_t b_row, float *c,
                     int64_t c_row, bool add) {
    vec sum[TILE_ROWS][TILE_VECS];
    EACH (r, rows)
        EACH (v, vecs) sum[r][v] = vec_zero();
    for (int64_t k = 0; k < depth; k++) {
        vec row[TILE_VECS];
        EACH (v, vecs) row[v] = vec_load(b + v * LANES);
        EACH (r, rows) {
            const vec x = vec_set(adjacent ? a[r] : a[r * a_step]);
            EACH (v, vecs) sum[r][v] = vec_fma(x, row[v], sum[r][v]);
        }
        a += adjacent ? a_step : 1;
        b += b_row;
    }
    EACH (r, rows) {
        EACH (v, vecs) {
            float *to = c + r * c_row + v * LANES;
            vec_store(to, add ? vec_add(vec_load(to), sum[r][v]) : sum[r][v]);
        }
    }
}

/* One jump to the row count's own code. */
#define ROWS_CASE(rows, vecs, adjacent)                                                            \
    case rows:                                                                                     \
        multiply(rows, vecs, adjacent, depth, a, a_step, b, b_row, c, c_row, add);                 \
        break;
typedef void tile_function(int64_t rows, int64_t depth, const float *a, int64_t a_step,
                           const float *b, int64_t b_row, float *c, int64_t c_row, bool add);
#define TILE(name, vecs, adjacent)                                                                 \
    static void name(int64_t rows, int64_t depth, const float *a, int64_t a_step, const float *b,  \
                     int64_t b_row, float *c, int64_t c_row, bool add) {                           \
        switch (rows) {                                                                            \
            TILE_CASES(ROWS_CASE, vecs, adjacent)                                                  \
        default:                                                                                   \
            break;                                                                                 \
        }                                                                                          \
    }
TILE(strided, TILE_VECS, false)
TILE(strided_narrow, 1, false)
TILE(adjacent, TILE_VECS, true)
TILE(adjacent_narrow, 1, true)

/* All columns, a multiple of LANES, of one row of tiles. */
INLINE void columns_of_tiles(tile_function *wide, tile_function *narrow, int64_t rows,
                             int64_t columns, int64_t depth, const float *a, int64_t a_step,
                             const float *b, int64_t b_row, float *c, int64_t c_row, bool add) {
    int64_t j = 0;
    for (; j + TILE_VECS * LANES <= columns; j += TILE_VECS * LANES)
        wide(rows, depth, a, a_step, b + j, b_row, c + j, c_row, add);
    for (; j < columns; j += LANES) narrow(rows, depth, a, a_step, b + j, b_row, c + j, c_row, add);
}

/* Where tile i of `tiles` begins; tile `tiles` begins at the end. Heights differ by one at most. */
INLINE int64_t tile_begin(int64_t rows, int64_t tiles, int64_t i) { return rows * i / tiles; }
INLINE int64_t tiles_of(int64_t rows) { return (rows + TILE_ROWS - 1) / TILE_ROWS; }

/* ---- one block of queries ---- */

typedef struct block {
    const nacre_attention_head *head;
    int64_t first, rows; /* queries */
    int64_t pitch;       /* floats from one row of probabilities to the next */
} block;

/* Keys that query `row` of the block looks at. */
INLINE int64_t keys_of(const block *b, int64_t row) {
    const int64_t last = b->first + row + 1, keys = b->head->keys;
    return b->head->causal && last < keys ? last : keys;
}

/* out[width][KEYS] = the transposed rows x, `keys` <= KEYS of them, and zeros. A single key behind whole blocks,
   as 4 x 4 patches and a token for the class have it, is not worth a block. */
static void turn_keys(int64_t keys, int64_t width, const float *x, int64_t x_row, float *out) {
    for (int64_t j = 0; j < keys; j += LANES) {
        if (keys - j == 1) {
            const float *from = x + j * x_row;
            for (int64_t i = 0; i < width; i++)
                vec_store(out + i * KEYS + j, vec_load_part(from + i, 1));
            break;
        }
        for (int64_t i = 0; i < width; i += LANES) {
            const float *from = x + j * x_row + i;
            float padded[LANES * LANES];
            int64_t step = x_row;
            if (keys - j < LANES) {
                pad_block(padded, from, x_row, keys - j, LANES);
                from = padded;
                step = LANES;
            }
            vec turned[LANES];
            load_columns(turned, from, step);
            EACH (l, LANES) vec_store(out + (i + l) * KEYS + j, turned[l]);
        }
    }
}

/* out[r, j] = rows r of a times key j of x; columns that no query of a tile looks at are left as they are. */
static void against_keys(const block *b, const float *a, int64_t a_row, const float *x,
                         int64_t x_row, float *panel, float *out) {
    const nacre_attention_head *h = b->head;
    const int64_t tiles = tiles_of(b->rows), most = keys_of(b, b->rows - 1);
    for (int64_t key = 0; key < most; key += KEYS) {
        const int64_t count = most - key < KEYS ? most - key : KEYS;
        turn_keys(count, h->width, x + key * x_row, x_row, panel);
        for (int64_t t = 0; t < tiles; t++) {
            const int64_t r = tile_begin(b->rows, tiles, t);
            const int64_t end = tile_begin(b->rows, tiles, t + 1);
            int64_t wanted = keys_of(b, end - 1) - key;
            if (wanted <= 0) continue;
            wanted = wanted < count ? wanted : count;
            wanted = (wanted + SUM_LANES - 1) / SUM_LANES * SUM_LANES;
            columns_of_tiles(strided, strided_narrow, end - r, wanted, h->width, a + r * a_row,
                             a_row, panel, KEYS, out + r * b->pitch + key, b->pitch, false);
        }
    }
}

/* out[r, :] (of `width`) = sum over the keys j of weights[r, j] x[j, :] */
static void over_keys(const block *b, const float *weights, const float *x, int64_t x_row,
                      float *out, int64_t out_row) {
    const int64_t tiles = tiles_of(b->rows);
    for (int64_t t = 0; t < tiles; t++) {
        const int64_t r = tile_begin(b->rows, tiles, t), end = tile_begin(b->rows, tiles, t + 1);
        columns_of_tiles(strided, strided_narrow, end - r, b->head->width, keys_of(b, end - 1),
                         weights + r * b->pitch, b->pitch, x, x_row, out + r * out_row, out_row,
                         false);
    }
}

/* out[j, :] = sum over the block's queries r of weights[r, j] x[r, :]; added for all blocks but the first */
static void over_queries(const block *b, const float *weights, const float *x, int64_t x_row,
                         float *out, int64_t out_row) {
    const nacre_attention_head *h = b->head;
    const int64_t tiles = tiles_of(h->keys);
    for (int64_t t = 0; t < tiles; t++) {
        const int64_t j = tile_begin(h->keys, tiles, t), end = tile_begin(h->keys, tiles, t + 1);
        int64_t from = h->causal ? j - b->first : 0;
        from = from < 0 ? 0 : from < b->rows ? from : b->rows;
        columns_of_tiles(adjacent, adjacent_narrow, end - j, h->width, b->rows - from,
                         weights + from * b->pitch + j, b->pitch, x + from * x_row, x_row,
                         out + j * out_row, out_row, b->first > 0);
    }
}

/* Scores of one row to probabilities: of the first n keys; the others, up to the pitch, get 0. */
static void softmax_row(int64_t n, int64_t pitch, float scale, float *x) {
    const vec factor = vec_set(scale);
    lanes most = lanes_set(-INFINITY);
    for (int64_t i = 0; i < n; i += SUM_LANES) {
        lanes a = lanes_load(x + i);
        if (n - i < SUM_LANES) a = lanes_load_or(x + i, n - i, -INFINITY);
        EACH (v, SUM_VECS) {
            /* Padding must not become +infinity, nor NaN, by its factor. */
            vec scaled = vec_mul(a.v[v], factor);
            if (n - i < SUM_LANES)
                scaled = vec_select(vec_equal(a.v[v], vec_set(-INFINITY)), a.v[v], scaled);
            vec_store(x + i + v * LANES, scaled);
            most.v[v] = vec_maximum(most.v[v], scaled);
        }
    }
    const vec top = vec_set(lanes_max(most));
    lanes sum = lanes_set(0.0f);
    for (int64_t i = 0; i < n; i += SUM_LANES) {
        EACH (v, SUM_VECS) {
            float *at = x + i + v * LANES;
            const vec e = vec_exp(vec_sub(vec_load(at), top));
            sum.v[v] = vec_add(sum.v[v], e);
            vec_store(at, e);
        }
    }
    const vec part = vec_set(1.0f / lanes_sum(sum));
    int64_t i = 0;
    for (; i < n; i += LANES) vec_store(x + i, vec_mul(vec_load(x + i), part));
    for (; i < pitch; i += LANES) vec_store(x + i, vec_zero());
}

/* The same for a few short rows at once, in registers: one row alone waits for its maximum and its sum. The pitch
   is 16 blocks; n[r] keys of row r. Padding times the scale must be -infinity, so that must not be 0. */
enum { SHORT_BLOCKS = 4, SHORT_ROWS = 4 };

INLINE void softmax_short(const int rows, const int blocks, const int64_t *n, float scale,
                          float *x) {
    const vec factor = vec_set(scale);
    const float padding = scale > 0 ? -INFINITY : INFINITY;
    lanes a[SHORT_ROWS][SHORT_BLOCKS];
    vec top[SHORT_ROWS], part[SHORT_ROWS];
    EACH (r, rows) {
        lanes most = lanes_set(-INFINITY);
        EACH (i, blocks) {
            a[r][i] =
                lanes_load_or(x + (r * blocks + i) * SUM_LANES, n[r] - i * SUM_LANES, padding);
            EACH (v, SUM_VECS) {
                a[r][i].v[v] = vec_mul(a[r][i].v[v], factor);
                most.v[v] = vec_maximum(most.v[v], a[r][i].v[v]);
            }
        }
        top[r] = vec_set(lanes_max(most));
    }
    EACH (r, rows) {
        lanes sum = lanes_set(0.0f);
        EACH (i, blocks) {
            EACH (v, SUM_VECS) {
                a[r][i].v[v] = vec_exp(vec_sub(a[r][i].v[v], top[r]));
                sum.v[v] = vec_add(sum.v[v], a[r][i].v[v]);
            }
        }
        part[r] = vec_set(1.0f / lanes_sum(sum));
    }
    EACH (r, rows) {
        EACH (i, blocks)
            EACH (v, SUM_VECS)
                vec_store(x + (r * blocks + i) * SUM_LANES + v * LANES,
                          vec_mul(a[r][i].v[v], part[r]));
    }
}

#define SHORT(blocks, at_once)                                                                     \
    static void softmax_short_##blocks(const block *b, float *p) {                                 \
        int64_t r = 0, n[SHORT_ROWS];                                                              \
        for (; r + (at_once) <= b->rows; r += (at_once)) {                                         \
            for (int i = 0; i < (at_once); i++) n[i] = keys_of(b, r + i);                          \
            softmax_short(at_once, blocks, n, b->head->scale, p + r * b->pitch);                   \
        }                                                                                          \
        for (; r < b->rows; r++) {                                                                 \
            n[0] = keys_of(b, r);                                                                  \
            softmax_short(1, blocks, n, b->head->scale, p + r * b->pitch);                         \
        }                                                                                          \
    }
SHORT(1, 4)
SHORT(2, 4)
SHORT(3, 2)
SHORT(4, 2)

static void softmax_rows(const block *b, float *p) {
    static void (*const of_blocks[])(const block *, float *) = {softmax_short_1, softmax_short_2,
                                                                softmax_short_3, softmax_short_4};
    const int64_t blocks = b->pitch / SUM_LANES;
    if (blocks <= SHORT_BLOCKS && b->head->scale != 0) {
        of_blocks[blocks - 1](b, p);
        return;
    }
    for (int64_t r = 0; r < b->rows; r++)
        softmax_row(keys_of(b, r), b->pitch, b->head->scale, p + r * b->pitch);
}

static void probabilities(const block *b, float *panel, float *p) {
    const nacre_attention_head *h = b->head;
    against_keys(b, h->q + b->first * h->q_row, h->q_row, h->k, h->k_row, panel, p);
    softmax_rows(b, p);
}

/* dp becomes scale p (dp - sum(p dp)), the gradient of the scores before their scale. */
static void scores_gradient(int64_t n, int64_t pitch, float scale, const float *p, float *dp) {
    lanes sum = lanes_set(0.0f);
    for (int64_t i = 0; i < n; i += SUM_LANES) {
        const lanes a = lanes_load(p + i), b = lanes_load_or(dp + i, n - i, 0.0f);
        EACH (v, SUM_VECS) sum.v[v] = vec_fma(a.v[v], b.v[v], sum.v[v]);
    }
    const vec total = vec_set(lanes_sum(sum)), factor = vec_set(scale);
    int64_t i = 0;
    for (; i < n; i += LANES) {
        const vec b = vec_load_n(dp + i, (size_t)(n - i));
        const vec d = vec_mul(vec_load(p + i), vec_sub(b, total));
        vec_store(dp + i, vec_mul(d, factor));
    }
    for (; i < pitch; i += LANES) vec_store(dp + i, vec_zero());
}

/* The same for a few short rows at once, as with softmax_short. */
INLINE void gradient_short(const int rows, const int blocks, const int64_t *n, float scale,
                           const float *p, float *dp) {
    const vec factor = vec_set(scale);
    lanes a[SHORT_ROWS][SHORT_BLOCKS], b[SHORT_ROWS][SHORT_BLOCKS];
    vec total[SHORT_ROWS];
    EACH (r, rows) {
        lanes sum = lanes_set(0.0f);
        EACH (i, blocks) {
            const int64_t at = (r * blocks + i) * SUM_LANES;
            a[r][i] = lanes_load(p + at);
            b[r][i] = lanes_load_or(dp + at, n[r] - i * SUM_LANES, 0.0f);
            EACH (v, SUM_VECS) sum.v[v] = vec_fma(a[r][i].v[v], b[r][i].v[v], sum.v[v]);
        }
        total[r] = vec_set(lanes_sum(sum));
    }
    EACH (r, rows) {
        EACH (i, blocks) {
            EACH (v, SUM_VECS) {
                const vec d = vec_mul(a[r][i].v[v], vec_sub(b[r][i].v[v], total[r]));
                vec_store(dp + (r * blocks + i) * SUM_LANES + v * LANES, vec_mul(d, factor));
            }
        }
    }
}

#define GRADIENT_SHORT(blocks, at_once)                                                            \
    static void gradient_short_##blocks(const block *b, const float *p, float *dp) {               \
        int64_t r = 0, n[SHORT_ROWS];                                                              \
        for (; r + (at_once) <= b->rows; r += (at_once)) {                                         \
            const int64_t at = r * b->pitch;                                                       \
            for (int i = 0; i < (at_once); i++) n[i] = keys_of(b, r + i);                          \
            gradient_short(at_once, blocks, n, b->head->scale, p + at, dp + at);                   \
        }                                                                                          \
        for (; r < b->rows; r++) {                                                                 \
            n[0] = keys_of(b, r);                                                                  \
            gradient_short(1, blocks, n, b->head->scale, p + r * b->pitch, dp + r * b->pitch);     \
        }                                                                                          \
    }
GRADIENT_SHORT(1, 4)
GRADIENT_SHORT(2, 4)
GRADIENT_SHORT(3, 2)
GRADIENT_SHORT(4, 2)

static void gradient_rows(const block *b, const float *p, float *dp) {
    static void (*const of_blocks[])(const block *, const float *, float *) = {
        gradient_short_1, gradient_short_2, gradient_short_3, gradient_short_4};
    const int64_t blocks = b->pitch / SUM_LANES;
    if (blocks <= SHORT_BLOCKS) {
        of_blocks[blocks - 1](b, p, dp);
        return;
    }
    for (int64_t r = 0; r < b->rows; r++)
        scores_gradient(keys_of(b, r), b->pitch, b->head->scale, p + r * b->pitch,
                        dp + r * b->pitch);
}

/* ---- one head ---- */

/* Rows of one head lie too far apart for a hardware prefetcher; the next head's lie beside them. */
static void fetch_beside(int64_t rows, int64_t width, const float *x, int64_t row) {
    for (int64_t r = 0; r < rows; r++) __builtin_prefetch(x + r * row + width);
}

static void forward(const nacre_attention_head *h, float *scratch) {
    fetch_beside(h->keys, h->width, h->k, h->k_row);
    fetch_beside(h->queries, h->width, h->q, h->q_row);
    fetch_beside(h->keys, h->width, h->v, h->v_row);
    const int64_t most = nacre_attention_rows(h->queries, h->keys);
    float *panel = scratch, *p = panel + KEYS * h->width;
    block b = {.head = h, .pitch = nacre_attention_pitch(h->keys)};
    for (; b.first < h->queries; b.first += most) {
        b.rows = h->queries - b.first < most ? h->queries - b.first : most;
        probabilities(&b, panel, p);
        over_keys(&b, p, h->v, h->v_row, h->out + b.first * h->out_row, h->out_row);
    }
}

static void backward(const nacre_attention_head *h, float *scratch) {
    fetch_beside(h->keys, h->width, h->k, h->k_row);
    fetch_beside(h->queries, h->width, h->q, h->q_row);
    fetch_beside(h->keys, h->width, h->v, h->v_row);
    fetch_beside(h->queries, h->width, h->dy, h->dy_row);
    const int64_t most = nacre_attention_rows(h->queries, h->keys);
    block b = {.head = h, .pitch = nacre_attention_pitch(h->keys)};
    float *panel = scratch, *p = panel + KEYS * h->width, *dp = p + most * b.pitch;
    for (; b.first < h->queries; b.first += most) {
        b.rows = h->queries - b.first < most ? h->queries - b.first : most;
        const float *q = h->q + b.first * h->q_row, *dy = h->dy + b.first * h->dy_row;
        probabilities(&b, panel, p);
        against_keys(&b, dy, h->dy_row, h->v, h->v_row, panel, dp);
        gradient_rows(&b, p, dp);
        over_keys(&b, dp, h->k, h->k_row, h->out + b.first * h->out_row, h->out_row);
        over_queries(&b, dp, q, h->q_row, h->dk, h->dk_row);
        over_queries(&b, p, dy, h->dy_row, h->dv, h->dv_row);
    }
}

const nacre_attention_kernels NACRE_AT_LEVEL(nacre_attention_kernels) = {
    .forward = forward,
    .backward = backward,
};
