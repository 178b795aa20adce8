/* Storages: the form that a backend keeps beside the contents. */
#include "tensor/storage.h"

#include "support.h"

#include <nacre/system.h>
#include <string.h>

static const nacre_form_key panels = {{1, 2, 3}}, others = {{1, 2, 4}};

static nacre_storage *storage_of(size_t bytes) {
    nacre_storage *storage = nacre_storage_new(bytes);
    assert_non_null(storage);
    return storage;
}

/* Asks twice, as two uses of the same contents do, and fills. */
static void *fill(nacre_storage *storage, const nacre_form_key *key, size_t bytes) {
    bool due;
    assert_null(nacre_storage_form(storage, key, bytes, &due));
    assert_false(due);
    void *form = nacre_storage_form(storage, key, bytes, &due);
    assert_non_null(form);
    assert_true(due);
    memset(form, 0x5A, bytes);
    nacre_storage_form_filled(storage);
    return form;
}

static void a_form_is_made_at_the_second_use_and_kept(void **state) {
    (void)state;
    nacre_storage *storage = storage_of(100);
    void *form = fill(storage, &panels, 300);
    bool due = true;
    for (int i = 0; i < 3; i++) {
        assert_ptr_equal(nacre_storage_form(storage, &panels, 300, &due), form);
        assert_false(due);
    }
    nacre_storage_release(storage);
}

static void an_overwrite_makes_it_due_again(void **state) {
    (void)state;
    nacre_storage *storage = storage_of(100);
    void *form = fill(storage, &panels, 300);
    for (int i = 0; i < 5; i++) { /* changes with every use: never made */
        bool due;
        storage->version++;
        assert_null(nacre_storage_form(storage, &panels, 300, &due));
        assert_false(due);
    }
    storage->version++;
    assert_ptr_equal(fill(storage, &panels, 300), form); /* in the same memory */
    nacre_storage_release(storage);
}

static void another_form_waits_for_other_contents(void **state) {
    (void)state;
    nacre_storage *storage = storage_of(100);
    fill(storage, &panels, 300);
    bool due;
    for (int i = 0; i < 3; i++) {
        assert_null(nacre_storage_form(storage, &others, 300, &due));
        assert_false(due);
        assert_null(nacre_storage_form(storage, &panels, 301, &due));
    }
    storage->version++;
    fill(storage, &others, 1000);
    assert_null(nacre_storage_form(storage, &panels, 300, &due));
    nacre_storage_release(storage);
}

static void nobody_else_gets_it_while_it_is_filled(void **state) {
    (void)state;
    nacre_storage *storage = storage_of(100);
    bool due;
    assert_null(nacre_storage_form(storage, &panels, 300, &due));
    assert_non_null(nacre_storage_form(storage, &panels, 300, &due));
    assert_null(nacre_storage_form(storage, &panels, 300, &due));
    assert_false(due);
    nacre_storage_form_filled(storage);
    assert_non_null(nacre_storage_form(storage, &panels, 300, &due));
    nacre_storage_release(storage);
}

static void a_form_without_memory_is_done_without(void **state) {
    (void)state;
    nacre_storage *storage = storage_of(100);
    nacre_error_clear();
    for (int i = 0; i < 3; i++) {
        bool due;
        if (i == 1) nacre_memory_fail_at(1);
        assert_null(nacre_storage_form(storage, &panels, i == 1 ? 300 : SIZE_MAX, &due));
        assert_false(due);
    }
    assert_int_equal(nacre_error_code(), NACRE_OK); /* nobody has failed */
    storage->version++;
    fill(storage, &panels, 300);
    nacre_storage_release(storage);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_form_is_made_at_the_second_use_and_kept),
        cmocka_unit_test(an_overwrite_makes_it_due_again),
        cmocka_unit_test(another_form_waits_for_other_contents),
        cmocka_unit_test(nobody_else_gets_it_while_it_is_filled),
        cmocka_unit_test(a_form_without_memory_is_done_without),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
