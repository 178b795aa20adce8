#include "cli/kernel_cases.h"

#include <nacre/grad.h>
#include <nacre/ops.h>
#include <stdlib.h>
#include <string.h>

/* ---- products ---- */

static nacre_tensor *dot(nacre_tensor *const *in) { return nacre_matmul(in[0], in[1]); }
static nacre_tensor *dot_nt(nacre_tensor *const *in) {
    return nacre_matmul(in[0], nacre_transpose(in[1], 0, 1));
}
static nacre_tensor *dot_tn(nacre_tensor *const *in) {
    return nacre_matmul(nacre_transpose(in[0], 0, 1), in[1]);
}
static nacre_tensor *dot_tt(nacre_tensor *const *in) {
    return nacre_matmul(nacre_transpose(in[0], 0, 1), nacre_transpose(in[1], 0, 1));
}
static nacre_tensor *linear(nacre_tensor *const *in) { return nacre_f_linear(in[0], in[1], in[2]); }
static nacre_tensor *linear_relu(nacre_tensor *const *in) {
    return nacre_f_relu(nacre_f_linear(in[0], in[1], in[2]));
}
static nacre_tensor *attention_scores(nacre_tensor *const *in) {
    return nacre_f_softmax(nacre_matmul(in[0], nacre_transpose(in[1], -1, -2)), -1);
}

/* ---- images ---- */

static nacre_tensor *conv(nacre_tensor *const *in) {
    return nacre_f_conv2d(in[0], in[1], .padding = {1, 1});
}
static nacre_tensor *conv_half(nacre_tensor *const *in) {
    return nacre_f_conv2d(in[0], in[1], .padding = {1, 1}, .stride = {2, 2});
}
static nacre_tensor *conv5(nacre_tensor *const *in) {
    return nacre_f_conv2d(in[0], in[1], .bias = in[2], .padding = {2, 2});
}
static nacre_tensor *conv5_valid(nacre_tensor *const *in) {
    return nacre_f_conv2d(in[0], in[1], .bias = in[2]);
}
static nacre_tensor *max_pool(nacre_tensor *const *in) {
    return nacre_f_max_pool2d(in[0], .kernel = {2, 2});
}
static nacre_tensor *avg_pool(nacre_tensor *const *in) {
    return nacre_f_avg_pool2d(in[0], .kernel = {2, 2});
}
static nacre_tensor *batch_norm(nacre_tensor *const *in) {
    return nacre_f_batch_norm(in[0], .weight = in[1], .bias = in[2]);
}

/* ---- rows, reductions, elements ---- */

static nacre_tensor *layer_norm(nacre_tensor *const *in) {
    return nacre_f_layer_norm(in[0], in[1], in[2], 1e-5);
}
static nacre_tensor *softmax(nacre_tensor *const *in) { return nacre_f_softmax(in[0], -1); }
static nacre_tensor *sum(nacre_tensor *const *in) { return nacre_sum(in[0]); }
static nacre_tensor *sum_columns(nacre_tensor *const *in) {
    return nacre_sum(in[0], .axes = NACRE_AXES(0));
}
static nacre_tensor *mean(nacre_tensor *const *in) { return nacre_mean(in[0]); }
static nacre_tensor *max(nacre_tensor *const *in) { return nacre_max(in[0]); }
static nacre_tensor *argmax(nacre_tensor *const *in) {
    return nacre_argmax(in[0], .axes = NACRE_AXES(-1));
}
static nacre_tensor *zeros(nacre_tensor *const *in) {
    (void)in;
    return nacre_zeros(NACRE_SHAPE(1000000));
}
static nacre_tensor *add(nacre_tensor *const *in) { return nacre_add(in[0], in[1]); }
static nacre_tensor *exponential(nacre_tensor *const *in) { return nacre_exp(in[0]); }
static nacre_tensor *relu(nacre_tensor *const *in) { return nacre_f_relu(in[0]); }
static nacre_tensor *concat(nacre_tensor *const *in) { return nacre_concat(in, 2, -1); }
static nacre_tensor *gelu(nacre_tensor *const *in) { return nacre_f_gelu(in[0], NACRE_GELU_TANH); }
/* Four operations in one pass over memory. */
static nacre_tensor *fused(nacre_tensor *const *in) {
    return nacre_mul(nacre_f_relu(nacre_add(nacre_mul(in[0], in[1]), in[2])), in[0]);
}

/* ---- by index ---- */

enum { INDICES = 768 };

/* Data, no step of the plan: numbers below `below` that no row of a table follows another by. */
static nacre_tensor *indices(int64_t count, int64_t below) {
    int64_t index[INDICES];
    for (int64_t i = 0; i < count; i++) {
        index[i] = i * 7919 % below;
    }
    return nacre_from_data(index, NACRE_SHAPE(count), .dtype = NACRE_I64);
}
static nacre_tensor *embedding(nacre_tensor *const *in) {
    return nacre_f_embedding(indices(INDICES, nacre_size(in[0], 0)), in[0]);
}
static nacre_tensor *cross_entropy(nacre_tensor *const *in) {
    return nacre_f_cross_entropy(in[0], indices(nacre_size(in[0], 0), nacre_size(in[0], 1)));
}

/* ---- updates: p, gradient, state ---- */

static nacre_tensor *adam_of(nacre_tensor *const *in, double decay) {
    nacre_tensor *step = nacre_full(NACRE_SCALAR, 3, .dtype = NACRE_I64);
    nacre_adam_update_options o = {
        .size = sizeof o, .lr = 1e-3, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8};
    o.weight_decay = decay;
    nacre_status status = nacre_adam_update(in[0], in[1], in[2], in[3], step, &o);
    return status == NACRE_OK ? in[0] : NULL;
}
static nacre_tensor *adam(nacre_tensor *const *in) { return adam_of(in, 0); }
static nacre_tensor *adamw(nacre_tensor *const *in) { return adam_of(in, 0.01); }
static nacre_tensor *sgd(nacre_tensor *const *in) {
    nacre_sgd_update_options o = {
        .size = sizeof o, .lr = 0.1, .momentum = 0.9, .weight_decay = 1e-4};
    return nacre_sgd_update(in[0], in[1], in[2], &o) == NACRE_OK ? in[0] : NULL;
}

/* ---- the table ---- */

#define S(...)                                                                                     \
    {                                                                                              \
        .ndim = sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t), .dims = { __VA_ARGS__ }        \
    }
#define LINEAR(m, n, k)                                                                            \
    {"linear", linear_relu, {S(m, k), S(n, k), S(n)}, 0, false},                                   \
        {"linear input gradient", linear, {S(m, k), S(n, k), S(n)}, 1, false}, {                   \
        "linear weight gradient", linear, {S(m, k), S(n, k), S(n)}, 2, false                       \
    }
#define CONV(record, ...)                                                                          \
    {"conv2d", record, {__VA_ARGS__}, 0, false},                                                   \
        {"conv2d input gradient", record, {__VA_ARGS__}, 1, false}, {                              \
        "conv2d weight gradient", record, {__VA_ARGS__}, 2, false                                  \
    }
#define BOTH(name, record, ...)                                                                    \
    {name, record, {__VA_ARGS__}, 0, false}, { name " gradient", record, {__VA_ARGS__}, 1, false }

const nacre_cli_case nacre_cli_cases[] = {
    {"dot", dot, {S(100000), S(100000)}, 0, false},
    {"sum", sum, {S(100000)}, 0, false},
    {"mean", mean, {S(100000)}, 0, false},
    {"zeros", zeros, {{0}}, 0, true},
    /* mlp, at four batch sizes */
    LINEAR(32, 128, 784),
    LINEAR(64, 128, 784),
    LINEAR(128, 128, 784),
    LINEAR(256, 128, 784),
    LINEAR(64, 128, 128),
    LINEAR(64, 10, 128),
    /* vit and gpt */
    LINEAR(1088, 192, 64),
    LINEAR(1088, 256, 64),
    LINEAR(1088, 64, 256),
    LINEAR(768, 384, 128),
    LINEAR(768, 512, 128),
    LINEAR(768, 128, 512),
    {"matmul", dot, {S(256, 256), S(256, 256)}, 0, false},
    {"matmul", dot, {S(512, 512), S(512, 512)}, 0, false},
    {"matmul", dot, {S(1024, 1024), S(1024, 1024)}, 0, false},
    {"attention scores", attention_scores, {S(48, 64, 32), S(48, 64, 32)}, 0, false},
    /* lenet, resnet20 */
    CONV(conv5, S(64, 1, 28, 28), S(6, 1, 5, 5), S(6)),
    CONV(conv5_valid, S(64, 6, 14, 14), S(16, 6, 5, 5), S(16)),
    CONV(conv, S(64, 16, 32, 32), S(16, 16, 3, 3)),
    CONV(conv_half, S(64, 16, 32, 32), S(32, 16, 3, 3)),
    CONV(conv, S(64, 32, 16, 16), S(32, 32, 3, 3)),
    CONV(conv, S(64, 64, 8, 8), S(64, 64, 3, 3)),
    BOTH("max_pool2d", max_pool, S(64, 6, 28, 28)),
    BOTH("avg_pool2d", avg_pool, S(64, 16, 32, 32)),
    BOTH("batch_norm", batch_norm, S(64, 16, 32, 32), S(16), S(16)),
    BOTH("layer_norm", layer_norm, S(1088, 64), S(64), S(64)),
    BOTH("layer_norm", layer_norm, S(768, 128), S(128), S(128)),
    BOTH("softmax", softmax, S(3072, 64)),
    BOTH("gelu", gelu, S(1088, 256)),
    BOTH("relu", relu, S(100000)),
    BOTH("concat", concat, S(768, 128), S(768, 128)),
    BOTH("embedding", embedding, S(65, 128)),
    BOTH("cross_entropy", cross_entropy, S(64, 10)),
    BOTH("cross_entropy", cross_entropy, S(768, 65)),
    {"add", add, {S(100000), S(100000)}, 0, false},
    {"exp", exponential, {S(100000)}, 0, false},
    {"mul+add+relu+mul", fused, {S(100000), S(100000), S(100000)}, 0, false},
    {"sum columns", sum_columns, {S(256, 128)}, 0, false},
    {"max", max, {S(100000)}, 0, false},
    {"argmax", argmax, {S(256, 10)}, 0, false},
    {"adam", adam, {S(100480), S(100480), S(100480), S(100480)}, 0, false},
    {"adamw", adamw, {S(65536), S(65536), S(65536), S(65536)}, 0, false},
    {"sgd", sgd, {S(36864), S(36864), S(36864)}, 0, false},
};
const size_t nacre_cli_case_count = sizeof nacre_cli_cases / sizeof *nacre_cli_cases;
_Static_assert(sizeof nacre_cli_cases / sizeof *nacre_cli_cases <= NACRE_CLI_MOST_CASES,
               "more cases than bench_kernels.c has room for");

/* ---- products of one's own ---- */

static const char matmul_prefix[] = "matmul:", linear_prefix[] = "linear:";

static bool begins(const char *text, const char *prefix) {
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool nacre_cli_case_is_product(const char *name) {
    return begins(name, matmul_prefix) || begins(name, linear_prefix);
}

/* "64x128x784" into three extents. What comes after it, NULL: they are none. */
static const char *read_extents(const char *text, int64_t *extents) {
    for (int i = 0; i < 3; i++) {
        char *end;
        if (*text < '0' || *text > '9') { /* strtoll would take spaces and signs */
            return NULL;
        }
        extents[i] = strtoll(text, &end, 10);
        if (extents[i] < 1 || extents[i] > NACRE_CLI_MOST_EXTENT || (i < 2 && *end != 'x')) {
            return NULL;
        }
        text = end + (i < 2);
    }
    return text;
}

bool nacre_cli_case_parse(const char *name, nacre_cli_case *out) {
    static const struct {
        const char *suffix;
        nacre_tensor *(*record)(nacre_tensor *const *in);
        bool a, b; /* lies transposed */
    } arrangements[] = {{"", dot, false, false},
                        {":nn", dot, false, false},
                        {":nt", dot_nt, false, true},
                        {":tn", dot_tn, true, false},
                        {":tt", dot_tt, true, true}};
    int64_t e[3];
    const char *rest =
        nacre_cli_case_is_product(name) ? read_extents(name + strlen(matmul_prefix), e) : NULL;
    if (!rest) {
        return false;
    }
    int64_t m = e[0], n = e[1], k = e[2];
    if (begins(name, linear_prefix)) {
        *out = (nacre_cli_case){name, linear_relu, {S(m, k), S(n, k), S(n)}, 0, false};
        return *rest == '\0';
    }
    for (size_t i = 0; i < sizeof arrangements / sizeof *arrangements; i++) {
        if (strcmp(rest, arrangements[i].suffix) == 0) {
            bool a = arrangements[i].a, b = arrangements[i].b;
            *out = (nacre_cli_case){name,
                                    arrangements[i].record,
                                    {S(a ? k : m, a ? m : k), S(b ? n : k, b ? k : n)},
                                    0,
                                    false};
            return true;
        }
    }
    return false;
}
