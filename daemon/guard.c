/* daemon/guard.c — who may ask for what: API keys against scopes, and addresses that try keys out.
 * The server's thread looks keys up itself, through a store of its own: a key that was revoked is
 * refused at the next request, whatever the library's threads are at. */
#include "base/clock.h"
#include "daemon/daemon_internal.h"

#include <string.h>

_Static_assert((int)SCOPE_READ == (int)IM_KEY_READ && (int)SCOPE_WRITE == (int)IM_KEY_WRITE &&
                   (int)SCOPE_ADMIN == (int)IM_KEY_ADMIN,
               "scopes of routes and of keys");

/* The key of "Bearer KEY"; data NULL when that is not what the header says. */
static im_view bearer(const http_head *head)
{
    static const char scheme[] = "bearer ";
    im_view value = head->authorization;
    if (value.size <= sizeof(scheme) - 1) {
        return (im_view){0};
    }
    for (size_t i = 0; i < sizeof(scheme) - 1; i++) {
        if (im_ascii_lower(value.data[i]) != scheme[i]) {
            return (im_view){0};
        }
    }
    return im_view_of(value.data + sizeof(scheme) - 1, value.size - (sizeof(scheme) - 1));
}

/* ---- attempts ---- */

/* The row of an address whose minute is not over; else one to begin with: an empty or the oldest.
 */
static size_t find_row(const attempts *a, const uint8_t address[16], uint64_t now_ns)
{
    size_t best = 0;
    for (size_t i = 0; i < DAEMON_WRONG_ADDRESSES; i++) {
        bool current = a->rows[i].since_ns != 0 &&
                       now_ns - a->rows[i].since_ns < DAEMON_WRONG_MS * UINT64_C(1000000);
        if (current && memcmp(a->rows[i].address, address, 16) == 0) {
            return i;
        }
        best = a->rows[i].since_ns < a->rows[best].since_ns ? i : best;
    }
    return best;
}

/* Counts a wrong key. @return seconds that the address must wait; 0: it may go on trying */
static unsigned count_wrong(attempts *a, const uint8_t address[16])
{
    uint64_t now_ns = im_clock_ns();
    size_t row = find_row(a, address, now_ns);
    uint64_t age_ns = now_ns - a->rows[row].since_ns;
    if (a->rows[row].since_ns == 0 || memcmp(a->rows[row].address, address, 16) != 0 ||
        age_ns >= DAEMON_WRONG_MS * UINT64_C(1000000)) {
        memcpy(a->rows[row].address, address, 16);
        a->rows[row].since_ns = now_ns;
        a->rows[row].n = 0;
        age_ns = 0;
    }
    a->rows[row].n += a->rows[row].n <= DAEMON_WRONG_KEYS;
    return a->rows[row].n > DAEMON_WRONG_KEYS
               ? (unsigned)(DAEMON_WRONG_MS / 1000 - age_ns / 1000000000)
               : 0;
}

/* ---- the verdict ---- */

static int refuse_key(server *s, const client *from, const http_head *head, unsigned *out_retry_s,
                      im_error *err)
{
    bool tried = head->authorization.data != NULL || head->odd_credentials;
    unsigned wait_s = tried ? count_wrong(&s->attempts, from->address) : 0;
    if (wait_s > 0) {
        *out_retry_s = wait_s;
        (void)!im_fail_as(err, IM_REASON_KEY_ATTEMPTS,
                          "more than %u wrong API keys came from this address within a minute",
                          DAEMON_WRONG_KEYS);
        return 429;
    }
    (void)!im_fail_as(err, IM_REASON_KEY_NEEDED,
                      "this needs a valid API key in the header 'Authorization: Bearer KEY'");
    im_hint(err, "imago key add --scope read makes one");
    return 401;
}

int guard_check(server *s, const client *from, const http_head *head, const route *r,
                unsigned *out_retry_s, im_error *err)
{
    im_guard_facts facts;
    if (r->scope == SCOPE_PUBLIC || r->scope == SCOPE_IMMICH || from->trusted) {
        return 0;
    }
    im_code rc = im_guard_look(s->guard, bearer(head), &facts, err);
    if (rc != IM_OK) {
        return im_code_http(rc);
    }
    if (!facts.any && from->loopback) {
        return 0;
    }
    if (facts.scope == IM_KEY_NONE) {
        return refuse_key(s, from, head, out_retry_s, err);
    }
    if ((int)facts.scope < (int)r->scope) {
        (void)!im_fail_as(err, IM_REASON_KEY_SCOPE, "the API key may %s, this needs one for %s",
                          im_key_scope_name(facts.scope),
                          im_key_scope_name((im_key_scope)r->scope));
        return 403;
    }
    return 0;
}
