/* tests/app/test_crowd.c — covers a library in many hands (T61): eight search, two add, two remove
 * the same pictures and one compacts, for 3 seconds (60 with IMAGO_TEST_LONG=1). No answer holds
 * what was removed before it began, none lacks what was there before and after it, and nobody has
 * to wait or fail. Threads keep what went wrong for the main one. */
#include "base/clock.h"
#include "tests/app/help_rows.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#define N_SEARCHERS 8
#define N_ADDERS 2
#define N_REMOVERS 2
#define N_NAMES 300u
#define MOST_IDS (1u << 20)

typedef struct crowd {
    help_home home;
    atomic_bool stop;
    atomic_uint_least64_t n_ids;                 /* highest id so far */
    atomic_uint_least64_t added_ns[MOST_IDS];    /* after its commit */
    atomic_uint_least64_t removing_ns[MOST_IDS]; /* before the call */
    atomic_uint_least64_t removed_ns[MOST_IDS];  /* after its commit */
    atomic_uint_least64_t n_searches, n_added, n_removed, n_compacted;
} crowd;

typedef struct hand {
    crowd *crowd;
    pthread_t thread;
    uint64_t seed;
    char wrong[512]; /* "" */
} hand;

static crowd world;

static uint32_t draw(hand *h, uint32_t n)
{
    h->seed = h->seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(h->seed >> 33) % n;
}

static void go_wrong(hand *h, const char *what, const im_error *err)
{
    if (h->wrong[0] == '\0') {
        (void)snprintf(h->wrong, sizeof(h->wrong), "%s: %s", what, err->message);
    }
    atomic_store(&h->crowd->stop, true);
}

static void rest(long ms)
{
    const struct timespec time = {0, ms * 1000000};
    (void)nanosleep(&time, NULL);
}

static im_library *open_one(hand *h, bool writable)
{
    im_library *library = NULL;
    im_error err = IM_ERROR_INIT;
    im_library_options options = {
        .places = &h->crowd->home.places, .writable = writable, .threads = 1};
    if (im_library_open(&options, &library, &err) != IM_OK ||
        library_model(library, &err) != IM_OK) {
        go_wrong(h, "open", &err);
    }
    return library;
}

/* ---- searching ---- */

static bool holds(const im_answer *answer, uint64_t id)
{
    for (size_t i = 0; i < answer->n_hits; i++) {
        if (answer->hits[i].item.id == id) {
            return true;
        }
    }
    return false;
}

static void judge(hand *h, const im_answer *answer, uint64_t began_ns)
{
    crowd *c = h->crowd;
    im_error none = IM_ERROR_INIT;
    uint64_t n = atomic_load(&c->n_ids);
    for (size_t i = 0; i < answer->n_hits; i++) {
        uint64_t gone = atomic_load(&c->removed_ns[answer->hits[i].item.id]);
        if (gone != 0 && gone < began_ns) {
            go_wrong(h, "a hit was removed before the search began", &none);
        }
    }
    for (uint64_t id = 1; id <= n; id++) {
        uint64_t there = atomic_load(&c->added_ns[id]);
        if (there != 0 && there < began_ns && atomic_load(&c->removing_ns[id]) == 0 &&
            !holds(answer, id)) {
            go_wrong(h, "a picture is not in the answer", &none);
        }
    }
    if (answer->n_warnings > 0) {
        (void)snprintf(none.message, sizeof(none.message), "%s", answer->warnings[0]);
        go_wrong(h, "warned", &none);
    }
}

static void *search_main(void *context)
{
    hand *h = context;
    const im_query_part part = {.kind = IM_PART_TEXT, .text = {"red", 3}, .weight = 1};
    const im_search_request request = {.parts = &part, .n_parts = 1, .k = IM_LIMIT_K};
    im_library *library = open_one(h, false);
    while (!atomic_load(&h->crowd->stop)) {
        im_answer answer;
        im_error err = IM_ERROR_INIT;
        uint64_t began = im_clock_ns();
        if (im_app_search(library, &request, &answer, &err) != IM_OK) {
            go_wrong(h, "search", &err);
            break;
        }
        judge(h, &answer, began);
        im_answer_clear(&answer);
        atomic_fetch_add(&h->crowd->n_searches, 1);
    }
    im_library_close(library);
    return NULL;
}

/* ---- adding, removing, compacting ---- */

static void note_added(crowd *c, uint64_t id)
{
    atomic_store(&c->added_ns[id], im_clock_ns());
    uint64_t n = atomic_load(&c->n_ids);
    while (n < id && !atomic_compare_exchange_weak(&c->n_ids, &n, id)) {
    }
    atomic_fetch_add(&c->n_added, 1);
}

static void *add_main(void *context)
{
    hand *h = context;
    im_library *library = open_one(h, true);
    while (!atomic_load(&h->crowd->stop)) {
        im_error err = IM_ERROR_INIT;
        uint64_t id = 0;
        const uint32_t name = 1 + draw(h, N_NAMES);
        im_code rc = help_rows_try_add(library, &name, 1, 0, &id, &err);
        if (rc == IM_OK && id < MOST_IDS) {
            note_added(h->crowd, id);
        } else if (rc != IM_ERR_CONFLICT) { /* it is there already */
            go_wrong(h, "add", &err);
        }
        rest(1);
    }
    im_library_close(library);
    return NULL;
}

static void *remove_main(void *context)
{
    hand *h = context;
    crowd *c = h->crowd;
    im_library *library = open_one(h, true);
    while (!atomic_load(&c->stop)) {
        im_error err = IM_ERROR_INIT;
        im_item item;
        uint64_t n_removed = 0;
        uint64_t n = atomic_load(&c->n_ids);
        const uint64_t id = n > 0 ? 1 + draw(h, (uint32_t)n) : 1;
        const im_remove_request request = {.items = &id, .n_items = 1};
        atomic_store(&c->removing_ns[id], im_clock_ns());
        im_code rc = im_app_remove(library, &request, NULL, &n_removed, &err);
        if (rc == IM_OK && n_removed == 1) {
            atomic_store(&c->removed_ns[id], im_clock_ns());
            atomic_fetch_add(&c->n_removed, 1);
            rc = im_store_get_item(library->store, id, &item, &err);
        }
        if (rc != IM_ERR_NOT_FOUND && (rc != IM_OK || n_removed != 0)) {
            go_wrong(h, "remove", &err);
        }
        rest(1);
    }
    im_library_close(library);
    return NULL;
}

static void *compact_main(void *context)
{
    hand *h = context;
    im_library *library = open_one(h, true);
    while (!atomic_load(&h->crowd->stop)) {
        im_error err = IM_ERROR_INIT;
        im_compact_report report;
        if (im_app_compact(library, NULL, &report, &err) != IM_OK) {
            go_wrong(h, "compact", &err);
        }
        atomic_fetch_add(&h->crowd->n_compacted, report.dropped > 0);
        rest(30);
    }
    im_library_close(library);
    return NULL;
}

static void answers_are_of_one_moment_whoever_writes(void **state)
{
    (void)state;
    hand hands[N_SEARCHERS + N_ADDERS + N_REMOVERS + 1];
    size_t n = 0;
    help_home_make(&world.home);
    im_library *library = help_rows_library(&world.home);
    const uint32_t first = N_NAMES + 1;
    help_rows_add(library, &first, 1, 0, NULL); /* before this there is nothing to search */
    im_library_close(library);
    for (; n < IM_COUNT(hands); n++) {
        void *(*const run)(void *) = n < N_SEARCHERS              ? search_main
                                     : n < N_SEARCHERS + N_ADDERS ? add_main
                                     : n + 1 < IM_COUNT(hands)    ? remove_main
                                                                  : compact_main;
        hands[n] = (hand){.crowd = &world, .seed = n + 1};
        assert_int_equal(pthread_create(&hands[n].thread, NULL, run, &hands[n]), 0);
    }
    uint64_t start = im_clock_ns();
    while (!atomic_load(&world.stop) && im_clock_ms_since(start) < (help_long() ? 60e3 : 3e3)) {
        rest(10);
    }
    atomic_store(&world.stop, true);
    for (size_t i = 0; i < n; i++) {
        pthread_join(hands[i].thread, NULL);
    }
    print_message("%llu searches, %llu added, %llu removed, %llu compactions\n",
                  (unsigned long long)world.n_searches, (unsigned long long)world.n_added,
                  (unsigned long long)world.n_removed, (unsigned long long)world.n_compacted);
    for (size_t i = 0; i < n; i++) {
        assert_string_equal(hands[i].wrong, "");
    }
    assert_true(world.n_searches > 20 && world.n_added > 20 && world.n_removed > 5 &&
                world.n_compacted > 3);
    library = help_open(&world.home, false);
    help_check(library);
    im_library_close(library);
    help_home_remove(&world.home);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_of_one_moment_whoever_writes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
