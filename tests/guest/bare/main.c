/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The test: find the disk, read its first blocks, then keep requests under way on all queues,
 * each slot writing a pattern to places of its own and reading it back.  Ends with one line,
 * "BARE OK ..." or "BARE FAIL ...", and the power off.
 *
 * Words of the command line, all optional:
 *   transport=pci|pci-legacy|mmio   disk=N (the Nth of its kind, from 0)   queues=N
 *   requests=N   depth=N (at once on each queue)   bytes=N (of each request)
 *   start=SECTOR (first place written)   span=SECTORS (places lie in)   seed=N
 *   irq=msix|intx   trigger=edge|level (mmio)   wait=hlt|poll   size=N (of the rings)
 *   packed=on   resets=N (so often all queues are reset, one by one, in the course of it)
 *   resize=SECTORS (afterwards, wait until the disk has grown to that)
 *   timeout=MILLISECONDS (for each answer)
 */
#include <linux/virtio_config.h>

#include "tests/guest/bare/bare.h"

#define RING_RESET 40u /* VIRTIO 1.2, 6 "Reserved Feature Bits" */
#define MAX_DEPTH 32u
#define MAX_BYTES 4096u
#define SECTOR_WORDS (SECTOR_SIZE / 8u)
#define TIMEOUT_MS 10000u

/* One request's place: it is written, then read back, then it moves on. */
struct slot {
    struct blk_driver_frame frame;
    struct blk_driver_request request;
    struct blk_driver_queue *queue;
    uint64_t sector;
    uint64_t round;
    uint8_t write[MAX_BYTES] __attribute__((aligned(512)));
    uint8_t read[MAX_BYTES] __attribute__((aligned(512)));
};

static struct {
    uint64_t requests;
    uint64_t start;
    uint64_t places;
    uint64_t seed;
    uint32_t bytes;
    unsigned depth;
    unsigned resets;
    bool is_packed;
    bool polls;
} opts;

static struct bare_disk disk;
static struct blk_driver_ops ops; /* the disk's, but for what its driver does not know */
static struct blk_driver blk;
static struct blk_driver_queue queues[MAX_QUEUES];
static struct blk_driver_own own;
static struct slot slots[MAX_QUEUES * MAX_DEPTH];
static uint8_t ring_memory[MAX_QUEUES * 16384] __attribute__((aligned(4096)));
static uint8_t scratch[4096] __attribute__((aligned(512)));
static uint64_t submitted;
static uint64_t done;

void bare_main(const uint8_t *boot_params);

/* Different in every sector and every round. */
static uint64_t pattern(const struct slot *slot, uint64_t sector)
{
    return ((sector << 24) + slot->round + opts.seed) * 0x9e3779b97f4a7c15ull;
}

/* With string instructions: some hosts interpret each instruction of a guest. */
static void fill_words(void *to, uint64_t value, uint64_t count)
{
    __asm__ volatile("rep stosq" : "+D"(to), "+c"(count) : "a"(value) : "memory", "cc");
}

static bool all_words(const void *in, uint64_t value, uint64_t count)
{
    bool are_equal;

    __asm__ volatile("repe scasq; sete %0"
                     : "=r"(are_equal), "+D"(in), "+c"(count)
                     : "a"(value)
                     : "memory", "cc");
    return are_equal;
}

/* A sector is its pattern, and the complement of it in the last word. */
static void fill(struct slot *slot)
{
    for (unsigned i = 0; i < opts.bytes / SECTOR_SIZE; i++) {
        uint64_t *words = (uint64_t *)slot->write + i * SECTOR_WORDS;
        uint64_t value = pattern(slot, slot->sector + i);

        fill_words(words, value, SECTOR_WORDS - 1);
        words[SECTOR_WORDS - 1] = ~value;
    }
}

static void verify(const struct slot *slot)
{
    for (unsigned i = 0; i < opts.bytes / SECTOR_SIZE; i++) {
        const uint64_t *words = (const uint64_t *)slot->read + i * SECTOR_WORDS;
        uint64_t value = pattern(slot, slot->sector + i);

        if (!all_words(words, value, SECTOR_WORDS - 1) || words[SECTOR_WORDS - 1] != ~value) {
            fail("data read is not what was written, sector", (int64_t)(slot->sector + i));
        }
    }
}

static void submit(struct slot *slot, uint32_t type)
{
    slot->request.frame = &slot->frame;
    slot->request.header = (struct virtio_blk_outhdr){.type = type, .sector = slot->sector};
    slot->request.data = type == VIRTIO_BLK_T_IN ? slot->read : slot->write;
    slot->request.len = opts.bytes;
    slot->request.arg = slot;
    if (blk_driver_submit(slot->queue, &slot->request) < 0) {
        fail("ring full, slots", opts.depth);
    }
    submitted++;
}

static void write_next(struct slot *slot)
{
    unsigned stride = blk.queues * opts.depth;
    uint64_t place = (uint64_t)(slot - slots) + slot->round * stride;

    slot->sector = opts.start + place % opts.places * (opts.bytes / SECTOR_SIZE);
    fill(slot);
    submit(slot, VIRTIO_BLK_T_OUT);
}

/* A place that was written is always read, so a run may end one request late. */
static void finish(struct slot *slot)
{
    uint32_t wanted = slot->request.header.type == VIRTIO_BLK_T_IN ? opts.bytes + 1 : 1;

    if (slot->request.status != VIRTIO_BLK_S_OK) {
        fail("status", slot->request.status);
    }
    if (slot->request.used_len != wanted) {
        fail("used length", slot->request.used_len);
    }
    done++;
    if (slot->request.header.type == VIRTIO_BLK_T_OUT) {
        submit(slot, VIRTIO_BLK_T_IN);
        return;
    }
    verify(slot);
    slot->round++;
    if (submitted < opts.requests) {
        write_next(slot);
    }
}

static bool look(struct blk_driver_queue *queue)
{
    struct blk_driver_request *request;
    bool found = false;

    while ((request = blk_driver_poll(queue))) {
        finish(request->arg);
        found = true;
    }
    if (queue->ring.fault) {
        fail(queue->ring.fault, queue->index);
    }
    blk_driver_kick(&blk, queue);
    return found;
}

static void run(void)
{
    for (unsigned i = 0; i < blk.queues * opts.depth; i++) {
        slots[i].queue = &queues[i % blk.queues];
        if (submitted < opts.requests) {
            write_next(&slots[i]);
        }
    }
    while (done < submitted || submitted < opts.requests) {
        bool found = false;

        for (unsigned i = 0; i < blk.queues; i++) {
            found |= look(&queues[i]);
        }
        if (!found && !opts.polls) {
            irq_wait();
        }
    }
}

/* What blk_driver knows nothing of. */
static void set_features(void *bus, uint64_t features)
{
    uint64_t more = opts.resets > 0 ? BIT(RING_RESET) : 0;

    if (more & ~disk.ops->get_features(bus)) {
        fail("no queue can be reset", opts.resets);
    }
    disk.ops->set_features(bus, features | more);
}

/* Nothing is under way.  Source: VIRTIO 1.2, 2.6.1 "Virtqueue Reset". */
static void reset_queue(struct blk_driver_queue *queue)
{
    struct ring_driver *ring = &queue->ring;
    bool has_event_idx = ring->has_event_idx;

    if (!disk.reset_ring) {
        fail("this bus resets no queues", queue->index);
    }
    disk.reset_ring(disk.bus, queue->index);
    if (ring->is_packed) {
        ring_driver_init_packed(ring, ring->size, ring->packed, ring->offset, queue->chain);
    } else {
        ring_driver_init(ring, ring->size, RING_DRIVER_MODERN_ALIGN, ring->desc, ring->offset,
                         queue->chain);
    }
    ring->has_event_idx = has_event_idx;
    if (disk.ops->set_ring(disk.bus, queue->index, ring) < 0) {
        fail("no start after its reset, queue", queue->index);
    }
}

static void run_all(void)
{
    uint64_t all = opts.requests;

    for (unsigned i = 0; i <= opts.resets; i++) {
        opts.requests = all * (i + 1) / (opts.resets + 1);
        run();
        for (unsigned queue = 0; i < opts.resets && queue < blk.queues; queue++) {
            reset_queue(&queues[queue]);
        }
    }
}

static void start_disk(void)
{
    struct blk_driver_opts driver = {
        .ops = &ops,
        .bus = disk.bus,
        .is_legacy = disk.is_legacy,
        .is_size_fixed = disk.is_size_fixed,
        .is_packed = opts.is_packed,
        .queues = (unsigned)min_of(option_number("queues", 1), (uint64_t)MAX_QUEUES),
        .queue_size = (unsigned)option_number("size", 128),
        .timeout_ms = (unsigned)option_number("timeout", TIMEOUT_MS),
        .queue = queues,
        .ring_memory = ring_memory,
        .own = &own,
        .refuse = option_number("refuse", 0),
    };
    int ret;

    ops = *disk.ops;
    ops.set_features = set_features;
    if (blk_driver_ring_bytes(&driver) * MAX_QUEUES > sizeof(ring_memory)) {
        fail("rings need more memory than", sizeof(ring_memory));
    }
    ret = blk_driver_start(&blk, &driver);
    if (ret < 0) {
        fail("disk does not start", ret);
    }
    if (blk.queues != driver.queues) {
        fail("queues found", blk.queues);
    }
    if (opts.is_packed && !blk_driver_has(&blk, VIRTIO_F_RING_PACKED)) {
        fail("no packed rings, features", (int64_t)blk.features);
    }
}

/* Polled, before there is any load: what boot firmware does. */
static void look_at_disk(void)
{
    char id[VIRTIO_BLK_ID_BYTES + 1];
    int ret = blk_driver_read_blocks(&blk, 0, 1, scratch);

    if (ret != 0) {
        fail("first block", ret);
    }
    ret = blk_driver_guess_nature(&blk, scratch);
    if (ret < 0) {
        fail("nature", ret);
    }
    print("disk:");
    print_value("sectors", blk.capacity);
    print_value("block", blk.block_size);
    print_value("heads", blk.heads);
    print_value("iso9660", (uint64_t)ret);
    ret = blk_driver_get_id(&blk, id);
    print(ret == 0 ? " id=" : " no id");
    print(ret == 0 ? id : "");
    print("\n");
}

static void read_options(void)
{
    opts.requests = option_number("requests", 1000);
    opts.depth = (unsigned)min_of(option_number("depth", 8), (uint64_t)MAX_DEPTH);
    opts.bytes = (uint32_t)min_of(option_number("bytes", 512), (uint64_t)MAX_BYTES);
    opts.start = option_number("start", 0);
    opts.seed = option_number("seed", 0);
    opts.polls = option_is("wait", "poll", false);
    opts.is_packed = option_is("packed", "on", false);
    opts.resets = (unsigned)option_number("resets", 0);
}

static void place_slots(void)
{
    uint64_t span = option_number("span", blk.capacity - min_of(opts.start, blk.capacity));

    if (opts.bytes == 0 || opts.bytes % blk.block_size != 0 || opts.depth == 0) {
        fail("bytes or depth", opts.bytes);
    }
    opts.places = span / (opts.bytes / SECTOR_SIZE);
    if (opts.places < blk.queues * opts.depth || !range_ok(opts.start, span, blk.capacity)) {
        fail("disk too small, sectors", (int64_t)blk.capacity);
    }
}

static uint64_t total_interrupts(void)
{
    uint64_t total = 0;

    for (unsigned vector = VECTOR_QUEUE; vector <= VECTOR_LINE; vector++) {
        total += irq_count[vector];
    }
    return total;
}

static void await_resize(void)
{
    uint64_t sectors = option_number("resize", 0);

    if (sectors == 0) {
        return;
    }
    print("BARE WAITS for a resize\n");
    while (blk.capacity != sectors) {
        irq_wait();
        blk_driver_read_shape(&blk);
    }
    print("BARE SAW the new size\n");
}

static void report(void)
{
    uint64_t kicks = 0;

    for (unsigned i = 0; i < blk.queues; i++) {
        kicks += queues[i].kicks;
    }
    print("BARE OK");
    print_value("requests", done);
    print_value("interrupts", total_interrupts());
    print_value("kicks", kicks);
    print_value("queues", blk.queues);
    print_value("msix", disk.has_msix);
    print_value("packed", blk_driver_has(&blk, VIRTIO_F_RING_PACKED));
    print(" transport=");
    print(disk.name);
    print("\n");
}

void bare_main(const uint8_t *boot_params)
{
    uint32_t line = 0;
    int ret;

    /* Linux documentation, "The Linux/x86 Boot Protocol", field cmd_line_ptr. */
    memcpy(&line, boot_params + 0x228, sizeof(line));
    options_init((const char *)(uintptr_t)line);
    print("\nbare guest\n");
    irq_init();
    read_options();
    if (option_is("transport", "mmio", false)) {
        bus_mmio_find(&disk, (unsigned)option_number("disk", 0));
    } else {
        bus_pci_find(&disk, (unsigned)option_number("disk", 0),
                     option_is("transport", "pci-legacy", false), option_is("irq", "msix", true));
    }
    start_disk();
    look_at_disk();
    place_slots();
    run_all();
    ret = blk_driver_flush(&blk);
    if (ret != 0 && ret != BLK_DRIVER_UNABLE) {
        fail("flush", ret);
    }
    await_resize();
    blk_driver_stop(&blk);
    report();
    power_off();
}
