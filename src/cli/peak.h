/* What this machine could do at best: fused multiply-adds without memory. */
#ifndef NACRE_CLI_PEAK_H
#define NACRE_CLI_PEAK_H

/* f32 GFLOP/s of the pool's threads at the kernel level in use, from one measurement of about 5 ms. The
   machine's clock moves: take the best of several. */
double nacre_cli_peak_gflops(void);

#endif
