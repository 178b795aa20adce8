#include "base/log.h"

#include "base/thread.h"

#include <nacre/system.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { LINE_BYTES = 1024 };

static nacre_mutex mutex = NACRE_MUTEX_INIT;
static nacre_log_sink *current_sink;
static void *current_user;
/* Set while this thread runs the sink and holds the mutex: a sink may itself log or change the sink. */
static _Thread_local bool inside_sink;

static void reset_in_child(void) {
    nacre_mutex_reset(&mutex);
    if (inside_sink) nacre_mutex_lock(&mutex);
}

static void watch_forks(void) { nacre_at_fork(NULL, NULL, reset_in_child); }

static void lock(void) {
    static nacre_once once = NACRE_ONCE_INIT;
    nacre_call_once(&once, watch_forks);
    if (!inside_sink) nacre_mutex_lock(&mutex);
}

static void unlock(void) {
    if (!inside_sink) nacre_mutex_unlock(&mutex);
}

void nacre_set_log(nacre_log_sink *sink, void *user) {
    lock();
    current_sink = sink;
    current_user = user;
    unlock();
}

/* In one write, so that lines of several threads do not mix. */
static void write_stderr(const char *line) {
    char text[LINE_BYTES + 16];
    int length = snprintf(text, sizeof text, "nacre: %s\n", line);
    if (length > 0) fwrite(text, 1, (size_t)length, stderr);
}

void nacre_log(const char *format, ...) {
    char line[LINE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (length < 0) return;
    if (length >= LINE_BYTES) memcpy(line + LINE_BYTES - 4, "...", 4);
    for (char *c = line; *c; c++) {
        if (*c == '\n' || *c == '\r') *c = ' ';
    }
    lock();
    if (current_sink && !inside_sink) {
        inside_sink = true;
        current_sink(current_user, line);
        inside_sink = false;
    } else {
        write_stderr(line);
    }
    unlock();
}
