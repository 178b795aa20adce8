/* nacre summary: the layers of a recipe's network. */
#include "cli/commands.h"
#include "cli/flags.h"
#include "cli/output.h"
#include "cli/recipes.h"

#include <nacre/nn.h>
#include <string.h>

typedef struct summary {
    bool json;
} summary;

static const nacre_cli_option options[] = {{NACRE_FLAG_JSON(offsetof(summary, json))}};
static const summary defaults = {0};

const nacre_cli_syntax nacre_cli_summary_syntax = {
    .command = "summary",
    .arguments = "RECIPE",
    .summary = "The layers of a recipe's network: output shapes, parameters, FLOPs.",
    .options = options,
    .count = sizeof options / sizeof *options,
    .defaults = &defaults,
    .most_arguments = 1,
};

static int print_summary(const nacre_cli_recipe *recipe, bool json) {
    nacre_module *network = recipe->network();
    char *table = json ? nacre_module_summary_json(network, recipe->input)
                       : nacre_module_summary(network, recipe->input);
    int code;
    if (table) {
        nacre_text text = {0};
        size_t length = strlen(table);
        nacre_text_append_bytes(&text, table, length);
        nacre_text_append(&text, length && table[length - 1] == '\n' ? "" : "\n");
        nacre_text_release(table);
        code = nacre_cli_print(&text);
    } else {
        code = nacre_cli_library_error();
    }
    nacre_module_free(network);
    return code;
}

int nacre_cli_summary(int argc, char **argv) {
    summary values = defaults;
    nacre_cli_given given;
    if (!nacre_cli_parse(&nacre_cli_summary_syntax, argc, argv, &values, &given)) {
        return NACRE_CLI_USAGE;
    }
    if (given.help) {
        return nacre_cli_print_help(&nacre_cli_summary_syntax);
    }
    if (given.count == 0) {
        return nacre_cli_usage("no recipe given; give one: %s", nacre_cli_recipe_list());
    }
    const nacre_cli_recipe *recipe = nacre_cli_recipe_named(given.arguments[0]);
    return recipe ? print_summary(recipe, values.json) : NACRE_CLI_USAGE;
}
