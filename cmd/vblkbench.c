/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * vblkbench: workload options; connects as a front-end and drives a disk.
 */

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>

#include "cmd/bench/load_run.h"
#include "cmd/bench/report.h"
#include "cmd/common/lookup.h"
#include "core/base/log.h"
#include "core/base/std_fds.h"

/* Only vblkd says which disks store nothing. */
static int check_write(const struct bench_options *options, const struct lookup *found,
                       struct err *err)
{
    if (!bench_writes(options) || options->allows_write || found->keeps_nothing) {
        return 0;
    }
    (void)err_say(err, -EPERM, "%s: --rw %s overwrites what is on the disk", options->disk,
                  bench_rw_name(options->rw));
    err_hint(err, "if you are sure, add --allow-write");
    return -EPERM;
}

/* What went wrong while the load ran, if anything. */
static bool is_sound(const struct load *load)
{
    uint64_t count = load->result.errors + load->verify.wrong;

    if (count > 0) {
        log_error("%s: %s%s", load->options->disk, load->first_error.text,
                  count > 1 ? " (the first of several)" : "");
    }
    return count == 0;
}

static int run(struct front *front, const struct bench_options *options, const char *socket,
               struct err *err)
{
    static struct load load;
    int ret = load_init(&load, options, front, err);

    if (ret < 0) {
        return ret;
    }
    ret = load_run(&load, err);
    if (!report_print(&load, socket) && ret == 0) {
        ret = err_set(err, -errno, "standard output");
    }
    if (!is_sound(&load) && ret == 0) {
        ret = load.first_error.code;
        err->text[0] = '\0'; /* said already */
    }
    load_fini(&load);
    return ret;
}

int main(int argc, char **argv)
{
    struct bench_options options;
    struct front front;
    struct lookup found;
    struct err err = {0};
    int ret;

    if (std_fds_fill(&err) < 0) {
        log_plain("vblkbench: %s", err.text);
        return EXIT_FAILURE;
    }
    ret = bench_options_parse(&options, argc, argv);
    if (ret >= 0) {
        return ret;
    }
    log_set_name("vblkbench");
    (void)signal(SIGPIPE, SIG_IGN);
    ret = lookup_disk(&found, options.disk, options.control, &err);
    if (ret == 0) {
        ret = check_write(&options, &found, &err);
    }
    if (ret == 0) {
        ret = front_open(&front, &options, found.socket, found.queue_size, &err);
    }
    if (ret == 0) {
        ret = run(&front, &options, found.socket, &err);
        front_close(&front);
    }
    if (ret < 0 && err.text[0]) {
        log_error("%s", err.text);
    }
    return ret < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
