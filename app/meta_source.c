/* app/meta_source.c — a file of lines, read forward once through one buffer, in pieces that end at
 * line ends; and which line that is. */
#include "app/meta_internal.h"
#include "base/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define SOURCE_BUFFER (64u << 10)

struct meta_source {
    char *name; /* owned: as it was called */
    int fd;
    uint64_t size, offset; /* of the file; read so far */
    uint64_t line;
    bool after_cr; /* a '\n' now belongs to the line end before */
    size_t from, to;
    char buffer[SOURCE_BUFFER];
};

static im_code fill(meta_source *source, im_error *err)
{
    size_t wanted = (size_t)IM_MIN(source->size - source->offset, (uint64_t)SOURCE_BUFFER);
    if (source->from < source->to || wanted == 0) {
        return IM_OK;
    }
    im_code rc =
        im_file_pread(source->fd, source->buffer, wanted, source->offset, source->name, err);
    if (rc == IM_OK) {
        source->from = 0;
        source->to = wanted;
        source->offset += wanted;
    }
    return rc;
}

static im_code check_encoding(meta_source *source, im_error *err)
{
    const unsigned char *bytes = (const unsigned char *)source->buffer;
    if (source->to >= 2 &&
        ((bytes[0] == 0xff && bytes[1] == 0xfe) || (bytes[0] == 0xfe && bytes[1] == 0xff))) {
        im_code rc =
            im_fail(err, IM_ERR_FORMAT, "'%s' is UTF-16 text, expected UTF-8", source->name);
        im_hint(err, "save it as UTF-8: iconv -f utf-16 -t utf-8");
        return rc;
    }
    if (source->to >= 3 && bytes[0] == 0xef && bytes[1] == 0xbb && bytes[2] == 0xbf) {
        source->from = 3;
    }
    return IM_OK;
}

im_code meta_source_open(const char *path, meta_source **out, im_error *err)
{
    struct stat info;
    im_file_stamp stamp;
    im_code rc = im_file_stat(path, &stamp, err); /* a pipe is never waited for */
    if (rc != IM_OK) {
        return rc;
    }
    meta_source *source = im_alloc_zero(1, sizeof(*source));
    if (source == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory to read '%s'", path);
    }
    source->fd = -1;
    source->line = 1;
    source->name = im_strdup(path);
    rc = source->name != NULL ? im_file_open(path, O_RDONLY | O_NONBLOCK, 0, &source->fd, err)
                              : im_fail(err, IM_ERR_NOMEM, "no memory for a path");
    if (rc == IM_OK && (fstat(source->fd, &info) != 0 || !S_ISREG(info.st_mode))) {
        rc = im_fail_as(err, IM_REASON_NOT_A_REGULAR_FILE, "'%s' is not a regular file", path);
    }
    if (rc == IM_OK) {
        source->size = (uint64_t)info.st_size;
        rc = fill(source, err);
    }
    if (rc == IM_OK) {
        rc = check_encoding(source, err);
    }
    if (rc != IM_OK) {
        meta_source_close(source);
        return rc;
    }
    *out = source;
    return IM_OK;
}

void meta_source_close(meta_source *source)
{
    if (source == NULL) {
        return;
    }
    if (source->fd >= 0) {
        (void)close(source->fd);
    }
    im_free(source->name);
    im_free(source);
}

im_code meta_source_next(meta_source *source, im_view *out, im_error *err)
{
    im_code rc = fill(source, err);
    if (rc != IM_OK) {
        return rc;
    }
    size_t end = source->from;
    char last = 0;
    while (end < source->to && last != '\n' && last != '\r') {
        last = source->buffer[end++];
    }
    *out = im_view_of(source->buffer + source->from, end - source->from);
    if (out->size > 0) {
        bool joined = source->after_cr && out->data[0] == '\n'; /* out is that byte alone */
        source->line += (last == '\n' || last == '\r') && !joined;
        source->after_cr = last == '\r';
    }
    source->from = end;
    return IM_OK;
}

uint64_t meta_source_line(const meta_source *source)
{
    return source->line;
}

const char *meta_source_name(const meta_source *source)
{
    return source->name;
}
