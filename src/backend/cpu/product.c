#include "backend/cpu/product.h"
#include "backend/cpu/tune.h"

/* ---- from shapes to a product ---- */

static int64_t stride_at(const nacre_array *array, int axis_from_right) {
    int axis = array->shape.ndim - 1 - axis_from_right;
    if (axis < 0 || array->shape.dims[axis] == 1) return 0;
    return array->strides[axis];
}

/* Adds a leading axis (from the right): merged into the rows, into the batch axis right of it, or new. */
static void add_axis(nacre_product *p, int64_t dim, int64_t a, int64_t b) {
    if (dim == 1) return;
    int last = p->batch_ndim - 1;
    if (last < 0 && b == 0 && (p->m == 1 || a == p->a_row * p->m)) {
        if (p->m == 1) p->a_row = a;
        p->m *= dim;
        return;
    }
    if (last >= 0 && a == p->a_batch[last] * p->batch_dims[last] &&
        b == p->b_batch[last] * p->batch_dims[last]) {
        p->batch_dims[last] *= dim;
    } else {
        p->batch_dims[p->batch_ndim] = dim;
        p->a_batch[p->batch_ndim] = a;
        p->b_batch[p->batch_ndim++] = b;
    }
    p->batches *= dim;
}

/* x [..., in] times weight [out, in] transposed. */
static nacre_product product_of_linear(const nacre_plan_op *step) {
    const nacre_array *x = &step->in[0], *w = &step->in[1];
    int own = step->program ? step->own : step->inputs;
    nacre_product p = {.m = 1,
                       .n = w->shape.dims[0],
                       .k = w->shape.dims[1],
                       .a_k = stride_at(x, 0),
                       .b_k = stride_at(w, 0),
                       .b_column = stride_at(w, 1),
                       .batches = 1,
                       .a = x->data,
                       .b = w->data,
                       .bias = own > 2 ? step->in[2].data : NULL};
    for (int i = 1; i < x->shape.ndim; i++)
        add_axis(&p, x->shape.dims[x->shape.ndim - 1 - i], stride_at(x, i), 0);
    return p;
}

static nacre_product product_of_matmul(const nacre_plan_op *step) {
    const nacre_array *a = &step->in[0], *b = &step->in[1], *out = &step->out[0];
    int na = a->shape.ndim, ndim = out->shape.ndim;
    nacre_product p = {.m = out->shape.dims[ndim - 2],
                       .n = out->shape.dims[ndim - 1],
                       .k = a->shape.dims[na - 1],
                       .a_row = stride_at(a, 1),
                       .a_k = stride_at(a, 0),
                       .b_k = stride_at(b, 1),
                       .b_column = stride_at(b, 0),
                       .batches = 1,
                       .a = a->data,
                       .b = b->data};
    for (int i = 2; i < ndim; i++)
        add_axis(&p, out->shape.dims[ndim - 1 - i], stride_at(a, i), stride_at(b, i));
    return p;
}

nacre_product nacre_product_of(const nacre_plan_op *step) {
    nacre_product p =
        step->op == &nacre_op_linear ? product_of_linear(step) : product_of_matmul(step);
    /* Strides of axes with one element are anything: the values that need no packing. */
    if (p.k == 1) p.a_k = 1;
    if (p.k == 1 && p.b_k == 0) p.b_k = p.n;
    if (p.n == 1) p.b_column = 1;
    return p;
}

static int64_t batch_offset(const nacre_product *p, const int64_t *strides, int64_t i) {
    int64_t offset = 0;
    for (int axis = 0; axis < p->batch_ndim; axis++) {
        offset += i % p->batch_dims[axis] * strides[axis];
        i /= p->batch_dims[axis];
    }
    return offset;
}

int64_t nacre_product_a(const nacre_product *p, int64_t i) {
    return batch_offset(p, p->a_batch, i);
}
int64_t nacre_product_b(const nacre_product *p, int64_t i) {
    return batch_offset(p, p->b_batch, i);
}

/* ---- choice ---- */

/* One output per row is a sum of 16 lanes. The number of rows must not matter: batches have any. */
static bool is_dot(const nacre_plan_op *step) { return nacre_product_of(step).n == 1; }

/* linear adds its bias as a row of memory. */
static bool bias_is_a_row(const nacre_plan_op *step) {
    int own = step->program ? step->own : step->inputs;
    const nacre_array *bias = &step->in[2];
    return step->op != &nacre_op_linear || own < 3 || bias->dtype == NACRE_DTYPE_DEFAULT ||
           bias->shape.dims[0] == 1 || bias->strides[0] == 1;
}

bool nacre_cpu_prepare_product(nacre_plan_op *step) {
    const nacre_dtype dtype = step->in[0].dtype;
    if (!bias_is_a_row(step)) return false;
    if (dtype == NACRE_F32 && is_dot(step))
        return nacre_cpu_use(step, nacre_product_run_dot, 0, "dot");
    if (dtype == NACRE_F32) {
        step->state_bytes = nacre_product_state_f32();
        if (nacre_product_keeps_f32(step)) step->keeps = NACRE_READS_IN(1);
        if (nacre_tune_prepare(step)) return true;
        nacre_tuning_choose(step);
        return nacre_cpu_use(step, nacre_product_run_f32, nacre_product_scratch_f32(step), "gemm");
    }
    if (dtype == NACRE_F64 && step->program == NULL)
        return nacre_cpu_use(step, nacre_product_run_f64, 0, "gemm f64");
    return nacre_cpu_use_reference(step);
}
