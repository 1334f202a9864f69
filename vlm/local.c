/* vlm/local.c — a llama-server of our own: started on loopback with a random port and key, watched,
 * and ended with us. What it writes is kept for the sentence that says why it ended. */
#include "base/clock.h"
#include "base/file.h"
#include "vlm/local_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define KEY_FD 3
#define KEY_PATH "/proc/self/fd/3"
#define WAIT_MS 300000u
#define STEP_MS 100
#define HEALTH_MS 2000u
#define TERM_MS 5000u

extern char **environ;

struct im_vlm_local {
    im_vlm_server server;
    char key[IM_SHA256_HEX];
    char port[8];
    char **arguments; /* [.., NULL]: array owned, texts borrowed */
    char **environment;
    pid_t pid; /* 0: it has been waited for */
    int status;
    int log; /* the reading end of its output */
    local_tail tail;
    const im_vlm_local_listener *listener;
};

/* ---- what it is given ---- */

/* 256 random bits in hex: no other user of this machine can ask it. */
static im_code make_key(im_vlm_local *local, im_error *err)
{
    uint8_t random[IM_SHA256_BYTES];
    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random)) {
        return im_fail_errno(err, errno, "could not get random bytes for a key");
    }
    im_sha256_hex(random, local->key);
    return IM_OK;
}

/* A port that is free now; whoever takes it before the server does makes that end, and another one
 * is tried. */
static im_code find_port(im_vlm_local *local, im_error *err)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool good = fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0 &&
                getsockname(fd, (struct sockaddr *)&at, &size) == 0;
    im_code rc = good ? IM_OK : im_fail_errno(err, errno, "could not find a free port");
    if (fd >= 0) {
        (void)close(fd);
    }
    (void)snprintf(local->port, sizeof(local->port), "%u", ntohs(at.sin_port));
    return rc;
}

/* The user's own arguments come first: of one that is said twice, the server heeds the last. */
static im_code set_arguments(im_vlm_local *local, const im_vlm_local_plan *plan, im_error *err)
{
    const char *own[] = {"--host",  "127.0.0.1", "--port",         local->port,
                         "--model", plan->model, "--mmproj",       plan->mmproj,
                         "--alias", plan->name,  "--api-key-file", KEY_PATH};
    size_t n = 0;
    local->arguments = im_alloc_zero(plan->n_arguments + IM_COUNT(own) + 2, sizeof(char *));
    if (local->arguments == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for arguments");
    }
    local->arguments[n++] = (char *)(uintptr_t)plan->program;
    for (size_t i = 0; i < plan->n_arguments; i++) {
        local->arguments[n++] = (char *)(uintptr_t)plan->arguments[i];
    }
    for (size_t i = 0; i < IM_COUNT(own); i++) {
        local->arguments[n++] = (char *)(uintptr_t)own[i];
    }
    return IM_OK;
}

/* Ours, without keys: that of another server is none of its business, and it would take
 * LLAMA_API_KEY beside its own. */
static im_code set_environment(im_vlm_local *local, im_error *err)
{
    static const char *const dropped[] = {"IMAGO_VLM_KEY=", "LLAMA_API_KEY="};
    size_t n = 0;
    size_t kept = 0;
    while (environ[n] != NULL) {
        n++;
    }
    local->environment = im_alloc_zero(n + 1, sizeof(char *));
    if (local->environment == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for an environment");
    }
    for (size_t i = 0; i < n; i++) {
        bool drop = false;
        for (size_t k = 0; k < IM_COUNT(dropped); k++) {
            drop = drop || strncmp(environ[i], dropped[k], strlen(dropped[k])) == 0;
        }
        if (!drop) {
            local->environment[kept++] = environ[i];
        }
    }
    return IM_OK;
}

/* The key in a file that has no name. */
static im_code key_file(const im_vlm_local *local, int *out_fd, im_error *err)
{
    char line[sizeof(local->key) + 2];
    int size = snprintf(line, sizeof(line), "%s\n", local->key);
    *out_fd = memfd_create("key", MFD_CLOEXEC);
    if (*out_fd < 0) {
        return im_fail_errno(err, errno, "could not make a file for a key");
    }
    return im_file_pwrite(*out_fd, line, (size_t)size, 0, "key", err);
}

/* ---- the process ---- */

/* In the child, where nothing but system calls may be used. */
__attribute__((noreturn)) static void become_server(const im_vlm_local *local, int key, int log,
                                                    pid_t parent)
{
    sigset_t none;
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)signal(SIGPIPE, SIG_DFL);
    (void)signal(SIGINT, SIG_DFL);
    (void)signal(SIGTERM, SIG_DFL);
    (void)setpgid(0, 0); /* Ctrl-C is for us: we end it when we are done with it */
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) {
        _exit(127); /* we died meanwhile */
    }
    int null = open("/dev/null", O_RDONLY);
    bool good = null >= 0 && dup2(null, STDIN_FILENO) >= 0 && dup2(log, STDOUT_FILENO) >= 0 &&
                dup2(log, STDERR_FILENO) >= 0;
    good = good && (key == KEY_FD ? fcntl(key, F_SETFD, 0) == 0 : dup2(key, KEY_FD) >= 0);
    (void)syscall(SYS_close_range, KEY_FD + 1, ~0u, 0);
    if (good) {
        (void)execve(local->arguments[0], local->arguments, local->environment);
    }
    static const char sentence[] = "error: the program could not be run\n";
    (void)!write(STDERR_FILENO, sentence, sizeof(sentence) - 1);
    _exit(127);
}

static im_code start(im_vlm_local *local, im_error *err)
{
    int key = -1;
    int ends[2] = {-1, -1};
    pid_t parent = getpid();
    im_code rc = key_file(local, &key, err);
    if (rc == IM_OK && pipe2(ends, O_CLOEXEC) != 0) {
        rc = im_fail_errno(err, errno, "could not make a pipe");
    }
    if (rc == IM_OK) {
        local->pid = fork();
        if (local->pid == 0) {
            become_server(local, key, ends[1], parent);
        }
        if (local->pid < 0) {
            local->pid = 0;
            rc = im_fail_errno(err, errno, "could not start '%s'", local->arguments[0]);
        }
    }
    if (key >= 0) {
        (void)close(key);
    }
    if (ends[1] >= 0) {
        (void)close(ends[1]);
    }
    if (rc == IM_OK) {
        (void)setpgid(local->pid, local->pid); /* as it does: whoever comes first */
        local->log = ends[0];
        (void)fcntl(local->log, F_SETFL, O_NONBLOCK);
    } else if (ends[0] >= 0) {
        (void)close(ends[0]);
    }
    return rc;
}

/* Reads what it has written by now. */
static void read_log(im_vlm_local *local)
{
    char bytes[4096];
    ssize_t n = 0;
    while ((n = read(local->log, bytes, sizeof(bytes))) > 0) {
        local_tail_add(&local->tail, bytes, (size_t)n, local->listener);
    }
}

/* Looks whether it has ended (or waits for that). What a wrapper script left behind ends with it:
 * its number is not given to another process before it has been waited for. */
static void collect(im_vlm_local *local, bool wait)
{
    siginfo_t info = {0};
    int looked = 0;
    if (local->pid == 0) {
        return;
    }
    do {
        looked = waitid(P_PID, (id_t)local->pid, &info, WEXITED | WNOWAIT | (wait ? 0 : WNOHANG));
    } while (looked < 0 && errno == EINTR);
    if (looked == 0 && info.si_pid == 0) {
        return; /* it runs */
    }
    (void)kill(-local->pid, SIGKILL);
    while (waitpid(local->pid, &local->status, 0) < 0 && errno == EINTR) {
    }
    local->pid = 0;
    read_log(local);
}

bool im_vlm_local_wait(im_vlm_local *local, uint32_t ms)
{
    struct pollfd log = {.fd = local->log, .events = POLLIN};
    if (poll(&log, 1, (int)ms) > 0) {
        read_log(local);
        if ((log.revents & (POLLHUP | POLLERR)) != 0) { /* poll would not wait any more */
            struct pollfd nothing = {.fd = -1};
            (void)poll(&nothing, 1, (int)IM_MIN(ms, 20u));
        }
    }
    collect(local, false);
    return local->pid != 0;
}

im_code im_vlm_local_why(const im_vlm_local *local, im_error *err)
{
    char how[48];
    im_str words;
    if (WIFSIGNALED(local->status)) {
        (void)snprintf(how, sizeof(how), "signal %d", WTERMSIG(local->status));
    } else {
        (void)snprintf(how, sizeof(how), "exit %d", WEXITSTATUS(local->status));
    }
    im_str_init(&words, 1024);
    bool port = local_tail_words(&local->tail, &words);
    im_code rc =
        im_fail(err, port ? IM_ERR_CONFLICT : IM_ERR_UPSTREAM, "llama-server ended (%s)%s%s", how,
                words.size > 0 ? ": " : "", im_str_text(&words));
    im_str_clear(&words);
    return rc;
}

/* ---- health ---- */

static bool is_healthy(const im_vlm_local *local, im_http_client *client)
{
    im_http_rules rules = {0};
    im_http_answer answer = {0};
    char url[64];
    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%s/health", local->port);
    im_http_request request = {.url = url, .timeout_ms = HEALTH_MS};
    im_code rc = im_http_send(client, &rules, &request, &answer, NULL);
    bool healthy = rc == IM_OK && answer.status == 200 && local_port_is_ours(local->port);
    im_http_answer_clear(&answer);
    return healthy;
}

static im_code await(im_vlm_local *local, uint32_t wait_ms, im_error *err)
{
    im_http_client *client = NULL;
    uint64_t start = im_clock_ns();
    im_code rc = im_http_open(&client, err);
    while (rc == IM_OK) {
        double waited = im_clock_ms_since(start);
        if (im_stop_asked()) {
            rc = im_fail_as(err, IM_REASON_INTERRUPTED, "stopped while llama-server was starting");
        } else if (!im_vlm_local_wait(local, STEP_MS)) {
            rc = im_vlm_local_why(local, err);
        } else if (is_healthy(local, client) && im_vlm_local_wait(local, 0)) {
            break;
        } else if (waited > wait_ms) {
            im_str words;
            im_str_init(&words, 1024);
            (void)local_tail_words(&local->tail, &words);
            rc = im_fail(err, IM_ERR_TIMEOUT, "llama-server was not ready after %u s%s%s",
                         wait_ms / 1000, words.size > 0 ? ": " : "", im_str_text(&words));
            im_hint(err, "a large model takes long to load: --wait SECONDS");
            im_str_clear(&words);
        } else if (local->listener != NULL && local->listener->waiting != NULL) {
            local->listener->waiting(local->listener->context, waited / 1000);
        }
    }
    im_http_close(client);
    return rc;
}

/* ---- all ---- */

im_code im_vlm_local_open(const im_vlm_local_plan *plan, uint32_t wait_ms,
                          const im_vlm_local_listener *listener, im_vlm_local **out, im_error *err)
{
    char url[64];
    im_vlm_local *local = im_alloc_zero(1, sizeof(*local));
    if (local == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a server");
    }
    local->log = -1;
    local->listener = listener;
    im_code rc = make_key(local, err);
    if (rc == IM_OK) {
        rc = find_port(local, err);
    }
    if (rc == IM_OK) {
        rc = set_arguments(local, plan, err);
    }
    if (rc == IM_OK) {
        rc = set_environment(local, err);
    }
    if (rc == IM_OK) {
        (void)snprintf(url, sizeof(url), "http://127.0.0.1:%s", local->port);
        rc = im_vlm_server_of(url, plan->name, IM_VLM_LLAMA_SERVER, &local->server, err);
        memcpy(local->server.id, plan->id, sizeof(local->server.id));
    }
    if (rc == IM_OK) {
        rc = start(local, err);
    }
    if (rc == IM_OK) {
        rc = await(local, wait_ms != 0 ? wait_ms : WAIT_MS, err);
    }
    if (rc != IM_OK) {
        im_vlm_local_close(local);
        return rc;
    }
    *out = local;
    return IM_OK;
}

const im_vlm_server *im_vlm_local_server(const im_vlm_local *local)
{
    return &local->server;
}

const char *im_vlm_local_key(const im_vlm_local *local)
{
    return local->key;
}

int im_vlm_local_pid(const im_vlm_local *local)
{
    return (int)local->pid;
}

void im_vlm_local_close(im_vlm_local *local)
{
    if (local == NULL) {
        return;
    }
    if (local->pid != 0) {
        pid_t group = -local->pid; /* with what a wrapper script started */
        uint64_t start = im_clock_ns();
        (void)kill(group, SIGTERM);
        while (im_clock_ms_since(start) < TERM_MS && im_vlm_local_wait(local, STEP_MS)) {
        }
        (void)kill(group, SIGKILL);
        collect(local, true);
    }
    if (local->log >= 0) {
        (void)close(local->log);
    }
    im_free(local->arguments);
    im_free(local->environment);
    memset(local->key, 0, sizeof(local->key));
    im_free(local);
}
