/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * What holds for each register of each register file: value, width, what is read only, what comes
 * too early, queues that there are not, and the state after a reset amid requests.
 */
#include "tests/unit/unit.h"
#include "tests/unit/virtio_host.h"
#include "transports/vmm/virtio_mmio.h"
#include "transports/vmm/virtio_pci.h"

#define COMMON (HOST_MEMORY + 0x4000)

#define READ_ONLY 1u
#define WRITE_ONLY 2u /* reads as 0 */
#define OF_QUEUE 4u
#define FIXED 8u     /* once the features are agreed, or the queue is ready */
#define IS_READY 16u /* not 0: the queue is ready */

struct reg {
    uint16_t offset;
    uint8_t len;
    uint8_t is;
    uint32_t value; /* of a device that is driven, queue 0 selected */
};

struct file {
    const char *name;
    void (*begin)(void);
    void (*drive)(void); /* after begin: both queues run, 0 is selected */
    uint32_t (*get)(uint32_t offset, unsigned len);
    void (*set)(uint32_t offset, uint32_t value, unsigned len);
    const struct reg *reg;
    unsigned count;
    uint16_t select; /* offsets */
    uint16_t status;
    uint8_t status_len;
    bool has_parts; /* a narrow read gives a part of the register */
    bool is_legacy;
    struct virtio_regs *regs;
};

static struct virtio_mmio mmio;
static struct virtio_pci pci;
static struct pci_host bus;
static struct virtio_host host;

/* ---- virtio-mmio ---- */

static uint32_t mmio_get(uint32_t offset, unsigned len)
{
    return virtio_mmio_read(&mmio, offset, len);
}

static void mmio_set(uint32_t offset, uint32_t value, unsigned len)
{
    virtio_mmio_write(&mmio, offset, value, len);
}

static void mmio_2_begin(void)
{
    virtio_host_mmio(&host, &mmio, false);
}

static void mmio_2_drive(void)
{
    mmio_set(0x070, 3, 4);
    mmio_set(0x020, (uint32_t)HOST_FEATURES, 4);
    mmio_set(0x024, 1, 4);
    mmio_set(0x020, (uint32_t)(HOST_FEATURES >> 32), 4);
    mmio_set(0x070, 11, 4);
    for (unsigned queue = HOST_QUEUES; queue-- > 0;) {
        mmio_set(0x030, queue, 4);
        mmio_set(0x038, 16, 4);
        mmio_set(0x080, 0x1000, 4);
        mmio_set(0x090, 0x2000, 4);
        mmio_set(0x0a0, 0x3000, 4);
        mmio_set(0x044, 1, 4);
    }
    mmio_set(0x070, 15, 4);
}

/* Source: VIRTIO 1.2, table 4.1 "MMIO Device Register Layout". */
static const struct reg mmio_2_regs[] = {
    {0x000, 4, READ_ONLY, 0x74726976},
    {0x004, 4, READ_ONLY, 2},
    {0x008, 4, READ_ONLY, 2},
    {0x00c, 4, READ_ONLY, 0x4b4c4256},
    {0x010, 4, READ_ONLY, (uint32_t)HOST_FEATURES},
    {0x014, 4, WRITE_ONLY, 0},
    {0x020, 4, WRITE_ONLY | FIXED, 0},
    {0x024, 4, WRITE_ONLY, 0},
    {0x030, 4, WRITE_ONLY, 0},
    {0x034, 4, READ_ONLY | OF_QUEUE, HOST_QUEUE_SIZE},
    {0x038, 4, WRITE_ONLY | OF_QUEUE | FIXED, 0},
    {0x044, 4, OF_QUEUE | IS_READY, 1},
    {0x050, 4, WRITE_ONLY, 0},
    {0x060, 4, READ_ONLY, 1},
    {0x064, 4, WRITE_ONLY, 0},
    {0x070, 4, 0, 15},
    {0x080, 4, WRITE_ONLY | OF_QUEUE | FIXED, 0},
    {0x084, 4, WRITE_ONLY | OF_QUEUE | FIXED, 0},
    {0x090, 4, WRITE_ONLY | OF_QUEUE | FIXED, 0},
    {0x094, 4, WRITE_ONLY | OF_QUEUE | FIXED, 0},
    {0x0a0, 4, WRITE_ONLY | OF_QUEUE | FIXED, 0},
    {0x0a4, 4, WRITE_ONLY | OF_QUEUE | FIXED, 0},
    {0x0ac, 4, WRITE_ONLY, 0},
    {0x0b0, 4, READ_ONLY, UINT32_MAX},
    {0x0b4, 4, READ_ONLY, UINT32_MAX},
    {0x0b8, 4, READ_ONLY, UINT32_MAX},
    {0x0bc, 4, READ_ONLY, UINT32_MAX},
    {0x0c0, 4, OF_QUEUE, 0},
    {0x0fc, 4, READ_ONLY, 0},
};

static void mmio_1_begin(void)
{
    virtio_host_mmio(&host, &mmio, true);
}

static void mmio_1_drive(void)
{
    mmio_set(0x028, 4096, 4);
    mmio_set(0x070, 3, 4);
    mmio_set(0x020, 0x40, 4);
    for (unsigned queue = HOST_QUEUES; queue-- > 0;) {
        mmio_set(0x030, queue, 4);
        mmio_set(0x038, 16, 4);
        mmio_set(0x03c, 4096, 4);
        mmio_set(0x040, 0x123, 4);
    }
    mmio_set(0x070, 7, 4);
}

/* Source: VIRTIO 1.2, table 4.2 "MMIO Device Legacy Register Layout". */
static const struct reg mmio_1_regs[] = {
    {0x000, 4, READ_ONLY, 0x74726976},
    {0x004, 4, READ_ONLY, 1},
    {0x008, 4, READ_ONLY, 2},
    {0x00c, 4, READ_ONLY, 0x4b4c4256},
    {0x010, 4, READ_ONLY, (uint32_t)HOST_FEATURES},
    {0x014, 4, WRITE_ONLY, 0},
    {0x020, 4, WRITE_ONLY | FIXED, 0},
    {0x024, 4, WRITE_ONLY, 0},
    {0x028, 4, WRITE_ONLY, 0},
    {0x030, 4, WRITE_ONLY, 0},
    {0x034, 4, READ_ONLY | OF_QUEUE, HOST_QUEUE_SIZE},
    {0x038, 4, WRITE_ONLY | OF_QUEUE | FIXED, 0},
    {0x03c, 4, WRITE_ONLY | OF_QUEUE | FIXED, 0},
    {0x040, 4, OF_QUEUE | IS_READY, 0x123},
    {0x050, 4, WRITE_ONLY, 0},
    {0x060, 4, READ_ONLY, 1},
    {0x064, 4, WRITE_ONLY, 0},
    {0x070, 4, 0, 7},
};

/* ---- virtio-pci ---- */

static void pci_begin(void)
{
    virtio_host_pci(&host, &pci, &bus, true);
}

static uint32_t modern_get(uint32_t offset, unsigned len)
{
    uint32_t value = 0x5a5a5a5a;

    assert_true(pci_host_read(&bus, false, COMMON + offset, len, &value));
    return value;
}

static void modern_set(uint32_t offset, uint32_t value, unsigned len)
{
    assert_true(pci_host_write(&bus, false, COMMON + offset, len, value));
}

static void modern_drive(void)
{
    modern_set(0x14, 3, 1);
    modern_set(0x0c, (uint32_t)HOST_FEATURES, 4);
    modern_set(0x08, 1, 4);
    modern_set(0x0c, (uint32_t)(HOST_FEATURES >> 32), 4);
    modern_set(0x14, 11, 1);
    for (unsigned queue = HOST_QUEUES; queue-- > 0;) {
        modern_set(0x16, queue, 2);
        modern_set(0x18, 16, 2);
        for (unsigned i = 0; i < 6; i++) {
            modern_set(0x20 + 4 * i, (i + 1) << 12, 4);
        }
        modern_set(0x1a, 1, 2);
        modern_set(0x1c, 1, 2);
    }
    modern_set(0x14, 15, 1);
}

/* Source: VIRTIO 1.2, 4.1.4.3 "Common configuration structure layout". */
static const struct reg modern_regs[] = {
    {0x00, 4, 0, 0},
    {0x04, 4, READ_ONLY, (uint32_t)HOST_FEATURES},
    {0x08, 4, 0, 1},
    {0x0c, 4, FIXED, HOST_FEATURES >> 32},
    {0x10, 2, 0, VIRTIO_NO_VECTOR},
    {0x12, 2, READ_ONLY, HOST_QUEUES},
    {0x14, 1, 0, 15},
    {0x15, 1, READ_ONLY, 0},
    {0x16, 2, 0, 0},
    {0x18, 2, OF_QUEUE | FIXED, 16},
    {0x1a, 2, OF_QUEUE, 1},
    {0x1c, 2, OF_QUEUE | IS_READY, 1},
    {0x1e, 2, READ_ONLY | OF_QUEUE, 0},
    {0x20, 4, OF_QUEUE | FIXED, 0x1000},
    {0x24, 4, OF_QUEUE | FIXED, 0x2000},
    {0x28, 4, OF_QUEUE | FIXED, 0x3000},
    {0x2c, 4, OF_QUEUE | FIXED, 0x4000},
    {0x30, 4, OF_QUEUE | FIXED, 0x5000},
    {0x34, 4, OF_QUEUE | FIXED, 0x6000},
    {0x38, 2, READ_ONLY | OF_QUEUE, 0},
    {0x3a, 2, OF_QUEUE, 0},
};

static uint32_t legacy_get(uint32_t offset, unsigned len)
{
    uint32_t value = 0x5a5a5a5a;

    assert_true(pci_host_read(&bus, true, HOST_PORTS + offset, len, &value));
    return value;
}

static void legacy_set(uint32_t offset, uint32_t value, unsigned len)
{
    assert_true(pci_host_write(&bus, true, HOST_PORTS + offset, len, value));
}

/* With MSI-X on, so that all registers are there. */
static void legacy_begin(void)
{
    unsigned at;

    pci_begin();
    at = pci.msix_at + 2;
    pci_host_config_write(&bus, 0xcf8, 0x80000800u | (at & 0xfc), 4);
    pci_host_config_write(&bus, (uint16_t)(0xcfc + (at & 3)), 0x8000, 2);
}

static void legacy_drive(void)
{
    legacy_set(18, 3, 1);
    legacy_set(4, 0x40, 4);
    for (unsigned queue = HOST_QUEUES; queue-- > 0;) {
        legacy_set(14, queue, 2);
        legacy_set(22, 1, 2);
        legacy_set(8, 0x123, 4);
    }
    legacy_set(18, 7, 1);
}

/* Source: VIRTIO 1.2, 4.1.4.10 "Legacy Interfaces: A Note on PCI Device Layout". */
static const struct reg legacy_regs[] = {
    {0, 4, READ_ONLY, (uint32_t)HOST_FEATURES},
    {4, 4, FIXED, 0x40},
    {8, 4, OF_QUEUE | IS_READY, 0x123},
    {12, 2, READ_ONLY | OF_QUEUE, HOST_QUEUE_SIZE},
    {14, 2, 0, 0},
    {16, 2, WRITE_ONLY, 0},
    {18, 1, 0, 7},
    {19, 1, READ_ONLY, 0},
    {20, 2, 0, VIRTIO_NO_VECTOR},
    {22, 2, OF_QUEUE, 1},
};

/* ---- what holds for all ---- */

#define REGS(array) .reg = (array), .count = ARRAY_SIZE(array)

static const struct file files[] = {
    {"mmio", mmio_2_begin, mmio_2_drive, mmio_get, mmio_set, REGS(mmio_2_regs), .select = 0x030,
     .status = 0x070, .status_len = 4, .regs = &mmio.regs},
    {"mmio version 1", mmio_1_begin, mmio_1_drive, mmio_get, mmio_set, REGS(mmio_1_regs),
     .select = 0x030, .status = 0x070, .status_len = 4, .is_legacy = true, .regs = &mmio.regs},
    {"pci", pci_begin, modern_drive, modern_get, modern_set, REGS(modern_regs), .select = 0x16,
     .status = 0x14, .status_len = 1, .has_parts = true, .regs = &pci.regs},
    {"pci legacy", legacy_begin, legacy_drive, legacy_get, legacy_set, REGS(legacy_regs),
     .select = 14, .status = 18, .status_len = 1, .has_parts = true, .is_legacy = true,
     .regs = &pci.regs},
};

#define EACH_FILE(file) (const struct file *file = files; file < files + ARRAY_SIZE(files); file++)
#define EACH_REG(r, file) (const struct reg *r = (file)->reg; r < (file)->reg + (file)->count; r++)

static void begin_driven(const struct file *file)
{
    file->begin();
    file->drive();
}

static void expect(const struct file *file, const struct reg *r, const char *what, uint32_t found,
                   uint32_t wanted)
{
    if (found != wanted) {
        fail_msg("%s: register 0x%x, %s: 0x%x, not 0x%x", file->name, r->offset, what, found,
                 wanted);
    }
}

/* The registers as they were, and nothing was asked of the host. */
static void expect_same(const struct file *file, const struct reg *r, const char *what,
                        const struct virtio_regs *before)
{
    if (memcmp(file->regs, before, sizeof(*before)) != 0 || host.log[0] != '\0') {
        fail_msg("%s: register 0x%x, %s: it did \"%s\"", file->name, r->offset, what, host.log);
    }
}

static void snapshot(const struct file *file, struct virtio_regs *copy)
{
    host.log[0] = '\0';
    memcpy(copy, file->regs, sizeof(*copy));
}

/* `before`: of the driven device. */
typedef void register_check(const struct file *file, const struct reg *r,
                            const struct virtio_regs *before);

static void of_each_register(register_check *check)
{
    struct virtio_regs before;

    for
        EACH_FILE(file)
        {
            begin_driven(file);
            snapshot(file, &before);
        for
            EACH_REG(r, file)
            {
                check(file, r, &before);
            }
        }
}

static void read_whole(const struct file *file, const struct reg *r,
                       const struct virtio_regs *before)
{
    expect(file, r, "read", file->get(r->offset, r->len), r->value);
}

static void each_register_reads_what_it_holds(void **state)
{
    of_each_register(read_whole);
}

static void read_bytes(const struct file *file, const struct reg *r,
                       const struct virtio_regs *before)
{
    for (unsigned byte = 0; byte < r->len && r->len > 1; byte++) {
        uint32_t part = file->has_parts ? r->value >> (8 * byte) & 0xff : 0;

        expect(file, r, "a byte of it", file->get(r->offset + byte, 1), part);
    }
}

static void narrow_reads_give_a_part_or_nothing(void **state)
{
    of_each_register(read_bytes);
}

static void read_across(const struct file *file, const struct reg *r,
                        const struct virtio_regs *before)
{
    if (r->len < 4 && r->offset % 4 == 0 && r + 1 < file->reg + file->count) {
        expect(file, r, "four bytes", file->get(r->offset, 4), 0);
    }
    if (r->len == 4) {
        expect(file, r, "across its end", file->get(r->offset + 2, 4), 0);
    }
}

static void reads_of_two_registers_give_nothing(void **state)
{
    of_each_register(read_across);
}

static void write_of_width(const struct file *file, const struct reg *r, unsigned len,
                           const struct virtio_regs *before)
{
    for (unsigned at = 0; at < r->len; at++) {
        if (len != r->len || at != 0) {
            file->set(r->offset + at, 0, len);
            file->set(r->offset + at, 1, len);
            expect_same(file, r, "another width", before);
        }
        if (len + at >= r->len) {
            break; /* the next bytes may be a register of that width */
        }
    }
}

static void write_in_other_widths(const struct file *file, const struct reg *r,
                                  const struct virtio_regs *before)
{
    for (unsigned len = 1; len <= 4; len *= 2) {
        write_of_width(file, r, len, before);
    }
}

static void writes_of_another_width_do_nothing(void **state)
{
    of_each_register(write_in_other_widths);
}

static void write_if_read_only(const struct file *file, const struct reg *r,
                               const struct virtio_regs *before)
{
    if (r->is & READ_ONLY) {
        file->set(r->offset, 0, r->len);
        file->set(r->offset, UINT32_MAX, r->len);
        expect_same(file, r, "it is read only", before);
    }
}

static void what_is_read_only_stays(void **state)
{
    of_each_register(write_if_read_only);
}

static void write_if_fixed(const struct file *file, const struct reg *r,
                           const struct virtio_regs *before)
{
    if (r->is & FIXED) {
        file->set(r->offset, 32, r->len);
        expect_same(file, r, "it was agreed", before);
    }
}

static void what_was_agreed_stays(void **state)
{
    of_each_register(write_if_fixed);
}

/* Source: VIRTIO 1.2, 3.1.1: queues are set up after FEATURES_OK.  Legacy drivers have no such. */
static void queues_wait_for_features_ok(void **state)
{
    struct virtio_regs before;

    for
        EACH_FILE(file)
        {
            file->begin();
            if (file->is_legacy) {
                continue;
            }
            file->set(file->status, 3, file->status_len);
            snapshot(file, &before);
        for
            EACH_REG(r, file)
            {
                /* Any number is a vector, and only a driver that is live has it wired. */
                if ((r->is & OF_QUEUE) && !(file->has_parts && r->offset == 0x1a)) {
                    file->set(r->offset, 1, r->len);
                    expect_same(file, r, "before FEATURES_OK", &before);
                }
            }
        }
}

static void queues_that_are_not_there_are_nothing(void **state)
{
    static const uint32_t numbers[] = {HOST_QUEUES, VIRTIO_REGS_MAX_QUEUES, 0xffff};
    struct virtio_regs before;

    for
        EACH_FILE(file)
        {
            begin_driven(file);
            for (unsigned i = 0; i < ARRAY_SIZE(numbers); i++) {
                file->set(file->select, numbers[i], file->status_len == 4 ? 4 : 2);
                snapshot(file, &before);
            for
                EACH_REG(r, file)
                {
                    bool is_vector =
                        file->has_parts && (r->is & OF_QUEUE) && r->value == 1 && r->offset != 0x1c;

                    if (r->is & OF_QUEUE) {
                        file->set(r->offset, 0, r->len);
                        file->set(r->offset, 1, r->len);
                        expect_same(file, r, "no such queue", &before);
                        expect(file, r, "no such queue", file->get(r->offset, r->len),
                               is_vector ? VIRTIO_NO_VECTOR : 0);
                    }
                }
            }
        }
}

/* Source: VIRTIO 1.2, 2.1.2 "Device Requirements: Device Status Field". */
static void a_queue_that_is_refused_is_not_ready_and_wants_a_reset(void **state)
{
    for
        EACH_FILE(file)
        {
            file->begin();
            host.refuse_queue = -1;
            file->drive();
            assert_non_null(strstr(host.log, "K0S0X0U0s2"));
            assert_true(file->get(file->status, file->status_len) & VIRTIO_STATUS_NEEDS_RESET);
        for
            EACH_REG(r, file)
            {
                if (r->is & IS_READY) {
                    expect(file, r, "refused", file->get(r->offset, r->len), 0);
                }
            }
        file->set(file->status, 0, file->status_len);
        assert_int_equal(file->get(file->status, file->status_len), 0);
        }
}

/* ---- reset amid requests ---- */

static void expect_power_on(const struct file *file, const uint32_t *values)
{
    for
        EACH_REG(r, file)
        {
            expect(file, r, "after a reset", file->get(r->offset, r->len), values[r - file->reg]);
        }
}

static void read_all(const struct file *file, uint32_t *values)
{
    for
        EACH_REG(r, file)
        {
            values[r - file->reg] = file->get(r->offset, r->len);
        }
}

static void a_reset_stops_all_and_leaves_power_on(void **state)
{
    uint32_t values[64];

    for
        EACH_FILE(file)
        {
            file->begin();
            read_all(file, values);
            begin_driven(file);
            host.log[0] = '\0';
            file->set(file->status, 0, file->status_len);
            expect_log(&host, "X0P0U0X1P1U1U2");
            expect_power_on(file, values);
            begin_driven(file);
            host.log[0] = '\0';
            virtio_regs_reset(file->regs); /* the VMM's own, at its end */
            expect_log(&host, "X0P0U0X1P1U1U2");
            expect_power_on(file, values);
        }
}

/* As before the reset, also as a legacy driver. */
static void a_device_can_be_driven_again(void **state)
{
    for
        EACH_FILE(file)
        {
            begin_driven(file);
            virtio_regs_reset(file->regs);
            host.log[0] = '\0';
            if (file->is_legacy) {
                file->set(file->status, 3, file->status_len);
                file->set(file->has_parts ? 8 : 0x040, 0x55, 4);
                file->set(file->status, 7, file->status_len);
                assert_int_equal(host.started[0].desc, 0x55000);
                assert_int_equal(host.started[0].size, HOST_QUEUE_SIZE);
                expect_log(&host, file->has_parts ? "U2U0K0S0k0" : "C2C0K0S0k0");
            }
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_register_reads_what_it_holds),
        cmocka_unit_test(narrow_reads_give_a_part_or_nothing),
        cmocka_unit_test(reads_of_two_registers_give_nothing),
        cmocka_unit_test(writes_of_another_width_do_nothing),
        cmocka_unit_test(what_is_read_only_stays),
        cmocka_unit_test(what_was_agreed_stays),
        cmocka_unit_test(queues_wait_for_features_ok),
        cmocka_unit_test(queues_that_are_not_there_are_nothing),
        cmocka_unit_test(a_queue_that_is_refused_is_not_ready_and_wants_a_reset),
        cmocka_unit_test(a_reset_stops_all_and_leaves_power_on),
        cmocka_unit_test(a_device_can_be_driven_again),
    };

    return unit_run(tests);
}
