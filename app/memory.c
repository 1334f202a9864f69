/* app/memory.c — one budget of private memory for index, queues and decoders together: --memory, or
 * three fifths of what the cgroup allows. What does not fit is made smaller, and refused before any
 * work when the smallest does not fit. Mapped files do not count: the system takes their pages back
 * at will. */
#include "base/memory.h"
#include "app/add_internal.h"

#define MIB (UINT64_C(1) << 20)
/* Taken beside what is planned: SQLite's cache of each connection (store/setup.c), stacks, rows on
 * their way to the disk, codes and compaction at the end. */
#define STORE_BYTES (16 * MIB)
#define OTHER_BYTES (8 * MIB)
#define WAITING_LEAST (4 * MIB) /* prepared pictures */
#define DECODE_LEAST (24 * MIB) /* a decoder's share: 4 million pixels and their file */

void library_set_memory(im_library *library, uint64_t asked)
{
    uint64_t limit = asked == 0 ? im_memory_limit() : UINT64_MAX;
    library->memory_bytes = limit != UINT64_MAX ? limit / 5 * 3 : asked;
    library->memory_of_cgroup = limit != UINT64_MAX;
}

uint64_t library_memory_left(const im_library *library, size_t n_stores)
{
    if (library->memory_bytes == 0) {
        return UINT64_MAX;
    }
    uint64_t taken = im_memory_used().private_bytes + n_stores * STORE_BYTES + OTHER_BYTES;
    return library->memory_bytes > taken ? library->memory_bytes - taken : 0;
}

uint64_t library_encoder_memory(const im_library *library)
{
    uint64_t left = library_memory_left(library, library->writable ? 2 : 1);
    if (left == UINT64_MAX) {
        return 0;
    }
    return left > library->memory_aside ? left - library->memory_aside : 1;
}

void library_tell_budget(const im_library *library, im_error *err)
{
    char all[16];
    char other[16];
    if (err == NULL || strcmp(err->reason, im_reason_name(IM_REASON_MEMORY_BUDGET)) != 0) {
        return;
    }
    uint64_t left = library_encoder_memory(library);
    im_hint(err, "%s of %s are for the rest: allow more with --memory, or take a smaller model",
            im_text_bytes(library->memory_bytes - IM_MIN(left, library->memory_bytes), other),
            im_text_bytes(library->memory_bytes, all));
}

im_code library_need_memory(const im_library *library, const char *what, uint64_t bytes,
                            size_t n_stores, im_error *err)
{
    char need[16];
    char have[16];
    uint64_t left = library_memory_left(library, n_stores);
    if (bytes <= left) {
        return IM_OK;
    }
    uint64_t all = library->memory_bytes - left + bytes;
    im_code rc =
        im_fail_as(err, IM_REASON_MEMORY_BUDGET, "%s needs %s of memory, %s may be used", what,
                   im_text_bytes(all, need), im_text_bytes(library->memory_bytes, have));
    im_hint(err, library->memory_of_cgroup
                     ? "that is three fifths of what the cgroup allows; --memory says otherwise"
                     : "allow more with --memory");
    return rc;
}

im_image_limits memory_limits(const im_image_limits *asked, uint64_t bytes)
{
    im_image_limits limits = asked != NULL ? *asked : (im_image_limits){0};
    if (bytes == UINT64_MAX) {
        return limits;
    }
    /* a quarter for the file, half for the decoder with its pixels, the rest for what makes the
     * model's frame of them */
    uint64_t file = limits.max_bytes != 0 ? limits.max_bytes : IM_LIMIT_PICTURE_BYTES;
    uint64_t decoder =
        limits.max_decoder_bytes != 0 ? limits.max_decoder_bytes : IM_LIMIT_DECODER_BYTES;
    limits.max_bytes = IM_MIN(file, IM_MAX(bytes / 4, (uint64_t)1));
    limits.max_decoder_bytes = IM_MIN(decoder, IM_MAX(bytes / 2, (uint64_t)1));
    return limits;
}

/* ---- add ---- */

im_code add_open_encoder(add_run *run, const im_events *events, im_error *err)
{
    im_code rc = IM_OK;
    run->library->memory_aside = DECODE_LEAST + WAITING_LEAST;
    for (;;) {
        im_error cause = IM_ERROR_INIT;
        library_set_batch(run->library, run->batch);
        rc = model_prepare(run->library, events, &cause);
        if (rc != IM_ERR_NOMEM || run->batch == 1 || run->library->memory_bytes == 0 ||
            strcmp(cause.reason, im_reason_name(IM_REASON_MEMORY_BUDGET)) != 0) {
            if (rc != IM_OK && err != NULL) {
                *err = cause;
            }
            return rc;
        }
        run->batch /= 2; /* smaller passes, less scratch */
    }
}

im_code add_plan_memory(add_run *run, im_error *err)
{
    size_t wanted = run->request->decoders != 0 ? run->request->decoders : im_cpu_threads();
    uint64_t frame = picture_pixels_bytes(run->encoder);
    run->decoders = IM_MIN(wanted, (size_t)ADD_MOST_DECODERS);
    run->n_ready = IM_MAX((size_t)32, 4 * run->batch);
    run->share = UINT64_MAX;
    run->whole = UINT64_MAX;
    uint64_t left = library_memory_left(run->library, 2);
    if (left == UINT64_MAX) {
        return IM_OK;
    }
    /* pictures that wait for the model: at most an eighth */
    uint64_t frames = left / 8 / frame;
    run->n_ready = (size_t)IM_MIN((uint64_t)run->n_ready, IM_MAX(frames, (uint64_t)2));
    uint64_t waiting = (run->n_ready + 2 * run->batch) * frame;
    im_code rc =
        library_need_memory(run->library, "adding pictures", waiting + DECODE_LEAST, 2, err);
    if (rc != IM_OK) {
        return rc;
    }
    run->whole = left - waiting;
    run->decoders =
        (size_t)IM_MIN((uint64_t)run->decoders, IM_MAX(run->whole / DECODE_LEAST, (uint64_t)1));
    run->share = run->whole / run->decoders;
    return IM_OK;
}

void add_note_memory(add_run *run)
{
    uint64_t now = im_memory_used().private_bytes;
    uint64_t high = atomic_load(&run->memory_high);
    while (high < now && !atomic_compare_exchange_weak(&run->memory_high, &high, now)) {
    }
}
