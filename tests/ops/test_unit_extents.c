/* The stride of an axis of one element says nothing: views that leave it at any number give the results of
   the reference, in every op, wherever the axis is. */
#include "ops/check.h"

#include <nacre/grad.h>

/* How an input is made: in place, with its axes reversed, its last two exchanged, from every third element of
   its last or first axis, or cut out of a longer axis where it has one element. */
enum { PLAIN, REVERSED, TURNED, SPREAD, APART, CUT_OUT, VIEWS };

static nacre_tensor *plain(nacre_shape shape, int seed) {
    static double values[CHECK_ELEMENTS];
    int64_t count = nacre_shape_numel(&shape);
    for (int64_t i = 0; i < count; i++) values[i] = (double)((i * 7 + seed * 3) % 11) * 0.25 - 1;
    return tensor_of(values, &shape, NACRE_F32);
}

static nacre_tensor *viewed(nacre_shape shape, int how, int seed) {
    int last = shape.ndim - 1, one = 0;
    nacre_shape stored = shape;
    nacre_axes axes = {.count = shape.ndim};
    for (int i = 0; i <= last; i++) axes.axis[i] = i;
    switch (how) {
    case REVERSED:
        for (int i = 0; i <= last; i++) axes.axis[i] = last - i;
        break;
    case TURNED:
        axes.axis[last] = last - 1;
        axes.axis[last - 1] = last;
        break;
    case SPREAD:
        stored.dims[last] = 3 * shape.dims[last];
        return nacre_slice(plain(stored, seed), last, 1, stored.dims[last], 3);
    case APART:
        stored.dims[0] = 3 * shape.dims[0];
        return nacre_slice(plain(stored, seed), 0, 1, stored.dims[0], 3);
    case CUT_OUT:
        while (one < last && shape.dims[one] != 1) one++;
        if (shape.dims[one] != 1) return plain(shape, seed);
        stored.dims[one] = 5;
        return nacre_slice(plain(stored, seed), one, 2, 3, 1);
    default:
        return plain(shape, seed);
    }
    for (int i = 0; i <= last; i++) stored.dims[i] = shape.dims[axes.axis[i]];
    return nacre_permute(plain(stored, seed), axes);
}

/* Three extents and how the first and the other inputs are made. */
typedef struct setting {
    int64_t a, b, c;
    int first, other; /* views */
} setting;

typedef nacre_tensor *call(const setting *s);

#define FIRST(...) viewed(NACRE_SHAPE(__VA_ARGS__), s->first, 1)
#define OTHER(...) viewed(NACRE_SHAPE(__VA_ARGS__), s->other, 2)
/* A row of n elements that is a column's view. */
#define ROW(n) nacre_reshape(viewed(NACRE_SHAPE((n), 1), s->other, 3), NACRE_SHAPE(n))
#define CALL(name, ...)                                                                            \
    static nacre_tensor *name(const setting *s) { return __VA_ARGS__; }

CALL(matmul, nacre_matmul(FIRST(s->a, s->b), OTHER(s->b, s->c)))
CALL(matmul_batched, nacre_matmul(FIRST(2, s->a, s->b), OTHER(2, s->b, s->c)))
CALL(matmul_broadcast, nacre_matmul(FIRST(1, s->a, s->b), OTHER(3, s->b, s->c)))
CALL(linear, nacre_f_relu(nacre_f_linear(FIRST(s->a, s->b), OTHER(s->c, s->b), ROW(s->c))))
CALL(added,
     nacre_add(nacre_matmul(plain(NACRE_SHAPE(s->a, s->b), 1), plain(NACRE_SHAPE(s->b, s->c), 2)),
               FIRST(s->a, s->c)))
CALL(conv2d,
     nacre_f_conv2d(FIRST(s->a, s->b, s->c, 3), OTHER(2, s->b, 1, 2), ROW(2), .padding = {0, 1}))
CALL(depthwise, nacre_f_conv2d(FIRST(s->a, s->b, 4, s->c), OTHER(s->b, 1, 3, 1), NULL,
                               .padding = {1, 0}, .groups = s->b))
CALL(max_pool2d, nacre_f_max_pool2d(FIRST(s->a, s->b, s->c, 4), {1, 2}))
CALL(avg_pool2d, nacre_f_avg_pool2d(FIRST(s->a, s->b, s->c, 4), {1, 2}))
CALL(softmax, nacre_f_softmax(FIRST(s->a, s->b, s->c), s->other % 3))
CALL(layer_norm, nacre_f_layer_norm(FIRST(s->a, s->b, s->c), ROW(s->c), NULL, 1e-5))
CALL(batch_norm, nacre_f_batch_norm(FIRST(s->a, s->b, s->c, 2), ROW(s->b), ROW(s->b)))
CALL(sum, nacre_sum(FIRST(s->a, s->b, s->c), .axes = NACRE_AXES(s->other % 3)))
CALL(max, nacre_max(FIRST(s->a, s->b, s->c), .axes = NACRE_AXES(s->other % 3)))
CALL(attention,
     nacre_f_attention(FIRST(s->a, s->b, s->c), OTHER(s->a, 3, s->c),
                       viewed(NACRE_SHAPE(s->a, 3, s->c), (s->first + s->other) % VIEWS, 3)))
CALL(attention_qkv, nacre_f_attention(FIRST(s->a, s->b, 3 * s->c), .causal = true))
CALL(attention_4d,
     nacre_f_scaled_dot_product_attention(FIRST(s->a, s->b, 2, s->c), OTHER(s->a, s->b, 3, s->c),
                                          OTHER(s->a, s->b, 3, s->c)))
CALL(concat, nacre_concat(((nacre_tensor *[]){FIRST(s->a, s->b, s->c), OTHER(s->a, s->b, s->c)}), 2,
                          (s->first + s->other) % 3))
CALL(cross_entropy, nacre_f_cross_entropy(FIRST(s->a, s->b), nacre_f_softmax(OTHER(s->a, s->b), 1)))
CALL(elementwise,
     nacre_mul(nacre_add(FIRST(s->a, s->b, s->c), OTHER(1, s->b, 1)), OTHER(s->b, s->c)))

/* Gradients by way of a dy that is a view: of the first input, or of the other. */
static nacre_tensor *gradient_by(nacre_tensor *y, nacre_tensor *leaf, const setting *s) {
    nacre_tensor *g = NULL, *dy = viewed(nacre_shape_of(y), s->first, 4);
    if (nacre_gradients(nacre_sum(nacre_mul(y, dy)), &leaf, 1, &g))
        fail_msg("%s", nacre_error_message());
    return g;
}

static nacre_tensor *conv2d_backward(const setting *s) {
    nacre_tensor *x = nacre_requires_grad(plain(NACRE_SHAPE(s->a, s->b, 4, s->c), 1), true);
    nacre_tensor *w = nacre_requires_grad(plain(NACRE_SHAPE(3, s->b, 3, 1), 2), true);
    nacre_tensor *y = nacre_f_conv2d(x, w, NULL, .padding = {1, 0});
    return gradient_by(y, s->other % 2 ? x : w, s);
}

static nacre_tensor *attention_backward_by_view(const setting *s) {
    nacre_tensor *q = nacre_requires_grad(plain(NACRE_SHAPE(s->a, s->b, s->c), 1), true);
    nacre_tensor *k = nacre_requires_grad(plain(NACRE_SHAPE(s->a, 3, s->c), 2), true);
    return gradient_by(nacre_f_attention(q, k, k), s->other % 2 ? q : k, s);
}

static const struct {
    const char *name;
    call *run;
} calls[] = {{"matmul", matmul},
             {"matmul, batched", matmul_batched},
             {"matmul, broadcast", matmul_broadcast},
             {"linear", linear},
             {"added", added},
             {"conv2d", conv2d},
             {"conv2d, depthwise", depthwise},
             {"conv2d, backward", conv2d_backward},
             {"max_pool2d", max_pool2d},
             {"avg_pool2d", avg_pool2d},
             {"softmax", softmax},
             {"layer_norm", layer_norm},
             {"batch_norm", batch_norm},
             {"sum", sum},
             {"max", max},
             {"attention", attention},
             {"attention, by axis", attention_4d},
             {"attention, backward", attention_backward_by_view},
             {"attention_qkv", attention_qkv},
             {"concat", concat},
             {"cross_entropy", cross_entropy},
             {"elementwise", elementwise}};

static int64_t evaluate(call *run, const setting *s, nacre_backend backend, double *values) {
    nacre_set_backend(backend);
    nacre_scope mark = nacre_scope_begin();
    nacre_tensor *y = run(s);
    if (nacre_is_error(y)) fail_msg("%s: %s", check_subject, nacre_tensor_message(y));
    int64_t count = values_of(y, values);
    close_scope(mark);
    nacre_set_backend(NACRE_BACKEND_DEFAULT);
    return count;
}

static void compare(const char *name, call *run, const setting *s) {
    static double cpu[CHECK_ELEMENTS], reference[CHECK_ELEMENTS];
    snprintf(check_subject, sizeof check_subject, "%s, extents %d %d %d, views %d %d", name,
             (int)s->a, (int)s->b, (int)s->c, (int)s->first, (int)s->other);
    int64_t count = evaluate(run, s, NACRE_BACKEND_CPU, cpu);
    assert_int_equal(evaluate(run, s, NACRE_BACKEND_REFERENCE, reference), count);
    /* Sums of at most 51 terms of a few units: 3e-6 of the largest, as for every op. */
    double scale = 0;
    for (int64_t i = 0; i < count; i++) scale = fmax(scale, fabs(reference[i]));
    for (int64_t i = 0; i < count; i++)
        if (!close_to(cpu[i], reference[i], 3e-6, scale))
            fail_msg("%s: element %d is %g on cpu, %g in the reference", check_subject, (int)i,
                     cpu[i], reference[i]);
}

static void unit_extents_may_have_any_stride(void **state) {
    (void)state;
    static const int64_t extents[] = {1, 2, 17};
    for (size_t k = 0; k < sizeof calls / sizeof calls[0]; k++)
        for (int e = 0; e < 27; e++) {
            setting s = {.a = extents[e % 3], .b = extents[e / 3 % 3], .c = extents[e / 9]};
            for (int v = 0; (s.a == 1 || s.b == 1 || s.c == 1) && v < VIEWS * VIEWS; v++) {
                s.first = v % VIEWS;
                s.other = v / VIEWS;
                compare(calls[k].name, calls[k].run, &s);
            }
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unit_extents_may_have_any_stride),
    };
    return cmocka_run_group_tests_name("ops: unit extents", tests, NULL, NULL);
}
