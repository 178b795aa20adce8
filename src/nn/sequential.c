/* Chains of modules. */
#include "base/error.h"
#include "base/memory.h"
#include "nn/module.h"
#include "record/record.h"

#include <nacre/grad.h>

static nacre_tensor *sequential_forward(nacre_module *module, void *self, nacre_tensor *x) {
    (void)self;
    for (size_t i = 0; i < module->child_count; i++) {
        x = nacre_module_forward(module->children[i], x);
    }
    return x;
}

/* The children's outputs are computed anew: keeping them would tie a module to one pass, and in one
   evaluation with the forward pass they are the only ones. y, given, is the last. */
static nacre_tensor *sequential_backward(nacre_module *module, void *self, nacre_tensor *x,
                                         nacre_tensor *y, nacre_tensor *dy) {
    (void)self;
    size_t count = module->child_count;
    if (count == 0) {
        return dy;
    }
    nacre_tensor **values = nacre_alloc((count + 1) * sizeof *values);
    if (!values) {
        return nacre_error_tensor();
    }
    values[0] = x;
    values[count] = y;
    for (size_t i = 0; i + 1 < count; i++) {
        values[i + 1] = nacre_module_forward(module->children[i], values[i]);
    }
    for (size_t i = count; i-- > 0;) {
        dy = nacre_module_backward(module->children[i], values[i], values[i + 1], dy);
    }
    nacre_free(values);
    return dy;
}

static const nacre_module_class sequential_class = {.size = sizeof sequential_class,
                                                    .name = "Sequential",
                                                    .forward = sequential_forward,
                                                    .backward = sequential_backward};

nacre_module *nacre_sequential_of(nacre_module *const *modules, size_t count) {
    nacre_module *module = nacre_layer_new(&sequential_class, NULL);
    if (!modules && count > 0) {
        nacre_module_set_error(
            module, nacre_fail(NACRE_INVALID_ARGUMENT, "sequential: the list of modules is NULL"));
        return module;
    }
    for (size_t i = 0; i < count; i++) {
        nacre_module_add(module, NULL, modules[i]);
    }
    return module;
}

nacre_module *nacre_mlp(const int64_t *widths, size_t count) {
    nacre_module *module = nacre_layer_new(&sequential_class, NULL);
    if (!widths || count < 2) {
        nacre_module_set_error(
            module, nacre_fail(NACRE_INVALID_ARGUMENT,
                               "mlp: %zu widths: it needs the input's and the output's", count));
        return module;
    }
    for (size_t i = 0; i + 1 < count; i++) {
        nacre_module_add(module, NULL, nacre_linear(widths[i], widths[i + 1]));
        if (i + 2 < count) {
            nacre_module_add(module, NULL, nacre_relu());
        }
    }
    return module;
}
