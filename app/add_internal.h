/* app/add_internal.h — the stages of adding: scan → decode → encode → write, joined by bounded
 * queues of jobs. The caller's thread encodes, writes and tells events; one thread scans; the rest
 * read and decode. */
#ifndef IM_APP_ADD_INTERNAL_H
#define IM_APP_ADD_INTERNAL_H

#include "app/app_internal.h"
#include "base/queue.h"

#include <pthread.h>
#include <stdatomic.h>

#define ADD_JOB_QUEUE 256u /* files found, not yet read */

typedef enum job_outcome {
    JOB_NEW,     /* content not known: pixels are ready to be encoded */
    JOB_KNOWN,   /* content known and embedded: only the path is new */
    JOB_BACK,    /* an unchanged file that had been marked missing */
    JOB_SKIPPED, /* not a picture, or removed by the user before */
    JOB_FAILED   /* error says why */
} job_outcome;

/** One file on its way through the stages. */
typedef struct add_job {
    uint64_t root;
    char *root_path; /* owned */
    char *path;      /* relative to the root, owned */
    bool named;      /* asked for by name: never skipped in silence */
    bool forget_removed;
    bool known_failure;  /* failed before, unchanged since */
    uint64_t file_row;   /* existing row, 0 */
    uint64_t moved_from; /* row of the path it moved from, 0 */
    im_file_stamp stamp;
    int64_t hashed_ns;
    uint64_t edges;
    job_outcome outcome;
    bool updated; /* the path had other content before */
    char skip[24];
    im_error error;
    uint64_t item;   /* JOB_KNOWN, JOB_BACK */
    im_item meta;    /* JOB_NEW */
    uint8_t *pixels; /* JOB_NEW, owned */
    float *vector;   /* JOB_NEW after encoding, owned */
} add_job;

void add_job_free(add_job *job);
/** "ROOT/PATH", a new string. */
char *add_job_full_path(const add_job *job);

/** What all stages share. Fields without a note are set before the threads start. */
typedef struct add_run {
    im_library *library;
    const im_add_request *request;
    const im_encoder *encoder;
    im_store *lookup; /* a reading store of its own; guarded by lookup_lock */
    pthread_mutex_t lookup_lock;
    im_queue *found;  /* scan → decode */
    im_queue *ready;  /* decode → encode */
    atomic_bool stop; /* a stage failed for good: all others end */
    atomic_uint_least64_t n_found, n_unchanged, n_missing;
    atomic_uint_least64_t busy_scan_ns, busy_read_ns, busy_decode_ns; /* for the profile */
} add_run;

/** Decodes one job: read, sniff, hash, look up, decode, prepare. Never fails as a whole: the job
 * says how it went. */
void add_decode_job(add_run *run, add_job *job);

/** Rows waiting for one transaction. */
typedef struct add_batch {
    add_job **jobs; /* owned */
    size_t n, capacity;
} add_batch;

/** Writes a batch: lock, vectors appended and synced, one commit, unlock. Counts into report. */
IM_NODISCARD im_code add_write_batch(im_library *library, add_batch *batch, im_add_report *report,
                                     im_error *err);

#endif
