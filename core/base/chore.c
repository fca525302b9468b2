/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/base/chore.h"

#include "core/base/thread.h"

/*
 * Of all chores.  Held while one is sent home, so that a sender who has abandoned it knows that
 * nobody is inside its mailbox, nor will be.
 */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static unsigned abandoned; /* under the mutex */

/* It is not joined: it may never come back. */
static int start_detached(void *(*run)(void *arg), struct chore *chore)
{
    pthread_t thread;
    int ret = thread_start(&thread, run, chore);

    if (ret == 0) {
        (void)pthread_detach(thread);
    }
    return ret;
}

static void undo_chore(struct chore *chore)
{
    chore->undo(chore);
    pthread_mutex_lock(&mutex);
    abandoned--;
    pthread_mutex_unlock(&mutex);
}

static void *undo_apart(void *arg)
{
    struct chore *chore = arg;

    thread_set_name(chore->name);
    undo_chore(chore);
    return NULL;
}

/* What was abandoned when it was on its way home is not undone here where that may block. */
static void run_chore_home(struct message *message)
{
    struct chore *chore = containerof(message, struct chore, message);

    pthread_mutex_lock(&mutex); /* the thread has left the mailbox */
    pthread_mutex_unlock(&mutex);
    if (!chore->is_abandoned) {
        chore->done(chore);
    } else if (chore->is_undone_at_once || start_detached(undo_apart, chore) < 0) {
        undo_chore(chore);
    }
}

static void *run_chore(void *arg)
{
    struct chore *chore = arg;
    bool is_abandoned;

    thread_set_name(chore->name);
    chore->run(chore);
    pthread_mutex_lock(&mutex);
    is_abandoned = chore->is_abandoned;
    if (!is_abandoned) {
        mailbox_send(chore->home, &chore->message);
    }
    pthread_mutex_unlock(&mutex);
    if (is_abandoned) {
        undo_chore(chore);
    }
    return NULL;
}

int chore_send(struct chore *chore, struct mailbox *home)
{
    chore->home = home;
    chore->message.run = run_chore_home;
    chore->is_abandoned = false;
    return start_detached(run_chore, chore);
}

void chore_abandon(struct chore *chore)
{
    pthread_mutex_lock(&mutex);
    chore->is_abandoned = true;
    abandoned++;
    pthread_mutex_unlock(&mutex);
}

unsigned chore_abandoned(void)
{
    unsigned count;

    pthread_mutex_lock(&mutex);
    count = abandoned;
    pthread_mutex_unlock(&mutex);
    return count;
}
