/* A line through noisy points: y = 3 x - 2, found by gradient descent. */
#include <math.h>
#include <nacre/nacre.h>
#include <stdio.h>

enum { POINTS = 100, STEPS = 300 };

int main(void) {
    nacre_on_error(NACRE_ABORT); /* print the message and stop: what a script wants */
    nacre_seed(7);

    nacre_tensor *x = nacre_rand(NACRE_SHAPE(POINTS, 1));
    nacre_tensor *noise = nacre_mul_scalar(nacre_randn(NACRE_SHAPE(POINTS, 1)), 0.1);
    nacre_tensor *y = nacre_add(nacre_sub_scalar(nacre_mul_scalar(x, 3), 2), noise);

    nacre_module *line = nacre_linear(1, 1);
    nacre_loss *mse = nacre_mse();
    nacre_optimizer *sgd = nacre_sgd(.lr = 0.1, .momentum = 0.9);
    nacre_module_init(line, 1);
    nacre_optimizer_bind(sgd, line);

    double loss = NAN;
    for (int step = 0; step < STEPS; step++) {
        nacre_scope scope = nacre_scope_begin();
        nacre_tensor *error = nacre_loss_compute(mse, nacre_module_forward(line, x), y);
        nacre_backward(error);
        nacre_step(sgd);
        loss = nacre_item(error);
        if (step % 100 == 0) {
            printf("step %3d: loss %.5f\n", step, loss);
        }
        nacre_scope_end(scope);
    }
    double slope = nacre_item(nacre_module_parameter_at(line, 0));
    double offset = nacre_item(nacre_module_parameter_at(line, 1));
    printf("y = %.3f x %+.3f, loss %.5f\n", slope, offset, loss);

    nacre_optimizer_free(sgd);
    nacre_loss_free(mse);
    nacre_module_free(line);
    return !(fabs(slope - 3) < 0.2 && fabs(offset + 2) < 0.2 && loss < 0.02);
}
