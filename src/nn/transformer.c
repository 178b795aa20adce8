/* MultiHeadAttention and TransformerBlock. Made of other layers; autograd differentiates them. */
#include "base/error.h"
#include "base/memory.h"
#include "nn/module.h"
#include "nn/options.h"
#include "record/record.h"

#include <inttypes.h>
#include <nacre/ops.h>
#include <stdio.h>

/* ---- MultiHeadAttention ---- */

enum { IN_PROJECTION, OUT_PROJECTION };

static nacre_tensor *attention_forward(nacre_module *module, void *self, nacre_tensor *x) {
    const nacre_multi_head_attention_options *o = self;
    nacre_tensor *qkv = nacre_module_forward(nacre_module_child(module, IN_PROJECTION), x);
    nacre_tensor *y = nacre_f_attention(qkv, .heads = o->heads, .causal = o->causal);
    return nacre_module_forward(nacre_module_child(module, OUT_PROJECTION), y);
}

static void attention_describe(const void *self, char *text, size_t size) {
    const nacre_multi_head_attention_options *o = self;
    snprintf(text, size, "width=%" PRId64 ", heads=%" PRId64 "%s", o->width, o->heads,
             o->causal ? ", causal" : "");
}

/* Of a sample: scores and weighted sums, 2 t^2 width each; five for each of the heads t^2 probabilities. The
   projections count for themselves. */
static double attention_flops(const void *self, nacre_shape input) {
    const nacre_multi_head_attention_options *o = self;
    if (input.ndim != 3) {
        return 0;
    }
    double pairs = (double)input.dims[0] * (double)input.dims[1] * (double)input.dims[1];
    return pairs * (4 * (double)o->width + 5 * (double)o->heads);
}

/* What a wrong number of heads or a wrong width is told; `name`: of the layer. */
static nacre_status check(int64_t width, int64_t heads, const char *name) {
    if (width >= 1 && heads >= 1 && width % heads == 0) {
        return NACRE_OK;
    }
    return nacre_fail(NACRE_INVALID_ARGUMENT,
                      "%s: width is %" PRId64 ", heads is %" PRId64
                      ": at least 1, and the width a multiple of the heads",
                      name, width, heads);
}

nacre_module *nacre_multi_head_attention_at(const nacre_multi_head_attention_options *options) {
    static const nacre_module_class class_ = {.size = sizeof class_,
                                              .name = "MultiHeadAttention",
                                              .forward = attention_forward,
                                              .describe = attention_describe,
                                              .flops = attention_flops,
                                              .destroy = nacre_free};
    nacre_multi_head_attention_options *o = nacre_alloc_zeroed(1, sizeof *o);
    nacre_module *module = nacre_layer_new(&class_, o);
    if (nacre_module_status(module) != NACRE_OK) {
        return module; /* o is freed */
    }
    nacre_status status = NACRE_OUT_OF_MEMORY;
    if (o) {
        status = nacre_options_take(o, sizeof *o, options, "multi_head_attention");
        status = status ? status : check(o->width, o->heads, "multi_head_attention");
    }
    if (status == NACRE_OK) {
        nacre_module_add(module, "in_proj",
                         nacre_linear(o->width, 3 * o->width, .no_bias = o->no_bias));
        nacre_module_add(module, "out_proj",
                         nacre_linear(o->width, o->width, .no_bias = o->no_bias));
    }
    nacre_module_set_error(module, status);
    return module;
}

/* ---- TransformerBlock ---- */

enum { NORM_1, ATTENTION, NORM_2, LINEAR_1, LINEAR_2 };

/* x + attention(norm1(x)), then x + linear2(gelu(linear1(norm2(x)))). */
static nacre_tensor *block_forward(nacre_module *module, void *self, nacre_tensor *x) {
    const nacre_transformer_block_options *o = self;
    nacre_tensor *y = nacre_module_forward(nacre_module_child(module, NORM_1), x);
    x = nacre_add(x, nacre_module_forward(nacre_module_child(module, ATTENTION), y));
    y = nacre_module_forward(nacre_module_child(module, NORM_2), x);
    y = nacre_f_gelu(nacre_module_forward(nacre_module_child(module, LINEAR_1), y), o->gelu);
    return nacre_add(x, nacre_module_forward(nacre_module_child(module, LINEAR_2), y));
}

static void block_describe(const void *self, char *text, size_t size) {
    const nacre_transformer_block_options *o = self;
    snprintf(text, size, "width=%" PRId64 ", heads=%" PRId64 ", hidden=%" PRId64 "%s", o->width,
             o->heads, o->hidden, o->causal ? ", causal" : "");
}

/* The gelu and the two sums; the children count for themselves. */
static double block_flops(const void *self, nacre_shape input) {
    const nacre_transformer_block_options *o = self;
    double rows = (double)nacre_shape_numel(&input) / (double)o->width;
    return rows * (8 * (double)o->hidden + 2 * (double)o->width);
}

static nacre_status block_make(nacre_module *module, nacre_transformer_block_options *o) {
    nacre_status status = check(o->width, o->heads, "transformer_block");
    if (status == NACRE_OK && (o->hidden < 0 || o->width > INT64_MAX / 4)) {
        status = nacre_fail(NACRE_INVALID_ARGUMENT,
                            "transformer_block: hidden is %" PRId64
                            ": it must not be negative; 0 means 4 times the width",
                            o->hidden);
    }
    if (status != NACRE_OK) {
        return status;
    }
    o->hidden = o->hidden ? o->hidden : 4 * o->width;
    nacre_module_add(module, "norm1", nacre_layer_norm(o->width));
    nacre_module_add(module, "self_attn",
                     nacre_multi_head_attention(o->width, o->heads, .causal = o->causal));
    nacre_module_add(module, "norm2", nacre_layer_norm(o->width));
    nacre_module_add(module, "linear1", nacre_linear(o->width, o->hidden));
    nacre_module_add(module, "linear2", nacre_linear(o->hidden, o->width));
    return nacre_module_status(module);
}

nacre_module *nacre_transformer_block_at(const nacre_transformer_block_options *options) {
    static const nacre_module_class class_ = {.size = sizeof class_,
                                              .name = "TransformerBlock",
                                              .forward = block_forward,
                                              .describe = block_describe,
                                              .flops = block_flops,
                                              .destroy = nacre_free};
    nacre_transformer_block_options *o = nacre_alloc_zeroed(1, sizeof *o);
    nacre_module *module = nacre_layer_new(&class_, o);
    if (nacre_module_status(module) != NACRE_OK) {
        return module; /* o is freed */
    }
    nacre_status status =
        o ? nacre_options_take(o, sizeof *o, options, "transformer_block") : NACRE_OUT_OF_MEMORY;
    status = status ? status : block_make(module, o);
    nacre_module_set_error(module, status);
    return module;
}
