/* The baseline against Nacre: the same network, weights and data, side by side in one process.

       baseline [--batch-size N] [--seconds S]   times both, prints one JSON object
       baseline --check                          compares losses and predictions only */
#include "mlp.h"

#include <math.h>
#include <nacre/nacre.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const int widths[] = {784, 128, 128, 128, 10};

typedef struct contest {
    int batch;
    float *x;
    int64_t *labels;
    baseline_mlp plain;
    nacre_model *model;
    nacre_tensor *inputs, *targets;
} contest;

static double now_us(void) {
    struct timespec t;
    timespec_get(&t, TIME_UTC);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

static int fail(const char *what) {
    fprintf(stderr, "baseline: %s: %s\n", what, nacre_error_message());
    return 1;
}

/* Drawn digits, and the model's initial weights for both. */
static int prepare(contest *c, int batch, bool adam, double lr) {
    c->batch = batch;
    size_t pixels = (size_t)batch * 784;
    c->x = malloc(pixels * sizeof *c->x);
    c->labels = malloc((size_t)batch * sizeof *c->labels);
    int64_t *indices = malloc((size_t)batch * sizeof *indices);
    nacre_dataset *digits = nacre_procedural_digits(batch, 1, false);
    if (!c->x || !c->labels || !indices || !digits || baseline_new(&c->plain, widths, batch)) {
        free(indices);
        return fail("no memory");
    }
    for (int i = 0; i < batch; i++) {
        indices[i] = i;
    }
    nacre_status status = nacre_dataset_read(digits, indices, batch, c->x, c->labels);
    free(indices);
    nacre_dataset_free(digits);
    c->model = nacre_model_new(
        nacre_sequential(nacre_linear(784, 128), nacre_relu(), nacre_linear(128, 128), nacre_relu(),
                         nacre_linear(128, 128), nacre_relu(), nacre_linear(128, 10)),
        nacre_cross_entropy(), adam ? nacre_adam(.lr = lr) : nacre_sgd(.lr = lr));
    if (status != NACRE_OK || nacre_model_status(c->model) != NACRE_OK) {
        return fail(nacre_model_message(c->model));
    }
    c->inputs = nacre_from_data(c->x, NACRE_SHAPE(batch, 784));
    c->targets = nacre_from_data(c->labels, NACRE_SHAPE(batch), .dtype = NACRE_I64);
    nacre_module *net = nacre_model_network(c->model);
    for (int l = 0; l < BASELINE_LAYERS; l++) {
        nacre_tensor *w = nacre_module_parameter_at(net, 2 * (size_t)l);
        nacre_tensor *b = nacre_module_parameter_at(net, 2 * (size_t)l + 1);
        nacre_copy_to(w, c->plain.weight[l], (size_t)nacre_numel(w) * sizeof(float));
        nacre_copy_to(b, c->plain.bias[l], (size_t)nacre_numel(b) * sizeof(float));
    }
    return 0;
}

static void finish(contest *c) {
    nacre_model_free(c->model);
    baseline_free(&c->plain);
    free(c->x);
    free(c->labels);
}

static double nacre_one_step(contest *c) {
    nacre_scope scope = nacre_scope_begin();
    nacre_tensor *logits = nacre_module_forward(nacre_model_network(c->model), c->inputs);
    nacre_tensor *loss = nacre_loss_compute(nacre_model_loss(c->model), logits, c->targets);
    nacre_backward(loss);
    nacre_step(nacre_model_optimizer(c->model));
    double value = nacre_item(loss);
    nacre_scope_end(scope);
    return value;
}

/* How many rows of the two sets of logits have their largest element in different places. */
static int count_disagreements(contest *c) {
    nacre_scope scope = nacre_scope_begin();
    const float *logits = nacre_data(nacre_predict(c->model, c->inputs));
    baseline_forward(&c->plain, c->x, c->batch);
    const float *plain = c->plain.out[BASELINE_LAYERS];
    int different = 0;
    for (int i = 0; i < c->batch; i++) {
        int a = 0, b = 0;
        for (int k = 1; k < 10; k++) {
            a = logits[i * 10 + k] > logits[i * 10 + a] ? k : a;
            b = plain[i * 10 + k] > plain[i * 10 + b] ? k : b;
        }
        different += a != b;
    }
    nacre_scope_end(scope);
    return different;
}

/* SGD: under Adam the smallest difference is soon a whole step, because it divides by the root of v. At this rate
   no rounding carries a unit across ReLU's kink, which would show as 1e-4 at once. */
static int check(void) {
    contest c = {0};
    int failed = prepare(&c, 256, false, 0.01);
    const baseline_update sgd = {.adam = 0, .lr = 0.01f};
    for (int step = 0; !failed && step < 100; step++) {
        double fast = nacre_one_step(&c);
        double plain = (double)baseline_step(&c.plain, c.x, c.labels, c.batch, &sgd);
        if (!(fabs(fast - plain) <= 1e-4 * plain)) { /* f32 sums in two orders, 100 steps long */
            fprintf(stderr, "baseline: step %d: the loss is %.9g, the baseline's %.9g\n", step,
                    fast, plain);
            failed = 1;
        }
    }
    int different = failed ? 0 : count_disagreements(&c);
    if (different) {
        fprintf(stderr, "baseline: %d of %d predictions differ\n", different, c.batch);
    }
    finish(&c);
    return failed || different;
}

static int measure(int batch, double seconds) {
    contest c = {0};
    if (prepare(&c, batch, true, 1e-3)) {
        finish(&c);
        return 1;
    }
    const baseline_update adam = {
        .adam = 1, .lr = 1e-3f, .beta1 = 0.9f, .beta2 = 0.999f, .epsilon = 1e-8f};
    double best_plain = 1e30, best_fast = 1e30, end = now_us() + seconds * 1e6;
    do { /* in turn, so that both see the same machine */
        double start = now_us();
        baseline_step(&c.plain, c.x, c.labels, batch, &adam);
        double middle = now_us();
        for (int i = 0; i < 10; i++) {
            double before = now_us();
            nacre_one_step(&c);
            best_fast = fmin(best_fast, now_us() - before);
        }
        best_plain = fmin(best_plain, middle - start);
    } while (now_us() < end);
    printf("{\"workload\":\"mlp\",\"batch\":%d,\"threads\":%d,\"baseline_us_min\":%.1f,"
           "\"nacre_us_min\":%.1f,\"speedup\":%.1f}\n",
           batch, nacre_threads(), best_plain, best_fast, best_plain / best_fast);
    finish(&c);
    return 0;
}

int main(int argc, char **argv) {
    int batch = 64;
    double seconds = 3;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--check") == 0) {
            return check();
        }
        if (strcmp(argv[i], "--batch-size") == 0 && i + 1 < argc) {
            batch = atoi(argv[++i]);
        } else if (strcmp(argv[i], "--seconds") == 0 && i + 1 < argc) {
            seconds = atof(argv[++i]);
        } else {
            batch = 0;
        }
    }
    if (batch < 1 || batch > 4096 || !(seconds > 0 && seconds < 3600)) {
        fprintf(stderr, "usage: baseline [--check | --batch-size 1..4096 --seconds S]\n");
        return 2;
    }
    return measure(batch, seconds);
}
