/* daemon/watch_mounts.c — disks that come and go below a followed folder: nobody tells the folder,
 * but the table of mounts can be waited for. And which file systems tell of too little. */
#include "daemon/watch_internal.h"

#include "base/base.h"
#include "base/hash.h"

#include <fcntl.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#define TABLE_BYTES (4u << 20)

/* File systems that others change behind this machine's back: inotify tells of local changes alone.
 * Numbers of statfs(2); of FUSE nobody knows what stands behind it. */
static const uint32_t far_systems[] = {
    0x00006969, /* nfs */
    0x0000517b, /* smb */
    0xfe534d42, /* smb2 */
    0xff534d42, /* cifs */
    0x65735546, /* fuse */
    0x01021997, /* 9p */
    0x00c36400, /* ceph */
    0x5346414f, /* afs */
    0x6b414653, /* kafs */
    0x73757245, /* coda */
    0x0bd00bd0, /* lustre */
    0x47504653, /* gpfs */
    0x01161970, /* gfs2 */
    0x7461636f, /* ocfs2 */
    0x786f4256, /* vboxsf */
    0x0000564c, /* ncp */
};

bool mounts_is_far(const char *path)
{
    struct statfs fs;
    bool far = false;
    if (statfs(path, &fs) == 0) {
        for (size_t i = 0; i < IM_COUNT(far_systems); i++) {
            far = far || (uint32_t)fs.f_type == far_systems[i];
        }
    }
    return far;
}

int mounts_open(void)
{
    return open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
}

static void read_table(int fd, im_str *out)
{
    char piece[8192];
    ssize_t n = lseek(fd, 0, SEEK_SET) == 0 ? 1 : 0;
    while (n > 0) {
        n = read(fd, piece, sizeof(piece));
        if (n > 0) {
            im_str_add(out, piece, (size_t)n);
        }
    }
}

/* "\040" and its like, in place. */
static void unescape(char *text)
{
    char *to = text;
    for (const char *at = text; *at != '\0'; to++) {
        bool octal = at[0] == '\\' && at[1] >= '0' && at[1] <= '3' && at[2] >= '0' &&
                     at[2] <= '7' && at[3] >= '0' && at[3] <= '7';
        *to = octal ? (char)((at[1] - '0') * 64 + (at[2] - '0') * 8 + (at[3] - '0')) : *at;
        at += octal ? 4 : 1;
    }
    *to = '\0';
}

/* The fifth field of a line; NULL when there is none. The line is changed. */
static char *mount_point(char *line)
{
    char *at = line;
    for (int i = 0; i < 4 && at != NULL; i++) {
        at = strchr(at, ' ');
        at += at != NULL;
    }
    if (at != NULL) {
        at[strcspn(at, " ")] = '\0';
        unescape(at);
    }
    return at;
}

uint32_t mounts_below(int fd, const char *root)
{
    im_str table;
    uint32_t sum = 0;
    size_t n_root = strcmp(root, "/") == 0 ? 0 : strlen(root);
    im_str_init(&table, TABLE_BYTES);
    read_table(fd, &table);
    char *line = table.failed || table.size == 0 ? NULL : table.data;
    while (line != NULL && line[0] != '\0') {
        char *end = strchr(line, '\n');
        if (end != NULL) {
            *end = '\0';
        }
        uint32_t whole = im_crc32c(0, line, strlen(line)); /* its number and device too */
        const char *point = mount_point(line);
        if (point != NULL && strncmp(point, root, n_root) == 0 && point[n_root] == '/') {
            sum = im_crc32c(sum, &whole, sizeof(whole));
        }
        line = end != NULL ? end + 1 : NULL;
    }
    im_str_clear(&table);
    return sum;
}
