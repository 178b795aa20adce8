/* Trains a language model on the characters of a text: train_gpt [STEPS [FILE]]. Without FILE it reads
   $NACRE_DATA/tinyshakespeare/input.txt, and where that is not there a few lines of its own. */
#include "models/models.h"

#include <nacre/nacre.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 12, GPT_CONTEXT = NACRE_EXAMPLE_GPT_CONTEXT };

/* Shakespeare, sonnet 18. */
static const char few_lines[] = "Shall I compare thee to a summer's day?\n"
                                "Thou art more lovely and more temperate:\n"
                                "Rough winds do shake the darling buds of May,\n"
                                "And summer's lease hath all too short a date;\n"
                                "Sometime too hot the eye of heaven shines,\n"
                                "And often is his gold complexion dimm'd;\n"
                                "And every fair from fair sometime declines,\n"
                                "By chance or nature's changing course untrimm'd;\n"
                                "But thy eternal summer shall not fade,\n"
                                "Nor lose possession of that fair thou ow'st;\n"
                                "Nor shall death brag thou wander'st in his shade,\n"
                                "When in eternal lines to time thou grow'st:\n"
                                "So long as men can breathe or eyes can see,\n"
                                "So long lives this, and this gives life to thee.\n";

typedef struct text {
    unsigned char *bytes;
    int64_t length;
    unsigned char letter[256]; /* of each index */
    int64_t index[256];        /* of each byte */
    int64_t letters;
} text;

/* file NULL: the few lines. */
static bool text_read(text *t, FILE *file) {
    t->bytes = malloc((size_t)1 << 24);
    if (!t->bytes) return false;
    if (file) {
        t->length = (int64_t)fread(t->bytes, 1, (size_t)1 << 24, file);
    } else {
        t->length = (int64_t)sizeof few_lines - 1;
        memcpy(t->bytes, few_lines, sizeof few_lines - 1);
    }
    bool seen[256] = {false};
    for (int64_t i = 0; i < t->length; i++) seen[t->bytes[i]] = true;
    for (int c = 0; c < 256; c++) {
        if (!seen[c]) continue;
        t->letter[t->letters] = (unsigned char)c;
        t->index[c] = t->letters++;
    }
    return t->length > GPT_CONTEXT;
}

static bool text_open(text *t, const char *named) {
    char path[1024];
    const char *data = getenv("NACRE_DATA");
    snprintf(path, sizeof path, "%s/tinyshakespeare/input.txt", data ? data : ".");
    FILE *file = fopen(named ? named : path, "rb");
    bool good = (file || !named) && text_read(t, file);
    if (file) fclose(file);
    if (!good)
        fprintf(stderr, "%s: no text of more than %d characters there\n", named ? named : path,
                GPT_CONTEXT);
    return good;
}

/* Sample i: 64 characters from place i on; the target is the same one place further. */
static nacre_status read_windows(void *user, const int64_t *indices, int64_t n, void *inputs,
                                 void *targets) {
    const text *t = user;
    int64_t *x = inputs, *y = targets;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < GPT_CONTEXT; j++) {
            *x++ = t->index[t->bytes[indices[i] + j]];
            *y++ = t->index[t->bytes[indices[i] + j + 1]];
        }
    return NACRE_OK;
}

/* One step; returns the loss. */
static double train_step(nacre_module *net, nacre_optimizer *adamw, const nacre_batch *batch,
                         nacre_status *status) {
    nacre_scope scope = nacre_scope_begin();
    nacre_tensor *logits = nacre_module_forward(net, batch->inputs);
    nacre_tensor *rows = nacre_reshape(logits, NACRE_SHAPE(-1, nacre_size(logits, 2)));
    nacre_tensor *loss =
        nacre_f_cross_entropy(rows, nacre_reshape(batch->targets, NACRE_SHAPE(-1)));
    *status = nacre_backward(loss);
    if (*status == NACRE_OK) *status = nacre_step(adamw);
    double value = nacre_item(loss);
    nacre_scope_end(scope);
    return value;
}

/* The likeliest continuation of the text's beginning, one character after the other. */
static void continue_text(nacre_module *net, const text *t) {
    int64_t window[GPT_CONTEXT];
    for (int i = 0; i < GPT_CONTEXT; i++) window[i] = t->index[t->bytes[i]];
    bool before = nacre_set_grad_enabled(false);
    for (int i = 0; i < 2 * GPT_CONTEXT; i++) {
        nacre_scope scope = nacre_scope_begin();
        nacre_tensor *x = nacre_from_data(window, NACRE_SHAPE(1, GPT_CONTEXT), .dtype = NACRE_I64);
        nacre_tensor *last = nacre_index(nacre_module_forward(net, x), "0, -1");
        int64_t next = nacre_item_i64(nacre_argmax(last));
        nacre_scope_end(scope);
        putchar(t->letter[next]);
        memmove(window, window + 1, sizeof window - sizeof window[0]);
        window[GPT_CONTEXT - 1] = next;
    }
    putchar('\n');
    nacre_set_grad_enabled(before);
}

static nacre_status train(nacre_module *net, nacre_dataset *set, int64_t steps, double *loss) {
    nacre_optimizer *adamw = nacre_adamw(.lr = 1e-3);
    nacre_loader *loader =
        nacre_loader_create(set, .batch_size = BATCH, .shuffle = true, .drop_last = true);
    nacre_status status = nacre_module_init(net, 1);
    status = status ? status : nacre_optimizer_bind(adamw, net);
    if (!loader) status = nacre_error_code();
    int64_t step = 0;
    for (int64_t epoch = 0; status == NACRE_OK && step < steps; epoch++) {
        nacre_batch batch;
        status = nacre_loader_start(loader, epoch, 0);
        while (status == NACRE_OK && step < steps && nacre_loader_next(loader, &batch, &status)) {
            *loss = train_step(net, adamw, &batch, &status);
            if (step % 50 == 0 || step + 1 == steps)
                printf("step %lld: loss %.4f\n", (long long)step, *loss);
            step++;
        }
    }
    nacre_loader_free(loader);
    nacre_optimizer_free(adamw);
    return status;
}

int main(int argc, char **argv) {
    char *end = "";
    int64_t steps = argc > 1 ? strtoll(argv[1], &end, 10) : 200;
    if (argc > 3 || *end != '\0' || steps < 1) {
        fprintf(stderr, "usage: train_gpt [STEPS [FILE]], STEPS from 1\n");
        return 2;
    }
    text t = {0};
    if (!text_open(&t, argc > 2 ? argv[2] : NULL)) {
        free(t.bytes);
        return 1;
    }
    printf("%lld characters, %lld different ones\n", (long long)t.length, (long long)t.letters);
    nacre_module *net = nacre_example_gpt(t.letters, GPT_CONTEXT, NACRE_EXAMPLE_GPT_WIDTH,
                                          NACRE_EXAMPLE_GPT_BLOCKS);
    nacre_dataset *set =
        nacre_dataset_create(.count = t.length - GPT_CONTEXT,
                             .input_shape = NACRE_SHAPE(GPT_CONTEXT), .input_dtype = NACRE_I64,
                             .target_shape = NACRE_SHAPE(GPT_CONTEXT), .target_dtype = NACRE_I64,
                             .read = read_windows, .user = &t, .name = "characters");
    double loss = 0;
    nacre_status status = set ? train(net, set, steps, &loss) : nacre_error_code();
    if (status == NACRE_OK)
        continue_text(net, &t);
    else
        fprintf(stderr, "%s\n", nacre_error_message());
    nacre_dataset_free(set);
    nacre_module_free(net);
    free(t.bytes);
    return status != NACRE_OK || !(loss < 3);
}
