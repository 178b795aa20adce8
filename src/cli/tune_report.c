/* What nacre tune prints of a network. */
#include "base/error.h"
#include "cli/bench.h"
#include "cli/output.h"
#include "cli/tune.h"
#include "io/tuning.h"

#include <inttypes.h>
#include <nacre/system.h>

static const char *const verdict_names[] = {
    [NACRE_CLI_TUNE_KEPT] = "kept",
    [NACRE_CLI_TUNE_NOT_FASTER] = "not_faster",
    [NACRE_CLI_TUNE_NOTHING] = "nothing_found",
    [NACRE_CLI_TUNE_TOO_LITTLE] = "too_little",
    [NACRE_CLI_TUNE_INTERRUPTED] = "interrupted",
};

/* ---- JSON ---- */

static void append_product_json(const nacre_tune_result *r, bool first, nacre_text *text) {
    nacre_text_append(
        text, "%s{\"m\":%" PRId64 ",\"n\":%" PRId64 ",\"k\":%" PRId64 ",\"batches\":%" PRId64,
        first ? "" : ",", r->key.m, r->key.n, r->key.k, r->key.batches);
    nacre_text_append(text,
                      ",\"a_transposed\":%s,\"b_transposed\":%s,\"candidates\":%d,\"rounds\":%u",
                      r->key.a_k == 1 ? "false" : "true", r->key.b_column == 1 ? "false" : "true",
                      r->candidates, r->rounds);
    nacre_cli_append_figure(text, "us_rules", r->rules_us);
    nacre_cli_append_figure(text, "us_best", r->best_us);
    nacre_text_append(text, ",\"best\":\"");
    nacre_tuning_describe(&r->best, text);
    nacre_text_append(text, "\"}");
}

static void append_json(const nacre_cli_subject *subject, const nacre_cli_findings *f,
                        nacre_text *text) {
    nacre_text_append(text, "{\"name\":");
    nacre_text_append_json(text, subject->name);
    nacre_text_append(text, ",\"batch\":%" PRId64 ",\"products\":[", subject->batch);
    for (size_t i = 0; i < f->count; i++) {
        append_product_json(&f->product[i], i == 0, text);
    }
    nacre_text_append(text, "],\"undecided\":%zu", nacre_cli_tune_undecided(f));
    if (f->compared) {
        nacre_cli_append_figure(text, "us_before", f->before);
        nacre_cli_append_figure(text, "us_after", f->after);
        nacre_cli_append_figure(text, "margin", f->margin);
    }
    nacre_text_append(
        text, ",\"compared\":%s,\"kept\":%s,\"verdict\":\"%s\"}", f->compared ? "true" : "false",
        f->verdict == NACRE_CLI_TUNE_KEPT ? "true" : "false", verdict_names[f->verdict]);
}

/* ---- text ---- */

/* Operands as they lie: "64x784 . 784x128^T". */
static void append_shape(const nacre_tuning_key *key, nacre_text *text) {
    if (key->batches > 1) {
        nacre_text_append(text, "%" PRId64 " x ", key->batches);
    }
    nacre_text_append(text, "%" PRId64 "x%" PRId64 "%s . %" PRId64 "x%" PRId64 "%s", key->m, key->k,
                      key->a_k == 1 ? "" : "^T", key->k, key->n, key->b_column == 1 ? "" : "^T");
}

static void append_product(const nacre_tune_result *r, nacre_text *text) {
    nacre_text shape = {0};
    append_shape(&r->key, &shape);
    nacre_text_append(text, "%-32s ", shape.failed ? "" : shape.bytes);
    nacre_text_free(&shape);
    if (!nacre_cli_tune_decided(r)) {
        nacre_text_append(text, "%10s %10s %6s  %u round%s of %d ways: too few to say\n", "-", "-",
                          "-", r->rounds, nacre_cli_plural(r->rounds), r->candidates);
        return;
    }
    double gain = r->rules_us > 0 ? 100 * (1 - r->best_us / r->rules_us) : 0;
    nacre_text_append(text, "%10.2f %10.2f %4.0f %%  ", r->rules_us, r->best_us, gain);
    nacre_tuning_describe(&r->best, text);
    nacre_text_append(text, "\n");
}

static void append_comparison(const nacre_cli_findings *f, nacre_text *text) {
    double gain = 100 * (1 - f->after / f->before), margin = 100 * f->margin;
    nacre_text_append(text, "the whole step: %.1f us before, %.1f us after", f->before, f->after);
    if (f->verdict == NACRE_CLI_TUNE_KEPT) {
        nacre_text_append(text, ": %.1f %% faster, more than the margin of %.1f %%: kept\n", gain,
                          margin);
    } else if (gain >= 0.05) {
        nacre_text_append(text,
                          ": %.1f %% faster, not more than the margin of %.1f %%: the table stays "
                          "as it was\n",
                          gain, margin);
    } else {
        nacre_text_append(text, ": not faster, the table stays as it was\n");
    }
}

static void append_verdict(const nacre_cli_findings *f, nacre_text *text) {
    size_t undecided = nacre_cli_tune_undecided(f);
    switch (f->verdict) {
    case NACRE_CLI_TUNE_KEPT:
    case NACRE_CLI_TUNE_NOT_FASTER:
        append_comparison(f, text);
        break;
    case NACRE_CLI_TUNE_NOTHING:
        nacre_text_append(text, f->count ? "no way is faster by 3 %%: the table stays as it was\n"
                                         : "it has no products that could run another way\n");
        break;
    case NACRE_CLI_TUNE_INTERRUPTED:
        nacre_text_append(text, "interrupted: nothing of this network is kept\n");
        return;
    case NACRE_CLI_TUNE_TOO_LITTLE:
        break;
    }
    if (undecided) {
        nacre_text_append(text,
                          "too little was measured of %zu of %zu product%s, %d rounds are needed: "
                          "give more --seconds\n",
                          undecided, f->count, nacre_cli_plural(f->count), NACRE_TUNE_LEAST_ROUNDS);
    }
}

static void append_text(const nacre_cli_subject *subject, const nacre_cli_findings *f,
                        nacre_text *text) {
    nacre_text_append(text, "%s, batch %" PRId64 ", %d thread%s, %s\n", subject->name,
                      subject->batch, nacre_threads(), nacre_cli_plural((size_t)nacre_threads()),
                      nacre_isa());
    if (f->count) {
        nacre_text_append(text, "%-32s %10s %10s %6s  %s\n", "product", "rules us", "best us",
                          "gain", "best way");
    }
    for (size_t i = 0; i < f->count; i++) {
        append_product(&f->product[i], text);
    }
    append_verdict(f, text);
    nacre_text_append(text, "\n");
}

void nacre_cli_tune_append(const nacre_cli_subject *subject, const nacre_cli_findings *findings,
                           bool json, nacre_text *text) {
    (json ? append_json : append_text)(subject, findings, text);
}
