/* tests/store/help_backup.h — a library, its backup and a second library, that the tests of backups
 * share. */
#ifndef IM_TESTS_STORE_HELP_BACKUP_H
#define IM_TESTS_STORE_HELP_BACKUP_H

#include "base/fault.h"
#include "tests/store/help.h"

#define HELP_BACKUP_ITEMS 30

typedef struct help_backup {
    char *folder; /* holds all of the following; only the library is there at first */
    char library[256], backup[256], other[256];
} help_backup;

int help_backup_set_up(void **state);
int help_backup_tear_down(void **state);

/** A library of the items first … first + HELP_BACKUP_ITEMS - 1, with fields, a tag, originals. */
void help_backup_library(const char *folder, uint64_t first);
/** Writes library/originals/name. */
void help_backup_original(const char *library, const char *name, const char *text);
/** Backs up what help_backup_library made, and checks what is told about it. */
void help_back_up(const char *library, const char *file);
im_code help_restore(const char *file, const char *folder, im_error *out_err);
/** The first item's number, from its content, of a sound library. UINT64_MAX when there is none. */
uint64_t help_first_of(const char *folder);
/** Asserts that neither half a backup nor half a restore is left in folder. */
void help_check_no_leftovers(const char *folder);
/** A progress function: goes on as many times as *(int *)context says, then stops. */
bool help_stop_after(void *context, uint64_t done, uint64_t total);
/** Asserts that a process that does `work` is killed at the place IMAGO_FAULT_KILL calls point. */
void help_die_at(const help_backup *f, const char *point, void (*work)(const help_backup *f));

typedef struct help_backup_fault {
    im_fault_kind kind;
    int errnum;
    im_code wanted, also;
    size_t step; /* between the places tried, after the first of them */
    const char *name;
} help_backup_fault;

#define HELP_BACKUP_FAULTS 7
extern const help_backup_fault help_backup_faults[HELP_BACKUP_FAULTS];

#endif
