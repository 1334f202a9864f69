/* imago/imago.h — find pictures by meaning: the public C API of libimago.
 *
 *     imago_library *library = NULL;
 *     imago_query *query = NULL;
 *     imago_answer *answer = NULL;
 *     imago_error error;
 *     if (imago_library_open(NULL, IMAGO_READ_ONLY, NULL, &library, &error) == IMAGO_OK &&
 *         imago_query_new(&query, &error) == IMAGO_OK &&
 *         imago_query_add_text(query, "a red car", IMAGO_WHOLE, 1.0, &error) == IMAGO_OK &&
 *         imago_search(library, query, &answer, &error) == IMAGO_OK) { ... }
 *
 * Errors. Every function that can fail returns an imago_code and takes an imago_error last, which
 *   may be NULL. It is a plain value of the caller's: filled when the call fails, untouched when it
 *   succeeds. There is no hidden "last error".
 * Ownership. What a function hands out through a double pointer is the caller's and ends with the
 *   matching free or close, which take NULL. Everything passed in is borrowed for the call, except
 *   where it says otherwise. Pointers inside an answer live as long as the answer.
 * Threads. One imago_library may be used from several threads at once: its calls take turns
 *   (imago_library_add holds it until it is done). Different libraries are independent, also two
 *   handles on one folder, and several processes may hold one folder open. A query or an answer
 *   belongs to one thread at a time. Callbacks come on the thread that made the call and must not
 *   use the same library.
 * Signals. The library installs one SIGBUS handler, which concerns its own mapped files only and
 *   passes all else on; no other process-wide state is changed.
 * Text is UTF-8. Paths are bytes as the system gives them.
 * Versions. Within one major version functions, fields and codes are only added. Structs that the
 *   caller makes begin with their size, set by the …_INIT macros, or never change (imago_error,
 *   imago_input, imago_value); those that the library hands out by pointer grow at their end. */
#ifndef IMAGO_IMAGO_H
#define IMAGO_IMAGO_H

#include <stddef.h>
#include <stdint.h>

#define IMAGO_VERSION_MAJOR 0
#define IMAGO_VERSION_MINOR 1
#define IMAGO_VERSION_PATCH 0
/** One number to compare: 0x00MMmmpp. */
#define IMAGO_VERSION_NUMBER \
    ((IMAGO_VERSION_MAJOR << 16) | (IMAGO_VERSION_MINOR << 8) | IMAGO_VERSION_PATCH)
#define IMAGO_VERSION "0.1.0"

#if defined(__GNUC__)
#define IMAGO_API __attribute__((visibility("default")))
#else
#define IMAGO_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/** Version of the library that runs (IMAGO_VERSION is that of the header): "0.1.0", and as
 * IMAGO_VERSION_NUMBER. */
IMAGO_API const char *imago_version(void);
IMAGO_API unsigned long imago_version_number(void);

/* ---- errors ---- */

typedef enum imago_code {
    IMAGO_OK = 0,
    IMAGO_ERR_INTERNAL = 1,    /* an invariant broke: our bug */
    IMAGO_ERR_INVALID = 2,     /* an argument is wrong */
    IMAGO_ERR_NOT_FOUND = 3,   /* no such file, item, model or library */
    IMAGO_ERR_CONFLICT = 4,    /* already there, or library and model do not belong together */
    IMAGO_ERR_FORMAT = 5,      /* bytes are not what they claim to be */
    IMAGO_ERR_LIMIT = 6,       /* larger than a limit */
    IMAGO_ERR_UNSUPPORTED = 7, /* valid, but not handled by this build */
    IMAGO_ERR_BUSY = 8,        /* locked by another writer, try again */
    IMAGO_ERR_NOMEM = 9,       /* memory is out */
    IMAGO_ERR_IO = 10,         /* read, write or sync failed */
    IMAGO_ERR_DENIED = 11,     /* no permission */
    IMAGO_ERR_UPSTREAM = 12,   /* a server failed */
    IMAGO_ERR_TIMEOUT = 13,    /* a deadline passed */
    IMAGO_ERR_PARTIAL = 14,    /* done except for some, which were named */
    IMAGO_ERR_DAMAGED = 15,    /* the library's database cannot be trusted */
    IMAGO_ERR_FULL = 16        /* the disk is full */
} imago_code;

/** A failure as a value. All text is terminated and printable (control bytes are escaped). */
typedef struct imago_error {
    imago_code code;
    char reason[32];   /* finer than the code, stable: "picture_truncated", "library_not_found" */
    char message[384]; /* one sentence that names file or field */
    char hint[128];    /* what to do next; may be empty */
} imago_error;

/** "IMAGO_ERR_FORMAT" for IMAGO_ERR_FORMAT; "IMAGO_ERR_INTERNAL" for what is no code. Static. */
IMAGO_API const char *imago_code_name(imago_code code);

/* ---- libraries ---- */

typedef struct imago_library imago_library;

#define IMAGO_CREATE 1u    /* make the library when it is missing */
#define IMAGO_READ_ONLY 2u /* for searching; imago_library_add is refused */

typedef struct imago_open_options {
    size_t size;       /* sizeof(imago_open_options), by IMAGO_OPEN_OPTIONS_INIT */
    const char *model; /* name or folder of a model (Hugging Face CLIP form); NULL: the library's
                          own, or for a new library the bundled one */
    size_t threads;    /* to compute with; 0: as many as the machine has */
} imago_open_options;

#define IMAGO_OPEN_OPTIONS_INIT             \
    {                                       \
        sizeof(imago_open_options), NULL, 0 \
    }

/** Opens a library. Model and vectors are loaded when first needed.
 * @param folder   NULL: $IMAGO_LIBRARY, else $XDG_DATA_HOME/imago/default
 * @param flags    IMAGO_CREATE, IMAGO_READ_ONLY or 0 (not both)
 * @param options  may be NULL
 * @return IMAGO_OK; IMAGO_ERR_NOT_FOUND ("library_not_found"), IMAGO_ERR_DENIED,
 *   IMAGO_ERR_FORMAT (another program's database), IMAGO_ERR_UNSUPPORTED (made by a newer imago),
 *   IMAGO_ERR_DAMAGED, IMAGO_ERR_NOMEM */
IMAGO_API imago_code imago_library_open(const char *folder, unsigned flags,
                                        const imago_open_options *options,
                                        imago_library **out_library, imago_error *error);
IMAGO_API void imago_library_close(imago_library *library);

/** Facts as JSON text, as `imago status --json` prints them.
 * @param out_json  a new string; end it with imago_free */
IMAGO_API imago_code imago_library_status(imago_library *library, char **out_json,
                                          imago_error *error);

/** Frees text and vectors handed out by this API; takes NULL. */
IMAGO_API void imago_free(void *block);

/* ---- adding pictures ---- */

typedef struct imago_progress {
    size_t size;        /* sizeof(imago_progress) of the running library */
    const char *stage;  /* "preparing model", "adding" …; static text */
    uint64_t done;      /* files so far */
    uint64_t total;     /* 0: not known yet */
    uint64_t failed;    /* of done */
    double per_second;  /* over the last seconds */
    double eta_seconds; /* below 0: not known */
    const char *path;   /* a file that could not be taken, else NULL; borrowed for the call */
    const imago_error *failure; /* why; NULL without path */
} imago_progress;

/** Called a few times a second, and once for each file that fails. */
typedef void (*imago_progress_fn)(void *context, const imago_progress *progress);

typedef struct imago_add_report {
    size_t size;     /* sizeof(imago_add_report), by IMAGO_ADD_REPORT_INIT */
    uint64_t added;  /* new items */
    uint64_t linked; /* further files of pictures that were there already */
    uint64_t unchanged;
    uint64_t failed;  /* named through the callback */
    uint64_t skipped; /* files that are no pictures, or of a format without a decoder */
    double seconds;
} imago_add_report;

#define IMAGO_ADD_REPORT_INIT                        \
    {                                                \
        sizeof(imago_add_report), 0, 0, 0, 0, 0, 0.0 \
    }

/** Indexes files and folders (with all below them). What is known and unchanged is not read again;
 * files are never written to. Durable on return, batch by batch meanwhile.
 * @param paths    [n_paths]
 * @param progress may be NULL
 * @param report   may be NULL; filled also when the call fails on the way
 * @return IMAGO_OK; IMAGO_ERR_PARTIAL when some files failed; the first failure's code when all
 * did; IMAGO_ERR_BUSY, IMAGO_ERR_FULL, IMAGO_ERR_INVALID (opened read-only) … */
IMAGO_API imago_code imago_library_add(imago_library *library, const char *const *paths,
                                       size_t n_paths, imago_progress_fn progress, void *context,
                                       imago_add_report *report, imago_error *error);

/* ---- items: own fields, keys, tags ---- */

/* What an application knows of its pictures: typed fields of its own names, one key that is unique
 * in the library, tags. Each call is durable on return; many at once are faster through
 * `imago add --meta FILE`. IMAGO_ERR_INVALID when the library was opened read-only, also
 * IMAGO_ERR_BUSY and IMAGO_ERR_FULL; IMAGO_ERR_NOT_FOUND ("item_not_found") for an id that names no
 * item. */

typedef enum imago_value_type {
    IMAGO_VALUE_TEXT = 0,
    IMAGO_VALUE_NUMBER = 1,
    IMAGO_VALUE_DATE = 2,
    IMAGO_VALUE_BOOL = 3
} imago_value_type;

typedef struct imago_value {
    imago_value_type type;
    const char *text; /* IMAGO_VALUE_TEXT: terminated UTF-8, 1 byte to 64 KiB; IMAGO_VALUE_DATE:
                         "2024-05-01", "2024-05-01T10:11:12", "2024-05" or "2024" */
    double number;    /* IMAGO_VALUE_NUMBER: finite */
    int truth;        /* IMAGO_VALUE_BOOL: 0 or not */
} imago_value;

/** Sets a field of an item. The first value of a name fixes the name's type.
 * @param name  a letter, then letters, digits or '_', at most 64, the same in any case; no word of
 *              the query language ("taken", "tag" …)
 * @return IMAGO_OK; IMAGO_ERR_INVALID: "field_name", "field_type" (the name has another type),
 *   "field_value" */
IMAGO_API imago_code imago_item_set_field(imago_library *library, uint64_t item, const char *name,
                                          const imago_value *value, imago_error *error);
/** Takes a field away; IMAGO_ERR_NOT_FOUND when the item does not have it. */
IMAGO_API imago_code imago_item_drop_field(imago_library *library, uint64_t item, const char *name,
                                           imago_error *error);
/** Gives an item its key. When another item has it, the key moves to this one and the other item is
 * taken out of the library: a new picture of the same thing replaces the old one.
 * @param key           1 to 1024 bytes of UTF-8 without control characters; NULL: takes it away
 * @param out_replaced  may be NULL; id of the item that was taken out, else 0 */
IMAGO_API imago_code imago_item_set_key(imago_library *library, uint64_t item, const char *key,
                                        uint64_t *out_replaced, imago_error *error);
/** @param out_item  0 when no item has that key */
IMAGO_API imago_code imago_library_find_key(imago_library *library, const char *key,
                                            uint64_t *out_item, imago_error *error);
/** Gives an item a tag: 1 to 200 bytes of UTF-8 without control characters and blanks at the ends
 * ("tag_invalid"). One that it has stays; ASCII letters in any case are the same. */
IMAGO_API imago_code imago_item_add_tag(imago_library *library, uint64_t item, const char *tag,
                                        imago_error *error);
/** Takes a tag away; IMAGO_ERR_NOT_FOUND when the item does not have it. */
IMAGO_API imago_code imago_item_remove_tag(imago_library *library, uint64_t item, const char *tag,
                                           imago_error *error);
/** All about an item as JSON text, as `imago show --json` prints it.
 * @param out_json  a new string; end it with imago_free */
IMAGO_API imago_code imago_item_json(imago_library *library, uint64_t item, char **out_json,
                                     imago_error *error);

/* ---- queries ---- */

typedef struct imago_query imago_query;

/** Length of a terminated string: let imago count. */
#define IMAGO_WHOLE ((size_t)-1)

typedef enum imago_combine {
    IMAGO_COMBINE_SUM = 0, /* weighted sum of the parts */
    IMAGO_COMBINE_ANY = 1, /* the best part decides */
    IMAGO_COMBINE_ALL = 2  /* the worst part decides */
} imago_combine;

/** An empty query: k 20, offset 0, sum. May be searched any number of times. */
IMAGO_API imago_code imago_query_new(imago_query **out_query, imago_error *error);
IMAGO_API void imago_query_free(imago_query *query);

/* Parts. Each adds weight x (cosine - mean) / deviation, where mean and deviation are those of
 * unrelated pictures. weight: 0 < |weight| <= 100; negative counts against (-0.5 is usual). Texts,
 * paths and bytes are copied. IMAGO_ERR_INVALID for a bad weight, IMAGO_ERR_LIMIT above 64 parts.
 */

/** A text, taken literally: UTF-8 without NUL, at most 8 KiB. size may be IMAGO_WHOLE. */
IMAGO_API imago_code imago_query_add_text(imago_query *query, const char *text, size_t size,
                                          double weight, imago_error *error);
/** A picture file (JPEG, PNG); read when the query is searched. */
IMAGO_API imago_code imago_query_add_picture_file(imago_query *query, const char *path,
                                                  double weight, imago_error *error);
/** The bytes of a picture file. */
IMAGO_API imago_code imago_query_add_picture_bytes(imago_query *query, const void *bytes,
                                                   size_t size, double weight, imago_error *error);
/** The picture of an item of the library. */
IMAGO_API imago_code imago_query_add_item(imago_query *query, uint64_t item, double weight,
                                          imago_error *error);

/** Hits wanted, 1 … 10000, and how many of the best to leave out; together at most 1000000. */
IMAGO_API imago_code imago_query_set_page(imago_query *query, size_t k, uint64_t offset,
                                          imago_error *error);
/** IMAGO_COMBINE_ANY and _ALL take no negative parts: the search refuses them. */
IMAGO_API imago_code imago_query_set_combine(imago_query *query, imago_combine combine,
                                             imago_error *error);

/* Words in imago's query language, a filter (joined to that of the words by "and"), an order and
 * groups, as docs/manual.md tells; checked when the query is searched. Texts are copied, NULL takes
 * one away. */

/** "red car -night @photo.jpg taken:2019": its parts stand before those that were added. */
IMAGO_API imago_code imago_query_set_words(imago_query *query, const char *words,
                                           imago_error *error);
/** "taken:2019.. and (type:jpeg or -has:gps)" */
IMAGO_API imago_code imago_query_set_filter(imago_query *query, const char *filter,
                                            imago_error *error);

typedef enum imago_order {
    IMAGO_ORDER_DEFAULT = 0, /* the newest and the largest first, texts from A to Z */
    IMAGO_ORDER_ASCENDING = 1,
    IMAGO_ORDER_DESCENDING = 2
} imago_order;

/** Sorts the pictures that are meant by a field: "taken", "bytes", one of your own; "score". */
IMAGO_API imago_code imago_query_set_sort(imago_query *query, const char *field, imago_order order,
                                          imago_error *error);
/** "FIELD" or "FIELD:n": at most n hits (1) of each value. */
IMAGO_API imago_code imago_query_set_group(imago_query *query, const char *group,
                                           imago_error *error);
/** The page behind the answer that gave the cursor (imago_answer_cursor); with offset 0. */
IMAGO_API imago_code imago_query_set_cursor(imago_query *query, const char *cursor,
                                            imago_error *error);

/* ---- searching ---- */

typedef struct imago_answer imago_answer;

typedef struct imago_hit {
    uint64_t rank;    /* from 1, offset counted */
    uint64_t item;    /* id in the library, never used again */
    const char *path; /* bytes of a file of the item, NULL when it has none; of the answer */
    int online;       /* 1: the file was there at the last look */
    double score;     /* higher is better; standard deviations above unrelated pictures */
    double cosine;    /* of one-part queries, in [-1, 1]; 0 otherwise (see has_cosine) */
    int has_cosine;
    uint32_t width, height; /* pixels, after orientation */
} imago_hit;

/** Finds the best items, best first; ties by ascending id.
 * @return IMAGO_OK, also without hits; IMAGO_ERR_INVALID ("query_empty", "query_degenerate"),
 *   IMAGO_ERR_NOT_FOUND ("library_empty", "item_not_found", a picture file), IMAGO_ERR_FORMAT (a
 *   picture that is none) … */
IMAGO_API imago_code imago_search(imago_library *library, const imago_query *query,
                                  imago_answer **out_answer, imago_error *error);
IMAGO_API void imago_answer_free(imago_answer *answer);
IMAGO_API size_t imago_answer_n_hits(const imago_answer *answer);
/** Hit i, from 0; of the answer. NULL beyond the last. */
IMAGO_API const imago_hit *imago_answer_hit(const imago_answer *answer, size_t i);
/** Where the next page begins; NULL when there is none. Of the answer. */
IMAGO_API const char *imago_answer_cursor(const imago_answer *answer);
/** The whole answer as JSON text, as `imago search --json` prints it; of the answer. */
IMAGO_API const char *imago_answer_json(const imago_answer *answer);

/* ---- embeddings ---- */

/** One thing to embed: exactly one of text, path and bytes is not NULL. */
typedef struct imago_input {
    const char *text;  /* terminated UTF-8 */
    const char *path;  /* a picture file */
    const void *bytes; /* a picture file's bytes … */
    size_t n_bytes;    /* … and their count */
} imago_input;

typedef struct imago_embeddings {
    size_t n;            /* rows: as many as inputs, in their order */
    size_t dim;          /* columns */
    float *vectors;      /* [n, dim] row-major, unit length; rows of failed inputs are zero */
    imago_error *errors; /* [n]; code IMAGO_OK where it worked */
} imago_embeddings;

/** Turns texts and pictures into vectors of one space with the library's model: their dot products
 * are cosines. Opens the model, so hand over many inputs at once rather than one after another.
 * @param out_embeddings  set on IMAGO_OK and, with errors per row, on IMAGO_ERR_PARTIAL; end it
 *                        with imago_embeddings_free
 * @return IMAGO_OK; IMAGO_ERR_PARTIAL when some inputs failed; the first failure's code when all
 *   did; IMAGO_ERR_INVALID for an input that has none or several of its three fields */
IMAGO_API imago_code imago_embed(imago_library *library, const imago_input *inputs, size_t n_inputs,
                                 imago_embeddings **out_embeddings, imago_error *error);
IMAGO_API void imago_embeddings_free(imago_embeddings *embeddings);

#ifdef __cplusplus
}
#endif

#endif
