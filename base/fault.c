/* base/fault.c — counters behind the hooks. Nothing is counted until a test touches the door, so
 * that a process that is not under test pays one relaxed load a call. */
#include "base/fault.h"
#include "base/text.h"
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NEVER SIZE_MAX
#define POINT_BYTES 64

typedef struct fault_row {
    const char *name;
    int usual; /* errno when the test names none */
} fault_row;

static const fault_row rows[IM_FAULT_KIND_COUNT] = {
    [IM_FAULT_ALLOC] = {"alloc", ENOMEM}, [IM_FAULT_OPEN] = {"open", EIO},
    [IM_FAULT_READ] = {"read", EIO},      [IM_FAULT_WRITE] = {"write", EIO},
    [IM_FAULT_SYNC] = {"sync", EIO},      [IM_FAULT_RENAME] = {"rename", EIO},
    [IM_FAULT_MAP] = {"map", ENOMEM},     [IM_FAULT_THREAD] = {"thread", EAGAIN},
};

typedef struct fault_state {
    atomic_size_t calls;
    atomic_size_t target; /* calls before the one that fails, NEVER when none shall */
    atomic_int errnum;
    atomic_bool fired;
} fault_state;

static atomic_bool watching; /* false until the first set or clear */
static fault_state states[IM_FAULT_KIND_COUNT];

/* written before threads start (im_fault_from_environment), then only read */
static atomic_bool kill_armed;
static char kill_point[POINT_BYTES];
static atomic_size_t kill_calls;
static size_t kill_target;
static atomic_bool wait_armed;
static char wait_point[POINT_BYTES];
static atomic_size_t wait_calls;
static size_t wait_target;
static unsigned wait_s;

static void start_watching(void)
{
    if (!atomic_load(&watching)) {
        for (size_t i = 0; i < IM_FAULT_KIND_COUNT; i++) {
            atomic_store(&states[i].target, NEVER);
        }
        atomic_store(&watching, true);
    }
}

void im_fault_set(im_fault_kind kind, size_t nth, int errnum)
{
    start_watching();
    fault_state *state = &states[kind];
    atomic_store(&state->target, NEVER);
    atomic_store(&state->calls, 0);
    atomic_store(&state->fired, false);
    atomic_store(&state->errnum, errnum != 0 ? errnum : rows[kind].usual);
    atomic_store(&state->target, nth);
}

void im_fault_clear(void)
{
    start_watching();
    for (size_t i = 0; i < IM_FAULT_KIND_COUNT; i++) {
        atomic_store(&states[i].target, NEVER);
        atomic_store(&states[i].calls, 0);
        atomic_store(&states[i].fired, false);
    }
}

bool im_fault_fired(im_fault_kind kind)
{
    return atomic_load(&states[kind].fired);
}

size_t im_fault_calls(im_fault_kind kind)
{
    return atomic_load(&states[kind].calls);
}

bool im_fault_hit(im_fault_kind kind)
{
    if (!atomic_load_explicit(&watching, memory_order_relaxed)) {
        return false;
    }
    fault_state *state = &states[kind];
    size_t call = atomic_fetch_add(&state->calls, 1);
    if (call != atomic_load(&state->target)) {
        return false;
    }
    atomic_store(&state->fired, true);
    errno = atomic_load(&state->errnum);
    return true;
}

/* The part of text up to the next ':' (or the end); *rest is what follows, NULL when nothing. */
static im_view cut_field(const char *text, const char **rest)
{
    const char *colon = strchr(text, ':');
    *rest = colon != NULL ? colon + 1 : NULL;
    return im_view_of(text, colon != NULL ? (size_t)(colon - text) : strlen(text));
}

static bool parse_number(im_view view, uint64_t max, uint64_t *out)
{
    char digits[24];
    if (view.size >= sizeof digits) {
        return false;
    }
    memcpy(digits, view.data, view.size);
    digits[view.size] = '\0';
    return im_parse_u64(digits, 0, max, out);
}

static bool set_from_text(const char *text)
{
    const char *rest = NULL;
    im_view name = cut_field(text, &rest);
    uint64_t nth = 0;
    uint64_t errnum = 0;
    if (rest == NULL || !parse_number(cut_field(rest, &rest), SIZE_MAX - 1, &nth)) {
        return false;
    }
    if (rest != NULL && !im_parse_u64(rest, 1, 4095, &errnum)) {
        return false;
    }
    for (size_t i = 0; i < IM_FAULT_KIND_COUNT; i++) {
        if (im_view_equal_c(name, rows[i].name)) {
            im_fault_set((im_fault_kind)i, (size_t)nth, (int)errnum);
            return true;
        }
    }
    return false;
}

static bool arm_from_text(const char *text)
{
    const char *rest = NULL;
    im_view name = cut_field(text, &rest);
    uint64_t nth = 0;
    if (name.size == 0 || name.size >= POINT_BYTES ||
        (rest != NULL && !im_parse_u64(rest, 0, SIZE_MAX - 1, &nth))) {
        return false;
    }
    memcpy(kill_point, name.data, name.size);
    kill_point[name.size] = '\0';
    kill_target = (size_t)nth;
    atomic_store(&kill_calls, 0);
    atomic_store(&kill_armed, true);
    return true;
}

/* "encode:1:35" */
static bool wait_from_text(const char *text)
{
    const char *rest = NULL;
    im_view name = cut_field(text, &rest);
    uint64_t nth = 0;
    uint64_t seconds = 0;
    if (name.size == 0 || name.size >= POINT_BYTES || rest == NULL ||
        !parse_number(cut_field(rest, &rest), SIZE_MAX - 1, &nth) || rest == NULL ||
        !im_parse_u64(rest, 1, 3600, &seconds)) {
        return false;
    }
    memcpy(wait_point, name.data, name.size);
    wait_point[name.size] = '\0';
    wait_target = (size_t)nth;
    wait_s = (unsigned)seconds;
    atomic_store(&wait_calls, 0);
    atomic_store(&wait_armed, true);
    return true;
}

/* A test whose setting is not understood would pass without testing anything: stop at once. */
static void refuse(const char *variable, const char *text)
{
    fprintf(stderr, "%s='%s' is not understood (base/fault.h)\n", variable, text);
    abort();
}

void im_fault_from_environment(void)
{
    const char *fault = getenv("IMAGO_FAULT");
    const char *point = getenv("IMAGO_FAULT_KILL");
    const char *wait = getenv("IMAGO_FAULT_WAIT");
    if (fault != NULL && fault[0] != '\0' && !set_from_text(fault)) {
        refuse("IMAGO_FAULT", fault);
    }
    if (point != NULL && point[0] != '\0' && !arm_from_text(point)) {
        refuse("IMAGO_FAULT_KILL", point);
    }
    if (wait != NULL && wait[0] != '\0' && !wait_from_text(wait)) {
        refuse("IMAGO_FAULT_WAIT", wait);
    }
}

static void wait_here(const char *name)
{
    if (atomic_load_explicit(&wait_armed, memory_order_acquire) && strcmp(name, wait_point) == 0 &&
        atomic_fetch_add(&wait_calls, 1) == wait_target) {
        for (unsigned left = wait_s; left > 0;) {
            left = sleep(left);
        }
    }
}

void im_fault_point(const char *name)
{
    wait_here(name);
    if (!atomic_load_explicit(&kill_armed, memory_order_acquire) || strcmp(name, kill_point) != 0) {
        return;
    }
    if (atomic_fetch_add(&kill_calls, 1) == kill_target) {
        (void)kill(getpid(), SIGKILL);
        for (;;) {
            (void)pause(); /* not one instruction of the caller runs after the point */
        }
    }
}
