/* What follows an f32 product, and which of it happens before the sums reach memory. */
#include "backend/cpu/group.h"
#include "backend/cpu/product.h"

/* One row for all rows of the output? */
static bool is_row(const nacre_array *array) {
    int last = array->shape.ndim - 1;
    if (last < 0 || array->strides[last] != 1) return false;
    for (int i = 0; i < last; i++)
        if (array->strides[i] != 0 && array->shape.dims[i] != 1) return false;
    return true;
}

/* Of an instruction with the arguments a and b in any order. */
static bool takes(const nacre_instruction *code, int a, int b) {
    const int *argument = code->argument;
    return (argument[0] == a && argument[1] == b) || (argument[0] == b && argument[1] == a);
}

/* relu_backward(y, sums): where the sums go at all. */
static bool find_mask(nacre_product_finish *f, const nacre_plan_op *step) {
    const nacre_program *program = step->program;
    const nacre_instruction *code = program->code;
    bool fits = code->op == &nacre_op_relu_backward && program->codes == 1 &&
                program->inputs == 2 && program->outputs == 1 && f->bias_input < 0 &&
                code->argument[0] == 1 && code->argument[1] == 0 &&
                nacre_cpu_is_plain(&step->in[step->own]);
    if (fits) f->mask_input = step->own;
    return fits;
}

/* + a row or + an array like the output, relu, or both in this order. */
static bool find_sum(nacre_product_finish *f, const nacre_plan_op *step) {
    const nacre_program *program = step->program;
    const nacre_instruction *code = program->code;
    const nacre_array *other = &step->in[step->own];
    int added = code[0].op == &nacre_op_add && program->inputs == 2 && takes(&code[0], 0, 1);
    int value = added ? program->inputs : 0;
    bool relu = added < program->codes && code[added].op == &nacre_op_relu &&
                code[added].argument[0] == value;
    if (program->outputs != 1 || added + relu != program->codes) return false;
    if (added && is_row(other) && f->bias_input < 0)
        f->bias_input = step->own;
    else if (added && nacre_cpu_is_plain(other))
        f->add_input = step->own;
    else if (added)
        return false;
    f->relu = relu;
    return true;
}

/* One function of the sums, perhaps with an array like the output, whose result is wanted beside them or alone. */
static bool find_map(nacre_product_finish *f, const nacre_plan_op *step) {
    const nacre_program *program = step->program;
    if (program->codes != 1 || program->inputs > 2 || program->outputs > 2) return false;
    const nacre_instruction *code = program->code;
    bool two = program->inputs == 2;
    int arguments;
    nacre_tile_function *map =
        nacre_group_function(nacre_cpu_level_of(step), code->op, code->attrs, &arguments);
    bool fits =
        two ? arguments == 2 && takes(code, 0, 1) && nacre_cpu_is_plain(&step->in[step->own])
            : arguments == 1 && code->argument[0] == 0;
    if (!fits) return false;
    int sums = -1, mapped = -1;
    for (int k = 0; k < program->outputs; k++) {
        if (program->result[k] == 0)
            sums = k;
        else
            mapped = k;
    }
    if (mapped < 0 || step->out[mapped].dtype != NACRE_F32) return false;
    f->map = map;
    f->mapped = mapped;
    f->out = sums < 0 ? mapped : sums;
    f->map_input = two ? step->own : -1;
    for (int i = 0; two && i < 2; i++) f->map_argument[i] = code->argument[i];
    return true;
}

nacre_product_finish nacre_product_finish_of(const nacre_plan_op *step) {
    int own = step->program ? step->own : step->inputs;
    bool biased = own > 2 && step->in[2].dtype != NACRE_DTYPE_DEFAULT;
    nacre_product_finish f = {
        .bias_input = biased ? 2 : -1, .mask_input = -1, .add_input = -1, .map_input = -1};
    if (step->program && step->program->codes > 0)
        f.program = !find_mask(&f, step) && !find_sum(&f, step) && !find_map(&f, step);
    else
        f.program = step->program != NULL;
    return f;
}
