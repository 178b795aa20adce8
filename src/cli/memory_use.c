#define _DEFAULT_SOURCE /* getrusage */
#include "cli/memory_use.h"

#include <math.h>
#include <stdio.h>
#include <sys/resource.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

/* Linux: VmHWM of /proc/self/status. getrusage also counts what the process was before exec, a large
   parent for instance, so it is only the way out. */
static double proc_peak(void) {
    FILE *file = fopen("/proc/self/status", "r");
    double bytes = NAN;
    char line[256];
    unsigned long long kilobytes;
    while (file && fgets(line, sizeof line, file)) {
        if (sscanf(line, "VmHWM: %llu kB", &kilobytes) == 1) {
            bytes = (double)kilobytes * 1024;
        }
    }
    if (file) {
        fclose(file);
    }
    return bytes;
}

double nacre_cli_peak_memory(void) {
    double bytes = proc_peak();
    struct rusage usage;
    if (isnan(bytes) && getrusage(RUSAGE_SELF, &usage) == 0) {
#ifdef __APPLE__
        bytes = (double)usage.ru_maxrss;
#else
        bytes = (double)usage.ru_maxrss * 1024;
#endif
    }
    return bytes;
}

void nacre_cli_keep_memory(void) {
#ifdef __GLIBC__
    mallopt(M_MMAP_MAX, 0);
    mallopt(M_TRIM_THRESHOLD, -1); /* as unsigned: never */
#endif
}
