// The same from C++: the headers compile, and options are filled in by name.
#include <nacre/nacre.h>

#include <cstdio>

int main() {
    const float values[3] = {1, 2, 3};
    nacre_scope scope = nacre_scope_begin();

    nacre_data_options data{};
    data.size = sizeof data;
    data.data = values;
    data.shape = nacre_shape{1, {3}};
    data.dtype = NACRE_F32;
    nacre_tensor *a = nacre_from_data_at(&data, NACRE_HERE);

    nacre_reduce_options reduce{};
    reduce.size = sizeof reduce;
    reduce.input = nacre_mul_at(a, a, NACRE_HERE);
    double sum = nacre_item(nacre_sum_at(&reduce, NACRE_HERE));

    std::printf("nacre %s: 1 + 4 + 9 = %g\n", nacre_version(), sum);
    return nacre_scope_end(scope) == NACRE_OK && sum == 14 ? 0 : 1;
}
