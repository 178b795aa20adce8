/* How much memory is left: of the machine, and below the limits of control groups. */
#include "groups.h"
#include "support.h"

#include "base/available.h"
#include "base/cgroup.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef struct group_case {
    const char *what;
    const char *membership; /* /proc/self/cgroup */
    const char *files[12];  /* path below the root, content, ..., NULL */
    size_t left;
} group_case;

static const group_case groups[] = {
    {"version 2 without a limit",
     "0::/a\n",
     {"a/memory.max", "max\n", "a/memory.current", "5000\n"},
     SIZE_MAX},
    {"version 2", "0::/a\n", {"a/memory.max", "9000\n", "a/memory.current", "5000\n"}, 4000},
    {"cached files can be given up",
     "0::/a\n",
     {"a/memory.max", "9000\n", "a/memory.current", "5000\n", "a/memory.stat",
      "anon 1000\nfile 4000\nactive_file 500\ninactive_file 3500\n"},
     7500},
    {"more cache than use is nonsense",
     "0::/a\n",
     {"a/memory.max", "9000\n", "a/memory.current", "5000\n", "a/memory.stat",
      "inactive_file 6000\n"},
     4000},
    {"the limit is used up",
     "0::/a\n",
     {"a/memory.max", "9000\n", "a/memory.current", "9500\n"},
     0},
    {"the parent has less left",
     "0::/a/b\n",
     {"a/b/memory.max", "9000\n", "a/b/memory.current", "1000\n", "a/memory.max", "12000\n",
      "a/memory.current", "11000\n"},
     1000},
    {"the path is the host's",
     "0::/host/path\n",
     {"memory.max", "700\n", "memory.current", "300\n"},
     400},
    {"version 1",
     "5:cpu:/\n4:memory:/a\n",
     {"memory/a/memory.limit_in_bytes", "8000\n", "memory/a/memory.usage_in_bytes", "5000\n",
      "memory/a/memory.stat", "inactive_file 7\ntotal_inactive_file 2000\n"},
     5000},
    {"version 1 without a limit",
     "4:memory:/\n",
     {"memory/memory.limit_in_bytes", "9223372036854771712\n", "memory/memory.usage_in_bytes",
      "0\n"},
     9223372036854771712u},
    {"the use is not told", "0::/a\n", {"a/memory.max", "9000\n"}, SIZE_MAX},
    {"nonsense",
     "x\n::\n0::/a\n",
     {"a/memory.max", "-5\n", "a/memory.current", "1\n", "memory.max", "lots\n"},
     SIZE_MAX},
    {"another controller",
     "4:cpu:/a\n",
     {"cpu/a/memory.limit_in_bytes", "8000\n", "cpu/a/memory.usage_in_bytes", "5000\n"},
     SIZE_MAX},
};

static void a_groups_limit_leaves_what_it_does_not_use(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
        const group_case *c = &groups[i];
        const char *root = write_groups(c->membership, c->files, 6);
        size_t left = nacre_cgroup_memory(support_path(root, "membership"), root);
        if (left != c->left) fail_msg("%s: %zu, expected %zu", c->what, left, c->left);
    }
    assert_true(nacre_cgroup_memory("/nowhere/cgroup", "/nowhere") == SIZE_MAX);
}

static void the_machine_says_what_it_has_left(void **state) {
    (void)state;
    const char *root = support_folder();
    write_below(root, "meminfo", "MemTotal:  24684100 kB\nMemAvailable:   1000 kB\nCached: 7 kB\n");
    assert_int_equal(nacre_meminfo_available(support_path(root, "meminfo")), 1024000);
    write_below(root, "old", "MemTotal: 24684100 kB\nMemFree: 21555096 kB\n");
    assert_true(nacre_meminfo_available(support_path(root, "old")) == SIZE_MAX);
    write_below(root, "huge", "MemAvailable: 18446744073709551615 kB\n");
    assert_true(nacre_meminfo_available(support_path(root, "huge")) == SIZE_MAX);
    assert_true(nacre_meminfo_available("/nowhere/meminfo") == SIZE_MAX);
    assert_true(nacre_available_memory() > 1 << 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_groups_limit_leaves_what_it_does_not_use),
        cmocka_unit_test(the_machine_says_what_it_has_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
