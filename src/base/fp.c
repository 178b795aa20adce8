/* Floating-point mode of evaluations. */
#include "base/pool.h"

#if defined(__SSE__)

#include <xmmintrin.h>

/* MXCSR: Intel SDM volume 1, section 10.2.3. */
enum { DENORMALS_ARE_ZERO = 0x0040, EXCEPTION_MASKS = 0x1f80, ROUNDING = 0x6000, FLUSH = 0x8000 };

unsigned long long nacre_fp_enter(void) {
    unsigned before = _mm_getcsr();
    unsigned ours = (before & ~(unsigned)ROUNDING) | EXCEPTION_MASKS | FLUSH | DENORMALS_ARE_ZERO;
    if (before != ours) { /* setting it takes as long as a small kernel */
        _mm_setcsr(ours);
    }
    return before;
}

/* Where the mode is that already, flags of exceptions stay raised. */
void nacre_fp_restore(unsigned long long mode) {
    const unsigned flags = 0x3f;
    if ((_mm_getcsr() ^ (unsigned)mode) & ~flags) {
        _mm_setcsr((unsigned)mode);
    }
}

#elif defined(__aarch64__)

/* FPCR: Arm ARM, C5.2.8. Bit 24 flushes inputs and results; bits 22-23 round; 8-12 and 15 trap. */
#define FLUSH (1ull << 24)
#define ROUNDING (3ull << 22)
#define TRAPS ((31ull << 8) | (1ull << 15))

unsigned long long nacre_fp_enter(void) {
    unsigned long long before;
    __asm__ volatile("mrs %0, fpcr" : "=r"(before));
    nacre_fp_restore((before & ~(ROUNDING | TRAPS)) | FLUSH);
    return before;
}

void nacre_fp_restore(unsigned long long mode) { __asm__ volatile("msr fpcr, %0" ::"r"(mode)); }

#else

unsigned long long nacre_fp_enter(void) { return 0; }

void nacre_fp_restore(unsigned long long mode) { (void)mode; }

#endif
