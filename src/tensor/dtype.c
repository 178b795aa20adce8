#include "tensor/dtype.h"

#include <math.h>

/* Truncates towards zero; NaN is 0. 2^63 is exact as a double, INT64_MAX is not. */
static int64_t clamp(double value, int64_t low, int64_t high) {
    if (isnan(value)) {
        return 0;
    }
    if (value <= (double)low) {
        return low;
    }
    if (value >= (double)high) {
        return high;
    }
    return (int64_t)value;
}

/* Conversions of one dtype each; the table below is the only place that lists them. Integers clamp:
   C leaves an out-of-range conversion undefined, and a wrapped label would be a wrong number. */
#define DEFINE_FLOAT(name, type)                                                                   \
    static double load_##name(const void *element) { return (double)*(const type *)element; }      \
    static void store_##name(void *element, double value) { *(type *)element = (type)value; }      \
    static int64_t load_int_##name(const void *element) {                                          \
        return clamp((double)*(const type *)element, INT64_MIN, INT64_MAX);                        \
    }                                                                                              \
    static void store_int_##name(void *element, int64_t value) { *(type *)element = (type)value; }

#define DEFINE_INT(name, type, low, high)                                                          \
    static double load_##name(const void *element) { return (double)*(const type *)element; }      \
    static void store_##name(void *element, double value) {                                        \
        *(type *)element = (type)clamp(value, low, high);                                          \
    }                                                                                              \
    static int64_t load_int_##name(const void *element) {                                          \
        return (int64_t)(*(const type *)element);                                                  \
    }                                                                                              \
    static void store_int_##name(void *element, int64_t value) {                                   \
        *(type *)element = (type)(uint64_t)value;                                                  \
    }

DEFINE_FLOAT(f32, float)
DEFINE_FLOAT(f64, double)
DEFINE_INT(i32, int32_t, INT32_MIN, INT32_MAX)
DEFINE_INT(i64, int64_t, INT64_MIN, INT64_MAX)
DEFINE_INT(u8, uint8_t, 0, UINT8_MAX)

static double load_bool(const void *element) { return *(const uint8_t *)element != 0; }
static void store_bool(void *element, double value) { *(uint8_t *)element = value != 0; }
static int64_t load_int_bool(const void *element) { return *(const uint8_t *)element != 0; }
static void store_int_bool(void *element, int64_t value) { *(uint8_t *)element = value != 0; }

static const nacre_dtype_info table[NACRE_DTYPE_COUNT] = {
    [NACRE_F32] = {"f32", sizeof(float), NACRE_CLASS_FLOAT, load_f32, store_f32, load_int_f32,
                   store_int_f32},
    [NACRE_F64] = {"f64", sizeof(double), NACRE_CLASS_FLOAT, load_f64, store_f64, load_int_f64,
                   store_int_f64},
    [NACRE_I32] = {"i32", sizeof(int32_t), NACRE_CLASS_INT, load_i32, store_i32, load_int_i32,
                   store_int_i32},
    [NACRE_I64] = {"i64", sizeof(int64_t), NACRE_CLASS_INT, load_i64, store_i64, load_int_i64,
                   store_int_i64},
    [NACRE_U8] = {"u8", sizeof(uint8_t), NACRE_CLASS_INT, load_u8, store_u8, load_int_u8,
                  store_int_u8},
    [NACRE_BOOL] = {"bool", sizeof(uint8_t), NACRE_CLASS_BOOL, load_bool, store_bool, load_int_bool,
                    store_int_bool},
};

const nacre_dtype_info *nacre_dtype_get(nacre_dtype dtype) {
    return (int)dtype > 0 && dtype < NACRE_DTYPE_COUNT ? &table[dtype] : NULL;
}

size_t nacre_dtype_size(nacre_dtype dtype) {
    const nacre_dtype_info *info = nacre_dtype_get(dtype);
    return info ? info->size : 0;
}

const char *nacre_dtype_name(nacre_dtype dtype) {
    const nacre_dtype_info *info = nacre_dtype_get(dtype);
    return info ? info->name : "?";
}

const char *nacre_device_name(nacre_device device) {
    return device == NACRE_CPU || device == NACRE_DEVICE_DEFAULT ? "cpu" : "?";
}
