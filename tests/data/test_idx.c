/* The idx reader: what a good file gives, and that a damaged one is refused by name. */
#include <nacre/data.h>
#include <nacre/system.h>

#include "support.h"

#include <stdlib.h>
#include <string.h>

#if defined(NACRE_HAVE_ZLIB) && NACRE_HAVE_ZLIB
#include <zlib.h>
#endif

/* Two images of 3x4 pixels, 0 to 23. */
static size_t small_file(uint8_t bytes[64]) {
    static const uint8_t header[16] = {0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4};
    memcpy(bytes, header, sizeof header);
    for (int i = 0; i < 24; i++) bytes[16 + i] = (uint8_t)i;
    return 40;
}

static void expect_small(const nacre_idx *idx) {
    assert_int_equal(idx->ndim, 3);
    assert_int_equal(idx->dims[0], 2);
    assert_int_equal(idx->dims[1], 3);
    assert_int_equal(idx->dims[2], 4);
    assert_int_equal(idx->bytes, 24);
    for (int i = 0; i < 24; i++) assert_int_equal(idx->data[i], i);
}

static void expect_refused(const void *bytes, size_t size, nacre_status status, const char *part) {
    nacre_idx idx;
    memset(&idx, 0xff, sizeof idx);
    nacre_memory_stats before = nacre_memory();
    nacre_error_clear();
    assert_int_equal(nacre_idx_parse(bytes, size, "some.idx", &idx), status);
    assert_int_equal(nacre_error_code(), status);
    if (!strstr(nacre_error_message(), "some.idx") || !strstr(nacre_error_message(), part))
        fail_msg("'%s' does not name the file and '%s'", nacre_error_message(), part);
    assert_null(strchr(nacre_error_message(), '\n'));
    assert_null(idx.data);
    assert_int_equal(idx.ndim, 0);
    assert_int_equal(nacre_memory().live_bytes, before.live_bytes);
}

static void an_array_is_read_with_its_extents(void **state) {
    (void)state;
    uint8_t bytes[64];
    size_t size = small_file(bytes);
    nacre_idx idx;
    assert_int_equal(nacre_idx_parse(bytes, size, NULL, &idx), NACRE_OK);
    expect_small(&idx);
    nacre_idx_free(&idx);
    assert_null(idx.data);
    nacre_idx_free(NULL);

    const char *path = support_path(support_folder(), "small");
    support_write(path, bytes, size);
    assert_int_equal(nacre_idx_load(path, &idx), NACRE_OK);
    expect_small(&idx);
    nacre_idx_free(&idx);
}

static void an_array_without_elements_is_an_array(void **state) {
    (void)state;
    const uint8_t bytes[] = {0, 0, 8, 2, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff};
    nacre_idx idx;
    assert_int_equal(nacre_idx_parse(bytes, sizeof bytes, "empty", &idx), NACRE_OK);
    assert_int_equal(idx.bytes, 0);
    assert_int_equal(idx.dims[1], INT32_MAX);
    nacre_idx_free(&idx);
}

static void every_shorter_file_is_refused(void **state) {
    (void)state;
    uint8_t bytes[64];
    size_t size = small_file(bytes);
    for (size_t cut = 0; cut < size; cut++)
        expect_refused(bytes, cut, NACRE_BAD_FILE, cut < 16 ? "header" : "truncated");
    expect_refused(bytes, 30, NACRE_BAD_FILE,
                   "24 bytes of data after 16 of header, and the file has 30 bytes in all; "
                   "the file is damaged, download it again");
}

static void bytes_after_the_data_are_refused(void **state) {
    (void)state;
    uint8_t bytes[64] = {0};
    size_t size = small_file(bytes);
    expect_refused(bytes, size + 1, NACRE_BAD_FILE, "1 bytes after the end");
}

static void something_else_is_not_taken_for_an_array(void **state) {
    (void)state;
    expect_refused("\x89PNG\r\n\x1a\n0123456789", 18, NACRE_BAD_FILE, "not an idx file");
    expect_refused("\0\0\x08\0\0\0\0\1", 8, NACRE_BAD_FILE, "not an idx file");   /* no dimension */
    expect_refused("\0\0\x08\x09\0\0\0\1", 8, NACRE_BAD_FILE, "not an idx file"); /* nine of them */
    expect_refused("\0\0\x0d\1\0\0\0\0", 8, NACRE_UNSUPPORTED, "f32");
    expect_refused("<html></html>", 13, NACRE_BAD_FILE, "web page, download the file itself");
}

static void hostile_sizes_are_refused_before_memory_is_asked_for(void **state) {
    (void)state;
    uint64_t before = nacre_memory().allocations;
    expect_refused("\0\0\x08\1\x80\0\0\0data", 12, NACRE_BAD_FILE, "2147483648"); /* 2^31 */
    expect_refused("\0\0\x08\1\xff\xff\xff\xff", 8, NACRE_BAD_FILE, "too large");
    expect_refused("\0\0\x08\1\x7f\xff\xff\xff", 8, NACRE_BAD_FILE, "truncated");
    expect_refused("\0\0\x08\3\x7f\xff\xff\xff\x7f\xff\xff\xff\x7f\xff\xff\xff", 16, NACRE_BAD_FILE,
                   "more than memory");
    assert_int_equal(nacre_memory().allocations, before);
}

static void a_path_without_a_file_says_so(void **state) {
    (void)state;
    nacre_idx idx;
    const char *folder = support_folder();
    assert_int_equal(nacre_idx_load(support_path(folder, "absent"), &idx), NACRE_NOT_FOUND);
    assert_non_null(strstr(nacre_error_message(), "absent"));
    assert_int_equal(nacre_idx_load(folder, &idx), NACRE_BAD_FILE);
    assert_non_null(strstr(nacre_error_message(), "not a regular file"));
    assert_int_equal(nacre_idx_load(NULL, &idx), NACRE_INVALID_ARGUMENT);
    assert_int_equal(nacre_idx_parse(NULL, 4, "x", &idx), NACRE_INVALID_ARGUMENT);
    assert_int_equal(nacre_idx_parse("x", 1, "x", NULL), NACRE_INVALID_ARGUMENT);
}

#if defined(NACRE_HAVE_ZLIB) && NACRE_HAVE_ZLIB

/* One gzip member. */
static size_t pack(const void *bytes, size_t size, uint8_t *out, size_t room) {
    z_stream z = {0};
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (Bytef *)(uintptr_t)bytes;
    z.avail_in = (uInt)size;
    z.next_out = out;
    z.avail_out = (uInt)room;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    size_t packed = z.total_out;
    deflateEnd(&z);
    return packed;
}

static void a_gzip_file_is_known_by_its_content(void **state) {
    (void)state;
    uint8_t bytes[64], packed[256];
    size_t size = pack(bytes, small_file(bytes), packed, sizeof packed);
    nacre_idx idx;
    assert_int_equal(nacre_idx_parse(packed, size, "packed", &idx), NACRE_OK);
    expect_small(&idx);
    nacre_idx_free(&idx);
    const char *path = support_path(support_folder(), "no-suffix");
    support_write(path, packed, size);
    assert_int_equal(nacre_idx_load(path, &idx), NACRE_OK);
    expect_small(&idx);
    nacre_idx_free(&idx);
}

static void gzip_members_in_a_row_are_one_file(void **state) {
    (void)state;
    uint8_t bytes[64], packed[512];
    size_t size = small_file(bytes);
    size_t first = pack(bytes, 19, packed, 256);
    size_t second = pack(bytes + 19, size - 19, packed + first, 256);
    nacre_idx idx;
    assert_int_equal(nacre_idx_parse(packed, first + second, "two members", &idx), NACRE_OK);
    expect_small(&idx);
    nacre_idx_free(&idx);
}

static void a_gzip_file_cut_anywhere_is_refused(void **state) {
    (void)state;
    uint8_t bytes[64], packed[256];
    size_t size = pack(bytes, small_file(bytes), packed, sizeof packed);
    for (size_t cut = 2; cut < size; cut++) expect_refused(packed, cut, NACRE_BAD_FILE, "cut off");
}

static void a_changed_bit_in_a_gzip_file_is_noticed(void **state) {
    (void)state;
    uint8_t bytes[64], packed[256];
    size_t size = pack(bytes, small_file(bytes), packed, sizeof packed);
    packed[size - 8] ^= 1; /* of the checksum */
    expect_refused(packed, size, NACRE_BAD_FILE, "data check");
    packed[size - 8] ^= 1;
    packed[size - 4] ^= 1; /* of the length */
    expect_refused(packed, size, NACRE_BAD_FILE, "length check");
    packed[size - 4] ^= 1;
    packed[3] = 0xff; /* flags that do not exist */
    expect_refused(packed, size, NACRE_BAD_FILE, "bad gzip data");
}

static void bytes_after_gzip_data_are_refused(void **state) {
    (void)state;
    uint8_t bytes[64] = {0}, packed[256] = {0};
    size_t size = small_file(bytes);
    size_t packed_size = pack(bytes, size + 1, packed, sizeof packed);
    expect_refused(packed, packed_size, NACRE_BAD_FILE, "more bytes after the end");
    packed_size = pack(bytes, size, packed, sizeof packed);
    expect_refused(packed, packed_size + 1, NACRE_BAD_FILE, "after the end of the gzip data");
    packed_size = pack(bytes, size - 1, packed, sizeof packed);
    expect_refused(packed, packed_size, NACRE_BAD_FILE, "truncated");
}

static void a_tiny_gzip_file_cannot_make_the_reader_ask_for_gigabytes(void **state) {
    (void)state;
    uint8_t packed[256];
    size_t size = pack("\0\0\x08\1\x7f\xff\xff\xff", 8, packed, sizeof packed);
    size_t before = nacre_memory().peak_bytes;
    expect_refused(packed, size, NACRE_BAD_FILE, "truncated");
    assert_true(nacre_memory().peak_bytes - before < 1 << 20);
}

static void every_failed_allocation_is_an_error_and_leaks_nothing(void **state) {
    (void)state;
    uint8_t bytes[64], packed[256];
    size_t size = pack(bytes, small_file(bytes), packed, sizeof packed);
    nacre_idx idx;
    size_t live = nacre_memory().live_bytes;
    for (uint64_t n = 1;; n++) {
        nacre_memory_fail_at(n);
        nacre_status status = nacre_idx_parse(packed, size, "packed", &idx);
        nacre_memory_fail_at(0);
        if (status == NACRE_OK) {
            assert_true(n > 3);
            break;
        }
        assert_int_equal(status, NACRE_OUT_OF_MEMORY);
        assert_int_equal(nacre_memory().live_bytes, live);
    }
    nacre_idx_free(&idx);
}

#else

static void without_zlib_a_gzip_file_names_the_package(void **state) {
    (void)state;
    expect_refused("\x1f\x8b\x08\0\0\0\0\0", 8, NACRE_UNSUPPORTED, "zlib1g-dev");
}

#endif

static void mnist_itself_is_read(void **state) {
    (void)state;
    const char *folder = support_data("mnist");
    nacre_idx idx;
    nacre_status status = nacre_idx_load(support_path(folder, "t10k-labels-idx1-ubyte.gz"), &idx);
    if (status == NACRE_UNSUPPORTED) skip();
    assert_int_equal(status, NACRE_OK);
    assert_int_equal(idx.ndim, 1);
    assert_int_equal(idx.dims[0], 10000);
    static const uint8_t first[] = {7, 2, 1, 0, 4,
                                    1, 4, 9, 5, 9}; /* as every tutorial shows them */
    assert_memory_equal(idx.data, first, sizeof first);
    nacre_idx_free(&idx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_array_is_read_with_its_extents),
        cmocka_unit_test(an_array_without_elements_is_an_array),
        cmocka_unit_test(every_shorter_file_is_refused),
        cmocka_unit_test(bytes_after_the_data_are_refused),
        cmocka_unit_test(something_else_is_not_taken_for_an_array),
        cmocka_unit_test(hostile_sizes_are_refused_before_memory_is_asked_for),
        cmocka_unit_test(a_path_without_a_file_says_so),
#if defined(NACRE_HAVE_ZLIB) && NACRE_HAVE_ZLIB
        cmocka_unit_test(a_gzip_file_is_known_by_its_content),
        cmocka_unit_test(gzip_members_in_a_row_are_one_file),
        cmocka_unit_test(a_gzip_file_cut_anywhere_is_refused),
        cmocka_unit_test(a_changed_bit_in_a_gzip_file_is_noticed),
        cmocka_unit_test(bytes_after_gzip_data_are_refused),
        cmocka_unit_test(a_tiny_gzip_file_cannot_make_the_reader_ask_for_gigabytes),
        cmocka_unit_test(every_failed_allocation_is_an_error_and_leaks_nothing),
#else
        cmocka_unit_test(without_zlib_a_gzip_file_names_the_package),
#endif
        cmocka_unit_test(mnist_itself_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
