/* Modules from the inside. */
#ifndef NACRE_NN_MODULE_H
#define NACRE_NN_MODULE_H

#include <nacre/nn.h>

/* A tree may be this deep: functions over it recurse. */
#define NACRE_MODULE_DEPTH 64
#define NACRE_MODULE_NAME 64 /* bytes of a name, its end included */

typedef enum nacre_entry_kind {
    NACRE_ENTRY_PARAMETER,
    NACRE_ENTRY_BUFFER, /* state that is not trained */
    NACRE_ENTRY_TIED,   /* another module's parameter under a name of this one's */
} nacre_entry_kind;

typedef struct nacre_entry {
    nacre_entry_kind kind;
    char *name;           /* full: from the root of the tree, such as "0.weight" */
    nacre_tensor *tensor; /* retained */
    nacre_init init;      /* of a parameter */
    double value;         /* of a buffer, everywhere, when the network is assembled */
} nacre_entry;

struct nacre_module {
    nacre_module_class class_;
    void *self;
    nacre_module *parent;
    char name[NACRE_MODULE_NAME]; /* among its siblings; "" for a root */
    size_t prefix; /* bytes of the path before this module's own names, "0.1." has 4 */
    int height;    /* 1 for a leaf */
    nacre_module **children;
    size_t child_count, child_capacity;
    nacre_entry *entries; /* its own, of every kind, in order of registration */
    size_t entry_count, entry_capacity;
    nacre_mode mode;
    uint32_t modes; /* those to return to, one bit each */
    uint64_t draws; /* the thread's, when it last trained: backward computes anew from there */
    nacre_status status;
    char message[512];
    bool immortal; /* stands for a module that found no memory */
    bool own;      /* of the library: the lines of its forward function say nothing to a user */
};

/* nacre_module_new of the library's own classes. */
nacre_module *nacre_layer_new(const nacre_module_class *class_, void *self);

/* Gives the module the thread's last error, unless it has one already. Returns `status`. */
nacre_status nacre_module_set_error(nacre_module *module, nacre_status status);
/* Makes the module's error the thread's last one; NULL is an error too. NACRE_OK without one. */
nacre_status nacre_module_check(const nacre_module *module, const char *what);

/* A tensor of zeros owned by the caller and by no scope; a trained one wants a gradient. NULL: a bad shape, or
   no memory. */
nacre_tensor *nacre_entry_tensor(nacre_dtype dtype, nacre_shape shape, bool trained);

/* Gives a buffer its first value. */
nacre_status nacre_entry_reset(const nacre_entry *entry);

/* The index-th entry of a kind in the tree, and their number. */
const nacre_entry *nacre_module_entry(const nacre_module *module, nacre_entry_kind kind,
                                      size_t index);
size_t nacre_module_entry_count(const nacre_module *module, nacre_entry_kind kind);

/* Calls visit for each module of the tree, parents first, until it returns an error. */
typedef nacre_status nacre_module_visit(nacre_module *module, void *context);
nacre_status nacre_module_walk(nacre_module *module, nacre_module_visit *visit, void *context);

/* The module's place in its tree, such as "0.1"; "" for the root. Writes at most size bytes. */
void nacre_module_path(const nacre_module *module, char *text, size_t size);

/* Frees and takes out the last child. */
void nacre_module_drop_last(nacre_module *module);

/* Puts the whole tree into a mode for a while. false when it was in it already: then nothing was
   written, so that a network in eval mode serves several threads. */
bool nacre_module_mode_enter(nacre_module *module, nacre_mode mode);
void nacre_module_mode_leave(nacre_module *module); /* only after `true` */

/* A tree's calls of forward, for the summary. */
typedef void nacre_module_trace(void *context, const nacre_module *module, nacre_tensor *x,
                                nacre_tensor *y);
/* Sets the calling thread's trace; NULL: none. Called for a parent before its children, with y NULL,
   and again when its output is there. */
void nacre_module_set_trace(nacre_module_trace *trace, void *context);

/* Takes tensors by name from a dictionary: all are checked before the first is written. `what` begins
   the error messages. Surplus entries of the dictionary are an error. A tied entry is a second name of an
   earlier one's tensor: not saved; a dictionary may hold either name, or both with equal values. */
typedef struct nacre_named {
    const char *name;
    nacre_tensor *tensor;
    bool tied;
} nacre_named;
nacre_status nacre_named_load(const nacre_named *entries, size_t count,
                              const nacre_state_dict *dict, const char *what);
nacre_state_dict *nacre_named_save(const nacre_named *entries, size_t count);

#endif
