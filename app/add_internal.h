/* app/add_internal.h — the stages of adding: scan → fetch ahead → decode → encode → write, joined
 * by bounded queues of jobs. The caller's thread encodes, writes and tells events; one thread
 * scans, one asks the system for the files that come next; the rest read and decode. */
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
    bool known_failure;  /* told, not recorded: failed before, or no matter of the file */
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

/** The first failure of a run: what it exits with when nothing was good. */
typedef struct add_failure {
    im_code code;
    im_error error;
} add_failure;

void add_note_failure(add_failure *first, const im_error *error);

/** What all stages share. Fields without a note are set before the threads start. */
typedef struct add_run {
    im_library *library;
    const im_add_request *request;
    im_encoder *encoder;
    size_t batch;    /* most pictures of a forward pass */
    size_t decoders; /* threads */
    size_t n_ready;  /* pictures that may wait for the model */
    uint64_t share;  /* memory of one picture among others; UINT64_MAX: no budget … */
    uint64_t whole;  /* … and of one that is decoded alone: it holds `alone` for writing */
    pthread_rwlock_t alone;
    atomic_uint_least64_t memory_high; /* most private memory seen */
    im_store *lookup;                  /* a reading store of its own; guarded by lookup_lock */
    pthread_mutex_t lookup_lock;
    im_queue *found; /* scan → fetch ahead */
    im_queue *near;  /* … → decode: few, so that what was fetched is still in memory */
    im_queue *ready; /* decode → encode */
    const atomic_bool *heeded; /* what else stops the caller's thread: NULL, or heeded by all */
    atomic_bool stop;          /* a stage failed for good: all others end */
    atomic_uint_least64_t n_found, n_unchanged;
    atomic_uint_least64_t busy_scan_ns, busy_read_ns, busy_hash_ns,
        busy_decode_ns; /* for the profile */
    add_failure first;  /* the caller's thread only */
} add_run;

#define ADD_MOST_DECODERS 64u

/* ---- memory.c ---- */
/** model_prepare with as large a batch, up to run->batch, as memory allows. */
IM_NODISCARD im_code add_open_encoder(add_run *run, const im_events *events, im_error *err);
/** Sets decoders, n_ready, share and whole; memory_budget when not even one decoder fits. */
IM_NODISCARD im_code add_plan_memory(add_run *run, im_error *err);
void add_note_memory(add_run *run); /* any thread */

/* ---- add_targets.c ---- */

/** One path that was asked for, and what its scan found. */
typedef struct add_target {
    uint64_t root;
    char *root_path; /* owned */
    char *below;     /* folder under the root, "" = all; a file's path when is_file */
    bool is_file;
    bool complete; /* the walk read everything */
    bool offline;
    id_list seen; /* file rows met; written by the scan thread only */
    uint64_t n_entries;
} add_target;

typedef struct add_targets {
    add_target *targets; /* owned */
    size_t n;
} add_targets;

/** Finds the root of each path; new ones are put into the library. What is not there or may not be
 * read is told, counted and left out. To be cleared also after a failure. */
IM_NODISCARD im_code add_find_targets(add_run *run, const im_events *events, im_add_report *report,
                                      add_targets *out, im_error *err);
/** The file `below` ROOT_PATH becomes the next target. */
IM_NODISCARD im_code add_put_target(add_targets *targets, const im_root *root, const char *below,
                                    im_error *err);
void add_targets_clear(add_targets *targets);

/* ---- add_scan.c ---- */

/** The scan thread; fields without a note are set before it starts. */
typedef struct add_scan {
    add_run *run;
    add_targets *targets;
    float *vector; /* [dim], scratch, owned by the caller */
    add_target *current;
    uint64_t waited_ns; /* for room in a queue */
    im_code rc;         /* once it has ended */
    im_error error;
} add_scan;

void *add_scan_main(void *context); /* an add_scan */

/* ---- add_ahead.c ---- */
void *add_ahead_main(void *context); /* an add_run */

/* ---- add_decode.c ---- */

/** Decodes one job: read, sniff, hash, look up, decode, prepare. Never fails as a whole: the job
 * says how it went. */
void add_decode_job(add_run *run, add_job *job);

/** Rows waiting for one transaction. */
typedef struct add_batch {
    add_job **jobs; /* owned */
    size_t n, capacity;
} add_batch;

/* ---- add_write.c ---- */

/** Writes a batch: lock, vectors appended and synced, one commit, unlock. Counts into report. */
IM_NODISCARD im_code add_write_batch(add_run *run, add_batch *batch, im_add_report *report,
                                     im_error *err);

/* ---- add_encode.c ---- */

/** The encode stage, on the caller's thread. */
typedef struct add_encode {
    add_run *run;
    const im_events *events;
    im_add_report *report;
    uint64_t prepare_ns; /* until the model was open */
    progress_meter meter;
    add_job **pending; /* [batch] JOB_NEW, waiting for a forward pass */
    size_t n_pending;
    uint8_t *pixels; /* [batch, S, S, 3] */
    float *vectors;  /* [batch, dim] */
    add_batch rows;
    uint64_t last_write_ns, encode_ns, write_ns;
} add_encode;

/** Takes memory; run, events and report are set. To be closed also after a failure. */
IM_NODISCARD im_code add_encode_open(add_encode *stage, im_error *err);
/** Takes what the decoders hand over until all is done, or a stop is asked for. */
IM_NODISCARD im_code add_encode_loop(add_encode *stage, im_error *err);
void add_encode_close(add_encode *stage);

/* ---- add_vanish.c ---- */

/** Files of a root that are gone. */
typedef struct add_vanished {
    const char *root_path;
    id_list rows, items; /* in one order */
    size_t n_present;    /* files that the root (or the folder looked at) had */
    bool sure;           /* they were seen to go: nobody is asked, however many they are */
} add_vanished;

/** Marks them as missing (request->prune: forgets them); many at once, or to be forgotten, only
 * after asking. */
IM_NODISCARD im_code add_mark_asked(im_library *library, const im_add_request *request,
                                    const add_vanished *gone, const im_events *events,
                                    im_add_report *report, im_error *err);

/** A folder is not there, or is another one. */
void add_tell_offline(const im_events *events, im_add_report *report);

/** Marks what the walk of a target did not meet as missing (request->prune: forgets it after
 * asking), unless the folder looks like an unmounted one, or is not the one that is followed. */
IM_NODISCARD im_code add_mark_vanished(im_library *library, const im_add_request *request,
                                       add_target *target, int64_t started_ns,
                                       const im_events *events, im_add_report *report,
                                       im_error *err);

/* ---- add_changed.c ---- */

/** Whether the folder at `path` is the one that was marked. */
bool add_mark_is_there(const char *path, const im_watch_mark *mark);
/** The regular files among request->paths, which are told to have changed, as targets. */
IM_NODISCARD im_code add_find_changed(add_run *run, const im_events *events, im_add_report *report,
                                      add_targets *out, im_error *err);
/** Marks as missing what is no longer there of request->paths: files, and all below folders. */
IM_NODISCARD im_code add_mark_changed(im_library *library, const im_add_request *request,
                                      const im_events *events, im_add_report *report,
                                      im_error *err);

#endif
