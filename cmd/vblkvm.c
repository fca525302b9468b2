/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * vblkvm: guest options; then vm_run().
 */

#include <signal.h>
#include <stdlib.h>

#include "cmd/vm/vm.h"
#include "core/base/log.h"
#include "core/base/std_fds.h"

int main(int argc, char **argv)
{
    static struct vm_options options;
    struct err err = {0};
    int status;

    if (std_fds_fill(&err) < 0) {
        log_plain("vblkvm: %s", err.text);
        return EXIT_FAILURE;
    }
    status = options_parse(&options, argc, argv);
    if (status >= 0) {
        return status;
    }
    log_set_name("vblkvm");
    if (log_start(&err) < 0) { /* no guest waits for whoever reads standard error */
        log_error("%s", err.text);
        return EXIT_FAILURE;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN); /* a console that is a file past its limit ends no guest */
    status = vm_run(&options);
    (void)log_stop(LOG_STOP_MS); /* what nobody has read by then is lost */
    return status;
}
