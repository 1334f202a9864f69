/* tests/app/test_places.c — covers app/places.c: what names a folder wins over what does not, and
 * each failed allocation is an error that leaves nothing behind. */
#include "base/fault.h"
#include "base/file.h"
#include "tests/app/help.h"

static const char *const names[] = {"IMAGO_LIBRARY", "IMAGO_DATA", "XDG_DATA_HOME", "HOME"};

static int forget(void **state)
{
    (void)state;
    for (size_t i = 0; i < IM_COUNT(names); i++) {
        assert_int_equal(unsetenv(names[i]), 0);
    }
    return 0;
}

static void set(const char *name, const char *value)
{
    assert_int_equal(setenv(name, value, 1), 0);
}

static void expect(const char *named, const char *library, const char *models)
{
    im_places places = {0};
    im_error err = IM_ERROR_INIT;
    help_ok(im_places_find(named, &places, &err), &err);
    assert_string_equal(places.library, library);
    assert_string_equal(places.models, models);
    im_places_clear(&places);
    assert_null(places.library);
    im_places_clear(&places); /* cleared ones may be cleared again */
}

static void an_option_wins_over_the_environment_and_that_over_the_home(void **state)
{
    (void)state;
    set("HOME", "/h");
    expect(NULL, "/h/.local/share/imago/default", "/h/.local/share/imago/models");
    set("XDG_DATA_HOME", "/x");
    expect(NULL, "/x/imago/default", "/x/imago/models");
    set("IMAGO_LIBRARY", "/l");
    expect(NULL, "/l", "/x/imago/models");
    expect("option", "option", "/x/imago/models");
}

static void what_is_empty_or_relative_where_it_must_not_be_counts_as_absent(void **state)
{
    (void)state;
    set("HOME", "/h");
    set("XDG_DATA_HOME", "relative"); /* the specification: to be ignored */
    set("IMAGO_LIBRARY", "");
    expect(NULL, "/h/.local/share/imago/default", "/h/.local/share/imago/models");
    set("XDG_DATA_HOME", "");
    expect(NULL, "/h/.local/share/imago/default", "/h/.local/share/imago/models");
    assert_int_equal(unsetenv("HOME"), 0); /* a service without a home: still a name, no crash */
    expect(NULL, "/.local/share/imago/default", "/.local/share/imago/models");
}

static void a_library_of_no_name_is_refused(void **state)
{
    im_error err = IM_ERROR_INIT;
    im_places places = {.library = NULL};
    (void)state;
    set("IMAGO_LIBRARY", "/l"); /* "" is a mistake of a script, not a wish for another one */
    assert_int_equal(im_places_find("", &places, &err), IM_ERR_INVALID);
    assert_non_null(strstr(err.message, "library"));
    assert_null(places.library);
}

static void shipped_data_is_found_beside_the_program_unless_named(void **state)
{
    im_places places;
    im_error err = IM_ERROR_INIT;
    (void)state;
    set("IMAGO_DATA", "/somewhere/else");
    help_ok(im_places_find("l", &places, &err), &err);
    assert_string_equal(places.share, "/somewhere/else");
    im_places_clear(&places);
    set("IMAGO_DATA", "");
    help_ok(im_places_find("l", &places, &err), &err);
    if (strncmp(IMAGO_BINARY_DIR, IMAGO_SOURCE_DIR "/", strlen(IMAGO_SOURCE_DIR) + 1) == 0) {
        assert_string_equal(places.share, IMAGO_SOURCE_DIR "/data"); /* a program of the tree */
    }
    assert_int_equal(places.share[0], '/');
    im_places_clear(&places);
}

static void a_very_long_home_is_an_error_and_no_cut_name(void **state)
{
    im_error err = IM_ERROR_INIT;
    im_places places = {.library = NULL};
    char *home = im_alloc(20000, 1);
    (void)state;
    assert_non_null(home);
    memset(home, 'h', 20000);
    home[0] = '/';
    home[19999] = '\0';
    set("HOME", home);
    assert_int_not_equal(im_places_find(NULL, &places, &err), IM_OK);
    assert_null(places.library);
    im_free(home);
}

static void each_failed_allocation_is_an_error_that_leaves_nothing(void **state)
{
    size_t n = 0;
    bool fired = true;
    (void)state;
    set("HOME", "/h");
    size_t before = im_live_allocations();
    while (fired) {
        im_places places = {.library = NULL};
        im_error err = IM_ERROR_INIT;
        im_fault_set(IM_FAULT_ALLOC, n++, 0);
        im_code rc = im_places_find(NULL, &places, &err);
        fired = im_fault_fired(IM_FAULT_ALLOC);
        im_fault_clear();
        /* a failure while the program's own folder is looked at may lead to another folder */
        assert_true(rc == IM_OK || (fired && rc == IM_ERR_NOMEM));
        if (rc == IM_OK) {
            assert_string_equal(places.library, "/h/.local/share/imago/default");
            assert_string_equal(places.models, "/h/.local/share/imago/models");
            assert_int_equal(places.share[0], '/');
        } else {
            assert_null(places.library);
        }
        im_places_clear(&places);
        assert_int_equal(im_live_allocations(), before);
    }
    assert_true(n > 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(an_option_wins_over_the_environment_and_that_over_the_home, forget),
        cmocka_unit_test_setup(what_is_empty_or_relative_where_it_must_not_be_counts_as_absent,
                               forget),
        cmocka_unit_test_setup(a_library_of_no_name_is_refused, forget),
        cmocka_unit_test_setup(shipped_data_is_found_beside_the_program_unless_named, forget),
        cmocka_unit_test_setup(a_very_long_home_is_an_error_and_no_cut_name, forget),
        cmocka_unit_test_setup(each_failed_allocation_is_an_error_that_leaves_nothing, forget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
