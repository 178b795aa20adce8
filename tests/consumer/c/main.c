/* A program outside the source tree: what an installed Nacre must let it do. */
#include <nacre/nacre.h>
#include <stdio.h>

int main(void) {
    const float values[3] = {1, 2, 3};
    nacre_scope scope = nacre_scope_begin();
    nacre_tensor *a = nacre_from_data(values, NACRE_SHAPE(3), .dtype = NACRE_F32);
    double sum = nacre_item(nacre_sum(nacre_mul(a, a)));
    printf("nacre %s: 1 + 4 + 9 = %g\n", nacre_version(), sum);
    return nacre_scope_end(scope) == NACRE_OK && sum == 14 ? 0 : 1;
}
