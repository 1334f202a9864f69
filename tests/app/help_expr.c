/* tests/app/help_expr.c — see help_expr.h. */
#include "tests/app/help_expr.h"

#include <inttypes.h>
#include <math.h>
#include <time.h>

expr expr_pool[64];
int n_expr_pool;

static int64_t year_start(int year)
{
    struct tm parts = {.tm_year = year - 1900, .tm_mday = 1};
    return (int64_t)timegm(&parts);
}

int expr_draw(int depth)
{
    int self = n_expr_pool++;
    expr *e = &expr_pool[self];
    *e = (expr){.kind = depth == 0 || shop_draw(3) == 0 ? EXPR_LEAF : 1 + shop_draw(3)};
    if (e->kind == EXPR_LEAF) {
        e->test = shop_draw(12) == 0 ? EXPR_IS_MISSING : shop_draw(EXPR_IS_MISSING);
        e->value = shop_draw(1000);
        return self;
    }
    int a = expr_draw(depth - 1);
    int b = expr_pool[self].kind != EXPR_NOT ? expr_draw(depth - 1) : -1;
    expr_pool[self].a = a;
    expr_pool[self].b = b;
    return self;
}

static void put_test(im_str *out, const expr *e)
{
    uint32_t v = e->value;
    switch (e->test) {
    case EXPR_TAKEN_YEAR:
        im_str_addf(out, "taken:%u", 2015 + v % 7);
        break;
    case EXPR_TAKEN_FROM:
        im_str_addf(out, "taken:%u..", 2015 + v % 7);
        break;
    case EXPR_WIDTH:
        im_str_addf(out, "width>=%u", v * 4);
        break;
    case EXPR_BYTES:
        im_str_addf(out, "bytes:..%uk", v * 3);
        break;
    case EXPR_CAMERA:
        im_str_add_c(out, v % 2 == 0 ? "camera:CANON" : "camera=\"pixel 7\"");
        break;
    case EXPR_TYPE:
        im_str_add_c(out, v % 2 == 0 ? "type:jpg" : "type:png");
        break;
    case EXPR_TAG:
        im_str_addf(out, "tag:T%u", v % 3);
        break;
    case EXPR_PRICE:
        im_str_addf(out, "price<%u", v % 100);
        break;
    case EXPR_CATEGORY:
        im_str_addf(out, "category:%s", shop_categories[v % 5]);
        break;
    case EXPR_STOCK:
        im_str_add_c(out, v % 2 == 0 ? "stock:no" : "stock:true");
        break;
    case EXPR_HAS_GPS:
        im_str_add_c(out, "has:gps");
        break;
    case EXPR_HAS_TAG:
        im_str_add_c(out, "has:tag");
        break;
    case EXPR_HAS_PRICE:
        im_str_add_c(out, "has:price");
        break;
    case EXPR_PATH:
        im_str_addf(out, "path:d%u/*%u.x", v % 7, v % 10);
        break;
    case EXPR_KEY:
        im_str_addf(out, "key:k%" PRIu64, the_shop.facts[v % SHOP_ITEMS].id);
        break;
    default:
        im_str_add_c(out, "is:missing");
    }
}

void expr_put(im_str *out, int i)
{
    const expr *e = &expr_pool[i];
    if (e->kind == EXPR_LEAF) {
        put_test(out, e);
        return;
    }
    im_str_add_c(out, e->kind == EXPR_NOT ? "not (" : "(");
    expr_put(out, e->a);
    if (e->kind != EXPR_NOT) {
        im_str_add_c(out, e->kind == EXPR_AND ? (e->value % 2 == 0 ? " and " : " ") : " or ");
        expr_put(out, e->b);
    }
    im_str_add_c(out, ")");
}

static bool meets_test(const expr *e, uint64_t i)
{
    const shop_fact *f = &the_shop.facts[i];
    uint32_t v = e->value;
    int year = 2015 + (int)(v % 7);
    switch (e->test) {
    case EXPR_TAKEN_YEAR:
        return f->taken != SHOP_NONE && f->taken >= year_start(year) &&
               f->taken < year_start(year + 1);
    case EXPR_TAKEN_FROM:
        return f->taken != SHOP_NONE && f->taken >= year_start(year);
    case EXPR_WIDTH:
        return f->width >= v * 4;
    case EXPR_BYTES:
        return f->bytes <= 3000ull * v;
    case EXPR_CAMERA:
        return v % 2 == 0 ? f->camera == 0 || f->camera == 3 : f->camera == 2;
    case EXPR_TYPE:
        return f->png == (v % 2 != 0);
    case EXPR_TAG:
        return (f->tags >> v % 3 & 1) != 0;
    case EXPR_PRICE:
        return !isnan(f->price) && f->price < v % 100;
    case EXPR_CATEGORY:
        return f->category == (int)(v % 5) || (v % 5 == 0 && f->category == 4) ||
               (v % 5 == 4 && f->category == 0);
    case EXPR_STOCK:
        return f->stock == (v % 2 == 0 ? 0 : 1);
    case EXPR_HAS_GPS:
        return f->gps;
    case EXPR_HAS_TAG:
        return f->tags != 0;
    case EXPR_HAS_PRICE:
        return !isnan(f->price);
    case EXPR_PATH:
        return f->has_file && i % 7 == v % 7 && i % 10 == v % 10;
    case EXPR_KEY:
        return f->keyed && i == v % SHOP_ITEMS;
    default:
        return f->missing;
    }
}

bool expr_meets(int i, uint64_t item)
{
    const expr *e = &expr_pool[i];
    switch (e->kind) {
    case EXPR_LEAF:
        return meets_test(e, item);
    case EXPR_AND:
        return expr_meets(e->a, item) && expr_meets(e->b, item);
    case EXPR_OR:
        return expr_meets(e->a, item) || expr_meets(e->b, item);
    default:
        return !expr_meets(e->a, item);
    }
}

bool expr_names_missing(void)
{
    for (int i = 0; i < n_expr_pool; i++) {
        if (expr_pool[i].kind == EXPR_LEAF && expr_pool[i].test == EXPR_IS_MISSING) {
            return true;
        }
    }
    return false;
}
