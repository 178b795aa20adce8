#define _POSIX_C_SOURCE 200809L
#include "io/tuning.h"

#include "base/cpu.h"
#include "base/error.h"
#include "base/memory.h"
#include "io/file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char first_line[] = "nacre tuning 1";
enum { FILE_BYTES = 1 << 20, MOST_THREADS = 1024 };
#define MOST_EXTENT ((int64_t)1 << 48)

/* ---- columns ---- */

typedef enum column_kind { LEVEL, NUMBER, CHOICE } column_kind;

/* One value of a line; numbers in [least, most], choices one of `words`, stored as their index. */
typedef struct column {
    const char *name;
    column_kind kind;
    int64_t least, most;
    const char *const *words;
} column;

static const char *const ways[] = {"-", "straight", "turned", NULL};
static const char *const pack_as[] = {"-", "yes", NULL};
static const char *const pack_bs[] = {"-", "no", "before", "task", NULL};

enum { KEY_COLUMNS = 11, WAY = KEY_COLUMNS, PACK_A, PACK_B, TASK, SWEEP, COLUMNS };
/* The first ones are the members of nacre_tuning_key, in its order. */
static const column columns[COLUMNS] = {
    {"level", LEVEL, 0, 0, NULL},
    {"threads", NUMBER, 1, MOST_THREADS, NULL},
    {"m", NUMBER, 0, MOST_EXTENT, NULL},
    {"n", NUMBER, 0, MOST_EXTENT, NULL},
    {"k", NUMBER, 0, MOST_EXTENT, NULL},
    {"batches", NUMBER, 0, MOST_EXTENT, NULL},
    {"a_row", NUMBER, -MOST_EXTENT, MOST_EXTENT, NULL},
    {"a_k", NUMBER, -MOST_EXTENT, MOST_EXTENT, NULL},
    {"b_k", NUMBER, -MOST_EXTENT, MOST_EXTENT, NULL},
    {"b_column", NUMBER, -MOST_EXTENT, MOST_EXTENT, NULL},
    {"shared_b", NUMBER, 0, 1, NULL},
    [WAY] = {"way", CHOICE, 0, 0, ways},
    [PACK_A] = {"pack_a", CHOICE, 0, 0, pack_as},
    [PACK_B] = {"pack_b", CHOICE, 0, 0, pack_bs},
    [TASK] = {"task", NUMBER, NACRE_LEAST_TASK, NACRE_MOST_TASK, NULL},
    [SWEEP] = {"sweep", NUMBER, NACRE_LEAST_SWEEP, NACRE_MOST_SWEEP, NULL},
};

static bool may_be_rule(int i) { return i == TASK || i == SWEEP; }

static void values_of(const nacre_tuning_entry *entry, int64_t values[COLUMNS]) {
    memcpy(values, &entry->key, sizeof entry->key);
    values[WAY] = entry->choice.way;
    values[PACK_A] = entry->choice.pack_a;
    values[PACK_B] = entry->choice.pack_b;
    values[TASK] = entry->choice.task;
    values[SWEEP] = entry->choice.sweep;
}

static nacre_tuning_entry entry_of(const int64_t values[COLUMNS]) {
    nacre_tuning_entry entry;
    memcpy(&entry.key, values, sizeof entry.key);
    entry.choice = (nacre_product_choice){.way = (nacre_way)values[WAY],
                                          .pack_a = (nacre_pack_a)values[PACK_A],
                                          .pack_b = (nacre_pack_b)values[PACK_B],
                                          .task = (int)values[TASK],
                                          .sweep = (int)values[SWEEP]};
    return entry;
}

/* ---- reading ---- */

typedef struct reader {
    const char *at, *end;     /* of what is not read yet */
    const char *name, *model; /* of the file, of the CPU */
    int line;
} reader;

/* Part of a text, without a NUL. */
typedef struct part {
    const char *begin;
    size_t length;
} part;

static nacre_status refuse(const reader *r, const char *what) {
    return nacre_fail(NACRE_BAD_FILE, "%s: line %d: %s; remove the file and tune again", r->name,
                      r->line, what);
}

static bool is(part p, const char *text) {
    return p.length == strlen(text) && memcmp(p.begin, text, p.length) == 0;
}

/* The next line that is no comment; false: there is none. */
static bool next_line(reader *r, part *line) {
    while (r->at < r->end) {
        const char *newline = memchr(r->at, '\n', (size_t)(r->end - r->at));
        const char *end = newline ? newline : r->end;
        *line = (part){r->at, (size_t)(end - r->at)};
        r->at = newline ? newline + 1 : r->end;
        r->line++;
        if (line->length == 0 || line->begin[0] != '#') return true;
    }
    return false;
}

/* The next word of a line, words being one space apart; empty at its end. */
static part next_word(part *line) {
    const char *space = memchr(line->begin, ' ', line->length);
    part word = {line->begin, space ? (size_t)(space - line->begin) : line->length};
    size_t used = word.length + (space != NULL);
    *line = (part){line->begin + used, line->length - used};
    return word;
}

/* Decimal digits, perhaps a minus before them. */
static bool to_number(part word, int64_t *out) {
    bool negative = word.length > 0 && word.begin[0] == '-';
    size_t i = negative;
    int64_t number = 0;
    if (word.length == i || word.length - i > 18) return false;
    for (; i < word.length; i++) {
        if (word.begin[i] < '0' || word.begin[i] > '9') return false;
        number = 10 * number + (word.begin[i] - '0');
    }
    *out = negative ? -number : number;
    return true;
}

static bool read_value(int i, part word, int64_t *out) {
    const column *c = &columns[i];
    *out = 0;
    if (c->kind == LEVEL) {
        while (*out < NACRE_ISA_COUNT && !is(word, nacre_isa_name((nacre_isa_level)*out))) ++*out;
        return *out < NACRE_ISA_COUNT;
    }
    if (c->kind == CHOICE) {
        while (c->words[*out] && !is(word, c->words[*out])) ++*out;
        return c->words[*out] != NULL;
    }
    if (may_be_rule(i) && is(word, "-")) return true;
    return to_number(word, out) && *out >= c->least && *out <= c->most;
}

static nacre_status read_entry(const reader *r, part line, nacre_tuning_table *table) {
    int64_t values[COLUMNS];
    char what[64];
    for (int i = 0; i < COLUMNS; i++) {
        part word = next_word(&line);
        snprintf(what, sizeof what, "no %s that can be", columns[i].name);
        if (!read_value(i, word, &values[i])) return refuse(r, what);
    }
    if (line.length > 0) return refuse(r, "more columns than there are");
    nacre_tuning_entry entry = entry_of(values);
    if (nacre_product_is_rule(&entry.choice)) return refuse(r, "an entry that chooses nothing");
    if (nacre_tuning_find(table, &entry.key)) return refuse(r, "the same shape twice");
    if (table->count == NACRE_TUNING_MOST) return refuse(r, "more entries than a table holds");
    return nacre_tuning_put(table, &entry);
}

/* Is the line the last one, without its newline, and the beginning of what it should be? */
static bool is_cut(const reader *r, part line, const char *whole) {
    return r->at == r->end && r->end[-1] != '\n' && line.length < strlen(whole) &&
           memcmp(line.begin, whole, line.length) == 0;
}

static nacre_status refuse_cut(reader *r) {
    r->line = r->line ? r->line : 1;
    return refuse(r, "the file was cut: not even its head is whole");
}

static nacre_status read_head(reader *r) {
    char cpu[NACRE_CPU_MODEL_BYTES + 8];
    part line;
    snprintf(cpu, sizeof cpu, "cpu %s", r->model);
    if (!next_line(r, &line) || is_cut(r, line, first_line)) return refuse_cut(r);
    if (!is(line, first_line))
        return refuse(r, "not \"nacre tuning 1\", the first line of a tuning table");
    if (!next_line(r, &line) || is_cut(r, line, cpu)) return refuse_cut(r);
    if (!is(next_word(&line), "cpu")) return refuse(r, "no \"cpu\" with its name");
    if (!is(line, r->model))
        return nacre_fail(NACRE_BAD_FILE,
                          "%s: line %d: tuned on another CPU, this is %s; remove the file and tune "
                          "again",
                          r->name, r->line, r->model);
    return NACRE_OK;
}

static nacre_status read_table(reader *r, nacre_tuning_table *out) {
    nacre_status status = read_head(r);
    part line, rest;
    int64_t count;
    while (status == NACRE_OK) {
        if (!next_line(r, &line)) return refuse(r, "the file was cut: no \"end\" with the count");
        rest = line;
        if (is(next_word(&rest), "end")) break;
        status = read_entry(r, line, out);
    }
    if (status != NACRE_OK) return status;
    if (!to_number(rest, &count) || count != (int64_t)out->count)
        return refuse(r, "the entries are not as many as \"end\" says");
    return next_line(r, &line) ? refuse(r, "something after \"end\"") : NACRE_OK;
}

nacre_status nacre_tuning_parse(const char *bytes, size_t size, const char *name, const char *model,
                                nacre_tuning_table *out) {
    reader r = {.at = bytes, .end = bytes + size, .name = name, .model = model};
    *out = (nacre_tuning_table){0};
    nacre_status status = read_table(&r, out);
    if (status != NACRE_OK) nacre_tuning_free(out);
    return status;
}

/* ---- writing ---- */

static void append_value(int i, int64_t value, nacre_text *text) {
    if (columns[i].kind == LEVEL)
        nacre_text_append(text, "%s", nacre_isa_name((nacre_isa_level)value));
    else if (columns[i].kind == CHOICE)
        nacre_text_append(text, "%s", columns[i].words[value]);
    else if (may_be_rule(i) && value == 0)
        nacre_text_append(text, "-");
    else
        nacre_text_append(text, "%" PRId64, value);
}

void nacre_tuning_append(const nacre_tuning_table *table, const char *model, nacre_text *text) {
    nacre_text_append(text, "%s\ncpu %s\n#", first_line, model);
    for (int i = 0; i < COLUMNS; i++) nacre_text_append(text, " %s", columns[i].name);
    for (size_t k = 0; k < table->count; k++) {
        int64_t values[COLUMNS];
        values_of(&table->entries[k], values);
        for (int i = 0; i < COLUMNS; i++) {
            nacre_text_append(text, i ? " " : "\n");
            append_value(i, values[i], text);
        }
    }
    nacre_text_append(text, "\nend %zu\n", table->count);
}

void nacre_tuning_describe(const nacre_product_choice *choice, nacre_text *text) {
    const char *words[] = {nacre_way_names[choice->way], nacre_pack_a_names[choice->pack_a],
                           nacre_pack_b_names[choice->pack_b]};
    const char *comma = "";
    if (nacre_product_is_rule(choice)) nacre_text_append(text, "as the rules say");
    for (int i = 0; i < 3; i++) {
        if (!words[i]) continue;
        nacre_text_append(text, "%s%s", comma, words[i]);
        comma = ", ";
    }
    if (choice->task) nacre_text_append(text, "%stasks of 2^%d", comma, choice->task);
    if (choice->task) comma = ", ";
    if (choice->sweep) nacre_text_append(text, "%ssweeps of 2^%d", comma, choice->sweep);
}

/* ---- files ---- */

enum { NAME_BYTES = NACRE_CPU_MODEL_BYTES + 8 };

/* "/amd-epyc-family-26-model-2-stepping-1.txt" */
static void file_name(char out[NAME_BYTES]) {
    char model[NACRE_CPU_MODEL_BYTES];
    nacre_cpu_model(model);
    int length = 0;
    out[length++] = '/';
    for (const char *c = model; *c; c++) {
        char lower = *c >= 'A' && *c <= 'Z' ? (char)(*c - 'A' + 'a') : *c;
        if ((lower >= 'a' && lower <= 'z') || (lower >= '0' && lower <= '9'))
            out[length++] = lower;
        else if (out[length - 1] != '-')
            out[length++] = '-';
    }
    memcpy(out + length, ".txt", sizeof ".txt");
}

/* NACRE_TUNING, NULL where it is not set. */
static const char *named(void) {
    const char *path = getenv("NACRE_TUNING");
    return path && *path ? path : NULL;
}

static bool is_off(void) { return named() && strcmp(named(), "off") == 0; }

/* The folder of the usual file; "" if there is no such place. */
static void usual_folder(char out[NACRE_TUNING_PATH_BYTES]) {
    const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    int length = 0;
    /* The XDG base directory specification has relative paths ignored. */
    if (data && data[0] == '/')
        length = snprintf(out, NACRE_TUNING_PATH_BYTES, "%s/nacre/tuning", data);
    else if (home && home[0] == '/')
        length = snprintf(out, NACRE_TUNING_PATH_BYTES, "%s/.local/share/nacre/tuning", home);
    if (length <= 0 || length + NAME_BYTES >= NACRE_TUNING_PATH_BYTES) out[0] = '\0';
}

void nacre_tuning_path(char out[NACRE_TUNING_PATH_BYTES]) {
    out[0] = '\0';
    if (is_off()) return;
    if (named()) {
        if (strlen(named()) < NACRE_TUNING_PATH_BYTES) memcpy(out, named(), strlen(named()) + 1);
        return;
    }
    usual_folder(out);
    if (*out) file_name(out + strlen(out));
}

/* Is there nothing to read in the usual place? Asking the CPU for its name may take 100 us in a virtual machine:
   only where anything was ever tuned. */
static bool is_untuned(void) {
    char path[NACRE_TUNING_PATH_BYTES];
    if (is_off()) return true;
    if (named()) return false;
    usual_folder(path);
    if (!*path || access(path, F_OK) != 0) return true;
    file_name(path + strlen(path));
    return access(path, F_OK) != 0;
}

nacre_status nacre_tuning_load(const char *path) {
    char usual[NACRE_TUNING_PATH_BYTES], model[NACRE_CPU_MODEL_BYTES];
    if (!path && is_untuned()) {
        nacre_tuning_clear();
        return NACRE_OK;
    }
    if (!path) {
        nacre_tuning_path(usual);
        path = usual;
    }
    void *bytes;
    size_t size;
    nacre_tuning_table table;
    nacre_status status = nacre_file_read(path, FILE_BYTES, &bytes, &size);
    if (status != NACRE_OK) return status;
    nacre_cpu_model(model);
    status = nacre_tuning_parse(bytes, size, path, model, &table);
    nacre_free(bytes);
    if (status == NACRE_OK) nacre_tuning_use(&table);
    return status;
}

/* Of path's folder, where it has one. */
static nacre_status make_folder_of(const char *path) {
    const char *slash = strrchr(path, '/');
    if (!slash || slash == path) return NACRE_OK;
    char *folder = nacre_strdup(path);
    if (!folder) return NACRE_OUT_OF_MEMORY;
    folder[slash - path] = '\0';
    nacre_status status = nacre_make_folders(folder);
    nacre_free(folder);
    return status;
}

/* nacre_tuning_path, where there is one. */
static nacre_status find_place(char out[NACRE_TUNING_PATH_BYTES]) {
    nacre_tuning_path(out);
    return *out
               ? NACRE_OK
               : nacre_fail(NACRE_INVALID_STATE, "tuning_save: there is no place for the table; %s",
                            is_off() ? "NACRE_TUNING is off, name a file there"
                                     : "set HOME, XDG_DATA_HOME or NACRE_TUNING");
}

/* Of folders that are to be made, the first one must have room in what is there. */
nacre_status nacre_tuning_check_place(void) {
    char path[NACRE_TUNING_PATH_BYTES];
    nacre_status status = find_place(path);
    if (status != NACRE_OK) return status;
    for (char *slash = strrchr(path, '/'); slash && slash > path; slash = strrchr(path, '/')) {
        *slash = '\0';
        if (access(path, F_OK) == 0) {
            *slash = '/';
            break;
        }
    }
    return nacre_file_writable(path);
}

nacre_status nacre_tuning_save(const char *path) {
    char usual[NACRE_TUNING_PATH_BYTES], model[NACRE_CPU_MODEL_BYTES];
    nacre_status status = NACRE_OK;
    if (!path) {
        path = usual;
        status = find_place(usual);
        status = status ? status : make_folder_of(path);
    }
    nacre_tuning_table table;
    nacre_text text = {0};
    if (status == NACRE_OK) status = nacre_tuning_copy(&table);
    if (status != NACRE_OK) return status;
    nacre_cpu_model(model);
    nacre_tuning_append(&table, model, &text);
    nacre_tuning_free(&table);
    status = text.failed ? NACRE_OUT_OF_MEMORY : nacre_file_write(path, text.bytes, text.length);
    nacre_text_free(&text);
    return status;
}
