/* What nacre bench kernels times: single operations at the shapes of the workloads. */
#ifndef NACRE_CLI_KERNEL_CASES_H
#define NACRE_CLI_KERNEL_CASES_H

#include <nacre/tensor.h>

enum { NACRE_CLI_CASE_INPUTS = 4, NACRE_CLI_MOST_CASES = 128 };

typedef struct nacre_cli_case {
    const char *name;
    nacre_tensor *(*record)(nacre_tensor *const *in);
    nacre_shape in[NACRE_CLI_CASE_INPUTS]; /* as many as have elements; drawn normal */
    int gradient;                          /* 0: forward; k: the gradient of input k - 1 */
    bool scalar;                           /* no inputs are drawn: record makes what it needs */
} nacre_cli_case;

extern const nacre_cli_case nacre_cli_cases[];
extern const size_t nacre_cli_case_count;

#endif
