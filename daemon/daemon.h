/* daemon/daemon.h — imago as a server: HTTP/1.1 over the use cases of app/; the door of daemon/. */
#ifndef IM_DAEMON_DAEMON_H
#define IM_DAEMON_DAEMON_H

#include "app/app.h"

#define IM_DAEMON_LISTEN "127.0.0.1:7070"
#define IM_DAEMON_WATCH_EVERY_S 60u

typedef struct im_daemon_options {
    /* [n_listen] "ADDRESS:PORT"; port 0: a free one. None: sockets that the service manager passed
     * (LISTEN_FDS), else the address above. */
    const char *const *listen;
    size_t n_listen;
    const char *const *hosts; /* [n_hosts] names it answers for beside its addresses */
    size_t n_hosts;
    /* "ADDRESS:PORT" on which Immich's server is answered, without a key; NULL: nowhere */
    const char *immich_listen;
    const char *const *immich_models; /* [n_immich_models] "NAME=MODEL", MODEL a name or folder */
    size_t n_immich_models;
    /* "http://HOST:PORT" of the server that is asked for what is not done here; NULL: nobody */
    const char *immich_upstream;
    uint32_t immich_ms; /* … and given up after so long; 0: 120 s */
    bool local; /* also on the library's Unix socket (im_app_socket_path), for the command line */
    const im_vlm_keep_request *keep; /* a llama-server that runs as long; NULL: none */
    bool no_watch;          /* no folder is followed */
    bool watch_poll;        /* followed folders are looked through, whatever the system may tell */
    uint64_t watch_every_s; /* between looks through one; 0: IM_DAEMON_WATCH_EVERY_S */
    im_library_options library;
    im_vlm_request vlm;     /* how the vision-language model is asked */
    bool no_vlm;            /* it is not, whatever the library knows */
    im_image_limits limits; /* of pictures that requests bring */
    bool log;               /* a JSON line on standard error for each request */
    /** Called for each address when connections are taken, with "http://127.0.0.1:7070"; may be
     * NULL. */
    void (*listening)(void *context, const char *url, bool for_immich);
    /** Told what happened meanwhile, one sentence each; may be NULL. */
    void (*note)(void *context, const char *sentence);
    void *context;
} im_daemon_options;

/** Serves until im_stop_asked(); opens library and keys again at im_reload_take(), keeping the old when
 * that fails. Then finishes the answers that are under way (at most 10 s).
 * @return IM_OK after such a stop; IM_ERR_INVALID for an address that cannot be listened on, or that
 * others could reach while the library has no API key; IM_ERR_CONFLICT when another program has the
 * port, or another daemon the library's socket; what im_library_open gave; IM_ERR_NOMEM, IM_ERR_IO */
IM_NODISCARD im_code im_daemon_run(const im_daemon_options *options, im_error *err);

/** Appends the description of all routes: the body of GET /openapi.json. */
void im_daemon_openapi(im_str *out);

#endif
