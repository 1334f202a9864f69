/* tests/app/help_shop.h — a library of random items with own fields, tags, keys and files, and what
 * the test knows of each of them, while they change. */
#ifndef IM_TESTS_APP_HELP_SHOP_H
#define IM_TESTS_APP_HELP_SHOP_H

#include "tests/app/help.h"

#ifdef __SANITIZE_ADDRESS__
#define SHOP_ITEMS 4300u /* above 4,096 there are codes */
#else
#define SHOP_ITEMS 6000u
#endif

#define SHOP_NONE INT64_MIN

/** To be held against what the library says. */
typedef struct shop_fact {
    uint64_t id;
    bool removed, missing, has_file;
    int64_t taken; /* SHOP_NONE */
    int camera;    /* of shop_cameras; -1: none */
    uint32_t width;
    uint64_t bytes;
    bool png, gps;
    unsigned tags; /* bit i: "ti" */
    double price;  /* NaN: none */
    int category;  /* of shop_categories; -1: none */
    int stock;     /* -1: none */
    bool keyed;    /* its key is "k" and its id */
} shop_fact;

extern const char *const shop_cameras[4];
extern const char *const shop_categories[5];

typedef struct shop {
    help_home home;
    im_library *library;
    uint64_t model;
    shop_fact facts[SHOP_ITEMS]; /* in id order; item i lies in folder d(i % 7) as "i.x" */
    uint64_t files[SHOP_ITEMS];
} shop;

extern shop the_shop;

/** Below n; of one seed, which is printed. */
uint32_t shop_draw(uint32_t n);
/** cmocka's setup and teardown. */
int shop_open(void **state);
int shop_close(void **state);
/** Something about an item becomes different, in the caller's transaction. */
void shop_change_one(void);
/** Place in facts. */
uint64_t shop_place_of(uint64_t id);

#endif
