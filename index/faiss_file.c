/* index/faiss_file.c — FAISS's files through streams of our own. FAISS's reader believes what it
 * reads (a wrong count or link is a crash, or a wrong answer), so it gets no byte that is not
 * known: the whole file is held against the record first, with a CRC-32C kept of each block; then
 * FAISS reads, and each block is held against that. A file that changes in between is refused too,
 * without a second copy of it in memory. */
#include "base/base.h"
#include "base/fault.h"
#include "base/file.h"
#include "index/faiss_internal.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK_BYTES (1u << 20)
#define STDIO_BYTES (1u << 18) /* without it glibc reads a stream like ours byte by byte */
#define TEMPORARY_TRIES 100

static atomic_uint temporary_count; /* makes names of one process differ */

/* A file that is written or read as FAISS goes along. */
typedef struct faiss_stream {
    int fd;
    const char *path;
    uint64_t at;    /* next byte */
    im_error error; /* of the first failure: stdio keeps none */
    im_code rc;     /* IM_OK until then */
    im_sha256 sha256;
    char *buffer; /* [STDIO_BYTES], of the FILE */
    /* reading only */
    uint64_t bytes;
    uint8_t *block; /* [BLOCK_BYTES], of block number held */
    uint64_t held;  /* UINT64_MAX: none */
    uint32_t *crcs; /* [blocks] */
} faiss_stream;

/* ---- names and errors ---- */

static const char *const prefixes[] = {[IM_ENGINE_IVF] = "ivf", [IM_ENGINE_HNSW] = "hnsw"};

void faiss_file_name(im_engine kind, uint64_t generation, char out[IM_FAISS_NAME_BYTES])
{
    snprintf(out, IM_FAISS_NAME_BYTES, "%s.%" PRIu64 ".faiss", prefixes[kind], generation);
}

bool faiss_file_parse_name(const char *name, uint64_t *out_generation)
{
    return header_parse_name(name, "ivf.", ".faiss", out_generation) ||
           header_parse_name(name, "hnsw.", ".faiss", out_generation);
}

im_code faiss_error(im_faiss_result result, const char *message, im_error *err)
{
    return im_fail(err, result == IM_FAISS_NOMEM ? IM_ERR_NOMEM : IM_ERR_INTERNAL,
                   "the FAISS engine failed: %s", message);
}

im_code faiss_file_damaged(const char *path, const char *what, im_error *err)
{
    im_code rc = im_fail_as(err, IM_REASON_INDEX_DAMAGED, "FAISS file '%s': %s", path, what);
    im_hint(err, "'imago rebuild' makes it again from the library");
    return rc;
}

/* ---- streams ---- */

static ssize_t write_some(void *cookie, const char *data, size_t size)
{
    faiss_stream *stream = cookie;
    if (stream->rc == IM_OK) {
        stream->rc =
            im_file_pwrite(stream->fd, data, size, stream->at, stream->path, &stream->error);
    }
    if (stream->rc != IM_OK) {
        return 0; /* for a writer, 0 is the error */
    }
    im_sha256_add(&stream->sha256, data, size);
    stream->at += size;
    return (ssize_t)size;
}

static size_t block_size(const faiss_stream *stream, uint64_t block)
{
    return (size_t)IM_MIN((uint64_t)BLOCK_BYTES, stream->bytes - block * BLOCK_BYTES);
}

static im_code load_block(faiss_stream *stream, uint64_t block, im_error *err)
{
    stream->held = UINT64_MAX;
    im_code rc = im_file_pread(stream->fd, stream->block, block_size(stream, block),
                               block * BLOCK_BYTES, stream->path, err);
    if (rc == IM_ERR_FORMAT) { /* it ends there: cut since its length was asked for */
        return faiss_file_damaged(stream->path, "it was cut while it was read", err);
    }
    stream->held = rc == IM_OK ? block : UINT64_MAX;
    return rc;
}

/* What FAISS asks for, out of blocks that are what was summed. */
static ssize_t read_some(void *cookie, char *out, size_t size)
{
    faiss_stream *stream = cookie;
    size_t done = 0;
    size = (size_t)IM_MIN((uint64_t)size, stream->bytes - stream->at);
    while (stream->rc == IM_OK && done < size) {
        uint64_t block = stream->at / BLOCK_BYTES;
        size_t from = (size_t)(stream->at % BLOCK_BYTES);
        if (stream->held != block) {
            stream->rc = load_block(stream, block, &stream->error);
            if (stream->rc == IM_OK &&
                im_crc32c(0, stream->block, block_size(stream, block)) != stream->crcs[block]) {
                stream->held = UINT64_MAX;
                stream->rc = faiss_file_damaged(stream->path, "it was changed while it was read",
                                                &stream->error);
            }
            continue;
        }
        size_t n = IM_MIN(size - done, block_size(stream, block) - from);
        memcpy(out + done, stream->block + from, n);
        stream->at += n;
        done += n;
    }
    return stream->rc == IM_OK ? (ssize_t)done : -1;
}

/* A FILE over the stream; closed before the stream's buffer is freed. */
static im_code open_stream(faiss_stream *stream, const char *mode, FILE **out_file, im_error *err)
{
    cookie_io_functions_t functions = {.read = read_some, .write = write_some};
    stream->buffer = im_alloc(STDIO_BYTES, 1);
    FILE *file = stream->buffer != NULL ? fopencookie(stream, mode, functions) : NULL;
    if (file == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a stream of '%s'", stream->path);
    }
    (void)setvbuf(file, stream->buffer, _IOFBF, STDIO_BYTES);
    *out_file = file;
    return IM_OK;
}

/* ---- writing ---- */

/* Hands the index to FAISS's writer over a stream on fd. */
static im_code write_stream(const im_faiss_engine *faiss, const void *index, faiss_stream *stream,
                            im_error *err)
{
    char message[IM_FAISS_MESSAGE_BYTES] = "";
    FILE *file = NULL;
    im_code rc = open_stream(stream, "w", &file, err);
    if (rc != IM_OK) {
        return rc;
    }
    im_faiss_result result = faiss->write(index, file, message);
    int closed = fclose(file);
    if (stream->rc != IM_OK) {
        if (err != NULL) {
            *err = stream->error;
        }
        return stream->rc;
    }
    if (result != IM_FAISS_OK) {
        return faiss_error(result, message, err);
    }
    return closed == 0 ? IM_OK : im_fail_errno(err, errno, "could not write '%s'", stream->path);
}

/* "<folder of path>/.imago-….tmp", as im_index_sweep knows them. */
static im_code create_temporary(const char *path, im_str *out_path, int *out_fd, im_error *err)
{
    const char *slash = strrchr(path, '/');
    size_t length = slash != NULL ? (size_t)(slash - path) + 1 : 0;
    for (int i = 0; i < TEMPORARY_TRIES; i++) {
        unsigned count = atomic_fetch_add(&temporary_count, 1);
        im_str_reset(out_path);
        im_str_add(out_path, path, length);
        im_str_addf(out_path, ".imago-%ld-f%u.tmp", (long)getpid(), count);
        if (out_path->failed) {
            break;
        }
        if (!im_file_exists(im_str_text(out_path))) {
            return im_file_open(im_str_text(out_path), O_WRONLY | O_CREAT | O_EXCL, 0666, out_fd,
                                err);
        }
    }
    return im_fail(err, IM_ERR_NOMEM, "no memory for the name of a temporary file");
}

static im_code sync_folder_of(const char *path, im_error *err)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL || slash == path) {
        return im_folder_sync(slash == NULL ? "." : "/", err);
    }
    char *folder = im_strdup(path);
    if (folder == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a path");
    }
    folder[slash - path] = '\0';
    im_code rc = im_folder_sync(folder, err);
    im_free(folder);
    return rc;
}

im_code faiss_file_write(const im_faiss_engine *faiss, const void *index, const char *path,
                         uint64_t *out_bytes, char out_digest[IM_SHA256_HEX], im_error *err)
{
    faiss_stream stream = {.fd = -1, .path = path, .error = IM_ERROR_INIT};
    uint8_t digest[IM_SHA256_BYTES];
    im_str temporary;
    im_str_init(&temporary, strlen(path) + 64);
    im_sha256_init(&stream.sha256);
    im_code rc = create_temporary(path, &temporary, &stream.fd, err);
    if (rc != IM_OK) {
        im_str_clear(&temporary);
        return rc;
    }
    rc = write_stream(faiss, index, &stream, err);
    if (rc == IM_OK) {
        rc = im_file_sync(stream.fd, path, err);
    }
    if (close(stream.fd) != 0 && rc == IM_OK && errno != EINTR) {
        rc = im_fail_errno(err, errno, "could not write '%s'", path);
    }
    if (rc == IM_OK) {
        im_fault_point("faiss_written");
        rc = im_file_rename(im_str_text(&temporary), path, err);
    }
    if (rc != IM_OK) {
        (void)unlink(im_str_text(&temporary));
    } else {
        rc = sync_folder_of(path, err);
    }
    im_str_clear(&temporary);
    im_free(stream.buffer);
    im_sha256_end(&stream.sha256, digest);
    im_sha256_hex(digest, out_digest);
    *out_bytes = stream.at;
    return rc;
}

/* ---- reading ---- */

/* Sums the whole file and holds it against the record. */
static im_code check_digest(faiss_stream *stream, const char *expected, im_error *err)
{
    uint8_t digest[IM_SHA256_BYTES];
    char found[IM_SHA256_HEX];
    im_sha256_init(&stream->sha256);
    for (uint64_t block = 0; block * BLOCK_BYTES < stream->bytes; block++) {
        im_code rc = load_block(stream, block, err);
        if (rc != IM_OK) {
            return rc;
        }
        im_sha256_add(&stream->sha256, stream->block, block_size(stream, block));
        stream->crcs[block] = im_crc32c(0, stream->block, block_size(stream, block));
    }
    im_sha256_end(&stream->sha256, digest);
    im_sha256_hex(digest, found);
    if (strcmp(found, expected) == 0) {
        return IM_OK;
    }
    char what[160];
    snprintf(what, sizeof(what), "its SHA-256 begins %.12s, the library recorded %.12s", found,
             expected);
    return faiss_file_damaged(stream->path, what, err);
}

static im_code read_stream(const im_faiss_engine *faiss, faiss_stream *stream, void **out_index,
                           im_error *err)
{
    char message[IM_FAISS_MESSAGE_BYTES] = "";
    FILE *file = NULL;
    im_code rc = open_stream(stream, "r", &file, err);
    if (rc != IM_OK) {
        return rc;
    }
    stream->held = UINT64_MAX;
    im_faiss_result result = faiss->read(file, out_index, message);
    (void)fclose(file);
    if (stream->rc != IM_OK) {
        if (result == IM_FAISS_OK) {
            faiss->close(*out_index);
        }
        if (err != NULL) {
            *err = stream->error;
        }
        return stream->rc;
    }
    if (result == IM_FAISS_NOMEM) {
        return faiss_error(result, message, err);
    }
    return result == IM_FAISS_OK ? IM_OK : faiss_file_damaged(stream->path, message, err);
}

/* Type and length, before a byte is read. */
static im_code check_length(const faiss_stream *stream, im_error *err)
{
    struct stat status;
    char what[120];
    if (fstat(stream->fd, &status) != 0) {
        return im_fail_errno(err, errno, "could not ask for the length of '%s'", stream->path);
    }
    if (!S_ISREG(status.st_mode)) {
        return faiss_file_damaged(stream->path, "it is not a regular file", err);
    }
    if (stream->bytes == (uint64_t)status.st_size) {
        return IM_OK;
    }
    snprintf(what, sizeof(what), "it has %" PRIu64 " bytes, the library recorded %" PRIu64,
             (uint64_t)status.st_size, stream->bytes);
    return faiss_file_damaged(stream->path, what, err);
}

static im_code open_file(const char *path, int *out_fd, im_error *err)
{
    /* non-blocking: a pipe in the file's place is never waited for */
    im_code rc = im_file_open(path, O_RDONLY | O_NONBLOCK, 0, out_fd, err);
    return rc == IM_ERR_NOT_FOUND ? faiss_file_damaged(path, "it is gone", err) : rc;
}

im_code faiss_file_read(const im_faiss_engine *faiss, const char *path,
                        const im_faiss_record *record, void **out_index, im_error *err)
{
    faiss_stream stream = {.fd = -1, .path = path, .bytes = record->bytes, .error = IM_ERROR_INIT};
    void *index = NULL;
    im_code rc = open_file(path, &stream.fd, err);
    if (rc != IM_OK) {
        return rc;
    }
    rc = check_length(&stream, err);
    if (rc != IM_OK) {
        goto out;
    }
    stream.block = im_alloc(BLOCK_BYTES, 1);
    stream.crcs = im_alloc((size_t)(stream.bytes / BLOCK_BYTES) + 1, sizeof(uint32_t));
    if (stream.block == NULL || stream.crcs == NULL) {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory to read '%s'", path);
        goto out;
    }
    rc = check_digest(&stream, record->digest, err);
    if (rc == IM_OK && faiss != NULL) {
        rc = read_stream(faiss, &stream, &index, err);
        if (rc == IM_OK) {
            *out_index = index;
        }
    }
out:
    close(stream.fd);
    im_free(stream.buffer);
    im_free(stream.block);
    im_free(stream.crcs);
    return rc;
}

void im_index_faiss_name(im_engine engine, uint64_t generation, char out[IM_FAISS_NAME_BYTES])
{
    faiss_file_name(engine, generation, out);
}

im_code im_index_faiss_check(const char *folder, const im_faiss_record *record, im_error *err)
{
    uint64_t generation = 0;
    if (memchr(record->name, '\0', sizeof(record->name)) == NULL ||
        !faiss_file_parse_name(record->name, &generation) || generation != record->generation) {
        return im_fail_as(err, IM_REASON_INDEX_DAMAGED,
                          "a FAISS file's record names '%.39s' of generation %" PRIu64,
                          record->name, record->generation);
    }
    char *path = im_path_join(folder, record->name);
    if (path == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a path");
    }
    im_code rc = faiss_file_read(NULL, path, record, NULL, err);
    im_free(path);
    return rc;
}
