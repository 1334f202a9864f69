/* tests/cli/fake_app.h — app/ replaced by prepared answers, so that what commands print is tested
 * without models, libraries and clocks. */
#ifndef IM_TESTS_CLI_FAKE_APP_H
#define IM_TESTS_CLI_FAKE_APP_H

#include "app/app.h"

typedef struct fake_app {
    /* prepared */
    im_code code; /* of the use case; err is filled as `reason` says */
    im_reason reason;
    im_add_report report;
    im_import_report imported;
    const char *failed_path;  /* told by add, NULL: none */
    bool told;                /* add ends with the error of that path */
    const char *warning;      /* told by check */
    const char *question;     /* asked by remove */
    const char *const *paths; /* of the hits of search */
    size_t n_paths;
    bool no_folders;      /* were added */
    bool library_missing; /* until im_app_init */
    int raise_signal;     /* during add */
    /* seen */
    bool made, writable, confirmed;
    im_add_request add;
    im_import_request import;
    im_search_request search;
    im_query_part parts[8];
    char text[64], filter[64]; /* of the search */
    im_engine engine;
    im_rebuild_request rebuild;
    im_audit_request audit;
    size_t threads;
    const char *listen; /* the last one */
    size_t n_hosts;
    bool local;
    bool no_watch, watch_poll; /* of the daemon */
    uint64_t watch_every_s;
    bool followed;    /* what the last folder was set to … */
    char folder[64];  /* … and which it was */
    size_t n_folders; /* that were set */
    size_t n_embedded;
    im_vlm_request vlm;
    im_vlm_keep_request keep;
    im_describe_request describe; /* what it borrows is gone by now */
    size_t n_add_tags, n_remove_tags;
    im_embed_input inputs[8];
    size_t n_items, n_remove_paths;
    uint64_t items[8];
} fake_app;

extern fake_app fake;
/** What the next call is to end with. */
im_code fake_outcome(im_error *err);

#endif
