/* Files laid below a folder as the kernel lays those of control groups. */
#ifndef NACRE_TESTS_BASE_GROUPS_H
#define NACRE_TESTS_BASE_GROUPS_H

#include "support.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* Makes the folders on the way to root/path too. */
static inline void write_below(const char *root, const char *path, const char *text) {
    char whole[4096];
    snprintf(whole, sizeof whole, "%s/%s", root, path);
    for (char *slash = whole + strlen(root) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        mkdir(whole, 0700);
        *slash = '/';
    }
    support_write(whole, text, strlen(text));
}

/* A new root with `count` files, or fewer where NULL ends them (path below the root, content, ...), and a
   file `membership`, which stands for /proc/self/cgroup. */
static inline const char *write_groups(const char *membership, const char *const *files,
                                       size_t count) {
    const char *root = support_folder();
    for (size_t i = 0; i < count && files[2 * i]; i++)
        write_below(root, files[2 * i], files[2 * i + 1]);
    write_below(root, "membership", membership);
    return root;
}

#endif
