/* Mean squared error. */
#include <nacre/loss.h>
#include <nacre/ops.h>

static nacre_tensor *mse_compute(void *self, nacre_tensor *prediction, nacre_tensor *target) {
    (void)self;
    return nacre_f_mse_at(prediction, target, "MSE", 0);
}

/* 2 (p - t) / elements. */
static nacre_tensor *mse_backward(void *self, nacre_tensor *prediction, nacre_tensor *target) {
    (void)self;
    return nacre_mul_scalar(nacre_sub(prediction, target), 2 / (double)nacre_numel(prediction));
}

nacre_loss *nacre_mse(void) {
    static const nacre_loss_class class_ = {
        .size = sizeof class_, .name = "MSE", .compute = mse_compute, .backward = mse_backward};
    return nacre_loss_new(&class_, NULL);
}
