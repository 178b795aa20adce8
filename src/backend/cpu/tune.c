#include "backend/cpu/tune.h"

#include "backend/cpu/product.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"

#include <nacre/plan.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_TRIALS = 512, MOST_CANDIDATES = 96, KEPT_TIMES = 32 };
/* A choice must beat the rules by so much: less than this is a machine's mood. */
static const float margin = 0.97F;

typedef struct candidate {
    nacre_product_choice choice;
    nacre_product_layout layout;
    float times[KEPT_TIMES]; /* the last ones, ns */
    float least, last;
    unsigned timed, wins; /* wins: rounds in which it beat the rules by the margin */
    bool dropped;
} candidate;

/* Candidate 0 is the rules. A round runs each that is not dropped once, in random order. */
typedef struct trial {
    nacre_tuning_key key;
    int count, alive, next;
    int order[MOST_CANDIDATES];
    unsigned rounds;
    uint32_t random;
    candidate candidate[];
} trial;

/* All but `taken` is the tuning thread's. */
static struct {
    atomic_bool taken;
    trial *trials[MOST_TRIALS];
    size_t count;
    nacre_status status; /* of the first allocation that failed */
} session;

static _Thread_local bool is_tuning;

/* ---- rounds ---- */

/* xorshift32 (Marsaglia, 2003) and Fisher and Yates's shuffle: no candidate always follows the same one. */
static uint32_t draw(trial *t, uint32_t below) {
    t->random ^= t->random << 13;
    t->random ^= t->random >> 17;
    t->random ^= t->random << 5;
    return t->random % below;
}

static void begin_round(trial *t) {
    t->alive = t->next = 0;
    for (int i = 0; i < t->count; i++)
        if (!t->candidate[i].dropped) t->order[t->alive++] = i;
    for (int i = t->alive - 1; i > 0; i--) {
        int k = (int)draw(t, (uint32_t)i + 1), other = t->order[k];
        t->order[k] = t->order[i];
        t->order[i] = other;
    }
}

/* Drops what is far behind, sooner what is farther: the rounds that are left are for the others. */
static void end_round(trial *t) {
    float best = t->candidate[0].least, limit = t->rounds >= 12 ? 1.06F : 1.25F;
    t->rounds++;
    for (int i = 1; i < t->count; i++) {
        candidate *c = &t->candidate[i];
        if (c->dropped) continue;
        c->wins += c->last < margin * t->candidate[0].last;
        best = c->least < best ? c->least : best;
    }
    for (int i = 1; i < t->count && t->rounds >= 3; i++)
        t->candidate[i].dropped |= t->candidate[i].least > limit * best;
}

static void note(candidate *c, uint64_t ns) {
    c->last = (float)ns;
    c->least = c->timed == 0 || c->last < c->least ? c->last : c->least;
    c->times[c->timed++ % KEPT_TIMES] = c->last;
}

/* ---- verdicts ---- */

static int compare_times(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* The time that a quarter of the last ones stays below: other programs only ever add to it. */
static float better_quarter(const candidate *c) {
    float times[KEPT_TIMES];
    size_t count = c->timed < KEPT_TIMES ? c->timed : KEPT_TIMES;
    if (count == 0) return 0;
    memcpy(times, c->times, count * sizeof *times);
    qsort(times, count, sizeof *times, compare_times);
    return times[count / 4];
}

/* Faster than the rules by the margin, and in two rounds of three: else the rules. */
static const candidate *winner(const trial *t) {
    const candidate *best = &t->candidate[0];
    float limit = margin * better_quarter(best);
    for (int i = 1; i < t->count; i++) {
        const candidate *c = &t->candidate[i];
        bool steady =
            !c->dropped && t->rounds >= NACRE_TUNE_LEAST_ROUNDS && 3 * c->wins >= 2 * t->rounds;
        if (steady && better_quarter(c) < limit) {
            best = c;
            limit = better_quarter(c);
        }
    }
    return best;
}

size_t nacre_tune_count(void) { return is_tuning ? session.count : 0; }

nacre_tune_result nacre_tune_result_at(size_t index) {
    const trial *t = session.trials[index];
    const candidate *best = winner(t);
    return (nacre_tune_result){.key = t->key,
                               .best = best->choice,
                               .rules_us = (double)better_quarter(&t->candidate[0]) * 1e-3,
                               .best_us = (double)better_quarter(best) * 1e-3,
                               .candidates = t->count,
                               .rounds = t->rounds};
}

/* ---- candidates ---- */

static bool same_layout(const nacre_product_layout *a, const nacre_product_layout *b) {
    return a->way == b->way && a->pack_a == b->pack_a && a->pack_b == b->pack_b &&
           a->sweeps == b->sweeps && a->parts == b->parts && a->task_panels == b->task_panels;
}

/* Adds a choice unless it comes to what another one does. */
static int add_candidate(nacre_plan_op *step, candidate *to, int count,
                         const nacre_product_choice *choice) {
    if (count == MOST_CANDIDATES) return count;
    nacre_product_set_choice(step, choice);
    to[count] = (candidate){.choice = *choice, .layout = nacre_product_layout_f32(step)};
    for (int i = 0; i < count; i++)
        if (same_layout(&to[i].layout, &to[count].layout)) return count;
    return count + 1;
}

/* The rules first, then ways and packing with the rules' tasks, then other tasks and sweeps. */
static int find_candidates(nacre_plan_op *step, candidate *to) {
    static const int tasks[] = {0, 19, 15, 21, 13, 16, 18, 24}, sweeps[] = {0, 17, 20, 22};
    enum { TASKS = sizeof tasks / sizeof *tasks, SWEEPS = sizeof sweeps / sizeof *sweeps };
    int count = 0, packs = NACRE_PACK_AS * NACRE_PACK_BS;
    for (int size = 0; size < TASKS * SWEEPS; size++) {
        for (int pack = 0; pack < packs; pack++) {
            for (int way = 0; way < NACRE_WAYS; way++) {
                nacre_product_choice choice = {.way = (nacre_way)way,
                                               .pack_a = (nacre_pack_a)(pack / NACRE_PACK_BS),
                                               .pack_b = (nacre_pack_b)(pack % NACRE_PACK_BS),
                                               .task = tasks[size % TASKS],
                                               .sweep = sweeps[size / TASKS]};
                count = add_candidate(step, to, count, &choice);
            }
        }
    }
    return count;
}

static trial *find_trial(const nacre_tuning_key *key) {
    for (size_t i = 0; i < session.count; i++)
        if (memcmp(&session.trials[i]->key, key, sizeof *key) == 0) return session.trials[i];
    return NULL;
}

static trial *new_trial(const nacre_plan_op *step, const nacre_tuning_key *key) {
    nacre_plan_op probe = *step;
    candidate *found = nacre_alloc(MOST_CANDIDATES * sizeof *found);
    if (!found) return NULL;
    int count = find_candidates(&probe, found);
    trial *t = nacre_alloc_zeroed(1, sizeof *t + (size_t)count * sizeof *t->candidate);
    if (t) {
        t->key = *key;
        t->count = count;
        t->random = 2463534242u + (uint32_t)session.count;
        memcpy(t->candidate, found, (size_t)count * sizeof *found);
        session.trials[session.count++] = t;
        begin_round(t);
    }
    nacre_free(found);
    return t;
}

/* ---- steps ---- */

/* What a tried step keeps from run to run; the product's own state follows. */
typedef union tried_state {
    trial *trial;
    max_align_t align;
} tried_state;

static void run_tried(const nacre_plan_op *step, void *scratch) {
    tried_state *state = step->state;
    if (!state) {
        nacre_product_run_f32(step, scratch);
        return;
    }
    nacre_plan_op own = *step;
    if (!state->trial) {
        nacre_tuning_key key = nacre_tuning_key_of(step);
        state->trial = find_trial(&key);
    }
    trial *t = state->trial;
    int at = t ? t->order[t->next] : 0;
    own.state = state + 1;
    if (t) nacre_product_set_choice(&own, &t->candidate[at].choice);
    nacre_product_plan_f32(&own, own.state);
    uint64_t begin = nacre_clock_ns();
    nacre_product_run_f32(&own, scratch);
    uint64_t end = nacre_clock_ns();
    if (!t) return;
    note(&t->candidate[at], end - begin);
    if (++t->next < t->alive) return;
    end_round(t);
    begin_round(t);
}

static size_t most_scratch(const nacre_plan_op *step, const trial *t) {
    nacre_plan_op probe = *step;
    size_t most = 0;
    for (int i = 0; i < t->count; i++) {
        nacre_product_set_choice(&probe, &t->candidate[i].choice);
        size_t scratch = nacre_product_scratch_f32(&probe);
        most = scratch > most ? scratch : most;
    }
    return most;
}

bool nacre_tune_prepare(nacre_plan_op *step) {
    /* Where B's panels are kept there is no packing to choose. */
    if (!is_tuning || step->keeps) return false;
    nacre_tuning_key key = nacre_tuning_key_of(step);
    if (key.m == 0 || key.n == 0 || key.batches == 0) return false;
    trial *t = find_trial(&key);
    if (!t && session.count == MOST_TRIALS) return false;
    if (!t) t = new_trial(step, &key);
    if (!t) {
        session.status = NACRE_OUT_OF_MEMORY;
        return false;
    }
    step->state_bytes = sizeof(tried_state) + nacre_product_state_f32();
    return nacre_cpu_use(step, run_tried, most_scratch(step, t), "gemm");
}

/* ---- sessions ---- */

nacre_status nacre_tune_begin(void) {
    if (atomic_exchange(&session.taken, true))
        return nacre_fail(NACRE_INVALID_STATE,
                          "tune_begin: products are being tuned; end it first (nacre_tune_end)");
    session.count = 0;
    session.status = NACRE_OK;
    is_tuning = true;
    nacre_plan_cache_clear(); /* plans made from here on are tried */
    return NACRE_OK;
}

/* The table in force with what was found. */
static nacre_status add_winners(nacre_tuning_table *table) {
    nacre_status status = nacre_tuning_copy(table);
    for (size_t i = 0; i < session.count && status == NACRE_OK; i++) {
        const trial *t = session.trials[i];
        nacre_tuning_entry entry = {.key = t->key, .choice = winner(t)->choice};
        if (t->rounds >= NACRE_TUNE_LEAST_ROUNDS) status = nacre_tuning_put(table, &entry);
    }
    return status;
}

nacre_status nacre_tune_end(void) {
    if (!is_tuning)
        return nacre_fail(NACRE_INVALID_STATE,
                          "tune_end: this thread tunes nothing; begin with nacre_tune_begin");
    nacre_tuning_table table;
    nacre_status status = add_winners(&table);
    if (status == NACRE_OK) nacre_tuning_use(&table);
    nacre_tuning_free(&table);
    nacre_plan_cache_clear(); /* those that tried point at what is freed now */
    for (size_t i = 0; i < session.count; i++) nacre_free(session.trials[i]);
    if (status == NACRE_OK && session.status != NACRE_OK)
        status =
            nacre_fail(session.status, "tune_end: out of memory: some products were not tried");
    session.count = 0;
    is_tuning = false;
    atomic_store(&session.taken, false);
    return status;
}
