/* A language model of characters (Radford et al. 2018): causal blocks of four heads. The last layer's weight is the
   embedding's. */
#include "models/models.h"

#include <nacre/nacre.h>
#include <stdlib.h>

enum { GPT_HEADS = 4 };

typedef struct gpt {
    nacre_module *tokens, *positions, *blocks, *norm, *head;
} gpt;

static nacre_tensor *gpt_forward(nacre_module *module, void *self, nacre_tensor *x) {
    (void)module;
    const gpt *g = self;
    nacre_tensor *tokens = nacre_module_forward(g->tokens, x);
    nacre_tensor *positions = nacre_module_parameter_at(g->positions, 0);
    if (nacre_size(x, 1) < nacre_size(positions, 0))
        positions = nacre_slice(positions, 0, 0, nacre_size(x, 1), 1);
    nacre_tensor *y = nacre_module_forward(g->blocks, nacre_add(tokens, positions));
    return nacre_module_forward(g->head, nacre_module_forward(g->norm, y));
}

nacre_module *nacre_example_gpt(int64_t characters, int64_t context, int64_t width,
                                int64_t blocks) {
    static const nacre_module_class class_ = {
        .size = sizeof class_, .name = "GPT", .forward = gpt_forward, .destroy = free};
    gpt *g = calloc(1, sizeof *g);
    if (!g) return NULL;
    nacre_module *module = nacre_module_new(&class_, g); /* owns g from here on */
    if (nacre_module_status(module) != NACRE_OK) return module;
    g->blocks = nacre_sequential_of(NULL, 0);
    for (int64_t i = 0; i < blocks; i++)
        nacre_module_add(
            g->blocks, NULL,
            nacre_transformer_block(width, GPT_HEADS, .causal = true, .gelu = NACRE_GELU_TANH));
    g->tokens = nacre_embedding(characters, width, .init = NACRE_INIT_SMALL);
    g->positions = nacre_embedding(context, width, .init = NACRE_INIT_SMALL);
    g->norm = nacre_layer_norm(width);
    g->head = nacre_linear(width, characters, .no_bias = true,
                           .weight = nacre_module_parameter_at(g->tokens, 0));
    /* A module owns its children and frees them, also after an error, which it then carries. */
    nacre_module_add(module, "tokens", g->tokens);
    nacre_module_add(module, "positions", g->positions);
    nacre_module_add(module, "blocks", g->blocks);
    nacre_module_add(module, "norm", g->norm);
    nacre_module_add(module, "head", g->head);
    return module;
}
