/* store/tar.c — see tar.h. The header block is that of POSIX.1-1988 (ustar), numbers in octal; a
 * size that does not fit comes before it in an extended header of POSIX.1-2001 (pax). */
#include "store/tar.h"
#include "base/file.h"
#include "base/hash.h"

#define OCTAL_SIZE_MOST UINT64_C(077777777777)

/* Places in a header block. */
enum {
    AT_MODE = 100,
    AT_UID = 108,
    AT_GID = 116,
    AT_SIZE = 124,
    AT_MTIME = 136,
    AT_CHECKSUM = 148,
    AT_TYPE = 156,
    AT_MAGIC = 257,
    AT_DEVICES = 329
};

static void put_octal(char *field, size_t width, uint64_t value)
{
    for (size_t i = width - 1; i-- > 0;) {
        field[i] = (char)('0' + (value & 7));
        value >>= 3;
    }
    field[width - 1] = '\0';
}

/* The sum of the block's bytes, those of the checksum itself as blanks. */
static uint64_t checksum(const char block[STORE_TAR_BLOCK])
{
    uint64_t sum = 0;
    for (size_t i = 0; i < STORE_TAR_BLOCK; i++) {
        bool own = i >= AT_CHECKSUM && i < AT_CHECKSUM + 8;
        sum += own ? ' ' : (unsigned char)block[i];
    }
    return sum;
}

static uint64_t padding(uint64_t size)
{
    return (STORE_TAR_BLOCK - size % STORE_TAR_BLOCK) % STORE_TAR_BLOCK;
}

/* ---- writing ---- */

void store_tar_start(store_tar_writer *tar, int fd, const char *path)
{
    *tar = (store_tar_writer){.fd = fd, .path = path};
    im_str_init(&tar->sums, STORE_TAR_LIMIT_SUMS);
}

void store_tar_clear(store_tar_writer *tar)
{
    im_str_clear(&tar->sums);
}

static im_code write_at_end(store_tar_writer *tar, const void *data, size_t size, im_error *err)
{
    im_code rc = im_file_pwrite(tar->fd, data, size, tar->at, tar->path, err);
    if (rc == IM_OK) {
        tar->at += size;
    }
    return rc;
}

static im_code write_header(store_tar_writer *tar, const char *name, uint64_t size, char type,
                            int64_t mtime_s, im_error *err)
{
    char block[STORE_TAR_BLOCK] = {0};
    (void)snprintf(block, STORE_TAR_NAME, "%s", name);
    put_octal(block + AT_MODE, 8, 0600);
    put_octal(block + AT_UID, 8, 0);
    put_octal(block + AT_GID, 8, 0);
    put_octal(block + AT_SIZE, 12, size);
    put_octal(block + AT_MTIME, 12, mtime_s > 0 ? (uint64_t)mtime_s : 0);
    block[AT_TYPE] = type;
    memcpy(block + AT_MAGIC, "ustar\00000", 8);
    put_octal(block + AT_DEVICES, 8, 0);
    put_octal(block + AT_DEVICES + 8, 8, 0);
    put_octal(block + AT_CHECKSUM, 7, checksum(block));
    block[AT_CHECKSUM + 7] = ' ';
    return write_at_end(tar, block, sizeof block, err);
}

/* "28 size=12345678901\n": the first number counts the whole line. */
static im_code write_pax_size(store_tar_writer *tar, uint64_t size, int64_t mtime_s, im_error *err)
{
    char block[STORE_TAR_BLOCK] = {0};
    int length = snprintf(block, sizeof block, "size=%llu\n", (unsigned long long)size);
    length += 3; /* two digits, a blank */
    (void)snprintf(block, sizeof block, "%d size=%llu\n", length, (unsigned long long)size);
    im_code rc = write_header(tar, "PaxHeaders/size", (uint64_t)length, 'x', mtime_s, err);
    return rc == IM_OK ? write_at_end(tar, block, sizeof block, err) : rc;
}

im_code store_tar_begin(store_tar_writer *tar, const char *name, uint64_t size, int64_t mtime_s,
                        im_error *err)
{
    im_code rc = IM_OK;
    uint64_t in_header = size;
    if (strlen(name) >= STORE_TAR_NAME) {
        return im_fail(err, IM_ERR_LIMIT, "'%s' is too long a name for a backup", name);
    }
    if (size > OCTAL_SIZE_MOST) {
        rc = write_pax_size(tar, size, mtime_s, err);
        in_header = 0;
    }
    if (rc == IM_OK) {
        rc = write_header(tar, name, in_header, '0', mtime_s, err);
    }
    (void)snprintf(tar->name, sizeof tar->name, "%s", name);
    tar->left = size;
    im_sha256_init(&tar->sha);
    return rc;
}

im_code store_tar_add(store_tar_writer *tar, const void *data, size_t size, im_error *err)
{
    if (size > tar->left) {
        return im_fail(err, IM_ERR_IO, "'%s' grew while it was read", tar->name);
    }
    im_sha256_add(&tar->sha, data, size);
    tar->left -= size;
    return write_at_end(tar, data, size, err);
}

static void add_sum(im_str *sums, im_sha256 *sha, const char *name)
{
    uint8_t digest[IM_SHA256_BYTES];
    char hex[IM_SHA256_HEX];
    im_sha256_end(sha, digest);
    im_sha256_hex(digest, hex);
    im_str_addf(sums, "%s  %s\n", hex, name);
}

im_code store_tar_end(store_tar_writer *tar, im_error *err)
{
    static const char zeros[STORE_TAR_BLOCK];
    if (tar->left > 0) {
        return im_fail(err, IM_ERR_IO, "'%s' was cut while it was read", tar->name);
    }
    add_sum(&tar->sums, &tar->sha, tar->name);
    if (tar->sums.failed) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for the digests of a backup");
    }
    return write_at_end(tar, zeros, (size_t)padding(tar->at), err);
}

im_code store_tar_finish(store_tar_writer *tar, int64_t mtime_s, im_error *err)
{
    static const char zeros[2 * STORE_TAR_BLOCK];
    im_code rc = write_header(tar, STORE_TAR_SUMS, tar->sums.size, '0', mtime_s, err);
    if (rc == IM_OK) {
        rc = write_at_end(tar, im_str_text(&tar->sums), tar->sums.size, err);
    }
    if (rc == IM_OK) {
        rc = write_at_end(tar, zeros, (size_t)padding(tar->at), err);
    }
    return rc == IM_OK ? write_at_end(tar, zeros, sizeof zeros, err) : rc;
}

/* ---- reading ---- */

void store_tar_open(store_tar_reader *tar, int fd, uint64_t file_bytes, const char *path)
{
    *tar = (store_tar_reader){.fd = fd, .file_bytes = file_bytes, .path = path};
    im_str_init(&tar->sums, STORE_TAR_LIMIT_SUMS);
}

void store_tar_close(store_tar_reader *tar)
{
    im_str_clear(&tar->sums);
}

static im_code fail_damaged(const store_tar_reader *tar, const char *what, im_error *err)
{
    im_code rc = im_fail_as(err, IM_REASON_BACKUP_DAMAGED, "backup '%s', at byte %llu: %s",
                            tar->path, (unsigned long long)tar->at, what);
    im_hint(err, "nothing was changed; take another copy of the backup");
    return rc;
}

static im_code read_block(store_tar_reader *tar, char block[STORE_TAR_BLOCK], im_error *err)
{
    if (tar->file_bytes - tar->at < STORE_TAR_BLOCK) {
        return fail_damaged(tar, "it is cut short", err);
    }
    im_code rc = im_file_pread(tar->fd, block, STORE_TAR_BLOCK, tar->at, tar->path, err);
    if (rc == IM_OK) {
        tar->at += STORE_TAR_BLOCK;
    }
    return rc;
}

static bool read_octal(const char *field, size_t width, uint64_t *out)
{
    uint64_t value = 0;
    for (size_t i = 0; i + 1 < width; i++) {
        if (field[i] < '0' || field[i] > '7') {
            return false;
        }
        value = value << 3 | (uint64_t)(field[i] - '0');
    }
    *out = value;
    return field[width - 1] == '\0' || field[width - 1] == ' ';
}

static bool is_zero(const char block[STORE_TAR_BLOCK])
{
    for (size_t i = 0; i < STORE_TAR_BLOCK; i++) {
        if (block[i] != 0) {
            return false;
        }
    }
    return true;
}

/* A header: type, name and size of what follows. */
static im_code read_header(store_tar_reader *tar, char *out_type, im_error *err)
{
    char block[STORE_TAR_BLOCK] = {0};
    uint64_t sum = 0;
    im_code rc = read_block(tar, block, err);
    if (rc != IM_OK) {
        return rc;
    }
    bool good = memcmp(block + AT_MAGIC, "ustar", 6) == 0 &&
                read_octal(block + AT_CHECKSUM, 7, &sum) && sum == checksum(block) &&
                read_octal(block + AT_SIZE, 12, &tar->size) &&
                memchr(block, '\0', STORE_TAR_NAME) != NULL && block[0] != '\0';
    if (!good) {
        tar->at -= STORE_TAR_BLOCK;
        return fail_damaged(tar, "not the head of a member", err);
    }
    memcpy(tar->name, block, STORE_TAR_NAME);
    *out_type = block[AT_TYPE];
    return IM_OK;
}

/* The size in an extended header, of which we write no other line. */
static im_code read_pax_size(store_tar_reader *tar, uint64_t *out_size, im_error *err)
{
    char block[STORE_TAR_BLOCK] = {0};
    char number[24];
    uint64_t length = tar->size;
    im_code rc = length < STORE_TAR_BLOCK ? read_block(tar, block, err)
                                          : fail_damaged(tar, "a strange extended header", err);
    if (rc != IM_OK) {
        return rc;
    }
    block[length] = '\0';
    char *start = strstr(block, " size=");
    char *end = start != NULL ? strchr(start, '\n') : NULL;
    size_t digits = end != NULL ? (size_t)(end - start) - 6 : 0;
    bool good = end != NULL && end == block + length - 1 && digits < sizeof number;
    if (good) {
        memcpy(number, start + 6, digits);
        number[digits] = '\0';
        good = im_parse_u64(number, OCTAL_SIZE_MOST + 1, INT64_MAX, out_size);
    }
    return good ? IM_OK : fail_damaged(tar, "a strange extended header", err);
}

/* Where two texts of digests part: names the member of that line. */
static im_code fail_sums(const store_tar_reader *tar, const char *ours, const char *theirs,
                         im_error *err)
{
    size_t line = 0;
    for (size_t i = 0; ours[i] != '\0' && ours[i] == theirs[i]; i++) {
        line = ours[i] == '\n' ? i + 1 : line;
    }
    const char *name = ours[line] != '\0' && strlen(ours + line) > 66 ? ours + line + 66 : "";
    im_code rc =
        im_fail_as(err, IM_REASON_BACKUP_DAMAGED, "backup '%s': '%.*s' is not as its SHA-256 says",
                   tar->path, (int)strcspn(name, "\n"), name);
    im_hint(err, "nothing was changed; take another copy of the backup");
    return rc;
}

/* What fills the last block of a member: zeros, so that every byte of a backup is checked. */
static im_code skip_padding(store_tar_reader *tar, uint64_t size, im_error *err)
{
    char zeros[STORE_TAR_BLOCK] = {0};
    size_t n = (size_t)padding(size);
    if (tar->file_bytes < tar->at || tar->file_bytes - tar->at < n) {
        return fail_damaged(tar, "it is cut short", err);
    }
    im_code rc = im_file_pread(tar->fd, zeros, n, tar->at, tar->path, err);
    if (rc == IM_OK && !is_zero(zeros)) {
        rc = fail_damaged(tar, "something follows a member", err);
    }
    tar->at += n;
    return rc;
}

static im_code check_sums(store_tar_reader *tar, im_error *err)
{
    char block[STORE_TAR_BLOCK] = {0};
    if (tar->size > STORE_TAR_LIMIT_SUMS || tar->size > tar->file_bytes - tar->at) {
        return fail_damaged(tar, "its digests are cut short", err);
    }
    size_t size = (size_t)tar->size;
    char *theirs = im_alloc(size + 1, 1);
    if (theirs == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for the digests of a backup");
    }
    im_code rc = im_file_pread(tar->fd, theirs, size, tar->at, tar->path, err);
    theirs[size] = '\0';
    if (rc == IM_OK &&
        (size != tar->sums.size || memcmp(theirs, im_str_text(&tar->sums), size) != 0)) {
        rc = fail_sums(tar, im_str_text(&tar->sums), theirs, err);
    }
    im_free(theirs);
    tar->at += tar->size;
    if (rc == IM_OK) {
        rc = skip_padding(tar, tar->size, err);
    }
    for (int i = 0; rc == IM_OK && i < 2; i++) {
        rc = read_block(tar, block, err);
        if (rc == IM_OK && !is_zero(block)) {
            rc = fail_damaged(tar, "something follows the digests", err);
        }
    }
    if (rc == IM_OK && tar->at != tar->file_bytes) {
        rc = fail_damaged(tar, "something follows its end", err);
    }
    tar->ended = rc == IM_OK;
    return rc;
}

/* Ends the member that was read. */
static im_code end_member(store_tar_reader *tar, im_error *err)
{
    if (tar->name[0] == '\0') {
        return IM_OK; /* none yet */
    }
    add_sum(&tar->sums, &tar->sha, tar->name);
    if (tar->sums.failed) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for the digests of a backup");
    }
    return skip_padding(tar, tar->size, err);
}

im_code store_tar_next(store_tar_reader *tar, bool *out_more, im_error *err)
{
    char type = 0;
    uint64_t size = 0;
    im_code rc = end_member(tar, err);
    if (rc == IM_OK) {
        rc = read_header(tar, &type, err);
    }
    if (rc == IM_OK && type == 'x') {
        rc = read_pax_size(tar, &size, err);
        if (rc == IM_OK) {
            rc = read_header(tar, &type, err);
            tar->size = size;
        }
    }
    if (rc == IM_OK && type != '0') {
        rc = fail_damaged(tar, "a member that is no regular file", err);
    }
    if (rc == IM_OK && tar->size > tar->file_bytes - tar->at) {
        rc = fail_damaged(tar, "it is cut short", err);
    }
    if (rc != IM_OK) {
        return rc;
    }
    *out_more = strcmp(tar->name, STORE_TAR_SUMS) != 0;
    if (!*out_more) {
        return check_sums(tar, err);
    }
    tar->left = tar->size;
    im_sha256_init(&tar->sha);
    return IM_OK;
}

im_code store_tar_read(store_tar_reader *tar, void *out, size_t capacity, size_t *out_size,
                       im_error *err)
{
    size_t size = (size_t)IM_MIN(tar->left, (uint64_t)capacity);
    im_code rc = im_file_pread(tar->fd, out, size, tar->at, tar->path, err);
    if (rc == IM_OK) {
        im_sha256_add(&tar->sha, out, size);
        tar->at += size;
        tar->left -= size;
        *out_size = size;
    }
    return rc;
}
