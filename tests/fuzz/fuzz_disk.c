/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * A whole disk on its own threads, with control before it and a front-end that means harm behind
 * it.  The input is a disk's options and then steps of 5 bytes: messages, rings, kicks, a thread
 * that flips memory, files that are cut off, connections; and what control does meanwhile.
 *
 * At the end of each: all that control was asked is answered, the disk serves a good front-end
 * that comes then, another disk has served its own, the disk can be removed, and no file and no
 * mapping is left.
 */

#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/fuzz/host.h"
#include "tests/fuzz/peer.h"
#include "tests/lib/frontend.h"

#define DISK_BYTES (1u << 20)
#define RESIZED_MAX (2u << 20)
#define PATIENCE_NS (30 * NS_PER_S)
#define STEPS_MAX 96u
#define WAIT_NS (2 * NS_PER_S / 1000)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char hostile_path[HOST_PATH_BYTES];
static char good_path[HOST_PATH_BYTES];
static char image_path[HOST_PATH_BYTES];
static char other_path[HOST_PATH_BYTES];
static struct frontend good; /* of the other disk */
static unsigned files_before;

/* ---- disks ---- */

static void call_done(const char *method, const char *params)
{
    json_t *result = host_call(method, params, true);

    assert(result);
    json_decref(result);
}

static void make_file(const char *path, uint64_t bytes)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    assert(fd >= 0 && ftruncate(fd, (off_t)bytes) == 0);
    close(fd);
}

/* What the first two bytes of the input say. */
static void add_disk(const uint8_t *choice)
{
    static const char *const engines[] = {"auto", "aio", "io_uring", "auto"};
    char image[256], params[512];
    bool is_file = choice[0] & 1;

    if (is_file) {
        (void)snprintf(image, sizeof(image),
                       "\"type\": \"file\", \"path\": \"%s\", \"format\": \"raw\", \"cache\": "
                       "\"writeback\"",
                       image_path);
    } else {
        (void)snprintf(image, sizeof(image), "\"type\": \"null\", \"size\": %u, \"delay_ms\": %u",
                       DISK_BYTES, choice[0] >> 1 & 1);
    }
    (void)snprintf(params, sizeof(params),
                   "{\"name\": \"hostile\", \"image\": {%s}, \"queues\": 2, \"queue_size\": 64, "
                   "\"threads\": %u, \"engine\": \"%s\", \"poll_us\": %u, \"in_order\": \"%s\", "
                   "\"detect_zeroes\": \"%s\", \"on_write_error\": \"%s\"}",
                   image, 1 + (choice[0] >> 2 & 1), is_file ? engines[choice[0] >> 3 & 3] : "auto",
                   choice[0] & 32 ? 50 : 0, choice[0] & 64 ? "on" : "off",
                   choice[0] & 128 ? "unmap" : "off", choice[1] & 1 ? "stop" : "report");
    call_done("disk.add", params);
}

static void round_trip(struct frontend *fe, bool stores)
{
    static unsigned round;
    static uint8_t out[4096], in[4096];

    memset(out, (int)(++round & 0xff), sizeof(out));
    memset(in, 0, sizeof(in));
    for (unsigned i = 0; i < fe->opts.queues; i++) {
        struct frontend_ring *ring = &fe->ring[i];

        assert(frontend_do(ring, VIRTIO_BLK_T_OUT, i * 8, out, sizeof(out)) == VIRTIO_BLK_S_OK);
        assert(frontend_do(ring, VIRTIO_BLK_T_FLUSH, 0, NULL, 0) == VIRTIO_BLK_S_OK);
        assert(frontend_do(ring, VIRTIO_BLK_T_IN, i * 8, in, sizeof(in)) == VIRTIO_BLK_S_OK);
        assert(!stores || memcmp(in, out, sizeof(in)) == 0);
    }
}

static void begin(struct frontend *fe, const char *socket)
{
    const struct frontend_opts opts = {
        .socket = socket, .queues = 2, .queue_size = 16, .depth = 4, .request_bytes = 4096};
    uint64_t deadline_ns = now_ns() + PATIENCE_NS;

    frontend_init(fe, &opts);
    while (frontend_start(fe) < 0) {
        frontend_disconnect(fe);
        host_turn_until(deadline_ns);
    }
}

static void add_good_disk(void)
{
    char path[HOST_PATH_BYTES], params[384];

    host_path(path, "good.img");
    make_file(path, DISK_BYTES);
    (void)snprintf(params, sizeof(params),
                   "{\"name\": \"good\", \"image\": {\"type\": \"file\", \"path\": \"%s\", "
                   "\"format\": \"raw\", \"cache\": \"writeback\"}, \"queues\": 2}",
                   path);
    call_done("disk.add", params);
    begin(&good, good_path);
}

static void set_up(void)
{
    host_start();
    host_path(hostile_path, "hostile.sock");
    host_path(good_path, "good.sock");
    host_path(image_path, "hostile.img");
    host_path(other_path, "other.img");
    make_file(image_path, DISK_BYTES);
    make_file(other_path, DISK_BYTES);
    peer_start();
    add_good_disk();
}

/* ---- what control does ---- */

#define HOSTILE "{\"name\": \"hostile\""

static void ask_to_set(struct peer_args args)
{
    static const char *const settings[] = {
        "\"threads\": 1",
        "\"threads\": 2",
        "\"iops\": 200, \"iops_max\": 0",
        "\"iops\": 0",
        "\"bps\": 1048576",
        "\"bps\": 0",
        "\"group\": \"g\"",
        "\"group\": \"none\"",
        "\"poll_us\": 0",
        "\"poll_us\": 100",
        "\"batch\": 1",
        "\"huge_bounce\": \"on\"",
        "\"batch\": 0",
        "\"detect_zeroes\": \"on\"",
        "\"queue_threads\": \"1 0\"",
        "\"cpus\": \"all\"",
    };
    char params[128];

    (void)snprintf(params, sizeof(params), HOSTILE ", %s}",
                   settings[args.b % ARRAY_SIZE(settings)]);
    host_ask("disk.set", params);
}

static void ask_to_resize(struct peer_args args)
{
    char params[128];

    (void)snprintf(params, sizeof(params),
                   HOSTILE ", \"size\": %u, \"shrink\": true, \"timeout_ms\": 50}",
                   (1 + args.b % 32u) << 16);
    host_ask("disk.resize", params);
}

static void ask_for_medium(const char *method, const char *path)
{
    char params[HOST_PATH_BYTES + 96];

    (void)snprintf(params, sizeof(params),
                   HOSTILE ", \"path\": \"%s\", \"format\": \"raw\", \"timeout_ms\": 50%s}", path,
                   strcmp(method, "disk.replace") == 0 ? ", \"force\": true" : "");
    host_ask(method, params);
}

/* a: what, b: a value, c: whether it is waited for. */
static void ask(struct peer_args args)
{
    switch (args.a % 16) {
    case 0:
    case 1:
        host_ask("disk.show", HOSTILE "}");
        break;
    case 2:
    case 3:
        host_ask("disk.stats", HOSTILE "}");
        break;
    case 4:
        host_ask("disk.stop", HOSTILE ", \"timeout_ms\": 20}");
        break;
    case 5:
        host_ask("disk.start", HOSTILE "}");
        break;
    case 6:
        ask_to_resize(args);
        break;
    case 7:
        host_ask("disk.eject", HOSTILE ", \"force\": true, \"timeout_ms\": 50}");
        break;
    case 8:
        ask_for_medium("disk.insert", image_path);
        break;
    case 9:
        ask_for_medium("disk.replace", args.b & 1 ? image_path : other_path);
        break;
    case 10:
        host_ask("disk.list", "{}");
        break;
    default:
        ask_to_set(args);
    }
    if (args.c & 1) {
        host_settle();
    }
}

/* ---- steps ---- */

static void wait_some(struct peer_args args)
{
    uint64_t until_ns = now_ns() + (args.a & 3) * WAIT_NS / 4;

    do {
        host_turn();
        peer_listen();
        peer_reap();
    } while (now_ns() < until_ns);
}

static void connect_or_not(struct peer_args args)
{
    switch (args.a % 4) {
    case 0:
        peer_disconnect();
        break;
    case 1:
        peer_connect_second(hostile_path);
        break;
    default:
        peer_disconnect();
        peer_connect(hostile_path);
        wait_some((struct peer_args){.a = args.b});
    }
}

static void do_step(uint8_t what, struct peer_args args)
{
    switch (what % 16) {
    case 0:
    case 1:
    case 2:
        peer_message(args);
        break;
    case 3:
        peer_set_up(args.a);
        wait_some((struct peer_args){.a = args.b});
        break;
    case 4:
    case 5:
    case 6:
        peer_request(args);
        break;
    case 7:
        peer_kick(args);
        break;
    case 8:
        peer_spoil(args);
        break;
    case 9:
        peer_flip(args);
        break;
    case 10:
        peer_cut(args);
        break;
    case 11:
    case 12:
        ask(args);
        break;
    case 13:
        connect_or_not(args);
        break;
    default:
        wait_some(args);
    }
    host_turn();
}

/* ---- the end ---- */

static bool ends_with(const char *text, const char *end)
{
    size_t len = strlen(text), end_len = strlen(end);

    return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

/* Memory of a front-end that is mapped, ours aside. */
static unsigned count_maps(void)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[512];
    unsigned count = 0;

    assert(maps);
    while (fgets(line, sizeof(line), maps)) {
        line[strcspn(line, "\n")] = '\0';
        count += ends_with(line, "/memfd:vblk-fuzz (deleted)") ||
                 ends_with(line, "/memfd:vblk-test (deleted)");
    }
    (void)fclose(maps);
    return count;
}

static unsigned count_files(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned count = 0;

    assert(dir);
    while (readdir(dir)) {
        count++;
    }
    closedir(dir);
    return count;
}

/* Both files of the peer, and for the good disk one at each side. */
#define MAPS_AT_REST 4u

static void check_nothing_is_left(void)
{
    uint64_t deadline_ns = now_ns() + PATIENCE_NS;

    while (count_maps() > MAPS_AT_REST) {
        host_turn_until(deadline_ns);
    }
    files_before = files_before ? files_before : count_files() + 2; /* of porters that come late */
    while (count_files() > files_before) {
        host_turn_until(deadline_ns);
    }
}

static void ask_quietly(const char *method, const char *params)
{
    json_decref(host_call(method, params, false)); /* it may be so already */
}

/* Whatever was done to it, it can be made to serve again. */
static void mend_disk(void)
{
    char params[2 * HOST_PATH_BYTES];

    make_file(image_path, RESIZED_MAX);
    make_file(other_path, RESIZED_MAX);
    ask_quietly("disk.set", HOSTILE ", \"iops\": 0, \"bps\": 0, \"group\": \"none\"}");
    (void)snprintf(params, sizeof(params), HOSTILE ", \"path\": \"%s\", \"format\": \"raw\"}",
                   image_path);
    ask_quietly("disk.insert", params);
    ask_quietly("disk.start", HOSTILE ", \"new_image\": true}");
    ask_quietly("disk.resize", HOSTILE ", \"size\": 1048576, \"shrink\": true}");
}

/* Also when the front-end that has just hung up is not out yet. */
static bool is_serving(void)
{
    json_t *shown = host_call("disk.show", HOSTILE "}", true);
    bool is_open = json_is_true(json_object_get(json_object_get(shown, "image"), "open"));
    bool is_large = json_integer_value(json_object_get(shown, "size")) > 65536;

    if (!is_open || !is_large) {
        (void)json_dumpf(shown, stderr, JSON_COMPACT); /* in case that is a fault */
    }
    json_decref(shown);
    return is_open && is_large;
}

static void remove_disk(void)
{
    uint64_t deadline_ns = now_ns() + PATIENCE_NS;

    ask_quietly("disk.remove", HOSTILE ", \"force\": true, \"timeout_ms\": 20000}");
    while (host_disks() > 1 || host_ending() > 0) {
        host_turn_until(deadline_ns);
    }
}

static void serve_well(bool is_file)
{
    uint64_t deadline_ns = now_ns() + PATIENCE_NS;
    struct frontend fe;

    mend_disk();
    while (!is_serving()) { /* what control was told to be late is still under way */
        host_turn_until(deadline_ns);
        mend_disk();
    }
    begin(&fe, hostile_path);
    round_trip(&fe, is_file);
    frontend_fini(&fe);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    if (!hostile_path[0]) {
        set_up();
    }
    make_file(image_path, DISK_BYTES);
    make_file(other_path, DISK_BYTES);
    peer_reset();
    add_disk(data);
    peer_connect(hostile_path);
    for (size_t at = 2; at + 5 <= size && at < 2 + 5 * STEPS_MAX; at += 5) {
        do_step(data[at],
                (struct peer_args){data[at + 1], data[at + 2], data[at + 3], data[at + 4]});
    }
    peer_flip_end();
    peer_disconnect();
    host_settle();
    round_trip(&good, true);
    serve_well(data[0] & 1);
    remove_disk();
    check_nothing_is_left();
    return 0;
}
