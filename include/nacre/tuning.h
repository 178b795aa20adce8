/* Tuning: how products of given shapes are computed, found by measuring, kept in a file per kind of machine. */
#ifndef NACRE_TUNING_H
#define NACRE_TUNING_H

#include <nacre/status.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A table of choices by shape, empty at first. A product that is planned, on any thread, looks there for its
   kernel level, number of threads, extents and strides; what it does not find is chosen by rules. All choices have
   the same bits: a table changes times (and memory for packing), never results. Nothing is measured unasked.
   Plans that a thread has made before a table came into force keep theirs until nacre_plan_cache_clear.

       nacre_tuning_load(NULL);
*/

/* Puts the file's table in the place of the one in force. The library reads no table by itself; the program `nacre`
   calls nacre_tuning_load(NULL) when it starts. path NULL: what NACRE_TUNING names ("off": none, NACRE_OK), else
   nacre/tuning/<CPU>.txt in $XDG_DATA_HOME or ~/.local/share, where no file is an empty table and NACRE_OK.
   NACRE_NOT_FOUND, NACRE_IO_ERROR; NACRE_BAD_FILE names the line of what is no table, or a table of another kind
   of CPU. After a failure the table in force is what it was. */
NACRE_API nacre_status nacre_tuning_load(const char *path);

/* Writes the table in force, whole or not at all. path NULL: where nacre_tuning_load(NULL) looks, folders made as
   needed; NACRE_INVALID_STATE if there is no such place. */
NACRE_API nacre_status nacre_tuning_save(const char *path);

/* Empties the table in force. */
NACRE_API void nacre_tuning_clear(void);

/* How many shapes it holds. */
NACRE_API size_t nacre_tuning_count(void);

/* Tunes the calling thread's f32 products, where they stand in its own work: from nacre_tune_begin on each product
   that is planned anew runs in another way each time, all of them with the same bits, and is timed; what is
   clearly slower is dropped on the way. nacre_tune_end puts the ways that beat the rules by 3 % and more, in
   rounds of all that are left, into the table in force. So the more runs, the better: some hundred of each product
   at least. What a product was found to do best is its entry; where that is what the rules say, it has none.

       nacre_tune_begin();
       ... a few hundred training steps ...
       nacre_tune_end();
       nacre_tuning_save(NULL);

   Both empty the thread's plan cache. One thread at a time tunes: else NACRE_INVALID_STATE. nacre_tune_end, on the
   same thread: NACRE_OUT_OF_MEMORY where not every product could be tried, NACRE_INVALID_STATE without a begin
   or when the table is full. */
NACRE_API nacre_status nacre_tune_begin(void);
NACRE_API nacre_status nacre_tune_end(void);

#ifdef __cplusplus
}
#endif
#endif
