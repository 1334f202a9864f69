/* app/app_jobs.h — part of the door app.h: long work that is asked for and done later, and the
 * folders that pictures come from. */
#ifndef IM_APP_APP_JOBS_H
#define IM_APP_APP_JOBS_H

#include "app/app.h"

/* ---- jobs: long work that is asked for and done later ---- */

typedef struct im_job_wish {
    const char *kind; /* "add", "rebuild", "compact", "caption", "read" */
    const char *const
        *paths; /* [n_paths] of "add": absolute, each a folder or a file that is there */
    size_t n_paths;
    /* of "caption" and "read", as of im_describe_request */
    const char *query; /* NULL: all pictures */
    size_t k;          /* best hits of a query with words; 0: 20 */
    uint64_t limit;
    bool redo, retry;
} im_job_wish;

/** Puts a job into the library. IM_ERR_INVALID for another kind, a path that is not absolute, what
 * a kind does not take, a query that the language does not have; IM_ERR_NOT_FOUND, IM_ERR_DENIED
 * for one that cannot be read. */
IM_NODISCARD im_code im_app_job_put(im_library *library, const im_job_wish *wish, uint64_t *out_id,
                                    im_error *err);
/** What the jobs that run have done so far, one of each lane, when their rows do not say it yet. */
typedef struct im_job_live {
    uint64_t ids[IM_JOB_LANES]; /* 0: none runs */
    char *progress[IM_JOB_LANES];
} im_job_live;
/** {"id","kind","state","paths","n_paths","query"?,"progress","error","made","started","ended"}; of
 * the paths the first 10. not_found. */
IM_NODISCARD im_code im_app_job_json(im_library *library, uint64_t id, const im_job_live *live,
                                     im_json_writer *w, im_error *err);
/** {"jobs":[…]}, the newest first. */
IM_NODISCARD im_code im_app_jobs_json(im_library *library, const im_job_live *live,
                                      im_json_writer *w, im_error *err);
/** A job that waits is stopped; *out_running: it runs, and whoever runs it is to stop it. conflict
 * when it has ended; not_found. */
IM_NODISCARD im_code im_app_job_stop(im_library *library, uint64_t id, bool *out_running,
                                     im_error *err);
/** Before the first claim of a lane: what ran when its process died waits again. */
IM_NODISCARD im_code im_app_jobs_revive(im_library *library, im_job_lane lane, im_error *err);
IM_NODISCARD im_code im_app_jobs_count(im_library *library, uint64_t *out_waiting,
                                       uint64_t *out_running, im_error *err);
/** The oldest that waits, which runs from now on; out->id 0: none. im_job_clear. */
IM_NODISCARD im_code im_app_job_claim(im_library *library, im_job_lane lane, im_job *out,
                                      im_error *err);

typedef struct im_job_end {
    im_job_state state; /* IM_JOB_WAITING: it is to be tried again, because of error */
    im_error error;
    char *progress; /* owned: JSON, the report */
} im_job_end;
void im_job_end_clear(im_job_end *end);
typedef struct im_vlm_request im_vlm_request;
/** Does a claimed job. `stopped`: it was asked to stop (the thread heeds the flag); a stop of the
 * whole program leaves it waiting instead. What failed for a reason that may pass (a model that is
 * not there, a full disk, a lock) waits again.
 * @param vlm how captions and readings are asked for; NULL: as the library's settings say */
void im_app_job_run(im_library *library, const im_job *job, const im_image_limits *limits,
                    const im_vlm_request *vlm, const atomic_bool *stopped, const im_events *events,
                    im_job_end *out);
/** Records how it ended. */
IM_NODISCARD im_code im_app_job_end(im_library *library, uint64_t id, const im_job_end *end,
                                    im_error *err);
/** Progress as it stands in a job. */
void im_progress_json(im_json_writer *w, const im_progress *progress);

/* ---- folders that were added ---- */

/** {"roots":[{"id","path","recursive","watch","online","files","missing_files","items",
 * "failures"}]}. */
IM_NODISCARD im_code im_app_roots_json(im_library *library, im_json_writer *w, im_error *err);
/** One of them; not_found. */
IM_NODISCARD im_code im_app_root_json(im_library *library, uint64_t root, im_json_writer *w,
                                      im_error *err);
/** Makes an existing folder (absolute path) a root, or finds it. Nothing is read in it. */
IM_NODISCARD im_code im_app_root_put(im_library *library, const char *path, uint64_t *out_root,
                                     im_error *err);
/** Forgets a root with its files, and pictures that have no other file; the files themselves are
 * not touched, and adding the folder brings all back. Pictures below another root stay. In many
 * short transactions: one that is interrupted has forgotten a part. not_found; conflict for the
 * folder of pictures that the library keeps itself. */
IM_NODISCARD im_code im_app_root_remove(im_library *library, uint64_t root, uint64_t *out_items,
                                        im_error *err);
typedef bool (*im_root_fn)(void *context, const im_root *root);
IM_NODISCARD im_code im_app_each_root(im_library *library, im_root_fn fn, void *context,
                                      im_error *err);

/* ---- folders that are followed ---- */

/** Whether a daemon follows the changes of a root. Takes the lock. not_found; conflict for the
 * folder of pictures that the library keeps itself. */
IM_NODISCARD im_code im_app_watch_root(im_library *library, uint64_t root, bool watch,
                                       im_error *err);
/** The same for a root by its path, there or not. IM_ERR_NOT_FOUND when no root is meant. */
IM_NODISCARD im_code im_app_watch_path(im_library *library, const char *path, bool watch,
                                       im_error *err);
/** A number that is another one when the library may have changed; costs no look at the disk. */
IM_NODISCARD im_code im_app_version(im_library *library, uint64_t *out_version, im_error *err);

typedef enum im_walk_what {
    IM_WALK_FOLDER, /* its entries come next; "" for the root */
    IM_WALK_FILE,   /* a regular file */
    IM_WALK_FAILED  /* a folder or file that could not be looked at */
} im_walk_what;
/** @param path below the root @param stamp IM_WALK_FILE @return false stops the walk */
typedef bool (*im_walk_fn)(void *context, im_walk_what what, const char *path,
                           const im_file_stamp *stamp);
/** Goes through a folder as `add` does: no links are followed, the library itself is left out.
 * @param below a folder of the root, "" = all of it @param out_complete nothing failed or stopped
 * @return IM_OK unless the first folder cannot be read */
IM_NODISCARD im_code im_app_walk(im_library *library, const char *root, const char *below,
                                 bool recursive, im_walk_fn fn, void *context, bool *out_complete,
                                 im_error *err);

/** Puts the job (IM_JOB_KIND_WATCH) that takes changes into the library: files that are there are
 * added, what is gone is marked as missing. @param paths [n] absolute, below the root, any bytes */
IM_NODISCARD im_code im_app_watch_put(im_library *library, const im_watch_mark *mark,
                                      const char *const *paths, size_t n, uint64_t *out_id,
                                      im_error *err);
typedef enum im_watch_batch {
    IM_WATCH_BATCH_OPEN, /* or it cannot be told now */
    IM_WATCH_BATCH_TAKEN,
    IM_WATCH_BATCH_LEFT /* stopped, failed, or not known: a walk has to find what it was about */
} im_watch_batch;
/** What became of a job of im_app_watch_put. */
im_watch_batch im_app_watch_look(im_library *library, uint64_t id);
/** Puts a job ("add") that walks a root which is followed, unless the same waits already. */
IM_NODISCARD im_code im_app_watch_rescan(im_library *library, const im_watch_mark *mark,
                                         uint64_t *out_id, im_error *err);

typedef struct im_relocate_report {
    uint64_t roots;     /* folders that have another place now */
    uint64_t looked_at; /* files of them, at most 1,000 of each … */
    uint64_t found;     /* … and how many are there */
} im_relocate_report;
/** A folder that was added, or one above such, has another place: files keep their items. IM_ERR_
 * NOT_FOUND, and nothing is changed, when no folder is meant, or not one of its files is found at
 * the new place; IM_ERR_CONFLICT when that was added already. */
IM_NODISCARD im_code im_app_relocate(im_library *library, const char *old_path,
                                     const char *new_path, im_relocate_report *out_report,
                                     im_error *err);

#endif
