/* Limits on CPUs and memory that a container or service manager sets. */
#ifndef NACRE_BASE_CGROUP_H
#define NACRE_BASE_CGROUP_H

#include <stddef.h>

/* The smallest CPU quota on the way from this process's control group to the root, rounded up to whole
   CPUs; 0 when there is none. `membership` is /proc/self/cgroup, `root` /sys/fs/cgroup (arguments for
   tests). Versions 1 and 2 of cgroups, also mounted side by side. */
int nacre_cgroup_cpus(const char *membership, const char *root);

/* The same of memory: the least that is left below a limit, in bytes; SIZE_MAX when there is none. */
size_t nacre_cgroup_memory(const char *membership, const char *root);

#endif
