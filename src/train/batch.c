/* What happens with one batch: a training step, or a judgement. */
#include "base/error.h"
#include "base/memory.h"
#include "record/record.h"
#include "train/model.h"

#include <inttypes.h>
#include <math.h>
#include <nacre/grad.h>
#include <nacre/ops.h>
#include <string.h>

/* ---- counting right answers ---- */

bool nacre_model_has_classes(const nacre_model *model, const nacre_dataset *set) {
    return strcmp(nacre_loss_kind(model->loss), "CrossEntropy") == 0 ||
           (set && nacre_dataset_classes(set) > 0);
}

/* The target's class per row; NULL: it has none. */
static nacre_tensor *target_classes(nacre_tensor *y, nacre_tensor *target, bool classes) {
    nacre_shape output = nacre_shape_of(y), wanted = nacre_shape_of(target);
    if (output.ndim < 1 || output.dims[output.ndim - 1] < 1) {
        return NULL;
    }
    if (nacre_dtype_is_float(nacre_dtype_of(target))) {
        return classes && nacre_shape_equal(&output, &wanted)
                   ? nacre_argmax(target, .axes = NACRE_AXES(-1))
                   : NULL;
    }
    output.ndim--;
    return nacre_shape_equal(&output, &wanted) ? nacre_cast(target, NACRE_I64) : NULL;
}

/* How many rows of y have their largest element at the target's class, as a scalar; NULL: there are no
   classes. Part of the step's own plan, so that it costs no forward pass. */
static nacre_tensor *count_correct(nacre_tensor *y, nacre_tensor *target, bool classes,
                                   int64_t *judged) {
    bool grad = nacre_set_grad_enabled(false);
    nacre_tensor *sum = NULL, *wanted = target_classes(y, target, classes);
    if (wanted) {
        *judged = nacre_numel(wanted);
        sum = nacre_sum(nacre_equal(nacre_argmax(y, .axes = NACRE_AXES(-1)), wanted));
    }
    nacre_set_grad_enabled(grad);
    return sum;
}

/* ---- the output, a few samples at a time ---- */

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

static nacre_status append_piece(nacre_model *model, nacre_tensor *x, int64_t from, int64_t n,
                                 pieces *p) {
    nacre_tensor *y = nacre_module_forward(model->network, x);
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

/* The network's output, computed `most` samples at a time, so that no plan is larger than one of so many. A sample's
   output has the same bits in any batch (docs/architecture.md), so the loss of all has them too. */
static nacre_tensor *forward_in_pieces(nacre_model *model, nacre_tensor *inputs, int64_t most) {
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
        status = append_piece(model, piece_of(inputs, data, from, n), from, n, &p);
        nacre_status ended = nacre_scope_end(scope);
        status = status != NACRE_OK ? status : ended;
    }
    nacre_tensor *y = status == NACRE_OK
                          ? nacre_from_data(p.output, .shape = p.shape, .dtype = p.dtype)
                          : nacre_error_tensor();
    nacre_free(p.output);
    return y;
}

/* ---- one batch ---- */

typedef struct recorded {
    nacre_tensor *loss, *correct;
    int64_t judged;
} recorded;

/* The loss of output y. */
static nacre_status record_batch(nacre_model *model, const nacre_batch *batch, nacre_tensor *y,
                                 bool classes, recorded *out) {
    out->loss = nacre_loss_compute(model->loss, y, batch->targets);
    if (nacre_is_error(out->loss)) {
        return nacre_fail(nacre_tensor_status(out->loss), "%s", nacre_tensor_message(out->loss));
    }
    if (nacre_numel(out->loss) != 1) {
        char text[NACRE_SHAPE_TEXT];
        nacre_shape shape = nacre_shape_of(out->loss);
        return nacre_fail(NACRE_SHAPE_MISMATCH, "%s: the loss is %s, not one element",
                          nacre_loss_kind(model->loss), nacre_shape_text(&shape, text));
    }
    out->correct = count_correct(y, batch->targets, classes, &out->judged);
    if (out->correct && nacre_is_error(out->correct)) {
        return nacre_fail(nacre_tensor_status(out->correct), "%s",
                          nacre_tensor_message(out->correct));
    }
    return NACRE_OK;
}

static nacre_status read_batch(const recorded *r, nacre_batch_result *out) {
    nacre_tensor *wanted[] = {r->loss, r->correct};
    nacre_status status = nacre_eval_all(wanted, r->correct ? 2 : 1);
    if (status == NACRE_OK) {
        out->loss = nacre_item(r->loss);
        out->correct = r->correct ? nacre_item_i64(r->correct) : 0;
        out->judged = r->correct ? r->judged : 0;
    }
    return status;
}

/* Says of a plan that the memory limit does not allow what it was for. */
static nacre_status name_refused(nacre_status status, const char *what, int64_t samples) {
    const nacre_thread *thread = nacre_this_thread();
    if (status != NACRE_OUT_OF_MEMORY || !thread || thread->memory_limit == 0) {
        return status;
    }
    return nacre_fail(status, "%s of %" PRId64 " sample%s: %s", what, samples,
                      samples == 1 ? "" : "s", nacre_error_message());
}

static void zero_grads(nacre_model *model) {
    nacre_module_zero_grad(model->network);
    nacre_module_zero_grad(nacre_loss_module(model->loss));
}

nacre_status nacre_model_step(nacre_model *model, const nacre_batch *batch, bool classes,
                              nacre_batch_result *out) {
    nacre_scope scope = nacre_scope_begin();
    if (scope < 0) {
        return nacre_error_code();
    }
    bool grad = nacre_set_grad_enabled(true);
    recorded r = {0};
    zero_grads(model);
    nacre_tensor *y = nacre_module_forward(model->network, batch->inputs);
    nacre_status status = record_batch(model, batch, y, classes, &r);
    if (status == NACRE_OK) {
        status = nacre_backward(r.loss);
    }
    if (status == NACRE_OK) {
        status = nacre_step(model->optimizer);
    }
    if (status == NACRE_OK) {
        status = read_batch(&r, out);
    } else { /* nothing may be pending when the scope ends: no gradient, no layer's statistics */
        zero_grads(model);
        nacre_rollback(nacre_this_thread());
    }
    nacre_set_grad_enabled(grad);
    nacre_status ended = nacre_scope_end(scope);
    status = status != NACRE_OK ? status : ended;
    return name_refused(status, "a training step", batch->count);
}

nacre_status nacre_model_judge(nacre_model *model, const nacre_batch *batch, bool classes,
                               int64_t most, nacre_batch_result *out) {
    nacre_scope scope = nacre_scope_begin();
    if (scope < 0) {
        return nacre_error_code();
    }
    recorded r = {0};
    bool whole = most == 0 || nacre_ndim(batch->inputs) < 1 || nacre_size(batch->inputs, 0) <= most;
    nacre_tensor *y = whole ? nacre_module_forward(model->network, batch->inputs)
                            : forward_in_pieces(model, batch->inputs, most);
    nacre_status status = record_batch(model, batch, y, classes, &r);
    if (status == NACRE_OK) {
        status = read_batch(&r, out);
    }
    nacre_status ended = nacre_scope_end(scope);
    status = status != NACRE_OK ? status : ended;
    return name_refused(status, "the evaluation", whole ? batch->count : most);
}

/* ---- sums ---- */

void nacre_tally_add(nacre_tally *tally, const nacre_batch_result *result, int64_t count) {
    tally->loss += result->loss * (double)count;
    tally->samples += count;
    tally->correct += result->correct;
    tally->judged += result->judged;
}

nacre_metrics nacre_tally_metrics(const nacre_tally *tally) {
    return (nacre_metrics){
        .loss = tally->samples ? tally->loss / (double)tally->samples : NAN,
        .accuracy = tally->judged ? (double)tally->correct / (double)tally->judged : NAN,
        .samples = tally->samples,
    };
}
