#define _XOPEN_SOURCE 700
#include "cli/recipes.h"

#include "base/error.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/settings.h"

#include "models/models.h"

#include <nacre/nn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static nacre_module *mnist_mlp(void) {
    return nacre_example_mlp(NACRE_EXAMPLE_MLP_WIDTH, NACRE_EXAMPLE_MLP_HIDDEN);
}

/* The library names its own option; here the folder came with a flag. */
static nacre_status name_the_flag(nacre_status status) {
    char message[2048];
    snprintf(message, sizeof message, "%s", nacre_error_message());
    char *option = strstr(message, "(.folder)");
    if (option) {
        size_t rest = strlen(option + strlen("(.folder)"));
        memmove(option + strlen("(--data)"), option + strlen("(.folder)"), rest + 1);
        memcpy(option, "(--data)", strlen("(--data)"));
    }
    return nacre_fail(status, "%s", message);
}

static nacre_status open_digits(const char *folder, bool channel, nacre_cli_data *out) {
    bool drawn = folder && strcmp(folder, "procedural") == 0;
    nacre_mnist_options options = {
        .size = sizeof options,
        .folder = drawn ? NULL : folder,
        .procedural = drawn,
        .channel = channel,
    };
    nacre_status status = nacre_mnist_open(&options, &out->mnist);
    if (status != NACRE_OK) {
        return name_the_flag(status);
    }
    out->train = out->mnist.train;
    out->test = out->mnist.test;
    out->kind = out->mnist.procedural ? "procedural" : "mnist";
    char *absolute = out->mnist.procedural ? NULL : realpath(out->mnist.folder, NULL);
    snprintf(out->folder, sizeof out->folder, "%s",
             absolute                ? absolute
             : out->mnist.procedural ? "procedural"
                                     : out->mnist.folder);
    free(absolute);
    return NACRE_OK;
}

static nacre_status open_mnist(const char *folder, nacre_cli_data *out) {
    return open_digits(folder, false, out);
}

static nacre_status open_mnist_channel(const char *folder, nacre_cli_data *out) {
    return open_digits(folder, true, out);
}

const nacre_cli_recipe nacre_cli_recipes[] = {
    {
        .name = "mnist-mlp",
        .about = "784-128-128-128-10 perceptron with ReLU on MNIST's handwritten digits",
        .input = {.ndim = 2, .dims = {28, 28}},
        .classes = 10,
        .network = mnist_mlp,
        .open = open_mnist,
        .defaults =
            {
                .epochs = 10,
                .batch_size = 128,
                .optimizer = NACRE_CLI_ADAM,
                .lr = 4e-3,
                .schedule = NACRE_CLI_ONECYCLE,
                .seed = 1,
            },
    },
    {
        .name = "mnist-lenet",
        .about = "LeNet-5, two convolutions and three linear layers, on MNIST's handwritten digits",
        .input = {.ndim = 3, .dims = {1, 28, 28}},
        .classes = 10,
        .network = nacre_example_lenet,
        .open = open_mnist_channel,
        .defaults =
            {
                .epochs = 10,
                .batch_size = 64,
                .optimizer = NACRE_CLI_ADAM,
                .lr = 2e-3,
                .schedule = NACRE_CLI_ONECYCLE,
                .seed = 1,
            },
    },
};
const size_t nacre_cli_recipe_count = sizeof nacre_cli_recipes / sizeof *nacre_cli_recipes;

const char *nacre_cli_recipe_list(void) {
    static char text[512];
    size_t used = 0;
    for (size_t i = 0; i < nacre_cli_recipe_count && used < sizeof text; i++) {
        const char *between = i == 0 ? "" : i + 1 == nacre_cli_recipe_count ? " or " : ", ";
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", between,
                                 nacre_cli_recipes[i].name);
    }
    return text;
}

const nacre_cli_recipe *nacre_cli_find_recipe(const char *name) {
    for (size_t i = 0; i < nacre_cli_recipe_count; i++) {
        if (strcmp(nacre_cli_recipes[i].name, name) == 0) {
            return &nacre_cli_recipes[i];
        }
    }
    return NULL;
}

const nacre_cli_recipe *nacre_cli_recipe_named(const char *name) {
    const nacre_cli_recipe *recipe = nacre_cli_find_recipe(name);
    if (recipe) {
        return recipe;
    }
    const char *names[sizeof nacre_cli_recipes / sizeof *nacre_cli_recipes];
    for (size_t i = 0; i < nacre_cli_recipe_count; i++) {
        names[i] = nacre_cli_recipes[i].name;
    }
    const char *nearest = nacre_cli_nearest(name, names, nacre_cli_recipe_count);
    if (nearest) {
        nacre_cli_usage("unknown recipe %.100s; did you mean %s?", name, nearest);
    } else {
        nacre_cli_usage("unknown recipe %.100s; give %s", nacre_cli_shown(name),
                        nacre_cli_recipe_list());
    }
    return NULL;
}

void nacre_cli_data_close(nacre_cli_data *data) { nacre_mnist_close(&data->mnist); }
