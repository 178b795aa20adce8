#define _XOPEN_SOURCE 700
#include "cli/signals.h"

#include <nacre/system.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t received, held, cancelling;

/* Read by the handler, so set once, before the work begins. */
static const char *volatile last_words;

static void on_signal(int number) {
    if (!held || received) {
        const char *line = last_words;
        ssize_t written = line ? write(STDERR_FILENO, line, strlen(line)) : 0;
        (void)written; /* where nobody listens there is nobody to tell */
        _exit(128 + number);
    }
    received = number;
    if (cancelling) {
        nacre_cancel(true);
    }
}

void nacre_cli_signals_begin(void) {
    struct sigaction action = {.sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    action.sa_handler = on_signal;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, NULL);
#ifdef SIGXFSZ
    sigaction(SIGXFSZ, &action, NULL);
#endif
}

void nacre_cli_signals_say(const char *line) { last_words = line; }

void nacre_cli_signals_hold(void) { held = 1; }

void nacre_cli_signals_cancel(bool cancel) {
    cancelling = cancel;
    if (cancel && received) {
        nacre_cancel(true);
    }
    if (!cancel) {
        nacre_cancel(false);
    }
}

int nacre_cli_signal(void) { return (int)received; }
