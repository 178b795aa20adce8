/* What a benchmark says that it needs of memory is what it takes, at least and not much more. */
#include "support.h"

#include "cli/need.c"
#include "cli/workloads.c"

#include <nacre/system.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct need_case {
    const char *workload;
    nacre_cli_sizes sizes;
    int64_t batch;
} need_case;

static nacre_cli_workload sized(const need_case *c) {
    nacre_cli_workload workload = *nacre_cli_find_workload(c->workload);
    nacre_cli_resize_workload(&workload, &c->sizes);
    return workload;
}

static double count_parameters(const nacre_module *network) {
    double count = 0;
    for (size_t i = 0; i < nacre_module_parameter_count(network); i++) {
        count += (double)nacre_numel(nacre_module_parameter_at(network, i));
    }
    return count;
}

static void test_parameters_are_counted_without_making_them(void **state) {
    (void)state;
    static const need_case cases[] = {
        {"mlp", {0}, 1},       {"mlp", {8, 1, 0}, 1},   {"mlp", {40, 5, 0}, 1}, {"lenet", {0}, 1},
        {"vit", {0}, 1},       {"vit", {4, 1, 0}, 1},   {"vit", {12, 3, 0}, 1}, {"gpt", {0}, 1},
        {"gpt", {4, 1, 1}, 1}, {"gpt", {20, 2, 33}, 1}, {"resnet20", {0}, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        nacre_cli_workload workload = sized(&cases[i]);
        nacre_cli_job job;
        assert_int_equal(nacre_cli_job_make_model(&workload, 1, 1, &job), NACRE_OK);
        double count = count_parameters(nacre_model_network(job.model));
        if (count != workload.parameters(&workload.sizes)) {
            fail_msg("case %zu: %s has %.0f parameters, not %.0f", i, workload.name, count,
                     workload.parameters(&workload.sizes));
        }
        nacre_cli_job_free(&job);
    }
}

/* Bytes said and taken by a training benchmark. */
static int measure(const need_case *c, double *said, double *taken) {
    const nacre_cli_parts parts =
        1U << NACRE_CLI_FORWARD | 1U << NACRE_CLI_BACKWARD | 1U << NACRE_CLI_STEP;
    nacre_cli_workload workload = sized(c);
    nacre_cli_need need = nacre_cli_need_of(&workload, c->batch, parts);
    nacre_cli_job job;
    nacre_status status = nacre_cli_job_make_within(&workload, c->batch, parts, &job);
    status = status ? status : add_plans(&job, parts, &need);
    for (int round = 0; round < 2; round++) {
        for (int part = NACRE_CLI_FORWARD; part <= NACRE_CLI_STEP; part++) {
            status = status ? status : nacre_cli_job_run(&job, (nacre_cli_part)part, NULL);
        }
    }
    *said = need.weights + need.samples + need.arena + need.results;
    *taken = (double)nacre_memory().peak_bytes;
    return status == NACRE_OK;
}

/* Arenas stay, so each case has a process of its own; the parent must not have made threads yet. */
static void test_what_is_said_is_what_is_taken(void **state) {
    (void)state;
    static const need_case cases[] = {
        {"gpt", {256, 2, 64}, 4},
        {"mlp", {768, 4, 0}, 64},
        {"vit", {128, 2, 0}, 128},
#ifndef NACRE_TEST_EMULATED
        {"resnet20", {0}, 64},
#endif
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fflush(NULL);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            double said = 0, taken = 1;
            int good = measure(&cases[i], &said, &taken) && taken < said + besides &&
                       taken < 1.1 * said && said < 1.5 * taken;
            if (!good) {
                fprintf(stderr, "%s: %.1f MB said, %.1f MB taken: %s\n", cases[i].workload,
                        said * 1e-6, taken * 1e-6, nacre_error_message());
            }
            _exit(!good);
        }
        int ended = -1;
        waitpid(child, &ended, 0);
        assert_true(WIFEXITED(ended) && WEXITSTATUS(ended) == 0);
    }
}

static void test_what_does_not_fit_is_refused_before_it_is_made(void **state) {
    (void)state;
    nacre_cli_workload workload = sized(&(need_case){"vit", {64, 4, 0}, 1});
    nacre_cli_need need = nacre_cli_need_of(&workload, 1, 1U << NACRE_CLI_STEP);
    need.left = need.weights + need.samples + besides;
    assert_int_equal(nacre_cli_need_check(&need, "vit", "--width"), NACRE_OK);
    need.left -= 1;
    assert_int_equal(nacre_cli_need_check(&need, "vit", "--width"), NACRE_OUT_OF_MEMORY);
    assert_non_null(strstr(nacre_error_message(), "lower --width"));
    need.left = (double)SIZE_MAX; /* the system does not tell */
    need.arena = 1e18;
    assert_int_equal(nacre_cli_need_check(&need, "vit", "--width"), NACRE_OK);
    size_t before = nacre_memory().live_bytes;
    nacre_cli_job job;
    const need_case huge = {"gpt",
                            {NACRE_CLI_MOST_WIDTH, NACRE_CLI_MOST_DEPTH, NACRE_CLI_MOST_LENGTH},
                            NACRE_CLI_MOST_SAMPLES};
    workload = sized(&huge);
    need = nacre_cli_need_of(&workload, huge.batch, 1U << NACRE_CLI_STEP);
    assert_true(need.weights > 1e11 && need.samples > 1e10);
    if (need.weights > need.left) {
        assert_int_equal(
            nacre_cli_job_make_within(&workload, huge.batch, 1U << NACRE_CLI_STEP, &job),
            NACRE_OUT_OF_MEMORY);
        assert_non_null(strstr(nacre_error_message(),
                               "lower --batch-size, --width, --depth or --sequence-length"));
        assert_true(nacre_memory().live_bytes == before);
        nacre_cli_job_free(&job);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_said_is_what_is_taken),
        cmocka_unit_test(test_parameters_are_counted_without_making_them),
        cmocka_unit_test(test_what_does_not_fit_is_refused_before_it_is_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
