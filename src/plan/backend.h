/* What a plan is made of, and what a backend does with it. */
#ifndef NACRE_PLAN_BACKEND_H
#define NACRE_PLAN_BACKEND_H

#include "record/op.h"
#include "tensor/storage.h"

/* A fused chain of element-wise ops on f32, run tile by tile: registers of one tile each. Instruction i writes
   register arguments + i; registers below `arguments` are the loaded inputs. */
#define NACRE_PROGRAM_INPUTS 12
#define NACRE_PROGRAM_CODES 16
#define NACRE_PROGRAM_OUTPUTS 6

typedef struct nacre_instruction {
    const nacre_op *op;
    const nacre_word *attrs; /* into the plan's words; slots are refreshed before each replay */
    int argument[3];         /* registers */
} nacre_instruction;

typedef struct nacre_program {
    int inputs, codes, outputs;
    nacre_instruction code[NACRE_PROGRAM_CODES];
    int result[NACRE_PROGRAM_OUTPUTS]; /* register stored to output k */
} nacre_program;

/* One step of a plan. The arrays' data pointers are set before each replay. */
typedef struct nacre_plan_op {
    const nacre_op *op; /* NULL: a fused group, program says what */
    const nacre_word *attrs;
    int inputs, outputs;
    nacre_array in[NACRE_PROGRAM_INPUTS];
    nacre_array out[NACRE_PROGRAM_OUTPUTS];
    /* A group: in[] and out[] are the program's inputs (each with the group's shape, stride 0 where
       broadcast) and outputs (contiguous). A product (matmul, linear) with an epilogue: the op's own
       inputs are in[0 .. own), register 0 of the program is the product, registers 1.. are in[own ..]
       broadcast to the output's shape; out[] are the program's outputs, and behind them the op's own but the first. */
    const nacre_program *program;
    int own;
    void (*run)(const struct nacre_plan_op *step, void *scratch);
    size_t scratch;     /* bytes of arena memory wanted while it runs, 64-byte aligned */
    const char *kernel; /* name for explain, static */
    int variant;        /* the backend's own */
    /* Bytes wanted, zeroed, from one run of the step to the next: what run works out from shapes. state NULL: there
       are none, and it is worked out anew. */
    size_t state_bytes;
    void *state;
    /* NACRE_READS_IN bits: the inputs that no evaluation of this plan changes. Of one of them the step may keep a
       form of its own (nacre_storage_form): prepare sets `keeps` to its bit, and run finds its storage in
       `keeper`. */
    unsigned constant, keeps;
    nacre_storage *keeper;
} nacre_plan_op;

/* An element-wise op that may run with the op whose result it reads. */
typedef struct nacre_epilogue_member {
    const nacre_op *op;
    int position;         /* in the epilogue */
    const nacre_op *last; /* the member before; NULL: none */
    unsigned product;     /* NACRE_READS_IN bits of its inputs: the other op's result itself */
    unsigned
        result; /* NACRE_READS_IN bits of its inputs: the result of the member before, or the other op's itself */
    unsigned first; /* likewise: what the other op has as input 0; of the first member alone */
    unsigned whole; /* bits of its inputs that have the other op's result's shape */
    unsigned
        channel; /* bits of those with one number for each of its channels (axis 1), or for all */
    unsigned last_whole;          /* like `whole`, of the member before */
    const nacre_shape *inputs[2]; /* shapes of the other op's first; NULL: it has none */
} nacre_epilogue_member;

typedef struct nacre_backend_table {
    const char *name;
    /* A composite record whose first input is of that dtype is run by one kernel of its own. A primitive is always. */
    bool (*claims)(const nacre_op *op, nacre_dtype dtype);
    /* May an f32 element-wise op be part of a fused group? */
    bool (*fuses)(const nacre_op *op);
    /* May this op take the member into its epilogue? */
    bool (*takes_epilogue)(const nacre_op *op, const nacre_epilogue_member *member);
    /* May that many results of the op and its epilogue together be stored? Where not, the op runs by itself. */
    bool (*stores)(const nacre_op *op, int results);
    /* Which operands must be laned: NACRE_READS_IN and _OUT bits, from op, attributes, dtypes and shapes. NULL:
       none ever. */
    unsigned (*laned)(const nacre_plan_op *step);
    /* Chooses the kernel: sets run, scratch, kernel, variant. Depends on shapes, strides and dtypes only.
       false: the layout does not suit, and non-contiguous inputs must be copied first. */
    bool (*prepare)(nacre_plan_op *step);
    /* Says in words how a prepared step is done, where its kernel's name says too little. NULL: it never does. */
    void (*describe)(const nacre_plan_op *step, char *text, size_t size);
} nacre_backend_table;

enum { NACRE_WAY_BYTES = 128 };

extern const nacre_backend_table nacre_backend_cpu;
extern const nacre_backend_table nacre_backend_reference;

#endif
