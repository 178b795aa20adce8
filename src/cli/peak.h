/* What this machine could do at best: fused multiply-adds without memory, and memory alone. */
#ifndef NACRE_CLI_PEAK_H
#define NACRE_CLI_PEAK_H

#include <stddef.h>

/* f32 GFLOP/s of the pool's threads at the kernel level in use, from one measurement of about 5 ms. The
   machine's clock moves: take the best of several. */
double nacre_cli_peak_gflops(void);
double nacre_cli_peak_gflops_one(void); /* of one thread */

/* GB/s of reading and writing all of x on the pool's threads, the best of about a millisecond: from where x
   lies, so its size decides whether caches or memory are measured. x changes. */
double nacre_cli_stream_gbytes(float *x, size_t count);
/* The same of reading alone. */
double nacre_cli_read_gbytes(float *x, size_t count);

#endif
