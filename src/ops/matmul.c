/* matmul: a [..., m, k] times b [..., k, n] -> [..., m, n]; leading axes broadcast. */
#include "ops/common.h"
#include "ops/reference.h"

/* ---- shapes ---- */

static nacre_shape leading(const nacre_shape *shape) {
    nacre_shape lead = *shape;
    lead.ndim -= 2;
    return lead;
}

static nacre_status inner_error(const nacre_inference *inference) {
    const nacre_shape *a = &inference->in[0].shape, *b = &inference->in[1].shape;
    int64_t ka = a->dims[a->ndim - 1], kb = b->dims[b->ndim - 2];
    const char *advice = "make them equal";
    if (ka == b->dims[b->ndim - 1])
        advice = "did you mean nacre_transpose(b, -2, -1)?";
    else if (kb == a->dims[a->ndim - 2])
        advice = "did you mean nacre_transpose(a, -2, -1)?";
    char text_a[NACRE_SHAPE_TEXT], text_b[NACRE_SHAPE_TEXT];
    return nacre_fail_at(NACRE_SHAPE_MISMATCH, inference->file, inference->line,
                         "matmul: a is %s, b is %s: inner sizes %lld and %lld differ; %s",
                         nacre_shape_text(a, text_a), nacre_shape_text(b, text_b), (long long)ka,
                         (long long)kb, advice);
}

static nacre_status matmul_shape(nacre_inference *inference) {
    const nacre_shape *a = &inference->in[0].shape, *b = &inference->in[1].shape;
    nacre_status status = nacre_need_equal_dtypes(inference, 0, "a", 1, "b");
    if (!status) status = nacre_need_number(inference, 0, "a");
    if (status) return status;
    char text_a[NACRE_SHAPE_TEXT], text_b[NACRE_SHAPE_TEXT];
    if (a->ndim < 2 || b->ndim < 2)
        return nacre_fail_at(NACRE_SHAPE_MISMATCH, inference->file, inference->line,
                             "matmul: a is %s, b is %s: a scalar has no rows or columns; use "
                             "nacre_mul",
                             nacre_shape_text(a, text_a), nacre_shape_text(b, text_b));
    if (a->dims[a->ndim - 1] != b->dims[b->ndim - 2]) return inner_error(inference);
    nacre_shape lead_a = leading(a), lead_b = leading(b), *out = &inference->out[0].shape;
    if (!nacre_shape_broadcast(&lead_a, &lead_b, out) || out->ndim > NACRE_MAX_DIMS - 2)
        return nacre_fail_at(NACRE_SHAPE_MISMATCH, inference->file, inference->line,
                             "matmul: a is %s, b is %s: the axes before the last two do not "
                             "broadcast; they must be equal or 1",
                             nacre_shape_text(a, text_a), nacre_shape_text(b, text_b));
    out->dims[out->ndim++] = a->dims[a->ndim - 2];
    out->dims[out->ndim++] = b->dims[b->ndim - 1];
    inference->out[0].dtype = inference->in[0].dtype;
    return nacre_need_valid_output(inference);
}

/* ---- reference ---- */

/* One matrix each: pointers to the first element, strides in elements. */
typedef struct matrices {
    const unsigned char *a, *b;
    unsigned char *out;
    int64_t m, n, k;
    int64_t a_row, a_column, b_row, b_column, out_row, out_column;
} matrices;

enum { TILE = 64 };

/* Sums in double, k in order. The tile lets k run outside, along b's rows. */
static void product_f32(const matrices *p) {
    const float *a = (const float *)(const void *)p->a, *b = (const float *)(const void *)p->b;
    float *out = (float *)(void *)p->out;
    for (int64_t i = 0; i < p->m; i++) {
        for (int64_t j0 = 0; j0 < p->n; j0 += TILE) {
            int64_t width = p->n - j0 < TILE ? p->n - j0 : TILE;
            double sum[TILE] = {0};
            for (int64_t k = 0; k < p->k; k++) {
                double x = (double)a[i * p->a_row + k * p->a_column];
                const float *row = b + k * p->b_row + j0 * p->b_column;
                for (int64_t j = 0; j < width; j++) sum[j] += x * (double)row[j * p->b_column];
            }
            for (int64_t j = 0; j < width; j++)
                out[i * p->out_row + (j0 + j) * p->out_column] = (float)sum[j];
        }
    }
}

static void product_any(const matrices *p, const nacre_dtype_info *info) {
    int64_t size = (int64_t)info->size;
    bool is_float = info->kind == NACRE_CLASS_FLOAT;
    for (int64_t i = 0; i < p->m; i++) {
        for (int64_t j = 0; j < p->n; j++) {
            double sum = 0;
            uint64_t sum_int = 0;
            for (int64_t k = 0; k < p->k; k++) {
                const void *x = p->a + (i * p->a_row + k * p->a_column) * size;
                const void *y = p->b + (k * p->b_row + j * p->b_column) * size;
                if (is_float)
                    sum += info->load(x) * info->load(y);
                else
                    sum_int += (uint64_t)info->load_int(x) * (uint64_t)info->load_int(y);
            }
            void *to = p->out + (i * p->out_row + j * p->out_column) * size;
            if (is_float)
                info->store(to, sum);
            else
                info->store_int(to, (int64_t)sum_int);
        }
    }
}

static nacre_array leading_array(const nacre_array *array) {
    nacre_array lead = *array;
    lead.shape.ndim -= 2;
    return lead;
}

static void matmul_reference(const nacre_call *call) {
    const nacre_array *a = &call->in[0], *b = &call->in[1], *out = &call->out[0];
    int ra = a->shape.ndim - 2, rb = b->shape.ndim - 2, ro = out->shape.ndim - 2;
    matrices p = {.m = out->shape.dims[ro],
                  .n = out->shape.dims[ro + 1],
                  .k = a->shape.dims[ra + 1],
                  .a_row = a->strides[ra],
                  .a_column = a->strides[ra + 1],
                  .b_row = b->strides[rb],
                  .b_column = b->strides[rb + 1],
                  .out_row = out->strides[ro],
                  .out_column = out->strides[ro + 1]};
    nacre_array lead[3] = {leading_array(out), leading_array(a), leading_array(b)};
    nacre_walk walk;
    if (!nacre_walk_begin(&walk, &lead[0].shape)) return;
    for (int i = 0; i < 3; i++) nacre_walk_add(&walk, &lead[i]);
    do {
        for (int64_t i = 0; i < walk.inner; i++) {
            p.out = nacre_array_at(out, walk.offset[0] + i * walk.step[0]);
            p.a = nacre_array_at(a, walk.offset[1] + i * walk.step[1]);
            p.b = nacre_array_at(b, walk.offset[2] + i * walk.step[2]);
            if (out->dtype == NACRE_F32)
                product_f32(&p);
            else
                product_any(&p, nacre_dtype_get(out->dtype));
        }
    } while (nacre_walk_next(&walk));
}

static double matmul_flops(const nacre_call *call) {
    const nacre_shape *a = &call->in[0].shape;
    return 2 * (double)nacre_shape_numel(&call->out[0].shape) * (double)a->dims[a->ndim - 1];
}

/* ---- gradient: da = dy b^T, db = a^T dy, summed over the batches that were broadcast ---- */

static void matmul_gradient(nacre_gradient *g) {
    const char *file = g->file;
    int line = g->line;
    nacre_tensor *a = g->in[0], *b = g->in[1], *dy = g->dout[0];
    nacre_shape shape_a = nacre_shape_of(a), shape_b = nacre_shape_of(b);
    if (g->wanted[0]) {
        nacre_tensor *da =
            nacre_matmul_at(dy, nacre_transpose_at(b, -2, -1, file, line), file, line);
        g->din[0] = nacre_reduce_to(da, &shape_a, file, line);
    }
    if (!g->wanted[1]) return;
    /* One matrix for all batches: their rows in one product, so that the batches' sum costs nothing. */
    if (shape_b.ndim == 2) {
        a = nacre_as_rows(a, file, line);
        dy = nacre_as_rows(dy, file, line);
    }
    nacre_tensor *db = nacre_matmul_at(nacre_transpose_at(a, -2, -1, file, line), dy, file, line);
    g->din[1] = nacre_reduce_to(db, &shape_b, file, line);
}

const nacre_op nacre_op_matmul = {
    .name = "matmul",
    .onnx = "MatMul",
    .arity = 2,
    .gradient_reads = NACRE_READS_IN(0) | NACRE_READS_IN(1),
    .shape = matmul_shape,
    .gradient = matmul_gradient,
    .reference = matmul_reference,
    .flops = matmul_flops,
};

/* ---- public: a 1-d a is a row, a 1-d b a column; that axis is dropped from the result ---- */

static nacre_tensor *vector_product(nacre_tensor *a, nacre_tensor *b, bool row, bool column,
                                    const char *file, int line) {
    nacre_scope frame = nacre_frame_begin();
    if (row)
        a = nacre_reshape_at(a, (nacre_shape){.ndim = 2, .dims = {1, nacre_size(a, 0)}}, file,
                             line);
    if (column)
        b = nacre_reshape_at(b, (nacre_shape){.ndim = 2, .dims = {nacre_size(b, 0), 1}}, file,
                             line);
    nacre_tensor *y = nacre_record_binary(&nacre_op_matmul, a, b, file, line);
    if (nacre_usable(y)) {
        nacre_shape shape = nacre_shape_of(y), kept = {.ndim = 0};
        for (int i = 0; i < shape.ndim; i++) {
            bool dropped = (row && i == shape.ndim - 2) || (column && i == shape.ndim - 1);
            if (!dropped) kept.dims[kept.ndim++] = shape.dims[i];
        }
        y = nacre_reshape_at(y, kept, file, line);
    }
    nacre_frame_end(frame, &y, 1);
    return y;
}

nacre_tensor *nacre_matmul_at(nacre_tensor *a, nacre_tensor *b, const char *file, int line) {
    bool row = nacre_usable(a) && nacre_ndim(a) == 1;
    bool column = nacre_usable(b) && nacre_ndim(b) == 1;
    if (row || column) return vector_product(a, b, row, column, file, line);
    return nacre_record_binary(&nacre_op_matmul, a, b, file, line);
}
