#include "train/snapshot.h"

#include "base/memory.h"
#include "optim/optimizer.h"
#include "record/record.h"

static size_t bytes_of(const nacre_tensor *t) {
    return (size_t)nacre_numel(t) * nacre_dtype_size(nacre_dtype_of(t));
}

nacre_status nacre_snapshot_make(nacre_snapshot *snapshot, const nacre_model *model) {
    size_t total = 0, count = nacre_optimizer_variable_count(model->optimizer);
    for (size_t i = 0; i < count; i++) {
        total += bytes_of(nacre_optimizer_variable(model->optimizer, i));
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
    size_t at = 0, count = nacre_optimizer_variable_count(model->optimizer);
    snapshot->taken = false;
    for (size_t i = 0; status == NACRE_OK && i < count; i++) {
        nacre_tensor *t = nacre_optimizer_variable(model->optimizer, i);
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
    size_t at = 0, count = nacre_optimizer_variable_count(model->optimizer);
    for (size_t i = 0; status == NACRE_OK && i < count; i++) {
        nacre_tensor *t = nacre_optimizer_variable(model->optimizer, i);
        status = nacre_copy_from(t, snapshot->bytes + at, bytes_of(t));
        at += bytes_of(t);
    }
    nacre_optimizer_set_steps(model->optimizer, snapshot->updates);
    nacre_this_thread()->draws = snapshot->draws;
    return status;
}
