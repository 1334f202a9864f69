/* base/hash.c — SHA-256 by nettle; CRC-32C by the processor's instruction or by a table. */
#include "base/hash.h"
#include "base/pool.h"
#include <nettle/sha2.h>
#include <pthread.h>
#include <string.h>
#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

_Static_assert(sizeof(struct sha256_ctx) <= sizeof(im_sha256), "nettle's state outgrew ours");
_Static_assert(_Alignof(im_sha256) >= _Alignof(struct sha256_ctx), "nettle's state wants more");
_Static_assert(SHA256_DIGEST_SIZE == IM_SHA256_BYTES, "a SHA-256 has 32 bytes");

static struct sha256_ctx *context_of(im_sha256 *state)
{
    return (struct sha256_ctx *)(void *)state->opaque;
}

void im_sha256_init(im_sha256 *state)
{
    sha256_init(context_of(state));
}

void im_sha256_add(im_sha256 *state, const void *data, size_t size)
{
    if (size > 0) {
        sha256_update(context_of(state), size, data);
    }
}

void im_sha256_end(im_sha256 *state, uint8_t out[IM_SHA256_BYTES])
{
    sha256_digest(context_of(state), IM_SHA256_BYTES, out);
}

void im_sha256_of(const void *data, size_t size, uint8_t out[IM_SHA256_BYTES])
{
    im_sha256 state;
    im_sha256_init(&state);
    im_sha256_add(&state, data, size);
    im_sha256_end(&state, out);
}

void im_sha256_hex(const uint8_t digest[IM_SHA256_BYTES], char out[IM_SHA256_HEX])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < IM_SHA256_BYTES; i++) {
        out[2 * i] = digits[digest[i] >> 4];
        out[2 * i + 1] = digits[digest[i] & 15];
    }
    out[IM_SHA256_HEX - 1] = '\0';
}

/* Remainders of the 256 bytes by the reversed polynomial 0x82f63b78. */
static const uint32_t crc_table[256] = {
    0x00000000, 0xf26b8303, 0xe13b70f7, 0x1350f3f4, 0xc79a971f, 0x35f1141c, 0x26a1e7e8, 0xd4ca64eb,
    0x8ad958cf, 0x78b2dbcc, 0x6be22838, 0x9989ab3b, 0x4d43cfd0, 0xbf284cd3, 0xac78bf27, 0x5e133c24,
    0x105ec76f, 0xe235446c, 0xf165b798, 0x030e349b, 0xd7c45070, 0x25afd373, 0x36ff2087, 0xc494a384,
    0x9a879fa0, 0x68ec1ca3, 0x7bbcef57, 0x89d76c54, 0x5d1d08bf, 0xaf768bbc, 0xbc267848, 0x4e4dfb4b,
    0x20bd8ede, 0xd2d60ddd, 0xc186fe29, 0x33ed7d2a, 0xe72719c1, 0x154c9ac2, 0x061c6936, 0xf477ea35,
    0xaa64d611, 0x580f5512, 0x4b5fa6e6, 0xb93425e5, 0x6dfe410e, 0x9f95c20d, 0x8cc531f9, 0x7eaeb2fa,
    0x30e349b1, 0xc288cab2, 0xd1d83946, 0x23b3ba45, 0xf779deae, 0x05125dad, 0x1642ae59, 0xe4292d5a,
    0xba3a117e, 0x4851927d, 0x5b016189, 0xa96ae28a, 0x7da08661, 0x8fcb0562, 0x9c9bf696, 0x6ef07595,
    0x417b1dbc, 0xb3109ebf, 0xa0406d4b, 0x522bee48, 0x86e18aa3, 0x748a09a0, 0x67dafa54, 0x95b17957,
    0xcba24573, 0x39c9c670, 0x2a993584, 0xd8f2b687, 0x0c38d26c, 0xfe53516f, 0xed03a29b, 0x1f682198,
    0x5125dad3, 0xa34e59d0, 0xb01eaa24, 0x42752927, 0x96bf4dcc, 0x64d4cecf, 0x77843d3b, 0x85efbe38,
    0xdbfc821c, 0x2997011f, 0x3ac7f2eb, 0xc8ac71e8, 0x1c661503, 0xee0d9600, 0xfd5d65f4, 0x0f36e6f7,
    0x61c69362, 0x93ad1061, 0x80fde395, 0x72966096, 0xa65c047d, 0x5437877e, 0x4767748a, 0xb50cf789,
    0xeb1fcbad, 0x197448ae, 0x0a24bb5a, 0xf84f3859, 0x2c855cb2, 0xdeeedfb1, 0xcdbe2c45, 0x3fd5af46,
    0x7198540d, 0x83f3d70e, 0x90a324fa, 0x62c8a7f9, 0xb602c312, 0x44694011, 0x5739b3e5, 0xa55230e6,
    0xfb410cc2, 0x092a8fc1, 0x1a7a7c35, 0xe811ff36, 0x3cdb9bdd, 0xceb018de, 0xdde0eb2a, 0x2f8b6829,
    0x82f63b78, 0x709db87b, 0x63cd4b8f, 0x91a6c88c, 0x456cac67, 0xb7072f64, 0xa457dc90, 0x563c5f93,
    0x082f63b7, 0xfa44e0b4, 0xe9141340, 0x1b7f9043, 0xcfb5f4a8, 0x3dde77ab, 0x2e8e845f, 0xdce5075c,
    0x92a8fc17, 0x60c37f14, 0x73938ce0, 0x81f80fe3, 0x55326b08, 0xa759e80b, 0xb4091bff, 0x466298fc,
    0x1871a4d8, 0xea1a27db, 0xf94ad42f, 0x0b21572c, 0xdfeb33c7, 0x2d80b0c4, 0x3ed04330, 0xccbbc033,
    0xa24bb5a6, 0x502036a5, 0x4370c551, 0xb11b4652, 0x65d122b9, 0x97baa1ba, 0x84ea524e, 0x7681d14d,
    0x2892ed69, 0xdaf96e6a, 0xc9a99d9e, 0x3bc21e9d, 0xef087a76, 0x1d63f975, 0x0e330a81, 0xfc588982,
    0xb21572c9, 0x407ef1ca, 0x532e023e, 0xa145813d, 0x758fe5d6, 0x87e466d5, 0x94b49521, 0x66df1622,
    0x38cc2a06, 0xcaa7a905, 0xd9f75af1, 0x2b9cd9f2, 0xff56bd19, 0x0d3d3e1a, 0x1e6dcdee, 0xec064eed,
    0xc38d26c4, 0x31e6a5c7, 0x22b65633, 0xd0ddd530, 0x0417b1db, 0xf67c32d8, 0xe52cc12c, 0x1747422f,
    0x49547e0b, 0xbb3ffd08, 0xa86f0efc, 0x5a048dff, 0x8ecee914, 0x7ca56a17, 0x6ff599e3, 0x9d9e1ae0,
    0xd3d3e1ab, 0x21b862a8, 0x32e8915c, 0xc083125f, 0x144976b4, 0xe622f5b7, 0xf5720643, 0x07198540,
    0x590ab964, 0xab613a67, 0xb831c993, 0x4a5a4a90, 0x9e902e7b, 0x6cfbad78, 0x7fab5e8c, 0x8dc0dd8f,
    0xe330a81a, 0x115b2b19, 0x020bd8ed, 0xf0605bee, 0x24aa3f05, 0xd6c1bc06, 0xc5914ff2, 0x37faccf1,
    0x69e9f0d5, 0x9b8273d6, 0x88d28022, 0x7ab90321, 0xae7367ca, 0x5c18e4c9, 0x4f48173d, 0xbd23943e,
    0xf36e6f75, 0x0105ec76, 0x12551f82, 0xe03e9c81, 0x34f4f86a, 0xc69f7b69, 0xd5cf889d, 0x27a40b9e,
    0x79b737ba, 0x8bdcb4b9, 0x988c474d, 0x6ae7c44e, 0xbe2da0a5, 0x4c4623a6, 0x5f16d052, 0xad7d5351,
};

uint32_t im_crc32c_plain(uint32_t crc, const void *data, size_t size)
{
    const uint8_t *bytes = data;
    crc = ~crc;
    for (size_t i = 0; i < size; i++) {
        crc = crc_table[(crc ^ bytes[i]) & 0xff] ^ (crc >> 8);
    }
    return ~crc;
}

#if defined(__x86_64__)
/* The instruction has a latency of three cycles and starts every cycle: three stretches of
 * CRC_STRETCH bytes go side by side. A state is then moved on over the stretches behind it, which
 * is linear in its bits: four look-ups in tables for that number of zero bytes. */
#define CRC_STRETCH_BITS 12
#define CRC_STRETCH ((size_t)1 << CRC_STRETCH_BITS)

static pthread_once_t shift_once = PTHREAD_ONCE_INIT;
static uint32_t shift_table[4][256]; /* written once, then only read */

static uint32_t apply_columns(const uint32_t columns[32], uint32_t state)
{
    uint32_t out = 0;
    for (size_t bit = 0; state != 0; bit++, state >>= 1) {
        out ^= (state & 1u) != 0 ? columns[bit] : 0;
    }
    return out;
}

/* What one zero byte does to each bit of a state, squared until it is CRC_STRETCH of them. */
static void make_shift_table(void)
{
    uint32_t columns[32];
    uint32_t squared[32];
    for (size_t bit = 0; bit < 32; bit++) {
        uint32_t state = 1u << bit;
        columns[bit] = crc_table[state & 0xff] ^ (state >> 8);
    }
    for (int i = 0; i < CRC_STRETCH_BITS; i++) {
        for (size_t bit = 0; bit < 32; bit++) {
            squared[bit] = apply_columns(columns, columns[bit]);
        }
        memcpy(columns, squared, sizeof columns);
    }
    for (size_t k = 0; k < 4; k++) {
        for (uint32_t byte = 0; byte < 256; byte++) {
            shift_table[k][byte] = apply_columns(columns, byte << (8 * k));
        }
    }
}

static uint32_t shift_stretch(uint32_t state)
{
    return shift_table[0][state & 0xff] ^ shift_table[1][(state >> 8) & 0xff] ^
           shift_table[2][(state >> 16) & 0xff] ^ shift_table[3][state >> 24];
}

static uint64_t load_word(const uint8_t *bytes)
{
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

/* A state over three stretches. */
__attribute__((target("sse4.2"))) static uint32_t three_stretches(uint32_t state,
                                                                  const uint8_t *bytes)
{
    uint64_t a = state;
    uint64_t b = 0;
    uint64_t c = 0;
    for (size_t i = 0; i < CRC_STRETCH; i += 8) {
        a = _mm_crc32_u64(a, load_word(bytes + i));
        b = _mm_crc32_u64(b, load_word(bytes + CRC_STRETCH + i));
        c = _mm_crc32_u64(c, load_word(bytes + 2 * CRC_STRETCH + i));
    }
    return shift_stretch(shift_stretch((uint32_t)a) ^ (uint32_t)b) ^ (uint32_t)c;
}

__attribute__((target("sse4.2"))) static uint32_t crc32c_sse42(uint32_t crc, const void *data,
                                                               size_t size)
{
    const uint8_t *bytes = data;
    uint32_t narrow = ~crc;
    if (size >= 3 * CRC_STRETCH) {
        (void)pthread_once(&shift_once, make_shift_table);
    }
    while (size >= 3 * CRC_STRETCH) {
        narrow = three_stretches(narrow, bytes);
        bytes += 3 * CRC_STRETCH;
        size -= 3 * CRC_STRETCH;
    }
    uint64_t wide = narrow;
    while (size >= 8) {
        wide = _mm_crc32_u64(wide, load_word(bytes));
        bytes += 8;
        size -= 8;
    }
    narrow = (uint32_t)wide;
    while (size > 0) {
        narrow = _mm_crc32_u8(narrow, *bytes);
        bytes++;
        size--;
    }
    return ~narrow;
}
#endif

uint32_t im_crc32c(uint32_t crc, const void *data, size_t size)
{
#if defined(__x86_64__)
    if (im_cpu_features().sse42) {
        return crc32c_sse42(crc, data, size);
    }
#endif
    return im_crc32c_plain(crc, data, size);
}

bool im_secret_equal(const void *a, const void *b, size_t size)
{
    /* volatile: the compiler must not find out that the rest of the loop could be left out */
    const volatile uint8_t *left = a;
    const volatile uint8_t *right = b;
    unsigned differs = 0;
    for (size_t i = 0; i < size; i++) {
        differs |= (unsigned)(left[i] ^ right[i]);
    }
    return differs == 0;
}
