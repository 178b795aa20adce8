/* What nacre bench kernels times: single operations at the shapes of the workloads. */
#ifndef NACRE_CLI_KERNEL_CASES_H
#define NACRE_CLI_KERNEL_CASES_H

#include <nacre/tensor.h>
#include <stdbool.h>

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

enum { NACRE_CLI_MOST_EXTENT = 16384 }; /* of a product of one's own: a matrix takes 1 GB */

/* Is it the name of a product of one's own: "matmul:..." or "linear:..."? */
bool nacre_cli_case_is_product(const char *name);
/* "matmul:MxNxK" is [M,K] times [K,N]; ":tn" and the like after it tell which of the two lies transposed in memory.
   "linear:MxNxK" is [M,K] times a weight [N,K], bias and relu. The case keeps the name. false: it is none. */
bool nacre_cli_case_parse(const char *name, nacre_cli_case *out);

#endif
