/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * vblkvm: guest options; then vm_run().
 */

#include <signal.h>

#include "cmd/vm/vm.h"
#include "core/log.h"

int main(int argc, char **argv)
{
    static struct vm_options options;
    int status = options_parse(&options, argc, argv);

    if (status >= 0) {
        return status;
    }
    log_set_name("vblkvm");
    (void)signal(SIGPIPE, SIG_IGN);
    return vm_run(&options);
}
