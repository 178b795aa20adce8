/* The losses of a few training steps from given weights on given data: what the peers' scripts print
   from the same file, so that their arithmetic can be compared with Nacre's.

       losses FILE [--steps N] [--batch-size N]

   FILE (safetensors, written by bench/run): the parameters 0.weight [128, 784], 0.bias, ..., the
   inputs x [n, 784] in f32 and the labels y [n] in i64. Each step is Adam's, on the first N samples. */
#include <nacre/nacre.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fail(const char *what) {
    fprintf(stderr, "losses: %s: %s\n", what, nacre_error_message());
    return 1;
}

/* Gives the network the file's parameters: those of its own names. */
static nacre_status load_parameters(nacre_module *network, const nacre_state_dict *file) {
    nacre_state_dict *own = nacre_state_dict_new();
    nacre_status status = own ? NACRE_OK : NACRE_OUT_OF_MEMORY;
    for (size_t i = 0; status == NACRE_OK && i < nacre_module_parameter_count(network); i++) {
        const char *name = nacre_module_parameter_name(network, i);
        nacre_tensor *found = nacre_state_dict_find(file, name);
        if (found) {
            status = nacre_state_dict_add(own, name, found);
        }
    }
    if (status == NACRE_OK) {
        status = nacre_module_load_state(network, own);
    }
    nacre_state_dict_free(own);
    return status;
}

static nacre_tensor *first_rows(const nacre_state_dict *file, const char *name, int64_t count) {
    nacre_tensor *all = nacre_state_dict_find(file, name);
    if (!all || nacre_size(all, 0) < count) {
        return NULL;
    }
    nacre_shape shape = nacre_shape_of(all);
    shape.dims[0] = count;
    return nacre_from_data(nacre_data(all), .shape = shape, .dtype = nacre_dtype_of(all));
}

static double step(nacre_model *model, nacre_tensor *x, nacre_tensor *y) {
    nacre_scope scope = nacre_scope_begin();
    nacre_tensor *logits = nacre_module_forward(nacre_model_network(model), x);
    nacre_tensor *loss = nacre_loss_compute(nacre_model_loss(model), logits, y);
    nacre_backward(loss);
    nacre_step(nacre_model_optimizer(model));
    double value = nacre_item(loss);
    nacre_scope_end(scope);
    return value;
}

static int print_losses(const nacre_state_dict *file, long steps, long batch) {
    nacre_tensor *x = first_rows(file, "x", batch), *y = first_rows(file, "y", batch);
    if (!x || !y) {
        fprintf(stderr, "losses: the file lacks x or y, or has fewer than %ld samples\n", batch);
        return 1;
    }
    nacre_model *model = nacre_model_new(
        nacre_sequential(nacre_linear(784, 128), nacre_relu(), nacre_linear(128, 128), nacre_relu(),
                         nacre_linear(128, 128), nacre_relu(), nacre_linear(128, 10)),
        nacre_cross_entropy(), nacre_adam(.lr = 1e-3));
    int failed = 0;
    if (nacre_model_status(model) != NACRE_OK) {
        failed = fail(nacre_model_message(model));
    } else if (load_parameters(nacre_model_network(model), file) != NACRE_OK) {
        failed = fail("parameters");
    }
    for (long i = 0; !failed && i < steps; i++) {
        double loss = step(model, x, y);
        if (loss != loss) {
            failed = fail("step");
        } else {
            printf("%.9g\n", loss);
            fflush(stdout); /* bench/run takes the time of the first line */
        }
    }
    nacre_model_free(model);
    return failed;
}

int main(int argc, char **argv) {
    const char *path = NULL;
    long steps = 5, batch = 64;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--steps") == 0 && i + 1 < argc) {
            steps = strtol(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--batch-size") == 0 && i + 1 < argc) {
            batch = strtol(argv[++i], NULL, 10);
        } else {
            path = path ? "" : argv[i];
        }
    }
    if (!path || !*path || steps < 1 || batch < 1) {
        fprintf(stderr, "usage: losses FILE [--steps N] [--batch-size N]\n");
        return 2;
    }
    nacre_state_dict *file = nacre_state_dict_load(path);
    if (!file) {
        return fail(path);
    }
    int failed = print_losses(file, steps, batch);
    nacre_state_dict_free(file);
    return failed;
}
