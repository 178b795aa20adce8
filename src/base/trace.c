#include "base/trace.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"

#include <stdatomic.h>
#include <string.h>

enum { MOST_EVENTS = 1 << 16, MOST_NAMES = 1 << 14 };

/* Everything but `taken` is the traced thread's. */
static struct {
    atomic_bool taken;
    nacre_trace_event *events;
    nacre_trace_name *names;
    uint64_t added, began, session;
    int name_count;
    int replay_name;
} trace;

static _Thread_local uint64_t own_session;

uint64_t nacre_trace_session(void) { return own_session; }

nacre_status nacre_trace_start(void) {
    if (atomic_exchange(&trace.taken, true)) {
        return nacre_fail(NACRE_INVALID_STATE,
                          "trace_begin: a trace is being taken; end it first (nacre_trace_end)");
    }
    trace.events = nacre_alloc(MOST_EVENTS * sizeof *trace.events);
    trace.names = trace.events ? nacre_alloc(MOST_NAMES * sizeof *trace.names) : NULL;
    if (!trace.names) {
        nacre_free(trace.events);
        atomic_store(&trace.taken, false);
        return NACRE_OUT_OF_MEMORY;
    }
    trace.added = 0;
    trace.name_count = 0;
    trace.replay_name = -1;
    trace.began = nacre_clock_ns();
    own_session = ++trace.session;
    return NACRE_OK;
}

static void free_name(const nacre_trace_name *name) {
    nacre_free(name->kernel);
    nacre_free(name->shapes);
    nacre_free(name->where);
    nacre_free(name->way);
}

void nacre_trace_stop(void) {
    for (int i = 0; i < trace.name_count; i++) {
        free_name(&trace.names[i]);
    }
    nacre_free(trace.events);
    nacre_free(trace.names);
    trace.events = NULL;
    trace.names = NULL;
    own_session = 0;
    atomic_store(&trace.taken, false);
}

void nacre_trace_rewind(void) { trace.added = 0; }

void nacre_trace_add(const nacre_trace_event *event) {
    trace.events[trace.added++ % MOST_EVENTS] = *event;
}

void nacre_trace_add_part(int thread, uint64_t begin, const nacre_trace_span *span, uint64_t end) {
    nacre_trace_event event = {.begin = begin,
                               .end = span->begin,
                               .kind = NACRE_TRACE_HAND_OFF,
                               .thread = thread,
                               .name = -1};
    if (span->tasks == 0) {
        event.end = end;
        nacre_trace_add(&event);
        return;
    }
    if (thread > 0) {
        nacre_trace_add(&event);
    }
    event.kind = NACRE_TRACE_BUSY;
    event.begin = span->begin;
    event.end = span->end;
    event.detail = (uint32_t)span->tasks;
    nacre_trace_add(&event);
    event.kind = NACRE_TRACE_WAIT;
    event.begin = span->end;
    event.end = end;
    event.detail = 0;
    nacre_trace_add(&event);
}

int nacre_trace_add_name(const nacre_trace_name *name) {
    bool whole = name->kernel && name->shapes && name->where && name->way;
    bool room = trace.name_count < MOST_NAMES && whole;
    if (!room) {
        free_name(name);
        return -1;
    }
    trace.names[trace.name_count] = *name;
    return trace.name_count++;
}

static int find_name(const char *kernel) {
    for (int i = 0; i < trace.name_count; i++) {
        if (strcmp(trace.names[i].kernel, kernel) == 0) {
            return i;
        }
    }
    return -1;
}

void nacre_trace_call_replays(const char *what) {
    if (!own_session) {
        return;
    }
    trace.replay_name = what ? find_name(what) : -1;
    if (what && trace.replay_name < 0) {
        trace.replay_name = nacre_trace_add_name(&(nacre_trace_name){.kernel = nacre_strdup(what),
                                                                     .shapes = nacre_strdup(""),
                                                                     .where = nacre_strdup(""),
                                                                     .way = nacre_strdup("")});
    }
}

int nacre_trace_replay_name(void) { return trace.replay_name; }

size_t nacre_trace_count(void) {
    return trace.added < MOST_EVENTS ? (size_t)trace.added : MOST_EVENTS;
}

uint64_t nacre_trace_dropped(void) { return trace.added - nacre_trace_count(); }

uint64_t nacre_trace_began(void) { return trace.began; }

const nacre_trace_event *nacre_trace_event_at(size_t i) {
    return &trace.events[(trace.added - nacre_trace_count() + i) % MOST_EVENTS];
}

const nacre_trace_name *nacre_trace_name_at(int name) { return &trace.names[name]; }
