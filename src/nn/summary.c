/* The table of a network's layers: shapes come from recording a forward pass, which computes nothing. */
#include "base/error.h"
#include "base/memory.h"
#include "nn/builder.h"
#include "nn/module.h"
#include "record/record.h"

#include <inttypes.h>
#include <nacre/grad.h>
#include <nacre/ops.h>
#include <stdio.h>
#include <string.h>

typedef struct row {
    const nacre_module *module;
    nacre_shape output; /* without the batch axis */
    int64_t parameters; /* its own elements */
    double flops;
} row;

typedef struct table {
    row *rows;
    size_t count, capacity;
    const nacre_module *root;
    bool failed;
} table;

static nacre_shape without_batch(nacre_shape shape) {
    if (shape.ndim > 0) {
        shape.ndim--;
        memmove(shape.dims, shape.dims + 1, (size_t)shape.ndim * sizeof *shape.dims);
    }
    return shape;
}

static int64_t own_parameters(const nacre_module *module) {
    int64_t sum = 0;
    for (size_t i = 0; i < module->entry_count; i++) {
        bool own = module->entries[i].kind == NACRE_ENTRY_PARAMETER;
        sum += own ? nacre_numel(module->entries[i].tensor) : 0;
    }
    return sum;
}

static row *new_row(table *t) {
    if (t->count == t->capacity) {
        size_t capacity = t->capacity ? 2 * t->capacity : 16;
        row *grown = nacre_realloc(t->rows, capacity * sizeof *grown);
        if (!grown) {
            t->failed = true;
            return NULL;
        }
        t->rows = grown;
        t->capacity = capacity;
    }
    return &t->rows[t->count++];
}

/* A module that is called twice has two rows; its parameters count in the first. */
static bool seen(const table *t, const nacre_module *module) {
    for (size_t i = 0; i < t->count; i++) {
        if (t->rows[i].module == module) {
            return true;
        }
    }
    return false;
}

/* Rows are in the order of the calls: made before a layer's forward, completed after it. Containers
   have no row: their children do. */
static void collect(void *context, const nacre_module *module, nacre_tensor *x, nacre_tensor *y) {
    table *t = context;
    if (t->failed || (module->child_count > 0 && module->entry_count == 0)) {
        return;
    }
    if (!y) {
        bool again = seen(t, module);
        row *made = new_row(t);
        if (made) {
            *made = (row){.module = module, .parameters = again ? 0 : own_parameters(module)};
            if (module->class_.flops) {
                made->flops = module->class_.flops(module->self, nacre_shape_of(x));
            }
        }
        return;
    }
    for (size_t i = t->count; i-- > 0;) {
        if (t->rows[i].module == module) {
            t->rows[i].output = without_batch(nacre_shape_of(y));
            return;
        }
    }
}

static nacre_status record_rows(nacre_module *module, nacre_shape input, table *t) {
    nacre_shape batch = {.ndim = input.ndim + 1, .dims = {1}};
    memcpy(batch.dims + 1, input.dims, (size_t)input.ndim * sizeof *input.dims);
    nacre_scope frame = nacre_frame_begin();
    bool grad = nacre_set_grad_enabled(false);
    bool mode = nacre_module_mode_enter(module, NACRE_EVAL);
    nacre_module_set_trace(collect, t);
    nacre_tensor *y = nacre_module_forward(module, nacre_zeros(batch));
    nacre_module_set_trace(NULL, NULL);
    if (mode) {
        nacre_module_mode_leave(module);
    }
    nacre_set_grad_enabled(grad);
    nacre_status status = nacre_is_error(y)
                              ? nacre_fail(nacre_tensor_status(y), "%s", nacre_tensor_message(y))
                              : NACRE_OK;
    nacre_frame_end(frame, NULL, 0);
    return t->failed ? NACRE_OUT_OF_MEMORY : status;
}

static nacre_status fill(nacre_module *module, nacre_shape input, table *t) {
    nacre_status status = nacre_module_check(module, "summary");
    if (status == NACRE_OK && (!nacre_shape_valid(&input) || input.ndim >= NACRE_MAX_DIMS)) {
        status = nacre_fail(NACRE_INVALID_ARGUMENT,
                            "summary: the input's shape needs 0 to %d axes and no negative extent",
                            NACRE_MAX_DIMS - 1);
    }
    return status == NACRE_OK ? record_rows(module, input, t) : status;
}

static void totals(const table *t, int64_t *parameters, double *flops) {
    *parameters = 0;
    *flops = 0;
    for (size_t i = 0; i < t->count; i++) {
        *parameters += t->rows[i].parameters;
        *flops += t->rows[i].flops;
    }
}

static void row_name(const table *t, const row *r, char *name, size_t size) {
    char path[NACRE_MODULE_DEPTH * NACRE_MODULE_NAME];
    nacre_module_path(r->module, path, sizeof path);
    size_t skip = strlen(path) < t->root->prefix ? strlen(path) : t->root->prefix;
    snprintf(name, size, "%s", path + skip);
}

static void row_detail(const row *r, char *detail, size_t size) {
    detail[0] = '\0';
    if (r->module->class_.describe) {
        r->module->class_.describe(r->module->self, detail, size);
    }
}

/* 134794 as "134,794". */
static const char *grouped(double number, char text[48]) {
    char digits[40];
    int length = snprintf(digits, sizeof digits, "%.0f", number), out = 0;
    for (int i = 0; i < length && out < 46; i++) {
        if (i > 0 && (length - i) % 3 == 0) {
            text[out++] = ',';
        }
        text[out++] = digits[i];
    }
    text[out] = '\0';
    return text;
}

typedef struct cells {
    char layer[160], output[NACRE_SHAPE_TEXT], parameters[48], flops[48], detail[128];
} cells;

static cells row_cells(const table *t, const row *r) {
    cells c;
    char name[128];
    row_name(t, r, name, sizeof name);
    snprintf(c.layer, sizeof c.layer, "%s%s%.24s", name, name[0] ? " " : "",
             nacre_module_kind(r->module));
    nacre_shape_text(&r->output, c.output);
    grouped((double)r->parameters, c.parameters);
    grouped(r->flops, c.flops);
    row_detail(r, c.detail, sizeof c.detail);
    return c;
}

static int wider(int width, const char *text) {
    int own = (int)strlen(text);
    return own > width ? own : width;
}

static void add_line(nacre_builder *text, const int width[4], const cells *c) {
    nacre_builder_add(text, "%-*s  %-*s  %*s  %*s%s%s\n", width[0], c->layer, width[1], c->output,
                      width[2], c->parameters, width[3], c->flops, c->detail[0] ? "  " : "",
                      c->detail);
}

char *nacre_module_summary(nacre_module *module, nacre_shape input) {
    table t = {.root = module};
    nacre_builder text = {0};
    if (fill(module, input, &t) == NACRE_OK) {
        int64_t parameters;
        double flops;
        totals(&t, &parameters, &flops);
        char shape[NACRE_SHAPE_TEXT];
        cells head = {"Layer", "Output", "Parameters", "FLOPs", ""}, total = {.layer = "Total"};
        grouped((double)parameters, total.parameters);
        grouped(flops, total.flops);
        int width[4] = {5, 6, wider(10, total.parameters), wider(5, total.flops)};
        for (size_t i = 0; i < t.count; i++) {
            cells c = row_cells(&t, &t.rows[i]);
            width[0] = wider(width[0], c.layer);
            width[1] = wider(width[1], c.output);
        }
        nacre_builder_add(&text, "%s, for one input of shape %s\n", nacre_module_kind(module),
                          nacre_shape_text(&input, shape));
        add_line(&text, width, &head);
        for (size_t i = 0; i < t.count; i++) {
            cells c = row_cells(&t, &t.rows[i]);
            add_line(&text, width, &c);
        }
        add_line(&text, width, &total);
    }
    nacre_free(t.rows);
    return text.bytes;
}

static void add_shape(nacre_builder *text, const nacre_shape *shape) {
    nacre_builder_add(text, "[");
    for (int i = 0; i < shape->ndim; i++) {
        nacre_builder_add(text, "%s%" PRId64, i ? "," : "", shape->dims[i]);
    }
    nacre_builder_add(text, "]");
}

static void add_row(nacre_builder *text, const table *t, const row *r) {
    char name[128], detail[128];
    row_name(t, r, name, sizeof name);
    row_detail(r, detail, sizeof detail);
    nacre_builder_add(text, "{\"name\":");
    nacre_builder_add_quoted(text, name);
    nacre_builder_add(text, ",\"kind\":");
    nacre_builder_add_quoted(text, nacre_module_kind(r->module));
    nacre_builder_add(text, ",\"detail\":");
    nacre_builder_add_quoted(text, detail);
    nacre_builder_add(text, ",\"output\":");
    add_shape(text, &r->output);
    nacre_builder_add(text, ",\"parameters\":%" PRId64 ",\"flops\":%.0f}", r->parameters, r->flops);
}

char *nacre_module_summary_json(nacre_module *module, nacre_shape input) {
    table t = {.root = module};
    nacre_builder text = {0};
    if (fill(module, input, &t) == NACRE_OK) {
        int64_t parameters;
        double flops;
        totals(&t, &parameters, &flops);
        nacre_builder_add(&text, "{\"kind\":");
        nacre_builder_add_quoted(&text, nacre_module_kind(module));
        nacre_builder_add(&text, ",\"input\":");
        add_shape(&text, &input);
        nacre_builder_add(&text, ",\"layers\":[");
        for (size_t i = 0; i < t.count; i++) {
            nacre_builder_add(&text, "%s", i ? "," : "");
            add_row(&text, &t, &t.rows[i]);
        }
        nacre_builder_add(&text, "],\"parameters\":%" PRId64 ",\"flops\":%.0f}", parameters, flops);
    }
    nacre_free(t.rows);
    return text.bytes;
}

void nacre_text_release(char *text) { nacre_free(text); }
