#define _POSIX_C_SOURCE 200809L
#define _DEFAULT_SOURCE /* realpath */
#define _FILE_OFFSET_BITS 64

#include "io/file.h"

#include "base/error.h"
#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The kernel transfers at most 2 GiB - 4096 in one call. */
#define TRANSFER_LIMIT ((size_t)1 << 30)

static nacre_status fail_errno(const char *path, const char *what) {
    int error = errno;
    return nacre_fail(error == ENOENT ? NACRE_NOT_FOUND : NACRE_IO_ERROR, "%s: cannot %s: %s", path,
                      what, strerror(error));
}

/* ---- reading ---- */

nacre_status nacre_input_open(const char *path, nacre_input *out) {
    *out = (nacre_input){.path = path, .descriptor = -1};
    /* Without O_NONBLOCK a named pipe would hang here before it can be refused. */
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0) {
        int error = errno;
        return nacre_fail(error == ENOENT ? NACRE_NOT_FOUND : NACRE_IO_ERROR,
                          "%s: cannot open: %s; check the path and who may read it", path,
                          strerror(error));
    }
    struct stat status;
    if (fstat(descriptor, &status) != 0) {
        nacre_status failed = fail_errno(path, "examine");
        close(descriptor);
        return failed;
    }
    if (!S_ISREG(status.st_mode)) {
        close(descriptor);
        return nacre_fail(NACRE_IO_ERROR, "%s: %s, give the path of a file", path,
                          S_ISDIR(status.st_mode) ? "is a folder" : "is not a regular file");
    }
    out->descriptor = descriptor;
    out->size = (uint64_t)status.st_size;
    return NACRE_OK;
}

nacre_status nacre_input_read(const nacre_input *input, uint64_t offset, void *data, size_t size) {
    unsigned char *to = data;
    for (size_t done = 0; done < size;) {
        size_t part = size - done < TRANSFER_LIMIT ? size - done : TRANSFER_LIMIT;
        ssize_t got = pread(input->descriptor, to + done, part, (off_t)(offset + done));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return fail_errno(input->path, "read");
        if (got == 0) {
            return nacre_fail(NACRE_BAD_FILE,
                              "%s: ends at byte %" PRIu64 ", %zu bytes too early; get it again",
                              input->path, offset + done, size - done);
        }
        done += (size_t)got;
    }
    return NACRE_OK;
}

void nacre_input_close(nacre_input *input) {
    if (input->descriptor >= 0) close(input->descriptor);
    input->descriptor = -1;
}

static nacre_status read_whole(const nacre_input *input, size_t limit, void **data, size_t *size) {
    if (input->size > limit || input->size >= SIZE_MAX) {
        return nacre_fail(NACRE_BAD_FILE,
                          "%s: %" PRIu64 " bytes are too many, at most %zu; give another file",
                          input->path, input->size, limit);
    }
    size_t length = (size_t)input->size;
    unsigned char *bytes = nacre_alloc(length + 1);
    if (!bytes) return NACRE_OUT_OF_MEMORY;
    nacre_status status = nacre_input_read(input, 0, bytes, length);
    if (status != NACRE_OK) {
        nacre_free(bytes);
        return status;
    }
    bytes[length] = '\0';
    *data = bytes;
    *size = length;
    return NACRE_OK;
}

nacre_status nacre_file_read(const char *path, size_t limit, void **data, size_t *size) {
    *data = NULL;
    *size = 0;
    nacre_input input;
    nacre_status status = nacre_input_open(path, &input);
    if (status == NACRE_OK) status = read_whole(&input, limit, data, size);
    nacre_input_close(&input);
    return status;
}

/* ---- writing ---- */

struct nacre_atomic_file {
    char *path;      /* as the caller named it, for messages */
    char *target;    /* what a symbolic link stands for */
    char *temporary; /* beside the target */
    bool exists;     /* the temporary, and is to be removed unless renamed */
    int descriptor, folder;
    nacre_status status; /* of the first write that failed */
};

static atomic_size_t bytes_until_failure = SIZE_MAX;

void nacre_file_fail_after(size_t bytes) { atomic_store(&bytes_until_failure, bytes); }

/* write(2), except that a test may have used up the disk. */
static ssize_t write_some(int descriptor, const void *data, size_t size) {
    size_t left = atomic_load(&bytes_until_failure);
    if (left == SIZE_MAX) return write(descriptor, data, size);
    if (left == 0) {
        errno = ENOSPC;
        return -1;
    }
    ssize_t written = write(descriptor, data, size < left ? size : left);
    if (written > 0) atomic_store(&bytes_until_failure, left - (size_t)written);
    return written;
}

/* Length of the part of a path that names its folder, with the slash; 0 in the current one. */
static size_t folder_length(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? (size_t)(slash - path) + 1 : 0;
}

/* What is to be replaced: path itself, or the file that a link there leads to. */
static nacre_status find_target(const char *path, char **out) {
    struct stat status;
    *out = NULL;
    if (*path == '\0' || path[strlen(path) - 1] == '/') {
        return nacre_fail(NACRE_INVALID_ARGUMENT, "\"%s\" names no file to write", path);
    }
    if (lstat(path, &status) != 0) {
        if (errno != ENOENT) return fail_errno(path, "write");
        *out = nacre_strdup(path);
        return *out ? NACRE_OK : NACRE_OUT_OF_MEMORY;
    }
    char resolved[PATH_MAX];
    if (S_ISLNK(status.st_mode)) {
        if (!realpath(path, resolved) || stat(resolved, &status) != 0)
            return fail_errno(path, "follow");
        path = resolved;
    }
    if (!S_ISREG(status.st_mode)) {
        return nacre_fail(NACRE_IO_ERROR, "%s: %s, it cannot be replaced by a file", path,
                          S_ISDIR(status.st_mode) ? "is a folder" : "is not a regular file");
    }
    *out = nacre_strdup(path);
    return *out ? NACRE_OK : NACRE_OUT_OF_MEMORY;
}

/* Opens the folder, to be synced, and a new file in it. The file's name is short: the target's
   own may be as long as names get. */
static nacre_status open_temporary(nacre_atomic_file *file) {
    static atomic_uint counter;
    enum { NAME_ROOM = 64, ATTEMPTS = 1000 };
    size_t length = folder_length(file->target);
    char *name = nacre_alloc(length + NAME_ROOM);
    if (!name) return NACRE_OUT_OF_MEMORY;
    memcpy(name, file->target, length);
    name[length] = '\0';
    file->temporary = name;
    file->folder = open(length ? name : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (file->folder < 0) return fail_errno(file->path, "open its folder");
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        snprintf(name + length, NAME_ROOM, ".nacre-%ld-%u.tmp", (long)getpid(),
                 atomic_fetch_add(&counter, 1));
        file->descriptor = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        file->exists = file->descriptor >= 0;
        if (file->exists) return NACRE_OK;
        if (errno != EEXIST && errno != EINTR) break;
    }
    return fail_errno(file->path, "write");
}

nacre_status nacre_atomic_open(const char *path, nacre_atomic_file **out) {
    *out = NULL;
    nacre_atomic_file *file = nacre_alloc_zeroed(1, sizeof *file);
    if (!file) return NACRE_OUT_OF_MEMORY;
    file->descriptor = file->folder = -1;
    file->path = nacre_strdup(path);
    nacre_status status = file->path ? NACRE_OK : NACRE_OUT_OF_MEMORY;
    if (status == NACRE_OK) status = find_target(path, &file->target);
    if (status == NACRE_OK) status = open_temporary(file);
    if (status != NACRE_OK) {
        nacre_atomic_abandon(file);
        return status;
    }
    *out = file;
    return NACRE_OK;
}

nacre_status nacre_file_writable(const char *path) {
    nacre_atomic_file *file;
    nacre_status status = nacre_atomic_open(path, &file);
    if (status == NACRE_OK) nacre_atomic_abandon(file);
    return status;
}

nacre_status nacre_atomic_write(nacre_atomic_file *file, const void *data, size_t size) {
    const unsigned char *from = data;
    while (size > 0 && file->status == NACRE_OK) {
        ssize_t written =
            write_some(file->descriptor, from, size < TRANSFER_LIMIT ? size : TRANSFER_LIMIT);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) {
            file->status = fail_errno(file->path, "write");
        } else {
            from += written;
            size -= (size_t)written;
        }
    }
    return file->status;
}

/* The rename is on disk only when the folder that holds the name is. EINVAL: a file system
   without a way to sync folders. */
static nacre_status sync_folder(const nacre_atomic_file *file) {
    if (fsync(file->folder) == 0 || errno == EINVAL) return NACRE_OK;
    return fail_errno(file->path, "sync the folder of");
}

static nacre_status sync_and_close(nacre_atomic_file *file) {
    if (file->status != NACRE_OK) return file->status;
    int failed;
    do {
        failed = fsync(file->descriptor);
    } while (failed && errno == EINTR);
    if (failed) return fail_errno(file->path, "sync");
    failed = close(file->descriptor);
    file->descriptor = -1;
    return failed ? fail_errno(file->path, "close") : NACRE_OK;
}

nacre_status nacre_atomic_commit(nacre_atomic_file *file) {
    nacre_status status = sync_and_close(file);
    if (status == NACRE_OK && rename(file->temporary, file->target) != 0) {
        status = fail_errno(file->path, "replace");
    }
    if (status == NACRE_OK) {
        file->exists = false;
        status = sync_folder(file);
    }
    nacre_atomic_abandon(file);
    return status;
}

void nacre_atomic_abandon(nacre_atomic_file *file) {
    if (!file) return;
    if (file->descriptor >= 0) close(file->descriptor);
    if (file->exists) unlink(file->temporary);
    if (file->folder >= 0) close(file->folder);
    nacre_free(file->temporary);
    nacre_free(file->target);
    nacre_free(file->path);
    nacre_free(file);
}

nacre_status nacre_file_write(const char *path, const void *data, size_t size) {
    nacre_atomic_file *file;
    nacre_status status = nacre_atomic_open(path, &file);
    if (status != NACRE_OK) return status;
    status = nacre_atomic_write(file, data, size);
    if (status != NACRE_OK) {
        nacre_atomic_abandon(file);
        return status;
    }
    return nacre_atomic_commit(file);
}

/* ---- folders ---- */

static nacre_status make_folder(const char *path) {
    struct stat status;
    if (mkdir(path, 0777) == 0) return NACRE_OK;
    int error = errno;
    if (stat(path, &status) == 0) {
        if (S_ISDIR(status.st_mode)) return NACRE_OK;
        return nacre_fail(NACRE_IO_ERROR, "%s: is a file, a folder cannot be made there", path);
    }
    errno = error;
    return fail_errno(path, "make the folder");
}

nacre_status nacre_make_folders(const char *path) {
    if (*path == '\0') return nacre_fail(NACRE_INVALID_ARGUMENT, "a folder with an empty name");
    char *part = nacre_strdup(path);
    if (!part) return NACRE_OUT_OF_MEMORY;
    nacre_status status = NACRE_OK;
    for (char *slash = strchr(part + 1, '/'); slash && status == NACRE_OK;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        status = make_folder(part);
        *slash = '/';
    }
    if (status == NACRE_OK) status = make_folder(part);
    nacre_free(part);
    return status;
}
