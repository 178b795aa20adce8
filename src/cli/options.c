#include "cli/options.h"

#include "cli/output.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- nearest name ---- */

/* Damerau-Levenshtein distance (optimal string alignment): insertions, deletions, substitutions and
   swaps of neighbours. Words of 32 letters or more count as far away. */
static size_t edit_distance(const char *a, const char *b) {
    size_t m = strlen(a), n = strlen(b);
    if (m >= 32 || n >= 32) {
        return 32;
    }
    size_t d[33][33];
    for (size_t i = 0; i <= m; i++) {
        d[i][0] = i;
    }
    for (size_t j = 0; j <= n; j++) {
        d[0][j] = j;
    }
    for (size_t i = 1; i <= m; i++) {
        for (size_t j = 1; j <= n; j++) {
            size_t best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            best = d[i - 1][j] + 1 < best ? d[i - 1][j] + 1 : best;
            best = d[i][j - 1] + 1 < best ? d[i][j - 1] + 1 : best;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                d[i - 2][j - 2] + 1 < best) {
                best = d[i - 2][j - 2] + 1;
            }
            d[i][j] = best;
        }
    }
    return d[m][n];
}

const char *nacre_cli_nearest(const char *word, const char *const *names, size_t count) {
    const char *nearest = NULL;
    size_t least = SIZE_MAX;
    for (size_t i = 0; i < count; i++) {
        size_t distance = edit_distance(word, names[i]);
        /* "--learn" for "learn-rate": a beginning of at least three letters is near too. */
        size_t length = strlen(word);
        if (length >= 3 && strncmp(word, names[i], length) == 0) {
            distance = 1;
        }
        if (distance < least && distance <= 1 + strlen(names[i]) / 3) {
            least = distance;
            nearest = names[i];
        }
    }
    return nearest;
}

/* ---- values ---- */

static void describe_range(const nacre_cli_option *option, char *text, size_t size) {
    switch (option->kind) {
    case NACRE_CLI_INTEGER:
        if (option->most == INT64_MAX) {
            snprintf(text, size, "a whole number from %lld", (long long)option->least);
        } else {
            snprintf(text, size, "a whole number from %lld to %lld", (long long)option->least,
                     (long long)option->most);
        }
        break;
    case NACRE_CLI_REAL:
        if (isinf(option->high)) {
            snprintf(text, size, "a finite number %s %g", option->above ? "above" : "from",
                     option->low);
        } else {
            snprintf(text, size, "a number %s %g, at most %g", option->above ? "above" : "from",
                     option->low, option->high);
        }
        break;
    case NACRE_CLI_CHOICE: {
        size_t used = 0;
        text[0] = 0;
        for (const char *const *choice = option->choices; *choice && used < size; choice++) {
            int length = snprintf(text + used, size - used, "%s%s",
                                  choice == option->choices ? ""
                                  : choice[1]               ? ", "
                                                            : " or ",
                                  *choice);
            used += length > 0 ? (size_t)length : 0;
        }
        break;
    }
    default:
        snprintf(text, size, "a text that is not empty");
    }
}

/* [+-]digits */
static bool is_whole(const char *text) {
    text += *text == '-' || *text == '+';
    if (!*text) {
        return false;
    }
    for (; *text; text++) {
        if (!isdigit((unsigned char)*text)) {
            return false;
        }
    }
    return true;
}

/* [+-]digits[.digits][e[+-]digits], with digits on one side of the point at least: strtod alone would
   also take " 1", "0x1p3", "nan" and "infinity". */
static bool is_decimal(const char *text) {
    text += *text == '-' || *text == '+';
    size_t digits = 0;
    for (; isdigit((unsigned char)*text); text++) {
        digits++;
    }
    if (*text == '.') {
        for (text++; isdigit((unsigned char)*text); text++) {
            digits++;
        }
    }
    if (digits == 0) {
        return false;
    }
    if (*text == 'e' || *text == 'E') {
        return is_whole(text + 1);
    }
    return *text == 0;
}

static bool refuse(const nacre_cli_option *option, const char *text, const char *why, char *problem,
                   size_t size) {
    char range[256];
    describe_range(option, range, sizeof range);
    snprintf(problem, size, "%.100s%s is %s; give %s", text, strlen(text) > 100 ? "..." : "", why,
             range);
    return false;
}

static bool store_integer(const nacre_cli_option *option, const char *text, void *at, char *problem,
                          size_t size) {
    if (!is_whole(text)) {
        return refuse(option, text, "not a whole number", problem, size);
    }
    errno = 0;
    long long number = strtoll(text, NULL, 10);
    if (number < option->least || (errno == ERANGE && number < 0)) {
        return refuse(option, text, "too small", problem, size);
    }
    if (number > option->most || errno == ERANGE) {
        return refuse(option, text, "too large", problem, size);
    }
    int64_t value = number;
    memcpy(at, &value, sizeof value);
    return true;
}

/* Whether the mantissa has a digit other than 0: then the number is not 0, even if it reads as 0. */
static bool has_value(const char *text) {
    size_t mantissa = strcspn(text, "eE"), zeros = strcspn(text, "123456789");
    return zeros < mantissa;
}

static bool store_real(const nacre_cli_option *option, const char *text, void *at, char *problem,
                       size_t size) {
    if (!is_decimal(text)) {
        return refuse(option, text, "not a finite decimal number", problem, size);
    }
    double value = strtod(text, NULL);
    if (value == 0 && has_value(text)) {
        return refuse(option, text, "too close to 0", problem, size);
    }
    if (value < option->low || (option->above && value <= option->low)) {
        return refuse(option, text, "too small", problem, size);
    }
    if (value > option->high || isinf(value)) {
        return refuse(option, text, "too large", problem, size);
    }
    value = value == 0 ? 0 : value; /* -0 is 0 */
    memcpy(at, &value, sizeof value);
    return true;
}

static bool store_choice(const nacre_cli_option *option, const char *text, void *at, char *problem,
                         size_t size) {
    size_t count = 0;
    for (; option->choices[count]; count++) {
        if (strcmp(option->choices[count], text) == 0) {
            int index = (int)count;
            memcpy(at, &index, sizeof index);
            return true;
        }
    }
    refuse(option, text, "unknown", problem, size);
    const char *nearest = nacre_cli_nearest(text, option->choices, count);
    size_t used = strlen(problem);
    if (nearest) {
        snprintf(problem + used, size - used, "; did you mean %s?", nearest);
    }
    return false;
}

bool nacre_cli_store(const nacre_cli_option *option, const char *text, void *values, char *problem,
                     size_t size) {
    void *at = (char *)values + option->offset;
    switch (option->kind) {
    case NACRE_CLI_INTEGER:
        return store_integer(option, text, at, problem, size);
    case NACRE_CLI_REAL:
        return store_real(option, text, at, problem, size);
    case NACRE_CLI_CHOICE:
        return store_choice(option, text, at, problem, size);
    case NACRE_CLI_STRING:
        if (!*text) {
            snprintf(problem, size, "is empty; give %s", option->value);
            return false;
        }
        memcpy(at, &text, sizeof text);
        return true;
    case NACRE_CLI_SWITCH:
        break;
    }
    bool on = true;
    memcpy(at, &on, sizeof on);
    return true;
}

/* ---- keys of a configuration ---- */

void nacre_cli_key(const nacre_cli_option *option, char *key, size_t size) {
    snprintf(key, size, "%s", option->name);
    for (char *c = key; *c; c++) {
        *c = *c == '-' ? '_' : *c;
    }
}

const nacre_cli_option *nacre_cli_option_of_key(const nacre_cli_syntax *syntax, const char *key) {
    for (size_t i = 0; i < syntax->count; i++) {
        char name[64];
        nacre_cli_key(&syntax->options[i], name, sizeof name);
        if (syntax->options[i].configured && strcmp(name, key) == 0) {
            return &syntax->options[i];
        }
    }
    return NULL;
}

/* ---- the command line ---- */

static void unknown_flag(const nacre_cli_syntax *syntax, const char *word, size_t length) {
    const char *names[NACRE_CLI_MAX_OPTIONS + 1];
    for (size_t i = 0; i < syntax->count; i++) {
        names[i] = syntax->options[i].name;
    }
    names[syntax->count] = "help";
    char bare[64];
    const char *from = word + (word[1] == '-' ? 2 : 1);
    snprintf(bare, sizeof bare, "%.*s", (int)(length - (size_t)(from - word)), from);
    const char *nearest = nacre_cli_nearest(bare, names, syntax->count + 1);
    int shown = length > 100 ? 100 : (int)length;
    if (nearest) {
        nacre_cli_usage("unknown flag %.*s; did you mean --%s?", shown, word, nearest);
    } else {
        nacre_cli_usage("unknown flag %.*s; see the list of flags in its help", shown, word);
    }
}

/* One flag at argv[*at]; moves *at past its value. */
static bool parse_flag(const nacre_cli_syntax *syntax, int argc, char **argv, int *at, void *values,
                       nacre_cli_given *given) {
    const char *word = argv[*at];
    size_t length = strcspn(word, "=");
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
        given->help = true;
        return true;
    }
    size_t index = 0;
    for (; index < syntax->count; index++) {
        const char *name = syntax->options[index].name;
        if (strncmp(word, "--", 2) == 0 && strlen(name) == length - 2 &&
            strncmp(word + 2, name, length - 2) == 0) {
            break;
        }
    }
    if (index == syntax->count) {
        unknown_flag(syntax, word, length);
        return false;
    }
    const nacre_cli_option *option = &syntax->options[index];
    const char *value = word[length] == '=' ? word + length + 1 : NULL;
    if (option->kind == NACRE_CLI_SWITCH && value) {
        nacre_cli_usage("--%s takes no value; write --%s alone", option->name, option->name);
        return false;
    }
    if (option->kind != NACRE_CLI_SWITCH && !value) {
        if (*at + 1 >= argc || strncmp(argv[*at + 1], "--", 2) == 0) {
            char range[256];
            describe_range(option, range, sizeof range);
            nacre_cli_usage("--%s needs a value: give %s", option->name, range);
            return false;
        }
        value = argv[++*at];
    }
    char problem[512];
    if (!nacre_cli_store(option, value ? value : "", values, problem, sizeof problem)) {
        nacre_cli_usage("--%s: %s", option->name, problem);
        return false;
    }
    given->option[index] = true;
    return true;
}

bool nacre_cli_parse(const nacre_cli_syntax *syntax, int argc, char **argv, void *values,
                     nacre_cli_given *given) {
    *given = (nacre_cli_given){.arguments = (const char **)argv};
    bool flags = true;
    for (int i = 0; i < argc; i++) {
        if (flags && strcmp(argv[i], "--") == 0) {
            flags = false;
        } else if (flags && argv[i][0] == '-' && argv[i][1]) {
            if (!parse_flag(syntax, argc, argv, &i, values, given)) {
                return false;
            }
        } else {
            given->arguments[given->count++] = argv[i];
        }
    }
    if (!given->help && syntax->most_arguments >= 0 && given->count > syntax->most_arguments) {
        nacre_cli_usage("%.100s is one argument too many; it takes %s",
                        nacre_cli_shown(given->arguments[syntax->most_arguments]),
                        syntax->arguments[0] ? syntax->arguments : "flags alone");
        return false;
    }
    return true;
}

/* ---- help ---- */

static void append_default(const nacre_cli_option *option, const void *defaults, nacre_text *text) {
    const char *at = (const char *)defaults + option->offset;
    int64_t integer;
    double real;
    int choice;
    switch (option->kind) {
    case NACRE_CLI_INTEGER:
        memcpy(&integer, at, sizeof integer);
        nacre_text_append(text, " (default %lld)", (long long)integer);
        break;
    case NACRE_CLI_REAL:
        memcpy(&real, at, sizeof real);
        nacre_text_append(text, " (default %g)", real);
        break;
    case NACRE_CLI_CHOICE:
        memcpy(&choice, at, sizeof choice);
        nacre_text_append(text, " (default %s)", option->choices[choice]);
        break;
    default:
        break;
    }
}

void nacre_cli_help(const nacre_cli_syntax *syntax, nacre_text *text) {
    nacre_text_append(
        text, "nacre %s%s%s [flags]\n    %s\n\nFlags, as --name VALUE or --name=VALUE:\n",
        syntax->command, syntax->arguments[0] ? " " : "", syntax->arguments, syntax->summary);
    for (size_t i = 0; i < syntax->count; i++) {
        const nacre_cli_option *option = &syntax->options[i];
        char left[128];
        if (option->kind == NACRE_CLI_CHOICE) {
            size_t used = (size_t)snprintf(left, sizeof left, "--%s ", option->name);
            for (const char *const *choice = option->choices; *choice; choice++) {
                used += (size_t)snprintf(left + used, sizeof left - used, "%s%s",
                                         choice == option->choices ? "" : "|", *choice);
            }
        } else {
            snprintf(left, sizeof left, "--%s%s%s", option->name, option->value ? " " : "",
                     option->value ? option->value : "");
        }
        nacre_text_append(text, "  %-32s %s", left, option->help);
        append_default(option, syntax->defaults, text);
        nacre_text_append(text, "\n");
    }
    nacre_text_append(text, "  %-32s %s\n", "--help", "this text");
    if (syntax->details) {
        nacre_text_append(text, "\n%s", syntax->details);
    }
}

int nacre_cli_print_help(const nacre_cli_syntax *syntax) {
    nacre_text text = {0};
    nacre_cli_help(syntax, &text);
    return nacre_cli_print(&text);
}
