#ifdef __linux__
#define _GNU_SOURCE
#else
#define _POSIX_C_SOURCE 200809L
#endif

#include "base/cpu.h"

#include "base/cgroup.h"
#include "base/error.h"
#include "base/log.h"
#include "base/thread.h"

#include <nacre/system.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef __linux__
#include <sched.h>
#endif

enum { NAMES_BYTES = 64 };

static const char *const names[NACRE_ISA_COUNT] = {
    [NACRE_ISA_PORTABLE] = "portable",
    [NACRE_ISA_AVX2] = "avx2",
    [NACRE_ISA_AVX512] = "avx512",
    [NACRE_ISA_NEON] = "neon",
};

static nacre_once once = NACRE_ONCE_INIT;
static nacre_isa_level best_level;
static atomic_int level_in_use;
static char bad_environment[32]; /* what NACRE_ISA said if it is no level of this machine */
static atomic_bool complain;

/* The compiler's run-time support also asks the operating system, through XGETBV, whether it saves the
   wide registers. */
static bool cpu_has(nacre_isa_level level) {
    switch (level) {
    case NACRE_ISA_PORTABLE:
        return true;
#if defined(__x86_64__) && defined(NACRE_BUILD_AVX2)
    case NACRE_ISA_AVX2:
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
#if defined(__x86_64__) && defined(NACRE_BUILD_AVX512)
    case NACRE_ISA_AVX512:
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
#if defined(__aarch64__) && defined(NACRE_BUILD_NEON)
    case NACRE_ISA_NEON:
        return true; /* part of the architecture */
#endif
    default:
        return false;
    }
}

bool nacre_isa_supported(nacre_isa_level level) {
#if defined(__x86_64__)
    __builtin_cpu_init();
#endif
    return cpu_has(level);
}

const char *nacre_isa_name(nacre_isa_level level) {
    return (unsigned)level < NACRE_ISA_COUNT ? names[level] : "unknown";
}

static const char *known_names(char text[NAMES_BYTES]) {
    size_t used = 0;
    for (int i = 0; i < NACRE_ISA_COUNT; i++) {
        if (!nacre_isa_supported((nacre_isa_level)i)) continue;
        int length = snprintf(text + used, NAMES_BYTES - used, "%s%s", used ? ", " : "", names[i]);
        if (length > 0) used += (size_t)length;
    }
    return text;
}

/* false when the name is unknown or its level cannot run here. */
static bool level_of_name(const char *name, nacre_isa_level *level) {
    for (int i = 0; i < NACRE_ISA_COUNT; i++) {
        if (strcmp(name, names[i]) != 0) continue;
        *level = (nacre_isa_level)i;
        return nacre_isa_supported(*level);
    }
    return false;
}

static void choose_level(void) {
    for (int i = 0; i < NACRE_ISA_COUNT; i++) {
        if (nacre_isa_supported((nacre_isa_level)i)) best_level = (nacre_isa_level)i;
    }
    nacre_isa_level level = best_level;
    const char *wanted = getenv("NACRE_ISA");
    if (wanted && *wanted && !level_of_name(wanted, &level)) {
        level = best_level;
        snprintf(bad_environment, sizeof bad_environment, "%s", wanted);
        atomic_store(&complain, true);
    }
    atomic_store(&level_in_use, (int)level);
}

static void prepare(void) {
    nacre_call_once(&once, choose_level);
    /* Not while once runs: the program's log sink may ask for the level. */
    if (atomic_load_explicit(&complain, memory_order_relaxed) &&
        atomic_exchange(&complain, false)) {
        char text[NAMES_BYTES];
        nacre_log("NACRE_ISA=%s is ignored: this machine and build have %s", bad_environment,
                  known_names(text));
    }
}

nacre_isa_level nacre_isa_in_use(void) {
    prepare();
    return (nacre_isa_level)atomic_load_explicit(&level_in_use, memory_order_relaxed);
}

const char *nacre_isa(void) { return nacre_isa_name(nacre_isa_in_use()); }

nacre_status nacre_set_isa(const char *name) {
    prepare();
    nacre_isa_level level = best_level;
    if (name && !level_of_name(name, &level)) {
        char text[NAMES_BYTES];
        return nacre_fail(NACRE_UNSUPPORTED,
                          "set_isa: no kernel level '%s' here: this machine and build have %s",
                          name, known_names(text));
    }
    atomic_store(&level_in_use, (int)level);
    return NACRE_OK;
}

/* CPUs in the affinity mask, 0 when the system does not tell. */
static int affinity_cpus(void) {
#ifdef __linux__
    /* The kernel refuses a mask that is smaller than its own: room for 65,536 CPUs. */
    cpu_set_t sets[65536 / CPU_SETSIZE];
    memset(sets, 0, sizeof sets);
    if (sched_getaffinity(0, sizeof sets, sets) == 0) return CPU_COUNT_S(sizeof sets, sets);
#endif
    return 0;
}

int nacre_usable_cpus(void) {
    int cpus = affinity_cpus();
#ifdef _SC_NPROCESSORS_ONLN
    if (cpus < 1) cpus = (int)sysconf(_SC_NPROCESSORS_ONLN);
#endif
    if (cpus < 1) cpus = 1;
    int limit = nacre_cgroup_cpus("/proc/self/cgroup", "/sys/fs/cgroup");
    return limit > 0 && limit < cpus ? limit : cpus;
}
