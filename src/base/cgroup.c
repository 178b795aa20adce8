#define _POSIX_C_SOURCE 200809L

#include "base/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FILE_BYTES = 8192, PATH_BYTES = 4096 };

/* The start of a file as text; false when it cannot be read. These files are smaller than the buffer. */
static bool read_text(const char *path, char *text, size_t room) {
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return false;
    size_t used = 0;
    while (used < room - 1) {
        ssize_t got = read(file, text + used, room - 1 - used);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        used += (size_t)got;
    }
    close(file);
    text[used] = '\0';
    return used > 0;
}

/* CPUs of a quota per period, both in microseconds; 0 for "no limit" and for nonsense. */
static int quota_cpus(long long quota, long long period) {
    if (quota <= 0 || period <= 0) return 0;
    long long cpus = quota / period + (quota % period != 0);
    return cpus > INT_MAX ? 0 : (int)cpus;
}

static int smaller_limit(int a, int b) { return a == 0 ? b : b == 0 || a < b ? a : b; }

/* Version 2: "max 100000" or "50000 100000". */
static int limit_v2(const char *folder) {
    char path[PATH_BYTES + 32], text[128];
    snprintf(path, sizeof path, "%s/cpu.max", folder);
    if (!read_text(path, text, sizeof text)) return 0;
    char *end;
    long long quota = strtoll(text, &end, 10);
    if (end == text) return 0;
    return quota_cpus(quota, strtoll(end, NULL, 10));
}

/* Version 1: one number per file, -1 for no limit. */
static int limit_v1(const char *folder) {
    char path[PATH_BYTES + 32], text[128];
    snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", folder);
    if (!read_text(path, text, sizeof text)) return 0;
    long long quota = strtoll(text, NULL, 10);
    snprintf(path, sizeof path, "%s/cpu.cfs_period_us", folder);
    if (!read_text(path, text, sizeof text)) return 0;
    return quota_cpus(quota, strtoll(text, NULL, 10));
}

/* From mount/group upwards to mount. Inside a container the group's path may be the host's and not
   exist here; the limit is then at the mount point. */
static int limit_on_way(const char *mount, const char *group, int (*limit_at)(const char *folder)) {
    char folder[PATH_BYTES];
    int length = snprintf(folder, sizeof folder, "%s%s", mount, group);
    if (length < 0 || (size_t)length >= sizeof folder) return limit_at(mount);
    size_t shortest = strlen(mount);
    int limit = 0;
    for (;;) {
        limit = smaller_limit(limit, limit_at(folder));
        char *slash = strrchr(folder + shortest, '/');
        if (!slash) return limit;
        *slash = '\0';
    }
}

static bool lists_cpu(const char *controllers) {
    for (const char *name = controllers; *name;) {
        size_t length = strcspn(name, ",");
        if (length == 3 && memcmp(name, "cpu", 3) == 0) return true;
        name += length + (name[length] == ',');
    }
    return false;
}

/* One line "hierarchy:controllers:path"; version 2 has hierarchy 0 and no controllers. */
static int limit_of_line(const char *root, char *line) {
    char *controllers = strchr(line, ':');
    char *group = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!group) return 0;
    *controllers++ = '\0';
    *group++ = '\0';
    char mount[PATH_BYTES];
    if (*controllers == '\0') {
        snprintf(mount, sizeof mount, "%s/unified", root);
        return smaller_limit(limit_on_way(root, group, limit_v2),
                             limit_on_way(mount, group, limit_v2));
    }
    if (!lists_cpu(controllers)) return 0;
    snprintf(mount, sizeof mount, "%s/%s", root, controllers);
    int limit = limit_on_way(mount, group, limit_v1);
    snprintf(mount, sizeof mount, "%s/cpu", root);
    return smaller_limit(limit, limit_on_way(mount, group, limit_v1));
}

int nacre_cgroup_cpus(const char *membership, const char *root) {
    char text[FILE_BYTES];
    if (!read_text(membership, text, sizeof text)) return 0;
    int limit = 0;
    char *rest = text;
    while (*rest) {
        char *line = rest;
        rest += strcspn(rest, "\n");
        if (*rest) *rest++ = '\0';
        limit = smaller_limit(limit, limit_of_line(root, line));
    }
    return limit;
}
