/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * A disk of vblkvm's between a driver and a back-end, without KVM, so that each wire is refused:
 * what either of them does again and again leaves few lines in the log.  And packed rings.
 */
#include "cmd/vm/disk.h"

#include <errno.h>
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cmd/vm/disk_wires.h"
#include "core/base/log.h"
#include "tests/unit/fake_backend.h"
#include "tests/unit/unit.h"

#define MEMORY_BYTES (2u << 20)
#define OFTEN 100u
#define LOG_BYTES (1u << 20)
#define MILLISECONDS 300u

#define VERSION_1 (1ull << 32)
#define PROTOCOL                                                                    \
    (1ull << VHOST_P_MQ | 1ull << VHOST_P_REPLY_ACK | 1ull << VHOST_P_BACKEND_REQ | \
     1ull << VHOST_P_CONFIG)

/* VIRTIO 1.2, 4.2.2 "MMIO Device Register Layout". */
enum {
    DRIVER_FEATURES = 0x20,
    DRIVER_FEATURES_SEL = 0x24,
    QUEUE_NUM = 0x38,
    QUEUE_READY = 0x44,
    STATUS = 0x70,
    QUEUE_DESC = 0x80,
    QUEUE_DRIVER = 0x90,
    QUEUE_DEVICE = 0xa0,
    QUEUE_RESET = 0xc0,
    CONFIG = 0x100,
};

static const struct fake_opts good = {
    .features = VERSION_1 | 1ull << VHOST_F_PROTOCOL_FEATURES,
    .protocol_features = PROTOCOL,
    .capacity = 2048,
};

#define PACKED (1ull << 34)
#define RING_RESET (1ull << 40)
#define PACKED_BASE 0x80008000u /* vhost-user, "Vring descriptor indices for packed virtqueues" */

static const struct fake_opts packed = {
    .features = VERSION_1 | PACKED | 1ull << VHOST_F_PROTOCOL_FEATURES,
    .protocol_features = PROTOCOL | 1ull << VHOST_P_INFLIGHT_SHMFD,
    .inflight_fds = 1,
};

struct world {
    struct fake_backend fake;
    struct kvm kvm;
    struct ram ram;
    struct disk disk;
    struct disk_options options;
    struct err err;
    bool is_open;
    int saved_fd; /* standard error */
    int log_fd;
    char log[LOG_BYTES];
};

static void start_log(struct world *w)
{
    w->log_fd = memfd_create("stderr", MFD_CLOEXEC);
    w->saved_fd = dup(STDERR_FILENO);
    assert_true(w->log_fd >= 0 && w->saved_fd >= 0);
    dup2(w->log_fd, STDERR_FILENO);
}

static void stop_log(struct world *w)
{
    dup2(w->saved_fd, STDERR_FILENO);
    close(w->saved_fd);
    close(w->log_fd);
}

static int try_disk(struct world *w)
{
    const struct disk_opts opts = {.options = &w->options,
                                   .socket = w->fake.path,
                                   .queues = 1,
                                   .queue_size = 8,
                                   .line = 5,
                                   .mmio_addr = 0xc0000000};

    w->is_open = disk_open(&w->disk, &w->kvm, &w->ram, &opts, &w->err) == 0;
    return w->err.code;
}

static void open_disk(struct world *w)
{
    assert_int_equal(try_disk(w), 0);
}

static int start(void **state)
{
    static struct world world;
    struct world *w = &world;

    memset(w, 0, sizeof(*w));
    w->kvm.vm_fd = -1;
    w->options = (struct disk_options){.name = "vda", .transport = DISK_MMIO};
    (void)pthread_mutex_init(&w->kvm.lock, NULL);
    assert_int_equal(ram_open(&w->ram, MEMORY_BYTES, &w->err), 0);
    fake_start(&w->fake, &good);
    start_log(w);
    *state = w;
    return 0;
}

static int stop(void **state)
{
    struct world *w = *state;

    if (w->is_open) {
        disk_close(&w->disk);
    }
    stop_log(w);
    fake_end(&w->fake);
    ram_close(&w->ram);
    (void)pthread_mutex_destroy(&w->kvm.lock);
    return 0;
}

static void again(struct world *w, const struct fake_opts *opts)
{
    fake_leave(&w->fake);
    fake_return(&w->fake, opts);
}

/* Lines that hold `words`. */
static unsigned lines(struct world *w, const char *words)
{
    ssize_t len = pread(w->log_fd, w->log, sizeof(w->log) - 1, 0);
    unsigned count = 0;

    assert_true(len >= 0);
    w->log[len] = '\0';
    for (const char *at = w->log; (at = strstr(at, words)); at++) {
        count++;
    }
    return count;
}

static void expect_few(struct world *w, const char *words)
{
    unsigned count = lines(w, words);

    if (count == 0 || count > LOG_LIMIT_LINES) {
        fail_msg("%u lines hold \"%s\"", count, words);
    }
}

static void set(struct world *w, uint32_t offset, uint32_t value)
{
    disk_mmio_write(&w->disk, offset, value, 4);
}

static void set_queue(struct world *w)
{
    set(w, QUEUE_NUM, 8);
    set(w, QUEUE_DESC, 0x1000);
    set(w, QUEUE_DRIVER, 0x2000);
    set(w, QUEUE_DEVICE, 0x3000);
    set(w, QUEUE_READY, 1);
}

/* As a driver does, up to a queue that runs. */
static void drive_with(struct world *w, uint64_t features)
{
    set(w, STATUS, 0);
    set(w, STATUS, 3);
    set(w, DRIVER_FEATURES_SEL, 1);
    set(w, DRIVER_FEATURES, (uint32_t)(features >> 32));
    set(w, STATUS, 11);
    set_queue(w);
    set(w, STATUS, 15);
}

static void drive(struct world *w)
{
    drive_with(w, VERSION_1);
}

static void writes_to_the_config_space_leave_few_lines(void **state)
{
    struct world *w = *state;

    open_disk(w);
    for (unsigned i = 0; i < 100 * OFTEN; i++) {
        set(w, CONFIG + 100, i);
    }
    expect_few(w, "vda: ");
    expect_few(w, "outside the config space");
}

static void features_that_are_refused_leave_few_lines(void **state)
{
    struct world *w = *state;
    struct fake_opts opts = good;

    opts.refuse = VHOST_SET_FEATURES;
    again(w, &opts);
    open_disk(w);
    for (unsigned i = 0; i < OFTEN; i++) {
        drive(w);
    }
    assert_true(w->fake.seen[VHOST_SET_FEATURES] >= OFTEN);
    expect_few(w, "refused SET_FEATURES");
}

static void queues_that_are_refused_leave_few_lines(void **state)
{
    struct world *w = *state;
    struct fake_opts opts = good;

    opts.refuse = VHOST_SET_VRING_NUM;
    again(w, &opts);
    open_disk(w);
    for (unsigned i = 0; i < OFTEN; i++) {
        drive(w);
    }
    assert_int_equal(w->fake.seen[VHOST_SET_VRING_NUM], OFTEN);
    expect_few(w, "refused SET_VRING_NUM");
}

/* And what one kind has too much of does not hide another. */
static void wires_that_are_refused_leave_few_lines_of_each_kind(void **state)
{
    struct world *w = *state;

    open_disk(w);
    for (unsigned i = 0; i < OFTEN; i++) {
        set(w, CONFIG + 100, i);
        drive(w);
    }
    assert_int_equal(w->fake.seen[VHOST_SET_VRING_ENABLE], OFTEN);
    expect_few(w, "outside the config space");
    expect_few(w, "KVM_IOEVENTFD");
    expect_few(w, "KVM_IRQFD");
}

/* For a while, and until it has come and gone.  Returns the milliseconds. */
static uint64_t follow(struct world *w)
{
    uint64_t start_ns = now_ns();
    struct pollfd fd = {.fd = vhost_user_client_fd(w->disk.client), .events = POLLIN};

    while (now_ns() - start_ns < MILLISECONDS * NS_PER_MS || w->fake.connections < 3 ||
           lines(w, "vda: back") == 0) {
        if (poll(&fd, 1, 20) > 0) {
            vhost_user_client_dispatch(w->disk.client);
        }
    }
    return (now_ns() - start_ns) / NS_PER_MS;
}

/* It takes the connection and all that belongs to it, and then leaves, again and again. */
static void a_back_end_that_flaps_leaves_few_lines_and_is_tried_less_and_less(void **state)
{
    struct world *w = *state;
    struct fake_opts opts = good;
    unsigned most = 5;

    opts.leave_after = VHOST_SET_MEM_TABLE;
    again(w, &opts);
    open_disk(w);
    for (uint64_t ms = follow(w); ms > 10; ms /= 2) {
        most++; /* at once, after 10 ms, 20, 40 ... */
    }
    assert_in_range(w->fake.connections, 3, most);
    expect_few(w, "the guest waits until it is back");
    expect_few(w, "vda: back");
    assert_true(lines(w, "\n") <= 2 * LOG_LIMIT_LINES);
}

/* ---- packed rings ---- */

static void packed_ring_begins_where_such_rings_begin(void **state)
{
    struct world *w = *state;

    again(w, &packed);
    open_disk(w);
    drive_with(w, VERSION_1 | PACKED);
    assert_int_equal(w->fake.features, packed.features);
    assert_int_equal(w->fake.ring[0].base, PACKED_BASE);
    assert_int_equal(w->fake.inflight_set.queue_size, 8);
    assert_true(w->fake.ring[0].is_enabled);
    drive(w);
    assert_int_equal(w->fake.ring[0].base, 0);
    assert_int_equal(w->fake.seen[VHOST_GET_INFLIGHT_FD], 2);
}

/* Wherever it was: of what the back-end says of it nothing is used. */
static void queue_that_was_reset_begins_anew(void **state)
{
    struct world *w = *state;

    again(w, &packed);
    open_disk(w);
    drive_with(w, VERSION_1 | PACKED | RING_RESET);
    assert_int_equal(w->fake.features, packed.features);
    set(w, QUEUE_RESET, 1);
    assert_int_equal(w->fake.seen[VHOST_GET_VRING_BASE], 1);
    set_queue(w);
    assert_int_equal(w->fake.seen[VHOST_SET_VRING_KICK], 2);
    assert_int_equal(w->fake.ring[0].base, PACKED_BASE);
}

static bool was_used(struct world *w, bool mark)
{
    return disk_host_ops.was_used(&w->disk, mark);
}

static void mark_desc(struct world *w, unsigned index, unsigned flags)
{
    store16((uint16_t *)ram_at(&w->ram, 0x1000 + 16 * index + 14, 2), (uint16_t)flags);
}

/* The guest's marks are nothing to tell it of; the device's are, in the next lap too. */
static void used_descriptor_is_seen(void **state)
{
    const unsigned available = 1u << 7, used = 1u << 15;
    struct world *w = *state;

    again(w, &packed);
    open_disk(w);
    drive_with(w, VERSION_1 | PACKED);
    assert_false(was_used(w, true));
    mark_desc(w, 0, available);
    mark_desc(w, 1, available);
    assert_false(was_used(w, false));
    mark_desc(w, 0, available | used);
    assert_true(was_used(w, false));
    assert_true(was_used(w, true));
    assert_false(was_used(w, true));
    mark_desc(w, 1, available | used | 2);
    assert_true(was_used(w, true));
    mark_desc(w, 0, used);
    assert_false(was_used(w, false));
    mark_desc(w, 0, 0);
    assert_true(was_used(w, true));
    assert_false(was_used(w, false));
}

static void packed_rings_can_be_withheld(void **state)
{
    struct world *w = *state;

    again(w, &packed);
    w->options.packed = DISK_PACKED_OFF;
    open_disk(w);
    drive_with(w, VERSION_1 | PACKED);
    assert_int_equal(disk_mmio_read(&w->disk, STATUS, 4) & 8, 0); /* FEATURES_OK */
    drive(w);
    assert_int_equal(disk_mmio_read(&w->disk, STATUS, 4), 15);
}

static void packed_rings_that_are_insisted_on_are_there(void **state)
{
    struct world *w = *state;

    w->options.packed = DISK_PACKED_ON;
    assert_int_equal(try_disk(w), -ENOTSUP);
    assert_non_null(strstr(w->err.text, "vda: the back-end does not offer packed rings"));
    assert_non_null(strstr(w->err.text, "leave out packed=on"));
    w->err.code = 0;
    again(w, &packed);
    open_disk(w);
}

int main(void)
{
#define disk_test(test) cmocka_unit_test_setup_teardown(test, start, stop)
    static const struct CMUnitTest tests[] = {
        disk_test(writes_to_the_config_space_leave_few_lines),
        disk_test(features_that_are_refused_leave_few_lines),
        disk_test(queues_that_are_refused_leave_few_lines),
        disk_test(wires_that_are_refused_leave_few_lines_of_each_kind),
        disk_test(a_back_end_that_flaps_leaves_few_lines_and_is_tried_less_and_less),
        disk_test(packed_ring_begins_where_such_rings_begin),
        disk_test(queue_that_was_reset_begins_anew),
        disk_test(used_descriptor_is_seen),
        disk_test(packed_rings_can_be_withheld),
        disk_test(packed_rings_that_are_insisted_on_are_there),
    };

    return unit_run(tests);
}
