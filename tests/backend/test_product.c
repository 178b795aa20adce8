/* Matrix products: every edge of the tiles, the bit contract, strides, epilogues. */
#include "backend/products.h"

enum { CHUNK = 512 };

/* The definition: one fma chain per chunk of k from zero, chunks added in order. */
static float expected(const nacre_array *a, const nacre_array *b, int64_t i, int64_t j) {
    int64_t depth = a->shape.dims[1];
    const float *x = (const float *)a->data + i * a->strides[0];
    const float *y = (const float *)b->data + j * b->strides[1];
    float total = 0;
    for (int64_t k0 = 0; k0 < depth; k0 += CHUNK) {
        float sum = 0;
        for (int64_t k = k0; k < depth && k < k0 + CHUNK; k++)
            sum = kit_fma(x[k * a->strides[1]], y[k * b->strides[0]], sum);
        total = k0 ? total + sum : sum;
    }
    return total;
}

static nacre_array multiply(nacre_array a, nacre_array b) {
    nacre_shape shape = {.ndim = 2, .dims = {a.shape.dims[0], b.shape.dims[1]}};
    nacre_plan_op step = product_step(a, b, shape);
    product_outputs(&step);
    kit_run(&step);
    return step.out[0];
}

static void check(const nacre_array *a, const nacre_array *b, const nacre_array *out) {
    const float *c = out->data;
    int64_t n = out->shape.dims[1];
    for (int64_t i = 0; i < out->shape.dims[0]; i++) {
        for (int64_t j = 0; j < n; j++) {
            float want = expected(a, b, i, j);
            if (n == 1)
                assert_true(fabsf(c[i] - want) <= 1e-5f * (1 + fabsf(want)));
            else if (memcmp(&want, &c[i * n + j], sizeof want) != 0)
                fail_msg("[%lld,%lld] of %lldx%lldx%lld: %a, not %a", (long long)i, (long long)j,
                         (long long)out->shape.dims[0], (long long)n, (long long)a->shape.dims[1],
                         (double)c[i * n + j], (double)want);
        }
    }
}

/* B in a storage that keeps its panels: the first run packs for itself, the second fills them, the third reads them. */
static void check_kept(const nacre_array *a, const nacre_array *b, const nacre_array *out) {
    size_t bytes = (size_t)nacre_shape_numel(&b->shape) * sizeof(float);
    nacre_storage *storage = nacre_storage_new(bytes);
    assert_non_null(storage);
    memcpy(storage->data, b->data, bytes);
    for (int run = 0; run < 3; run++) {
        nacre_plan_op step = product_step(*a, *b, out->shape);
        product_outputs(&step);
        step.in[1].data = storage->data;
        step.constant = NACRE_READS_IN(1);
        assert_true(nacre_backend_cpu.prepare(&step));
        if (step.keeps) step.keeper = storage;
        void *scratch = kit_new(step.scratch);
        step.run(&step, scratch);
        bool kept = storage->form.data != NULL;
        assert_true(kept == (step.keeps && run > 0));
        assert_true(kit_same_bits(step.out[0].data, out->data,
                                  (size_t)nacre_shape_numel(&out->shape) * sizeof(float)));
    }
    nacre_storage_release(storage);
}

/* layout bit 0: a transposed; bit 1: b transposed. */
static void check_size(int64_t m, int64_t n, int64_t k, int layout) {
    nacre_array a = layout & 1 ? kit_transposed(kit_random_f32(NACRE_SHAPE(k, m)))
                               : kit_random_f32(NACRE_SHAPE(m, k));
    nacre_array b = layout & 2 ? kit_transposed(kit_random_f32(NACRE_SHAPE(n, k)))
                               : kit_random_f32(NACRE_SHAPE(k, n));
    nacre_array c = multiply(a, b);
    check(&a, &b, &c);
    if (layout & 2) check_kept(&a, &b, &c);
    kit_end();
}

static void every_tile_edge_multiplies_right(void **state) {
    (void)state;
    static const int64_t depths[] = {1, 3, 17};
    for (int64_t m = 1; m <= 29; m++)
        for (int64_t n = 1; n <= 65; n++)
            for (int layout = 0; layout < 4; layout++)
                check_size(m, n, depths[(m + n + layout) % 3], layout);
}

static void long_reductions_add_chunks_in_order(void **state) {
    (void)state;
    static const int64_t depths[] = {0, 15, 16, 33, 511, 512, 513, 1024, 1025, 1536 + 7};
    for (size_t i = 0; i < sizeof depths / sizeof depths[0]; i++)
        for (int layout = 0; layout < 4; layout++) {
            check_size(1, 40, depths[i], layout);
            check_size(3, 33, depths[i], layout);
            check_size(16, 10, depths[i], layout);
            check_size(15, 48, depths[i], layout);
        }
}

static void large_products_are_split_without_a_seam(void **state) {
    (void)state;
    for (int layout = 0; layout < 4; layout++) {
        check_size(200, 130, 70, layout);
        check_size(31, 2100, 600, layout); /* more panels than one round packs */
    }
    check_size(300, 65, 300, 1);
}

/* Rows of A, of B and of both fall on few cache sets; with kept panels A stays as it lies. */
static void rows_on_few_cache_sets_are_packed_without_a_trace(void **state) {
    (void)state;
    for (int layout = 0; layout < 4; layout++) {
        check_size(17, 513, 1024, layout);
        check_size(770, 512, 65, layout);
        check_size(33, 1024, 1024, layout);
    }
}

/* Where the transposed product is computed and each tile turned: small batches against [out, in] weights. */
static void small_batches_turn_without_a_trace(void **state) {
    (void)state;
    static const int64_t rows[] = {5, 8, 9, 16, 17, 31, 32, 33, 48, 64};
    static const int64_t columns[] = {17, 33, 64, 77, 128, 130};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        for (size_t k = 0; k < sizeof columns / sizeof columns[0]; k++)
            check_size(rows[i], columns[k], 640, 2);
}

static void empty_products_are_empty_or_zero(void **state) {
    (void)state;
    for (int layout = 0; layout < 4; layout++) {
        check_size(0, 20, 30, layout);
        check_size(20, 0, 30, layout);
        check_size(5, 40, 0, layout);
        check_size(3, 1, 0, layout);
        check_size(0, 1, 4, layout);
    }
    /* No panel, of more than one round's bytes. */
    nacre_array a = kit_random_f32(NACRE_SHAPE(1100, 2200)),
                b = kit_array(NACRE_F32, NACRE_SHAPE(1100, 0));
    a.shape = NACRE_SHAPE(1100, 1100);
    a.strides[1] = b.strides[1] = 2;
    nacre_array c = multiply(a, b);
    assert_int_equal(nacre_shape_numel(&c.shape), 0);
    kit_end();
}

static void strided_operands_need_no_copy(void **state) {
    (void)state;
    nacre_array a = kit_random_f32(NACRE_SHAPE(20, 60)), b = kit_random_f32(NACRE_SHAPE(60, 80));
    a.shape = NACRE_SHAPE(20, 20);
    a.strides[1] = 3;
    b.shape = NACRE_SHAPE(20, 40);
    b.strides[0] = 240;
    b.strides[1] = 2;
    nacre_array c = multiply(a, b);
    check(&a, &b, &c);
}

static void a_row_alone_has_the_bits_it_has_in_a_batch(void **state) {
    (void)state;
    static const int64_t columns[] = {1, 10, 32, 77, 128};
    for (size_t i = 0; i < 5; i++) {
        for (int layout = 0; layout < 4; layout += 2) {
            int64_t n = columns[i], k = 784;
            nacre_array a = kit_random_f32(NACRE_SHAPE(64, k));
            nacre_array b = layout ? kit_transposed(kit_random_f32(NACRE_SHAPE(n, k)))
                                   : kit_random_f32(NACRE_SHAPE(k, n));
            nacre_array all = multiply(a, b);
            for (int64_t r = 0; r < 64; r += 9) {
                for (int64_t rows = 1; rows <= 5 && r + rows <= 64; rows++) {
                    nacre_array part = a;
                    part.data = (float *)a.data + r * k;
                    part.shape.dims[0] = rows;
                    nacre_array alone = multiply(part, b);
                    assert_true(kit_same_bits(alone.data, (float *)all.data + r * n,
                                              (size_t)(rows * n) * sizeof(float)));
                    free(kit_blocks[--kit_count].start);
                }
            }
            kit_end();
        }
    }
}

static void the_number_of_threads_changes_no_bit(void **state) {
    (void)state;
    static const int threads[] = {1, 2, 7};
    static const int64_t sizes[][3] = {
        {64, 128, 784}, {128, 784, 64}, {1, 300, 784}, {90, 1, 3000}, {256, 10, 128}};
    for (size_t i = 0; i < 5; i++) {
        nacre_array a = kit_random_f32(NACRE_SHAPE(sizes[i][0], sizes[i][2]));
        nacre_array b = kit_transposed(kit_random_f32(NACRE_SHAPE(sizes[i][1], sizes[i][2])));
        nacre_array out[3];
        for (int t = 0; t < 3; t++) {
            assert_int_equal(nacre_set_threads(threads[t]), NACRE_OK);
            out[t] = multiply(a, b);
        }
        size_t bytes = (size_t)nacre_shape_numel(&out[0].shape) * sizeof(float);
        assert_true(kit_same_bits(out[0].data, out[1].data, bytes));
        assert_true(kit_same_bits(out[0].data, out[2].data, bytes));
        kit_end();
    }
}

static void nan_and_inf_stay_in_their_rows_and_columns(void **state) {
    (void)state;
    for (int layout = 0; layout < 4; layout++) {
        for (int64_t m = 1; m < 20; m += 6) {
            nacre_array a = layout & 1 ? kit_transposed(kit_random_f32(NACRE_SHAPE(21, m)))
                                       : kit_random_f32(NACRE_SHAPE(m, 21));
            nacre_array b = layout & 2 ? kit_transposed(kit_random_f32(NACRE_SHAPE(19, 21)))
                                       : kit_random_f32(NACRE_SHAPE(21, 19));
            ((float *)a.data)[5 * a.strides[1]] = NAN;
            ((float *)b.data)[7 * b.strides[0] + 3 * b.strides[1]] = INFINITY;
            nacre_array c = multiply(a, b);
            const float *out = c.data;
            for (int64_t i = 0; i < m; i++)
                for (int64_t j = 0; j < 19; j++) {
                    if (i == 0)
                        assert_true(isnan(out[j]));
                    else if (j == 3)
                        assert_true(isinf(out[i * 19 + j]));
                    else
                        assert_true(isfinite(out[i * 19 + j]));
                }
            kit_end();
        }
    }
}

static void batches_broadcast(void **state) {
    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        nacre_shape shape_a = kind & 1 ? NACRE_SHAPE(5, 1, 4, 9) : NACRE_SHAPE(5, 3, 4, 9);
        nacre_shape shape_b = kind & 2 ? NACRE_SHAPE(9, 6) : NACRE_SHAPE(3, 9, 6);
        bool three = !(kind & 1) || !(kind & 2);
        nacre_plan_op step = product_step(kit_random_f32(shape_a), kit_random_f32(shape_b),
                                          NACRE_SHAPE(5, three ? 3 : 1, 4, 6));
        if (kind == 3) shape_a.dims[1] = 1;
        product_outputs(&step);
        kit_run(&step);
        const float *out = step.out[0].data;
        for (int64_t i = 0; i < (three ? 15 : 5); i++) {
            int64_t outer = three ? i / 3 : i, inner = three ? i % 3 : 0;
            nacre_array a = {.dtype = NACRE_F32, .shape = NACRE_SHAPE(4, 9), .strides = {9, 1}};
            nacre_array b = {.dtype = NACRE_F32, .shape = NACRE_SHAPE(9, 6), .strides = {6, 1}};
            a.data = (float *)step.in[0].data + (kind & 1 ? outer : i) * 36;
            b.data = (float *)step.in[1].data + (kind & 2 ? 0 : inner) * 54;
            nacre_array c = {.dtype = NACRE_F32, .shape = NACRE_SHAPE(4, 6), .strides = {6, 1}};
            c.data = (void *)(uintptr_t)(out + i * 24);
            check(&a, &b, &c);
        }
        kit_end();
    }
}

static void many_batches_pass_through_limited_scratch(void **state) {
    (void)state;
    nacre_array b_rows = kit_transposed(kit_random_f32(NACRE_SHAPE(40, 200, 200)));
    nacre_plan_op step =
        product_step(kit_random_f32(NACRE_SHAPE(40, 6, 200)), b_rows, NACRE_SHAPE(40, 6, 200));
    product_outputs(&step);
    kit_run(&step);
    for (int64_t i = 0; i < 40; i += 13) {
        nacre_array a = {.shape = NACRE_SHAPE(6, 200), .strides = {200, 1}}, b = a, c = a;
        a.data = (float *)step.in[0].data + i * 1200;
        b.data = (float *)step.in[1].data + i * 40000;
        b.shape.dims[0] = 200;
        b.strides[0] = 1;
        b.strides[1] = 200;
        c.data = (float *)step.out[0].data + i * 1200;
        check(&a, &b, &c);
    }
}

/* ---- dot ---- */

static void one_output_per_row_is_a_sum_of_16_lanes(void **state) {
    (void)state;
    for (int64_t k = 1; k < 80; k++) {
        nacre_array a = kit_random_f32(NACRE_SHAPE(3, k)), b = kit_random_f32(NACRE_SHAPE(k, 1));
        nacre_array c = multiply(a, b);
        for (int64_t i = 0; i < 3; i++) {
            float lane[16] = {0};
            for (int64_t e = 0; e < k; e++)
                lane[e % 16] =
                    kit_fma(((float *)a.data)[i * k + e], ((float *)b.data)[e], lane[e % 16]);
            for (int half = 8; half > 0; half /= 2)
                for (int l = 0; l < half; l++) lane[l] += lane[l + half];
            assert_true(kit_same_bits(&lane[0], (float *)c.data + i, sizeof(float)));
        }
        kit_end();
    }
}

/* ---- linear and epilogues ---- */

static nacre_plan_op linear_step(int64_t rows, int64_t in, int64_t out, bool bias) {
    nacre_plan_op step = product_linear(rows, in, out, bias);
    product_outputs(&step);
    return step;
}

/* One element-wise op by itself. */
static nacre_array apply(const nacre_op *op, nacre_array a, nacre_array b, nacre_shape shape) {
    nacre_plan_op step = kit_step(op, NULL);
    step.inputs = b.data ? 2 : 1;
    step.outputs = 1;
    step.in[0] = kit_broadcast(a, shape);
    step.in[1] = kit_broadcast(b, shape);
    step.out[0] = kit_array(NACRE_F32, shape);
    kit_run(&step);
    return step.out[0];
}

static void linear_has_the_bits_of_matmul_then_add(void **state) {
    (void)state;
    static const int64_t sizes[][3] = {
        {1, 40, 20}, {4, 100, 33}, {64, 784, 128}, {15, 9, 10}, {30, 70, 1}};
    for (size_t i = 0; i < 5; i++) {
        nacre_plan_op step = linear_step(sizes[i][0], sizes[i][1], sizes[i][2], true);
        kit_run(&step);
        nacre_array product = multiply(step.in[0], kit_transposed(step.in[1]));
        nacre_array sum = apply(&nacre_op_add, product, step.in[2], product.shape);
        assert_true(kit_same_bits(step.out[0].data, sum.data,
                                  (size_t)nacre_shape_numel(&sum.shape) * sizeof(float)));
        kit_end();
    }
}

static const int64_t epilogue_sizes[][3] = {{1, 40, 20},   {2, 600, 130},  {16, 9, 10},
                                            {64, 30, 128}, {32, 300, 120}, {70, 5, 1}};

static void bias_and_relu_fuse_without_changing_bits(void **state) {
    (void)state;
    for (size_t i = 0; i < 6; i++) {
        for (int own_bias = 0; own_bias < 2; own_bias++) {
            nacre_plan_op step = linear_step(epilogue_sizes[i][0], epilogue_sizes[i][1],
                                             epilogue_sizes[i][2], own_bias);
            nacre_array bias = kit_random_f32(NACRE_SHAPE(epilogue_sizes[i][2]));
            nacre_shape shape = step.out[0].shape;
            nacre_program program = program_relu();
            if (!own_bias) {
                program = (nacre_program){.inputs = 2, .codes = 2, .outputs = 1, .result = {3}};
                program.code[0] = (nacre_instruction){.op = &nacre_op_add, .argument = {1, 0}};
                program.code[1] = (nacre_instruction){.op = &nacre_op_relu, .argument = {2}};
            }
            kit_run(&step);
            nacre_array plain = step.out[0];
            nacre_array none = {0};
            if (!own_bias) plain = apply(&nacre_op_add, plain, bias, shape);
            plain = apply(&nacre_op_relu, plain, none, shape);

            product_then(&step, &program, &bias);
            product_outputs(&step);
            kit_run(&step);
            assert_true(kit_same_bits(step.out[0].data, plain.data,
                                      (size_t)nacre_shape_numel(&shape) * sizeof(float)));
            kit_end();
        }
    }
}

static void relu_backward_masks_in_place(void **state) {
    (void)state;
    for (size_t i = 0; i < 6; i++) {
        int64_t m = epilogue_sizes[i][0], k = epilogue_sizes[i][1], n = epilogue_sizes[i][2];
        nacre_shape shape = NACRE_SHAPE(m, n);
        nacre_array a = kit_random_f32(NACRE_SHAPE(m, k)), b = kit_random_f32(NACRE_SHAPE(k, n));
        nacre_array y = kit_random_f32(shape);
        nacre_array want = apply(&nacre_op_relu_backward, y, multiply(a, b), shape);
        const nacre_program mask = program_mask();
        nacre_plan_op step = product_step(a, b, shape);
        product_then(&step, &mask, &y);
        step.out[0] = y; /* takes the memory of the mask */
        kit_run(&step);
        assert_true(
            kit_same_bits(y.data, want.data, (size_t)nacre_shape_numel(&shape) * sizeof(float)));
        kit_end();
    }
}

/* One op after the product, alone or beside it, its second argument before, behind or overwritten by the result. */
static void check_one_op(const int64_t *size, const nacre_op *op, bool beside, bool second,
                         int first, bool relu) {
    int64_t m = size[0], k = size[1], n = size[2];
    nacre_shape shape = NACRE_SHAPE(m, n);
    size_t bytes = (size_t)nacre_shape_numel(&shape) * sizeof(float);
    nacre_array none = {0}, other = kit_random_f32(shape);
    nacre_plan_op step = linear_step(m, k, n, true);
    kit_run(&step);
    nacre_array sums = step.out[0];
    nacre_array want =
        first == 0 ? apply(op, sums, second ? other : none, shape) : apply(op, other, sums, shape);
    if (relu) want = apply(&nacre_op_relu, want, none, shape);
    nacre_program program = {.inputs = 1 + second, .codes = 1 + relu, .outputs = 1 + beside};
    program.code[0] = (nacre_instruction){.op = op, .argument = {first, !first}};
    program.code[1] = (nacre_instruction){.op = &nacre_op_relu, .argument = {2}};
    program.result[beside] = program.inputs + relu;
    for (int over = 0; over <= second; over++) {
        nacre_array copy = kit_array(NACRE_F32, shape);
        memcpy(copy.data, other.data, bytes);
        product_then(&step, &program, &copy);
        product_outputs(&step);
        if (over) step.out[0] = copy;
        kit_run(&step);
        assert_true(kit_same_bits(step.out[beside].data, want.data, bytes));
        if (beside) assert_true(kit_same_bits(step.out[0].data, sums.data, bytes));
    }
    kit_end();
}

static void one_op_after_a_product_has_its_bits(void **state) {
    (void)state;
    for (size_t i = 0; i < 6; i++) {
        for (int beside = 0; beside < 2; beside++) {
            check_one_op(epilogue_sizes[i], &nacre_op_exp, beside, false, 0, false);
            check_one_op(epilogue_sizes[i], &nacre_op_sub, beside, true, 0, false);
            check_one_op(epilogue_sizes[i], &nacre_op_sub, beside, true, 1, false);
        }
        for (int first = 0; first < 2; first++) {
            check_one_op(epilogue_sizes[i], &nacre_op_add, false, true, first, false);
            check_one_op(epilogue_sizes[i], &nacre_op_add, false, true, first, true);
        }
    }
}

/* exp(-(product * column + row)) * scale, the product kept too. */
static void a_general_epilogue_has_the_bits_of_its_ops(void **state) {
    (void)state;
    for (size_t i = 0; i < 6; i++) {
        int64_t m = epilogue_sizes[i][0], k = epilogue_sizes[i][1], n = epilogue_sizes[i][2];
        nacre_shape shape = NACRE_SHAPE(m, n);
        nacre_array none = {0}, column = kit_random_f32(NACRE_SHAPE(m, 1));
        nacre_array row = kit_random_f32(NACRE_SHAPE(1, n)), scale = kit_random_f32(NACRE_SHAPE(1));
        nacre_plan_op step = linear_step(m, k, n, true);
        kit_run(&step);
        nacre_array product = step.out[0];
        nacre_array want = apply(&nacre_op_mul, product, column, shape);
        want = apply(&nacre_op_add, want, row, shape);
        want = apply(&nacre_op_exp, apply(&nacre_op_neg, want, none, shape), none, shape);
        want = apply(&nacre_op_mul, want, scale, shape);

        nacre_program program = {.inputs = 4, .codes = 5, .outputs = 2, .result = {0, 8}};
        program.code[0] = (nacre_instruction){.op = &nacre_op_mul, .argument = {0, 1}};
        program.code[1] = (nacre_instruction){.op = &nacre_op_add, .argument = {4, 2}};
        program.code[2] = (nacre_instruction){.op = &nacre_op_neg, .argument = {5}};
        program.code[3] = (nacre_instruction){.op = &nacre_op_exp, .argument = {6}};
        program.code[4] = (nacre_instruction){.op = &nacre_op_mul, .argument = {7, 3}};
        product_then(&step, &program, (nacre_array[]){column, row, scale});
        product_outputs(&step);
        kit_run(&step);
        size_t bytes = (size_t)nacre_shape_numel(&shape) * sizeof(float);
        assert_true(kit_same_bits(step.out[0].data, product.data, bytes));
        assert_true(kit_same_bits(step.out[1].data, want.data, bytes));
        kit_end();
    }
}

/* ---- other dtypes ---- */

static void f64_products_are_exact_to_rounding(void **state) {
    (void)state;
    for (int64_t m = 1; m < 10; m++)
        for (int64_t n = 1; n < 35; n += 3)
            for (int layout = 0; layout < 2; layout++) {
                int64_t k = m * n % 37 + (m == 9 ? 1000 : 0);
                nacre_plan_op step = kit_step(&nacre_op_matmul, NULL);
                step.inputs = 2;
                step.outputs = 1;
                step.in[0] = kit_array(NACRE_F64, NACRE_SHAPE(m, k));
                step.in[1] = layout ? kit_transposed(kit_array(NACRE_F64, NACRE_SHAPE(n, k)))
                                    : kit_array(NACRE_F64, NACRE_SHAPE(k, n));
                step.out[0] = kit_array(NACRE_F64, NACRE_SHAPE(m, n));
                double *a = step.in[0].data, *b = step.in[1].data, *out = step.out[0].data;
                for (int64_t i = 0; i < m * k; i++) a[i] = kit_random();
                for (int64_t i = 0; i < n * k; i++) b[i] = kit_random();
                kit_run(&step);
                for (int64_t i = 0; i < m; i++)
                    for (int64_t j = 0; j < n; j++) {
                        double want = 0;
                        for (int64_t e = 0; e < k; e++)
                            want += a[i * k + e] *
                                    b[e * step.in[1].strides[0] + j * step.in[1].strides[1]];
                        assert_true(fabs(want - out[i * n + j]) <= 1e-12);
                    }
                kit_end();
            }
}

static void integers_multiply_through_the_reference(void **state) {
    (void)state;
    nacre_plan_op step = kit_step(&nacre_op_matmul, NULL);
    step.inputs = 2;
    step.outputs = 1;
    step.in[0] = kit_array(NACRE_I64, NACRE_SHAPE(1, 2));
    step.in[1] = kit_array(NACRE_I64, NACRE_SHAPE(2, 1));
    step.out[0] = kit_array(NACRE_I64, NACRE_SHAPE(1, 1));
    memcpy(step.in[0].data, (int64_t[]){3, 4}, 16);
    memcpy(step.in[1].data, (int64_t[]){5, -6}, 16);
    kit_run(&step);
    assert_int_equal(*(int64_t *)step.out[0].data, -9);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        KIT_TEST(every_tile_edge_multiplies_right),
        KIT_TEST(long_reductions_add_chunks_in_order),
        KIT_TEST(large_products_are_split_without_a_seam),
        KIT_TEST(rows_on_few_cache_sets_are_packed_without_a_trace),
        KIT_TEST(small_batches_turn_without_a_trace),
        KIT_TEST(empty_products_are_empty_or_zero),
        KIT_TEST(strided_operands_need_no_copy),
        KIT_TEST(a_row_alone_has_the_bits_it_has_in_a_batch),
        KIT_TEST(the_number_of_threads_changes_no_bit),
        KIT_TEST(nan_and_inf_stay_in_their_rows_and_columns),
        KIT_TEST(batches_broadcast),
        KIT_TEST(many_batches_pass_through_limited_scratch),
        KIT_TEST(one_output_per_row_is_a_sum_of_16_lanes),
        KIT_TEST(linear_has_the_bits_of_matmul_then_add),
        KIT_TEST(bias_and_relu_fuse_without_changing_bits),
        KIT_TEST(relu_backward_masks_in_place),
        KIT_TEST(one_op_after_a_product_has_its_bits),
        KIT_TEST(a_general_epilogue_has_the_bits_of_its_ops),
        KIT_TEST(f64_products_are_exact_to_rounding),
        KIT_TEST(integers_multiply_through_the_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
