/* What happens with one batch: a training step, or a judgement. */
#include "base/error.h"
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

nacre_status nacre_name_refused(nacre_status status, const char *what, int64_t samples) {
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
    return nacre_name_refused(status, "a training step", batch->count);
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
                            : nacre_forward_in_pieces(model->network, batch->inputs, most);
    nacre_status status = record_batch(model, batch, y, classes, &r);
    if (status == NACRE_OK) {
        status = read_batch(&r, out);
    }
    bool of_output = whole || nacre_is_error(y);
    nacre_status ended = nacre_scope_end(scope);
    status = status != NACRE_OK ? status : ended;
    if (of_output) {
        return nacre_name_refused(status, "the evaluation", whole ? batch->count : most);
    }
    return nacre_name_refused(status, "the loss of an evaluation", batch->count);
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
