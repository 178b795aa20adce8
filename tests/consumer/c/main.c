/* A program outside the source tree: what an installed Nacre must let it do. */
#include <nacre/nacre.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

int main(void) {
    const float values[3] = {1, 2, 3};
    nacre_scope scope = nacre_scope_begin();
    nacre_tensor *a = nacre_from_data(values, NACRE_SHAPE(3), .dtype = NACRE_F32);
    nacre_tensor *squares = nacre_sum(nacre_mul(a, a));
    double sum = nacre_item(squares);
    printf("nacre %s: 1 + 4 + 9 = %g\n", nacre_version(), sum);

    /* Gradients off for a while, as loops by hand do. */
    bool before = nacre_set_grad_enabled(false);
    bool off = !nacre_grad_enabled();
    nacre_set_grad_enabled(before);
    bool good = sum == 14 && before && off && strcmp(nacre_grad_fn(squares), "sum") == 0;
    return nacre_scope_end(scope) == NACRE_OK && good ? 0 : 1;
}
