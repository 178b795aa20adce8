/* Nacre's side of the comparison with peers: the file of weights and samples that all of them read, and what a few
   training steps from it give.

       losses WORKLOAD --write FILE [--batch-size N]            writes weights, inputs x and targets y
       losses WORKLOAD FILE [--steps N] [--batch-size N]        prints the loss of each training step
       losses WORKLOAD FILE --infer [--batch-size N]            prints the outputs of the first N samples

   The files are safetensors: parameters and buffers under the network's own names, x and y. Losses and outputs
   are those of the first N samples. */
#include <nacre/nacre.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The program's own workloads: one source, not in the library. */
#include "cli/workloads.c"

static int fail(const char *what) {
    fprintf(stderr, "losses: %s: %s\n", what, nacre_error_message());
    return 1;
}

static int write_sample(const nacre_cli_job *job, const char *path) {
    nacre_state_dict *state = nacre_module_state(nacre_model_network(job->model));
    nacre_status status = state ? NACRE_OK : nacre_error_code();
    status = status ? status : nacre_state_dict_add(state, "x", job->batch.inputs);
    status = status ? status : nacre_state_dict_add(state, "y", job->batch.targets);
    status = status ? status : nacre_state_dict_save(state, path);
    nacre_state_dict_free(state);
    return status == NACRE_OK ? 0 : fail(path);
}

/* Gives the network the file's weights: all but x and y. */
static nacre_status load_weights(nacre_module *network, const nacre_state_dict *file) {
    nacre_state_dict *weights = nacre_state_dict_new();
    nacre_status status = weights ? NACRE_OK : NACRE_OUT_OF_MEMORY;
    for (size_t i = 0; status == NACRE_OK && i < nacre_state_dict_count(file); i++) {
        const char *name = nacre_state_dict_name(file, i);
        if (strcmp(name, "x") != 0 && strcmp(name, "y") != 0) {
            status = nacre_state_dict_add(weights, name, nacre_state_dict_find(file, name));
        }
    }
    status = status ? status : nacre_module_load_state(network, weights);
    nacre_state_dict_free(weights);
    return status;
}

static nacre_tensor *first_rows(const nacre_state_dict *file, const char *name, int64_t count) {
    nacre_tensor *all = nacre_state_dict_find(file, name);
    if (!all || nacre_size(all, 0) < count) {
        fprintf(stderr, "losses: the file has fewer than %lld rows of %s\n", (long long)count,
                name);
        exit(1);
    }
    nacre_shape shape = nacre_shape_of(all);
    shape.dims[0] = count;
    return nacre_from_data(nacre_data(all), .shape = shape, .dtype = nacre_dtype_of(all));
}

static int print_losses(nacre_cli_job *job, long steps) {
    for (long i = 0; i < steps; i++) {
        double loss;
        if (nacre_cli_job_run(job, NACRE_CLI_STEP, &loss) != NACRE_OK) {
            return fail("step");
        }
        printf("%.9g\n", loss);
        fflush(stdout); /* bench/run takes the time of the first line */
    }
    return 0;
}

static int print_outputs(nacre_cli_job *job) {
    nacre_tensor *y = nacre_predict(job->model, job->batch.inputs);
    const float *values = nacre_data(y);
    if (!values) {
        return fail("inference");
    }
    for (int64_t i = 0; i < nacre_numel(y); i++) {
        printf("%.9g\n", (double)values[i]);
    }
    return 0;
}

static int run(nacre_cli_job *job, const char *path, long steps, int64_t batch, bool infer) {
    nacre_state_dict *file = nacre_state_dict_load(path);
    if (!file || load_weights(nacre_model_network(job->model), file) != NACRE_OK) {
        nacre_state_dict_free(file);
        return fail(path);
    }
    job->batch.inputs = first_rows(file, "x", batch);
    job->batch.targets = first_rows(file, "y", batch);
    nacre_state_dict_free(file);
    return infer ? print_outputs(job) : print_losses(job, steps);
}

int main(int argc, char **argv) {
    const nacre_cli_workload *workload = argc > 1 ? nacre_cli_find_workload(argv[1]) : NULL;
    const char *path = NULL;
    long steps = 5;
    int64_t batch = workload ? workload->batch_size : 0;
    bool write = false, infer = false, bad = false;
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--steps") == 0 && i + 1 < argc) {
            steps = strtol(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--batch-size") == 0 && i + 1 < argc) {
            batch = strtol(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--write") == 0) {
            write = true;
        } else if (strcmp(argv[i], "--infer") == 0) {
            infer = true;
        } else {
            bad = bad || path;
            path = argv[i];
        }
    }
    if (!workload || !path || bad || steps < 1 || batch < 1) {
        fprintf(stderr, "usage: losses WORKLOAD [--write] FILE [--steps N] [--batch-size N] "
                        "[--infer]\n");
        return 2;
    }
    nacre_cli_job job;
    int failed = nacre_cli_job_make(workload, write ? batch : 1, 1, &job) != NACRE_OK
                     ? fail(workload->name)
                 : write ? write_sample(&job, path)
                         : run(&job, path, steps, batch, infer);
    nacre_cli_job_free(&job);
    return failed;
}
