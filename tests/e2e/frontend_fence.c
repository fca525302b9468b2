/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * frontend-fence SOCKET write|read: one request of 4096 bytes at offset 8192, of the byte 'O', that
 * may take long, and that the next daemon is to try again when this one is killed.  Print "ready"
 * when it was sent, "answered STATUS" when it is answered, and then
 * write  write the same place anew, of the byte 'N', and print "newer STATUS"
 * read   use its memory for something else, and print "changed" if that does not stay
 * and stay connected until killed.
 */

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/frontend.h"

#define DATA_BYTES 4096
#define FIRST_SECTOR 16

static struct frontend fe;

static void say(const char *text, unsigned status)
{
    printf("%s %u\n", text, status);
    (void)fflush(stdout);
}

static struct frontend_request *send_one(uint32_t type, int byte)
{
    struct frontend_request *request =
        frontend_prepare(&fe.ring[0], type, FIRST_SECTOR, DATA_BYTES);

    if (!request) {
        errx(EXIT_FAILURE, "no room for a request");
    }
    memset(request->data, byte, DATA_BYTES);
    frontend_put(request);
    frontend_kick(&fe.ring[0]);
    return request;
}

/* The daemon may go, and another one come. */
static unsigned await_answer(void)
{
    struct frontend_request *request;

    while (!(request = frontend_reap(&fe.ring[0]))) {
        (void)frontend_wait(&fe, 100); /* silence is fine */
    }
    frontend_release(request);
    return request->blk->status;
}

static void watch_memory(const uint8_t *data)
{
    static const uint8_t newer[DATA_BYTES] = {[0 ... DATA_BYTES - 1] = 'N'};
    bool is_told = false;

    for (;;) {
        (void)frontend_wait(&fe, 10);
        if (!is_told && memcmp(data, newer, sizeof(newer)) != 0) {
            printf("changed\n");
            (void)fflush(stdout);
            is_told = true;
        }
    }
}

int main(int argc, char **argv)
{
    bool reads = argc > 2 && strcmp(argv[2], "read") == 0;
    const struct frontend_opts opts = {
        .socket = argc > 1 ? argv[1] : "",
        .queues = 1,
        .queue_size = 128,
        .depth = 4,
        .request_bytes = DATA_BYTES,
        .is_tracked = true,
        .follows = true,
    };
    struct frontend_request *request;

    frontend_init(&fe, &opts);
    if (frontend_start(&fe) < 0) {
        errx(EXIT_FAILURE, "%s", fe.bus.err.text);
    }
    request = send_one(reads ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT, 'O');
    say("ready", 0);
    say("answered", await_answer());
    if (reads) {
        memset(request->data, 'N', DATA_BYTES);
        say("newer", 0);
        watch_memory(request->data);
    }
    (void)send_one(VIRTIO_BLK_T_OUT, 'N');
    say("newer", await_answer());
    for (;;) {
        (void)frontend_wait(&fe, 100);
    }
}
