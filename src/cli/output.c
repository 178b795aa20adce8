#define _POSIX_C_SOURCE 200809L
#include "cli/output.h"

#include "cli/progress.h"
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <nacre/status.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *current_command;

void nacre_cli_set_command(const char *command) { current_command = command; }

static void print_line(const char *format, va_list arguments) {
    char line[4096];
    int length = vsnprintf(line, sizeof line, format, arguments);
    if (length < 0) {
        return;
    }
    for (char *c = line; *c; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f) {
            *c = ' ';
        }
    }
    nacre_cli_progress_end();
    fprintf(stderr, "nacre%s%s: %s\n", current_command ? " " : "",
            current_command ? current_command : "", line);
}

int nacre_cli_error(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    print_line(format, arguments);
    va_end(arguments);
    return NACRE_CLI_FAILED;
}

int nacre_cli_usage(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    print_line(format, arguments);
    va_end(arguments);
    fprintf(stderr, "'nacre help%s%s' says what it takes.\n", current_command ? " " : "",
            current_command ? current_command : "");
    return NACRE_CLI_USAGE;
}

const char *nacre_cli_shown(const char *name) { return name[0] ? name : "\"\""; }

int nacre_cli_library_error(void) {
    const char *message = nacre_error_message();
    return nacre_cli_error("%s", message[0] ? message : "failed without a message");
}

int nacre_cli_print(nacre_text *text) {
    int code = NACRE_CLI_DONE;
    if (text->failed) {
        code = nacre_cli_error("out of memory while writing the result");
    } else if (fwrite(text->bytes, 1, text->length, stdout) != text->length ||
               fflush(stdout) != 0) {
        code = errno == EPIPE ? NACRE_CLI_UNREAD
                              : nacre_cli_error("cannot write to stdout: %s", strerror(errno));
    }
    nacre_text_free(text);
    return code;
}

void nacre_cli_append_figure(nacre_text *text, const char *key, double number) {
    char digits[32];
    double rounded = number;
    snprintf(digits, sizeof digits, "%.6g", number);
    if (!nacre_text_to_double(digits, &rounded)) {
        rounded = number; /* a locale's decimal comma: all digits then */
    }
    nacre_text_append(text, ",\"%s\":", key);
    nacre_text_append_number(text, rounded);
}

const char *nacre_cli_plural(size_t count) { return count == 1 ? "" : "s"; }

static bool is_open_as(int descriptor, const struct stat *file) {
    struct stat own;
    return fstat(descriptor, &own) == 0 && own.st_dev == file->st_dev && own.st_ino == file->st_ino;
}

bool nacre_cli_check_trace(const char *path) {
    struct stat file;
    if (stat(path, &file) == 0 && !S_ISREG(file.st_mode) && !S_ISDIR(file.st_mode)) {
        nacre_cli_error("--trace: %s is not a regular file; give the path of a file", path);
        return false;
    }
    if (stat(path, &file) == 0 &&
        (is_open_as(STDOUT_FILENO, &file) || is_open_as(STDERR_FILENO, &file))) {
        nacre_cli_error(
            "--trace: %s is where results or messages go; give the path of another file", path);
        return false;
    }
    if (nacre_file_writable(path) != NACRE_OK) {
        nacre_cli_error("--trace: %s", nacre_error_message());
        return false;
    }
    return true;
}

void nacre_cli_guard_descriptors(void) {
    for (int descriptor = 0; descriptor <= 2; descriptor++) {
        if (fcntl(descriptor, F_GETFD) != -1 || errno != EBADF) {
            continue;
        }
        /* Opened for reading: a write to it fails, as it would on the closed descriptor. */
        if (open("/dev/null", descriptor == 0 ? O_WRONLY : O_RDONLY) != descriptor) {
            return;
        }
    }
}
