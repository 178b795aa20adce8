/* The output of a whole batch, computed a few samples at a time. */
#include "base/error.h"
#include "base/memory.h"
#include "record/record.h"
#include "train/model.h"

#include <inttypes.h>
#include <nacre/ops.h>
#include <string.h>

/* Output rows of the samples so far: each sample gives `rows` rows of the first extent. */
typedef struct pieces {
    int64_t count, rows; /* samples of the whole batch */
    nacre_shape shape;   /* of the whole output */
    nacre_dtype dtype;
    size_t row_bytes; /* of one sample */
    unsigned char *output;
} pieces;

/* Samples [from, from + n) of contiguous `data`, as a leaf of their own: equal shapes share one plan. */
static nacre_tensor *piece_of(nacre_tensor *inputs, const unsigned char *data, int64_t from,
                              int64_t n) {
    nacre_shape shape = nacre_shape_of(inputs);
    size_t bytes = nacre_dtype_size(nacre_dtype_of(inputs));
    for (int i = 1; i < shape.ndim; i++) {
        bytes *= (size_t)shape.dims[i];
    }
    shape.dims[0] = n;
    return nacre_from_data(data + (size_t)from * bytes, .shape = shape,
                           .dtype = nacre_dtype_of(inputs));
}

static nacre_status make_output(pieces *p, nacre_tensor *y, int64_t n) {
    p->shape = nacre_shape_of(y);
    p->dtype = nacre_dtype_of(y);
    if (p->shape.ndim < 1 || p->shape.dims[0] % n != 0) {
        char text[NACRE_SHAPE_TEXT];
        return nacre_fail(NACRE_SHAPE_MISMATCH,
                          "evaluate: under a memory limit samples are evaluated %" PRId64
                          " at a time, and their output is %s: its first extent must be a multiple "
                          "of that",
                          n, nacre_shape_text(&p->shape, text));
    }
    p->rows = p->shape.dims[0] / n;
    p->row_bytes = (size_t)(nacre_numel(y) / n) * nacre_dtype_size(p->dtype);
    p->shape.dims[0] = p->rows * p->count;
    p->output = nacre_alloc_zeroed((size_t)p->count, p->row_bytes ? p->row_bytes : 1);
    return p->output ? NACRE_OK : NACRE_OUT_OF_MEMORY;
}

static nacre_status append_piece(nacre_module *network, nacre_tensor *x, int64_t from, int64_t n,
                                 pieces *p) {
    nacre_tensor *y = nacre_module_forward(network, x);
    if (nacre_is_error(y)) {
        return nacre_fail(nacre_tensor_status(y), "%s", nacre_tensor_message(y));
    }
    const void *values = nacre_data(y);
    nacre_status status = values ? NACRE_OK : nacre_error_code();
    if (status == NACRE_OK && !p->output) {
        status = make_output(p, y, n);
    }
    if (status == NACRE_OK &&
        (size_t)nacre_numel(y) * nacre_dtype_size(p->dtype) != (size_t)n * p->row_bytes) {
        status = nacre_fail(NACRE_SHAPE_MISMATCH,
                            "evaluate: the output's size is not proportional to the batch's");
    }
    if (status == NACRE_OK) {
        memcpy(p->output + (size_t)from * p->row_bytes, values, (size_t)n * p->row_bytes);
    }
    return status;
}

nacre_tensor *nacre_forward_in_pieces(nacre_module *network, nacre_tensor *inputs, int64_t most) {
    pieces p = {.count = nacre_size(inputs, 0)};
    const unsigned char *data = nacre_data(inputs);
    nacre_status status = data ? NACRE_OK : nacre_error_code();
    for (int64_t from = 0; status == NACRE_OK && from < p.count; from += most) {
        int64_t n = p.count - from < most ? p.count - from : most;
        nacre_scope scope = nacre_scope_begin();
        if (scope < 0) {
            status = nacre_error_code();
            break;
        }
        status = append_piece(network, piece_of(inputs, data, from, n), from, n, &p);
        nacre_status ended = nacre_scope_end(scope);
        status = status != NACRE_OK ? status : ended;
    }
    nacre_tensor *y = status == NACRE_OK
                          ? nacre_from_data(p.output, .shape = p.shape, .dtype = p.dtype)
                          : nacre_error_tensor();
    nacre_free(p.output);
    return y;
}
