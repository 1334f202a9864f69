/* search.c — index a folder, then find pictures in it by words.
 *
 *     cc search.c $(pkg-config --cflags --libs imago) -o search
 *     ./search LIBRARY FOLDER WORDS */
#include <imago/imago.h>
#include <stdio.h>

static void tell(void *context, const imago_progress *progress)
{
    (void)context;
    if (progress->path != NULL) {
        fprintf(stderr, "left out: %s\n", progress->failure->message);
    }
}

static int failed(const imago_error *error)
{
    fprintf(stderr, "%s: %s\n", imago_code_name(error->code), error->message);
    return (int)error->code;
}

static void print_hits(const imago_answer *answer)
{
    size_t i;
    for (i = 0; i < imago_answer_n_hits(answer); i++) {
        const imago_hit *hit = imago_answer_hit(answer, i);
        printf("%6.2f  %s\n", hit->score, hit->path != NULL ? hit->path : "(no file)");
    }
}

int main(int argc, char **argv)
{
    imago_library *library = NULL;
    imago_query *query = NULL;
    imago_answer *answer = NULL;
    imago_error error;
    int status = 0;
    if (argc != 4) {
        fprintf(stderr, "usage: search LIBRARY FOLDER WORDS\n");
        return 2;
    }
    if (imago_library_open(argv[1], IMAGO_CREATE, NULL, &library, &error) != IMAGO_OK) {
        return failed(&error);
    }
    if (imago_library_add(library, (const char *const *)&argv[2], 1, tell, NULL, NULL, &error) !=
        IMAGO_OK) {
        status = failed(&error); /* perhaps only for some: search what is there */
    }
    if (imago_query_new(&query, &error) == IMAGO_OK &&
        imago_query_add_text(query, argv[3], IMAGO_WHOLE, 1.0, &error) == IMAGO_OK &&
        imago_search(library, query, &answer, &error) == IMAGO_OK) {
        print_hits(answer);
    } else {
        status = failed(&error);
    }
    imago_answer_free(answer);
    imago_query_free(query);
    imago_library_close(library);
    return status;
}
