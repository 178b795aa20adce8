/* Printing, as NumPy does it: nested brackets, the middle of long axes left out. */
#include "base/error.h"
#include "record/record.h"

#include <inttypes.h>
#include <math.h>

#define EDGE_ITEMS 3    /* shown at each end of a long axis */
#define FULL_LIMIT 1000 /* elements printed without leaving any out */

typedef struct printer {
    FILE *out; /* NULL: only find the width */
    const nacre_dtype_info *info;
    const unsigned char *data;
    const nacre_shape *shape;
    int64_t strides[NACRE_MAX_DIMS];
    bool shorten;
    int width; /* of the widest element shown: columns are aligned to it */
} printer;

static int format_element(const printer *p, int64_t at, char text[32]) {
    const void *element = p->data + at * (int64_t)p->info->size;
    if (p->info->kind == NACRE_CLASS_BOOL) {
        return snprintf(text, 32, "%s", p->info->load_int(element) ? "true" : "false");
    }
    if (p->info->kind == NACRE_CLASS_INT) {
        return snprintf(text, 32, "%" PRId64, p->info->load_int(element));
    }
    double value = p->info->load(element);
    return isnan(value) ? snprintf(text, 32, "nan") /* without the sign that C would show */
                        : snprintf(text, 32, "%.*g", p->info->size > 4 ? 8 : 6, value);
}

static void show_element(printer *p, int64_t at) {
    char text[32];
    int width = format_element(p, at, text);
    if (p->out) {
        fprintf(p->out, "%*s", p->width, text);
    } else if (width > p->width) {
        p->width = width;
    }
}

static void show_text(const printer *p, const char *text, int indent) {
    if (p->out) {
        fprintf(p->out, "%s%*s", text, indent, "");
    }
}

/* Depth is bounded by NACRE_MAX_DIMS. */
static void show_axis(printer *p, int axis, int64_t at) {
    if (axis == p->shape->ndim) {
        show_element(p, at);
        return;
    }
    int64_t extent = p->shape->dims[axis];
    bool cut = p->shorten && extent > 2 * EDGE_ITEMS;
    bool last = axis == p->shape->ndim - 1;
    int indent = last ? 0 : axis + 1;
    show_text(p, "[", 0);
    for (int64_t i = 0; i < extent; i++) {
        if (i > 0) {
            show_text(p, last ? ", " : ",\n", indent);
        }
        if (cut && i == EDGE_ITEMS) {
            show_text(p, last ? "..., " : "...,\n", indent);
            i = extent - EDGE_ITEMS;
        }
        show_axis(p, axis + 1, at + i * p->strides[axis]);
    }
    show_text(p, "]", 0);
}

nacre_status nacre_fprint(FILE *out, nacre_tensor *t) {
    const void *data = nacre_data(t);
    if (!data) {
        return nacre_error_code();
    }
    const nacre_value *value = t->value;
    printer p = {.info = nacre_dtype_get(value->dtype),
                 .data = data,
                 .shape = &value->shape,
                 .shorten = nacre_shape_numel(&value->shape) > FULL_LIMIT};
    nacre_shape_strides(&value->shape, p.strides);
    show_axis(&p, 0, 0);
    p.out = out;
    show_axis(&p, 0, 0);
    char text[NACRE_SHAPE_TEXT];
    int written = fprintf(out, " %s %s\n", p.info->name, nacre_shape_text(&value->shape, text));
    return written < 0 || ferror(out) ? nacre_fail(NACRE_IO_ERROR, "print: cannot write")
                                      : NACRE_OK;
}

nacre_status nacre_print(nacre_tensor *t) { return nacre_fprint(stdout, t); }
