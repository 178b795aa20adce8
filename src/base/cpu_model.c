/* The name of the CPU: whether two machines are alike enough for the same tuning. */
#ifndef __APPLE__
#define _POSIX_C_SOURCE 200809L
#endif

#include "base/cpu.h"

#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#endif

#if defined(__x86_64__)
/* CPUID, AMD64 Architecture Programmer's Manual 3, appendix E: leaves 8000_0002 to 4 are the name, leaf 1's eax the
   family, model and stepping, of which the extended parts are added from family 15 on. */
static void ask(char name[NACRE_CPU_MODEL_BYTES]) {
    unsigned brand[12] = {0}, eax = 0, ebx, ecx, edx;
    for (unsigned i = 0; i < 3; i++)
        if (!__get_cpuid(0x80000002u + i, &brand[4 * i], &brand[4 * i + 1], &brand[4 * i + 2],
                         &brand[4 * i + 3]))
            break;
    char text[sizeof brand + 1] = {0};
    memcpy(text, brand, sizeof brand);
    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx)) eax = 0;
    unsigned family = eax >> 8 & 15, model = eax >> 4 & 15;
    if (family == 15 || family == 6) model |= eax >> 12 & 0xf0;
    if (family == 15) family += eax >> 20 & 255;
    snprintf(name, NACRE_CPU_MODEL_BYTES, "%s, family %u, model %u, stepping %u", text, family,
             model, eax & 15);
}
#elif defined(__APPLE__)
static void ask(char name[NACRE_CPU_MODEL_BYTES]) {
    size_t size = NACRE_CPU_MODEL_BYTES;
    if (sysctlbyname("machdep.cpu.brand_string", name, &size, NULL, 0) != 0) name[0] = '\0';
    name[NACRE_CPU_MODEL_BYTES - 1] = '\0';
}
#else
/* Arm's MIDR: implementer, variant, part, revision. */
static void ask(char name[NACRE_CPU_MODEL_BYTES]) {
    name[0] = '\0';
    FILE *file = fopen("/sys/devices/system/cpu/cpu0/regs/identification/midr_el1", "r");
    if (!file) return;
    char midr[32];
    if (fgets(midr, sizeof midr, file))
        snprintf(name, NACRE_CPU_MODEL_BYTES, "MIDR %.*s", (int)strcspn(midr, "\n"), midr);
    fclose(file);
}
#endif

static bool is_printable(char c) { return c > 0x20 && c < 0x7f; }

void nacre_cpu_model(char out[NACRE_CPU_MODEL_BYTES]) {
    char name[NACRE_CPU_MODEL_BYTES];
    ask(name);
    struct utsname machine;
    if (name[0] == '\0')
        snprintf(name, sizeof name, "unnamed %.32s",
                 uname(&machine) == 0 ? machine.machine : "machine");
    /* One space between words, none at the ends. */
    size_t length = 0;
    for (const char *c = name; *c; c++) {
        if (!is_printable(*c)) continue;
        if (length > 0 && !is_printable(c[-1])) out[length++] = ' ';
        out[length++] = *c;
    }
    out[length] = '\0';
}
