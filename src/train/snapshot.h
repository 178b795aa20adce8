/* Everything a step may change, copied to memory reserved beforehand. */
#ifndef NACRE_TRAIN_SNAPSHOT_H
#define NACRE_TRAIN_SNAPSHOT_H

#include "train/model.h"

typedef struct nacre_snapshot {
    unsigned char *bytes; /* NULL: never made */
    bool taken;
    int64_t epoch, batch, step; /* the next to run; the caller's */
    int64_t updates;
    uint64_t draws;
} nacre_snapshot;

nacre_status nacre_snapshot_make(nacre_snapshot *snapshot, const nacre_model *model);
void nacre_snapshot_free(nacre_snapshot *snapshot);
nacre_status nacre_snapshot_take(nacre_snapshot *snapshot, nacre_model *model);
nacre_status nacre_snapshot_restore(const nacre_snapshot *snapshot, nacre_model *model);

#endif
