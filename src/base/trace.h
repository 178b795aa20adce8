/* What ran when: events in a ring of fixed size, the oldest given up first, while a trace is on. One thread
   is traced, the one that began it, and it alone writes: what a pool's worker did is told by the caller of
   its region. io/trace.c writes the file. */
#ifndef NACRE_BASE_TRACE_H
#define NACRE_BASE_TRACE_H

#include <nacre/status.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum nacre_trace_kind {
    NACRE_TRACE_REPLAY = 1, /* all steps of a plan; detail: how many */
    NACRE_TRACE_STEP,       /* one of them; name says which */
    NACRE_TRACE_HAND_OFF,   /* a parallel region is open, this thread has not come yet */
    NACRE_TRACE_BUSY,       /* it works in the region; detail: how many tasks it took */
    NACRE_TRACE_WAIT,       /* it waits for the region's end */
} nacre_trace_kind;

typedef struct nacre_trace_event {
    uint64_t begin, end; /* ns of nacre_clock_ns */
    nacre_trace_kind kind;
    int thread; /* of a region: 0 is the caller, then the pool's workers */
    int name;   /* of a step, or of a replay that has one; -1: none, or the table was full */
    uint32_t detail;
} nacre_trace_event;

/* What a step is, said once for all its replays. */
typedef struct nacre_trace_name {
    char *kernel, *shapes, *where, *way;
    double flops, bytes;
} nacre_trace_name;

/* What a thread did in a region. tasks 0: it came too late. */
typedef struct nacre_trace_span {
    uint64_t begin, end;
    size_t tasks;
} nacre_trace_span;

nacre_status nacre_trace_start(void); /* on the thread to be traced */
/* The number of the trace that the calling thread writes, 0: none. */
uint64_t nacre_trace_session(void);
/* What the calling thread's replays are from here on: text that stays. NULL: nothing in particular. */
void nacre_trace_call_replays(const char *what);
/* Of the table of names: what nacre_trace_call_replays() said, or -1. */
int nacre_trace_replay_name(void);
void nacre_trace_rewind(void); /* forgets the events, not the names */
void nacre_trace_stop(void);   /* forgets everything */

void nacre_trace_add(const nacre_trace_event *event);
/* Events of one thread's part in a region that was open from `begin` to `end`. */
void nacre_trace_add_part(int thread, uint64_t begin, const nacre_trace_span *span, uint64_t end);
/* Takes the strings. The number of the name, or -1, when they are freed at once. */
int nacre_trace_add_name(const nacre_trace_name *name);

/* For the writer. Event 0 is the oldest that is left. */
size_t nacre_trace_count(void);
uint64_t nacre_trace_dropped(void);
uint64_t nacre_trace_began(void);
const nacre_trace_event *nacre_trace_event_at(size_t i);
const nacre_trace_name *nacre_trace_name_at(int name);

#endif
