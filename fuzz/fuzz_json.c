/* The JSON reader: any bytes are a tree whose parts are whole, or an error with its place. */
#include "io/json.h"

#include "io/text.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void require(bool holds) {
    if (!holds) abort();
}

/* Looks at one node and all its strings. */
static void check_node(const nacre_json *node, size_t size, bool member) {
    require(node->offset < size);
    require((node->key != NULL) == member);
    require((node->string != NULL) == (node->kind == NACRE_JSON_STRING));
    nacre_text text = {0};
    if (node->key) nacre_text_append_json(&text, node->key);
    if (node->string) nacre_text_append_json(&text, node->string);
    nacre_text_free(&text);
    if (node->is_integer) require(node->kind == NACRE_JSON_NUMBER);
}

/* Every node of the tree, with a stack as deep as the reader allows. */
static void check_tree(const nacre_json *root, size_t size) {
    struct level {
        const nacre_json *next;
        size_t left;
        bool object;
    } levels[64];
    int depth = 0;
    check_node(root, size, false);
    levels[depth++] = (struct level){root->first, root->count, root->kind == NACRE_JSON_OBJECT};
    while (depth > 0) {
        struct level *level = &levels[depth - 1];
        const nacre_json *node = level->next;
        require((node != NULL) == (level->left > 0));
        if (!node) {
            depth--;
            continue;
        }
        check_node(node, size, level->object);
        level->next = node->next;
        level->left--;
        if (!node->first) continue;
        require(depth < 64);
        levels[depth++] = (struct level){node->first, node->count, node->kind == NACRE_JSON_OBJECT};
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    nacre_json_document *document = nacre_json_parse((const char *)bytes, size, "input");
    if (document) {
        check_tree(nacre_json_root(document), size);
        (void)nacre_json_member(nacre_json_root(document), "dtype");
    } else {
        const char *message = nacre_error_message();
        require(strncmp(message, "input: line ", 12) == 0 && !strchr(message, '\n'));
    }
    nacre_json_free(document);
    return 0;
}
