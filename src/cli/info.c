/* nacre info: what was built, and what this machine makes of it. */
#include "base/build_info.h"
#include "base/cpu.h"
#include "cli/commands.h"
#include "cli/flags.h"
#include "cli/output.h"
#include "cli/workloads.h"
#include "io/tuning.h"

#include <nacre/system.h>
#include <string.h>

typedef struct info {
    bool json;
} info;

static const nacre_cli_option options[] = {{NACRE_FLAG_JSON(offsetof(info, json))}};
static const info defaults = {0};

const nacre_cli_syntax nacre_cli_info_syntax = {
    .command = "info",
    .arguments = "",
    .summary = "Version, build options, CPU levels and libraries.",
    .options = options,
    .count = sizeof options / sizeof *options,
    .defaults = &defaults,
    .most_arguments = 0,
};

#ifdef NACRE_BUILD_AVX2
enum { BUILT_AVX2 = 1 };
#else
enum { BUILT_AVX2 = 0 };
#endif
#ifdef NACRE_BUILD_AVX512
enum { BUILT_AVX512 = 1 };
#else
enum { BUILT_AVX512 = 0 };
#endif
#ifdef NACRE_BUILD_NEON
enum { BUILT_NEON = 1 };
#else
enum { BUILT_NEON = 0 };
#endif
#ifdef NACRE_HAVE_ZLIB
enum { HAVE_ZLIB = 1 };
#else
enum { HAVE_ZLIB = 0 };
#endif
#ifdef NACRE_HAVE_PNG
enum { HAVE_PNG = 1 };
#else
enum { HAVE_PNG = 0 };
#endif
#ifdef NACRE_HAVE_CURL
enum { HAVE_CURL = 1 };
#else
enum { HAVE_CURL = 0 };
#endif

static const struct level {
    nacre_isa_level level;
    bool built;
} levels[] = {
    {NACRE_ISA_PORTABLE, true},
    {NACRE_ISA_AVX2, BUILT_AVX2},
    {NACRE_ISA_AVX512, BUILT_AVX512},
    {NACRE_ISA_NEON, BUILT_NEON},
};
enum { LEVELS = sizeof levels / sizeof *levels };

static const struct library {
    const char *name, *use, *option, *package;
    bool wanted, found;
} libraries[] = {
    {"zlib", "reads .gz files", "NACRE_ZLIB", "zlib1g-dev", NACRE_WANTED_ZLIB, HAVE_ZLIB},
    {"libpng", "reads PNG pictures", "NACRE_PNG", "libpng-dev", NACRE_WANTED_PNG, HAVE_PNG},
    {"libcurl", "downloads data sets", "NACRE_CURL", "libcurl4-openssl-dev", NACRE_WANTED_CURL,
     HAVE_CURL},
};
enum { LIBRARIES = sizeof libraries / sizeof *libraries };

static void append_why(const struct library *library, nacre_text *text) {
    if (library->wanted) {
        nacre_text_append(text,
                          "not found when this was built; install its package (%s on Debian) and "
                          "build again",
                          library->package);
    } else {
        nacre_text_append(text, "switched off when this was built (%s=OFF)", library->option);
    }
}

static const struct field {
    const char *key, *value;
} fields[] = {
    {"compiler", NACRE_BUILD_COMPILER}, {"build_type", NACRE_BUILD_TYPE},
    {"flags", NACRE_BUILD_FLAGS},       {"sanitizers", NACRE_BUILD_SANITIZE},
    {"system", NACRE_BUILD_SYSTEM},
};
enum { FIELDS = sizeof fields / sizeof *fields };

/* How evaluations run, as the environment says. */
enum { UNPLANNED, UNFUSED, FUSED };
static const char *const plan_names[] = {"none", "unfused", "fused"};
static const char *const plan_reasons[] = {
    "none: each operation runs as it is recorded (NACRE_EAGER=1)",
    "unfused: a step for each operation (NACRE_FUSE=0)",
    "fused",
};
static int plans(void) {
    if (!nacre_cli_has_plan()) return UNPLANNED;
    return nacre_fusion_enabled() ? FUSED : UNFUSED;
}

static void append_json(nacre_text *text) {
    nacre_text_append(text, "{\"version\":\"%s\",\"build\":{", nacre_version());
    for (size_t i = 0; i < FIELDS; i++) {
        nacre_text_append(text, "%s\"%s\":", i ? "," : "", fields[i].key);
        nacre_text_append_json(text, fields[i].value);
    }
    nacre_text_append(text, "},\"isa\":\"%s\",\"levels\":[", nacre_isa());
    for (size_t i = 0; i < LEVELS; i++) {
        nacre_text_append(text, "%s{\"name\":\"%s\",\"built\":%s,\"supported\":%s}", i ? "," : "",
                          nacre_isa_name(levels[i].level), levels[i].built ? "true" : "false",
                          nacre_isa_supported(levels[i].level) ? "true" : "false");
    }
    nacre_text_append(text, "],\"usable_cpus\":%d,\"threads\":%d,\"plans\":\"%s\",\"libraries\":[",
                      nacre_usable_cpus(), nacre_threads(), plan_names[plans()]);
    for (size_t i = 0; i < LIBRARIES; i++) {
        nacre_text_append(text, "%s{\"name\":\"%s\",\"use\":\"%s\",\"found\":%s", i ? "," : "",
                          libraries[i].name, libraries[i].use,
                          libraries[i].found ? "true" : "false");
        if (!libraries[i].found) {
            nacre_text_append(text, ",\"why\":\"");
            append_why(&libraries[i], text);
            nacre_text_append(text, "\"");
        }
        nacre_text_append(text, "}");
    }
    char table[NACRE_TUNING_PATH_BYTES];
    nacre_tuning_path(table);
    nacre_text_append(text, "],\"tuning\":{\"file\":");
    nacre_text_append_json(text, table);
    nacre_text_append(text, ",\"entries\":%zu}}\n", nacre_tuning_count());
}

static void append_plain(nacre_text *text) {
    nacre_text_append(text, "nacre %s\n", nacre_version());
    for (size_t i = 0; i < FIELDS; i++) {
        nacre_text_append(text, "%-12s %s\n", fields[i].key,
                          fields[i].value[0] ? fields[i].value : "none");
    }
    nacre_text_append(text, "%-12s %d of %d usable CPUs\n", "threads", nacre_threads(),
                      nacre_usable_cpus());
    nacre_text_append(text, "%-12s %s\n", "plans", plan_reasons[plans()]);
    for (size_t i = 0; i < LEVELS; i++) {
        bool supported = nacre_isa_supported(levels[i].level);
        const char *name = nacre_isa_name(levels[i].level);
        nacre_text_append(text, "%-12s %-9s %s\n", i ? "" : "CPU levels", name,
                          !levels[i].built                 ? "not built for this kind of CPU"
                          : strcmp(name, nacre_isa()) == 0 ? "in use"
                          : supported                      ? "available (NACRE_ISA chooses)"
                                                           : "not supported by this CPU");
    }
    for (size_t i = 0; i < LIBRARIES; i++) {
        nacre_text_append(text, "%-12s %-9s ", i ? "" : "libraries", libraries[i].name);
        if (libraries[i].found) {
            nacre_text_append(text, "found: %s", libraries[i].use);
        } else {
            append_why(&libraries[i], text);
        }
        nacre_text_append(text, "\n");
    }
    char table[NACRE_TUNING_PATH_BYTES];
    nacre_tuning_path(table);
    nacre_text_append(text, "%-12s %zu product%s by %s\n", "tuning", nacre_tuning_count(),
                      nacre_cli_plural(nacre_tuning_count()), *table ? table : "no table");
}

int nacre_cli_info(int argc, char **argv) {
    info values = defaults;
    nacre_cli_given given;
    if (!nacre_cli_parse(&nacre_cli_info_syntax, argc, argv, &values, &given)) {
        return NACRE_CLI_USAGE;
    }
    if (given.help) {
        return nacre_cli_print_help(&nacre_cli_info_syntax);
    }
    nacre_text text = {0};
    if (values.json) {
        append_json(&text);
    } else {
        append_plain(&text);
    }
    return nacre_cli_print(&text);
}
