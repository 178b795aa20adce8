/* What the parts of nacre bench share. */
#ifndef NACRE_CLI_BENCH_H
#define NACRE_CLI_BENCH_H

#include "cli/workloads.h"
#include "io/text.h"

typedef struct nacre_cli_bench_values {
    int64_t batch_size, threads, memory; /* batch_size 0: the workload's own */
    double seconds;
    const char *trace;
    nacre_cli_sizes sizes; /* 0: the workload's own */
    bool infer, json, check, list;
} nacre_cli_bench_values;

/* Exit codes; what is wrong was said. `names`: of single kernels, none means all. */
int nacre_cli_bench_workload(const nacre_cli_workload *workload,
                             const nacre_cli_bench_values *values);
int nacre_cli_bench_kernels(const char *const *names, int count,
                            const nacre_cli_bench_values *values);
int nacre_cli_bench_loader(const nacre_cli_bench_values *values);

/* Times of one thing: the least of all, and the last `capacity` of them. */
typedef struct nacre_cli_times {
    float *microseconds; /* [capacity] */
    float least;
    size_t added, capacity;
} nacre_cli_times;
bool nacre_cli_times_make(nacre_cli_times *times, size_t capacity); /* false: error set */
void nacre_cli_times_free(nacre_cli_times *times);
void nacre_cli_times_add(nacre_cli_times *times, uint64_t begin_ns, uint64_t end_ns);
void nacre_cli_times_sort(nacre_cli_times *times);
/* After sorting; NaN of none. share: 0 the least, 0.5 the median. */
double nacre_cli_times_at(const nacre_cli_times *times, double share);

/* What the machine could do at the time: the best of all looks. */
typedef struct nacre_cli_machine {
    double gflops, gflops_one, gflops_all;
    double gbytes, read_gbytes; /* reading and writing the stream; reading it */
    float *stream;              /* [stream_count] */
    size_t stream_count;
} nacre_cli_machine;
/* working_set: bytes of what a step reads and writes at least, which decides what memory it comes from. */
bool nacre_cli_machine_make(nacre_cli_machine *machine, double working_set); /* false: error set */
void nacre_cli_machine_free(nacre_cli_machine *machine);
/* On the threads in use and on one. */
void nacre_cli_machine_look(nacre_cli_machine *machine);
/* On all threads, after the last look: until then a process of one thread stays one. */
nacre_status nacre_cli_machine_look_at_all(nacre_cli_machine *machine);
/* Microseconds that so much work takes at least: not less than arithmetic and memory one after the other. gbytes: one
   of the machine's bandwidths, that which fits the work. */
double nacre_cli_machine_roofline(const nacre_cli_machine *machine, double flops, double bytes,
                                  double gbytes);

#endif
