/* Printing, as NumPy does it: nested brackets, the middle of long axes left out. */
#include "base/error.h"
#include "record/record.h"

#include <inttypes.h>

#define EDGE_ITEMS 3    /* shown at each end of a long axis */
#define FULL_LIMIT 1000 /* elements printed without leaving any out */

typedef struct printer {
    FILE *out;
    const nacre_dtype_info *info;
    const unsigned char *data;
    const nacre_shape *shape;
    int64_t strides[NACRE_MAX_DIMS];
    bool shorten;
} printer;

static void print_element(const printer *p, int64_t at) {
    const void *element = p->data + at * (int64_t)p->info->size;
    if (p->info->kind == NACRE_CLASS_FLOAT) {
        fprintf(p->out, "%.*g", p->info->size > 4 ? 8 : 6, p->info->load(element));
    } else if (p->info->kind == NACRE_CLASS_BOOL) {
        fputs(p->info->load_int(element) ? "true" : "false", p->out);
    } else {
        fprintf(p->out, "%" PRId64, p->info->load_int(element));
    }
}

/* Depth is bounded by NACRE_MAX_DIMS. */
static void print_axis(const printer *p, int axis, int64_t at) {
    if (axis == p->shape->ndim) {
        print_element(p, at);
        return;
    }
    int64_t extent = p->shape->dims[axis];
    bool cut = p->shorten && extent > 2 * EDGE_ITEMS;
    bool last = axis == p->shape->ndim - 1;
    fputc('[', p->out);
    for (int64_t i = 0; i < extent; i++) {
        if (i > 0) {
            fprintf(p->out, last ? ", " : ",\n%*s", axis + 1, "");
        }
        if (cut && i == EDGE_ITEMS) {
            fprintf(p->out, last ? "..., " : "...,\n%*s", axis + 1, "");
            i = extent - EDGE_ITEMS;
        }
        print_axis(p, axis + 1, at + i * p->strides[axis]);
    }
    fputc(']', p->out);
}

nacre_status nacre_fprint(FILE *out, nacre_tensor *t) {
    const void *data = nacre_data(t);
    if (!data) {
        return nacre_error_code();
    }
    const nacre_value *value = t->value;
    printer p = {.out = out,
                 .info = nacre_dtype_get(value->dtype),
                 .data = data,
                 .shape = &value->shape,
                 .shorten = nacre_shape_numel(&value->shape) > FULL_LIMIT};
    nacre_shape_strides(&value->shape, p.strides);
    print_axis(&p, 0, 0);
    char text[NACRE_SHAPE_TEXT];
    int written = fprintf(out, " %s %s\n", p.info->name, nacre_shape_text(&value->shape, text));
    return written < 0 || ferror(out) ? nacre_fail(NACRE_IO_ERROR, "print: cannot write")
                                      : NACRE_OK;
}

nacre_status nacre_print(nacre_tensor *t) { return nacre_fprint(stdout, t); }
