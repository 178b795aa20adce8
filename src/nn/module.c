/* The tree of modules: life, names, errors that stay. */
#include "nn/module.h"

#include "base/error.h"
#include "base/memory.h"
#include "record/record.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* Stands for every module that found no memory. It is never written. */
static nacre_module out_of_memory = {
    .class_ = {.size = sizeof(nacre_module_class), .name = "?"},
    .height = 1,
    .status = NACRE_OUT_OF_MEMORY,
    .message = "module: out of memory",
    .immortal = true,
};

/* ---- errors ---- */

nacre_status nacre_module_set_error(nacre_module *module, nacre_status status) {
    if (status != NACRE_OK && !module->immortal && module->status == NACRE_OK) {
        module->status = status;
        snprintf(module->message, sizeof module->message, "%s", nacre_error_message());
    }
    return status;
}

nacre_status nacre_module_check(const nacre_module *module, const char *what) {
    if (!module) {
        return nacre_fail(NACRE_INVALID_ARGUMENT, "%s: the module is NULL", what);
    }
    return module->status == NACRE_OK ? NACRE_OK
                                      : nacre_fail(module->status, "%s", module->message);
}

nacre_status nacre_module_status(const nacre_module *module) {
    return module ? module->status : NACRE_INVALID_ARGUMENT;
}

const char *nacre_module_message(const nacre_module *module) {
    return module ? module->message : "the module is NULL";
}

const char *nacre_module_kind(const nacre_module *module) {
    return module && module->class_.name ? module->class_.name : "?";
}

/* ---- life ---- */

nacre_module *nacre_module_new(const nacre_module_class *class_, void *self) {
    nacre_module *module = nacre_alloc_zeroed(1, sizeof *module);
    if (!module) {
        if (class_ && class_->size >= sizeof *class_ && class_->destroy) {
            class_->destroy(self);
        }
        return &out_of_memory;
    }
    module->self = self;
    module->height = 1;
    if (!class_ || class_->size < sizeof(size_t)) {
        nacre_module_set_error(module, nacre_fail(NACRE_INVALID_ARGUMENT,
                                                  "module: the class is NULL or its size not set"));
        return module;
    }
    size_t known = class_->size < sizeof *class_ ? class_->size : sizeof *class_;
    memcpy(&module->class_, class_, known);
    if (!module->class_.name || !module->class_.forward) {
        nacre_module_set_error(module, nacre_fail(NACRE_INVALID_ARGUMENT,
                                                  "module: the class needs a name and a forward"));
    }
    return module;
}

nacre_module *nacre_layer_new(const nacre_module_class *class_, void *self) {
    nacre_module *module = nacre_module_new(class_, self);
    if (!module->immortal) {
        module->own = true;
    }
    return module;
}

static void module_destroy(nacre_module *module) {
    if (module->immortal) {
        return;
    }
    for (size_t i = 0; i < module->child_count; i++) {
        module_destroy(module->children[i]);
    }
    for (size_t i = 0; i < module->entry_count; i++) {
        nacre_release(module->entries[i].tensor);
        nacre_free(module->entries[i].name);
    }
    if (module->class_.destroy) {
        module->class_.destroy(module->self);
    }
    nacre_free(module->children);
    nacre_free(module->entries);
    nacre_free(module);
}

void nacre_module_free(nacre_module *module) {
    if (!module || module->immortal) {
        return;
    }
    if (module->parent) {
        nacre_fail(
            NACRE_INVALID_STATE,
            "module_free: this %s belongs to a %s, which frees it: free the outermost module",
            nacre_module_kind(module), nacre_module_kind(module->parent));
        return;
    }
    module_destroy(module);
}

void nacre_module_drop_last(nacre_module *module) {
    if (module->child_count > 0) {
        module_destroy(module->children[--module->child_count]);
    }
}

/* ---- names ---- */

/* Names are parts of paths and of file entries: letters, digits, "_" and "-". */
static nacre_status check_name(const nacre_module *module, const char *name) {
    size_t length = name ? strlen(name) : 0;
    bool good = length > 0 && length < NACRE_MODULE_NAME;
    for (size_t i = 0; good && i < length; i++) {
        good = isalnum((unsigned char)name[i]) || name[i] == '_' || name[i] == '-';
    }
    if (!good) {
        return nacre_fail(NACRE_INVALID_ARGUMENT,
                          "%s: \"%s\" cannot be a name: 1 to %d letters, digits, _ or -",
                          nacre_module_kind(module), name ? name : "", NACRE_MODULE_NAME - 1);
    }
    for (size_t i = 0; i < module->child_count; i++) {
        if (strcmp(module->children[i]->name, name) == 0) {
            return nacre_fail(NACRE_INVALID_ARGUMENT, "%s: there is a child \"%s\" already",
                              nacre_module_kind(module), name);
        }
    }
    for (size_t i = 0; i < module->entry_count; i++) {
        if (strcmp(module->entries[i].name + module->prefix, name) == 0) {
            return nacre_fail(NACRE_INVALID_ARGUMENT, "%s: there is a parameter \"%s\" already",
                              nacre_module_kind(module), name);
        }
    }
    return NACRE_OK;
}

void nacre_module_path(const nacre_module *module, char *text, size_t size) {
    const nacre_module *path[NACRE_MODULE_DEPTH];
    size_t depth = 0, used = 0;
    for (; module->parent && depth < NACRE_MODULE_DEPTH; module = module->parent) {
        path[depth++] = module;
    }
    text[0] = '\0';
    while (depth > 0 && used < size) {
        const char *name = path[--depth]->name;
        used += (size_t)snprintf(text + used, size - used, "%s%s", used ? "." : "", name);
    }
}

/* The full name of something called `name` in this module; NULL when memory is short. */
static char *full_name(const nacre_module *module, const char *name) {
    char path[NACRE_MODULE_DEPTH * NACRE_MODULE_NAME];
    nacre_module_path(module, path, sizeof path);
    size_t size = strlen(path) + strlen(name) + 2;
    char *full = nacre_alloc(size);
    if (full) {
        snprintf(full, size, "%s%s%s", path, path[0] ? "." : "", name);
    }
    return full;
}

/* After a tree got a parent: longer names all through it. A failure leaves some short ones, so the tree
   is of no further use then. */
static nacre_status rename_entries(nacre_module *module, void *context) {
    (void)context;
    size_t old_prefix = module->prefix;
    char path[NACRE_MODULE_DEPTH * NACRE_MODULE_NAME];
    nacre_module_path(module, path, sizeof path);
    for (size_t i = 0; i < module->entry_count; i++) {
        char *full = full_name(module, module->entries[i].name + old_prefix);
        if (!full) {
            return NACRE_OUT_OF_MEMORY;
        }
        nacre_free(module->entries[i].name);
        module->entries[i].name = full;
    }
    module->prefix = path[0] ? strlen(path) + 1 : 0;
    return NACRE_OK;
}

/* ---- the tree ---- */

static nacre_module *root_of(nacre_module *module) {
    while (module->parent) {
        module = module->parent;
    }
    return module;
}

static int depth_of(const nacre_module *module) {
    int depth = 1;
    for (; module->parent; module = module->parent) {
        depth++;
    }
    return depth;
}

nacre_status nacre_module_walk(nacre_module *module, nacre_module_visit *visit, void *context) {
    nacre_status status = visit(module, context);
    for (size_t i = 0; status == NACRE_OK && i < module->child_count; i++) {
        status = nacre_module_walk(module->children[i], visit, context);
    }
    return status;
}

static bool reserve_child(nacre_module *module) {
    if (module->child_count < module->child_capacity) {
        return true;
    }
    size_t capacity = module->child_capacity ? 2 * module->child_capacity : 8;
    nacre_module **grown = nacre_realloc(module->children, capacity * sizeof *grown);
    if (grown) {
        module->children = grown;
        module->child_capacity = capacity;
    }
    return grown != NULL;
}

/* A child's error with its place: "layer 1.0: ..." for one that was wrong two levels down. */
static nacre_status child_error(const char *name, const nacre_module *child) {
    const char *message = child->message;
    bool placed = strncmp(message, "layer ", 6) == 0;
    return nacre_fail(child->status, "layer %s%s%s", name, placed ? "." : ": ",
                      placed ? message + 6 : message);
}

/* What speaks against this child, apart from its belonging to another already. */
static nacre_status check_child(nacre_module *parent, const char *name, nacre_module *child) {
    nacre_status status = check_name(parent, name);
    if (status != NACRE_OK) {
        return status;
    }
    if (child->status != NACRE_OK) {
        return child_error(name, child);
    }
    if (depth_of(parent) + child->height > NACRE_MODULE_DEPTH) {
        return nacre_fail(NACRE_INVALID_ARGUMENT, "%s: modules nested more than %d deep",
                          nacre_module_kind(parent), NACRE_MODULE_DEPTH);
    }
    return reserve_child(parent) ? NACRE_OK : NACRE_OUT_OF_MEMORY;
}

static void raise_heights(nacre_module *module) {
    for (nacre_module *m = module; m; m = m->parent) {
        for (size_t i = 0; i < m->child_count; i++) {
            int height = m->children[i]->height + 1;
            m->height = height > m->height ? height : m->height;
        }
    }
}

nacre_status nacre_module_add(nacre_module *parent, const char *name, nacre_module *child) {
    nacre_status status = nacre_module_check(parent, "module_add");
    char index[24];
    if (parent && !name) {
        snprintf(index, sizeof index, "%zu", parent->child_count);
        name = index;
    }
    if (status == NACRE_OK && !child) {
        status = nacre_fail(NACRE_INVALID_ARGUMENT, "%s: layer %s is NULL",
                            nacre_module_kind(parent), name);
        return nacre_module_set_error(parent, status);
    }
    if (!child) {
        return status;
    }
    if (child->parent || (parent && root_of(parent) == child)) {
        /* It has an owner: whatever happens here, that one frees it. */
        status = nacre_fail(NACRE_INVALID_ARGUMENT, "%s: layer %s belongs to a module already",
                            nacre_module_kind(parent), name ? name : "?");
        return parent ? nacre_module_set_error(parent, status) : status;
    }
    if (status == NACRE_OK) {
        status = check_child(parent, name, child);
    }
    if (status == NACRE_OK) {
        child->parent = parent;
        snprintf(child->name, sizeof child->name, "%s", name);
        parent->children[parent->child_count++] = child;
        raise_heights(parent);
        status = nacre_module_walk(child, rename_entries, NULL);
        if (status != NACRE_OK) {
            parent->child_count--;
        }
    }
    if (status != NACRE_OK) {
        if (parent) {
            nacre_module_set_error(parent, status);
        }
        module_destroy(child);
    }
    return status;
}

size_t nacre_module_child_count(const nacre_module *module) {
    return module ? module->child_count : 0;
}

nacre_module *nacre_module_child(const nacre_module *module, size_t index) {
    return module && index < module->child_count ? module->children[index] : NULL;
}

/* ---- parameters, buffers, tied parameters ---- */

/* Takes the caller's reference to the tensor, also when it fails; NULL: it could not be made. */
static nacre_status add_entry(nacre_module *module, const char *name, nacre_entry entry) {
    nacre_status status = entry.tensor ? NACRE_OK : nacre_error_code();
    if (status == NACRE_OK && module->entry_count == module->entry_capacity) {
        size_t capacity = module->entry_capacity ? 2 * module->entry_capacity : 4;
        nacre_entry *grown = nacre_realloc(module->entries, capacity * sizeof *grown);
        if (grown) {
            module->entries = grown;
            module->entry_capacity = capacity;
        }
        status = grown ? NACRE_OK : NACRE_OUT_OF_MEMORY;
    }
    entry.name = status == NACRE_OK ? full_name(module, name) : NULL;
    if (!entry.name) {
        nacre_release(entry.tensor);
        return status ? status : NACRE_OUT_OF_MEMORY;
    }
    module->entries[module->entry_count++] = entry;
    return NACRE_OK;
}

/* The last entry's tensor, or an error tensor; the status stays with the module. */
static nacre_tensor *added(nacre_module *module, nacre_status status) {
    if (module) {
        nacre_module_set_error(module, status);
    }
    return status == NACRE_OK ? module->entries[module->entry_count - 1].tensor
                              : nacre_error_tensor();
}

nacre_tensor *nacre_module_parameter(nacre_module *module, const char *name, nacre_shape shape,
                                     nacre_init init) {
    nacre_status status = nacre_module_check(module, "module_parameter");
    status = status ? status : check_name(module, name);
    if (status == NACRE_OK && (init < NACRE_INIT_DEFAULT || init > NACRE_INIT_SMALL)) {
        status = nacre_fail(NACRE_INVALID_ARGUMENT, "%s: parameter \"%s\": no such init: %d",
                            nacre_module_kind(module), name, (int)init);
    }
    if (status == NACRE_OK) {
        nacre_entry entry = {.tensor = nacre_entry_tensor(NACRE_F32, shape, true), .init = init};
        status = add_entry(module, name, entry);
    }
    return added(module, status);
}

nacre_tensor *nacre_module_buffer(nacre_module *module, const char *name, nacre_shape shape,
                                  nacre_dtype dtype, double value) {
    nacre_status status = nacre_module_check(module, "module_buffer");
    status = status ? status : check_name(module, name);
    dtype = dtype ? dtype : NACRE_F32;
    if (status == NACRE_OK && !nacre_dtype_size(dtype)) {
        status = nacre_fail(NACRE_INVALID_ARGUMENT, "%s: buffer \"%s\": no such dtype: %d",
                            nacre_module_kind(module), name, (int)dtype);
    }
    if (status == NACRE_OK) {
        nacre_entry entry = {.kind = NACRE_ENTRY_BUFFER,
                             .tensor = nacre_entry_tensor(dtype, shape, false),
                             .value = value};
        status = add_entry(module, name, entry);
    }
    if (status == NACRE_OK) {
        status = nacre_entry_reset(&module->entries[module->entry_count - 1]);
    }
    return added(module, status);
}

nacre_tensor *nacre_module_tie(nacre_module *module, const char *name, nacre_tensor *parameter) {
    nacre_status status = nacre_module_check(module, "module_tie");
    status = status ? status : check_name(module, name);
    if (status == NACRE_OK && parameter && nacre_is_error(parameter)) {
        status = nacre_fail(nacre_tensor_status(parameter), "%s", nacre_tensor_message(parameter));
    } else if (status == NACRE_OK && (!parameter || !parameter->gradient)) {
        status = nacre_fail(
            NACRE_INVALID_ARGUMENT, "%s: \"%s\" is tied to %s: give a parameter of another module",
            nacre_module_kind(module), name, parameter ? "a tensor that is no parameter" : "NULL");
    }
    if (status == NACRE_OK) {
        nacre_entry entry = {.kind = NACRE_ENTRY_TIED, .tensor = nacre_retain(parameter)};
        status = add_entry(module, name, entry);
    }
    return added(module, status);
}

/* The index-th entry of a kind; *index counts down to it. */
static const nacre_entry *find_entry(const nacre_module *module, nacre_entry_kind kind,
                                     size_t *index) {
    for (size_t i = 0; i < module->entry_count; i++) {
        if (module->entries[i].kind == kind && (*index)-- == 0) {
            return &module->entries[i];
        }
    }
    const nacre_entry *found = NULL;
    for (size_t i = 0; !found && i < module->child_count; i++) {
        found = find_entry(module->children[i], kind, index);
    }
    return found;
}

const nacre_entry *nacre_module_entry(const nacre_module *module, nacre_entry_kind kind,
                                      size_t index) {
    return module ? find_entry(module, kind, &index) : NULL;
}

size_t nacre_module_entry_count(const nacre_module *module, nacre_entry_kind kind) {
    size_t count = 0;
    for (size_t i = 0; module && i < module->entry_count; i++) {
        count += module->entries[i].kind == kind;
    }
    for (size_t i = 0; module && i < module->child_count; i++) {
        count += nacre_module_entry_count(module->children[i], kind);
    }
    return count;
}

static nacre_tensor *tensor_at(const nacre_module *module, nacre_entry_kind kind, size_t index) {
    const nacre_entry *found = nacre_module_entry(module, kind, index);
    return found ? found->tensor : NULL;
}

static const char *name_at(const nacre_module *module, nacre_entry_kind kind, size_t index) {
    const nacre_entry *found = nacre_module_entry(module, kind, index);
    return found ? found->name + module->prefix : NULL;
}

size_t nacre_module_parameter_count(const nacre_module *module) {
    return nacre_module_entry_count(module, NACRE_ENTRY_PARAMETER);
}

nacre_tensor *nacre_module_parameter_at(const nacre_module *module, size_t index) {
    return tensor_at(module, NACRE_ENTRY_PARAMETER, index);
}

const char *nacre_module_parameter_name(const nacre_module *module, size_t index) {
    return name_at(module, NACRE_ENTRY_PARAMETER, index);
}

size_t nacre_module_buffer_count(const nacre_module *module) {
    return nacre_module_entry_count(module, NACRE_ENTRY_BUFFER);
}

nacre_tensor *nacre_module_buffer_at(const nacre_module *module, size_t index) {
    return tensor_at(module, NACRE_ENTRY_BUFFER, index);
}

const char *nacre_module_buffer_name(const nacre_module *module, size_t index) {
    return name_at(module, NACRE_ENTRY_BUFFER, index);
}
