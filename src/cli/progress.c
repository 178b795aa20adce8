#define _DEFAULT_SOURCE /* winsize */
#include "cli/progress.h"

#include "base/clock.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* A live line is on the screen. Of the process, as the screen is: messages from elsewhere end it. */
static bool line_open;

static double now(void) { return (double)nacre_clock_ns() * 1e-9; }

/* Columns of the terminal. */
static int screen_width(void) {
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
        return size.ws_col;
    }
    const char *columns = getenv("COLUMNS");
    int width = columns ? atoi(columns) : 0;
    return width > 0 && width < 10000 ? width : 80;
}

static bool is_set(const char *name) {
    const char *value = getenv(name);
    return value && value[0];
}

/* As setlocale would choose the encoding. */
static bool is_utf8(void) {
    const char *value = is_set("LC_ALL")     ? getenv("LC_ALL")
                        : is_set("LC_CTYPE") ? getenv("LC_CTYPE")
                                             : getenv("LANG");
    return value && (strstr(value, "UTF-8") || strstr(value, "utf8") || strstr(value, "utf-8"));
}

void nacre_cli_progress_begin(nacre_cli_progress *progress,
                              const nacre_cli_progress_options *options) {
    const char *terminal = getenv("TERM");
    bool capable = isatty(STDERR_FILENO) && terminal && strcmp(terminal, "dumb") != 0;
    int64_t batch = options->batch_size < options->samples ? options->batch_size : options->samples;
    batch = batch > 0 ? batch : 1;
    *progress = (nacre_cli_progress){
        .quiet = options->quiet,
        .live = capable && !options->quiet && !options->verbose,
        .colour = capable && !is_set("NO_COLOR"), /* https://no-color.org */
        .unicode = is_utf8(),
        .epochs = options->epochs,
        .epoch_samples = options->samples,
        .batch_size = batch,
        .epoch_steps = (options->samples + batch - 1) / batch,
        .started = now(),
        .epoch_started = now(),
        .drawn_at = now(),
    };
}

/* "0:07", "12:30", "1:02:03" */
static void format_time(double seconds, char *text, size_t size) {
    long long whole = seconds > 0 && seconds < 1e9 ? (long long)(seconds + 0.5) : 0;
    if (whole >= 3600) {
        snprintf(text, size, "%lld:%02lld:%02lld", whole / 3600, whole / 60 % 60, whole % 60);
    } else {
        snprintf(text, size, "%lld:%02lld", whole / 60, whole % 60);
    }
}

/* "950", "812k", "1.2M" */
static void format_rate(double rate, char *text, size_t size) {
    if (rate >= 1e6) {
        snprintf(text, size, "%.1fM", rate / 1e6);
    } else if (rate >= 1e3) {
        snprintf(text, size, "%.0fk", rate / 1e3);
    } else {
        snprintf(text, size, "%.0f", rate);
    }
}

static void append(char *line, size_t size, const char *text) {
    size_t used = strlen(line);
    snprintf(line + used, size - used, "%s", text);
}

static void append_bar(const nacre_cli_progress *progress, int cells, double share, char *line,
                       size_t size) {
    int full = (int)(share * cells + 0.5);
    append(line, size, progress->colour ? "\x1b[36m" : "");
    for (int i = 0; i < cells; i++) {
        if (i == full) {
            append(line, size, progress->colour ? "\x1b[2m" : "");
        }
        append(line, size, progress->unicode ? (i < full ? "━" : "─") : (i < full ? "#" : "."));
    }
    append(line, size, progress->colour ? "\x1b[0m" : "");
}

/* head, bar, tail: the bar takes what the window leaves, and the tail is cut when nothing is left. */
static void draw(const nacre_cli_progress *progress, const char *head, double share,
                 const char *tail) {
    int width = screen_width() - 1; /* the last column would wrap */
    int rest = width - (int)(strlen(head) + strlen(tail)) - 2;
    char line[2048] = "\r";
    if (rest >= 5) {
        append(line, sizeof line, head);
        append(line, sizeof line, " ");
        append_bar(progress, rest < 30 ? rest : 30, share, line, sizeof line);
        append(line, sizeof line, " ");
        append(line, sizeof line, tail);
    } else {
        char text[1024];
        snprintf(text, sizeof text, "%s %s", head, tail);
        text[width > 0 && width < (int)sizeof text ? width : 0] = 0;
        append(line, sizeof line, text);
    }
    append(line, sizeof line, "\x1b[K");
    fputs(line, stderr);
    fflush(stderr);
    line_open = true;
}

static void format_head(const nacre_cli_progress *progress, int64_t epoch, char *text,
                        size_t size) {
    char total[32];
    int digits = snprintf(total, sizeof total, "%lld", (long long)progress->epochs);
    snprintf(text, size, "Epoch %*lld/%s", digits, (long long)epoch + 1, total);
}

void nacre_cli_progress_step(nacre_cli_progress *progress, const nacre_step_report *report) {
    if (!progress->live) {
        return;
    }
    progress->loss_sum += report->loss;
    progress->accuracy_sum += report->accuracy;
    progress->count++;
    double time = now();
    if (time - progress->drawn_at < 0.1) {
        return;
    }
    progress->drawn_at = time;
    int64_t in_epoch = report->step % progress->epoch_steps + 1;
    double samples =
        fmin((double)in_epoch * (double)progress->batch_size, (double)progress->epoch_samples);
    double total = (double)progress->epoch_steps * (double)progress->epochs;
    double done = (double)report->step + 1;
    char head[64], rate[32], left[32], tail[256];
    format_head(progress, report->epoch, head, sizeof head);
    format_rate(samples / fmax(time - progress->epoch_started, 1e-9), rate, sizeof rate);
    format_time((time - progress->started) * (total - done) / done, left, sizeof left);
    snprintf(tail, sizeof tail, "%3.0f %%  %s samples/s  loss %.4f  accuracy %.2f %%  %s left",
             100 * samples / (double)progress->epoch_samples, rate,
             progress->loss_sum / (double)progress->count,
             100 * progress->accuracy_sum / (double)progress->count, left);
    draw(progress, head, samples / (double)progress->epoch_samples, tail);
}

static void print_plain(const nacre_cli_progress *progress, const nacre_epoch_report *report) {
    fprintf(stderr,
            "Epoch %lld/%lld: loss = %.4f, val_loss = %.4f, accuracy = %.4f, val_accuracy = %.4f, "
            "lr = %.3g, %.2f s, %.0f samples/s\n",
            (long long)report->epoch + 1, (long long)progress->epochs, report->train.loss,
            report->validation.loss, report->train.accuracy, report->validation.accuracy,
            report->lr + 0.0, report->seconds, report->samples_per_second);
    fflush(stderr);
}

void nacre_cli_progress_epoch(nacre_cli_progress *progress, const nacre_epoch_report *report) {
    if (progress->quiet) {
        return;
    }
    if (!progress->live) {
        print_plain(progress, report);
        return;
    }
    char head[64], rate[32], tail[256];
    format_head(progress, report->epoch, head, sizeof head);
    format_rate(report->samples_per_second, rate, sizeof rate);
    snprintf(tail, sizeof tail, "%s samples/s  loss %.4f  accuracy %.2f %%  test %.2f %%  %.2f s",
             rate, report->train.loss, 100 * report->train.accuracy,
             100 * report->validation.accuracy, report->seconds);
    draw(progress, head, 1, tail);
    nacre_cli_progress_end();
    progress->loss_sum = progress->accuracy_sum = 0;
    progress->count = 0;
    progress->epoch_started = now();
}

/* ---- work that takes a known time ---- */

static void draw_work(nacre_cli_progress *progress) {
    double time = now(), spent = time - progress->started;
    double share = progress->seconds > 0 ? fmin(spent / progress->seconds, 1) : 1;
    char left[32], tail[160];
    progress->drawn_at = time;
    format_time(progress->seconds - spent, left, sizeof left);
    snprintf(tail, sizeof tail, "%s  %s left", progress->what, left);
    draw(progress, progress->head, share, tail);
}

void nacre_cli_progress_work(nacre_cli_progress *progress, const char *head, const char *what,
                             double seconds) {
    if (progress->quiet) {
        return;
    }
    snprintf(progress->head, sizeof progress->head, "%s", head);
    snprintf(progress->what, sizeof progress->what, "%s", what);
    progress->seconds = seconds;
    progress->started = now();
    if (progress->live) {
        draw_work(progress);
    } else {
        fprintf(stderr, "%s: %s, %.3g s\n", head, what, seconds);
        fflush(stderr);
    }
}

void nacre_cli_progress_tick(nacre_cli_progress *progress) {
    if (progress->live && now() - progress->drawn_at >= 0.1) {
        draw_work(progress);
    }
}

void nacre_cli_progress_clear(void) {
    if (line_open) {
        fputs("\r\x1b[K", stderr);
        fflush(stderr);
    }
    line_open = false;
}

void nacre_cli_progress_end(void) {
    if (line_open) {
        fputc('\n', stderr);
        fflush(stderr);
    }
    line_open = false;
}
