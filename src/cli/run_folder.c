#define _XOPEN_SOURCE 700
#include "cli/run_folder.h"

#include "base/memory.h"
#include "cli/output.h"
#include "io/file.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

/* ---- tables ---- */

enum { BUFFER = 1 << 16 };

/* What to do, by the system's reason that a message holds. */
static const char *advice(const char *message) {
    if (strstr(message, strerror(EMFILE)) || strstr(message, strerror(ENFILE))) {
        return "raise the limit of open files (ulimit -n)";
    }
    bool full = strstr(message, strerror(ENOSPC)) || strstr(message, strerror(EDQUOT));
    return full ? "make room or give another --out" : "give another --out";
}

static bool table_fail(nacre_cli_run_folder *folder, nacre_cli_table *table) {
    const char *reason = strerror(errno);
    if (!folder->failed) {
        nacre_cli_error("%s: cannot write: %s; %s", table->path, reason, advice(reason));
    }
    folder->failed = true;
    return false;
}

static bool table_open(nacre_cli_run_folder *folder, nacre_cli_table *table, const char *name,
                       const char *heading) {
    nacre_cli_folder_file(folder, name, table->path, sizeof table->path);
    table->buffer = nacre_alloc(BUFFER);
    if (!table->buffer) {
        folder->failed = true;
        nacre_cli_library_error();
        return false;
    }
    table->file = fopen(table->path, "wx");
    if (!table->file) {
        return table_fail(folder, table);
    }
    setvbuf(table->file, table->buffer, _IOFBF, BUFFER);
    fputs(heading, table->file);
    return true;
}

/* Hands the lines so far to the system. */
static bool table_flush(nacre_cli_run_folder *folder, nacre_cli_table *table) {
    if (fflush(table->file) != 0 || ferror(table->file)) {
        return table_fail(folder, table);
    }
    table->whole = ftello(table->file);
    return true;
}

static bool table_close(nacre_cli_run_folder *folder, nacre_cli_table *table) {
    if (!table->file) {
        return true;
    }
    bool good = !ferror(table->file) && table_flush(folder, table);
    if (fclose(table->file) != 0 && good) {
        good = table_fail(folder, table);
    }
    table->file = NULL;
    nacre_free(table->buffer);
    table->buffer = NULL;
    if (!good && truncate(table->path, (off_t)table->whole) != 0) {
        unlink(table->path);
    }
    return good;
}

bool nacre_cli_folder_step(nacre_cli_run_folder *folder, const nacre_step_report *report) {
    FILE *file = folder->steps.file;
    int length = fprintf(file, "%lld,%.9g,%.9g,%.1f\n", (long long)report->step + 1, report->loss,
                         report->lr + 0.0, report->microseconds);
    return length > 0 || table_fail(folder, &folder->steps);
}

bool nacre_cli_folder_epoch(nacre_cli_run_folder *folder, const nacre_epoch_report *report) {
    const nacre_metrics *train = &report->train, *test = &report->validation;
    int length =
        fprintf(folder->epochs.file, "%lld,%.9g,%.9g,%.9g,%.9g,%.9g,%.6f,%.1f\n",
                (long long)report->epoch + 1, train->loss, train->accuracy, test->loss,
                test->accuracy, report->lr + 0.0, report->seconds, report->samples_per_second);
    if (length <= 0) {
        return table_fail(folder, &folder->epochs);
    }
    return table_flush(folder, &folder->epochs) && table_flush(folder, &folder->steps);
}

/* ---- the folder ---- */

static bool is_empty(const char *path) {
    DIR *folder = opendir(path);
    if (!folder) {
        return false;
    }
    bool empty = true;
    for (const struct dirent *entry; empty && (entry = readdir(folder));) {
        empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    }
    closedir(folder);
    return empty;
}

bool nacre_cli_folder_free(const char *out) {
    struct stat state;
    if (!out || (lstat(out, &state) != 0 && errno == ENOENT)) {
        return true;
    }
    if (strlen(out) >= 4000) {
        nacre_cli_error("--out: the path is longer than 4000 letters; give a shorter one");
    } else if (stat(out, &state) != 0) {
        nacre_cli_error("--out: %s: %s; give a folder that can be made", out, strerror(errno));
    } else if (!S_ISDIR(state.st_mode)) {
        nacre_cli_error("--out: %s is not a folder; give one that is new or empty", out);
    } else if (access(out, R_OK | W_OK | X_OK) != 0) {
        nacre_cli_error("--out: %s: %s; give a folder that can be written", out, strerror(errno));
    } else if (!is_empty(out)) {
        nacre_cli_error("--out: %s is not empty; give a new folder, nothing is overwritten", out);
    } else {
        return true;
    }
    return false;
}

/* Length of the longest beginning of `path` that exists. */
static size_t existing_part(const char *path) {
    char part[4096];
    snprintf(part, sizeof part, "%s", path);
    size_t length = strlen(part);
    struct stat state;
    while (length > 0 && stat(part, &state) != 0) {
        while (length > 0 && part[length - 1] == '/') {
            part[--length] = 0;
        }
        while (length > 0 && part[length - 1] != '/') {
            part[--length] = 0;
        }
    }
    return length;
}

/* runs/RECIPE/20260131T235959Z; a second run of the same second gets -2, and so on. mkdir decides
   between runs that start together. */
static bool make_named(nacre_cli_run_folder *folder, const char *recipe) {
    char parent[256], stamp[32];
    snprintf(parent, sizeof parent, "runs/%s", recipe);
    folder->existing = existing_part(parent);
    snprintf(folder->path, sizeof folder->path, "%s", parent);
    if (nacre_make_folders(parent) != NACRE_OK) {
        nacre_cli_error("%s; give --out DIR", nacre_error_message());
        return false;
    }
    time_t now = time(NULL);
    struct tm utc;
    gmtime_r(&now, &utc);
    strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", &utc);
    for (int i = 1; i < 10000; i++) {
        snprintf(folder->path, sizeof folder->path, i == 1 ? "%s/%s" : "%s/%s-%d", parent, stamp,
                 i);
        if (mkdir(folder->path, 0777) == 0) {
            return true;
        }
        if (errno != EEXIST) {
            break;
        }
    }
    nacre_cli_error("%s: cannot make the run folder: %s; give --out DIR", folder->path,
                    strerror(errno));
    /* It was not made: removal begins above it. */
    snprintf(folder->path, sizeof folder->path, "%s", parent);
    return false;
}

static bool make_given(nacre_cli_run_folder *folder, const char *out) {
    folder->existing = existing_part(out);
    snprintf(folder->path, sizeof folder->path, "%s", out);
    if (nacre_make_folders(out) != NACRE_OK) {
        nacre_cli_error("--out: %s; give a folder that can be made", nacre_error_message());
        return false;
    }
    return nacre_cli_folder_free(out);
}

static bool has_room(const nacre_cli_run_folder *folder, long long bytes) {
    struct statvfs state;
    if (statvfs(folder->path, &state) != 0 || state.f_blocks == 0) {
        return true;
    }
    double room = (double)state.f_bavail * (double)state.f_frsize;
    if (room >= (double)bytes) {
        return true;
    }
    nacre_cli_error("%s: No space left on device: %.0f kB free, the run needs %lld; make room or "
                    "give another --out",
                    folder->path, room / 1000, bytes / 1000 + 1);
    return false;
}

bool nacre_cli_folder_make(nacre_cli_run_folder *folder, const char *out, const char *recipe,
                           long long bytes) {
    *folder = (nacre_cli_run_folder){0};
    folder->ours = out ? make_given(folder, out) : make_named(folder, recipe);
    bool made = folder->ours && has_room(folder, bytes + 2 * BUFFER) &&
                table_open(folder, &folder->epochs, "epochs.csv",
                           "epoch,train_loss,train_accuracy,test_loss,test_accuracy,lr,seconds,"
                           "samples_per_s\n") &&
                table_open(folder, &folder->steps, "steps.csv", "step,loss,lr,us\n") &&
                table_flush(folder, &folder->epochs) && table_flush(folder, &folder->steps);
    if (!made) {
        nacre_cli_folder_remove(folder);
    }
    return made;
}

void nacre_cli_folder_file(const nacre_cli_run_folder *folder, const char *name, char *path,
                           size_t size) {
    size_t length = strlen(folder->path);
    snprintf(path, size, "%s%s%s", folder->path,
             length && folder->path[length - 1] == '/' ? "" : "/", name);
}

bool nacre_cli_folder_write(nacre_cli_run_folder *folder, const char *name, nacre_text *text) {
    char path[4200];
    nacre_cli_folder_file(folder, name, path, sizeof path);
    bool good = !text->failed;
    if (!good) {
        nacre_cli_error("%s: out of memory while writing it", path);
    } else if (nacre_file_write(path, text->bytes, text->length) != NACRE_OK) {
        nacre_cli_error("%s; %s", nacre_error_message(), advice(nacre_error_message()));
        good = false;
    }
    nacre_text_free(text);
    return good;
}

bool nacre_cli_folder_close(nacre_cli_run_folder *folder) {
    bool epochs = table_close(folder, &folder->epochs);
    bool steps = table_close(folder, &folder->steps);
    return epochs && steps;
}

void nacre_cli_folder_drop_steps(nacre_cli_run_folder *folder) {
    folder->failed = true;
    table_close(folder, &folder->steps);
    unlink(folder->steps.path);
}

void nacre_cli_folder_remove(nacre_cli_run_folder *folder) {
    static const char *const names[] = {"config.json", "epochs.csv", "steps.csv", "curves.svg",
                                        "model.safetensors"};
    folder->failed = true; /* whatever closing says now is not news */
    nacre_cli_folder_close(folder);
    for (size_t i = 0; folder->ours && i < sizeof names / sizeof *names; i++) {
        char path[4200];
        nacre_cli_folder_file(folder, names[i], path, sizeof path);
        unlink(path);
    }
    /* rmdir leaves a folder that holds something else. */
    size_t length = strlen(folder->path);
    while (length > folder->existing) {
        if (rmdir(folder->path) != 0) {
            break;
        }
        while (length > folder->existing && folder->path[length - 1] == '/') {
            folder->path[--length] = 0;
        }
        while (length > folder->existing && folder->path[length - 1] != '/') {
            folder->path[--length] = 0;
        }
        while (length > folder->existing && length > 1 && folder->path[length - 1] == '/') {
            folder->path[--length] = 0;
        }
    }
}
