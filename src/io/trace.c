/* A trace as a file in the Trace Event Format (JSON), which chrome://tracing and ui.perfetto.dev open:
   https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU. Complete events ("X") with
   times in microseconds: replays and their steps in row 1, each thread of the pool in a row of its own. */
#include "base/trace.h"

#include "base/error.h"
#include "base/memory.h"
#include "io/file.h"
#include "io/text.h"

#include <inttypes.h>
#include <math.h>
#include <nacre/plan.h>
#include <stdio.h>

enum { REPLAY_ROW = 1, POOL_ROW = 2, FLUSH_BYTES = 1 << 16 };

static char *trace_path; /* the traced thread's */

nacre_status nacre_trace_begin(const char *path) {
    if (!path || !*path) {
        return nacre_fail(NACRE_INVALID_ARGUMENT, "trace_begin: no path; give that of a file");
    }
    nacre_status status = nacre_trace_start();
    if (status != NACRE_OK) {
        return status;
    }
    /* A path that cannot be written is told now, not after the work. */
    status = nacre_file_writable(path);
    if (status == NACRE_OK) {
        trace_path = nacre_strdup(path);
        status = trace_path ? NACRE_OK : NACRE_OUT_OF_MEMORY;
    }
    if (status != NACRE_OK) {
        nacre_trace_stop();
    }
    return status;
}

static void append_microseconds(nacre_text *text, const char *key, uint64_t ns) {
    nacre_text_append(text, ",\"%s\":%" PRIu64 ".%03u", key, ns / 1000, (unsigned)(ns % 1000));
}

static void append_head(nacre_text *text, const char *name, int row,
                        const nacre_trace_event *event) {
    nacre_text_append(text, ",\n{\"ph\":\"X\",\"pid\":1,\"tid\":%d,\"name\":", row);
    nacre_text_append_json(text, name);
    append_microseconds(text, "ts", event->begin - nacre_trace_began());
    append_microseconds(text, "dur", event->end - event->begin);
}

static void append_rate(nacre_text *text, const char *key, double amount, uint64_t ns) {
    nacre_text_append(text, ",\"%s\":", key);
    /* Amounts per nanosecond are thousands of millions per second. Three decimals are more than is known. */
    nacre_text_append_number(text, ns ? round(amount / (double)ns * 1e3) / 1e3 : 0);
}

static void append_step(nacre_text *text, const nacre_trace_event *event) {
    if (event->name < 0) {
        append_head(text, "step (too many to name)", REPLAY_ROW, event);
        nacre_text_append(text, "}");
        return;
    }
    const nacre_trace_name *name = nacre_trace_name_at(event->name);
    uint64_t ns = event->end - event->begin;
    append_head(text, name->kernel, REPLAY_ROW, event);
    nacre_text_append(text, ",\"args\":{\"shapes\":");
    nacre_text_append_json(text, name->shapes);
    nacre_text_append(text, ",\"where\":");
    nacre_text_append_json(text, name->where);
    nacre_text_append(text, ",\"way\":");
    nacre_text_append_json(text, name->way);
    nacre_text_append(text, ",\"flops\":%.0f,\"bytes\":%.0f", name->flops, name->bytes);
    append_rate(text, "GFLOP/s", name->flops, ns);
    append_rate(text, "GB/s", name->bytes, ns);
    nacre_text_append(text, "}}");
}

static void append_event(nacre_text *text, const nacre_trace_event *event) {
    switch (event->kind) {
    case NACRE_TRACE_STEP:
        append_step(text, event);
        break;
    case NACRE_TRACE_REPLAY:
        append_head(text, event->name < 0 ? "replay" : nacre_trace_name_at(event->name)->kernel,
                    REPLAY_ROW, event);
        nacre_text_append(text, ",\"args\":{\"steps\":%u}}", event->detail);
        break;
    case NACRE_TRACE_BUSY:
        append_head(text, "busy", POOL_ROW + event->thread, event);
        nacre_text_append(text, ",\"args\":{\"tasks\":%u}}", event->detail);
        break;
    default:
        append_head(text, event->kind == NACRE_TRACE_WAIT ? "barrier wait" : "hand-off",
                    POOL_ROW + event->thread, event);
        nacre_text_append(text, "}");
    }
}

static void append_row_name(nacre_text *text, int row, const char *name) {
    nacre_text_append(text,
                      ",\n{\"ph\":\"M\",\"pid\":1,\"tid\":%d,\"name\":\"thread_name\",\"args\":"
                      "{\"name\":\"%s\"}}",
                      row, name);
}

static void append_beginning(nacre_text *text) {
    nacre_text_append(text,
                      "{\"displayTimeUnit\":\"ns\",\"otherData\":{\"program\":\"nacre\","
                      "\"events\":%zu,\"dropped_events\":%" PRIu64 "},\"traceEvents\":[\n"
                      "{\"ph\":\"M\",\"pid\":1,\"name\":\"process_name\",\"args\":{\"name\":"
                      "\"nacre\"}}",
                      nacre_trace_count(), nacre_trace_dropped());
    append_row_name(text, REPLAY_ROW, "plan steps");
    int threads = 0;
    for (size_t i = 0; i < nacre_trace_count(); i++) {
        const nacre_trace_event *event = nacre_trace_event_at(i);
        bool pool = event->kind >= NACRE_TRACE_HAND_OFF;
        threads = pool && event->thread >= threads ? event->thread + 1 : threads;
    }
    for (int i = 0; i < threads; i++) {
        char name[64];
        snprintf(name, sizeof name, i ? "pool thread %d" : "pool thread %d (caller)", i);
        append_row_name(text, POOL_ROW + i, name);
    }
}

static nacre_status flush(nacre_text *text, nacre_atomic_file *file) {
    nacre_status status =
        text->failed ? NACRE_OUT_OF_MEMORY : nacre_atomic_write(file, text->bytes, text->length);
    text->length = 0;
    return status;
}

static nacre_status write_events(nacre_atomic_file *file) {
    nacre_text text = {0};
    nacre_status status = NACRE_OK;
    append_beginning(&text);
    for (size_t i = 0; status == NACRE_OK && i < nacre_trace_count(); i++) {
        append_event(&text, nacre_trace_event_at(i));
        if (text.failed || text.length >= FLUSH_BYTES) {
            status = flush(&text, file);
        }
    }
    nacre_text_append(&text, "\n]}\n");
    if (status == NACRE_OK) {
        status = flush(&text, file);
    }
    nacre_text_free(&text);
    return status;
}

nacre_status nacre_trace_end(void) {
    if (!nacre_trace_session()) {
        return nacre_fail(NACRE_INVALID_STATE,
                          "trace_end: this thread takes no trace; begin one (nacre_trace_begin)");
    }
    nacre_atomic_file *file = NULL;
    nacre_status status = nacre_atomic_open(trace_path, &file);
    if (status == NACRE_OK) {
        status = write_events(file);
        if (status == NACRE_OK) {
            status = nacre_atomic_commit(file);
        } else {
            nacre_atomic_abandon(file);
        }
    }
    nacre_free(trace_path);
    trace_path = NULL;
    nacre_trace_stop();
    return status;
}
