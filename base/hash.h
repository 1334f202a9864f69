/* base/hash.h — SHA-256 (nettle) for content, CRC-32C for blocks. */
#ifndef IM_BASE_HASH_H
#define IM_BASE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IM_SHA256_BYTES 32
#define IM_SHA256_HEX 65 /* with the NUL */

typedef struct im_sha256 {
    uint64_t opaque[32];
} im_sha256;

void im_sha256_init(im_sha256 *state);
void im_sha256_add(im_sha256 *state, const void *data, size_t size);
void im_sha256_end(im_sha256 *state, uint8_t out[IM_SHA256_BYTES]);
void im_sha256_of(const void *data, size_t size, uint8_t out[IM_SHA256_BYTES]);
void im_sha256_hex(const uint8_t digest[IM_SHA256_BYTES], char out[IM_SHA256_HEX]);

/** Whether two secrets of `size` bytes are equal, in a time that does not tell where they differ. */
bool im_secret_equal(const void *a, const void *b, size_t size);

/** CRC-32C (Castagnoli, RFC 3720 appendix B.4), continued from `crc` (0 to begin). */
uint32_t im_crc32c(uint32_t crc, const void *data, size_t size);
/** The plain table form, always built: the oracle of the tests. */
uint32_t im_crc32c_plain(uint32_t crc, const void *data, size_t size);

#endif
