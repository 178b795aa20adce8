#define _POSIX_C_SOURCE 200809L
#include "cli/model_file.h"

#include "base/error.h"
#include "cli/output.h"

#include <errno.h>
#include <math.h>
#include <nacre/io.h>
#include <nacre/nn.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* Whether the file has the recipe's tensors, no more and no fewer. */
static bool fits(const nacre_cli_recipe *recipe, const nacre_state_dict *state) {
    nacre_module *network = recipe->network();
    bool taken = nacre_module_load_state(network, state) == NACRE_OK;
    nacre_module_free(network);
    nacre_error_clear();
    return taken;
}

/* The recipe that the file's metadata names, else the first that it fits, so that any file with the tensors of
   one will do; else the first, whose refusal names a tensor. */
static const nacre_cli_recipe *recipe_of(const nacre_state_dict *state) {
    const char *name = nacre_state_dict_metadata(state, "recipe");
    for (size_t i = 0; name && i < nacre_cli_recipe_count; i++) {
        if (strcmp(nacre_cli_recipes[i].name, name) == 0) {
            return &nacre_cli_recipes[i];
        }
    }
    for (size_t i = 0; i < nacre_cli_recipe_count; i++) {
        if (fits(&nacre_cli_recipes[i], state)) {
            return &nacre_cli_recipes[i];
        }
    }
    return &nacre_cli_recipes[0];
}

nacre_status nacre_cli_not_finite(void) {
    return nacre_fail(NACRE_NUMERICAL, "the model's output is not finite: its weights are too "
                                       "large; train it again with a lower --lr");
}

/* A NaN or Inf among the weights makes every answer worthless. */
static nacre_status check_finite(const nacre_state_dict *state, const char *file) {
    for (size_t i = 0; i < nacre_state_dict_count(state); i++) {
        nacre_tensor *t = nacre_state_dict_tensor(state, i);
        if (nacre_dtype_of(t) != NACRE_F32) {
            continue; /* refused by the network with a message of its own */
        }
        const float *values = nacre_data(t);
        int64_t count = nacre_numel(t);
        for (int64_t k = 0; values && k < count; k++) {
            if (!isfinite(values[k])) {
                return nacre_fail(NACRE_NUMERICAL,
                                  "%s: tensor \"%s\" holds a NaN or Inf; train the model again",
                                  file, nacre_state_dict_name(state, i));
            }
        }
    }
    return NACRE_OK;
}

static nacre_status load(const char *file, nacre_cli_model *out) {
    nacre_state_dict *state = nacre_state_dict_load(file);
    if (!state) {
        return nacre_error_code();
    }
    if (!out->recipe) {
        out->recipe = recipe_of(state);
    }
    out->model = nacre_cli_make_model(out->recipe, &out->recipe->defaults, 1);
    nacre_status status = nacre_model_status(out->model);
    if (status != NACRE_OK) {
        nacre_fail(status, "%s", nacre_model_message(out->model));
    } else {
        status = nacre_module_load_state(nacre_model_network(out->model), state);
        if (status == NACRE_OK) {
            status = check_finite(state, file);
        } else {
            static const char prefix[] = "load_state: "; /* the library function's name */
            char message[1024];
            snprintf(message, sizeof message, "%s", nacre_error_message());
            bool named = strncmp(message, prefix, sizeof prefix - 1) == 0;
            nacre_fail(status,
                       "%s: not a model of %s: %s; give a model.safetensors of 'nacre train'", file,
                       out->recipe->name, message + (named ? sizeof prefix - 1 : 0));
        }
    }
    nacre_state_dict_free(state);
    return status;
}

bool nacre_cli_model_open(const char *path, nacre_cli_model *out) {
    *out = (nacre_cli_model){0};
    char file[4200];
    snprintf(file, sizeof file, "%s", path);
    struct stat state;
    if (strlen(path) >= 4096 || stat(path, &state) != 0) {
        nacre_cli_error("%s: %s; give a run folder or a .safetensors file", path,
                        strlen(path) >= 4096 ? "path too long" : strerror(errno));
        return false;
    }
    if (S_ISDIR(state.st_mode)) {
        nacre_cli_recorded recorded;
        snprintf(file, sizeof file, "%s/config.json", path);
        if (stat(file, &state) != 0 && errno == ENOENT) {
            nacre_cli_error("%s: not a run folder: it holds no config.json; give the folder that a "
                            "'nacre train' wrote, or a .safetensors file",
                            path);
            return false;
        }
        if (nacre_cli_read_recorded(file, &recorded) != NACRE_OK) {
            nacre_cli_library_error();
            return false;
        }
        out->recipe = recorded.recipe;
        out->backend = recorded.backend;
        memcpy(out->data, recorded.data, sizeof out->data);
        snprintf(file, sizeof file, "%s/model.safetensors", path);
    }
    if (load(file, out) != NACRE_OK) {
        nacre_cli_library_error();
        nacre_cli_model_close(out);
        return false;
    }
    return true;
}

void nacre_cli_model_close(nacre_cli_model *model) {
    nacre_model_free(model->model);
    model->model = NULL;
}
