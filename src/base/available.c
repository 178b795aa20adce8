#define _DEFAULT_SOURCE /* sysconf's names beside POSIX's */

#include "base/available.h"

#include "base/cgroup.h"

#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

size_t nacre_meminfo_available(const char *path) {
    FILE *file = fopen(path, "r");
    char line[256];
    unsigned long long kilobytes;
    size_t bytes = SIZE_MAX;
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "MemAvailable: %llu kB", &kilobytes) == 1 && kilobytes < SIZE_MAX / 1024)
            bytes = (size_t)kilobytes * 1024;
    if (file) fclose(file);
    return bytes;
}

static size_t physical_memory(void) {
#ifdef _SC_PHYS_PAGES
    long pages = sysconf(_SC_PHYS_PAGES), bytes = sysconf(_SC_PAGESIZE);
    if (pages > 0 && bytes > 0 && (size_t)pages <= SIZE_MAX / (size_t)bytes)
        return (size_t)pages * (size_t)bytes;
#endif
    return SIZE_MAX;
}

size_t nacre_available_memory(void) {
    size_t left = nacre_meminfo_available("/proc/meminfo");
    left = left == SIZE_MAX ? physical_memory() : left;
    size_t group = nacre_cgroup_memory("/proc/self/cgroup", "/sys/fs/cgroup");
    return group < left ? group : left;
}
