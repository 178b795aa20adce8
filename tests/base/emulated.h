/* Whether this test runs under an emulator of user programs (qemu-user), which can neither start
   threads in the forked child of a threaded program nor limit its address space. */
#ifndef NACRE_TESTS_BASE_EMULATED_H
#define NACRE_TESTS_BASE_EMULATED_H

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

/* The emulator answers uname for its guest, but lets this file of Linux 6.1 through. */
static inline bool is_emulated(void) {
    struct utsname guest;
    char host[64] = "";
    FILE *file = fopen("/proc/sys/kernel/arch", "r");
    if (!file) return false;
    bool known = fgets(host, sizeof host, file) && uname(&guest) == 0;
    fclose(file);
    host[strcspn(host, "\n")] = '\0';
    return known && strcmp(host, guest.machine) != 0;
}

#endif
