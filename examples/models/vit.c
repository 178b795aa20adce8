/* A vision transformer (Dosovitskiy et al. 2021) for 28 x 28 pictures: 16 patches of 7 x 7 and a token for the
   class, in blocks of four heads. */
#include "models/models.h"

#include <nacre/nacre.h>
#include <stdlib.h>

enum { VIT_HEADS = 4, VIT_PATCH = 7, VIT_GRID = 4 };

typedef struct vit {
    int64_t width;
    nacre_tensor *cls, *pos;
    nacre_module *embed, *blocks, *norm, *head;
} vit;

/* [n, 28, 28] -> [n, 16, 49]: patch (i, j) of the picture as row 4 i + j. */
static nacre_tensor *vit_patches(nacre_tensor *x) {
    int64_t n = nacre_size(x, 0);
    x = nacre_reshape(x, NACRE_SHAPE(n, VIT_GRID, VIT_PATCH, VIT_GRID, VIT_PATCH));
    x = nacre_transpose(x, 2, 3);
    return nacre_reshape(x, NACRE_SHAPE(n, VIT_GRID * VIT_GRID, VIT_PATCH * VIT_PATCH));
}

static nacre_tensor *vit_forward(nacre_module *module, void *self, nacre_tensor *x) {
    (void)module;
    const vit *v = self;
    nacre_tensor *patches = nacre_module_forward(v->embed, vit_patches(x));
    nacre_tensor *cls = nacre_broadcast_to(v->cls, NACRE_SHAPE(nacre_size(x, 0), 1, v->width));
    nacre_tensor *tokens = nacre_concat(((nacre_tensor *[]){cls, patches}), 2, 1);
    tokens = nacre_module_forward(v->blocks, nacre_add(tokens, v->pos));
    /* Only the class's token is asked: the norm of the others need not be made. */
    nacre_tensor *first = nacre_index(tokens, ":, 0");
    return nacre_module_forward(v->head, nacre_module_forward(v->norm, first));
}

nacre_module *nacre_example_vit(int64_t width, int64_t blocks) {
    static const nacre_module_class class_ = {
        .size = sizeof class_, .name = "ViT", .forward = vit_forward, .destroy = free};
    vit *v = calloc(1, sizeof *v);
    if (!v) return NULL;
    nacre_module *module = nacre_module_new(&class_, v); /* owns v from here on */
    if (nacre_module_status(module) != NACRE_OK) return module;
    v->width = width;
    v->cls = nacre_module_parameter(module, "cls", NACRE_SHAPE(1, 1, width), NACRE_INIT_ZEROS);
    v->pos = nacre_module_parameter(module, "pos", NACRE_SHAPE(1, VIT_GRID * VIT_GRID + 1, width),
                                    NACRE_INIT_SMALL);
    v->blocks = nacre_sequential_of(NULL, 0);
    for (int64_t i = 0; i < blocks; i++)
        nacre_module_add(v->blocks, NULL,
                         nacre_transformer_block(width, VIT_HEADS, .gelu = NACRE_GELU_TANH));
    /* A module owns its children and frees them, also after an error, which it then carries. */
    nacre_module_add(module, "embed", v->embed = nacre_linear(VIT_PATCH * VIT_PATCH, width));
    nacre_module_add(module, "blocks", v->blocks);
    nacre_module_add(module, "norm", v->norm = nacre_layer_norm(width));
    nacre_module_add(module, "head", v->head = nacre_linear(width, 10));
    return module;
}
