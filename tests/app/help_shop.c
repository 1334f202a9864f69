/* tests/app/help_shop.c — see help_shop.h. */
#include "tests/app/help_shop.h"

#include <inttypes.h>
#include <math.h>

shop the_shop;
static uint64_t seed = 0x5eedf117e25;

const char *const shop_cameras[4] = {"Canon EOS R5", "NIKON Z 6", "Pixel 7", "canon ixus"};
const char *const shop_categories[5] = {"shoes", "Shirts", "hats", "bags", "SHOES"};

uint32_t shop_draw(uint32_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)((seed >> 32) % n);
}

static double unit(void)
{
    return shop_draw(1u << 24) / (double)(1u << 24);
}

/* ---- the the_shop.library ---- */

static void put_facts(im_store *store, shop_fact *f)
{
    im_error err = IM_ERROR_INIT;
    if (!isnan(f->price)) {
        im_value value = {.type = IM_VALUE_NUMBER, .number = f->price};
        help_ok(im_store_put_field(store, f->id, "price", &value, &err), &err);
    }
    if (f->category >= 0) {
        im_value value = {.type = IM_VALUE_TEXT,
                          .text = im_view_from(shop_categories[f->category])};
        help_ok(im_store_put_field(store, f->id, "category", &value, &err), &err);
    }
    if (f->stock >= 0) {
        im_value value = {.type = IM_VALUE_BOOL, .truth = f->stock == 1};
        help_ok(im_store_put_field(store, f->id, "stock", &value, &err), &err);
    }
    for (unsigned i = 0; i < 3; i++) {
        char tag[8];
        (void)snprintf(tag, sizeof(tag), "t%u", i);
        if ((f->tags >> i & 1) != 0) {
            help_ok(im_store_put_tag(store, f->id, tag, IM_SOURCE_USER, &err), &err);
        }
    }
    if (f->keyed) {
        char key[24];
        (void)snprintf(key, sizeof(key), "k%" PRIu64, f->id);
        help_ok(im_store_put_key(store, f->id, key, NULL, &err), &err);
    }
}

static void draw_fact(shop_fact *f)
{
    *f = (shop_fact){.taken =
                         shop_draw(5) == 0 ? SHOP_NONE : 1420070400 + (int64_t)shop_draw(220000000),
                     .camera = (int)shop_draw(5) - 1,
                     .width = 100 * (1 + shop_draw(40)),
                     .bytes = 1000ull * (1 + shop_draw(3000)),
                     .png = shop_draw(3) == 0,
                     .gps = shop_draw(2) == 0,
                     .tags = shop_draw(8),
                     .price = shop_draw(4) == 0 ? (double)NAN : (double)shop_draw(100),
                     .category = (int)shop_draw(6) - 1,
                     .stock = (int)shop_draw(3) - 1,
                     .keyed = shop_draw(10) == 0,
                     .has_file = shop_draw(10) != 0};
}

static void put_item(im_store *store, uint64_t root, uint64_t i)
{
    im_error err = IM_ERROR_INIT;
    shop_fact *f = &the_shop.facts[i];
    float vector[HELP_DIM];
    double squares = 0;
    draw_fact(f);
    im_item item = {.bytes = f->bytes,
                    .width = f->width,
                    .height = 100,
                    .has_taken = f->taken != SHOP_NONE,
                    .taken_s = f->taken != SHOP_NONE ? f->taken : 0,
                    .has_gps = f->gps,
                    .latitude = 48,
                    .longitude = 2};
    memcpy(item.sha256, &i, sizeof(i));
    (void)snprintf(item.format, sizeof(item.format), "%s", f->png ? "png" : "jpeg");
    if (f->camera >= 0) {
        (void)snprintf(item.camera, sizeof(item.camera), "%s", shop_cameras[f->camera]);
    }
    help_ok(im_store_put_item(store, &item, &f->id, &err), &err);
    for (size_t j = 0; j < HELP_DIM; j++) {
        vector[j] = (float)(unit() + unit() + unit() - 1.5);
        squares += (double)vector[j] * (double)vector[j];
    }
    for (size_t j = 0; j < HELP_DIM; j++) {
        vector[j] /= (float)sqrt(squares);
    }
    help_ok(im_store_put_embedding(store, f->id, the_shop.model, i + 1, vector, HELP_DIM, &err),
            &err);
    if (f->has_file) {
        char path[32];
        (void)snprintf(path, sizeof(path), "d%u/%" PRIu64 ".x", (unsigned)(i % 7), i);
        im_file_row row = {.root = root, .path = im_view_from(path), .item = f->id};
        row.stamp.inode = i + 1;
        help_ok(im_store_put_file(store, &row, &the_shop.files[i], &err), &err);
    }
    put_facts(store, f);
}

int shop_open(void **state)
{
    im_error err = IM_ERROR_INIT;
    uint64_t root = 0;
    im_rebuild_report rebuilt;
    (void)state;
    print_message("seed %" PRIx64 "\n", seed);
    help_home_make(&the_shop.home);
    help_ok(im_app_init(&the_shop.home.places, &err), &err);
    the_shop.library = help_open(&the_shop.home, true);
    help_png(help_path(the_shop.home.pictures, "a.png"), 1);
    assert_int_equal(help_add(the_shop.library, the_shop.home.pictures).added,
                     1); /* gives it its model */
    im_store *store = im_library_store(the_shop.library);
    the_shop.model = the_shop.library->model.id;
    help_ok(im_store_remove_item(store, 1, &err), &err);
    help_ok(im_store_begin(store, &err), &err);
    help_ok(im_store_put_root(store, "/r", true, &root, &err), &err);
    help_ok(im_store_set_index(store, the_shop.model, &(im_index_record){1, SHOP_ITEMS + 1}, &err),
            &err);
    for (uint64_t i = 0; i < SHOP_ITEMS; i++) {
        put_item(store, root, i);
    }
    help_ok(im_store_commit(store, &err), &err);
    help_ok(im_app_rebuild(the_shop.library, NULL, NULL, &rebuilt, &err), &err);
    assert_int_equal(rebuilt.vectors, SHOP_ITEMS);
    return 0;
}

int shop_close(void **state)
{
    (void)state;
    im_library_close(the_shop.library);
    help_home_remove(&the_shop.home);
    return 0;
}

/* Something about an item becomes different. */
void shop_change_one(void)
{
    im_store *store = im_library_store(the_shop.library);
    im_error err = IM_ERROR_INIT;
    uint64_t i = shop_draw(SHOP_ITEMS);
    shop_fact *f = &the_shop.facts[i];
    if (f->removed) {
        return;
    }
    switch (shop_draw(5)) {
    case 0:
        f->price = shop_draw(100);
        f->category = (int)shop_draw(5);
        break;
    case 1:
        f->tags |= 1u << shop_draw(3);
        break;
    case 2:
        if (f->has_file) {
            f->missing = !f->missing;
            help_ok(im_store_set_file_missing(store, the_shop.files[i], f->missing, &err), &err);
        }
        break;
    case 3:
        if (shop_draw(4) == 0) {
            f->removed = true;
            help_ok(im_store_remove_item(store, f->id, &err), &err);
            return;
        }
        break;
    default:
        if (f->stock >= 0) {
            help_ok(im_store_drop_field(store, f->id, "stock", &err), &err);
            f->stock = -1;
        }
    }
    put_facts(store, f);
}

uint64_t shop_place_of(uint64_t id)
{
    uint64_t place = id - the_shop.facts[0].id;
    assert_true(place < SHOP_ITEMS && the_shop.facts[place].id == id);
    return place;
}
