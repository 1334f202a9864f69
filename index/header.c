/* index/header.c — the first page of index files. All numbers are little-endian; a machine of the
 * other order sees the mark reversed and refuses the file, which is a cache and can be made again.
 */
#include "base/base.h"
#include "base/hash.h"
#include "index/header_internal.h"
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#define ORDER_MARK 0x01020304u

uint32_t header_u32(const uint8_t *p)
{
    uint32_t value;
    memcpy(&value, p, sizeof(value));
    return value;
}

uint64_t header_u64(const uint8_t *p)
{
    uint64_t value;
    memcpy(&value, p, sizeof(value));
    return value;
}

void header_put_u32(uint8_t *p, uint32_t value)
{
    memcpy(p, &value, sizeof(value));
}

void header_put_u64(uint8_t *p, uint64_t value)
{
    memcpy(p, &value, sizeof(value));
}

void header_begin(const header_form *form, const im_index_state *state, uint8_t page[HEADER_BYTES])
{
    memset(page, 0, HEADER_BYTES);
    memcpy(page + HEADER_AT_MAGIC, form->magic, sizeof(form->magic));
    header_put_u32(page + HEADER_AT_VERSION, form->version);
    header_put_u32(page + HEADER_AT_ORDER, ORDER_MARK);
    memcpy(page + HEADER_AT_LIBRARY, state->library_id, sizeof(state->library_id));
    memcpy(page + HEADER_AT_DIGEST, state->model_digest,
           strnlen(state->model_digest, HEADER_DIGEST_BYTES));
}

void header_seal(uint8_t page[HEADER_BYTES])
{
    header_put_u32(page + HEADER_AT_CRC, im_crc32c(0, page, HEADER_AT_CRC));
}

im_code header_damaged(const header_form *form, const char *path, const char *sentence,
                       im_error *err)
{
    im_code rc =
        im_fail_as(err, IM_REASON_INDEX_DAMAGED, "%s '%s': %s", form->what, path, sentence);
    im_hint(err, "%s", form->hint);
    return rc;
}

im_code header_check_fields(const header_form *form, const char *path, const header_field *fields,
                            size_t n, im_error *err)
{
    for (size_t i = 0; i < n; i++) {
        if (fields[i].found != fields[i].expected) {
            char sentence[120];
            snprintf(sentence, sizeof(sentence), "%s is %" PRIu64 ", expected %" PRIu64,
                     fields[i].name, fields[i].found, fields[i].expected);
            return header_damaged(form, path, sentence, err);
        }
    }
    return IM_OK;
}

im_code header_stat(const header_form *form, int fd, const char *path, uint64_t *out_size,
                    im_error *err)
{
    struct stat status;
    if (fstat(fd, &status) != 0) {
        return im_fail_errno(err, errno, "could not ask for the length of '%s'", path);
    }
    if (!S_ISREG(status.st_mode)) {
        return header_damaged(form, path, "it is not a regular file", err);
    }
    *out_size = (uint64_t)status.st_size;
    return IM_OK;
}

/* True when the bytes [from, to) are all zero. */
static bool is_clear(const uint8_t *page, size_t from, size_t to)
{
    while (from < to && page[from] == 0) {
        from++;
    }
    return from == to;
}

im_code header_check(const header_form *form, const uint8_t page[HEADER_BYTES],
                     const im_index_state *state, const char *path, im_error *err)
{
    const header_field version = {"format version", header_u32(page + HEADER_AT_VERSION),
                                  form->version};
    char sentence[80];
    if (memcmp(page + HEADER_AT_MAGIC, form->magic, sizeof(form->magic)) != 0) {
        snprintf(sentence, sizeof(sentence), "it does not begin like a %s", form->what);
        return header_damaged(form, path, sentence, err);
    }
    if (header_u32(page + HEADER_AT_ORDER) != ORDER_MARK) {
        return header_damaged(form, path, "its numbers have another byte order", err);
    }
    im_code rc = header_check_fields(form, path, &version, 1, err);
    if (rc != IM_OK) {
        return rc;
    }
    if (header_u32(page + HEADER_AT_CRC) != im_crc32c(0, page, HEADER_AT_CRC)) {
        return header_damaged(form, path, "its header fails its checksum", err);
    }
    if (memcmp(page + HEADER_AT_LIBRARY, state->library_id, sizeof(state->library_id)) != 0) {
        return header_damaged(form, path, "it belongs to another library", err);
    }
    if (strncmp((const char *)page + HEADER_AT_DIGEST, state->model_digest, HEADER_DIGEST_BYTES) !=
        0) {
        return header_damaged(form, path, "it belongs to another model", err);
    }
    return is_clear(page, form->end, HEADER_AT_CRC)
               ? IM_OK
               : header_damaged(form, path, "its header holds more than this version knows", err);
}

bool header_parse_name(const char *name, const char *head, const char *tail,
                       uint64_t *out_generation)
{
    char digits[24];
    size_t length = strlen(name);
    size_t around = strlen(head) + strlen(tail);
    if (length <= around || length - around >= sizeof(digits) ||
        strncmp(name, head, strlen(head)) != 0 || strcmp(name + length - strlen(tail), tail) != 0) {
        return false;
    }
    memcpy(digits, name + strlen(head), length - around);
    digits[length - around] = '\0';
    return digits[0] != '0' && im_parse_u64(digits, 1, UINT64_MAX, out_generation);
}
