#define _XOPEN_SOURCE 700

#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FOLDERS = 64, PATHS = 16, PATH_BYTES = 4096, ARGUMENTS = 64 };

static char folders[FOLDERS][PATH_BYTES];
static int folder_count;
static pid_t folder_owner; /* a forked child must not remove its parent's folders */

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *walk) {
    (void)status, (void)type, (void)walk;
    return remove(path);
}

static void remove_folders(void) {
    if (getpid() != folder_owner) return;
    for (int i = 0; i < folder_count; i++) nftw(folders[i], remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

const char *support_folder(void) {
    if (folder_count == FOLDERS) fail_msg("more than %d test folders in one program", FOLDERS);
    if (folder_count == 0) {
        folder_owner = getpid();
        atexit(remove_folders);
    }
    const char *base = getenv("TMPDIR");
    char *folder = folders[folder_count];
    snprintf(folder, PATH_BYTES, "%s/nacre-test-XXXXXX", base && *base ? base : "/tmp");
    if (!mkdtemp(folder)) fail_msg("mkdtemp %s: %s", folder, strerror(errno));
    folder_count++;
    return folder;
}

const char *support_path(const char *folder, const char *name) {
    static char paths[PATHS][PATH_BYTES];
    static int next;
    char *path = paths[next++ % PATHS];
    snprintf(path, PATH_BYTES, "%s/%s", folder, name);
    return path;
}

void support_write(const char *path, const void *bytes, size_t size) {
    FILE *file = fopen(path, "wb");
    if (!file) fail_msg("%s: %s", path, strerror(errno));
    size_t written = size ? fwrite(bytes, 1, size, file) : 0;
    if (fclose(file) != 0 || written != size) fail_msg("%s: cannot write", path);
}

/* Reads to the end; NULL on an error. */
static char *read_all(FILE *file, size_t *size) {
    size_t used = 0, room = 4096;
    char *text = malloc(room + 1);
    while (text) {
        used += fread(text + used, 1, room - used, file);
        if (used < room) break;
        room *= 2;
        char *larger = realloc(text, room + 1);
        if (!larger) free(text);
        text = larger;
    }
    if (!text || ferror(file)) {
        free(text);
        return NULL;
    }
    text[used] = '\0';
    if (size) *size = used;
    return text;
}

char *support_read(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    if (!file) fail_msg("%s: %s", path, strerror(errno));
    char *text = read_all(file, size);
    fclose(file);
    if (!text) fail_msg("%s: cannot read", path);
    return text;
}

bool support_exists(const char *path) {
    struct stat status;
    return lstat(path, &status) == 0;
}

const char *support_data(const char *name) {
    const char *data = getenv("NACRE_DATA");
    if (!data || !*data) {
        print_message("skipped: set NACRE_DATA to a folder that holds %s/\n", name);
        skip();
        return NULL;
    }
    const char *path = support_path(data, name);
    if (!support_exists(path)) {
        print_message("skipped: NACRE_DATA holds no %s/\n", name);
        skip();
    }
    return path;
}

const char *support_program(void) {
    const char *program = getenv("NACRE_PROGRAM");
    if (!program) fail_msg("set NACRE_PROGRAM to the path of nacre, or run the test with ctest");
    return program;
}

support_result support_run(const char *const arguments[]) {
    support_result result = {.status = -1};
    FILE *out = tmpfile(), *err = tmpfile();
    if (!out || !err) fail_msg("tmpfile: %s", strerror(errno));
    pid_t child = fork();
    if (child < 0) fail_msg("fork: %s", strerror(errno));
    if (child == 0) {
        int input = open("/dev/null", O_RDONLY);
        dup2(input, STDIN_FILENO);
        dup2(fileno(out), STDOUT_FILENO);
        dup2(fileno(err), STDERR_FILENO);
        execv(arguments[0], (char *const *)(uintptr_t)arguments);
        _exit(127);
    }
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
    result.status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    rewind(out);
    rewind(err);
    result.out = read_all(out, NULL);
    result.err = read_all(err, NULL);
    fclose(out);
    fclose(err);
    if (!result.out || !result.err) fail_msg("cannot read what %s wrote", arguments[0]);
    return result;
}

support_result support_nacre(const char *const arguments[]) {
    const char *all[ARGUMENTS + 2] = {support_program()};
    int count = 0;
    for (; arguments[count]; count++) {
        if (count == ARGUMENTS) fail_msg("more than %d arguments", ARGUMENTS);
        all[count + 1] = arguments[count];
    }
    return support_run(all);
}

void support_run_free(support_result *result) {
    free(result->out);
    free(result->err);
    *result = (support_result){.status = -1};
}
