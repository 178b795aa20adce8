/* Flags that several commands take, each stated once: fields of a nacre_cli_option, to be put between braces.
   `at`: offsetof of its value in the command's struct.

       [JSON] = {NACRE_FLAG_JSON(offsetof(tune, json))},
*/
#ifndef NACRE_CLI_FLAGS_H
#define NACRE_CLI_FLAGS_H

#include "cli/options.h"
#include "cli/workloads.h"

#define NACRE_FLAG_INTEGER(name_, at, unit, text, from, to)                                        \
    .name = (name_), .kind = NACRE_CLI_INTEGER, .offset = (at), .value = (unit), .help = (text),   \
    .least = (from), .most = (to)
#define NACRE_FLAG_SWITCH(name_, at, text)                                                         \
    .name = (name_), .kind = NACRE_CLI_SWITCH, .offset = (at), .help = (text)

#define NACRE_FLAG_BATCH_SIZE(at)                                                                  \
    NACRE_FLAG_INTEGER("batch-size", at, "N",                                                      \
                       "samples of a step; 0: what is usual for the network", 0,                   \
                       NACRE_CLI_MOST_SAMPLES)
#define NACRE_FLAG_WIDTH(at)                                                                       \
    NACRE_FLAG_INTEGER("width", at, "N",                                                           \
                       "of the hidden layers of mlp, vit, gpt; 0: the usual one", 0,               \
                       NACRE_CLI_MOST_WIDTH)
#define NACRE_FLAG_DEPTH(at)                                                                       \
    NACRE_FLAG_INTEGER("depth", at, "N",                                                           \
                       "hidden layers of mlp, blocks of vit, gpt; 0: the usual number", 0,         \
                       NACRE_CLI_MOST_DEPTH)
#define NACRE_FLAG_SEQUENCE_LENGTH(at)                                                             \
    NACRE_FLAG_INTEGER("sequence-length", at, "N",                                                 \
                       "characters of a sample of gpt; 0: the usual number", 0,                    \
                       NACRE_CLI_MOST_LENGTH)
#define NACRE_FLAG_MEMORY(at)                                                                      \
    NACRE_FLAG_INTEGER("memory", at, "BYTES",                                                      \
                       "most memory for what a step computes on its way; 0: no limit", 0,          \
                       INT64_MAX)
#define NACRE_FLAG_THREADS(at)                                                                     \
    NACRE_FLAG_INTEGER("threads", at, "N", "threads; 0: as many as there are CPUs", 0, 1024)
#define NACRE_FLAG_BACKEND(at, text)                                                               \
    .name = "backend", .kind = NACRE_CLI_CHOICE, .offset = (at), .value = "NAME", .help = (text),  \
    .choices = nacre_cli_backends
#define NACRE_FLAG_TRACE(at)                                                                       \
    .name = "trace", .kind = NACRE_CLI_STRING, .offset = (at), .value = "FILE",                    \
    .help = "write a Chrome trace of the last steps: chrome://tracing"
#define NACRE_FLAG_JSON(at) NACRE_FLAG_SWITCH("json", at, "one JSON object on stdout, nothing else")

#endif
