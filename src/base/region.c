/* Address space reserved without access rights and opened from its start as it is needed. */
#ifndef _WIN32
#define _DEFAULT_SOURCE
#endif

#include "base/accounting.h"
#include "base/error.h"
#include "base/memory.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MAP_NORESERVE
#define MAP_NORESERVE 0
#endif

/* Below this a smaller reservation is not worth trying. */
enum { SMALLEST_RESERVATION = 1 << 20 };

static size_t page_bytes(void) {
    long bytes = sysconf(_SC_PAGESIZE);
    return bytes > 0 ? (size_t)bytes : 4096;
}

static bool round_to_pages(size_t bytes, size_t *rounded) {
    size_t page = page_bytes();
    if (!nacre_size_add(bytes, page - 1, rounded)) return false;
    *rounded -= *rounded % page;
    return true;
}

static void *reserve(size_t bytes) {
    void *base = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return base == MAP_FAILED ? NULL : base;
}

/* Where address space is limited (ulimit -v, small machines) a smaller region is better than none: the
   largest half, quarter, ... that is granted, halved once more to leave room for everything else. */
static void *reserve_less(size_t *bytes) {
    size_t smaller = *bytes / 2;
    for (; smaller >= SMALLEST_RESERVATION; smaller /= 2) {
        void *base = reserve(smaller);
        if (!base) continue;
        munmap(base, smaller);
        if (smaller / 2 >= SMALLEST_RESERVATION) smaller /= 2;
        if (!round_to_pages(smaller, bytes)) return NULL;
        return reserve(*bytes);
    }
    return NULL;
}

nacre_status nacre_region_reserve(nacre_region *region, size_t bytes) {
    *region = (nacre_region){0};
    size_t rounded;
    if (nacre_account_fails(bytes)) return NACRE_OUT_OF_MEMORY;
    if (!round_to_pages(bytes ? bytes : 1, &rounded)) {
        return nacre_fail(NACRE_OUT_OF_MEMORY, "out of memory: cannot reserve %zu bytes", bytes);
    }
    void *base = reserve(rounded);
    int reason = errno;
    if (!base) base = reserve_less(&rounded);
    if (!base) {
        return nacre_fail(NACRE_OUT_OF_MEMORY,
                          "out of memory: cannot reserve %zu bytes of address space: %s", bytes,
                          strerror(reason));
    }
    *region = (nacre_region){.base = base, .reserved = rounded, .limited = rounded < bytes};
    return NACRE_OK;
}

nacre_status nacre_region_grow(nacre_region *region, size_t bytes) {
    if (bytes <= region->committed) {
        nacre_account_arena(bytes);
        return NACRE_OK;
    }
    if (nacre_account_fails(bytes)) return NACRE_OUT_OF_MEMORY;
    if (bytes > region->reserved) {
        return nacre_fail(NACRE_OUT_OF_MEMORY, "out of memory: %zu bytes in a region of %zu%s",
                          bytes, region->reserved,
                          region->limited ? "; raise the limit on address space (ulimit -v)" : "");
    }
    size_t open, wanted;
    if (!round_to_pages(region->committed, &open) || !round_to_pages(bytes, &wanted)) {
        return nacre_fail(NACRE_OUT_OF_MEMORY, "out of memory: cannot grow to %zu bytes", bytes);
    }
    if (wanted > open &&
        mprotect(region->base + open, wanted - open, PROT_READ | PROT_WRITE) != 0) {
        return nacre_fail(NACRE_OUT_OF_MEMORY, "out of memory: cannot grow to %zu bytes: %s", bytes,
                          strerror(errno));
    }
    nacre_account_grow(bytes - region->committed, region->committed == 0, true);
    nacre_account_arena(bytes);
    region->committed = bytes;
    return NACRE_OK;
}

void nacre_region_release(nacre_region *region) {
    if (region->base) munmap(region->base, region->reserved);
    if (region->committed) nacre_account_shrink(region->committed, 1);
    *region = (nacre_region){0};
}
