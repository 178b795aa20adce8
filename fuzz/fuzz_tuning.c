/* Any bytes as a tuning table: a table that writes and reads back the same, or an error with its line. */
#include "io/tuning.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void require(bool holds) {
    if (!holds) abort();
}

static void check_round_trip(const nacre_tuning_table *table) {
    nacre_text text = {0};
    nacre_tuning_append(table, "fuzz", &text);
    for (size_t i = 0; i < table->count; i++)
        nacre_tuning_describe(&table->entries[i].choice, &text);
    require(!text.failed);
    nacre_text_free(&text);
    nacre_tuning_append(table, "fuzz", &text);
    nacre_tuning_table again;
    require(nacre_tuning_parse(text.bytes, text.length, "again", "fuzz", &again) == NACRE_OK);
    require(again.count == table->count);
    for (size_t i = 0; i < table->count; i++)
        require(memcmp(&again.entries[i].key, &table->entries[i].key,
                       sizeof again.entries[i].key) == 0);
    nacre_tuning_free(&again);
    nacre_text_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    nacre_tuning_table table;
    if (nacre_tuning_parse((const char *)bytes, size, "input", "fuzz", &table) == NACRE_OK) {
        check_round_trip(&table);
    } else {
        const char *message = nacre_error_message();
        require(!table.entries && strncmp(message, "input: line ", 12) == 0 &&
                !strchr(message, '\n'));
    }
    nacre_tuning_free(&table);
    return 0;
}
