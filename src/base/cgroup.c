#define _POSIX_C_SOURCE 200809L

#include "base/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FILE_BYTES = 8192, PATH_BYTES = 4096 };
static const long long no_limit = LLONG_MAX;

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

static long long smaller(long long a, long long b) { return a < b ? a : b; }

/* What a folder of the tree says, no_limit if nothing. */
typedef long long limit_reader(const char *folder);

static bool read_of(const char *folder, const char *name, char *text, size_t room) {
    char path[PATH_BYTES + 64];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return read_text(path, text, room);
}

/* ---- CPUs ---- */

/* CPUs of a quota per period, both in microseconds; nonsense is no limit. */
static long long quota_cpus(long long quota, long long period) {
    if (quota <= 0 || period <= 0) return no_limit;
    return quota / period + (quota % period != 0);
}

/* Version 2: "max 100000" or "50000 100000". */
static long long cpus_v2(const char *folder) {
    char text[128], *end;
    if (!read_of(folder, "cpu.max", text, sizeof text)) return no_limit;
    long long quota = strtoll(text, &end, 10);
    return end == text ? no_limit : quota_cpus(quota, strtoll(end, NULL, 10));
}

/* Version 1: one number per file, -1 for no limit. */
static long long cpus_v1(const char *folder) {
    char text[128];
    if (!read_of(folder, "cpu.cfs_quota_us", text, sizeof text)) return no_limit;
    long long quota = strtoll(text, NULL, 10);
    if (!read_of(folder, "cpu.cfs_period_us", text, sizeof text)) return no_limit;
    return quota_cpus(quota, strtoll(text, NULL, 10));
}

/* ---- memory ---- */

/* The number of the line "name N" of memory.stat, 0 if there is none. */
static long long statistic(const char *folder, const char *name) {
    char text[FILE_BYTES];
    size_t length = strlen(name);
    if (!read_of(folder, "memory.stat", text, sizeof text)) return 0;
    for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n')
        if (strncmp(line, name, length) == 0 && line[length] == ' ')
            return strtoll(line + length, NULL, 10);
    return 0;
}

/* What is left of `limit` beside what the group uses. Pages of files that were not used of late count as left: the
   kernel takes them back before it ends anyone. */
static long long left_of(const char *folder, const char *limit, const char *usage,
                         const char *reclaimable) {
    char text[128], *end;
    if (!read_of(folder, limit, text, sizeof text)) return no_limit;
    long long most = strtoll(text, &end, 10);
    if (end == text || most < 0 || !read_of(folder, usage, text, sizeof text)) return no_limit;
    long long used = strtoll(text, NULL, 10), idle = statistic(folder, reclaimable);
    used = idle > 0 && idle < used ? used - idle : used;
    return used < most ? most - used : 0;
}

static long long memory_v2(const char *folder) {
    return left_of(folder, "memory.max", "memory.current", "inactive_file");
}

static long long memory_v1(const char *folder) {
    return left_of(folder, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file");
}

/* ---- the way up ---- */

/* From mount/group upwards to mount. Inside a container the group's path may be the host's and not
   exist here; the limit is then at the mount point. */
static long long limit_on_way(const char *mount, const char *group, limit_reader *limit_at) {
    char folder[PATH_BYTES];
    int length = snprintf(folder, sizeof folder, "%s%s", mount, group);
    if (length < 0 || (size_t)length >= sizeof folder) return limit_at(mount);
    size_t shortest = strlen(mount);
    long long limit = no_limit;
    for (;;) {
        limit = smaller(limit, limit_at(folder));
        char *slash = strrchr(folder + shortest, '/');
        if (!slash) return limit;
        *slash = '\0';
    }
}

typedef struct controller {
    const char *name;
    limit_reader *v1, *v2;
} controller;

static bool lists(const char *controllers, const char *wanted) {
    for (const char *name = controllers; *name;) {
        size_t length = strcspn(name, ",");
        if (length == strlen(wanted) && memcmp(name, wanted, length) == 0) return true;
        name += length + (name[length] == ',');
    }
    return false;
}

/* One line "hierarchy:controllers:path"; version 2 has hierarchy 0 and no controllers. */
static long long limit_of_line(const char *root, char *line, const controller *of) {
    char *controllers = strchr(line, ':');
    char *group = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!group) return no_limit;
    *controllers++ = '\0';
    *group++ = '\0';
    char mount[PATH_BYTES];
    if (*controllers == '\0') {
        snprintf(mount, sizeof mount, "%s/unified", root);
        return smaller(limit_on_way(root, group, of->v2), limit_on_way(mount, group, of->v2));
    }
    if (!lists(controllers, of->name)) return no_limit;
    snprintf(mount, sizeof mount, "%s/%s", root, controllers);
    long long limit = limit_on_way(mount, group, of->v1);
    snprintf(mount, sizeof mount, "%s/%s", root, of->name);
    return smaller(limit, limit_on_way(mount, group, of->v1));
}

static long long find_limit(const char *membership, const char *root, const controller *of) {
    char text[FILE_BYTES];
    if (!read_text(membership, text, sizeof text)) return no_limit;
    long long limit = no_limit;
    char *rest = text;
    while (*rest) {
        char *line = rest;
        rest += strcspn(rest, "\n");
        if (*rest) *rest++ = '\0';
        limit = smaller(limit, limit_of_line(root, line, of));
    }
    return limit;
}

int nacre_cgroup_cpus(const char *membership, const char *root) {
    long long cpus = find_limit(membership, root, &(controller){"cpu", cpus_v1, cpus_v2});
    return cpus > INT_MAX ? 0 : (int)cpus;
}

size_t nacre_cgroup_memory(const char *membership, const char *root) {
    long long left = find_limit(membership, root, &(controller){"memory", memory_v1, memory_v2});
    return left == no_limit || (unsigned long long)left > SIZE_MAX ? SIZE_MAX : (size_t)left;
}
