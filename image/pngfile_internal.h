/* image/pngfile_internal.h — chunks of a PNG file, for the two files that read them. */
#ifndef IM_IMAGE_PNGFILE_INTERNAL_H
#define IM_IMAGE_PNGFILE_INTERNAL_H

#include "image/image_internal.h"

typedef struct pngfile_chunk {
    size_t at;           /* offset of its length field */
    const uint8_t *type; /* four letters */
    const uint8_t *data;
    size_t size; /* of the data that are there */
    bool cut;    /* the file ends inside the chunk */
} pngfile_chunk;

uint32_t pngfile_u32(const uint8_t *p);
/** Chunk at *at, which moves behind it; false when no chunk header is left. */
bool pngfile_next_chunk(const image_source *source, size_t *at, pngfile_chunk *out);
bool pngfile_chunk_is(const pngfile_chunk *chunk, const char *type);
/** True when it is all there and matches its checksum. */
bool pngfile_chunk_sound(const pngfile_chunk *chunk);

#endif
