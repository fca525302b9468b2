/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE 1 /* pipe2 */
#include "cmd/ctl/upgrade.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/common/answer.h"
#include "cmd/common/rpc.h"
#include "cmd/ctl/print.h"
#include "core/base/log.h"

#define REPORT_BYTES 1024

/* `make install` has programs for root in another directory than ours. */
static const char *const places[] = {"vblkd", "../sbin/vblkd"};

/* The vblkd that was built, or installed, with this vblkctl.  Returns false when there is none. */
static bool find_binary(char path[PATH_MAX])
{
    char own[PATH_MAX - 32];
    ssize_t len = readlink("/proc/self/exe", own, sizeof(own) - 1);
    char *end;

    own[len > 0 ? len : 0] = '\0';
    end = strrchr(own, '/');
    for (unsigned i = 0; end && i < ARRAY_SIZE(places); i++) {
        end[1] = '\0';
        (void)snprintf(path, PATH_MAX, "%s%s", own, places[i]); /* fits */
        if (access(path, X_OK) == 0) {
            return true;
        }
    }
    return false;
}

/* Whom it is told how it went by what the other writes to its standard output. */
static pid_t start_binary(const char *path, const char *control, int report)
{
    pid_t pid = fork();

    if (pid == 0) {
        if (dup2(report, STDOUT_FILENO) >= 0) {
            (void)execl(path, "vblkd", "--take-over", control, (char *)NULL);
        }
        log_plain("vblkctl: cannot run %s: %s", path, strerror(errno));
        _exit(STATUS_REFUSED);
    }
    return pid;
}

/* Until it is closed, which it is when all is over, well or not. */
static json_t *read_report(int fd)
{
    char text[REPORT_BYTES];
    size_t used = 0;
    ssize_t got;

    do {
        got = read(fd, text + used, sizeof(text) - used);
        used += got > 0 ? (size_t)got : 0;
    } while ((got > 0 && used < sizeof(text)) || (got < 0 && errno == EINTR));
    return json_loadb(text, used, 0, NULL);
}

static void print_upgraded(const json_t *result, const struct args *args)
{
    uint64_t disks = print_number_of(result, "disks");

    (void)args;
    printf("%" PRIu64 " disk%s went from process %" PRIu64 " to %" PRIu64 ", paused for %.1f ms\n",
           disks, disks == 1 ? "" : "s", print_number_of(result, "from"),
           print_number_of(result, "to"), (double)print_number_of(result, "paused_us") / 1e3);
}

/* Why it came to nothing it has said itself, on standard error. */
static int run_binary(const char *path, const struct args *args, struct err *err)
{
    json_auto_t *report = NULL;
    int pipe_fds[2];
    int status = 0;
    pid_t pid;

    if (pipe2(pipe_fds, O_CLOEXEC) < 0) {
        return err_set(err, -errno, "a pipe");
    }
    pid = start_binary(path, args->control, pipe_fds[1]);
    close(pipe_fds[1]);
    if (pid < 0) {
        close(pipe_fds[0]);
        return err_set(err, -errno, "cannot start %s", path);
    }
    report = read_report(pipe_fds[0]);
    close(pipe_fds[0]);
    if (!json_is_object(report)) {
        (void)waitpid(pid, &status, 0);
        return err_say(err, -ECANCELED,
                       "not upgraded: the vblkd that runs goes on with its disks (%s)", path);
    }
    answer_print(report, args, print_upgraded);
    return 0;
}

/* That one runs, and answers, is known by now; what it answers to `upgrade` the new one is told. */
int upgrade_run(struct rpc *rpc, const struct args *args)
{
    const char *asked = json_string_value(json_object_get(args->own, "binary"));
    char found[PATH_MAX];
    struct err err = {0};
    int ret;

    (void)rpc;
    if (!asked && !find_binary(found)) {
        ret = err_say(&err, -ENOENT, "no vblkd lies beside this vblkctl: name it by --binary");
    } else {
        ret = run_binary(asked ? asked : found, args, &err);
    }
    if (ret < 0) {
        log_plain("vblkctl: %s", err.text);
    }
    return ret < 0 ? STATUS_REFUSED : STATUS_OK;
}
