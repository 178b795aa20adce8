/* The interface of optimisers: life, binding, settings, state. */
#include "optim/optimizer.h"

#include "base/error.h"
#include "base/memory.h"
#include "nn/module.h"
#include "record/record.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static nacre_optimizer out_of_memory = {.class_ = {.name = "?"},
                                        .status = NACRE_OUT_OF_MEMORY,
                                        .message = "optimizer: out of memory",
                                        .immortal = true};

/* ---- errors ---- */

nacre_status nacre_optimizer_set_error(nacre_optimizer *optimizer, nacre_status status) {
    if (status != NACRE_OK && !optimizer->immortal && optimizer->status == NACRE_OK) {
        optimizer->status = status;
        snprintf(optimizer->message, sizeof optimizer->message, "%s", nacre_error_message());
    }
    return status;
}

nacre_status nacre_optimizer_check(const nacre_optimizer *optimizer, const char *what) {
    if (!optimizer) {
        return nacre_fail(NACRE_INVALID_ARGUMENT, "%s: the optimizer is NULL", what);
    }
    return optimizer->status == NACRE_OK ? NACRE_OK
                                         : nacre_fail(optimizer->status, "%s", optimizer->message);
}

nacre_status nacre_optimizer_status(const nacre_optimizer *optimizer) {
    return optimizer ? optimizer->status : NACRE_INVALID_ARGUMENT;
}

const char *nacre_optimizer_message(const nacre_optimizer *optimizer) {
    return optimizer ? optimizer->message : "the optimizer is NULL";
}

const char *nacre_optimizer_kind(const nacre_optimizer *optimizer) {
    return optimizer && optimizer->class_.name ? optimizer->class_.name : "?";
}

/* ---- life ---- */

static nacre_status check_new(const nacre_optimizer *optimizer) {
    const nacre_optimizer_class *class_ = &optimizer->class_;
    if (!class_->name || !class_->update) {
        return nacre_fail(NACRE_INVALID_ARGUMENT,
                          "optimizer: the class needs a name and an update");
    }
    if (class_->state_count > NACRE_MAX_STATES || (class_->state_count && !class_->state_names)) {
        return nacre_fail(NACRE_INVALID_ARGUMENT,
                          "%s: at most %d tensors of state per parameter, each with a name",
                          class_->name, NACRE_MAX_STATES);
    }
    if (!isfinite(optimizer->lr) || optimizer->lr < 0) {
        return nacre_fail(NACRE_INVALID_ARGUMENT,
                          "%s: the learning rate is %g: it must be finite and at least 0",
                          class_->name, optimizer->lr);
    }
    return NACRE_OK;
}

nacre_optimizer *nacre_optimizer_new(const nacre_optimizer_class *class_, void *self, double lr) {
    nacre_optimizer *optimizer = nacre_alloc_zeroed(1, sizeof *optimizer);
    if (!optimizer) {
        if (class_ && class_->destroy) {
            class_->destroy(self);
        }
        return &out_of_memory;
    }
    if (class_) {
        memcpy(&optimizer->class_, class_,
               class_->size < sizeof *class_ ? class_->size : sizeof *class_);
    }
    optimizer->self = self;
    optimizer->lr = lr;
    nacre_optimizer_set_error(optimizer, check_new(optimizer));
    return optimizer;
}

static void free_slots(nacre_optimizer *optimizer) {
    for (size_t i = 0; i < optimizer->count; i++) {
        nacre_slot *slot = &optimizer->slots[i];
        nacre_release(slot->parameter);
        for (size_t k = 0; k <= optimizer->class_.state_count; k++) {
            nacre_free(slot->names[k]);
        }
        for (size_t k = 0; k < optimizer->class_.state_count; k++) {
            nacre_release(slot->state[k]);
        }
    }
    nacre_free(optimizer->slots);
    nacre_release(optimizer->step);
    optimizer->slots = NULL;
    optimizer->count = 0;
    optimizer->step = NULL;
}

void nacre_optimizer_free(nacre_optimizer *optimizer) {
    if (!optimizer || optimizer->immortal) {
        return;
    }
    free_slots(optimizer);
    nacre_schedule_free(optimizer->schedule);
    if (optimizer->class_.destroy) {
        optimizer->class_.destroy(optimizer->self);
    }
    nacre_free(optimizer);
}

/* ---- binding ---- */

/* A tensor of zeros outside any scope; NULL when memory is short. */
static nacre_tensor *zeros_variable(nacre_dtype dtype, nacre_shape shape) {
    nacre_scope frame = nacre_frame_begin();
    nacre_tensor *t = frame < 1 ? NULL : nacre_tensor_leaf(dtype, &shape);
    if (t) {
        memset(t->value->storage->data, 0, t->value->storage->bytes);
        nacre_retain(t);
    }
    nacre_frame_end(frame, NULL, 0);
    return t;
}

static char *join(const char *a, const char *b, const char *c) {
    size_t size = strlen(a) + strlen(b) + strlen(c) + 1;
    char *text = nacre_alloc(size);
    if (text) {
        snprintf(text, size, "%s%s%s", a, b, c);
    }
    return text;
}

static nacre_status fill_slot(const nacre_optimizer_class *class_, nacre_slot *slot,
                              nacre_tensor *parameter, const char *prefix, const char *name) {
    slot->parameter = nacre_retain(parameter);
    slot->names[0] = join(prefix, name, "");
    if (!slot->names[0]) {
        return NACRE_OUT_OF_MEMORY;
    }
    for (size_t k = 0; k < class_->state_count; k++) {
        slot->names[k + 1] = join(slot->names[0], ".", class_->state_names[k]);
        slot->state[k] = zeros_variable(nacre_dtype_of(parameter), nacre_shape_of(parameter));
        if (!slot->names[k + 1] || !slot->state[k]) {
            return NACRE_OUT_OF_MEMORY;
        }
    }
    return NACRE_OK;
}

/* The newest slot's parameter must not be an earlier one's. */
static nacre_status check_listed_once(const nacre_optimizer *optimizer) {
    const nacre_slot *slots = optimizer->slots, *newest = &slots[optimizer->count - 1];
    for (const nacre_slot *slot = slots; slot < newest; slot++) {
        if (slot->parameter == newest->parameter) {
            return nacre_fail(NACRE_INVALID_ARGUMENT,
                              "%s: parameters \"%s\" and \"%s\" are the same tensor: a step would "
                              "change it twice; list it once",
                              nacre_optimizer_kind(optimizer), slot->names[0], newest->names[0]);
        }
    }
    return NACRE_OK;
}

nacre_status nacre_optimizer_bind_all(nacre_optimizer *optimizer, nacre_module *const *modules,
                                      const char *const *prefixes, size_t count) {
    nacre_status status = nacre_optimizer_check(optimizer, "bind");
    size_t total = 0;
    for (size_t i = 0; status == NACRE_OK && i < count; i++) {
        status = nacre_module_check(modules[i], "bind");
        total += nacre_module_parameter_count(modules[i]);
    }
    if (status == NACRE_OK && optimizer->bound) {
        status = nacre_fail(NACRE_INVALID_STATE, "%s: bound to parameters already",
                            nacre_optimizer_kind(optimizer));
    }
    if (status != NACRE_OK) {
        return status;
    }
    optimizer->slots = nacre_alloc_zeroed(total ? total : 1, sizeof *optimizer->slots);
    optimizer->step = zeros_variable(NACRE_I64, (nacre_shape){.ndim = 0});
    status = optimizer->slots && optimizer->step ? NACRE_OK : NACRE_OUT_OF_MEMORY;
    for (size_t i = 0; i < count; i++) {
        size_t own = nacre_module_parameter_count(modules[i]);
        for (size_t k = 0; status == NACRE_OK && k < own; k++) {
            status = fill_slot(&optimizer->class_, &optimizer->slots[optimizer->count++],
                               nacre_module_parameter_at(modules[i], k), prefixes[i],
                               nacre_module_parameter_name(modules[i], k));
            status = status ? status : check_listed_once(optimizer);
        }
    }
    optimizer->bound = status == NACRE_OK;
    if (status != NACRE_OK) {
        free_slots(optimizer);
    }
    return status;
}

nacre_status nacre_optimizer_bind(nacre_optimizer *optimizer, nacre_module *module) {
    return nacre_optimizer_bind_all(optimizer, &module, (const char *const[]){""}, 1);
}

/* ---- settings ---- */

nacre_status nacre_optimizer_set_schedule(nacre_optimizer *optimizer, nacre_schedule *schedule,
                                          int64_t total) {
    nacre_status status = nacre_optimizer_check(optimizer, "set_schedule");
    if (status == NACRE_OK && !schedule) {
        status = nacre_fail(NACRE_INVALID_ARGUMENT, "set_schedule: the schedule is NULL");
    }
    if (status == NACRE_OK) {
        status = nacre_schedule_status(schedule);
    }
    if (status == NACRE_OK && total < 0) {
        status =
            nacre_fail(NACRE_INVALID_ARGUMENT, "set_schedule: %" PRId64 " steps in total", total);
    }
    if (status != NACRE_OK) {
        nacre_schedule_free(schedule);
        return optimizer ? nacre_optimizer_set_error(optimizer, status) : status;
    }
    nacre_schedule_free(optimizer->schedule);
    optimizer->schedule = schedule;
    optimizer->total = total;
    return NACRE_OK;
}

static nacre_status set_bound(nacre_optimizer *optimizer, double *member, double value,
                              const char *what) {
    nacre_status status = nacre_optimizer_check(optimizer, what);
    if (status == NACRE_OK && (!isfinite(value) || value < 0)) {
        status = nacre_fail(NACRE_INVALID_ARGUMENT,
                            "%s: %g: it must be finite and above 0, or 0 for none", what, value);
    }
    if (status == NACRE_OK) {
        *member = value;
    }
    return status;
}

nacre_status nacre_optimizer_clip_norm(nacre_optimizer *optimizer, double norm) {
    return set_bound(optimizer, optimizer ? &optimizer->clip_norm : NULL, norm, "clip_norm");
}

nacre_status nacre_optimizer_clip_value(nacre_optimizer *optimizer, double value) {
    return set_bound(optimizer, optimizer ? &optimizer->clip_value : NULL, value, "clip_value");
}

int64_t nacre_optimizer_set_total(nacre_optimizer *optimizer, int64_t total) {
    int64_t before = optimizer->total;
    optimizer->total = total;
    return before;
}

int64_t nacre_optimizer_steps(const nacre_optimizer *optimizer) {
    return optimizer ? optimizer->steps : 0;
}

double nacre_optimizer_rate(const nacre_optimizer *optimizer) {
    if (!optimizer) {
        return NAN;
    }
    return optimizer->schedule ? nacre_schedule_rate(optimizer->schedule, optimizer->lr,
                                                     optimizer->steps, optimizer->total)
                               : optimizer->lr;
}

/* ---- what a step may change ---- */

size_t nacre_optimizer_variable_count(const nacre_optimizer *optimizer) {
    return optimizer->count * (1 + optimizer->class_.state_count) + (optimizer->step != NULL);
}

nacre_tensor *nacre_optimizer_variable(const nacre_optimizer *optimizer, size_t index) {
    size_t each = 1 + optimizer->class_.state_count;
    if (index >= optimizer->count * each) {
        return optimizer->step;
    }
    const nacre_slot *slot = &optimizer->slots[index / each];
    return index % each == 0 ? slot->parameter : slot->state[index % each - 1];
}

void nacre_optimizer_set_steps(nacre_optimizer *optimizer, int64_t steps) {
    optimizer->steps = steps;
}

/* ---- state ---- */

/* The optimiser's own tensors by name, freed by the caller; NULL when memory is short. */
static nacre_named *list_state(const nacre_optimizer *optimizer, size_t *count) {
    size_t states = optimizer->class_.state_count;
    *count = 1 + optimizer->count * states;
    nacre_named *entries = nacre_alloc_zeroed(*count, sizeof *entries);
    if (!entries) {
        return NULL;
    }
    entries[0] = (nacre_named){.name = "step", .tensor = optimizer->step};
    for (size_t i = 0; i < optimizer->count; i++) {
        const nacre_slot *slot = &optimizer->slots[i];
        for (size_t k = 0; k < states; k++) {
            entries[1 + i * states + k] =
                (nacre_named){.name = slot->names[k + 1], .tensor = slot->state[k]};
        }
    }
    return entries;
}

static nacre_status check_bound(const nacre_optimizer *optimizer, const char *what) {
    nacre_status status = nacre_optimizer_check(optimizer, what);
    return status == NACRE_OK && !optimizer->bound
               ? nacre_fail(NACRE_INVALID_STATE,
                            "%s: this %s has no parameters yet: call nacre_optimizer_bind first",
                            what, nacre_optimizer_kind(optimizer))
               : status;
}

nacre_state_dict *nacre_optimizer_state(const nacre_optimizer *optimizer) {
    if (check_bound(optimizer, "optimizer_state") != NACRE_OK) {
        return NULL;
    }
    size_t count;
    nacre_named *entries = list_state(optimizer, &count);
    nacre_state_dict *dict = entries ? nacre_named_save(entries, count) : NULL;
    nacre_free(entries);
    return dict;
}

nacre_status nacre_optimizer_load_state(nacre_optimizer *optimizer, const nacre_state_dict *dict) {
    nacre_status status = check_bound(optimizer, "optimizer_load_state");
    if (status != NACRE_OK) {
        return status;
    }
    nacre_tensor *step = dict ? nacre_state_dict_find(dict, "step") : NULL;
    if (step && !nacre_is_error(step) && nacre_numel(step) == 1 && nacre_item_i64(step) < 0) {
        return nacre_fail(NACRE_INVALID_ARGUMENT, "optimizer_load_state: \"step\" is negative");
    }
    size_t count;
    nacre_named *entries = list_state(optimizer, &count);
    status = entries ? nacre_named_load(entries, count, dict, "optimizer_load_state")
                     : NACRE_OUT_OF_MEMORY;
    nacre_free(entries);
    if (status == NACRE_OK) {
        optimizer->steps = nacre_item_i64(optimizer->step);
    }
    return status;
}
