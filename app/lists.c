/* app/lists.c — growing lists of ids and of names. */
#include "app/app_internal.h"

#include <dirent.h>

bool id_list_add(id_list *list, uint64_t id)
{
    if (list->n == list->capacity) {
        size_t wanted = list->capacity == 0 ? 64 : list->capacity * 2;
        uint64_t *grown = im_realloc(list->ids, wanted, sizeof(*grown));
        if (grown == NULL) {
            return false;
        }
        list->ids = grown;
        list->capacity = wanted;
    }
    list->ids[list->n++] = id;
    return true;
}

static int compare_ids(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

void id_list_sort(id_list *list)
{
    if (list->n > 1) {
        qsort(list->ids, list->n, sizeof(*list->ids), compare_ids);
    }
}

bool id_list_has(const id_list *sorted, uint64_t id)
{
    return sorted->n > 0 &&
           bsearch(&id, sorted->ids, sorted->n, sizeof(*sorted->ids), compare_ids) != NULL;
}

void id_list_clear(id_list *list)
{
    im_free(list->ids);
    *list = (id_list){0};
}

bool name_list_add(name_list *list, const char *name)
{
    if (list->n == list->capacity) {
        size_t wanted = list->capacity == 0 ? 64 : list->capacity * 2;
        char **grown = im_realloc(list->names, wanted, sizeof(*grown));
        if (grown == NULL) {
            return false;
        }
        list->names = grown;
        list->capacity = wanted;
    }
    char *copy = im_strdup(name);
    if (copy != NULL) {
        list->names[list->n++] = copy;
    }
    return copy != NULL;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void name_list_sort(name_list *list)
{
    if (list->n > 1) {
        qsort(list->names, list->n, sizeof(*list->names), compare_names);
    }
}

im_code names_in_folder(const char *folder, bool (*keep)(const char *folder, const char *name),
                        name_list *out, im_error *err)
{
    im_code rc = IM_OK;
    DIR *dir = opendir(folder);
    struct dirent *entry = NULL;
    *out = (name_list){0};
    while (dir != NULL && rc == IM_OK && (entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] != '.' && keep(folder, entry->d_name) &&
            !name_list_add(out, entry->d_name)) {
            rc = im_fail(err, IM_ERR_NOMEM, "no memory for the names in '%s'", folder);
        }
    }
    if (dir != NULL) {
        closedir(dir);
    }
    if (rc != IM_OK) {
        name_list_clear(out);
    }
    name_list_sort(out);
    return rc;
}

void name_list_clear(name_list *list)
{
    for (size_t i = 0; i < list->n; i++) {
        im_free(list->names[i]);
    }
    im_free(list->names);
    *list = (name_list){0};
}
