/* Plans whose steps want samples side by side: values turn where they must and nowhere else, the lanes that stand
   for no sample leak into nothing, and the bits stay the same. */
#include "support.h"

#include <math.h>
#include <nacre/nacre.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { INPUTS = 7, MOST = 1 << 17 };

static const nacre_shape shapes[INPUTS] = {
    {.ndim = 4, .dims = {0, 2, 9, 8}}, {.ndim = 4, .dims = {5, 2, 3, 3}},
    {.ndim = 1, .dims = {5}},          {.ndim = 1, .dims = {5}},
    {.ndim = 1, .dims = {5}},          {.ndim = 4, .dims = {4, 5, 2, 2}},
    {.ndim = 1, .dims = {4}},
};

static void make_inputs(int64_t samples, nacre_tensor **in) {
    for (int i = 0; i < INPUTS; i++) {
        nacre_shape shape = shapes[i];
        if (i == 0) shape.dims[0] = samples;
        in[i] = nacre_rand(shape, .stream = (uint64_t)i + 1);
        if (i > 0) in[i] = nacre_sub_scalar(in[i], 0.5);
        assert_int_equal(nacre_eval(in[i]), NACRE_OK);
        nacre_requires_grad(in[i], true);
    }
}

/* Convolution, batch norm or not, relu, pool, a residual add, another convolution. */
static nacre_tensor *network(nacre_tensor *const *in, bool norm) {
    nacre_tensor *y = nacre_f_conv2d(in[0], in[1], in[2], .padding = {1, 1});
    if (norm) y = nacre_f_batch_norm(y, in[3], in[4]);
    nacre_tensor *pooled = nacre_f_max_pool2d(nacre_f_relu(y), {2, 2});
    y = nacre_add(pooled, nacre_mul(pooled, nacre_reshape(in[4], NACRE_SHAPE(5, 1, 1))));
    return nacre_f_conv2d(y, in[5], in[6]);
}

/* The network's result, its loss's gradients for all inputs, one after the other; how many floats. */
static size_t run(int64_t samples, bool norm, float *out) {
    nacre_scope scope = nacre_scope_begin();
    nacre_tensor *in[INPUTS], *wanted[INPUTS + 1];
    make_inputs(samples, in);
    nacre_tensor *y = wanted[0] = network(in, norm);
    assert_int_equal(nacre_backward(nacre_sum(nacre_mul(y, y))), NACRE_OK);
    for (int i = 0; i < INPUTS; i++) wanted[i + 1] = nacre_grad(in[i]);
    size_t used = 0;
    for (int i = 0; i <= INPUTS; i++) {
        if (!wanted[i]) continue;
        size_t count = (size_t)nacre_numel(wanted[i]);
        assert_true(used + count <= MOST);
        assert_int_equal(nacre_copy_to(wanted[i], out + used, count * sizeof *out), NACRE_OK);
        used += count;
    }
    assert_int_equal(nacre_scope_end(scope), NACRE_OK);
    return used;
}

static float first[MOST], other[MOST];

static void results_and_gradients_are_those_of_the_reference(void **state) {
    (void)state;
    const int64_t samples[] = {1, 2, 15, 16, 17, 40};
    for (size_t i = 0; i < sizeof samples / sizeof samples[0]; i++)
        for (int norm = 0; norm < 2; norm++) {
            if (norm && samples[i] == 1) continue; /* ill-conditioned: a pixel's own variance */
            size_t count = run(samples[i], norm, first);
            assert_int_equal(nacre_set_backend(NACRE_BACKEND_REFERENCE), NACRE_OK);
            assert_int_equal(run(samples[i], norm, other), count);
            assert_int_equal(nacre_set_backend(NACRE_BACKEND_CPU), NACRE_OK);
            double most = 0;
            for (size_t k = 0; k < count; k++) most = fmax(most, fabs((double)other[k]));
            for (size_t k = 0; k < count; k++)
                assert_true(fabs((double)first[k] - (double)other[k]) <= 2e-5 * most);
        }
}

static void threads_and_eager_mode_change_no_bit(void **state) {
    (void)state;
    for (int norm = 0; norm < 2; norm++) {
        assert_int_equal(nacre_set_threads(1), NACRE_OK);
        size_t bytes = run(37, norm, first) * sizeof *first;
        for (int threads = 2; threads <= 7; threads += 5) {
            assert_int_equal(nacre_set_threads(threads), NACRE_OK);
            run(37, norm, other);
            assert_memory_equal(first, other, bytes);
        }
        nacre_set_eager(true);
        run(37, norm, other);
        nacre_set_eager(false);
        assert_memory_equal(first, other, bytes);
        assert_int_equal(nacre_set_threads(0), NACRE_OK);
    }
}

static void an_image_alone_gives_the_bits_it_gives_in_a_batch(void **state) {
    (void)state;
    nacre_scope scope = nacre_scope_begin();
    nacre_tensor *in[INPUTS];
    make_inputs(41, in);
    nacre_tensor *all = network(in, false), *x = in[0];
    const float *whole = nacre_data(all);
    int64_t each = nacre_numel(all) / 41;
    for (int64_t at = 0; at < 41; at += 8) {
        for (int64_t size = 1; at + size <= 41; size += 7) {
            in[0] = nacre_slice(x, 0, at, at + size, 1);
            const float *part = nacre_data(network(in, false));
            assert_non_null(part);
            assert_memory_equal(part, whole + at * each, (size_t)(size * each) * sizeof *part);
        }
    }
    assert_int_equal(nacre_scope_end(scope), NACRE_OK);
}

/* How many steps of the plan of t run this kernel; nothing is computed. */
static int count_steps(nacre_tensor *t, const char *kernel) {
    nacre_explanation *e = nacre_explain(t);
    assert_non_null(e);
    int count = 0;
    for (size_t i = 0; i < e->count; i++) count += strcmp(e->steps[i].kernel, kernel) == 0;
    nacre_explanation_free(e);
    return count;
}

static void values_turn_once_on_the_way_in_and_once_on_the_way_out(void **state) {
    (void)state;
    nacre_scope scope = nacre_scope_begin();
    nacre_tensor *in[INPUTS];
    make_inputs(20, in);
    nacre_set_grad_enabled(false); /* nothing between is kept for a later backward */
    nacre_tensor *y = network(in, true);
    nacre_set_grad_enabled(true);
    assert_int_equal(count_steps(y, "copy to lanes"), 1);
    assert_int_equal(count_steps(y, "copy from lanes"), 1);
    assert_int_equal(nacre_scope_end(scope), NACRE_OK);
}

/* A relu runs with its convolution, whether or not somebody wants what it was given. */
static void a_relu_joins_its_convolution(void **state) {
    (void)state;
    const int64_t samples[] = {3, 20};
    for (size_t i = 0; i < 2; i++) {
        nacre_scope scope = nacre_scope_begin();
        nacre_tensor *x = nacre_rand(NACRE_SHAPE(samples[i], 2, 6, 7));
        nacre_tensor *w = nacre_sub_scalar(nacre_rand(NACRE_SHAPE(3, 2, 3, 3)), 0.5);
        assert_int_equal(nacre_eval_all((nacre_tensor *[]){x, w}, 2), NACRE_OK);
        nacre_tensor *joined = nacre_f_relu(nacre_f_conv2d(x, w));
        assert_int_equal(count_steps(joined, "conv2d+relu"), 1);
        assert_int_equal(count_steps(joined, "relu"), 0);
        nacre_tensor *y = nacre_f_conv2d(x, w), *z = nacre_f_relu(y), *alone = nacre_f_conv2d(x, w);
        assert_int_equal(nacre_eval_all((nacre_tensor *[]){y, z, alone}, 3), NACRE_OK);
        assert_int_equal(nacre_eval(joined), NACRE_OK);
        const float *a = nacre_data(y), *b = nacre_data(z), *c = nacre_data(joined);
        assert_memory_equal(a, nacre_data(alone), (size_t)nacre_numel(y) * sizeof *a);
        for (int64_t k = 0; k < nacre_numel(y); k++)
            assert_true(b[k] == (a[k] > 0 ? a[k] : 0) && c[k] == b[k]);
        assert_int_equal(nacre_scope_end(scope), NACRE_OK);
    }
}

/* ---- what a convolution takes along ---- */

enum { BLOCK_INPUTS = 8, BLOCK_SAMPLES = 21, BLOCK_FLOATS = BLOCK_SAMPLES * 9 * 42 };

static nacre_tensor *normed(nacre_tensor *x, nacre_tensor *w, nacre_tensor *const *in,
                            int64_t pad) {
    nacre_tensor *y = nacre_f_conv2d(x, w, .padding = {pad, pad});
    return nacre_f_batch_norm(y, in[4], in[5], in[6], in[7]);
}

/* A block of a residual network with given statistics: its shortcut is x itself or a convolution with a norm, on either
   side of the sum. */
static nacre_tensor *residual_block(nacre_tensor *x, nacre_tensor *const *in, bool projected,
                                    bool swapped) {
    nacre_tensor *y = normed(nacre_f_relu(normed(x, in[1], in, 1)), in[2], in, 1);
    nacre_tensor *shortcut = projected ? normed(x, in[3], in, 0) : x;
    return nacre_f_relu(swapped ? nacre_add(shortcut, y) : nacre_add(y, shortcut));
}

/* Nine channels go through Winograd's tiles, five directly. */
static void block_inputs(int64_t channels, nacre_tensor **in) {
    const nacre_shape windows = NACRE_SHAPE(channels, channels, 3, 3);
    const nacre_shape all[BLOCK_INPUTS] = {NACRE_SHAPE(BLOCK_SAMPLES, channels, 6, 7),
                                           windows,
                                           windows,
                                           NACRE_SHAPE(channels, channels, 1, 1),
                                           {1, {channels}},
                                           {1, {channels}},
                                           {1, {channels}},
                                           {1, {channels}}};
    for (int i = 0; i < BLOCK_INPUTS; i++) {
        in[i] = nacre_rand(all[i], .stream = (uint64_t)i + 1);
        if (i < 7) in[i] = nacre_sub_scalar(in[i], 0.5); /* but for the variance */
    }
    assert_int_equal(nacre_eval_all(in, BLOCK_INPUTS), NACRE_OK);
}

static void check_block(nacre_tensor *const *in, int64_t samples, bool projected, bool swapped,
                        const float *want) {
    nacre_tensor *x = nacre_slice(in[0], 0, 2, 2 + samples, 1);
    const size_t floats = (size_t)nacre_numel(x);
    assert_int_equal(nacre_eval(x), NACRE_OK);
    nacre_tensor *y = residual_block(x, in, projected, swapped);
    assert_int_equal(count_steps(y, "conv2d+sub+mul+add+relu"), 1);
    assert_int_equal(count_steps(y, "conv2d+sub+mul+add+add+relu"), 1);
    assert_int_equal(count_steps(y, "conv2d+sub+mul+add"), projected);
    assert_memory_equal(nacre_data(y), want, floats * sizeof *want);
}

/* Norms by given statistics, the residual and relu run with their convolution, with the bits of ops one by one, for any
   number of threads and samples. */
static void norms_and_residuals_join_their_convolution(void **state) {
    (void)state;
    static float want[BLOCK_FLOATS];
    char before[16];
    snprintf(before, sizeof before, "%s", nacre_isa());
    const char *levels[] = {"portable", "avx2", "avx512", "neon"};
    for (int i = 0; i < 32; i++) {
        const int64_t channels = i & 1 ? 9 : 5;
        const bool projected = i & 2, swapped = i & 4;
        if (nacre_set_isa(levels[i >> 3]) != NACRE_OK) continue;
        nacre_scope scope = nacre_scope_begin();
        nacre_tensor *in[BLOCK_INPUTS];
        block_inputs(channels, in);
        nacre_set_eager(true);
        nacre_tensor *y =
            residual_block(nacre_slice(in[0], 0, 2, BLOCK_SAMPLES, 1), in, projected, swapped);
        nacre_set_eager(false);
        const size_t floats = (size_t)nacre_numel(y);
        assert_int_equal(nacre_copy_to(y, want, floats * sizeof *want), NACRE_OK);
        for (int threads = 1; threads <= 7; threads += 3) {
            assert_int_equal(nacre_set_threads(threads), NACRE_OK);
            for (int64_t samples = 1; samples <= BLOCK_SAMPLES - 2; samples += 2)
                check_block(in, samples, projected, swapped, want);
        }
        assert_int_equal(nacre_set_threads(0), NACRE_OK);
        assert_int_equal(nacre_scope_end(scope), NACRE_OK);
    }
    assert_int_equal(nacre_set_isa(before), NACRE_OK);
}

/* A convolution whose own result is wanted too runs by itself, and what follows it in one group. */
static void a_convolution_that_is_wanted_itself_takes_nothing_along(void **state) {
    (void)state;
    nacre_scope scope = nacre_scope_begin();
    nacre_tensor *in[BLOCK_INPUTS], *all[2], *alone[2];
    block_inputs(9, in);
    for (int eager = 0; eager < 2; eager++) {
        nacre_tensor **out = eager ? alone : all;
        nacre_set_eager(eager);
        out[0] = nacre_f_conv2d(in[0], in[1], .padding = {1, 1});
        out[1] = nacre_f_relu(nacre_f_batch_norm(out[0], in[4], in[5], in[6], in[7]));
        if (!eager) {
            nacre_tensor *both = nacre_add(nacre_sum(out[0]), nacre_sum(out[1]));
            assert_int_equal(count_steps(both, "conv2d"), 1);
            assert_int_equal(count_steps(both, "sub+mul+add+relu"), 1);
        }
        assert_int_equal(nacre_eval_all(out, 2), NACRE_OK);
    }
    nacre_set_eager(false);
    for (int i = 0; i < 2; i++)
        assert_memory_equal(nacre_data(all[i]), nacre_data(alone[i]),
                            sizeof(float) * (size_t)nacre_numel(all[i]));
    assert_int_equal(nacre_scope_end(scope), NACRE_OK);
}

/* What may follow a convolution, in an order that may not, with operands that may not, or with one of its own
   inputs: the result is that of the ops one by one. */
static nacre_tensor *odd_chain(int which, nacre_tensor *const *in) {
    nacre_tensor *x = in[0], *y = nacre_f_conv2d(x, in[1], .padding = {1, 1});
    nacre_tensor *channel = nacre_reshape(in[4], NACRE_SHAPE(9, 1, 1));
    nacre_tensor *row = nacre_reshape(nacre_slice(in[4], 0, 0, 7, 1), NACRE_SHAPE(1, 7));
    switch (which) {
    case 0:
        return nacre_mul(nacre_add(y, channel), channel);
    case 1:
        return nacre_sub(channel, y);
    case 2:
        return nacre_add(nacre_sub(x, channel), y);
    case 3:
        return nacre_add(nacre_mul(y, row), x);
    case 4:
        return nacre_add(nacre_mul(y, channel), y);
    case 5:
        return nacre_f_relu(nacre_add(y, y));
    case 6:
        return nacre_add(nacre_add(nacre_add(y, channel), x), in[0]);
    case 7:
        return nacre_add(nacre_mul_scalar(y, 0.3), x);
    case 8:
        return nacre_add(nacre_add(y, x), channel);
    default:
        return nacre_add(nacre_f_relu(y), nacre_f_conv2d(x, in[3]));
    }
}

static void other_chains_behind_a_convolution_are_right(void **state) {
    (void)state;
    for (int which = 0; which < 10; which++)
        for (int few = 0; few < 2; few++) {
            nacre_scope scope = nacre_scope_begin();
            nacre_tensor *in[BLOCK_INPUTS];
            block_inputs(9, in);
            if (few) in[0] = nacre_slice(in[0], 0, 0, 2, 1);
            nacre_tensor *y = odd_chain(which, in);
            assert_int_equal(nacre_eval(y), NACRE_OK);
            nacre_set_eager(true);
            nacre_tensor *alone = odd_chain(which, in);
            nacre_set_eager(false);
            assert_memory_equal(nacre_data(y), nacre_data(alone),
                                sizeof(float) * (size_t)nacre_numel(y));
            assert_int_equal(nacre_scope_end(scope), NACRE_OK);
        }
}

/* ---- what batch norm takes along ---- */

enum { NORM_VALUES = 5 };

/* relu(norm(x) + addend) and what else of it `with` asks for: 1 the sum, 2 the norm, 4 the statistics, of which mean
   goes into the array that is added if `late`. */
static int norm_block(nacre_tensor *const in[4], unsigned with, bool late, nacre_tensor **out) {
    nacre_tensor *mean, *var;
    nacre_tensor *y =
        nacre_f_batch_norm(in[0], in[1], in[2], .batch_mean = &mean, .batch_var = &var);
    nacre_tensor *moved = nacre_add(mean, var), *addend = in[3];
    if (late) addend = nacre_mul(addend, nacre_reshape(mean, NACRE_SHAPE(5, 1, 1)));
    nacre_tensor *sum = nacre_add(addend, y);
    int count = 0;
    out[count++] = nacre_f_relu(sum);
    if (with & 1) out[count++] = sum;
    if (with & 2) out[count++] = y;
    if (with & 4) out[count++] = moved, out[count++] = mean;
    return count;
}

static void norm_inputs(int64_t samples, nacre_tensor *in[4]) {
    in[0] = nacre_randn(NACRE_SHAPE(samples, 5, 3, 4), .stream = 1);
    in[1] = nacre_randn(NACRE_SHAPE(5), .stream = 2);
    in[2] = nacre_randn(NACRE_SHAPE(5), .stream = 3);
    in[3] = nacre_randn(NACRE_SHAPE(samples, 5, 3, 4), .stream = 4);
    assert_int_equal(nacre_eval_all(in, 4), NACRE_OK);
}

/* The sum and the relu run with the norm, whoever else reads its results, before them or after. What needs the norm's
   own statistics cannot be added while they are not there. */
static void a_residual_and_a_relu_join_their_batch_norm(void **state) {
    (void)state;
    const int64_t samples[] = {1, 16, 21};
    for (size_t s = 0; s < 3; s++)
        for (unsigned with = 0; with < 16; with++) {
            const bool late = with & 8;
            nacre_scope scope = nacre_scope_begin();
            nacre_tensor *in[4], *joined[NORM_VALUES], *alone[NORM_VALUES];
            norm_inputs(samples[s], in);
            int count = norm_block(in, with, late, joined);
            assert_int_equal(nacre_eval_all(joined, (size_t)count), NACRE_OK);
            nacre_set_eager(true);
            norm_block(in, with, late, alone);
            nacre_set_eager(false);
            for (int i = 0; i < count; i++)
                assert_memory_equal(nacre_data(joined[i]), nacre_data(alone[i]),
                                    sizeof(float) * (size_t)nacre_numel(joined[i]));
            norm_block(in, with & 4, late, joined);
            assert_int_equal(count_steps(joined[0], "batch_norm+add+relu"), !late);
            assert_int_equal(nacre_scope_end(scope), NACRE_OK);
        }
}

/* An addend that is broadcast stays a step of its own. */
static void a_row_does_not_join_a_batch_norm(void **state) {
    (void)state;
    nacre_scope scope = nacre_scope_begin();
    nacre_tensor *in[4];
    norm_inputs(18, in);
    nacre_tensor *row = nacre_reshape(in[2], NACRE_SHAPE(5, 1, 1));
    nacre_tensor *sum = nacre_add(nacre_f_batch_norm(in[0], in[1], in[2]), row);
    assert_int_equal(count_steps(sum, "batch_norm"), 1);
    nacre_tensor *y = nacre_f_batch_norm(in[0], in[1], in[2]);
    assert_int_equal(nacre_eval_all((nacre_tensor *[]){y, sum}, 2), NACRE_OK);
    const float *norm = nacre_data(y), *shift = nacre_data(in[2]), *got = nacre_data(sum);
    for (int64_t i = 0; i < nacre_numel(y); i++) assert_true(got[i] == norm[i] + shift[i / 12 % 5]);
    assert_int_equal(nacre_scope_end(scope), NACRE_OK);
}

/* ---- what a convolution's input gradient takes along ---- */

/* Gradients of a weighted sum of conv(z), plus z if `residual`, z = relu(x), with respect to x; which 1: and to z. */
static void residual_gradients(nacre_tensor *x, int64_t kernel, bool residual, int which,
                               nacre_tensor *dx[2]) {
    nacre_tensor *w = nacre_randn(NACRE_SHAPE(9, 9, kernel, kernel), .stream = 5);
    nacre_tensor *z = nacre_f_relu(x);
    nacre_tensor *y = nacre_f_conv2d(z, w, .padding = {kernel / 2, kernel / 2});
    if (residual) y = nacre_add(y, z);
    nacre_tensor *weights = nacre_randn(nacre_shape_of(y), .stream = 3);
    nacre_tensor *of[] = {x, z};
    assert_int_equal(nacre_gradients(nacre_sum(nacre_mul(y, weights)), of, (size_t)which + 1, dx),
                     NACRE_OK);
}

/* The residual's gradient is added, and relu's taken, where the convolution's input gradient is written; not where the
   gradient before them is wanted too. */
static void gradients_behind_a_convolution_join_it(void **state) {
    (void)state;
    for (int i = 0; i < 16; i++) {
        const int64_t kernel = i & 1 ? 3 : 1;
        const bool residual = i & 2;
        const int which = i >> 2 & 1;
        nacre_scope scope = nacre_scope_begin();
        nacre_tensor *x =
            nacre_detach(nacre_randn(NACRE_SHAPE(i & 8 ? 19 : 2, 9, 5, 6), .stream = 2));
        assert_int_equal(nacre_eval(x), NACRE_OK);
        nacre_requires_grad(x, true);
        nacre_tensor *dx[2], *alone[2];
        residual_gradients(x, kernel, residual, which, dx);
        const char *joined = residual ? "conv2d_backward_input+add+relu_backward"
                                      : "conv2d_backward_input+relu_backward";
        assert_int_equal(count_steps(dx[0], joined), 1); /* of x alone */
        assert_int_equal(count_steps(dx[0], "conv2d_backward_input"), 0);
        assert_int_equal(nacre_eval_all(dx, (size_t)which + 1), NACRE_OK);
        nacre_set_eager(true);
        residual_gradients(x, kernel, residual, which, alone);
        nacre_set_eager(false);
        for (int k = 0; k <= which; k++)
            assert_memory_equal(nacre_data(dx[k]), nacre_data(alone[k]),
                                sizeof(float) * (size_t)nacre_numel(x));
        assert_int_equal(nacre_scope_end(scope), NACRE_OK);
    }
}

/* A window too wide for the kernels of lanes runs by its definition, and takes nothing along. */
static void a_window_without_a_kernel_takes_nothing_along(void **state) {
    (void)state;
    nacre_scope scope = nacre_scope_begin();
    nacre_tensor *x = nacre_randn(NACRE_SHAPE(2, 1, 1, 70), .stream = 2);
    nacre_tensor *w = nacre_randn(NACRE_SHAPE(1, 1, 1, 65), .stream = 3);
    assert_int_equal(nacre_eval_all((nacre_tensor *[]){x, w}, 2), NACRE_OK);
    nacre_tensor *y = nacre_f_conv2d(x, w), *z = nacre_f_relu(nacre_f_conv2d(x, w));
    assert_int_equal(nacre_eval_all((nacre_tensor *[]){y, z}, 2), NACRE_OK);
    const float *sums = nacre_data(y), *got = nacre_data(z);
    int below = 0;
    for (int i = 0; i < 12; i++) {
        assert_true(got[i] == (sums[i] > 0 ? sums[i] : 0));
        below += sums[i] < 0;
    }
    assert_true(below > 0);
    assert_int_equal(nacre_scope_end(scope), NACRE_OK);
}

/* Gradients of a weighted sum of pool(relu(x)): with respect to x, and if `both` to relu's result. */
static void pool_gradients(nacre_tensor *x, int64_t kernel, bool both, nacre_tensor *dx[2]) {
    nacre_tensor *z = nacre_f_relu(x);
    nacre_tensor *y = nacre_f_max_pool2d(z, {kernel, kernel}, .stride = {2, 2});
    nacre_tensor *weights = nacre_randn(nacre_shape_of(y), .stream = 3);
    nacre_tensor *of[] = {x, z};
    assert_int_equal(nacre_gradients(nacre_sum(nacre_mul(y, weights)), of, both ? 2 : 1, dx),
                     NACRE_OK);
}

/* Relu's gradient runs with that of the pool behind it, windows that overlap or not, whether or not somebody wants what
   reaches it. */
static void relus_gradient_joins_its_pools(void **state) {
    (void)state;
    for (int64_t kernel = 2; kernel <= 3; kernel++) {
        for (int both = 0; both < 2; both++) {
            nacre_scope scope = nacre_scope_begin();
            nacre_tensor *x = nacre_detach(nacre_randn(NACRE_SHAPE(19, 3, 7, 8), .stream = 2));
            assert_int_equal(nacre_eval(x), NACRE_OK);
            nacre_requires_grad(x, true);
            nacre_tensor *dx[2], *alone[2];
            pool_gradients(x, kernel, both, dx);
            assert_int_equal(count_steps(dx[0], "max_pool2d_backward+relu_backward"), 1);
            assert_int_equal(count_steps(dx[0], "relu_backward"), 0);
            assert_int_equal(nacre_eval_all(dx, both ? 2 : 1), NACRE_OK);
            nacre_set_eager(true);
            pool_gradients(x, kernel, both, alone);
            nacre_set_eager(false);
            for (int i = 0; i <= both; i++)
                assert_memory_equal(nacre_data(dx[i]), nacre_data(alone[i]),
                                    sizeof(float) * (size_t)nacre_numel(x));
            assert_int_equal(nacre_scope_end(scope), NACRE_OK);
        }
    }
}

/* Another relu's result is no reason to join. */
static void another_relus_gradient_stays_apart(void **state) {
    (void)state;
    nacre_scope scope = nacre_scope_begin();
    nacre_tensor *a = nacre_detach(nacre_randn(NACRE_SHAPE(17, 2, 4, 6), .stream = 2));
    nacre_tensor *b = nacre_detach(nacre_randn(NACRE_SHAPE(17, 2, 4, 6), .stream = 3));
    assert_int_equal(nacre_eval_all((nacre_tensor *[]){a, b}, 2), NACRE_OK);
    nacre_requires_grad(b, true);
    nacre_tensor *db[1];
    nacre_tensor *z = nacre_mul(nacre_f_relu(b), a), *y = nacre_f_max_pool2d(z, {2, 2});
    assert_int_equal(nacre_gradients(nacre_sum(y), &b, 1, db), NACRE_OK);
    assert_int_equal(count_steps(db[0], "max_pool2d_backward"), 1);
    const float *got = nacre_data(db[0]), *of = nacre_data(b), *by = nacre_data(a);
    const float *product = nacre_data(z);
    for (int64_t i = 0; i < nacre_numel(b); i++) {
        const int64_t corner = i / 48 * 48 + i % 48 / 24 * 24 + i % 24 / 12 * 12 + i % 6 / 2 * 2;
        int64_t most = corner;
        const int64_t window[] = {corner, corner + 1, corner + 6, corner + 7};
        for (int k = 1; k < 4; k++) most = product[window[k]] > product[most] ? window[k] : most;
        assert_true(got[i] == (most == i && of[i] > 0 ? by[i] : 0));
    }
    assert_int_equal(nacre_scope_end(scope), NACRE_OK);
}

/* 0 / 0 in the lanes beyond the batch: neither gradients nor the watch may see it. */
static void lanes_without_a_sample_stay_unseen(void **state) {
    (void)state;
    nacre_scope scope = nacre_scope_begin();
    nacre_tensor *x = nacre_add_scalar(nacre_rand(NACRE_SHAPE(17, 2, 4, 4)), 1);
    nacre_tensor *w = nacre_rand(NACRE_SHAPE(3, 2, 3, 3)), *v = nacre_rand(NACRE_SHAPE(2, 3, 1, 1));
    assert_int_equal(nacre_eval_all((nacre_tensor *[]){x, w, v}, 3), NACRE_OK);
    nacre_requires_grad(w, true), nacre_requires_grad(v, true);
    nacre_set_nan_watch(true);
    nacre_tensor *y = nacre_f_conv2d(x, w);
    nacre_tensor *z = nacre_f_conv2d(nacre_div(y, nacre_add(y, y)), v);
    nacre_tensor *loss = nacre_sum(nacre_mul(z, z));
    assert_int_equal(nacre_backward(loss), NACRE_OK);
    nacre_tensor *wanted[] = {loss, nacre_grad(w), nacre_grad(v)};
    assert_int_equal(nacre_eval_all(wanted, 3), NACRE_OK);
    /* y / (2 y) = 1/2 everywhere: each element of v has the sum of z over samples and pixels */
    const float *weights = nacre_data(v), *dv = nacre_data(wanted[2]);
    for (int o = 0; o < 2; o++) {
        float sum = 0.5f * (weights[3 * o] + weights[3 * o + 1] + weights[3 * o + 2]);
        for (int c = 0; c < 3; c++) assert_float_equal(dv[3 * o + c], sum * 17 * 4, 1e-3f);
    }
    nacre_set_nan_watch(false);
    assert_int_equal(nacre_scope_end(scope), NACRE_OK);
}

static void the_watch_names_the_op_that_made_nan_in_lanes(void **state) {
    (void)state;
    nacre_scope scope = nacre_scope_begin();
    nacre_tensor *x = nacre_full(NACRE_SHAPE(3, 1, 4, 4), 3e38);
    nacre_tensor *w = nacre_full(NACRE_SHAPE(2, 1, 3, 3), 9);
    assert_int_equal(nacre_eval_all((nacre_tensor *[]){x, w}, 2), NACRE_OK);
    nacre_set_nan_watch(true);
    assert_int_equal(nacre_eval(nacre_f_max_pool2d(nacre_f_conv2d(x, w), {2, 2})), NACRE_NUMERICAL);
    assert_non_null(strstr(nacre_error_message(), "conv2d"));
    nacre_set_nan_watch(false);
    assert_int_equal(nacre_scope_end(scope), NACRE_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(results_and_gradients_are_those_of_the_reference),
        cmocka_unit_test(threads_and_eager_mode_change_no_bit),
        cmocka_unit_test(an_image_alone_gives_the_bits_it_gives_in_a_batch),
        cmocka_unit_test(values_turn_once_on_the_way_in_and_once_on_the_way_out),
        cmocka_unit_test(a_relu_joins_its_convolution),
        cmocka_unit_test(norms_and_residuals_join_their_convolution),
        cmocka_unit_test(a_convolution_that_is_wanted_itself_takes_nothing_along),
        cmocka_unit_test(other_chains_behind_a_convolution_are_right),
        cmocka_unit_test(a_residual_and_a_relu_join_their_batch_norm),
        cmocka_unit_test(a_row_does_not_join_a_batch_norm),
        cmocka_unit_test(gradients_behind_a_convolution_join_it),
        cmocka_unit_test(a_window_without_a_kernel_takes_nothing_along),
        cmocka_unit_test(relus_gradient_joins_its_pools),
        cmocka_unit_test(another_relus_gradient_stays_apart),
        cmocka_unit_test(lanes_without_a_sample_stay_unseen),
        cmocka_unit_test(the_watch_names_the_op_that_made_nan_in_lanes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
