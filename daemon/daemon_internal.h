/* daemon/daemon_internal.h — what the files of the daemon share: routes, exchanges (a request and
 * its answer), the thread that has the library, counters. One thread (the server's) owns sockets
 * and counters; the library's thread sees exchanges only while they are its own. */
#ifndef IM_DAEMON_DAEMON_INTERNAL_H
#define IM_DAEMON_DAEMON_INTERNAL_H

#include "base/file.h"
#include "base/json.h"
#include "daemon/daemon.h"
#include "daemon/http_internal.h"

#include <pthread.h>
#include <stdatomic.h>

#define DAEMON_MOST_CONNECTIONS 512u
#define DAEMON_MOST_WAITING 256u           /* exchanges in the queue of the library's thread */
#define DAEMON_MOST_TOGETHER 64u           /* exchanges of one call */
#define DAEMON_TOGETHER_BYTES (32u << 10)  /* of bodies beside the first: about 1,024 queries */
#define DAEMON_BODIES_BYTES (256ull << 20) /* of all bodies in memory */
#define DAEMON_SPOOLS_BYTES (2ull << 30)   /* of all bodies in files */
#define DAEMON_ANSWER_BYTES (256u << 20)
#define DAEMON_ANSWERS_BYTES (256ull << 20) /* of all long ones that wait for their readers */
#define DAEMON_IDLE_MS 60000u               /* a kept connection without a request */
#define DAEMON_HEAD_MS 10000u               /* from the first byte of a head to its last */
#define DAEMON_BODY_MS 60000u               /* from the head's end to the body's */
#define DAEMON_WRITE_MS 60000u              /* a whole answer */
#define DAEMON_FILE_MS 600000u              /* a body kept in a file; an answer that is one */
#define DAEMON_LINGER_MS 2000u              /* to read the last answer before a reset */
#define DAEMON_STOP_MS 10000u               /* answers under way when the daemon is to stop */
#define DAEMON_MOST_LISTENERS 16u
#define DAEMON_WRONG_KEYS 20u  /* from one address, in … */
#define DAEMON_WRONG_MS 60000u /* … so long */
#define DAEMON_WRONG_ADDRESSES 256u
#define DAEMON_HEARTBEAT_MS 15000u /* of a stream without events */
#define DAEMON_UPSTREAM_MS 120000u /* a server that is asked for us: it may load a model first */
#define DAEMON_UPSTREAM_BYTES (16u << 20) /* of its answer */
#define DAEMON_UPSTREAM_THREADS 4u        /* requests to it at once */
#define DAEMON_STUCK_MS 30000u /* a batch that takes longer turns /health to degraded */

typedef struct server server;
typedef struct exchange exchange;
typedef struct talk talk;   /* talk_internal.h */
typedef struct talks talks;

/* ---- routes.c ---- */

typedef enum route_id {
#define X(ID, ...) ROUTE_##ID,
#include "daemon/routes.def"
#undef X
    ROUTE_COUNT
} route_id;

/** What a caller must be allowed to do; each scope holds those before it. IMMICH: nothing, but the
 * route is on Immich's own address, and on no other. */
typedef enum route_scope {
    SCOPE_PUBLIC,
    SCOPE_READ,
    SCOPE_WRITE,
    SCOPE_ADMIN,
    SCOPE_IMMICH
} route_scope;

typedef enum route_place {
    PLACE_QUICK,
    PLACE_LIBRARY,
    PLACE_TOGETHER,
    PLACE_WRITER,
    PLACE_PICTURES
} route_place;

/** Answers exchanges [n] of routes with this function; n is 1 unless the route's place is TOGETHER.
 */
typedef void (*route_function)(server *s, exchange *const *list, size_t n);

typedef struct route {
    route_id id;
    http_method method;
    const char *path;
    route_scope scope;
    route_place place;
    size_t most; /* bytes of the body */
    route_function function;
    const char *summary;
    const char *body, *answer; /* names of schemas, or NULL */
} route;

extern const route daemon_routes[ROUTE_COUNT];

#define ROUTE_ALLOW_BYTES 48u

/** Finds a route; *out_hole is the text of "{id}" or "{name}", or empty. NULL: none of that path
 * (*out_allow empty), or none of that method (*out_allow lists those there are). HEAD finds GET.
 * @param immich among the routes for Immich, else among all others */
const route *route_find(http_method method, im_view path, bool immich, im_view *out_hole,
                        char out_allow[ROUTE_ALLOW_BYTES]);
/** "GET"; lower: "get". */
const char *route_method_name(http_method method, bool lower);
/** IM_OK, or http_parameter: a parameter that the route does not have, or lacks. */
IM_NODISCARD im_code route_check_parameters(const route *r, const http_parameters *parameters,
                                            im_error *err);

/* ---- body.c: what a request brings ---- */

typedef enum body_keep { BODY_MEMORY, BODY_FILE } body_keep;

/** A body that a route takes (bodies.def; JSON by routes.def). */
typedef struct body_kind {
    route_id route;
    const char *type; /* of the header, without parameters */
    size_t most;
    body_keep keep;
    const char *schema;
} body_kind;

extern const body_kind daemon_bodies[];
extern const size_t daemon_n_bodies;

/** Whether the route has a body at all. */
bool body_is_taken(const route *r);
/** Finds the kind of a body of this type; http_type naming those that the route takes. */
IM_NODISCARD im_code body_choose(exchange *ex, im_view content_type, im_error *err);
/** Bytes that the body may have, of the kind that was chosen. */
size_t body_most(const exchange *ex);
/** Counts what has come among the bodies of all; queue_full above their limit. */
IM_NODISCARD im_code body_count(server *s, exchange *ex, im_error *err);
void body_uncount(server *s, exchange *ex);
/** Ready to take the bytes of a body. */
IM_NODISCARD im_code body_begin(const server *s, exchange *ex, im_error *err);
/** Bytes taken so far. */
uint64_t body_size(const exchange *ex);
/** Moves what ex->body has taken to where the body is kept. */
IM_NODISCARD im_code body_flush(exchange *ex, im_error *err);
/** The whole body, borrowed until the exchange is freed. */
IM_NODISCARD im_code body_view(exchange *ex, im_view *out, im_error *err);
/** The body (BODY_MEMORY) as a JSON object. http_body. @param out_root the caller's, in each case */
IM_NODISCARD im_code body_object(const exchange *ex, json_t **out_root, im_error *err);
/** The parts of a multipart body, views into it. http_multipart. */
IM_NODISCARD im_code body_parts(exchange *ex, http_parts *out, im_error *err);

/* ---- forward.c: what another server of Immich's is asked for ---- */

/** What becomes of a request on its way, and of the answer on the way back. */
typedef struct forwarding {
    char *entries;   /* owned, in the place of those that came; NULL: the body as it came */
    size_t at, size; /* … which stood there in the body */
    char *clip;      /* owned, JSON: our own member "clip" of the answer; NULL: none */
    char type[64];   /* of the answer */
} forwarding;

typedef struct forward forward;

/** Reads the options and starts threads; *out_forward stays NULL when nobody is to be asked. */
IM_NODISCARD im_code forward_open(const im_daemon_options *options, int wake, forward **out_forward,
                                  im_error *err);
/** False when too many wait: the exchange stays the caller's. */
bool forward_put(forward *f, exchange *ex);
/** What has been answered since, as a list; NULL: nothing, or f is. */
exchange *forward_take_answered(forward *f);
/** Gives up what is under way. */
void forward_close(forward *f);
void forwarding_free(forwarding *onward);

/* ---- exchange.c ---- */

struct exchange {
    exchange *next;      /* in a queue */
    uint64_t connection; /* whose it is */
    const route *route;  /* NULL: none */
    bool head_only;      /* HEAD */
    bool close;          /* the connection ends with the answer */
    char request_id[20];
    char method[12]; /* for the log; "-": the head was not read */
    char path[128];  /* for the log: without the query, cut */
    uint64_t item;   /* "{id}" */
    char name[128];  /* "{name}", still percent-encoded */
    http_parameters parameters;
    const body_kind *kind; /* of the body; NULL: none */
    char boundary[HTTP_BOUNDARY_BYTES + 1];
    im_str body;                            /* BODY_FILE: what is still to be written */
    int spool;                              /* BODY_FILE: -1 before */
    uint64_t spooled;                       /* bytes in it */
    im_map *map;                            /* of it */
    uint64_t body_counted;                  /* of DAEMON_BODIES_BYTES, or DAEMON_SPOOLS_BYTES */
    char *range, *if_range, *if_none_match; /* NULL: none */
    uint64_t start_ns;
    atomic_bool abandoned; /* nobody waits for the answer any more */

    forwarding *onward; /* what is still to be asked of Immich's upstream; NULL: nothing */
    bool wants_events; /* Accept names text/event-stream */
    bool forwarded;    /* an imago has passed it on to us */
    talk *talk;        /* goes on with the answer: behind it when it streams, else in place of it */

    uint64_t last_event;   /* Last-Event-ID; 0: none */
    bool streams;          /* the answer has no length: it ends with the connection … */
    uint64_t stream;       /* … and goes on with the events of this job; 0: it is whole … */
    uint64_t stream_after; /* … that are newer */

    int status; /* 0: not answered yet */
    const char *type;
    unsigned retry_s; /* of Retry-After; 0: as its status has it */
    const char *policy; /* Content-Security-Policy; NULL: nothing may be loaded */
    char allow[ROUTE_ALLOW_BYTES];
    const char *cache; /* Cache-Control */
    im_str headers;    /* lines of the answer beside those of each */
    im_json_writer answer;
    int file; /* the answer is so many bytes of this file; -1: it is `answer` */
    uint64_t file_at, file_size;
    im_file_stamp file_stamp; /* it ends when the file is another one */
};

/** NULL when memory is out. */
exchange *exchange_new(uint64_t whose);
void exchange_free(exchange *ex);
/** The answer becomes `error` as application/problem+json. status 0: that of its class. */
void exchange_fail(exchange *ex, int status, const im_error *error);
/** The status that an error has. */
int exchange_status(const im_error *error);
/** That problem as JSON. */
void exchange_problem(im_json_writer *w, const char *request_id, int status, const im_error *error);
/** Answers 200 with what was written to ex->answer, or fails when it did not fit. */
void exchange_done(exchange *ex, const char *type);
/** Answers with what was written to ex->answer as JSON, and this status; or fails, when rc does. */
void exchange_end(exchange *ex, im_code rc, int status, const im_error *error);
/** The client says that it has these bytes: the answer will be 304. */
bool exchange_client_has(const exchange *ex, const char *etag);
/** As exchange_done; the client may keep the bytes, as those of this tag ("\"abc\"", with quotes).
 * 304 when it has them. */
void exchange_done_tagged(exchange *ex, const char *type, const char *etag);
/** Answers with a file, whole or the range that was asked for; 304, 416. Takes the descriptor. */
void exchange_done_file(exchange *ex, int fd, const im_file_stamp *stamp, const char *type,
                        const char *etag);
/** Appends status line, headers and (but for HEAD) the body. False when memory was out, also for
 * the body. */
bool exchange_write(const exchange *ex, im_str *out);
/** False when the line is lost: nobody reads standard error, and the server does not wait. */
bool exchange_log(const exchange *ex);
/** The same for a line of any event: begun with its time and name, ended and cleared here. */
void log_begin(im_json_writer *w, const char *event);
bool log_end(im_json_writer *w);

/* ---- work.c: a thread that has the library ---- */

typedef struct work work;

#define HISTOGRAM_BUCKETS 13u

typedef struct histogram {
    uint64_t buckets[HISTOGRAM_BUCKETS]; /* each holds those of the ones before it */
    uint64_t n;
    double sum;
} histogram;

extern const double histogram_seconds[HISTOGRAM_BUCKETS], batch_bounds[HISTOGRAM_BUCKETS];
void histogram_add(histogram *h, const double *bounds, double value);

typedef enum work_kind {
    WORK_SEARCHES, /* begins with a search, and tries others while they fail */
    WORK_CHANGES,  /* opens the library for writing, where that may be done */
    WORK_READS
} work_kind;

typedef struct work_facts {
    bool warm;        /* the first look at model and index has ended */
    im_error trouble; /* why the last search as a whole failed; IM_OK: it did not */
    size_t waiting;
    double busy_ms;           /* what is answered now has taken so long; 0: nothing is */
    uint64_t calls, answered; /* of answer functions, and exchanges they answered together */
    im_library_facts library; /* when last counted */
    histogram batches;        /* exchanges of a call */
    histogram encode, search; /* seconds of the model, and of the index, per query or request */
} work_facts;

/** Opens the library and starts the thread. `wake` is an eventfd that is written to when exchanges
 * have been answered. */
IM_NODISCARD im_code work_open(const im_daemon_options *options, server *s, int wake,
                               work_kind kind, work **out_work, im_error *err);
/** False when the queue is full: the exchange stays the caller's. */
bool work_put(work *w, exchange *ex);
/** What has been answered since, as a list. */
exchange *work_take_answered(work *w);
void work_look(work *w, work_facts *out);
/** Ends the thread behind the answer it is at; what waits is dropped. */
void work_close(work *w);
/** Asks the thread to open the library once more, beside the one it has, behind the answer it is at. */
void work_reload(work *w);
/** After that: the library that was opened takes the place of the old one, or is closed again. */
void work_settle(work *w, bool take);
/** False while one of these is under way. Then true; *out, unless it tells of a failure already,
 * becomes what came of it. */
bool work_reloaded(work *w, im_error *out);
/** For the functions of routes, on the library's thread. */
im_library *work_library(work *w);
void work_note_trouble(work *w, const im_error *error);
/** Milliseconds of the model and of the index; < 0: it was not asked. */
void work_note_times(work *w, double encode_ms, double search_ms);

/* ---- immich.c: which models are meant by Immich's names ---- */

typedef struct immich_model {
    char *name, *model;    /* owned; model: a name or folder */
    im_embedder *embedder; /* NULL: not open, or the library's own model */
} immich_model;

typedef struct immich_table {
    immich_model *models; /* [n] */
    size_t n;
} immich_table;

/** Reads the options' table and adds the names that Immich has for models that are there. */
IM_NODISCARD im_code immich_open(server *s, im_error *err);
void immich_close(server *s);
/** Embeds with the model of that name; on the library's thread. model_not_found lists the names. */
IM_NODISCARD im_code immich_embed(server *s, const char *name, const im_embed_piece *piece,
                                  im_embed_result *out_result, im_error *err);

/** Starts a thread that leaves signals to the server's; 0, or an errno. */
int thread_start(pthread_t *thread, void *(*run)(void *), void *context);

/* ---- jobs.c: threads that do long work, one for each lane ---- */

typedef struct jobs jobs;

typedef struct jobs_facts {
    uint64_t waiting, running;
} jobs_facts;

/** Opens libraries of their own and starts the threads, where the library can be written. */
IM_NODISCARD im_code jobs_open(const im_daemon_options *options, int wake, jobs **out_jobs,
                               im_error *err);
/** A job was put. */
void jobs_poke(jobs *j);
/** The library is to be opened again; a job that runs goes on in it. */
void jobs_reopen(jobs *j);
/** Ends the job of that id, when it runs. */
void jobs_stop(jobs *j, uint64_t id);
/** A job that waited was stopped: tells those who listen to it (@param w the job), and lets what
 * waits behind it have its turn. */
void jobs_tell_stopped(jobs *j, uint64_t id, const im_json_writer *w);
void jobs_look(jobs *j, jobs_facts *out);
/** What the jobs that run have done; to be cleared. */
void jobs_live(jobs *j, im_job_live *out);
void jobs_live_clear(im_job_live *live);
/** Appends the events of a job that are newer than `after`, as an event stream writes them; sets
 * *out_ended behind the last of all. @return the newest number of any job */
uint64_t jobs_listen(jobs *j, uint64_t job, uint64_t after, im_str *out, bool *out_ended);
/** Ends the jobs that run (the next daemon goes on with them) and the threads. */
void jobs_close(jobs *j);

/* ---- talk.c: threads that ask the vision-language model ---- */

/** Nobody listens any more (NULL: does nothing). */
void talk_leave(talk *t);
/** Appends the events since the last call; true when none follow. */
bool talk_take(talk *t, im_str *out);
/** Gives the exchange its answer; false: there is none yet. */
bool talk_finish(talk *t, exchange *ex);

/* ---- watch.c: a thread that follows folders ---- */

typedef struct follower follower;

typedef struct watch_facts {
    uint64_t told, polled, lost; /* roots: inotify tells, looked through, not there */
    uint64_t folders, pending;   /* watches; paths that wait */
    uint64_t events, overflows, rescans, polls, batches, paths; /* so far */
    char first_lost[304];                                       /* the path of one */
} watch_facts;

/** A sentence for the log, or (NULL) a batch that was put. */
typedef struct watch_word {
    char *sentence;              /* owned */
    uint64_t root, n_paths, job; /* n_paths 0: the whole root */
} watch_word;

/** Opens a library of its own and starts the thread. NULL where nothing is followed: all below take
 * it. `server_wake` is written to when there is a word. */
IM_NODISCARD im_code watch_open(const im_daemon_options *options, int server_wake, jobs *jobs_of,
                                follower **out_watch, im_error *err);
/** Roots have changed. */
void watch_poke(follower *w);
/** The library is to be opened again, and each root looked for anew. */
void watch_reopen(follower *w);
void watch_look(follower *w, watch_facts *out);
/** The oldest word; false when there is none. */
bool watch_take_word(follower *w, watch_word *out);
void watch_close(follower *w);

/* ---- answer_*.c ---- */

#define X(ID, method, path, scope, place, most, function, ...) \
    void function(server *s, exchange *const *list, size_t n);
#include "daemon/routes.def"
#undef X

/* ---- metrics.c ---- */

#define METRICS_STATUSES 31u

typedef struct metrics_row {
    uint64_t statuses[METRICS_STATUSES]; /* in the order of metrics.c's table */
    histogram seconds;
} metrics_row;

typedef struct metrics {
    metrics_row rows[ROUTE_COUNT + 1]; /* the last: of no route */
    uint64_t accepted, turned_away, lost_lines;
} metrics;

void metrics_count(metrics *m, const exchange *ex);
void metrics_write(const server *s, im_str *out);

/* ---- listen.c ---- */

typedef struct listener {
    int fd;
    bool loopback; /* only programs of this machine reach it */
    bool immich;   /* for the routes of SCOPE_IMMICH alone */
    char *path;    /* of the library's own Unix socket, owned; else NULL */
    int lock;      /* … held while we have it; else -1 */
} listener;

/** Who is at the other end. */
typedef struct client {
    bool loopback; /* it came in at an address of this machine alone */
    bool immich;   /* it came in at Immich's address */
    bool trusted;  /* the user who runs us (or root), at a Unix socket: needs no key */
    uint8_t
        address[16]; /* its own; IPv4 mapped, of IPv6 the network: what wrong keys are counted by */
    uint8_t here[16]; /* where it came in, likewise mapped, but whole; zero for Unix sockets */
} client;

/** Opens all listeners of the options, and takes those that were passed. needs s->guard */
IM_NODISCARD im_code listeners_open(server *s, im_error *err);
void listeners_close(server *s);
/** Tells options->listening. */
void listeners_tell(const server *s);
/** False when the client is to be turned away without a word. */
bool client_read(const listener *from, int fd, client *out);
/** Whether a request's Host names this server: DNS rebinding stops here. */
bool host_is_ours(const server *s, const client *from, im_view host);
/** Whether the page that asks came from this server itself. */
bool origin_is_ours(const http_head *head);

/* ---- local.c ---- */

/** Listens on the library's own Unix socket, 0600 in a folder that is ours alone. A stale one is
 * replaced; IM_ERR_CONFLICT when a daemon has it. */
IM_NODISCARD im_code local_open(const char *path, listener *out, im_error *err);
void local_close(listener *l);

/* ---- guard.c ---- */

/** Wrong keys by address. */
typedef struct attempts {
    struct {
        uint8_t address[16];
        uint64_t since_ns; /* 0: an empty row */
        unsigned n;
    } rows[DAEMON_WRONG_ADDRESSES];
} attempts;

/** 0 when the request may go on to this route; else the status of the refusal.
 * @param out_retry_s for 429 */
int guard_check(server *s, const client *from, const http_head *head, const route *r,
                unsigned *out_retry_s, im_error *err);

/* ---- notify.c ---- */

/** Tells the service manager "READY=1" and its kind, when there is one. */
void notify_send(const char *state);

/* ---- reload.c ---- */

/** Which folder lies at a path: tells one that was made anew or moved there from the one before. */
typedef struct folder_mark {
    uint64_t device, inode;
    int64_t born_s;
    uint32_t born_ns;
} folder_mark;

typedef struct reload_state {
    enum { RELOAD_NONE, RELOAD_OPEN, RELOAD_SETTLE } at; /* what the threads are to do */
    bool again;                                          /* asked for meanwhile */
    im_error error;                                      /* why the old is kept; IM_OK: it is not */
    im_guard *guard;    /* to be used when all went well … */
    folder_mark folder; /* … as of the begin */
} reload_state;

/** All zero when there is none. */
folder_mark folder_mark_of(const char *path);
/** Whether the library that is served still lies where it was opened. */
bool library_is_in_place(const server *s);
void reload_begin(server *s);
/** After a thread has told something. */
void reload_go_on(server *s);

/* ---- server.c ---- */

typedef struct connection connection;

typedef struct local_vlm local_vlm;

struct server {
    const im_daemon_options *options;
    int epoll, wake, spare; /* -1: none. spare is given up to turn one more client away */
    listener listeners[DAEMON_MOST_LISTENERS];
    size_t n_listeners;
    im_guard *guard;
    immich_table immich; /* of the library's thread, once that has begun */
    attempts attempts;
    reload_state reload;
    folder_mark folder; /* of the library as it was opened */
    work *work;                       /* of PLACE_LIBRARY, PLACE_TOGETHER */
    jobs *jobs;
    work *writer;                     /* of PLACE_WRITER: a handle of its own */
    work *pictures;                   /* of PLACE_PICTURES: likewise */
    forward *forward;                 /* NULL: there is no other server */
    talks *talks;
    local_vlm *vlm;                   /* NULL: none is kept */
    follower *watch;                  /* NULL: no folder is followed */
    connection *connections[DAEMON_MOST_CONNECTIONS];
    uint32_t generations[DAEMON_MOST_CONNECTIONS];
    size_t n_connections, most_connections;
    uint64_t body_bytes, spool_bytes, answer_bytes;
    metrics metrics;
    im_str openapi;
    bool stopping;
};

/* ---- local_vlm.c ---- */

/** Keeps a llama-server, when options->keep asks for one (else *out is NULL). Codes as of
 * im_app_vlm_keep_check; what goes wrong later is told. */
IM_NODISCARD im_code local_vlm_open(const im_daemon_options *options, local_vlm **out,
                                    im_error *err);
/** Tells what happened since the last call; on the server's thread. */
void local_vlm_tell(local_vlm *l);
/** Ends the server too. */
void local_vlm_close(local_vlm *l);

/* ---- connection.c ---- */

/** Takes a descriptor over; false when memory is out (the descriptor stays the caller's). */
bool connection_open(server *s, int fd, const client *from);
/** After an event of epoll. */
void connection_event(server *s, uint64_t id, uint32_t events);
/** Hands new events to those who listen. */
void connections_stream(server *s);
/** The library's thread has answered. Takes the exchange. */
void connection_answer(server *s, exchange *ex);
/** Ends what has run out of time; with s->stopping also what waits for a request. */
void connections_tick(server *s, uint64_t now_ns);
void connections_close_all(server *s);

#endif
