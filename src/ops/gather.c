/* gather of rows, its gradient scatter_rows, and one_hot. Indices are checked before an evaluation's first
   effect; a kernel that meets a bad one all the same reads and writes nothing for it. */
#include "ops/common.h"
#include "ops/reference.h"

/* Elements of one row of a table [n, ...]. */
static int64_t row_size(const nacre_shape *table) {
    nacre_shape row = {.ndim = table->ndim - 1};
    for (int i = 0; i < row.ndim; i++) row.dims[i] = table->dims[i + 1];
    return nacre_shape_numel(&row);
}

static int64_t index_at(const nacre_array *indices, int64_t i) {
    return nacre_dtype_get(indices->dtype)
        ->load_int(nacre_array_at(indices, nacre_array_offset(indices, i)));
}

/* ---- gather: rows of table [n, ...] at indices [...] ---- */

static nacre_status gather_shape(nacre_inference *inference) {
    const nacre_shape *table = &inference->in[0].shape, *indices = &inference->in[1].shape;
    nacre_status status = nacre_need_index(inference, 1, "indices");
    if (status) return status;
    int ndim = table->ndim - 1 + indices->ndim;
    if (table->ndim < 1 || ndim > NACRE_MAX_DIMS) {
        char a[NACRE_SHAPE_TEXT], b[NACRE_SHAPE_TEXT];
        return nacre_fail_at(NACRE_SHAPE_MISMATCH, inference->file, inference->line,
                             "gather: table is %s, indices is %s: table must be [n, ...] and the "
                             "result have at most %d axes",
                             nacre_shape_text(table, a), nacre_shape_text(indices, b),
                             NACRE_MAX_DIMS);
    }
    nacre_shape *out = &inference->out[0].shape;
    *out = *indices;
    for (int i = 1; i < table->ndim; i++) out->dims[out->ndim++] = table->dims[i];
    inference->out[0].dtype = inference->in[0].dtype;
    return nacre_need_valid_output(inference);
}

static int64_t gather_bound(const nacre_call *call) { return call->in[0].shape.dims[0]; }

static void gather_reference(const nacre_call *call) {
    const nacre_array *table = &call->in[0], *indices = &call->in[1], *out = &call->out[0];
    int64_t count = nacre_shape_numel(&indices->shape), size = row_size(&table->shape);
    nacre_array_zero(out);
    for (int64_t i = 0; i < count; i++) {
        int64_t row = index_at(indices, i);
        if (row < 0 || row >= table->shape.dims[0]) continue;
        for (int64_t j = 0; j < size; j++)
            nacre_array_copy(out, nacre_array_offset(out, i * size + j), table,
                             nacre_array_offset(table, row * size + j));
    }
}

static void gather_gradient(nacre_gradient *g) {
    if (!g->wanted[0]) return;
    nacre_recording recording = {.op = &nacre_op_scatter_rows,
                                 .inputs = 2,
                                 .in = {g->dout[0], g->in[1]},
                                 .wanted = nacre_shape_of(g->in[0]),
                                 .file = g->file,
                                 .line = g->line};
    g->din[0] = nacre_record_one(&recording);
}

const nacre_op nacre_op_gather = {
    .name = "gather",
    .onnx = "Gather",
    .arity = 2,
    .flags = NACRE_OP_INDEXED,
    .gradient_reads = NACRE_READS_IN(1),
    .shape = gather_shape,
    .gradient = gather_gradient,
    .reference = gather_reference,
    .index_input = 1,
    .index_bound = gather_bound,
};

/* ---- scatter_rows(dy, indices): zeros of the table's shape, each row of dy added to the row of its
   index; equal indices in order of occurrence ---- */

static nacre_status scatter_shape(nacre_inference *inference) {
    const nacre_shape *dy = &inference->in[0].shape, *indices = &inference->in[1].shape;
    const nacre_shape *table = &inference->wanted;
    nacre_status status = nacre_need_index(inference, 1, "indices");
    if (!status) status = nacre_need_number(inference, 0, "dy");
    if (status) return status;
    bool fits =
        table->ndim >= 1 && nacre_shape_valid(table) && dy->ndim == indices->ndim + table->ndim - 1;
    for (int i = 0; fits && i < dy->ndim; i++)
        fits = dy->dims[i] ==
               (i < indices->ndim ? indices->dims[i] : table->dims[i - indices->ndim + 1]);
    if (!fits) {
        char a[NACRE_SHAPE_TEXT], b[NACRE_SHAPE_TEXT], c[NACRE_SHAPE_TEXT];
        return nacre_fail_at(NACRE_SHAPE_MISMATCH, inference->file, inference->line,
                             "scatter_rows: dy is %s, indices is %s, the table %s: dy must have "
                             "indices' axes and then the table's but the first",
                             nacre_shape_text(dy, a), nacre_shape_text(indices, b),
                             nacre_shape_text(table, c));
    }
    inference->out[0].dtype = inference->in[0].dtype;
    inference->out[0].shape = *table;
    return NACRE_OK;
}

static int64_t scatter_bound(const nacre_call *call) { return call->out[0].shape.dims[0]; }

enum { TILE = 64 };

/* The sum of all rows with the index of row `first`, which is the first of them: in double, in order of
   occurrence, a tile of columns at a time. */
static void scatter_row(const nacre_call *call, int64_t first, int64_t count, int64_t size) {
    const nacre_array *dy = &call->in[0], *indices = &call->in[1], *out = &call->out[0];
    const nacre_dtype_info *info = nacre_dtype_get(out->dtype);
    bool is_float = info->kind == NACRE_CLASS_FLOAT;
    int64_t row = index_at(indices, first);
    for (int64_t column = 0; column < size; column += TILE) {
        int64_t width = size - column < TILE ? size - column : TILE;
        double sum[TILE] = {0};
        uint64_t sum_int[TILE] = {0};
        for (int64_t i = first; i < count; i++) {
            if (index_at(indices, i) != row) continue;
            for (int64_t j = 0; j < width; j++) {
                int64_t from = nacre_array_offset(dy, i * size + column + j);
                if (is_float)
                    sum[j] += info->load(nacre_array_at(dy, from));
                else
                    sum_int[j] += (uint64_t)info->load_int(nacre_array_at(dy, from));
            }
        }
        for (int64_t j = 0; j < width; j++) {
            void *to = nacre_array_at(out, nacre_array_offset(out, row * size + column + j));
            if (is_float)
                info->store(to, sum[j]);
            else
                info->store_int(to, (int64_t)sum_int[j]);
        }
    }
}

static void scatter_reference(const nacre_call *call) {
    const nacre_array *indices = &call->in[1], *out = &call->out[0];
    int64_t count = nacre_shape_numel(&indices->shape), size = row_size(&out->shape);
    nacre_array_zero(out);
    for (int64_t i = 0; i < count; i++) {
        int64_t row = index_at(indices, i), earlier = 0;
        while (earlier < i && index_at(indices, earlier) != row) earlier++;
        if (earlier == i && row >= 0 && row < out->shape.dims[0]) scatter_row(call, i, count, size);
    }
}

static void scatter_gradient(nacre_gradient *g) {
    if (g->wanted[0]) g->din[0] = nacre_gather_at(g->dout[0], g->in[1], g->file, g->line);
}

const nacre_op nacre_op_scatter_rows = {
    .name = "scatter_rows",
    .arity = 2,
    .flags = NACRE_OP_INDEXED,
    .gradient_reads = NACRE_READS_IN(1),
    .shape = scatter_shape,
    .gradient = scatter_gradient,
    .reference = scatter_reference,
    .flops = nacre_flops_of_input,
    .index_input = 1,
    .index_bound = scatter_bound,
};

/* ---- one_hot: indices [...] -> [..., classes], 1 at the index ---- */

static const nacre_attr one_hot_attrs[] = {[NACRE_ONE_HOT_CLASSES] = {"classes", NACRE_ATTR_INT},
                                           {NULL, NACRE_ATTR_END}};

static nacre_status one_hot_shape(nacre_inference *inference) {
    const nacre_shape *indices = &inference->in[0].shape;
    int64_t classes = inference->attrs[NACRE_ONE_HOT_CLASSES].i;
    nacre_status status = nacre_need_index(inference, 0, "indices");
    if (status) return status;
    nacre_dtype dtype = inference->wanted_dtype ? inference->wanted_dtype : NACRE_F32;
    if (!nacre_dtype_get(dtype))
        return nacre_fail_at(NACRE_INVALID_ARGUMENT, inference->file, inference->line,
                             "one_hot: dtype %d is unknown; use one of enum nacre_dtype",
                             (int)dtype);
    if (classes < 1 || indices->ndim == NACRE_MAX_DIMS) {
        char text[NACRE_SHAPE_TEXT];
        return nacre_fail_at(
            NACRE_INVALID_ARGUMENT, inference->file, inference->line,
            "one_hot: %lld classes for indices of shape %s: at least 1 class, and at "
            "most %d axes",
            (long long)classes, nacre_shape_text(indices, text), NACRE_MAX_DIMS - 1);
    }
    nacre_shape *out = &inference->out[0].shape;
    *out = *indices;
    out->dims[out->ndim++] = classes;
    inference->out[0].dtype = dtype;
    return nacre_need_valid_output(inference);
}

static int64_t one_hot_bound(const nacre_call *call) {
    return call->attrs[NACRE_ONE_HOT_CLASSES].i;
}

static void one_hot_reference(const nacre_call *call) {
    const nacre_array *indices = &call->in[0], *out = &call->out[0];
    int64_t count = nacre_shape_numel(&indices->shape), classes = one_hot_bound(call);
    nacre_array_zero(out);
    for (int64_t i = 0; i < count; i++) {
        int64_t hot = index_at(indices, i);
        if (hot < 0 || hot >= classes) continue;
        void *to = nacre_array_at(out, nacre_array_offset(out, i * classes + hot));
        nacre_dtype_get(out->dtype)->store_int(to, 1);
    }
}

const nacre_op nacre_op_one_hot = {
    .name = "one_hot",
    .onnx = "OneHot",
    .arity = 1,
    .flags = NACRE_OP_INDEXED | NACRE_OP_NO_GRADIENT,
    .attrs = one_hot_attrs,
    .shape = one_hot_shape,
    .reference = one_hot_reference,
    .index_input = 0,
    .index_bound = one_hot_bound,
};

/* ---- public ---- */

nacre_tensor *nacre_gather_at(nacre_tensor *table, nacre_tensor *indices, const char *file,
                              int line) {
    return nacre_record_binary(&nacre_op_gather, table, indices, file, line);
}

nacre_tensor *nacre_f_embedding_at(nacre_tensor *indices, nacre_tensor *weight, const char *file,
                                   int line) {
    if (!indices || !weight) {
        nacre_fail_at(NACRE_INVALID_ARGUMENT, file, line, "embedding: %s is NULL",
                      indices ? "weight" : "indices");
        return nacre_error_tensor();
    }
    nacre_shape shape = nacre_shape_of(weight);
    if (nacre_usable(weight) && shape.ndim != 2) {
        char text[NACRE_SHAPE_TEXT];
        nacre_fail_at(NACRE_SHAPE_MISMATCH, file, line,
                      "embedding: weight is %s: it must be [n, features]",
                      nacre_shape_text(&shape, text));
        return nacre_error_tensor();
    }
    return nacre_gather_at(weight, indices, file, line);
}

nacre_tensor *nacre_one_hot_at(nacre_tensor *indices, int64_t classes, nacre_dtype dtype,
                               const char *file, int line) {
    nacre_recording recording = {.op = &nacre_op_one_hot,
                                 .inputs = 1,
                                 .in = {indices},
                                 .attrs = {[NACRE_ONE_HOT_CLASSES] = {.i = classes}},
                                 .wanted_dtype = dtype,
                                 .file = file,
                                 .line = line};
    return nacre_record_one(&recording);
}
