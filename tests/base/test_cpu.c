/* Kernel levels, usable CPUs, control groups, floating-point mode, cancellation. */
#define _DEFAULT_SOURCE

#include "child.h"
#include "groups.h"
#include "support.h"

#include "base/cancel.h"
#include "base/cgroup.h"
#include "base/clock.h"
#include "base/cpu.h"
#include "base/pool.h"

#include <nacre/system.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int lines;
static char last_line[1024];

static void collect(void *user, const char *line) {
    (void)user;
    lines++;
    snprintf(last_line, sizeof last_line, "%s", line);
    nacre_isa(); /* a sink may use the library */
}

static int level_is_portable(void) { return strcmp(nacre_isa(), "portable") != 0; }

static int bad_level_is_ignored(void) {
    nacre_set_log(collect, NULL);
    const char *level = nacre_isa();
    if (lines != 1 || !strstr(last_line, "NACRE_ISA=avx9000 ") || !strstr(last_line, "portable"))
        return 1;
    nacre_isa_in_use();
    nacre_set_isa(NULL);
    return lines != 1 || strcmp(level, nacre_isa()) != 0;
}

static void the_environment_forces_a_level(void **state) {
    (void)state;
    const char *before = getenv("NACRE_ISA");
    char kept[64] = "";
    if (before) snprintf(kept, sizeof kept, "%s", before);
    setenv("NACRE_ISA", "portable", 1);
    assert_int_equal(in_child(level_is_portable), 0);
    setenv("NACRE_ISA", "avx9000", 1);
    assert_int_equal(in_child(bad_level_is_ignored), 0);
    if (before)
        setenv("NACRE_ISA", kept, 1);
    else
        unsetenv("NACRE_ISA");
}

static void every_level_of_this_machine_can_be_chosen(void **state) {
    (void)state;
    assert_true(nacre_isa_supported(NACRE_ISA_PORTABLE));
    nacre_isa_level before = nacre_isa_in_use(), best = NACRE_ISA_PORTABLE;
    for (int i = 0; i < NACRE_ISA_COUNT; i++) {
        nacre_isa_level level = (nacre_isa_level)i;
        nacre_status status = nacre_set_isa(nacre_isa_name(level));
        assert_int_equal(status, nacre_isa_supported(level) ? NACRE_OK : NACRE_UNSUPPORTED);
        if (status != NACRE_OK) continue;
        best = level;
        assert_int_equal(nacre_isa_in_use(), level);
        assert_string_equal(nacre_isa(), nacre_isa_name(level));
    }
    assert_int_equal(nacre_set_isa(NULL), NACRE_OK);
    assert_int_equal(nacre_isa_in_use(), best);
    assert_int_equal(nacre_set_isa(nacre_isa_name(before)), NACRE_OK);
}

static void an_unknown_level_is_refused_naming_the_known(void **state) {
    (void)state;
    const char *level = nacre_isa();
    assert_int_equal(nacre_set_isa("sse2"), NACRE_UNSUPPORTED);
    assert_non_null(strstr(nacre_error_message(), "sse2"));
    assert_non_null(strstr(nacre_error_message(), "portable"));
    assert_int_equal(nacre_set_isa(""), NACRE_UNSUPPORTED);
    assert_string_equal(nacre_isa(), level);
    assert_string_equal(nacre_isa_name((nacre_isa_level)77), "unknown");
}

static void there_is_a_usable_cpu(void **state) {
    (void)state;
    int cpus = nacre_usable_cpus();
    assert_in_range(cpus, 1, 65536);
    assert_true(cpus <= sysconf(_SC_NPROCESSORS_CONF));
}

typedef struct group_case {
    const char *what;
    const char *membership; /* /proc/self/cgroup */
    const char *files[8];   /* path below the root, content, ..., NULL */
    int cpus;
} group_case;

static const group_case groups[] = {
    {"no limit anywhere", "0::/a\n", {"a/cpu.max", "max 100000\n"}, 0},
    {"version 2", "0::/a\n", {"a/cpu.max", "200000 100000\n"}, 2},
    {"half a CPU is one thread", "0::/a\n", {"a/cpu.max", "50000 100000\n"}, 1},
    {"one and a half are two", "0::/a\n", {"a/cpu.max", "150000 100000\n"}, 2},
    {"the parent's limit counts too",
     "0::/a/b\n",
     {"a/b/cpu.max", "400000 100000\n", "a/cpu.max", "300000 100000\n"},
     3},
    {"the child's limit is smaller",
     "0::/a/b\n",
     {"a/b/cpu.max", "100000 100000\n", "a/cpu.max", "300000 100000\n"},
     1},
    {"the path is the host's", "0::/host/path\n", {"cpu.max", "500000 100000\n"}, 5},
    {"the root group", "0::/\n", {"cpu.max", "600000 100000\n"}, 6},
    {"version 1",
     "3:cpuset:/\n2:cpu,cpuacct:/a\n",
     {"cpu,cpuacct/a/cpu.cfs_quota_us", "700000\n", "cpu,cpuacct/a/cpu.cfs_period_us", "100000\n"},
     7},
    {"version 1 under its short name",
     "2:cpuacct,cpu:/a\n",
     {"cpu/a/cpu.cfs_quota_us", "200000\n", "cpu/a/cpu.cfs_period_us", "50000\n"},
     4},
    {"version 1 without a limit",
     "1:cpu:/\n",
     {"cpu/cpu.cfs_quota_us", "-1\n", "cpu/cpu.cfs_period_us", "100000\n"},
     0},
    {"cpuset is not cpu",
     "1:cpuset:/\n",
     {"cpuset/cpu.cfs_quota_us", "100000\n", "cpuset/cpu.cfs_period_us", "100000\n"},
     0},
    {"both versions",
     "1:name=systemd:/\n2:cpu:/a\n0::/b\n",
     {"cpu/a/cpu.cfs_quota_us", "300000\n", "cpu/a/cpu.cfs_period_us", "100000\n",
      "unified/b/cpu.max", "200000 100000\n"},
     2},
    {"nonsense", "x\n0::\n::\n0::/a\n", {"a/cpu.max", "many\n", "cpu.max", "100000\n"}, 0},
    {"a period of zero", "0::/a\n", {"a/cpu.max", "100000 0\n"}, 0},
    {"a quota beyond every machine", "0::/a\n", {"a/cpu.max", "9000000000000000000 1\n"}, 0},
    {"an empty file", "", {NULL}, 0},
};

static void a_containers_cpu_limit_is_respected(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
        const group_case *c = &groups[i];
        const char *root = write_groups(c->membership, c->files, 4);
        int cpus = nacre_cgroup_cpus(support_path(root, "membership"), root);
        if (cpus != c->cpus) fail_msg("%s: %d, expected %d", c->what, cpus, c->cpus);
    }
    assert_int_equal(nacre_cgroup_cpus("/nowhere/cgroup", "/nowhere"), 0);
}

static void an_evaluation_flushes_denormals_and_restores_the_mode(void **state) {
    (void)state;
    volatile float tiny = 1e-38f, third = 1.0f / 3;
    volatile float before = tiny * third;
    assert_true(before > 0);
    unsigned long long mode = nacre_fp_enter();
    volatile float inside = tiny * third, zero = before * 1e30f;
    unsigned long long nested = nacre_fp_enter();
    nacre_fp_restore(nested);
    volatile float still = tiny * third;
    nacre_fp_restore(mode);
    volatile float after = tiny * third;
#if defined(__x86_64__) || defined(__aarch64__)
    assert_true(inside == 0 && still == 0 && zero == 0);
#else
    (void)inside, (void)still, (void)zero;
#endif
    assert_true(after == before);
}

static void on_signal(int number) {
    (void)number;
    nacre_cancel(true);
}

static void a_signal_handler_can_cancel(void **state) {
    (void)state;
    assert_false(nacre_cancelled());
    signal(SIGUSR1, on_signal);
    raise(SIGUSR1);
    assert_true(nacre_cancelled());
    nacre_cancel(false);
    assert_false(nacre_cancelled());
    signal(SIGUSR1, SIG_DFL);
}

static void time_does_not_run_backwards(void **state) {
    (void)state;
    uint64_t before = nacre_clock_ns();
    for (int i = 0; i < 1000; i++) {
        uint64_t now = nacre_clock_ns();
        assert_true(now >= before);
        before = now;
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_environment_forces_a_level), /* first: the level is chosen once */
        cmocka_unit_test(every_level_of_this_machine_can_be_chosen),
        cmocka_unit_test(an_unknown_level_is_refused_naming_the_known),
        cmocka_unit_test(there_is_a_usable_cpu),
        cmocka_unit_test(a_containers_cpu_limit_is_respected),
        cmocka_unit_test(an_evaluation_flushes_denormals_and_restores_the_mode),
        cmocka_unit_test(a_signal_handler_can_cancel),
        cmocka_unit_test(time_does_not_run_backwards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
