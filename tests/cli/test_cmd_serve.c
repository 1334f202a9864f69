/* tests/cli/test_cmd_serve.c — `serve` and `key`: what they ask of app/ and what they print. */
#include "fake_app.h"
#include "help_run.h"

static void a_daemon_that_was_stopped_has_ended_well(void **state)
{
    (void)state;
    run("imago serve --listen 127.0.0.1:0");
    assert_int_equal(result.code, 0);
    assert_string_equal(result.err, "imago: listening on http://127.0.0.1:7070\n");
    assert_string_equal(fake.listen, "127.0.0.1:0");
    fake.code = IM_ERR_CONFLICT;
    fake.reason = IM_REASON_CONFLICT;
    run("imago serve");
    assert_null(fake.listen);
    assert_int_not_equal(result.code, 0);
}

static void a_daemon_with_options_of_its_own_is_not_for_the_command_line(void **state)
{
    (void)state;
    run("imago serve --listen 127.0.0.1:0 --listen [::1]:1 --host a --host b --threads 2");
    assert_string_equal(fake.listen, "[::1]:1");
    assert_int_equal(fake.n_hosts, 2);
    assert_true(fake.local);
    run("imago serve --precision fp32");
    assert_false(fake.local);
    run("imago serve --max-side 100");
    assert_false(fake.local);
    run("imago serve --engine scan");
    assert_false(fake.local);
}

static void folders_are_followed_as_asked(void **state)
{
    (void)state;
    run("imago serve");
    assert_true(!fake.no_watch && !fake.watch_poll && fake.watch_every_s == 60 && fake.local);
    run("imago serve --no-watch --watch-poll --watch-every 5");
    assert_true(fake.no_watch && fake.watch_poll && fake.watch_every_s == 5 && fake.local);
    run("imago serve --watch-every 0");
    assert_int_equal(result.code, 2);
    expect("imago watch /photos /more", 0, "", "");
    assert_true(fake.writable && fake.followed && fake.n_folders == 2);
    assert_string_equal(fake.folder, "/more");
    expect("imago watch --off /photos", 0, "", "");
    assert_true(!fake.followed && fake.n_folders == 3);
    expect("imago watch", 0, "/photos\n$'/a\\033b'\n", "");
    assert_false(fake.writable);
    expect("imago watch --json", 0, "{\"roots\":[]}\n", "");
    run("imago watch --off");
    assert_int_equal(result.code, 2);
    fake.no_folders = true;
    expect("imago watch", 0, "", "imago: no folder is followed\n");
    fake.code = IM_ERR_NOT_FOUND;
    fake.reason = IM_REASON_NOT_FOUND;
    run("imago watch /nowhere");
    assert_int_equal(result.code, 3);
    run("imago add --watch x");
    assert_true(fake.add.watch);
}

static void a_key_is_alone_on_standard_output(void **state)
{
    (void)state;
    run("imago key add --scope write --name x");
    assert_int_equal(result.code, 0);
    assert_string_equal(result.out, "imago_0123\n");
    assert_string_equal(result.err, "imago: key 7 (write): this is the only time it is shown\n");
    run("imago key add --scope read -q");
    assert_string_equal(result.err, "");
    run("imago key add --scope admin --json --name x");
    assert_string_equal(result.out,
                        "{\"id\":7,\"name\":\"x\",\"scope\":\"admin\",\"key\":\"imago_0123\"}\n");
    run("imago key add");
    assert_int_equal(result.code, 2);
    run("imago key list");
    assert_string_equal(result.out, "1\tread\t2026-11-26T20:00:00Z\tweb\\x1b\n"
                                    "2\tadmin\t2026-11-26T20:00:00Z\t\trevoked "
                                    "2026-11-27T20:00:00Z\n");
    run("imago key revoke 3 4");
    assert_string_equal(result.out, "revoked 2 keys\n");
    assert_true(fake.writable && fake.n_items == 2 && fake.items[1] == 4);
    run("imago key revoke 3 x");
    assert_int_equal(result.code, 2);
    assert_int_equal(fake.n_items, 2); /* none more was revoked */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_daemon_that_was_stopped_has_ended_well, run_forget),
        cmocka_unit_test_setup(a_daemon_with_options_of_its_own_is_not_for_the_command_line,
                               run_forget),
        cmocka_unit_test_setup(folders_are_followed_as_asked, run_forget),
        cmocka_unit_test_setup(a_key_is_alone_on_standard_output, run_forget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
