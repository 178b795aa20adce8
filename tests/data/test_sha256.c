/* Published vectors: FIPS 180-4 examples (NIST, "SHA256.pdf" and the SHA-2 long message example). */
#include "data/sha256.h"
#include "support.h"

#include <stdlib.h>
#include <string.h>

static void expect(const char *text, size_t size, const char *hex) {
    nacre_sha256 hash;
    char digest[65];
    nacre_sha256_begin(&hash);
    nacre_sha256_add(&hash, text, size);
    nacre_sha256_end(&hash, digest);
    assert_string_equal(digest, hex);
}

static void a_download_is_checked_against_the_published_digest(void **state) {
    (void)state;
    expect("", 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    expect("abc", 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    const char *two = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    expect(two, strlen(two), "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    const char *long_text = "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmn"
                            "opjklmnopqklmnopqrlmnopqrsm"
                            "nopqrstnopqrstu";
    expect(long_text, strlen(long_text),
           "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1");
    char *million = malloc(1000000);
    memset(million, 'a', 1000000);
    expect(million, 1000000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    free(million);
}

static void the_digest_does_not_depend_on_how_the_bytes_arrive(void **state) {
    (void)state;
    char bytes[300];
    for (int i = 0; i < 300; i++) bytes[i] = (char)(i * 7);
    for (size_t size = 50; size < 200; size++) {
        nacre_sha256 whole, pieces;
        char expected[65], found[65];
        nacre_sha256_begin(&whole);
        nacre_sha256_add(&whole, bytes, size);
        nacre_sha256_end(&whole, expected);
        nacre_sha256_begin(&pieces);
        for (size_t at = 0, step = 1; at < size; at += step, step = step % 70 + 1) {
            if (step > size - at) step = size - at;
            nacre_sha256_add(&pieces, bytes + at, step);
        }
        nacre_sha256_end(&pieces, found);
        assert_string_equal(found, expected);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_download_is_checked_against_the_published_digest),
        cmocka_unit_test(the_digest_does_not_depend_on_how_the_bytes_arrive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
