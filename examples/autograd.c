/* Tensors and their gradients. */
#include <math.h>
#include <nacre/nacre.h>
#include <stdio.h>

int main(void) {
    nacre_on_error(NACRE_ABORT);

    /* z = x y + x, so dz/dx = y + 1 and dz/dy = x. */
    nacre_tensor *x = nacre_requires_grad(nacre_full(NACRE_SCALAR, 3), true);
    nacre_tensor *y = nacre_requires_grad(nacre_full(NACRE_SCALAR, 4), true);
    nacre_tensor *z = nacre_add(nacre_mul(x, y), x);
    nacre_backward(z);
    double dx = nacre_item(nacre_grad(x)), dy = nacre_item(nacre_grad(y));
    printf("z = %g, dz/dx = %g, dz/dy = %g\n", nacre_item(z), dx, dy);

    /* The gradient of sum(w v) with respect to the matrix w: v in every row. */
    nacre_tensor *w = nacre_requires_grad(nacre_ones(NACRE_SHAPE(3, 4)), true);
    nacre_tensor *v = nacre_arange(4, .dtype = NACRE_F32);
    nacre_backward(nacre_sum(nacre_matmul(w, v)));
    nacre_print(nacre_grad(w));
    const float *dw = nacre_data(nacre_grad(w));

    /* Derivatives of derivatives: t^3 at t = 2 has 12 and 12. */
    nacre_tensor *t = nacre_requires_grad(nacre_full(NACRE_SCALAR, 2), true);
    nacre_tensor *cube = nacre_mul(nacre_mul(t, t), t), *first, *second;
    nacre_gradients(cube, &t, 1, &first);
    nacre_gradients(first, &t, 1, &second);
    double d1 = nacre_item(first), d2 = nacre_item(second);
    printf("t^3 at 2: %g, first derivative %g, second %g\n", nacre_item(cube), d1, d2);

    return !(dx == 5 && dy == 3 && dw[5] == 1 && dw[11] == 3 && d1 == 12 && d2 == 12);
}
