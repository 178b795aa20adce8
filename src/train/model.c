/* A model: network, loss and optimiser under one owner. */
#include "train/model.h"

#include "base/error.h"
#include "base/memory.h"
#include "loss/loss.h"
#include "nn/module.h"
#include "optim/optimizer.h"
#include "record/record.h"

#include <nacre/grad.h>
#include <stdio.h>

static nacre_model out_of_memory = {
    .status = NACRE_OUT_OF_MEMORY, .message = "model: out of memory", .immortal = true};

static nacre_status assemble(nacre_model *m) {
    nacre_status status = nacre_module_check(m->network, "model: network");
    status = status ? status : nacre_loss_check(m->loss, "model: loss");
    status = status ? status : nacre_optimizer_check(m->optimizer, "model: optimizer");
    status = status ? status : nacre_loss_simplify(m->loss, m->network);
    if (status != NACRE_OK) {
        return status;
    }
    const nacre_thread *thread = nacre_this_thread();
    uint64_t seed = thread ? thread->seed : 1;
    nacre_module *modules[] = {m->network, nacre_loss_module(m->loss)};
    status = nacre_module_init(modules[0], seed);
    status = status ? status : nacre_module_init(modules[1], seed);
    const char *const prefixes[] = {"", "loss."};
    return status ? status : nacre_optimizer_bind_all(m->optimizer, modules, prefixes, 2);
}

nacre_model *nacre_model_new(nacre_module *network, nacre_loss *loss, nacre_optimizer *optimizer) {
    nacre_model *model = nacre_alloc_zeroed(1, sizeof *model);
    if (!model) {
        nacre_module_free(network);
        nacre_loss_free(loss);
        nacre_optimizer_free(optimizer);
        return &out_of_memory;
    }
    *model = (nacre_model){.network = network, .loss = loss, .optimizer = optimizer};
    model->status = assemble(model);
    if (model->status != NACRE_OK) {
        snprintf(model->message, sizeof model->message, "%s", nacre_error_message());
    }
    return model;
}

void nacre_model_free(nacre_model *model) {
    if (!model || model->immortal) {
        return;
    }
    nacre_optimizer_free(model->optimizer);
    nacre_loss_free(model->loss);
    nacre_module_free(model->network);
    nacre_free(model);
}

nacre_status nacre_model_status(const nacre_model *model) {
    return model ? model->status : NACRE_INVALID_ARGUMENT;
}

const char *nacre_model_message(const nacre_model *model) {
    return model ? model->message : "the model is NULL";
}

nacre_module *nacre_model_network(nacre_model *model) { return model ? model->network : NULL; }

nacre_loss *nacre_model_loss(nacre_model *model) { return model ? model->loss : NULL; }

nacre_optimizer *nacre_model_optimizer(nacre_model *model) {
    return model ? model->optimizer : NULL;
}

nacre_status nacre_model_check(const nacre_model *model, const char *what) {
    if (!model) {
        return nacre_fail(NACRE_INVALID_ARGUMENT, "%s: the model is NULL", what);
    }
    return model->status == NACRE_OK ? NACRE_OK : nacre_fail(model->status, "%s", model->message);
}

nacre_model_mode nacre_model_mode_enter(nacre_model *model, nacre_mode mode) {
    return (nacre_model_mode){
        .network = nacre_module_mode_enter(model->network, mode),
        .loss = nacre_module_mode_enter(nacre_loss_module(model->loss), mode),
    };
}

void nacre_model_mode_leave(nacre_model *model, nacre_model_mode entered) {
    if (entered.network) {
        nacre_module_mode_leave(model->network);
    }
    if (entered.loss) {
        nacre_module_mode_leave(nacre_loss_module(model->loss));
    }
}

nacre_tensor *nacre_predict(nacre_model *model, nacre_tensor *inputs) {
    if (nacre_model_check(model, "predict") != NACRE_OK) {
        return nacre_error_tensor();
    }
    nacre_model_mode mode = nacre_model_mode_enter(model, NACRE_EVAL);
    bool grad = nacre_set_grad_enabled(false);
    nacre_tensor *y = nacre_module_forward(model->network, inputs);
    nacre_set_grad_enabled(grad);
    nacre_model_mode_leave(model, mode);
    if (!nacre_is_error(y) && nacre_eval(y) != NACRE_OK) {
        y = nacre_error_tensor();
    }
    return y;
}
