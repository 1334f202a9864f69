/* tests/cli/test_cmd_index.c — `check`, `rebuild` and `audit`: what they ask of app/ and what they
 * print. */
#include "fake_app.h"
#include "help_run.h"

static void check_tells_findings_as_words_and_as_json(void **state)
{
    (void)state;
    expect("imago check", 0, "3 items, 3 vectors: sound\n", "");
    fake.warning = "embedding 2: wrong sum";
    fake.code = IM_ERR_DAMAGED;
    fake.reason = IM_REASON_DAMAGED;
    expect("imago check --json", 15,
           "{\"messages\":[\"embedding 2: wrong sum\"],\"findings\":1,\"index_findings\":0,"
           "\"items\":3,\"vectors\":3}\n",
           "{\"error\":{\"code\":\"damaged\",\"class\":\"IM_ERR_DAMAGED\",\"message\":"
           "\"the prepared failure 'damaged'\"}}\n");
    run("imago check");
    assert_non_null(strstr(result.out, "1 finding, 0 of them"));
    assert_non_null(strstr(result.err, "wrong sum"));
}

static void an_engine_is_chosen_with_its_numbers(void **state)
{
    (void)state;
    run("imago rebuild");
    assert_false(fake.rebuild.has_engine);
    expect("imago rebuild --engine auto", 0, "engine auto: no file is needed\n", "");
    assert_true(fake.rebuild.has_engine);
    assert_int_equal(fake.rebuild.engine, IM_ENGINE_AUTO);
    expect("imago rebuild --engine ivf --index-params nlist=9", 0,
           "made ivf.1.faiss: 3 vectors, 77 bytes\n", "");
    assert_int_equal(fake.rebuild.engine, IM_ENGINE_IVF);
    assert_string_equal(fake.rebuild.index_params, "nlist=9");
    expect("imago rebuild --engine ivf --json", 0,
           "{\"vectors\":3,\"chosen_engine\":\"ivf\",\"engine_file\":{\"engine\":\"ivf\","
           "\"name\":\"ivf.1.faiss\",\"bytes\":77,\"rows\":3}}\n",
           "");
    assert_null(fake.rebuild.index_params);
    const char *const lost[] = {"imago rebuild --index-params nlist=9",
                                "imago search red --index-params nprobe=9",
                                "imago audit --index-params nprobe=9 --engine tiered"};
    for (size_t i = 0; i < IM_COUNT(lost); i++) {
        run(lost[i]);
        assert_int_equal(result.code, 2);
        assert_non_null(strstr(result.err, "needs its engine"));
    }
}

static void an_audit_is_printed_for_people_and_programs(void **state)
{
    (void)state;
    expect(
        "imago audit", 0,
        "engine ivf, 3 vectors, recall@20 with its 95 % interval\n"
        "texts     none asked\n"
        "pictures     2 queries  recall 0.9500 (0.7000 to 0.9900)  0.50 ms, exact scan 2.00 ms\n",
        "");
    assert_int_equal(fake.audit.n_queries, 200);
    expect("imago audit --json --queries 7 -k 10 --fast", 0, "{\"engine\":\"ivf\"}\n", "");
    assert_int_equal(fake.audit.n_queries, 7);
    assert_int_equal(fake.audit.k, 10);
    assert_true(fake.audit.fast);
    run("imago audit --want 0.99");
    assert_true(fake.audit.want > 0.989 && fake.audit.want < 0.991 && !fake.audit.apply);
    assert_non_null(strstr(result.out, "proposed: nprobe=8\n"));
    assert_non_null(strstr(result.out, "to use it: imago audit --want 0.99 --apply\n"));
    assert_true(fake.writable); /* the outcome is kept */
    run("imago audit --want 0.99 --apply");
    assert_true(fake.writable && fake.audit.apply);
    assert_non_null(strstr(result.out, "searches use it from now on\n"));
    const char *const wrong[] = {"imago audit --want 0",         "imago audit --want 1.01",
                                 "imago audit --want nan",       "imago audit --want 9x",
                                 "imago audit --queries 0",      "imago audit --apply",
                                 "imago audit --queries 100001", "imago audit x"};
    for (size_t i = 0; i < IM_COUNT(wrong); i++) {
        run(wrong[i]);
        assert_int_equal(result.code, 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(check_tells_findings_as_words_and_as_json, run_forget),
        cmocka_unit_test_setup(an_engine_is_chosen_with_its_numbers, run_forget),
        cmocka_unit_test_setup(an_audit_is_printed_for_people_and_programs, run_forget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
