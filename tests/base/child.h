/* Code that runs in a process of its own: what the library looks at once is not yet known there. */
#ifndef NACRE_TESTS_BASE_CHILD_H
#define NACRE_TESTS_BASE_CHILD_H

#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

/* Exit code of `call` in a child process; -1: a signal ended it. */
static inline int in_child(int (*call)(void)) {
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) exit(call());
    int status = -1;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

#endif
