/* State dictionaries of modules and optimisers. */
#include "base/error.h"
#include "base/memory.h"
#include "nn/module.h"
#include "record/record.h"

#include <string.h>

nacre_state_dict *nacre_named_save(const nacre_named *entries, size_t count) {
    nacre_state_dict *dict = nacre_state_dict_new();
    for (size_t i = 0; dict && i < count; i++) {
        if (!entries[i].tied &&
            nacre_state_dict_add(dict, entries[i].name, entries[i].tensor) != NACRE_OK) {
            nacre_state_dict_free(dict);
            dict = NULL;
        }
    }
    return dict;
}

/* Where a load finds entry i: under its own name or, for a tensor with several, under another of them. NULL:
   nowhere. A tied entry is its owner's business unless the dictionary has its name. */
static nacre_tensor *source_of(const nacre_named *entries, size_t count, size_t i,
                               const nacre_state_dict *dict) {
    nacre_tensor *from = nacre_state_dict_find(dict, entries[i].name);
    for (size_t k = 0; !from && !entries[i].tied && k < count; k++) {
        if (entries[k].tied && entries[k].tensor == entries[i].tensor) {
            from = nacre_state_dict_find(dict, entries[k].name);
        }
    }
    return from;
}

/* Whether the dictionary's tensor can become this entry's value; computes it. */
static nacre_status check_entry(const nacre_named *entry, nacre_tensor *from, const char *what) {
    if (!from) {
        return nacre_fail(NACRE_NOT_FOUND, "%s: \"%s\" is missing in the state", what, entry->name);
    }
    if (nacre_is_error(from)) {
        return nacre_fail(nacre_tensor_status(from), "%s: \"%s\": %s", what, entry->name,
                          nacre_tensor_message(from));
    }
    nacre_shape wanted = nacre_shape_of(entry->tensor), given = nacre_shape_of(from);
    if (!nacre_shape_equal(&wanted, &given)) {
        char a[NACRE_SHAPE_TEXT], b[NACRE_SHAPE_TEXT];
        return nacre_fail(NACRE_SHAPE_MISMATCH,
                          "%s: \"%s\" is %s here and %s in the state: it is another network's",
                          what, entry->name, nacre_shape_text(&wanted, a),
                          nacre_shape_text(&given, b));
    }
    if (nacre_dtype_of(entry->tensor) != nacre_dtype_of(from)) {
        return nacre_fail(NACRE_DTYPE_MISMATCH, "%s: \"%s\" is %s here and %s in the state", what,
                          entry->name, nacre_dtype_name(nacre_dtype_of(entry->tensor)),
                          nacre_dtype_name(nacre_dtype_of(from)));
    }
    return nacre_data(from) ? NACRE_OK : nacre_error_code();
}

static nacre_status check_surplus(const nacre_named *entries, size_t count,
                                  const nacre_state_dict *dict, const char *what) {
    for (size_t i = 0; i < nacre_state_dict_count(dict); i++) {
        const char *name = nacre_state_dict_name(dict, i);
        bool known = false;
        for (size_t k = 0; !known && k < count; k++) {
            known = strcmp(entries[k].name, name) == 0;
        }
        if (!known) {
            return nacre_fail(NACRE_INVALID_ARGUMENT,
                              "%s: the state holds \"%s\", which does not exist here", what, name);
        }
    }
    return NACRE_OK;
}

static size_t bytes_of(const nacre_tensor *t) {
    return (size_t)nacre_numel(t) * nacre_dtype_size(nacre_dtype_of(t));
}

/* Values under two names of one tensor must be equal. */
static nacre_status check_tied(const nacre_named *entries, size_t count, size_t i,
                               const nacre_state_dict *dict, const char *what) {
    nacre_tensor *from = nacre_state_dict_find(dict, entries[i].name);
    if (!from) {
        return NACRE_OK;
    }
    nacre_status status = check_entry(&entries[i], from, what);
    for (size_t k = 0; status == NACRE_OK && k < count; k++) {
        bool owner = !entries[k].tied && entries[k].tensor == entries[i].tensor;
        nacre_tensor *other = owner ? source_of(entries, count, k, dict) : NULL;
        if (!other || nacre_is_error(other) || bytes_of(other) != bytes_of(from) ||
            !nacre_data(other)) {
            continue; /* not the owner; or it is wrong, and its own check says so */
        }
        if (memcmp(nacre_data(from), nacre_data(other), bytes_of(from)) != 0) {
            status = nacre_fail(NACRE_INVALID_ARGUMENT,
                                "%s: \"%s\" and \"%s\" are one tensor here and two in the state: "
                                "leave one of them out",
                                what, entries[k].name, entries[i].name);
        }
    }
    return status;
}

/* Everything that may fail; what is pending on the tensors runs before they are overwritten. */
static nacre_status check_load(const nacre_named *entries, size_t count,
                               const nacre_state_dict *dict, const char *what) {
    nacre_status status = NACRE_OK;
    for (size_t i = 0; status == NACRE_OK && i < count; i++) {
        status = entries[i].tied
                     ? check_tied(entries, count, i, dict, what)
                     : check_entry(&entries[i], source_of(entries, count, i, dict), what);
        if (status == NACRE_OK && !nacre_data(entries[i].tensor)) {
            status = nacre_error_code();
        }
    }
    return status ? status : check_surplus(entries, count, dict, what);
}

nacre_status nacre_named_load(const nacre_named *entries, size_t count,
                              const nacre_state_dict *dict, const char *what) {
    if (!dict) {
        return nacre_fail(NACRE_INVALID_ARGUMENT, "%s: the state is NULL", what);
    }
    nacre_status status = check_load(entries, count, dict, what);
    for (size_t i = 0; status == NACRE_OK && i < count; i++) {
        nacre_tensor *from = entries[i].tied ? NULL : source_of(entries, count, i, dict);
        if (from && from != entries[i].tensor) {
            status = nacre_copy_from(entries[i].tensor, nacre_data(from), bytes_of(from));
        }
    }
    return status;
}

/* ---- modules ---- */

static void append(const nacre_module *module, size_t prefix, nacre_named *entries, size_t *count) {
    for (size_t i = 0; i < module->entry_count; i++) {
        const nacre_entry *entry = &module->entries[i];
        entries[(*count)++] = (nacre_named){.name = entry->name + prefix,
                                            .tensor = entry->tensor,
                                            .tied = entry->kind == NACRE_ENTRY_TIED};
    }
    for (size_t i = 0; i < module->child_count; i++) {
        append(module->children[i], prefix, entries, count);
    }
}

/* The tree's tensors as a list, freed by the caller. NULL when memory is short. */
static nacre_named *list_entries(const nacre_module *module, size_t *count) {
    size_t total = 1;
    for (int kind = NACRE_ENTRY_PARAMETER; kind <= NACRE_ENTRY_TIED; kind++) {
        total += nacre_module_entry_count(module, (nacre_entry_kind)kind);
    }
    nacre_named *entries = nacre_alloc_zeroed(total, sizeof *entries);
    *count = 0;
    if (entries) {
        append(module, module->prefix, entries, count);
    }
    return entries;
}

nacre_state_dict *nacre_module_state(const nacre_module *module) {
    if (nacre_module_check(module, "module_state") != NACRE_OK) {
        return NULL;
    }
    size_t count;
    nacre_named *entries = list_entries(module, &count);
    nacre_state_dict *dict = entries ? nacre_named_save(entries, count) : NULL;
    nacre_free(entries);
    return dict;
}

nacre_status nacre_module_load_state(nacre_module *module, const nacre_state_dict *dict) {
    nacre_status status = nacre_module_check(module, "load_state");
    if (status != NACRE_OK) {
        return status;
    }
    size_t count;
    nacre_named *entries = list_entries(module, &count);
    status = entries ? nacre_named_load(entries, count, dict, "load_state") : NACRE_OUT_OF_MEMORY;
    nacre_free(entries);
    return status;
}
