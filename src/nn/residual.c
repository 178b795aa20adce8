/* Residual: y = body(x) + shortcut(x) (He et al. 2016). */
#include "base/error.h"
#include "nn/module.h"
#include "record/record.h"

#include <nacre/grad.h>
#include <nacre/ops.h>

static nacre_module *body_of(const nacre_module *module) { return nacre_module_child(module, 0); }

/* NULL: the input itself is added. */
static nacre_module *shortcut_of(const nacre_module *module) {
    return nacre_module_child(module, 1);
}

static nacre_tensor *residual_forward(nacre_module *module, void *self, nacre_tensor *x) {
    (void)self;
    nacre_tensor *a = nacre_module_forward(body_of(module), x);
    nacre_tensor *b = shortcut_of(module) ? nacre_module_forward(shortcut_of(module), x) : x;
    if (nacre_is_error(a) || nacre_is_error(b)) {
        return nacre_is_error(a) ? a : b;
    }
    nacre_shape one = nacre_shape_of(a), other = nacre_shape_of(b);
    if (!nacre_shape_equal(&one, &other)) {
        char text[2][NACRE_SHAPE_TEXT];
        nacre_fail(NACRE_SHAPE_MISMATCH,
                   "residual: the body gives %s, the %s %s: the shapes must be equal",
                   nacre_shape_text(&one, text[0]), shortcut_of(module) ? "shortcut" : "input is",
                   nacre_shape_text(&other, text[1]));
        return nacre_error_tensor();
    }
    return nacre_add(a, b);
}

/* dx = dbody/dx dy + dshortcut/dx dy. The two outputs are computed anew, as in Sequential. */
static nacre_tensor *residual_backward(nacre_module *module, void *self, nacre_tensor *x,
                                       nacre_tensor *y, nacre_tensor *dy) {
    (void)self, (void)y;
    nacre_module *const children[] = {body_of(module), shortcut_of(module)};
    nacre_tensor *sum = children[1] ? NULL : dy;
    for (int i = 0; i < 2 && children[i]; i++) {
        nacre_tensor *out = nacre_module_forward(children[i], x);
        nacre_tensor *dx = nacre_module_backward(children[i], x, out, dy);
        sum = sum ? nacre_add(dx, sum) : dx;
    }
    return sum;
}

nacre_module *nacre_residual(nacre_module *body, nacre_module *shortcut) {
    static const nacre_module_class class_ = {.size = sizeof class_,
                                              .name = "Residual",
                                              .forward = residual_forward,
                                              .backward = residual_backward};
    nacre_module *module = nacre_layer_new(&class_, NULL);
    nacre_module_add(module, "body", body);
    if (shortcut) {
        nacre_module_add(module, "shortcut", shortcut);
    }
    return module;
}
