/* app/lists.c — a growing list of ids. */
#include "app/app_internal.h"

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
