/* Running a chain of element-wise functions block by block: fused groups, single ops, product epilogues. */
#ifndef NACRE_BACKEND_CPU_GROUP_H
#define NACRE_BACKEND_CPU_GROUP_H

#include "backend/cpu/cpu.h"
#include "backend/cpu/strided.h"

/* Elements of one block: a register is 2 KB, a chain of a few ops stays in L1. */
enum { NACRE_BLOCK = 512 };
enum { NACRE_GROUP_REGISTERS = NACRE_PROGRAM_INPUTS + NACRE_PROGRAM_CODES };

typedef struct nacre_group {
    const nacre_cpu_level *level;
    int inputs, codes, outputs;
    bool product;  /* register 0 is handed to nacre_group_block, the others are inputs */
    bool in_place; /* an output may overlap an input: read all of a block before writing it */
    nacre_strided in[NACRE_PROGRAM_INPUTS];
    struct {
        nacre_tile_function *run;
        int argument[3];
    } code[NACRE_PROGRAM_CODES];
    int result[NACRE_PROGRAM_OUTPUTS];
    unsigned char *out[NACRE_PROGRAM_OUTPUTS];
    size_t out_size[NACRE_PROGRAM_OUTPUTS]; /* of one element */
} nacre_group;

/* From a step with a program. */
void nacre_group_begin(nacre_group *group, const nacre_plan_op *step);

/* The function of an op within a group, and how many arguments it takes. */
nacre_tile_function *nacre_group_function(const nacre_cpu_level *level, const nacre_op *op,
                                          const nacre_word *attrs, int *arguments);

/* What one task keeps: a buffer for each register that does not lie in memory as it is. */
typedef struct nacre_group_buffers {
    float value[NACRE_GROUP_REGISTERS][NACRE_BLOCK];
    const void *repeated
        [NACRE_PROGRAM_INPUTS]; /* the element that fills an input's; NULL: it holds others */
} nacre_group_buffers;

/* Fills the registers of scalar inputs, and forgets what others hold; once per task. */
void nacre_group_scalars(const nacre_group *group, nacre_group_buffers *buffers);

/* Rows of `width` elements of the output, the first element of each `pitch` after the one above;
   rows * width <= NACRE_BLOCK. product: the rows one after another, or NULL. */
void nacre_group_block(const nacre_group *group, nacre_group_buffers *buffers, int64_t first,
                       int64_t pitch, int64_t rows, int64_t width, const float *product);

#endif
