/* The programs of docs/guide.md compile without a warning and do what they say. */
#define _POSIX_C_SOURCE 200809L

#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char source[4096], build[4096];

static int group_begin(void **state) {
    (void)state;
    const char *root = getenv("NACRE_SOURCE");
    if (!root) {
        print_message("set NACRE_SOURCE to the repository's root, or run the test with ctest\n");
        return 1;
    }
    snprintf(source, sizeof source, "%s", root);
    snprintf(build, sizeof build, "%s", support_program());
    char *slash = strrchr(build, '/');
    if (slash) {
        *slash = '\0';
    }
    return 0;
}

static support_result shell(const char *format, const char *folder) {
    static char command[32768];
    snprintf(command, sizeof command, format, folder, source, build, build);
    return support_run((const char *const[]){"/bin/sh", "-c", command, NULL});
}

static bool have_compiler(void) {
    support_result r =
        support_run((const char *const[]){"/bin/sh", "-c", "command -v ${CC:-cc}", NULL});
    bool found = r.status == 0;
    support_run_free(&r);
    return found;
}

/* Compiles one program; runs it where it links: a sanitized or foreign library does not. */
static void check_program(const char *text, size_t size, int number) {
    const char *folder = support_folder();
    support_write(support_path(folder, "program.c"), text, size);
    support_result r = shell("cd '%s' && ${CC:-cc} -std=c17 -Wall -Wextra -Wpedantic -Werror "
                             "-I'%s/include' -c program.c -o program.o",
                             folder);
    if (r.status != 0) {
        fail_msg("program %d of the guide does not compile:\n%s", number, r.err);
    }
    support_run_free(&r);
    r = shell("cd '%s' && : '%s' && ${CC:-cc} program.o -L'%s' -lnacre -Wl,-rpath,'%s' -o program",
              folder);
    bool linked = r.status == 0;
    support_run_free(&r);
    if (!linked) {
        print_message("program %d is not run: this build's library does not link alone\n", number);
        return;
    }
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return; /* the sanitizer's runtime would have to be linked into the program too */
#endif
    r = shell("cd '%s' && ./program", folder);
    if (r.status != 0) {
        fail_msg("program %d of the guide ends with %d:\n%s%s", number, r.status, r.out, r.err);
    }
    support_run_free(&r);
}

static void every_program_of_the_guide_runs(void **state) {
    (void)state;
    if (!have_compiler()) {
        print_message("skipped: no C compiler here\n");
        skip();
    }
    char *guide = support_read(support_path(source, "docs/guide.md"), NULL);
    int programs = 0;
    for (char *at = guide; (at = strstr(at, "```c\n")) != NULL;) {
        char *start = at + strlen("```c\n"), *end = strstr(start, "\n```");
        assert_non_null(end);
        *end = '\0';
        if (strstr(start, "int main(")) {
            check_program(start, strlen(start), ++programs);
        }
        at = end + 1;
    }
    free(guide);
    assert_true(programs >= 8);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_program_of_the_guide_runs),
    };
    return cmocka_run_group_tests(tests, group_begin, NULL);
}
