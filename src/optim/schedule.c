/* Learning rates over the steps of a run. */
#include "base/error.h"
#include "base/memory.h"
#include "nn/options.h"
#include "optim/optimizer.h"

#include <math.h>
#include <string.h>

struct nacre_schedule {
    nacre_schedule_class class_;
    void *self;
    nacre_status status;
    bool immortal;
};

static nacre_schedule out_of_memory = {
    .class_ = {.name = "?"}, .status = NACRE_OUT_OF_MEMORY, .immortal = true};

nacre_schedule *nacre_schedule_new(const nacre_schedule_class *class_, void *self) {
    nacre_schedule *schedule = nacre_alloc_zeroed(1, sizeof *schedule);
    if (!schedule) {
        if (class_ && class_->destroy) {
            class_->destroy(self);
        }
        return &out_of_memory;
    }
    if (class_) {
        memcpy(&schedule->class_, class_,
               class_->size < sizeof *class_ ? class_->size : sizeof *class_);
    }
    schedule->self = self;
    if (!schedule->class_.name || !schedule->class_.rate) {
        schedule->status = NACRE_INVALID_ARGUMENT;
    }
    return schedule;
}

void nacre_schedule_free(nacre_schedule *schedule) {
    if (!schedule || schedule->immortal) {
        return;
    }
    if (schedule->class_.destroy) {
        schedule->class_.destroy(schedule->self);
    }
    nacre_free(schedule);
}

nacre_status nacre_schedule_status(const nacre_schedule *schedule) {
    if (schedule->status == NACRE_OUT_OF_MEMORY) {
        return nacre_fail(schedule->status, "schedule: out of memory");
    }
    return schedule->status == NACRE_OK
               ? NACRE_OK
               : nacre_fail(
                     schedule->status,
                     "schedule: bad options: the class needs a name and a rate; onecycle "
                     "needs warmup in [0, 1] (three phases: [0, 0.5]) and finite divisors above 0");
}

double nacre_schedule_rate(const nacre_schedule *schedule, double peak, int64_t step,
                           int64_t total) {
    if (!schedule || schedule->status != NACRE_OK) {
        return peak;
    }
    return schedule->class_.rate(schedule->self, peak, step, total);
}

const char *nacre_schedule_kind(const nacre_schedule *schedule) {
    return schedule && schedule->class_.name ? schedule->class_.name : "?";
}

/* ---- constant ---- */

static double constant_rate(const void *self, double peak, int64_t step, int64_t total) {
    (void)self, (void)step, (void)total;
    return peak;
}

nacre_schedule *nacre_constant(void) {
    static const nacre_schedule_class class_ = {
        .size = sizeof class_, .name = "constant", .rate = constant_rate};
    return nacre_schedule_new(&class_, NULL);
}

/* ---- one cycle ---- */

/* From a to b along half a cosine; share in [0, 1]. */
static double anneal(double a, double b, double share) {
    const double pi = 3.14159265358979323846;
    return b + (a - b) / 2 * (cos(pi * share) + 1);
}

/* Up until step warmup total - 1, then down to the last rate; with three phases down to the first one at the same
   pace, and only then to the last. As torch.optim.lr_scheduler.OneCycleLR. */
static double onecycle_rate(const void *self, double peak, int64_t step, int64_t total) {
    const nacre_onecycle_options *o = self;
    double first = peak / o->start_div, last = first / o->final_div;
    double turn = o->warmup * (double)total - 1, end = (double)total - 1, at = (double)step;
    if (at <= turn) {
        return turn > 0 ? anneal(first, peak, at / turn) : peak;
    }
    double back = 2 * o->warmup * (double)total - 2;
    if (o->three_phase && at <= back) {
        return anneal(peak, first, (at - turn) / (back - turn));
    }
    double from = o->three_phase ? back : turn;
    double share = end > from ? (at - from) / (end - from) : 1;
    return anneal(o->three_phase ? first : peak, last, share < 1 ? share : 1);
}

nacre_schedule *nacre_onecycle_at(const nacre_onecycle_options *options) {
    static const nacre_schedule_class class_ = {
        .size = sizeof class_, .name = "onecycle", .rate = onecycle_rate, .destroy = nacre_free};
    nacre_onecycle_options *self = nacre_alloc(sizeof *self);
    nacre_schedule *schedule = nacre_schedule_new(&class_, self);
    if (schedule->immortal) {
        return schedule;
    }
    if (!self) {
        schedule->status = NACRE_OUT_OF_MEMORY;
        return schedule;
    }
    schedule->status = nacre_options_take(self, sizeof *self, options, "onecycle");
    if (schedule->status == NACRE_OK) {
        self->warmup = self->warmup != 0 || signbit(self->warmup) ? self->warmup : 0.3;
        self->start_div = self->start_div != 0 ? self->start_div : 25;
        self->final_div = self->final_div != 0 ? self->final_div : 1e4;
        bool good = self->warmup >= 0 && self->warmup <= (self->three_phase ? 0.5 : 1) &&
                    isfinite(self->start_div) && self->start_div > 0 && isfinite(self->final_div) &&
                    self->final_div > 0;
        schedule->status = good ? NACRE_OK : NACRE_INVALID_ARGUMENT;
    }
    return schedule;
}
