/* What no public call shows by itself: views mean what their copies are, costs are what the tables claim,
   and ops that only gradients record refuse what does not fit. */
#include "ops/check.h"

#include "ops/reference.h"

static nacre_array contiguous(void *data, nacre_dtype dtype, nacre_shape shape) {
    nacre_array array = {.data = data, .dtype = dtype, .shape = shape};
    nacre_shape_strides(&shape, array.strides);
    return array;
}

/* The copying kernel of a view op gives the elements that its strides show. */
static void check_view(const nacre_op_case *c, nacre_dtype dtype) {
    static double values[CHECK_ELEMENTS];
    static unsigned char copied[8 * CHECK_ELEMENTS];
    nacre_scope mark = nacre_scope_begin();
    int64_t count = nacre_shape_numel(&c->shape[0]);
    for (int64_t k = 0; k < count; k++) values[k] = input_value(c, 0, dtype, k);
    nacre_tensor *in = tensor_of(values, &c->shape[0], dtype), *y = c->apply(&in);
    const nacre_record *record = y->value->record;
    assert_string_equal(record->op->name, c->op);
    nacre_call call = {.attrs = record->attrs, .inputs = 1, .outputs = 1};
    call.in[0] = contiguous(in->value->storage->data, dtype, c->shape[0]);
    call.out[0] = contiguous(copied, dtype, nacre_shape_of(y));
    nacre_reference_run(record->op, &call);
    size_t bytes = (size_t)nacre_numel(y) * nacre_dtype_size(dtype);
    assert_memory_equal(copied, nacre_data(y), bytes);
    close_scope(mark);
}

static void views_mean_what_their_copies_are(void **state) {
    (void)state;
    int checked = 0;
    for (int i = 0; i < CASE_COUNT; i++) {
        bool is_view = false;
        for (size_t k = 0; k < nacre_op_count; k++)
            is_view |= nacre_op_table[k]->view && strcmp(nacre_op_table[k]->name, cases[i].op) == 0;
        for (nacre_dtype dtype = 1; is_view && dtype < NACRE_DTYPE_COUNT; dtype++, checked++)
            check_view(&cases[i], dtype);
    }
    assert_true(checked > 50);
}

static double flops_of(const nacre_op *op, nacre_shape a, nacre_shape b, nacre_shape out) {
    static float data[1];
    nacre_call call = {.inputs = 3, .outputs = 1};
    call.in[0] = contiguous(data, NACRE_F32, a);
    call.in[1] = contiguous(data, NACRE_F32, b);
    call.in[2] = contiguous(data, NACRE_F32, NACRE_SHAPE(out.ndim ? out.dims[out.ndim - 1] : 1));
    call.out[0] = contiguous(data, NACRE_F32, out);
    return op->flops(&call);
}

static void costs_are_those_of_the_formulas(void **state) {
    (void)state;
    nacre_shape x = NACRE_SHAPE(64, 784), w = NACRE_SHAPE(128, 784), y = NACRE_SHAPE(64, 128);
    assert_true(flops_of(&nacre_op_linear, x, w, y) == 2.0 * 64 * 784 * 128 + 64 * 128);
    assert_true(flops_of(&nacre_op_matmul, x, NACRE_SHAPE(784, 128), y) == 2.0 * 64 * 784 * 128);
    assert_true(flops_of(&nacre_op_sum, x, x, NACRE_SCALAR) == 64 * 784);
    assert_true(flops_of(&nacre_op_mse, x, x, NACRE_SCALAR) == 3.0 * 64 * 784);
}

static void expect_refused(nacre_tensor *t, const char *message) {
    assert_true(nacre_is_error(t));
    assert_string_equal(nacre_tensor_message(t), message);
}

static nacre_tensor *record(const nacre_op *op, nacre_tensor *a, nacre_tensor *b, nacre_tensor *c,
                            nacre_shape wanted, nacre_word attr) {
    nacre_recording r = {.op = op,
                         .inputs = op->arity,
                         .in = {a, b, c},
                         .attrs = {attr, {.i = 1}, {.i = 2}},
                         .wanted = wanted};
    return nacre_record_one(&r);
}

static void gradients_own_ops_refuse_what_does_not_fit(void **state) {
    (void)state;
    nacre_word none = {.i = 0};
    nacre_tensor *a = nacre_zeros(NACRE_SHAPE(2, 3)), *b = nacre_zeros(NACRE_SHAPE(2, 2));
    nacre_tensor *at = nacre_zeros(NACRE_SHAPE(2), .dtype = NACRE_I64);
    expect_refused(record(&nacre_op_relu_backward, a, b, NULL, NACRE_SCALAR, none),
                   "relu_backward: y is [2,3], dy is [2,2]: shapes must be equal");
    expect_refused(record(&nacre_op_softmax_backward, a, b, NULL, NACRE_SCALAR, none),
                   "softmax_backward: y is [2,3], dy is [2,2]: shapes must be equal");
    expect_refused(record(&nacre_op_cross_entropy_backward, a, at, a, NACRE_SCALAR, none),
                   "cross_entropy_backward: dloss is [2,3]: it must be a scalar");
    expect_refused(record(&nacre_op_scatter_rows, a, at, NULL, NACRE_SHAPE(5, 4), none),
                   "scatter_rows: dy is [2,3], indices is [2], the table [5,4]: dy must have "
                   "indices' axes and then the table's but the first");
    expect_refused(record(&nacre_op_slice, a, NULL, NULL, NACRE_SHAPE(1, 3), none),
                   "slice: a is [2,3], the result is [1,3]: axis 0, start 2, step 1 do not fit; "
                   "start and step count elements inside the larger one");
    expect_refused(record(&nacre_op_slice, a, NULL, NULL, NACRE_SHAPE(1, 2), none),
                   "slice: a is [2,3], the result is [1,2]: axis 0, start 2, step 1 do not fit; "
                   "start and step count elements inside the larger one");
    expect_refused(record(&nacre_op_unslice, a, NULL, NULL, NACRE_SHAPE(3, 3), none),
                   "unslice: a is [2,3], the result is [3,3]: axis 0, start 2, step 1 do not fit; "
                   "start and step count elements inside the larger one");
    expect_refused(record(&nacre_op_slice, a, NULL, NULL, NACRE_SHAPE(1, 3), (nacre_word){.i = 7}),
                   "slice: a is [2,3], the result is [1,3]: axis 7, start 2, step 1 do not fit; "
                   "start and step count elements inside the larger one");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        on_both(views_mean_what_their_copies_are),
        on_both(costs_are_those_of_the_formulas),
        on_both(gradients_own_ops_refuse_what_does_not_fit),
    };
    check_backend = NACRE_BACKEND_CPU;
    return cmocka_run_group_tests_name("ops: reference", tests, NULL, NULL);
}
