/* tests/cli/help_run.h — runs command lines through im_cli_main, with app/ replaced by fake_app.c.
 */
#ifndef IM_TESTS_CLI_HELP_RUN_H
#define IM_TESTS_CLI_HELP_RUN_H

#include "base/base.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

typedef struct run_result {
    int code;
    size_t out_size;
    char out[16384];
    char err[16384];
} run_result;

extern run_result result; /* of the last run */

/** Runs a line; `input` (may be NULL) is standard input. Nothing may stay allocated. */
void run_with_input(const char *line, const char *input);
void run(const char *line);
/** Runs a line and asserts its exit code and all that it prints. */
void expect(const char *line, int code, const char *out, const char *err);
/** Set-up of a test: forgets what app/ was prepared to say. */
int run_forget(void **state);

#endif
