/* Running modules: forward, the hand-written backward, training and inference. */
#include "nn/module.h"

#include "base/error.h"
#include "base/memory.h"
#include "record/record.h"

#include <nacre/grad.h>
#include <nacre/ops.h>
#include <stdio.h>
#include <string.h>

static _Thread_local nacre_module_trace *trace;
static _Thread_local void *trace_context;

void nacre_module_set_trace(nacre_module_trace *new_trace, void *context) {
    trace = new_trace;
    trace_context = context;
}

static nacre_status check_tensor(const nacre_tensor *t, const char *what, const char *which) {
    if (!t) {
        return nacre_fail(NACRE_INVALID_ARGUMENT, "%s: %s is NULL", what, which);
    }
    return nacre_is_error(t) ? nacre_fail(nacre_tensor_status(t), "%s", nacre_tensor_message(t))
                             : NACRE_OK;
}

/* A layer's temporaries go when the outermost call of the library returns. */
static nacre_scope frame_enter(void) {
    nacre_thread *thread = nacre_this_thread();
    return !thread || thread->frames > 0 ? -1 : nacre_frame_begin();
}

static uint64_t draws_now(void) {
    const nacre_thread *thread = nacre_this_thread();
    return thread ? thread->draws : 0;
}

static void set_draws(uint64_t draws) {
    nacre_thread *thread = nacre_this_thread();
    if (thread) {
        thread->draws = draws;
    }
}

/* ---- errors: which layer, and whose line ---- */

static const char layer[] = "layer ", network[] = "the network ";

/* The innermost module names itself; those around it find that done. */
static bool is_named(const char *text) {
    return strncmp(text, layer, sizeof layer - 1) == 0 ||
           strncmp(text, network, sizeof network - 1) == 0;
}

/* y's error with the module's path and kind before it. The library's own lines go, the caller's line comes where it is
   known and there is no other. */
static nacre_tensor *name_error(const nacre_module *module, nacre_tensor *y, const char *file,
                                int line) {
    const char *text = nacre_tensor_message(y);
    size_t length = strlen(text), place = nacre_error_place(text);
    bool named = is_named(text), placed = place < length;
    if (named && (placed || !file)) {
        return y;
    }
    char path[NACRE_MODULE_DEPTH * NACRE_MODULE_NAME] = "", before[sizeof path + 64] = "";
    if (!named) {
        nacre_module_path(module, path, sizeof path);
        bool is_root = *path == '\0' && module->child_count > 0;
        snprintf(before, sizeof before, "%s%s%s(%.40s): ", is_root ? network : layer, path,
                 *path ? " " : "", nacre_module_kind(module));
    }
    if (!named && module->own) {
        length = place;
        placed = false;
    }
    nacre_fail_at(nacre_tensor_status(y), placed ? NULL : file, line, "%s%.*s", before, (int)length,
                  text);
    return nacre_error_tensor();
}

/* ---- forward ---- */

nacre_tensor *nacre_module_forward(nacre_module *module, nacre_tensor *x) {
    return nacre_module_forward_at(module, x, NULL, 0);
}

nacre_tensor *nacre_module_forward_at(nacre_module *module, nacre_tensor *x, const char *file,
                                      int line) {
    nacre_status status = nacre_module_check(module, "forward");
    if (status == NACRE_OK) {
        status = check_tensor(x, "forward", "the input");
    }
    if (status != NACRE_OK) {
        return nacre_error_tensor();
    }
    if (trace) {
        trace(trace_context, module, x, NULL);
    }
    nacre_scope frame = frame_enter();
    if (module->mode == NACRE_TRAIN) { /* in eval mode nothing is written */
        module->draws = draws_now();
    }
    nacre_tensor *y = module->class_.forward(module, module->self, x);
    if (!y) {
        nacre_fail(NACRE_INVALID_STATE, "%s: forward returned NULL", nacre_module_kind(module));
        y = nacre_error_tensor();
    }
    if (y->error) {
        y = name_error(module, y, file, line);
    }
    nacre_frame_end(frame, &y, 1);
    if (trace) {
        trace(trace_context, module, x, y);
    }
    return y;
}

/* ---- backward ---- */

static _Thread_local int backward_depth;

bool nacre_module_recomputes(void) { return backward_depth > 0; }

/* Gradients of sum(y dy) with respect to xs, where y is computed anew from a copy of x that is xs[0]. */
static nacre_status differentiate(nacre_module *module, nacre_tensor *x, nacre_tensor *dy,
                                  nacre_tensor **xs, size_t count, nacre_tensor **gradients) {
    bool before = nacre_set_grad_enabled(true);
    xs[0] = nacre_requires_grad(nacre_detach(x), true);
    nacre_tensor *y = nacre_module_forward(module, xs[0]);
    nacre_tensor *inner = nacre_sum(nacre_mul(y, dy));
    nacre_set_grad_enabled(before);
    return nacre_gradients(inner, xs, count, gradients);
}

/* Appends t to xs[1] .. unless it is there. Returns the new count. */
static size_t add_once(nacre_tensor **xs, size_t count, nacre_tensor *t) {
    for (size_t i = 1; i < count; i++) {
        if (xs[i] == t) {
            return count;
        }
    }
    xs[count] = t;
    return count + 1;
}

/* For classes without a backward of their own. */
static nacre_tensor *backward_by_autograd(nacre_module *module, nacre_tensor *x, nacre_tensor *dy) {
    size_t own = nacre_module_parameter_count(module), count = 1 + own;
    size_t tied = nacre_module_entry_count(module, NACRE_ENTRY_TIED), most = count + tied;
    nacre_tensor **xs = nacre_alloc_zeroed(2 * most, sizeof *xs);
    if (!xs) {
        return nacre_error_tensor();
    }
    nacre_tensor **gradients = xs + most;
    for (size_t i = 1; i < count; i++) {
        xs[i] = nacre_module_parameter_at(module, i - 1);
    }
    for (size_t i = 0; i < tied; i++) {
        count = add_once(xs, count, nacre_module_entry(module, NACRE_ENTRY_TIED, i)->tensor);
    }
    nacre_status status = differentiate(module, x, dy, xs, count, gradients);
    for (size_t i = 1; status == NACRE_OK && i < count; i++) {
        status = nacre_accumulate_grad(xs[i], gradients[i]);
    }
    nacre_tensor *dx = status == NACRE_OK ? gradients[0] : nacre_error_tensor();
    nacre_free(xs);
    return dx;
}

nacre_tensor *nacre_module_backward(nacre_module *module, nacre_tensor *x, nacre_tensor *y,
                                    nacre_tensor *dy) {
    nacre_status status = nacre_module_check(module, "backward");
    status = status ? status : check_tensor(x, "backward", "the input");
    status = status ? status : check_tensor(y, "backward", "the output");
    status = status ? status : check_tensor(dy, "backward", "the output's gradient");
    if (status == NACRE_OK) {
        nacre_shape output = nacre_shape_of(y), gradient = nacre_shape_of(dy);
        if (!nacre_shape_equal(&output, &gradient)) {
            char a[NACRE_SHAPE_TEXT], b[NACRE_SHAPE_TEXT];
            status = nacre_fail(NACRE_SHAPE_MISMATCH, "%s: backward: y is %s, its gradient %s",
                                nacre_module_kind(module), nacre_shape_text(&output, a),
                                nacre_shape_text(&gradient, b));
        }
    }
    if (status != NACRE_OK) {
        return nacre_error_tensor();
    }
    nacre_scope frame = frame_enter();
    bool before = nacre_set_grad_enabled(false);
    /* What is computed anew draws the same numbers, and later layers those that they would have drawn. */
    uint64_t draws = draws_now();
    if (module->mode == NACRE_TRAIN) {
        set_draws(module->draws);
    }
    backward_depth++;
    nacre_tensor *dx = module->class_.backward
                           ? module->class_.backward(module, module->self, x, y, dy)
                           : backward_by_autograd(module, x, dy);
    backward_depth--;
    set_draws(draws);
    nacre_set_grad_enabled(before);
    if (!dx) {
        nacre_fail(NACRE_INVALID_STATE, "%s: backward returned NULL", nacre_module_kind(module));
        dx = nacre_error_tensor();
    }
    nacre_frame_end(frame, &dx, 1);
    return dx;
}

/* ---- modes ---- */

static nacre_status set_mode(nacre_module *module, void *mode) {
    module->mode = *(const nacre_mode *)mode;
    return NACRE_OK;
}

void nacre_module_set_mode(nacre_module *module, nacre_mode mode) {
    if (module && !module->immortal) {
        nacre_module_walk(module, set_mode, &mode);
    }
}

nacre_mode nacre_module_mode(const nacre_module *module) {
    return module ? module->mode : NACRE_TRAIN;
}

/* Not an error: stops the walk. */
static nacre_status differs(nacre_module *module, void *mode) {
    return module->mode == *(const nacre_mode *)mode ? NACRE_OK : NACRE_INVALID_STATE;
}

static nacre_status push_mode(nacre_module *module, void *mode) {
    module->modes = module->modes << 1 | (module->mode == NACRE_EVAL);
    module->mode = *(const nacre_mode *)mode;
    return NACRE_OK;
}

static nacre_status pop_mode(nacre_module *module, void *unused) {
    (void)unused;
    module->mode = module->modes & 1 ? NACRE_EVAL : NACRE_TRAIN;
    module->modes >>= 1;
    return NACRE_OK;
}

bool nacre_module_mode_enter(nacre_module *module, nacre_mode mode) {
    if (module->immortal || nacre_module_walk(module, differs, &mode) == NACRE_OK) {
        return false;
    }
    nacre_module_walk(module, push_mode, &mode);
    return true;
}

void nacre_module_mode_leave(nacre_module *module) { nacre_module_walk(module, pop_mode, NULL); }
