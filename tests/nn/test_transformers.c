/* LayerNorm, GELU, Tanh, Dropout, Embedding, MultiHeadAttention, TransformerBlock: what they compute and refuse. */
#include "layers.h"
#include "support.h"

#include <math.h>
#include <nacre/nacre.h>
#include <string.h>

/* Attention's sums are sums of sums: they round more often. */
static void assert_near(nacre_tensor *t, const float *wanted, size_t count) {
    assert_within(t, wanted, count, 2e-6f);
}

static void layer_norm_starts_as_plain_normalisation(void **state) {
    (void)state;
    nacre_module *layer = nacre_layer_norm(4), *plain = nacre_layer_norm(4, .plain = true);
    assert_int_equal(nacre_module_init(layer, 1), NACRE_OK);
    assert_string_equal(nacre_module_parameter_name(layer, 0), "weight");
    assert_string_equal(nacre_module_parameter_name(layer, 1), "bias");
    assert_int_equal(nacre_module_parameter_count(plain), 0);
    nacre_tensor *x = nacre_from_data(((float[]){1, 2, 3, 4}), NACRE_SHAPE(1, 4));
    const float s = 1 / sqrtf(1.25f + 1e-5f);
    const float wanted[] = {-1.5f * s, -0.5f * s, 0.5f * s, 1.5f * s};
    assert_near(nacre_module_forward(layer, x), wanted, 4);
    assert_near(nacre_module_forward(plain, x), wanted, 4);
    set_parameter(layer, 0, (float[]){2, 2, 0, 1}, 4);
    set_parameter(layer, 1, (float[]){0, 1, 5, -1}, 4);
    assert_near(nacre_module_forward(layer, x), (float[]){-3 * s, 1 - s, 5, 1.5f * s - 1}, 4);
    nacre_tensor *bad = (nacre_module_forward)(layer, nacre_zeros(NACRE_SHAPE(2, 3)));
    assert_string_equal(nacre_tensor_message(bad),
                        "layer (LayerNorm): layer_norm: x is [2,3]: its last extent must be 4, the "
                        "layer's features");
    nacre_module_free(layer);
    nacre_module_free(plain);
    assert_refused(nacre_layer_norm(0), "layer_norm: features is 0: it must be at least 1");
    assert_refused(nacre_layer_norm(4, .epsilon = -1),
                   "layer_norm: epsilon is -1: it must be finite and not negative");
}

static void gelu_and_tanh_are_their_ops(void **state) {
    (void)state;
    nacre_tensor *x = nacre_from_data(((float[]){-2, 0, 1}), NACRE_SHAPE(3));
    nacre_module *by_erf = nacre_gelu(NACRE_GELU_ERF), *by_tanh = nacre_gelu(NACRE_GELU_TANH);
    nacre_module *tangent = nacre_tanh();
    assert_near(nacre_module_forward(by_erf, x), (float[]){-0.04550026f, 0, 0.8413447f}, 3);
    assert_near(nacre_module_forward(by_tanh, x), (float[]){-0.04540231f, 0, 0.8411920f}, 3);
    assert_near(nacre_module_forward(tangent, x), (float[]){-0.9640276f, 0, 0.7615942f}, 3);
    nacre_module_free(by_erf);
    nacre_module_free(by_tanh);
    nacre_module_free(tangent);
    assert_refused(nacre_gelu((nacre_gelu_form)2), "gelu: there is no approximation 2: use "
                                                   "NACRE_GELU_ERF or NACRE_GELU_TANH");
}

static void dropout_drops_in_training_only(void **state) {
    (void)state;
    nacre_module *layer = nacre_dropout(0.5);
    nacre_tensor *x = nacre_ones(NACRE_SHAPE(1000));
    double kept = nacre_item(nacre_sum(nacre_module_forward(layer, x))) / 2;
    assert_true(kept > 400 && kept < 600);
    nacre_module_set_mode(layer, NACRE_EVAL);
    assert_true(nacre_module_forward(layer, x) == x);
    nacre_module_free(layer);
    assert_refused(nacre_dropout(-0.1),
                   "dropout: p is -0.1: it is the part that is dropped, from 0 to 1");
}

static void dropouts_gradient_by_hand_has_the_mask_of_the_output(void **state) {
    (void)state;
    nacre_module *layer = nacre_dropout(0.25);
    nacre_tensor *x = nacre_full(NACRE_SHAPE(3, 50), 3), *y = nacre_module_forward(layer, x);
    nacre_tensor *dx = nacre_module_backward(layer, x, y, nacre_full(NACRE_SHAPE(3, 50), 3));
    assert_int_equal(nacre_eval_all((nacre_tensor *[]){y, dx}, 2), NACRE_OK);
    assert_memory_equal(data_of(y), data_of(dx), 150 * sizeof(float));
    nacre_module_free(layer);
}

static void embedding_gives_rows_and_collects_their_gradients(void **state) {
    (void)state;
    nacre_module *layer = nacre_embedding(3, 2);
    set_parameter(layer, 0, (float[]){1, 2, 3, 4, 5, 6}, 6);
    nacre_tensor *at =
        nacre_from_data(((int64_t[]){2, 0, 2}), NACRE_SHAPE(1, 3), .dtype = NACRE_I64);
    nacre_tensor *y = nacre_module_forward(layer, at);
    assert_near(y, (float[]){5, 6, 1, 2, 5, 6}, 6);
    nacre_tensor *dy = nacre_from_data(((float[]){1, 2, 3, 4, 5, 6}), NACRE_SHAPE(1, 3, 2));
    nacre_tensor *weight = nacre_module_parameter_at(layer, 0);
    for (int by_hand = 0; by_hand < 2; by_hand++) {
        nacre_module_zero_grad(layer);
        if (by_hand) {
            assert_near(nacre_module_backward(layer, at, y, dy), (float[]){0, 0, 0}, 3);
        } else {
            assert_int_equal(nacre_backward_from(nacre_module_forward(layer, at), dy), NACRE_OK);
        }
        assert_near(nacre_grad(weight), (float[]){3, 4, 0, 0, 6, 8}, 6);
    }
    nacre_module_free(layer);
    layer = nacre_embedding(200, 100);
    assert_int_equal(nacre_module_init(layer, 4), NACRE_OK);
    nacre_tensor *w = nacre_module_parameter_at(layer, 0);
    assert_true(fabs(nacre_item(nacre_mean(nacre_mul(w, w))) - 1) < 0.05);
    nacre_module_free(layer);
    layer = nacre_embedding(200, 100, .init = NACRE_INIT_SMALL);
    assert_int_equal(nacre_module_init(layer, 4), NACRE_OK);
    w = nacre_module_parameter_at(layer, 0);
    assert_true(fabs(nacre_item(nacre_mean(nacre_mul(w, w))) / 4e-4 - 1) < 0.05);
    nacre_module_free(layer);
    assert_refused(nacre_embedding(3, 0),
                   "embedding: count is 3, features is 0: both must be at least 1");
}

/* With projections that pass q, k and v through, the layer is the op. */
static void attention_is_two_products_around_the_op(void **state) {
    (void)state;
    enum { D = 4, T = 3 };
    nacre_module *layer = nacre_multi_head_attention(D, 2, .causal = true);
    const char *const names[] = {"in_proj.weight", "in_proj.bias", "out_proj.weight",
                                 "out_proj.bias"};
    for (size_t i = 0; i < 4; i++) {
        assert_string_equal(nacre_module_parameter_name(layer, i), names[i]);
    }
    float in[3 * D * D] = {0}, out[D * D] = {0}, zeros[3 * D] = {0};
    for (int i = 0; i < D; i++) {
        in[i * D + i] = in[(D + i) * D + i] = in[(2 * D + i) * D + i] = out[i * D + i] = 1;
    }
    set_parameter(layer, 0, in, 3 * D * D);
    set_parameter(layer, 1, zeros, 3 * D);
    set_parameter(layer, 2, out, D * D);
    set_parameter(layer, 3, zeros, D);
    nacre_tensor *x = nacre_randn(NACRE_SHAPE(2, T, D), .stream = 3);
    nacre_tensor *wanted = nacre_f_attention(x, x, x, .heads = 2, .causal = true);
    nacre_tensor *y = nacre_module_forward(layer, x);
    assert_near(y, data_of(wanted), 2 * T * D);
    nacre_module_free(layer);
    layer = nacre_multi_head_attention(D, 2, .no_bias = true);
    assert_int_equal(nacre_module_parameter_count(layer), 2);
    nacre_module_free(layer);
    assert_refused(nacre_multi_head_attention(6, 4),
                   "multi_head_attention: width is 6, heads is 4: at least 1, and the width a "
                   "multiple of the heads");
    assert_refused(nacre_transformer_block(0, 1),
                   "transformer_block: width is 0, heads is 1: at least 1, and the width a "
                   "multiple of the heads");
    assert_refused(nacre_transformer_block(8, 2, .hidden = -1),
                   "transformer_block: hidden is -1: it must not be negative; 0 means 4 times the "
                   "width");
}

/* One head from scratch: softmax(q k^T / sqrt(d) + mask) v of its d columns of the projection [n, t, 3 width]. */
static nacre_tensor *one_head(nacre_tensor *qkv, int64_t width, int64_t head, int64_t d,
                              nacre_tensor *mask) {
    nacre_tensor *part[3];
    for (int i = 0; i < 3; i++) {
        part[i] = nacre_slice(qkv, 2, i * width + head * d, i * width + (head + 1) * d, 1);
    }
    nacre_tensor *scores = nacre_matmul(part[0], nacre_transpose(part[1], 1, 2));
    scores = nacre_add(nacre_mul_scalar(scores, 1 / sqrt((double)d)), mask);
    return nacre_matmul(nacre_f_softmax(scores, -1), part[2]);
}

static void attention_is_its_heads_side_by_side(void **state) {
    (void)state;
    enum { D = 6, T = 5, HEADS = 3 };
    for (int causal = 0; causal < 2; causal++) {
        nacre_module *layer = nacre_multi_head_attention(D, HEADS, .causal = causal);
        assert_int_equal(nacre_module_init(layer, 5), NACRE_OK);
        float mask[T * T];
        for (int i = 0; i < T * T; i++) {
            mask[i] = causal && i % T > i / T ? -INFINITY : 0;
        }
        nacre_tensor *p[4], *head[HEADS];
        for (size_t i = 0; i < 4; i++) {
            p[i] = nacre_module_parameter_at(layer, i);
        }
        nacre_tensor *x = nacre_randn(NACRE_SHAPE(2, T, D), .stream = 3);
        nacre_tensor *qkv = nacre_f_linear(x, p[0], p[1]);
        for (int64_t h = 0; h < HEADS; h++) {
            head[h] = one_head(qkv, D, h, D / HEADS, nacre_from_data(mask, NACRE_SHAPE(T, T)));
        }
        nacre_tensor *wanted = nacre_f_linear(nacre_concat(head, HEADS, 2), p[2], p[3]);
        assert_near(nacre_module_forward(layer, x), data_of(wanted), 2 * T * D);
        nacre_module_free(layer);
    }
}

/* Causal: no output depends on a later position. */
static void a_causal_block_does_not_look_ahead(void **state) {
    (void)state;
    enum { D = 16, T = 20 };
    nacre_module *block = nacre_transformer_block(D, 2, .causal = true, .gelu = NACRE_GELU_TANH);
    assert_int_equal(nacre_module_init(block, 2), NACRE_OK);
    nacre_tensor *x = nacre_randn(NACRE_SHAPE(1, T, D), .stream = 3);
    nacre_tensor *whole = nacre_module_forward(block, x);
    for (int64_t t = 1; t <= T; t += 6) {
        nacre_tensor *part = nacre_module_forward(block, nacre_slice(x, 1, 0, t, 1));
        assert_near(part, data_of(nacre_slice(whole, 1, 0, t, 1)), (size_t)(t * D));
    }
    nacre_module_free(block);
}

/* The block written out with its parameters. */
static void a_block_is_what_its_formula_says(void **state) {
    (void)state;
    enum { D = 8 };
    nacre_module *block = nacre_transformer_block(D, 2, .hidden = 5);
    assert_int_equal(nacre_module_init(block, 2), NACRE_OK);
    nacre_tensor *p[12];
    assert_int_equal(nacre_module_parameter_count(block), 12);
    for (size_t i = 0; i < 12; i++) {
        p[i] = nacre_module_parameter_at(block, i);
    }
    nacre_tensor *x = nacre_randn(NACRE_SHAPE(2, 3, D), .stream = 3);
    nacre_tensor *y = nacre_f_layer_norm(x, p[0], p[1], 1e-5);
    y = nacre_f_attention(nacre_f_linear(y, p[2], p[3]), .heads = 2);
    nacre_tensor *middle = nacre_add(x, nacre_f_linear(y, p[4], p[5]));
    y = nacre_f_linear(nacre_f_layer_norm(middle, p[6], p[7], 1e-5), p[8], p[9]);
    y = nacre_f_linear(nacre_f_gelu(y, NACRE_GELU_ERF), p[10], p[11]);
    assert_string_equal(nacre_module_parameter_name(block, 8), "linear1.weight");
    assert_int_equal(nacre_size(p[8], 0), 5);
    nacre_tensor *wanted = nacre_add(middle, y);
    assert_near(nacre_module_forward(block, x), data_of(wanted), 2 * 3 * D);
    nacre_module_free(block);
}

enum { BITS_WIDTH = 32, BITS_POSITIONS = 17, BITS_BATCH = 5, BITS_PARAMETERS = 12 };

/* Output, gradient of the input and of all parameters, one after the other. */
static size_t pass_bytes(nacre_module *block, nacre_tensor *x, unsigned char *out) {
    nacre_scope scope = nacre_scope_begin();
    nacre_tensor *in[BITS_PARAMETERS + 1] = {nacre_requires_grad(nacre_detach(x), true)};
    nacre_tensor *results[BITS_PARAMETERS + 2];
    for (size_t i = 0; i < BITS_PARAMETERS; i++) {
        in[i + 1] = nacre_module_parameter_at(block, i);
    }
    nacre_tensor *y = results[0] = nacre_module_forward(block, in[0]);
    assert_int_equal(
        nacre_gradients(nacre_sum(nacre_mul(y, y)), in, BITS_PARAMETERS + 1, results + 1),
        NACRE_OK);
    size_t used = 0;
    for (size_t i = 0; i < BITS_PARAMETERS + 2; i++) {
        size_t bytes = (size_t)nacre_numel(results[i]) * sizeof(float);
        memcpy(out + used, data_of(results[i]), bytes);
        used += bytes;
    }
    nacre_scope_end(scope);
    return used;
}

static void a_block_has_the_same_bits_alone_eager_and_with_any_threads(void **state) {
    (void)state;
    enum { SAMPLE = BITS_POSITIONS * BITS_WIDTH };
    static unsigned char first[1 << 18], again[1 << 18];
    nacre_module *block = nacre_transformer_block(BITS_WIDTH, 2, .gelu = NACRE_GELU_TANH);
    assert_int_equal(nacre_module_init(block, 2), NACRE_OK);
    nacre_tensor *x = nacre_randn(NACRE_SHAPE(BITS_BATCH, BITS_POSITIONS, BITS_WIDTH), .stream = 3);
    assert_int_equal(nacre_eval(x), NACRE_OK);
    nacre_set_eager(false);
    size_t bytes = pass_bytes(block, x, first);
    for (int threads = 1; threads < 6; threads += 2) {
        for (int mode = 0; mode < 2; mode++) {
            assert_int_equal(nacre_set_threads(threads), NACRE_OK);
            nacre_set_eager(mode == 1);
            assert_int_equal(pass_bytes(block, x, again), bytes);
            assert_memory_equal(first, again, bytes);
        }
    }
    nacre_set_eager(false);
    assert_int_equal(nacre_set_threads(0), NACRE_OK);
    for (int64_t i = 0; i < BITS_BATCH; i++) {
        const float *y = data_of(nacre_module_forward(block, nacre_slice(x, 0, i, i + 1, 1)));
        assert_memory_equal(y, first + (size_t)i * SAMPLE * sizeof(float), SAMPLE * sizeof(float));
    }
    nacre_module_free(block);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layer_norm_starts_as_plain_normalisation),
        cmocka_unit_test(gelu_and_tanh_are_their_ops),
        cmocka_unit_test(dropout_drops_in_training_only),
        cmocka_unit_test(dropouts_gradient_by_hand_has_the_mask_of_the_output),
        cmocka_unit_test(embedding_gives_rows_and_collects_their_gradients),
        cmocka_unit_test(attention_is_two_products_around_the_op),
        cmocka_unit_test(attention_is_its_heads_side_by_side),
        cmocka_unit_test(a_causal_block_does_not_look_ahead),
        cmocka_unit_test(a_block_is_what_its_formula_says),
        cmocka_unit_test(a_block_has_the_same_bits_alone_eager_and_with_any_threads),
    };
    return cmocka_run_group_tests_name("nn: transformers", tests, NULL, NULL);
}
