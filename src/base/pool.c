/* Fork-join on persistent threads.

   One word, the gate, holds the whole protocol: a generation that names the current job, whether the
   job is open to workers, and how many workers are inside. The caller writes the job, opens the gate,
   works itself, closes the gate and waits until no worker is inside. A worker that comes late finds the
   gate closed and touches nothing, so a worker that is parked or has lost its CPU never delays a job
   whose tasks the others have finished.

   Each participant starts with a contiguous share of the indices, the same share in every job of the
   same size, which keeps data in its cache; then it takes over single indices of the other shares. */
#include "base/pool.h"

#include "base/clock.h"
#include "base/cpu.h"
#include "base/error.h"
#include "base/log.h"
#include "base/thread.h"
#include "base/trace.h"

#include <errno.h>
#include <nacre/system.h>
#include <stdio.h>
#include <stdlib.h>

enum { MOST_THREADS = 1024, LINE_BYTES = 64 };

/* The gate's fields. Workers inside: at most MOST_THREADS - 1. */
#define INSIDE 0x000003FFu
#define OPEN 0x00000400u
#define AWAITED 0x00000800u /* the caller sleeps on `joined` */
#define STOP 0x00001000u    /* workers end */
#define GENERATION 0xFFFFE000u
#define ONE_GENERATION 0x00002000u

/* How long a thread that waits keeps its CPU: longer than the gap between two parallel steps of a plan,
   shorter than what another thread would miss. */
enum { SPIN_NS = 40000, PAUSES_PER_LOOK = 32 };

typedef struct share {
    _Alignas(LINE_BYTES) atomic_size_t next;
    atomic_size_t end;
} share;

/* The job shares the gate's cache line: what a worker needs arrives with the word it watches. */
static struct {
    _Alignas(LINE_BYTES) _Atomic uint32_t gate;
    atomic_uint sleepers;
    nacre_task *task;
    void *context;
    unsigned shares;
    bool traced;
} shared;

static _Alignas(LINE_BYTES) _Atomic uint32_t joined; /* generation whose last worker has left */
static share shares[MOST_THREADS];
static nacre_trace_span spans[MOST_THREADS]; /* of the job at hand, if it is traced */

/* Held by the one caller that uses the pool; guards what follows but `wanted`. */
static _Alignas(LINE_BYTES) atomic_bool busy;
static nacre_os_thread threads[MOST_THREADS];
static int workers;       /* threads that run now, beside the caller */
static bool start_failed; /* not tried again before the next nacre_set_threads */
static bool may_spin;     /* every thread has a CPU of its own */
static uint32_t generation_at_start;

static nacre_mutex setting = NACRE_MUTEX_INIT; /* one nacre_set_threads at a time */
static atomic_int wanted;                      /* threads */
static char bad_environment[32]; /* what NACRE_THREADS said if it is no number of threads */
static atomic_bool complain;
static nacre_once once = NACRE_ONCE_INIT;

static _Thread_local bool inside_task;

static bool take_index(share *s, size_t *index) {
    size_t end = atomic_load_explicit(&s->end, memory_order_relaxed);
    if (atomic_load_explicit(&s->next, memory_order_relaxed) >= end) return false;
    *index = atomic_fetch_add_explicit(&s->next, 1, memory_order_relaxed);
    return *index < end;
}

/* How many tasks it ran. */
static size_t work(unsigned first) {
    unsigned count = shared.shares;
    size_t done = 0;
    for (unsigned i = 0; i < count; i++) {
        share *s = &shares[(first + i) % count];
        for (size_t index; take_index(s, &index); done++) shared.task(shared.context, index);
    }
    return done;
}

static void work_traced(unsigned number) {
    nacre_trace_span *span = &spans[number];
    span->begin = nacre_clock_ns();
    span->tasks = work(number % shared.shares);
    span->end = nacre_clock_ns();
}

/* --- a worker --- */

static bool is_for_me(uint32_t gate, uint32_t seen) {
    return (gate & STOP) || ((gate & OPEN) && (gate & GENERATION) != seen);
}

/* The gate as soon as it is open for a job other than `seen`, or asks to stop. */
static uint32_t wait_for_job(uint32_t seen) {
    uint32_t gate = atomic_load_explicit(&shared.gate, memory_order_acquire);
    uint64_t start = may_spin ? nacre_clock_ns() : 0;
    while (may_spin && nacre_clock_ns() - start < SPIN_NS) {
        for (int i = 0; i < PAUSES_PER_LOOK; i++) {
            gate = atomic_load_explicit(&shared.gate, memory_order_acquire);
            if (is_for_me(gate, seen)) return gate;
            nacre_spin_pause();
        }
    }
    while (!is_for_me(gate, seen)) {
        /* First counted as a sleeper, then one more look: either the caller sees the sleeper or the
           sleeper sees the caller's new gate. */
        atomic_fetch_add(&shared.sleepers, 1);
        gate = atomic_load(&shared.gate);
        if (!is_for_me(gate, seen)) nacre_word_wait(&shared.gate, gate);
        atomic_fetch_sub(&shared.sleepers, 1);
        gate = atomic_load_explicit(&shared.gate, memory_order_acquire);
    }
    return gate;
}

/* Adds this worker to those inside. The gate as it was then, 0 when it has closed meanwhile. */
static uint32_t enter(uint32_t gate) {
    while ((gate & OPEN) && !(gate & STOP)) {
        if (atomic_compare_exchange_weak_explicit(&shared.gate, &gate, gate + 1,
                                                  memory_order_acquire, memory_order_relaxed))
            return gate;
    }
    return 0;
}

static void leave(void) {
    uint32_t before = atomic_fetch_sub_explicit(&shared.gate, 1, memory_order_acq_rel);
    if ((before & AWAITED) && (before & INSIDE) == 1) {
        atomic_store_explicit(&joined, 1, memory_order_release);
        nacre_word_wake(&joined, 1);
    }
}

static void *run_worker(void *argument) {
    unsigned number = (unsigned)((share *)argument - shares);
    uint32_t seen = generation_at_start;
    nacre_fp_enter();
    inside_task = true;
    for (;;) {
        uint32_t gate = wait_for_job(seen);
        if (gate & STOP) return NULL;
        gate = enter(gate);
        if (!gate) continue;
        seen = gate & GENERATION;
        if (shared.traced) {
            work_traced(number);
        } else {
            work(number % shared.shares);
        }
        leave();
    }
}

/* --- the caller --- */

static void open_gate(size_t count, nacre_task *task, void *context, bool traced) {
    size_t participants = (size_t)workers + 1 < count ? (size_t)workers + 1 : count;
    size_t each = count / participants, longer = count % participants, next = 0;
    for (size_t i = 0; i < participants; i++) {
        atomic_store_explicit(&shares[i].next, next, memory_order_relaxed);
        next += each + (i < longer);
        atomic_store_explicit(&shares[i].end, next, memory_order_relaxed);
    }
    shared.task = task;
    shared.context = context;
    shared.shares = (unsigned)participants;
    shared.traced = traced;
    uint32_t before = atomic_load_explicit(&shared.gate, memory_order_relaxed);
    atomic_exchange(&shared.gate, ((before & GENERATION) + ONE_GENERATION) | OPEN);
    int asleep = (int)atomic_load(&shared.sleepers), awake = workers - asleep;
    int missing = (int)participants - 1 - (awake > 0 ? awake : 0);
    if (asleep > 0 && missing > 0) nacre_word_wake(&shared.gate, missing);
}

static bool workers_left(void) {
    uint64_t start = nacre_clock_ns();
    do {
        for (int i = 0; i < PAUSES_PER_LOOK; i++) {
            if (!(atomic_load_explicit(&shared.gate, memory_order_acquire) & INSIDE)) return true;
            nacre_spin_pause();
        }
    } while (nacre_clock_ns() - start < SPIN_NS);
    return false;
}

/* Returns when no worker is inside. Each one's last step is a release on the gate, so its results are
   seen here. */
static void close_gate(void) {
    uint32_t gate = atomic_fetch_and_explicit(&shared.gate, ~OPEN, memory_order_acq_rel);
    if (!(gate & INSIDE)) return;
    if (may_spin && workers_left()) return;
    atomic_store_explicit(&joined, 0, memory_order_relaxed);
    gate = atomic_fetch_or_explicit(&shared.gate, AWAITED, memory_order_acq_rel);
    if (!(gate & INSIDE)) return;
    while (!atomic_load_explicit(&joined, memory_order_acquire)) nacre_word_wait(&joined, 0);
}

/* --- starting and stopping; the caller holds `busy` --- */

static void stop_workers(void) {
    atomic_fetch_or(&shared.gate, STOP);
    nacre_word_wake(&shared.gate, MOST_THREADS);
    for (int i = 0; i < workers; i++) nacre_thread_join(threads[i]);
    atomic_fetch_and(&shared.gate, ~STOP);
    workers = 0;
    start_failed = false;
}

static void start_workers(int count) {
    may_spin = nacre_usable_cpus() > count;
    generation_at_start = atomic_load(&shared.gate) & GENERATION;
    while (workers < count) {
        share *own = &shares[workers + 1];
        if (!nacre_thread_start(&threads[workers], run_worker, own)) break;
        workers++;
    }
    start_failed = workers < count;
    if (start_failed) {
        nacre_log("the system allows only %d of %d threads: computing with these", workers + 1,
                  count + 1);
    }
}

/* In the child of a fork the workers do not exist: the next call starts new ones. */
static void forget_workers(void) {
    atomic_store(&shared.gate, 0);
    atomic_store(&shared.sleepers, 0);
    atomic_store(&busy, false);
    workers = 0;
    start_failed = false;
    nacre_mutex_reset(&setting);
}

static int threads_from_environment(void) {
    const char *text = getenv("NACRE_THREADS");
    if (!text || !*text) return 0;
    char *end;
    errno = 0;
    long threads_asked = strtol(text, &end, 10);
    bool good = *end == '\0' && errno == 0 && threads_asked >= 0 && threads_asked <= MOST_THREADS;
    if (!good) snprintf(bad_environment, sizeof bad_environment, "%s", text);
    atomic_store(&complain, !good);
    return good ? (int)threads_asked : 0;
}

static void prepare_process(void) {
    int count = threads_from_environment();
    if (count == 0) count = nacre_usable_cpus();
    atomic_store(&wanted, count < MOST_THREADS ? count : MOST_THREADS);
    nacre_at_fork(NULL, NULL, forget_workers);
}

static void prepare(void) {
    nacre_call_once(&once, prepare_process);
    /* Not while once runs: the program's log sink may ask for the number of threads. */
    if (atomic_load_explicit(&complain, memory_order_relaxed) &&
        atomic_exchange(&complain, false)) {
        nacre_log(
            "NACRE_THREADS=%s is ignored: set it to a number from 1 to %d, or 0 for automatic",
            bad_environment, MOST_THREADS);
    }
}

int nacre_threads(void) {
    prepare();
    return atomic_load_explicit(&wanted, memory_order_relaxed);
}

nacre_status nacre_set_threads(int count) {
    prepare();
    if (count < 0 || count > MOST_THREADS) {
        return nacre_fail(NACRE_INVALID_ARGUMENT,
                          "set_threads: %d threads: give a number from 1 to %d, or 0 for automatic",
                          count, MOST_THREADS);
    }
    if (count == 0) count = nacre_usable_cpus();
    if (count > MOST_THREADS) count = MOST_THREADS;
    nacre_mutex_lock(&setting);
    bool running = atomic_exchange_explicit(&busy, true, memory_order_acquire);
    if (!running) {
        if (count != atomic_load(&wanted) || start_failed) stop_workers();
        atomic_store(&wanted, count);
        atomic_store_explicit(&busy, false, memory_order_release);
    }
    nacre_mutex_unlock(&setting);
    if (!running) return NACRE_OK;
    return nacre_fail(
        NACRE_INVALID_ARGUMENT,
        "set_threads: an evaluation is running on the pool: call it between evaluations");
}

/* The workers' spans are seen here since each left the job before its gate closed. */
static void run_traced(size_t count, nacre_task *task, void *context) {
    for (int i = 0; i <= workers; i++) spans[i].tasks = 0;
    uint64_t begin = nacre_clock_ns();
    open_gate(count, task, context, true);
    work_traced(0);
    close_gate();
    uint64_t end = nacre_clock_ns();
    for (int i = 0; i <= workers; i++) nacre_trace_add_part(i, begin, &spans[i], end);
}

/* false when the pool is in use or has no worker: nothing has run then. */
static bool run_on_pool(size_t count, nacre_task *task, void *context) {
    if (nacre_threads() == 1) return false;
    if (atomic_exchange_explicit(&busy, true, memory_order_acquire)) return false;
    if (workers == 0 && !start_failed) start_workers(atomic_load(&wanted) - 1);
    bool runs = workers > 0;
    if (runs && nacre_trace_session()) {
        run_traced(count, task, context);
    } else if (runs) {
        open_gate(count, task, context, false);
        work(0);
        close_gate();
    }
    atomic_store_explicit(&busy, false, memory_order_release);
    return runs;
}

static void run_inline(size_t count, nacre_task *task, void *context, bool traced) {
    uint64_t begin = traced ? nacre_clock_ns() : 0;
    for (size_t i = 0; i < count; i++) task(context, i);
    if (traced && count > 0) {
        nacre_trace_span span = {.begin = begin, .end = nacre_clock_ns(), .tasks = count};
        nacre_trace_add_part(0, begin, &span, span.end);
    }
}

void nacre_parallel(size_t count, nacre_task *task, void *context) {
    bool nested = inside_task;
    unsigned long long mode = nacre_fp_enter();
    inside_task = true;
    if (nested || count <= 1 || !run_on_pool(count, task, context)) {
        run_inline(count, task, context, !nested && nacre_trace_session());
    }
    inside_task = nested;
    nacre_fp_restore(mode);
}
