/* cross_entropy(logits [n, classes], target): mean over rows of -log softmax(logits)[target]. The target
   is [n] class indices, or [n, classes] probabilities p: then -sum(p log softmax). */
#include "ops/common.h"

static nacre_status target_error(const nacre_inference *inference) {
    char logits[NACRE_SHAPE_TEXT], target[NACRE_SHAPE_TEXT];
    return nacre_fail_at(NACRE_SHAPE_MISMATCH, inference->file, inference->line,
                         "%s: logits is %s %s, target is %s %s: target must be [n] class indices "
                         "(i64, i32, u8) or [n, classes] of logits' dtype",
                         inference->op->name, nacre_dtype_name(inference->in[0].dtype),
                         nacre_shape_text(&inference->in[0].shape, logits),
                         nacre_dtype_name(inference->in[1].dtype),
                         nacre_shape_text(&inference->in[1].shape, target));
}

static nacre_status check_pair(const nacre_inference *inference) {
    const nacre_shape *logits = &inference->in[0].shape, *target = &inference->in[1].shape;
    char text[NACRE_SHAPE_TEXT];
    nacre_status status = nacre_need_float(inference, 0, "logits");
    if (status) return status;
    if (logits->ndim != 2 || logits->dims[0] == 0 || logits->dims[1] == 0)
        return nacre_fail_at(NACRE_SHAPE_MISMATCH, inference->file, inference->line,
                             "%s: logits is %s: it must be [n, classes] with at least one row and "
                             "one class",
                             inference->op->name, nacre_shape_text(logits, text));
    if (nacre_dtype_get(inference->in[1].dtype)->kind == NACRE_CLASS_INT)
        return target->ndim == 1 && target->dims[0] == logits->dims[0] ? NACRE_OK
                                                                       : target_error(inference);
    return inference->in[1].dtype == inference->in[0].dtype && nacre_shape_equal(logits, target)
               ? NACRE_OK
               : target_error(inference);
}

static nacre_status loss_shape(nacre_inference *inference) {
    inference->out[0].dtype = inference->in[0].dtype;
    inference->out[0].shape = (nacre_shape){.ndim = 0};
    return check_pair(inference);
}

static nacre_status backward_shape(nacre_inference *inference) {
    nacre_status status = check_pair(inference);
    if (!status) status = nacre_need_equal_dtypes(inference, 0, "logits", 2, "dloss");
    if (!status && inference->in[2].shape.ndim != 0) {
        char text[NACRE_SHAPE_TEXT];
        status = nacre_fail_at(NACRE_SHAPE_MISMATCH, inference->file, inference->line,
                               "%s: dloss is %s: it must be a scalar", inference->op->name,
                               nacre_shape_text(&inference->in[2].shape, text));
    }
    return status ? status : nacre_infer_same(inference);
}

/* Rows of probabilities are no indices: nothing to check. */
static int64_t class_bound(const nacre_call *call) {
    bool indices = nacre_dtype_get(call->in[1].dtype)->kind == NACRE_CLASS_INT;
    return indices ? call->in[0].shape.dims[1] : -1;
}

static bool has_indices(nacre_tensor *target) {
    return nacre_usable(target) && !nacre_dtype_is_float(nacre_dtype_of(target));
}

static nacre_tensor *over_rows(nacre_tensor *t, nacre_tensor *logits, const char *file, int line) {
    double rows = (double)nacre_size(logits, 0);
    return nacre_div_at(t, nacre_scalar(nacre_dtype_of(t), rows, file, line), file, line);
}

static double loss_flops(const nacre_call *call) {
    return 6 * (double)nacre_shape_numel(&call->in[0].shape);
}

/* ---- cross_entropy ---- */

/* [n, classes], as many as logits has */
static nacre_tensor *one_hot(nacre_tensor *target, nacre_tensor *logits, nacre_dtype dtype,
                             const char *file, int line) {
    if (!nacre_usable(logits)) return logits; /* an error has no shape */
    return nacre_one_hot_at(target, nacre_size(logits, 1), dtype, file, line);
}

static void loss_decompose(nacre_expansion *e) {
    const char *file = e->file;
    int line = e->line;
    nacre_tensor *logits = e->in[0], *target = e->in[1], *picked;
    nacre_tensor *logp = nacre_f_log_softmax_at(logits, 1, file, line);
    if (has_indices(target)) {
        /* Selected, not multiplied: a class that is ruled out (-inf) elsewhere must not make 0 * inf. */
        nacre_tensor *hot = one_hot(target, logits, NACRE_BOOL, file, line);
        picked = nacre_where_at(hot, logp, nacre_scalar(nacre_dtype_of(logp), 0, file, line), file,
                                line);
    } else {
        picked = nacre_mul_at(target, logp, file, line);
    }
    nacre_tensor *sum = nacre_record_reduce(&nacre_op_sum, picked, 3, false, file, line);
    e->out[0] = nacre_neg_at(over_rows(sum, logits, file, line), file, line);
}

static void loss_gradient(nacre_gradient *g) {
    const char *file = g->file;
    int line = g->line;
    if (g->wanted[0]) {
        nacre_recording recording = {.op = &nacre_op_cross_entropy_backward,
                                     .inputs = 3,
                                     .in = {g->in[0], g->in[1], g->dout[0]},
                                     .file = file,
                                     .line = line};
        g->din[0] = nacre_record_one(&recording);
    }
    if (g->wanted[1]) { /* dp = -log softmax(logits) / n */
        nacre_tensor *logp = nacre_f_log_softmax_at(g->in[0], 1, file, line);
        nacre_tensor *scale = nacre_neg_at(over_rows(g->dout[0], g->in[0], file, line), file, line);
        g->din[1] = nacre_mul_at(logp, scale, file, line);
    }
}

const nacre_op nacre_op_cross_entropy = {
    .name = "cross_entropy",
    .onnx = "SoftmaxCrossEntropyLoss",
    .arity = 2,
    .flags = NACRE_OP_INDEXED,
    .gradient_reads = NACRE_READS_IN(0) | NACRE_READS_IN(1),
    .shape = loss_shape,
    .gradient = loss_gradient,
    .decompose = loss_decompose,
    .flops = loss_flops,
    .index_input = 1,
    .index_bound = class_bound,
};

/* ---- cross_entropy_backward(logits, target, dloss): (softmax(logits) sum(p) - p) dloss / n, with p the
   target's probabilities, one-hot for indices ---- */

static void backward_decompose(nacre_expansion *e) {
    const char *file = e->file;
    int line = e->line;
    nacre_tensor *logits = e->in[0], *target = e->in[1];
    nacre_tensor *p = nacre_f_softmax_at(logits, 1, file, line);
    if (has_indices(target)) {
        target = one_hot(target, logits, nacre_dtype_of(logits), file, line);
    } else {
        nacre_tensor *sum = nacre_record_reduce(&nacre_op_sum, target, 2, true, file, line);
        p = nacre_mul_at(p, sum, file, line);
    }
    nacre_tensor *difference = nacre_sub_at(p, target, file, line);
    e->out[0] = nacre_mul_at(difference, over_rows(e->in[2], logits, file, line), file, line);
}

const nacre_op nacre_op_cross_entropy_backward = {
    .name = "cross_entropy_backward",
    .arity = 3,
    .flags = NACRE_OP_INDEXED,
    .gradient_reads = NACRE_READS_IN(0) | NACRE_READS_IN(1) | NACRE_READS_IN(2),
    .shape = backward_shape,
    .decompose = backward_decompose,
    .flops = loss_flops,
    .index_input = 1,
    .index_bound = class_bound,
};

nacre_tensor *nacre_f_cross_entropy_at(nacre_tensor *logits, nacre_tensor *target, const char *file,
                                       int line) {
    return nacre_record_binary(&nacre_op_cross_entropy, logits, target, file, line);
}
