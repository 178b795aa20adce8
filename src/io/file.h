/* Whole files in and out, checked and atomic. A missing file is NACRE_NOT_FOUND, anything else
   that the system refuses NACRE_IO_ERROR; messages name the path and errno's text. */
#ifndef NACRE_IO_FILE_H
#define NACRE_IO_FILE_H

#include <nacre/status.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Reads a whole regular file, at most `limit` bytes (NACRE_BAD_FILE beyond). A NUL follows the
   data, not counted in *size. Free with nacre_free. */
nacre_status nacre_file_read(const char *path, size_t limit, void **data, size_t *size);

/* A regular file open for reading in parts. `path` must outlive it. */
typedef struct nacre_input {
    const char *path;
    int descriptor;
    uint64_t size; /* when it was opened */
} nacre_input;
nacre_status nacre_input_open(const char *path, nacre_input *out);
/* Exactly `size` bytes from `offset`; NACRE_BAD_FILE when the file ends before. */
nacre_status nacre_input_read(const nacre_input *input, uint64_t offset, void *data, size_t size);
void nacre_input_close(nacre_input *input); /* one that could not be opened is fine */

/* A file that appears under its name only when committed: until then it is a temporary beside
   it, .nacre-<process>-<number>.tmp. A symbolic link is followed; anything but a regular file (a
   device, a folder) is refused. Permissions are those of any new file (0666 less the umask). */
typedef struct nacre_atomic_file nacre_atomic_file;
nacre_status nacre_atomic_open(const char *path, nacre_atomic_file **out);
nacre_status nacre_atomic_write(nacre_atomic_file *file, const void *data, size_t size);
/* Syncs, renames, syncs the folder; frees, also when it fails. After a failed write it fails
   too. */
nacre_status nacre_atomic_commit(nacre_atomic_file *file);
void nacre_atomic_abandon(nacre_atomic_file *file); /* removes the temporary; NULL is fine */
nacre_status nacre_file_write(const char *path, const void *data,
                              size_t size); /* all of the above */

/* Whether the path could be written so, told by opening and abandoning it. */
nacre_status nacre_file_writable(const char *path);

/* mkdir -p. */
nacre_status nacre_make_folders(const char *path);

/* For tests: after n more bytes written through this module, writes fail with ENOSPC; SIZE_MAX:
   off. */
void nacre_file_fail_after(size_t bytes);

#endif
