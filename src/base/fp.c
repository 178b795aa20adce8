/* Floating-point mode of evaluations. */
#include "base/pool.h"

#if defined(__SSE__)

#include <xmmintrin.h>

/* MXCSR: Intel SDM volume 1, section 10.2.3. */
enum { DENORMALS_ARE_ZERO = 0x0040, EXCEPTION_MASKS = 0x1f80, ROUNDING = 0x6000, FLUSH = 0x8000 };

static unsigned long long get(void) { return _mm_getcsr(); }

static void set(unsigned long long mode) { _mm_setcsr((unsigned)mode); }

static unsigned long long ours(unsigned long long mode) {
    return (mode & ~(unsigned long long)ROUNDING) | EXCEPTION_MASKS | FLUSH | DENORMALS_ARE_ZERO;
}

#elif defined(__aarch64__)

/* FPCR: Arm ARM, C5.2.8. Bit 24 flushes inputs and results; bits 22-23 round; 8-12 and 15 trap. */
#define FLUSH (1ull << 24)
#define ROUNDING (3ull << 22)
#define TRAPS ((31ull << 8) | (1ull << 15))

static unsigned long long get(void) {
    unsigned long long mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    return mode;
}

static void set(unsigned long long mode) { __asm__ volatile("msr fpcr, %0" ::"r"(mode)); }

static unsigned long long ours(unsigned long long mode) {
    return (mode & ~(ROUNDING | TRAPS)) | FLUSH;
}

#else

static unsigned long long get(void) { return 0; }

static void set(unsigned long long mode) { (void)mode; }

static unsigned long long ours(unsigned long long mode) { return mode; }

#endif

/* Only the outermost sets the mode: that takes as long as a small kernel. */
static _Thread_local unsigned depth;

unsigned long long nacre_fp_enter(void) {
    if (depth++ > 0) {
        return 0;
    }
    unsigned long long before = get();
    set(ours(before));
    return before;
}

void nacre_fp_restore(unsigned long long mode) {
    if (--depth == 0) {
        set(mode);
    }
}
