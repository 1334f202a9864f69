/* tests/base/test_cpu.c — base/cpu.c: quotas are read from made-up cgroup trees. */
#include "base/cpu_internal.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/pool.h"
#include "support.h"
#include <sched.h>

static void put(const char *folder, const char *name, const char *text)
{
    char *path = im_path_join(folder, name);
    assert_int_equal(im_folder_make(folder, NULL), IM_OK);
    test_put_file(path, text, strlen(text));
    im_free(path);
}

static size_t quota(const char *membership)
{
    test_put_file("membership", membership, strlen(membership));
    return cpu_quota("membership", "cg");
}

static void a_v2_quota_is_rounded_up(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t threads;
    } rows[] = {{"200000 100000\n", 2},  {"150000 100000\n", 2},     {"50000 100000\n", 1},
                {"100001 100000", 2},    {"max 100000\n", SIZE_MAX}, {"", SIZE_MAX},
                {"garbage\n", SIZE_MAX}, {"-1 100000\n", SIZE_MAX},  {"100000 0\n", SIZE_MAX},
                {"100000\n", SIZE_MAX}};
    for (size_t i = 0; i < IM_COUNT(rows); i++) {
        put("cg/a/b", "cpu.max", rows[i].text);
        assert_true(quota("0::/a/b\n") == rows[i].threads);
    }
}

static void the_least_quota_of_all_parents_counts(void **state)
{
    (void)state;
    put("cg/a/b/c", "cpu.max", "max 100000\n");
    put("cg/a/b", "cpu.max", "800000 100000\n");
    put("cg/a", "cpu.max", "300000 100000\n");
    put("cg", "cpu.max", "400000 100000\n"); /* a container sees its own limit at the root */
    assert_int_equal(quota("0::/a/b/c\n"), 3);
    assert_int_equal(quota("0::/x/y\n"), 4); /* a path that exists only outside */
    assert_int_equal(quota("0::/\n"), 4);
}

static void a_v1_quota_is_found_by_its_controller(void **state)
{
    (void)state;
    put("cg/cpu,cpuacct/user", "cpu.cfs_quota_us", "250000\n");
    put("cg/cpu,cpuacct/user", "cpu.cfs_period_us", "100000\n");
    assert_int_equal(quota("7:memory:/user\n4:cpu,cpuacct:/user\n0::/\n"), 3);
    assert_true(quota("7:memory:/user\n3:cpuset:/user\n") == SIZE_MAX);
    put("cg/cpu/box", "cpu.cfs_quota_us", "-1\n");
    put("cg/cpu/box", "cpu.cfs_period_us", "100000\n");
    assert_true(quota("1:cpu:/box\n") == SIZE_MAX);
    put("cg/cpu/box", "cpu.cfs_quota_us", "100000\n");
    assert_int_equal(quota("1:cpu:/box"), 1);
}

static void unreadable_groups_are_no_quota(void **state)
{
    (void)state;
    assert_true(cpu_quota("missing", "cg") == SIZE_MAX);
    assert_true(quota("") == SIZE_MAX);
    assert_true(quota("\n\n:::\nx\n0:\n0::\n") == SIZE_MAX);
    char *huge = malloc(20001);
    assert_non_null(huge);
    memset(huge, '/', 20000);
    memcpy(huge, "0::", 3);
    huge[20000] = '\0';
    assert_true(quota(huge) == SIZE_MAX);
    free(huge);
}

static void memory_limits_are_read_like_quotas(void **state)
{
    (void)state;
    put("cg/m/n", "memory.max", "max\n");
    test_put_file("membership", "0::/m/n\n", 8);
    assert_true(memory_limit("membership", "cg") == UINT64_MAX);
    put("cg/m", "memory.max", "536870912\n");
    assert_true(memory_limit("membership", "cg") == 536870912);
    put("cg/m/n", "memory.max", "1048576\n");
    assert_true(memory_limit("membership", "cg") == 1048576);
    put("cg/memory/user", "memory.limit_in_bytes", "9223372036854771712\n"); /* v1's "none" */
    test_put_file("membership", "7:memory:/user\n", 15);
    assert_true(memory_limit("membership", "cg") == UINT64_MAX);
    put("cg/memory/user", "memory.limit_in_bytes", "268435456\n");
    assert_true(memory_limit("membership", "cg") == 268435456);
    assert_true(memory_limit("missing", "cg") == UINT64_MAX);
    assert_true(im_memory_limit() > 0);
}

static void memory_in_use_is_told(void **state)
{
    (void)state;
    const size_t size = (size_t)64 << 20;
    im_memory_return_freed();
    uint64_t before = im_memory_used().private_bytes;
    char *block = im_alloc(size, 1);
    assert_non_null(block);
    assert_true(before > 0 && im_memory_used().mapped_bytes > 0);
    memset(block, 1, size);
    uint64_t with = im_memory_used().private_bytes;
    assert_true(with >= before + size * 9 / 10);
    im_free(block);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* they keep what is freed */
    assert_true(im_memory_used().private_bytes <= with - size * 9 / 10);
#endif
}

static void the_affinity_mask_limits_the_threads(void **state)
{
    (void)state;
    cpu_set_t all;
    assert_int_equal(sched_getaffinity(0, sizeof all, &all), 0);
    size_t count = (size_t)CPU_COUNT(&all);
    assert_in_range(im_cpu_threads(), 1, count);
    for (size_t i = 0; i < CPU_SETSIZE; i++) {
        if (CPU_ISSET(i, &all)) {
            cpu_set_t one;
            CPU_ZERO(&one);
            CPU_SET(i, &one);
            assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
            assert_int_equal(im_cpu_threads(), 1);
            break;
        }
    }
    assert_int_equal(sched_setaffinity(0, sizeof all, &all), 0);
}

/* As the kernel prints them: it leaves a flag out when it does not save the registers. */
static void the_features_are_those_of_proc_cpuinfo(void **state)
{
    (void)state;
    im_cpu cpu = im_cpu_features();
    FILE *file = fopen("/proc/cpuinfo", "r");
    char line[8192] = "";
    bool found = false;
    while (file != NULL && !found && fgets(line, sizeof line, file) != NULL) {
        found = strncmp(line, "flags", 5) == 0;
    }
    if (file != NULL) {
        fclose(file);
    }
    if (!found) {
        print_message("skipped: /proc/cpuinfo has no flags\n");
        skip();
    }
    line[strcspn(line, "\n")] = ' ';
    assert_int_equal(cpu.sse42, strstr(line, " sse4_2 ") != NULL);
    assert_int_equal(cpu.avx2_fma, strstr(line, " avx2 ") != NULL && strstr(line, " fma ") != NULL);
    assert_int_equal(cpu.avx512,
                     strstr(line, " avx512f ") != NULL && strstr(line, " avx512bw ") != NULL &&
                         strstr(line, " avx512dq ") != NULL && strstr(line, " avx512vl ") != NULL);
    assert_int_equal(cpu.avx512_vnni, cpu.avx512 && strstr(line, " avx512_vnni ") != NULL);
    assert_int_equal(cpu.avx512_bf16, cpu.avx512 && strstr(line, " avx512_bf16 ") != NULL);
}

static int clear_folder(void **state)
{
    help_empty_folder(*state);
    return 0;
}

#define CASE(name) cmocka_unit_test_setup(name, clear_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_v2_quota_is_rounded_up),
        CASE(the_least_quota_of_all_parents_counts),
        CASE(a_v1_quota_is_found_by_its_controller),
        CASE(unreadable_groups_are_no_quota),
        CASE(memory_limits_are_read_like_quotas),
        CASE(memory_in_use_is_told),
        CASE(the_affinity_mask_limits_the_threads),
        CASE(the_features_are_those_of_proc_cpuinfo),
    };
    return cmocka_run_group_tests(tests, test_enter_folder, test_leave_folder);
}
