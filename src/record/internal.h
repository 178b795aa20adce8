/* Shared inside the record layer only. */
#ifndef NACRE_RECORD_INTERNAL_H
#define NACRE_RECORD_INTERNAL_H

#include "record/record.h"

size_t nacre_record_bytes(int outputs);
nacre_record *nacre_record_new(const nacre_op *op, int outputs); /* zeroed; NULL: no memory */
/* Checks and appends a record whose outputs have no handles yet. NULL: *error says why. */
nacre_record *nacre_record_make(nacre_thread *thread, const nacre_recording *recording,
                                nacre_tensor **error);
void nacre_value_add_reader(nacre_value *value);
void nacre_value_drop_reader(nacre_value *value);
/* Past this many pending records the runtime evaluates by itself. */
#define NACRE_PENDING_LIMIT 65536
nacre_status nacre_evaluate_overflow(nacre_thread *thread);
nacre_tensor *nacre_error_copy(nacre_tensor *error); /* another handle of the same error */

#endif
