/* What this CPU can do, and which kernel level was chosen. */
#ifndef NACRE_BASE_CPU_H
#define NACRE_BASE_CPU_H

#include <stdbool.h>

typedef enum nacre_isa_level {
    NACRE_ISA_PORTABLE = 0,
    NACRE_ISA_AVX2,   /* AVX2 and FMA */
    NACRE_ISA_AVX512, /* F, BW, DQ, VL */
    NACRE_ISA_NEON,
    NACRE_ISA_COUNT
} nacre_isa_level;

bool nacre_isa_supported(nacre_isa_level level); /* by this CPU and its operating system */
const char *nacre_isa_name(nacre_isa_level level);
/* The level in use: the best of this machine, NACRE_ISA, or what nacre_set_isa said. A bad NACRE_ISA
   is logged once, naming the known ones, and ignored. */
nacre_isa_level nacre_isa_in_use(void);

/* What this CPU calls itself, printable ASCII: "AMD EPYC, family 26, model 2, stepping 1". */
enum { NACRE_CPU_MODEL_BYTES = 128 };
void nacre_cpu_model(char out[NACRE_CPU_MODEL_BYTES]);

/* Usable CPUs: affinity and cgroup quota (v1 and v2), at least 1. */
int nacre_usable_cpus(void);

#endif
