/* Tuning tables as text: a line "nacre tuning 1", one "cpu NAME", comments (#), one line per entry, and "end COUNT", so
   that a file that was cut is seen. */
#ifndef NACRE_IO_TUNING_H
#define NACRE_IO_TUNING_H

#include "backend/cpu/tuning.h"
#include "io/text.h"

/* A table of the CPU `model`, see nacre_cpu_model. All or nothing: NACRE_BAD_FILE names `name` and the line. Release
   *out with nacre_tuning_free. */
nacre_status nacre_tuning_parse(const char *bytes, size_t size, const char *name, const char *model,
                                nacre_tuning_table *out);
void nacre_tuning_append(const nacre_tuning_table *table, const char *model, nacre_text *text);
/* "turned, B packed in its task, tasks of 2^17": what differs from the rules. */
void nacre_tuning_describe(const nacre_product_choice *choice, nacre_text *text);

/* Where nacre_tuning_load(NULL) looks; "" if there is no such place. */
enum { NACRE_TUNING_PATH_BYTES = 4096 };
void nacre_tuning_path(char out[NACRE_TUNING_PATH_BYTES]);
/* Whether nacre_tuning_save(NULL) could write there; nothing is made. */
nacre_status nacre_tuning_check_place(void);

#endif
