/* tests/help_bus.c — keeping our SIGBUS handler under cmocka. */
#include "tests/help_bus.h"
#include "tests/help_folder.h"

#include "base/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static struct sigaction bus_handler;

void learn_bus_handler(void)
{
    char folder[HELP_FOLDER_BYTES];
    char path[HELP_FOLDER_BYTES + 8];
    im_map *map = NULL;
    int fd = -1;
    if (help_temporary(folder) != NULL) {
        (void)snprintf(path, sizeof(path), "%s/mapped", folder);
        fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
    }
    if (fd >= 0 && write(fd, path, sizeof(path)) > 0 &&
        im_map_fd(fd, sizeof(path), path, &map, NULL) == IM_OK) {
        sigaction(SIGBUS, NULL, &bus_handler);
    }
    im_map_close(map);
    close(fd);
    (void)help_remove_folder(folder);
}

void use_bus_handler(void)
{
    assert_int_equal(sigaction(SIGBUS, &bus_handler, NULL), 0);
}
