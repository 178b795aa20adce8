/* Any bytes as an idx file, raw or gzip. */
#include <nacre/data.h>

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    nacre_idx idx;
    if (nacre_idx_parse(data, size, "fuzz", &idx) == NACRE_OK) {
        size_t expected = 1;
        for (int i = 0; i < idx.ndim; i++) expected *= (size_t)idx.dims[i];
        if (expected != idx.bytes || !idx.data) abort();
    } else if (idx.data || idx.ndim != 0) {
        abort(); /* a failure leaves nothing behind */
    }
    nacre_idx_free(&idx);
    return 0;
}
