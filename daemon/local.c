/* daemon/local.c — the Unix socket of a library, by which the command line finds its daemon. A lock
 * beside it tells whether a daemon lives: the kernel gives it back however that one ends, and the
 * socket that is left over is then replaced. */
#include "daemon/daemon_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* The folder of `path`: made, and nobody else's. */
static im_code make_folder(const char *path, im_error *err)
{
    struct stat facts;
    char folder[sizeof(((struct sockaddr_un *)0)->sun_path)];
    const char *slash = strrchr(path, '/');
    (void)snprintf(folder, sizeof(folder), "%.*s", (int)(slash - path), path);
    if (mkdir(folder, 0700) != 0 && errno != EEXIST) {
        return im_fail_errno(err, errno, "could not make the folder '%s'", folder);
    }
    if (lstat(folder, &facts) != 0) {
        return im_fail_errno(err, errno, "could not look at the folder '%s'", folder);
    }
    if (!S_ISDIR(facts.st_mode) || facts.st_uid != geteuid()) {
        return im_fail(err, IM_ERR_DENIED, "'%s' is no folder of the user who runs imago", folder);
    }
    if ((facts.st_mode & 077) != 0 && chmod(folder, 0700) != 0) {
        return im_fail_errno(err, errno, "could not close the folder '%s' to others", folder);
    }
    return IM_OK;
}

/* "….sock" → "….lock" */
static im_code take_lock(const char *path, int *out_fd, im_error *err)
{
    char name[sizeof(((struct sockaddr_un *)0)->sun_path) + 8];
    (void)snprintf(name, sizeof(name), "%.*slock", (int)(strlen(path) - strlen("sock")), path);
    int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return im_fail_errno(err, errno, "could not open '%s'", name);
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        int failed = errno;
        (void)close(fd);
        if (failed != EWOULDBLOCK) {
            return im_fail_errno(err, failed, "could not lock '%s'", name);
        }
        im_code rc = im_fail(err, IM_ERR_CONFLICT, "another 'imago serve' has this library");
        im_hint(err, "one daemon can listen on several addresses: repeat --listen");
        return rc;
    }
    *out_fd = fd;
    return IM_OK;
}

static im_code listen_on(const char *path, int *out_fd, im_error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return im_fail_errno(err, errno, "could not make a socket for '%s'", path);
    }
    (void)unlink(path); /* whose daemon has ended: the lock is ours */
    /* nobody else gets into the folder, so that the socket is closed to others from its birth */
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 || chmod(path, 0600) != 0 ||
        listen(fd, 512) != 0) {
        im_code rc = im_fail_errno(err, errno, "could not listen on '%s'", path);
        (void)close(fd);
        return rc;
    }
    *out_fd = fd;
    return IM_OK;
}

im_code local_open(const char *path, listener *out, im_error *err)
{
    listener l = {.fd = -1, .loopback = true, .lock = -1};
    im_code rc = make_folder(path, err);
    if (rc == IM_OK) {
        rc = take_lock(path, &l.lock, err);
    }
    if (rc == IM_OK) {
        l.path = im_strdup(path);
        rc = l.path != NULL ? IM_OK : im_fail(err, IM_ERR_NOMEM, "no memory for a path");
    }
    if (rc == IM_OK) {
        rc = listen_on(path, &l.fd, err);
    }
    if (rc != IM_OK) {
        im_free(l.path);
        if (l.lock >= 0) {
            (void)close(l.lock);
        }
        return rc;
    }
    *out = l;
    return IM_OK;
}

void local_close(listener *l)
{
    (void)unlink(l->path);
    (void)close(l->fd);
    (void)close(l->lock);
    im_free(l->path);
    *l = (listener){.fd = -1, .lock = -1};
}
