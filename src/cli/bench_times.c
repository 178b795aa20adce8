/* Times, and what the machine could have done. */
#include "base/clock.h"
#include "base/cpu.h"
#include "base/memory.h"
#include "cli/bench.h"
#include "cli/peak.h"

#include <math.h>
#include <nacre/system.h>
#include <stdio.h>
#include <stdlib.h>

bool nacre_cli_times_make(nacre_cli_times *times, size_t capacity) {
    *times = (nacre_cli_times){.microseconds = nacre_alloc_zeroed(capacity, sizeof(float)),
                               .capacity = capacity};
    return times->microseconds != NULL;
}

void nacre_cli_times_free(nacre_cli_times *times) {
    nacre_free(times->microseconds);
    *times = (nacre_cli_times){0};
}

void nacre_cli_times_add(nacre_cli_times *times, uint64_t begin_ns, uint64_t end_ns) {
    float time = (float)((double)(end_ns - begin_ns) * 1e-3);
    times->least = times->added == 0 || time < times->least ? time : times->least;
    times->microseconds[times->added++ % times->capacity] = time;
}

/* Of many the last ones are left. */
static size_t count_of(const nacre_cli_times *times) {
    return times->added < times->capacity ? times->added : times->capacity;
}

static int compare_floats(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

void nacre_cli_times_sort(nacre_cli_times *times) {
    size_t count = count_of(times);
    if (count > 0) {
        qsort(times->microseconds, count, sizeof *times->microseconds, compare_floats);
    }
}

double nacre_cli_times_at(const nacre_cli_times *times, double share) {
    size_t count = count_of(times), i = (size_t)(share * (double)count);
    if (count == 0) {
        return NAN;
    }
    return (double)(share == 0 ? times->least : times->microseconds[i < count ? i : count - 1]);
}

/* ---- the machine ---- */

enum { LEAST_STREAM = 1 << 16, MOST_STREAM = 1 << 24 }; /* floats: 256 kB to 64 MB */

bool nacre_cli_machine_make(nacre_cli_machine *machine, double working_set) {
    double count = working_set / sizeof(float);
    *machine =
        (nacre_cli_machine){.stream_count = (size_t)fmin(fmax(count, LEAST_STREAM), MOST_STREAM)};
    machine->stream = nacre_alloc_zeroed(machine->stream_count, sizeof *machine->stream);
    return machine->stream != NULL;
}

void nacre_cli_machine_free(nacre_cli_machine *machine) {
    nacre_free(machine->stream);
    *machine = (nacre_cli_machine){0};
}

void nacre_cli_machine_look(nacre_cli_machine *machine) {
    machine->gbytes =
        fmax(machine->gbytes, nacre_cli_stream_gbytes(machine->stream, machine->stream_count));
    machine->read_gbytes =
        fmax(machine->read_gbytes, nacre_cli_read_gbytes(machine->stream, machine->stream_count));
    machine->gflops_one = fmax(machine->gflops_one, nacre_cli_peak_gflops_one());
    machine->gflops = fmax(machine->gflops, nacre_cli_peak_gflops());
    if (nacre_threads() == 1) {
        machine->gflops = machine->gflops_one = fmax(machine->gflops, machine->gflops_one);
    }
}

nacre_status nacre_cli_machine_look_at_all(nacre_cli_machine *machine) {
    enum { LOOKS = 5 };
    int used = nacre_threads(), all = nacre_usable_cpus();
    machine->gflops_all = machine->gflops;
    if (used == all) {
        return NACRE_OK;
    }
    nacre_status status = nacre_set_threads(all);
    machine->gflops_all = 0;
    for (int i = 0; status == NACRE_OK && i < LOOKS; i++) {
        machine->gflops_all = fmax(machine->gflops_all, nacre_cli_peak_gflops());
    }
    return status == NACRE_OK ? nacre_set_threads(used) : status;
}

double nacre_cli_machine_roofline(const nacre_cli_machine *machine, double flops, double bytes,
                                  double gbytes) {
    return (flops / machine->gflops + bytes / gbytes) * 1e-3;
}
