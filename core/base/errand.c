/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/base/errand.h"

#include <assert.h>

#include "core/base/thread.h"

/* Joined first, as it may still be inside mailbox_send; that does not block. */
static void run_home(struct message *message)
{
    struct errand *errand = containerof(message, struct errand, message);
    int ret = pthread_join(errand->thread, NULL);

    assert(ret == 0);
    (void)ret;
    errand->done(errand);
}

static void *run_errand(void *arg)
{
    struct errand *errand = arg;

    thread_set_name("errand");
    errand->run(errand);
    mailbox_send(errand->home, &errand->message);
    return NULL;
}

int errand_send(struct errand *errand, struct mailbox *home)
{
    errand->home = home;
    errand->message.run = run_home;
    return thread_start(&errand->thread, run_errand, errand);
}
