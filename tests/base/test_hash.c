/* tests/base/test_hash.c — base/hash.c: vectors of FIPS 180 and RFC 3720, and the instruction
 * against the table. */
#include "base/hash.h"
#include "support.h"

static void expect_sha256(const char *data, size_t size, const char *hex)
{
    uint8_t digest[IM_SHA256_BYTES];
    char text[IM_SHA256_HEX];
    im_sha256_of(data, size, digest);
    im_sha256_hex(digest, text);
    assert_string_equal(text, hex);
}

static void sha256_gives_the_published_digests(void **state)
{
    (void)state;
    expect_sha256(NULL, 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    expect_sha256("abc", 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    const char *two_blocks = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    expect_sha256(two_blocks, strlen(two_blocks),
                  "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    char *million = malloc(1000000);
    assert_non_null(million);
    memset(million, 'a', 1000000);
    expect_sha256(million, 1000000,
                  "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    free(million);
}

static void sha256_does_not_depend_on_the_pieces(void **state)
{
    (void)state;
    uint64_t seed = 1;
    uint8_t data[1000];
    uint8_t whole[IM_SHA256_BYTES];
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (uint8_t)test_random(&seed);
    }
    im_sha256_of(data, sizeof data, whole);
    for (int round = 0; round < 200; round++) {
        im_sha256 hash;
        uint8_t digest[IM_SHA256_BYTES];
        im_sha256_init(&hash);
        for (size_t i = 0; i < sizeof data;) {
            size_t wanted = (size_t)(test_random(&seed) % 130);
            size_t n = IM_MIN(wanted, sizeof data - i);
            im_sha256_add(&hash, data + i, n);
            i += n;
        }
        im_sha256_end(&hash, digest);
        assert_memory_equal(digest, whole, sizeof whole);
    }
}

static void expect_crc(const void *data, size_t size, uint32_t crc)
{
    assert_int_equal(im_crc32c(0, data, size), crc);
    assert_int_equal(im_crc32c_plain(0, data, size), crc);
}

static void crc32c_gives_the_values_of_rfc_3720(void **state)
{
    (void)state;
    uint8_t data[32];
    memset(data, 0, sizeof data);
    expect_crc(data, 32, 0x8a9136aau);
    memset(data, 0xff, sizeof data);
    expect_crc(data, 32, 0x62a8ab43u);
    for (uint8_t i = 0; i < 32; i++) {
        data[i] = i;
    }
    expect_crc(data, 32, 0x46dd794eu);
    for (uint8_t i = 0; i < 32; i++) {
        data[i] = (uint8_t)(31 - i);
    }
    expect_crc(data, 32, 0x113fdb5cu);
    static const uint8_t scsi_read[48] = {0x01, 0xc0, 0, 0,    0,    0, 0, 0,    0,    0, 0,    0,
                                          0,    0,    0, 0,    0x14, 0, 0, 0,    0,    0, 0x04, 0,
                                          0,    0,    0, 0x14, 0,    0, 0, 0x18, 0x28, 0, 0,    0,
                                          0,    0,    0, 0,    0x02, 0, 0, 0,    0,    0, 0,    0};
    expect_crc(scsi_read, sizeof scsi_read, 0xd9963a56u);
    expect_crc("123456789", 9, 0xe3069283u);
    expect_crc("", 0, 0);
}

static void the_instruction_agrees_with_the_table(void **state)
{
    (void)state;
    uint64_t seed = 2;
    uint8_t data[600];
    for (int round = 0; round < 5000; round++) {
        size_t start = (size_t)(test_random(&seed) % 16);
        size_t size = (size_t)(test_random(&seed) % (sizeof data - 16));
        uint32_t crc = (uint32_t)test_random(&seed);
        for (size_t i = 0; i < size; i++) {
            data[start + i] = (uint8_t)test_random(&seed);
        }
        uint32_t expected = im_crc32c_plain(crc, data + start, size);
        assert_int_equal(im_crc32c(crc, data + start, size), expected);
        /* continued from any cut */
        size_t cut = size > 0 ? (size_t)(test_random(&seed) % size) : 0;
        uint32_t first = im_crc32c(crc, data + start, cut);
        assert_int_equal(im_crc32c(first, data + start + cut, size - cut), expected);
    }
}

/* Sizes around those where stretches go side by side. */
static void long_data_agree_with_the_table(void **state)
{
    (void)state;
    const size_t most = 5 * 4096 * 3;
    uint64_t seed = 11;
    uint8_t *data = malloc(most);
    assert_non_null(data);
    for (size_t i = 0; i < most; i++) {
        data[i] = (uint8_t)test_random(&seed);
    }
    for (size_t stretches = 1; stretches <= 14; stretches++) {
        for (size_t more = 0; more < 20; more += 3) {
            size_t size = stretches * 4096 + more;
            size_t start = (size_t)(test_random(&seed) % 64);
            uint32_t crc = (uint32_t)test_random(&seed);
            assert_int_equal(im_crc32c(crc, data + start, size),
                             im_crc32c_plain(crc, data + start, size));
        }
    }
    free(data);
}

static void secrets_are_equal_only_as_a_whole(void **state)
{
    (void)state;
    uint64_t seed = 3;
    uint8_t a[64];
    uint8_t b[64];
    for (int round = 0; round < 2000; round++) {
        size_t size = (size_t)(test_random(&seed) % (sizeof a + 1));
        for (size_t i = 0; i < size; i++) {
            a[i] = b[i] = (uint8_t)test_random(&seed);
        }
        assert_true(im_secret_equal(a, b, size));
        for (size_t i = 0; i < size; i++) {
            b[i] ^= (uint8_t)(1u << (test_random(&seed) % 8));
            assert_false(im_secret_equal(a, b, size));
            assert_true(im_secret_equal(a, b, i));
            b[i] = a[i];
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha256_gives_the_published_digests),
        cmocka_unit_test(sha256_does_not_depend_on_the_pieces),
        cmocka_unit_test(crc32c_gives_the_values_of_rfc_3720),
        cmocka_unit_test(secrets_are_equal_only_as_a_whole),
        cmocka_unit_test(the_instruction_agrees_with_the_table),
        cmocka_unit_test(long_data_agree_with_the_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
