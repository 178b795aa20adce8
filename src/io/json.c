#include "io/json.h"

#include "base/error.h"
#include "base/memory.h"
#include "io/text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A value takes two bytes of text and forty times that in memory: the count is bounded so that a
   text of the largest safetensors header (100 MB) cannot ask for gigabytes. */
enum { MAX_DEPTH = 64, MAX_NODES = 1 << 22, FIRST_BLOCK = 32, LARGEST_BLOCK = 4096 };

typedef struct block {
    struct block *before;
    size_t used, capacity;
    nacre_json nodes[];
} block;

struct nacre_json_document {
    const nacre_json *root;
    block *blocks;
    char *strings; /* all of them, unescaped: never longer than the text */
};

typedef struct parser {
    const char *what, *text;
    size_t length, at;
    nacre_json_document *document;
    char *string_end; /* free part of document->strings */
    size_t nodes;
    nacre_json *open[MAX_DEPTH]; /* arrays and objects begun and not ended */
    nacre_json *last[MAX_DEPTH]; /* their last child */
    int depth;
    const char *key; /* of the value that comes next */
    nacre_status status;
} parser;

/* ---- errors ---- */

static bool fail_at(parser *p, size_t offset, const char *message) {
    size_t line = 1, column = 1;
    for (size_t i = 0; i < offset && i < p->length; i++) {
        if (p->text[i] == '\n') {
            line++;
            column = 1;
        } else if ((p->text[i] & 0xC0) != 0x80) { /* UTF-8: count characters, not bytes */
            column++;
        }
    }
    p->status =
        nacre_fail(NACRE_BAD_FILE, "%s: line %zu, column %zu: %s", p->what, line, column, message);
    return false;
}

static bool fail_memory(parser *p) {
    p->status = NACRE_OUT_OF_MEMORY;
    return false;
}

/* ---- text ---- */

/* The next byte, or -1 at the end of the text. */
static int peek(const parser *p) { return p->at < p->length ? (unsigned char)p->text[p->at] : -1; }

static bool is_digit(int byte) { return byte >= '0' && byte <= '9'; }

static void skip_space(parser *p) {
    int byte = peek(p);
    while (byte == ' ' || byte == '\n' || byte == '\r' || byte == '\t') {
        p->at++;
        byte = peek(p);
    }
}

/* ---- strings ---- */

static bool parse_hex(parser *p, unsigned *out) {
    unsigned value = 0;
    for (int i = 0; i < 4; i++, p->at++) {
        int byte = peek(p);
        unsigned digit;
        if (is_digit(byte))
            digit = (unsigned)(byte - '0');
        else if (byte >= 'a' && byte <= 'f')
            digit = (unsigned)(byte - 'a') + 10;
        else if (byte >= 'A' && byte <= 'F')
            digit = (unsigned)(byte - 'A') + 10;
        else
            return fail_at(p, p->at, "\\u needs four hexadecimal digits");
        value = 16 * value + digit;
    }
    *out = value;
    return true;
}

static void put(parser *p, unsigned byte) { *p->string_end++ = (char)(unsigned char)byte; }

static void put_utf8(parser *p, unsigned code) {
    if (code < 0x80) {
        put(p, code);
    } else if (code < 0x800) {
        put(p, 0xC0 | code >> 6);
        put(p, 0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
        put(p, 0xE0 | code >> 12);
        put(p, 0x80 | (code >> 6 & 0x3F));
        put(p, 0x80 | (code & 0x3F));
    } else {
        put(p, 0xF0 | code >> 18);
        put(p, 0x80 | (code >> 12 & 0x3F));
        put(p, 0x80 | (code >> 6 & 0x3F));
        put(p, 0x80 | (code & 0x3F));
    }
}

/* After "\u"; `start` is the backslash. Characters beyond U+FFFF are written as a surrogate
   pair. */
static bool parse_code(parser *p, size_t start) {
    unsigned code, low;
    if (!parse_hex(p, &code)) return false;
    if (code == 0) return fail_at(p, start, "a string with a NUL character");
    if (code >= 0xDC00 && code <= 0xDFFF) {
        return fail_at(p, start, "the second half of a surrogate pair without the first");
    }
    if (code >= 0xD800 && code <= 0xDBFF) {
        bool paired = p->length - p->at >= 2 && memcmp(p->text + p->at, "\\u", 2) == 0;
        if (!paired)
            return fail_at(p, start, "the first half of a surrogate pair without the second");
        p->at += 2;
        if (!parse_hex(p, &low)) return false;
        if (low < 0xDC00 || low > 0xDFFF) {
            return fail_at(p, start, "the first half of a surrogate pair without the second");
        }
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    }
    put_utf8(p, code);
    return true;
}

static bool parse_escape(parser *p) {
    static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    size_t start = p->at++;
    int byte = peek(p);
    if (byte < 0) return fail_at(p, p->at, "the text ends inside a string");
    if (byte == 'u') {
        p->at++;
        return parse_code(p, start);
    }
    const char *letter = byte ? strchr(letters, byte) : NULL;
    if (!letter) return fail_at(p, start, "an unknown escape");
    put(p, (unsigned char)meanings[letter - letters]);
    p->at++;
    return true;
}

/* The opening quote is next. */
static bool parse_string(parser *p, const char **out) {
    char *start = p->string_end;
    p->at++;
    for (;;) {
        int byte = peek(p);
        if (byte < 0) return fail_at(p, p->at, "the text ends inside a string");
        if (byte == '"') break;
        if (byte < 0x20)
            return fail_at(p, p->at, "a control character in a string, write it as \\u00..");
        if (byte == '\\') {
            if (!parse_escape(p)) return false;
            continue;
        }
        size_t length = nacre_utf8_length(p->text + p->at, p->length - p->at);
        if (length == 0) return fail_at(p, p->at, "not valid UTF-8");
        memcpy(p->string_end, p->text + p->at, length);
        p->string_end += length;
        p->at += length;
    }
    p->at++;
    put(p, 0);
    *out = start;
    return true;
}

/* ---- numbers ---- */

/* Skips digits; false (with the error set) when there is none. */
static bool skip_digits(parser *p) {
    if (!is_digit(peek(p))) return fail_at(p, p->at, "expected a digit");
    while (is_digit(peek(p))) p->at++;
    return true;
}

/* The digits text[0, length), without a fraction, as an int64; false when they do not fit. */
static bool to_integer(const char *text, size_t length, int64_t *out) {
    bool negative = text[0] == '-';
    uint64_t value = 0, limit = (uint64_t)INT64_MAX + negative;
    for (size_t i = negative; i < length; i++) {
        unsigned digit = (unsigned)(text[i] - '0');
        if (value > (limit - digit) / 10) return false;
        value = 10 * value + digit;
    }
    *out = negative ? (int64_t)(0 - value) : (int64_t)value;
    return true;
}

static bool parse_number(parser *p, nacre_json *node) {
    size_t start = p->at;
    bool whole = true;
    if (peek(p) == '-') p->at++;
    if (peek(p) == '0') {
        p->at++;
        if (is_digit(peek(p))) return fail_at(p, start, "a number with a leading zero");
    } else if (!skip_digits(p)) {
        return false;
    }
    if (peek(p) == '.') {
        whole = false;
        p->at++;
        if (!skip_digits(p)) return false;
    }
    if (peek(p) == 'e' || peek(p) == 'E') {
        whole = false;
        p->at++;
        if (peek(p) == '+' || peek(p) == '-') p->at++;
        if (!skip_digits(p)) return false;
    }
    /* A copy that ends with a NUL, in the free part of the strings: given back at once. */
    size_t length = p->at - start;
    memcpy(p->string_end, p->text + start, length);
    p->string_end[length] = '\0';
    if (!nacre_text_to_double(p->string_end, &node->number)) {
        return fail_at(p, start, "a number that is too large for a double");
    }
    node->kind = NACRE_JSON_NUMBER;
    node->is_integer = whole && to_integer(p->text + start, length, &node->integer);
    return true;
}

/* ---- nodes ---- */

static nacre_json *new_node(parser *p) {
    nacre_json_document *document = p->document;
    block *b = document->blocks;
    if (p->nodes++ == MAX_NODES) {
        fail_at(p, p->at, "more than 4194304 values");
        return NULL;
    }
    if (!b || b->used == b->capacity) {
        size_t capacity = !b                            ? FIRST_BLOCK
                          : b->capacity < LARGEST_BLOCK ? 2 * b->capacity
                                                        : b->capacity;
        block *fresh = nacre_alloc(sizeof *fresh + capacity * sizeof fresh->nodes[0]);
        if (!fresh) {
            fail_memory(p);
            return NULL;
        }
        *fresh = (block){.before = b, .capacity = capacity};
        b = document->blocks = fresh;
    }
    nacre_json *node = &b->nodes[b->used++];
    *node = (nacre_json){.key = p->key, .offset = p->at};
    p->key = NULL;
    return node;
}

static void append_child(parser *p, nacre_json *node) {
    if (p->depth == 0) {
        p->document->root = node;
        return;
    }
    nacre_json *parent = p->open[p->depth - 1], **last = &p->last[p->depth - 1];
    if (*last)
        (*last)->next = node;
    else
        parent->first = node;
    *last = node;
    parent->count++;
}

static int compare_keys(const void *a, const void *b) {
    const nacre_json *x = *(const nacre_json *const *)a, *y = *(const nacre_json *const *)b;
    int order = strcmp(x->key, y->key);
    if (order != 0) return order;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

/* Sorting finds a repeated key in n log n comparisons whatever the keys are; hashing would not,
   with keys chosen to collide. */
static bool check_keys(parser *p, const nacre_json *object) {
    enum { FEW = 16 };
    const nacre_json *few[FEW], **members = few;
    if (object->count > FEW) {
        members = nacre_alloc_zeroed(object->count, sizeof *members);
        if (!members) return fail_memory(p);
    }
    size_t count = 0;
    for (const nacre_json *member = object->first; member; member = member->next) {
        members[count++] = member;
    }
    qsort(members, count, sizeof *members, compare_keys);
    bool unique = true;
    for (size_t i = 1; i < count && unique; i++) {
        if (strcmp(members[i - 1]->key, members[i]->key) == 0) {
            unique = fail_at(p, members[i]->offset, "the key of this value is given twice");
        }
    }
    if (members != few) nacre_free(members);
    return unique;
}

/* ---- structure ---- */

static bool parse_word(parser *p, const char *word) {
    size_t length = strlen(word);
    if (p->length - p->at < length || memcmp(p->text + p->at, word, length) != 0) {
        return fail_at(p, p->at, "expected a value");
    }
    p->at += length;
    return true;
}

/* "key" and the colon, up to where the value begins. */
static bool parse_key(parser *p) {
    skip_space(p);
    if (peek(p) != '"') return fail_at(p, p->at, "expected a key in double quotes");
    if (!parse_string(p, &p->key)) return false;
    skip_space(p);
    if (peek(p) != ':') return fail_at(p, p->at, "expected ':' after the key");
    p->at++;
    return true;
}

static bool open_container(parser *p, nacre_json *node, nacre_json_kind kind) {
    if (p->depth == MAX_DEPTH) return fail_at(p, p->at, "nested deeper than 64 levels");
    node->kind = kind;
    p->open[p->depth] = node;
    p->last[p->depth] = NULL;
    p->depth++;
    p->at++;
    return true;
}

/* One value, of an array or object only its beginning. */
static bool begin_value(parser *p) {
    skip_space(p);
    int byte = peek(p);
    if (byte < 0) return fail_at(p, p->at, "the text ends where a value should be");
    nacre_json *node = new_node(p);
    if (!node) return false;
    append_child(p, node);
    if (byte == '{') return open_container(p, node, NACRE_JSON_OBJECT);
    if (byte == '[') return open_container(p, node, NACRE_JSON_ARRAY);
    if (byte == '"') {
        node->kind = NACRE_JSON_STRING;
        return parse_string(p, &node->string);
    }
    if (byte == '-' || is_digit(byte)) return parse_number(p, node);
    if (byte == 'n') return parse_word(p, "null");
    node->kind = NACRE_JSON_BOOL;
    node->boolean = byte == 't';
    return parse_word(p, byte == 't' ? "true" : "false");
}

/* After a value or an opening bracket: ends what ends here. *more: another value follows. */
static bool end_containers(parser *p, bool *more) {
    *more = false;
    while (p->depth > 0) {
        nacre_json *parent = p->open[p->depth - 1];
        bool object = parent->kind == NACRE_JSON_OBJECT;
        skip_space(p);
        int byte = peek(p);
        if (byte == (object ? '}' : ']')) {
            p->at++;
            p->depth--;
            if (object && !check_keys(p, parent)) return false;
            continue;
        }
        if (parent->count > 0) {
            if (byte < 0) return fail_at(p, p->at, "the text ends inside an array or object");
            if (byte != ',') {
                return fail_at(p, p->at, object ? "expected ',' or '}'" : "expected ',' or ']'");
            }
            p->at++;
        }
        *more = true;
        return !object || parse_key(p);
    }
    return true;
}

static bool parse_text(parser *p) {
    bool more = true;
    while (more) {
        if (!begin_value(p) || !end_containers(p, &more)) return false;
    }
    skip_space(p);
    return peek(p) < 0 || fail_at(p, p->at, "something follows the value");
}

nacre_json_document *nacre_json_parse(const char *text, size_t length, const char *what) {
    nacre_json_document *document = nacre_alloc_zeroed(1, sizeof *document);
    if (!document) return NULL;
    size_t room;
    /* A string takes a byte less than in the text, with its NUL; a number's copy one byte more. */
    document->strings = nacre_size_add(length, 1, &room) ? nacre_alloc(room) : NULL;
    if (!document->strings) {
        nacre_json_free(document);
        return NULL;
    }
    parser p = {.what = what, .text = text, .length = length, .document = document};
    p.string_end = document->strings;
    if (!parse_text(&p)) {
        nacre_json_free(document);
        return NULL;
    }
    return document;
}

const nacre_json *nacre_json_root(const nacre_json_document *document) { return document->root; }

void nacre_json_free(nacre_json_document *document) {
    if (!document) return;
    while (document->blocks) {
        block *before = document->blocks->before;
        nacre_free(document->blocks);
        document->blocks = before;
    }
    nacre_free(document->strings);
    nacre_free(document);
}

const nacre_json *nacre_json_member(const nacre_json *object, const char *key) {
    if (!object || object->kind != NACRE_JSON_OBJECT) return NULL;
    for (const nacre_json *member = object->first; member; member = member->next) {
        if (strcmp(member->key, key) == 0) return member;
    }
    return NULL;
}
