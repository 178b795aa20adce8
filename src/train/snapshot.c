#include "train/snapshot.h"

#include "base/memory.h"
#include "optim/optimizer.h"
#include "record/record.h"

static size_t bytes_of(const nacre_tensor *t) {
    return (size_t)nacre_numel(t) * nacre_dtype_size(nacre_dtype_of(t));
}

/* What the optimiser changes, then what the modules change themselves, such as running statistics. */
static nacre_tensor *variable(const nacre_model *model, size_t index) {
    size_t count = nacre_optimizer_variable_count(model->optimizer);
    if (index < count) {
        return nacre_optimizer_variable(model->optimizer, index);
    }
    index -= count;
    count = nacre_module_buffer_count(model->network);
    return index < count ? nacre_module_buffer_at(model->network, index)
                         : nacre_module_buffer_at(nacre_loss_module(model->loss), index - count);
}

static size_t variable_count(const nacre_model *model) {
    return nacre_optimizer_variable_count(model->optimizer) +
           nacre_module_buffer_count(model->network) +
           nacre_module_buffer_count(nacre_loss_module(model->loss));
}

nacre_status nacre_snapshot_make(nacre_snapshot *snapshot, const nacre_model *model) {
    size_t total = 0, count = variable_count(model);
    for (size_t i = 0; i < count; i++) {
        total += bytes_of(variable(model, i));
    }
    *snapshot = (nacre_snapshot){.bytes = nacre_alloc(total)};
    return snapshot->bytes ? NACRE_OK : NACRE_OUT_OF_MEMORY;
}

void nacre_snapshot_free(nacre_snapshot *snapshot) {
    nacre_free(snapshot->bytes);
    *snapshot = (nacre_snapshot){0};
}

nacre_status nacre_snapshot_take(nacre_snapshot *snapshot, nacre_model *model) {
    nacre_status status = NACRE_OK;
    size_t at = 0, count = variable_count(model);
    snapshot->taken = false;
    for (size_t i = 0; status == NACRE_OK && i < count; i++) {
        nacre_tensor *t = variable(model, i);
        status = nacre_copy_to(t, snapshot->bytes + at, bytes_of(t));
        at += bytes_of(t);
    }
    snapshot->updates = nacre_optimizer_steps(model->optimizer);
    snapshot->draws = nacre_this_thread()->draws;
    snapshot->taken = status == NACRE_OK;
    return status;
}

nacre_status nacre_snapshot_restore(const nacre_snapshot *snapshot, nacre_model *model) {
    nacre_status status = NACRE_OK;
    size_t at = 0, count = variable_count(model);
    for (size_t i = 0; status == NACRE_OK && i < count; i++) {
        nacre_tensor *t = variable(model, i);
        status = nacre_copy_from(t, snapshot->bytes + at, bytes_of(t));
        at += bytes_of(t);
    }
    nacre_optimizer_set_steps(model->optimizer, snapshot->updates);
    nacre_this_thread()->draws = snapshot->draws;
    return status;
}
