/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <errno.h>
#include <string.h>

#include "transports/vmm/pci_host.h"

#define ADDRESS 0xcf8u
#define DATA 0xcfcu
#define ENABLE 0x80000000u

#define PORTS 0xc000u
#define MEMORY 0xe0000000u

/* A function with 32 ports in BAR 0 and 4096 bytes of memory in BAR 3. */
#define BAR_PORTS 0u
#define BAR_MEMORY 3u
#define PORTS_BYTES 32u
#define MEMORY_BYTES 4096u

#define COMMAND 0x04u
#define BAR0 0x10u
#define BAR3 0x1cu

struct gadget {
    struct pci_function fn;
    unsigned moves;
    unsigned config_offset; /* of the last access */
    unsigned config_len;
    unsigned config_writes;
    unsigned config_reads;
    unsigned bar;
    uint32_t offset;
    uint32_t value;
    unsigned len;
};

struct bench {
    struct pci_host host;
    struct gadget gadget;
};

static struct gadget *gadget_of(struct pci_function *fn)
{
    return containerof(fn, struct gadget, fn);
}

static uint32_t gadget_read(struct pci_function *fn, unsigned bar, uint32_t offset, unsigned len)
{
    struct gadget *g = gadget_of(fn);

    g->bar = bar;
    g->offset = offset;
    g->len = len;
    return 0xfeed0000u + offset;
}

static void gadget_write(struct pci_function *fn, unsigned bar, uint32_t offset, uint32_t value,
                         unsigned len)
{
    (void)gadget_read(fn, bar, offset, len);
    gadget_of(fn)->value = value;
}

/* The byte at 0x80 counts the reads of it. */
static void gadget_config_read(struct pci_function *fn, unsigned offset, unsigned len)
{
    struct gadget *g = gadget_of(fn);

    g->config_reads++;
    g->config_offset = offset;
    g->config_len = len;
    pci_config_set(fn, 0x80, g->config_reads, 1);
}

static void gadget_config_written(struct pci_function *fn, unsigned offset, unsigned len)
{
    struct gadget *g = gadget_of(fn);

    g->config_writes++;
    g->config_offset = offset;
    g->config_len = len;
}

static void gadget_moved(struct pci_function *fn)
{
    gadget_of(fn)->moves++;
}

static const struct pci_function_ops gadget_ops = {
    .read = gadget_read,
    .write = gadget_write,
    .config_read = gadget_config_read,
    .config_written = gadget_config_written,
    .moved = gadget_moved,
};

static void gadget_init(struct gadget *g)
{
    memset(g, 0, sizeof(*g));
    pci_function_init(&g->fn, &gadget_ops, 0x1af4, 0x1042, 0x0100);
    pci_function_add_bar(&g->fn, BAR_PORTS, PORTS_BYTES, true);
    pci_function_add_bar(&g->fn, BAR_MEMORY, MEMORY_BYTES, false);
}

static int setup(void **state)
{
    struct bench *b = calloc(1, sizeof(*b));

    assert_non_null(b);
    pci_host_init(&b->host);
    gadget_init(&b->gadget);
    assert_int_equal(pci_host_add(&b->host, &b->gadget.fn, 10), 1);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    struct bench *b = *state;

    pci_host_fini(&b->host);
    free(b);
    return 0;
}

static void look_at(struct bench *b, unsigned slot, unsigned offset)
{
    pci_host_config_write(&b->host, ADDRESS, ENABLE | slot << 11 | (offset & 0xfc), 4);
}

static uint32_t get(struct bench *b, unsigned slot, unsigned offset, unsigned len)
{
    look_at(b, slot, offset);
    return pci_host_config_read(&b->host, (uint16_t)(DATA + (offset & 3)), len);
}

static void set(struct bench *b, unsigned offset, unsigned len, uint32_t value)
{
    look_at(b, 1, offset);
    pci_host_config_write(&b->host, (uint16_t)(DATA + (offset & 3)), value, len);
}

/* ---- ports ---- */

static void address_port_keeps_what_is_defined(void **state)
{
    struct bench *b = *state;

    pci_host_config_write(&b->host, ADDRESS, 0xffffffff, 4);
    assert_int_equal(pci_host_config_read(&b->host, ADDRESS, 4), 0x80fffffc);
}

static void address_port_is_one_of_4_bytes_only(void **state)
{
    struct bench *b = *state;

    pci_host_config_write(&b->host, ADDRESS, 0x80000800, 4);
    pci_host_config_write(&b->host, ADDRESS, 0, 1);
    pci_host_config_write(&b->host, ADDRESS, 0, 2);
    pci_host_config_write(&b->host, ADDRESS + 1, 0, 1);
    pci_host_config_write(&b->host, ADDRESS + 2, 0, 2);
    assert_int_equal(pci_host_config_read(&b->host, ADDRESS, 4), 0x80000800);
    assert_int_equal(pci_host_config_read(&b->host, ADDRESS, 1), 0xff);
    assert_int_equal(pci_host_config_read(&b->host, ADDRESS, 2), 0xffff);
    assert_int_equal(pci_host_config_read(&b->host, ADDRESS + 2, 2), 0xffff);
}

static void data_ports_show_bytes_words_and_all(void **state)
{
    struct bench *b = *state;

    assert_int_equal(get(b, 1, 0, 4), 0x10421af4);
    assert_int_equal(get(b, 1, 0, 2), 0x1af4);
    assert_int_equal(get(b, 1, 2, 2), 0x1042);
    assert_int_equal(get(b, 1, 1, 2), 0x421a);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(get(b, 1, i, 1), 0x10421af4u >> (8 * i) & 0xff);
    }
}

static void data_access_past_the_last_port_is_none(void **state)
{
    struct bench *b = *state;

    look_at(b, 1, 0x3c);
    assert_int_equal(pci_host_config_read(&b->host, DATA + 3, 2), 0xffff);
    assert_int_equal(pci_host_config_read(&b->host, DATA + 2, 4), 0xffffffff);
    pci_host_config_write(&b->host, DATA + 2, 0, 4);
    pci_host_config_write(&b->host, DATA - 1, 0, 2);
    assert_int_equal(b->gadget.config_reads, 0);
    assert_int_equal(b->gadget.config_writes, 0);
}

static void nothing_is_shown_without_the_enable_bit(void **state)
{
    struct bench *b = *state;

    pci_host_config_write(&b->host, ADDRESS, 1 << 11, 4);
    assert_int_equal(pci_host_config_read(&b->host, DATA, 4), 0xffffffff);
    pci_host_config_write(&b->host, DATA, 0x55, 1);
    assert_int_equal(b->gadget.config_writes, 0);
}

static void empty_places_read_as_all_ones(void **state)
{
    struct bench *b = *state;
    static const uint32_t places[] = {
        ENABLE | 2u << 11,            /* no such slot */
        ENABLE | 31u << 11,           /* nor this */
        ENABLE | 1u << 16 | 1u << 11, /* another bus */
        ENABLE | 1u << 11 | 1u << 8,  /* another function */
        ENABLE | 0xffu << 16,         /* the last bus */
    };

    for (unsigned i = 0; i < ARRAY_SIZE(places); i++) {
        pci_host_config_write(&b->host, ADDRESS, places[i], 4);
        assert_int_equal(pci_host_config_read(&b->host, DATA, 4), 0xffffffff);
        assert_int_equal(pci_host_config_read(&b->host, DATA, 2), 0xffff);
        assert_int_equal(pci_host_config_read(&b->host, DATA, 1), 0xff);
        pci_host_config_write(&b->host, DATA, 0, 4);
    }
    assert_int_equal(b->gadget.config_writes, 0);
}

static void bridge_stands_in_slot_0(void **state)
{
    struct bench *b = *state;

    assert_int_equal(get(b, 0, 0x00, 4), 0x12378086);
    assert_int_equal(get(b, 0, 0x0a, 2), 0x0600);
    assert_int_equal(get(b, 0, 0x0e, 1), 0); /* one function, no bridge to another bus */
}

static void bridge_takes_writes_without_a_word(void **state)
{
    struct bench *b = *state;

    look_at(b, 0, COMMAND);
    pci_host_config_write(&b->host, DATA, 0xffffffff, 4);
    look_at(b, 0, BAR0);
    pci_host_config_write(&b->host, DATA, 0xffffffff, 4);
    assert_int_equal(get(b, 0, BAR0, 4), 0); /* it has no BAR */
}

/* ---- functions ---- */

static void bus_of_32_is_full(void **state)
{
    struct bench *b = *state;
    static struct pci_function fn[32];

    for (unsigned i = 2; i < 32; i++) {
        pci_function_init(&fn[i], &gadget_ops, 1, 2, 3);
        assert_int_equal(pci_host_add(&b->host, &fn[i], 10), i);
    }
    pci_function_init(&fn[0], &gadget_ops, 1, 2, 3);
    assert_int_equal(pci_host_add(&b->host, &fn[0], 10), -ENOSPC);
}

static void interrupt_line_and_pin_are_told(void **state)
{
    struct bench *b = *state;

    assert_int_equal(get(b, 1, 0x3c, 1), 10);
    assert_int_equal(get(b, 1, 0x3d, 1), 1);
}

static void only_writable_bits_change(void **state)
{
    struct bench *b = *state;

    for (unsigned offset = 0; offset < 0x100; offset += 4) {
        set(b, offset, 4, 0xffffffff);
    }
    assert_int_equal(get(b, 1, 0x00, 4), 0x10421af4);
    assert_int_equal(get(b, 1, COMMAND, 2), 0x0407); /* ports, memory, master, no INTx */
    assert_int_equal(get(b, 1, 0x06, 2), 0);
    assert_int_equal(get(b, 1, 0x08, 4), 0x01000000);
    assert_int_equal(get(b, 1, 0x30, 4), 0); /* no expansion ROM */
    assert_int_equal(get(b, 1, 0x3c, 2), 0x01ff);
    assert_int_equal(get(b, 1, 0xfc, 4), 0);
}

static void write_of_a_byte_leaves_its_neighbours(void **state)
{
    struct bench *b = *state;

    set(b, BAR3, 4, 0xe1234000);
    set(b, BAR3 + 2, 1, 0x56);
    assert_int_equal(get(b, 1, BAR3, 4), 0xe1564000);
    set(b, BAR3 + 1, 2, 0xabcd);
    assert_int_equal(get(b, 1, BAR3, 4), 0xe1abc000);
}

static void function_hears_of_reads_before_and_of_writes_after(void **state)
{
    struct bench *b = *state;

    assert_int_equal(get(b, 1, 0x80, 1), 1); /* set by its hook */
    assert_int_equal(b->gadget.config_offset, 0x80);
    set(b, 0x3e, 2, 0);
    assert_int_equal(b->gadget.config_writes, 1);
    assert_int_equal(b->gadget.config_offset, 0x3e);
    assert_int_equal(b->gadget.config_len, 2);
}

static void capabilities_are_linked_in_their_order(void **state)
{
    struct bench *b = *state;
    unsigned first;
    unsigned second;

    assert_int_equal(get(b, 1, 0x34, 1), 0);
    first = pci_function_add_capability(&b->gadget.fn, 0x11, 9); /* 12 with its padding */
    second = pci_function_add_capability(&b->gadget.fn, 0x09, 16);
    assert_true(get(b, 1, 0x06, 2) & 0x10);
    assert_int_equal(get(b, 1, 0x34, 1), first);
    assert_int_equal(get(b, 1, first, 2), 0x11 | second << 8);
    assert_int_equal(get(b, 1, second, 2), 0x09);
    assert_int_equal(second, first + 12);
}

/* ---- BARs ---- */

static void ones_show_the_size_of_a_bar(void **state)
{
    struct bench *b = *state;

    set(b, BAR0, 4, 0xffffffff);
    assert_int_equal(get(b, 1, BAR0, 4) & 0xffff, 0xffe1);
    set(b, BAR3, 4, 0xffffffff);
    assert_int_equal(get(b, 1, BAR3, 4), 0xfffff000);
    set(b, BAR0 + 4, 4, 0xffffffff);
    assert_int_equal(get(b, 1, BAR0 + 4, 4), 0); /* there is none */
}

static bool read_at(struct bench *b, bool is_io, uint64_t addr, unsigned len)
{
    uint32_t value;

    return pci_host_read(&b->host, is_io, addr, len, &value);
}

static void bars_answer_only_when_their_space_is_on(void **state)
{
    struct bench *b = *state;

    set(b, BAR0, 4, PORTS);
    set(b, BAR3, 4, MEMORY);
    assert_false(read_at(b, true, PORTS, 1));
    assert_false(read_at(b, false, MEMORY, 1));
    set(b, COMMAND, 2, 1);
    assert_true(read_at(b, true, PORTS, 1));
    assert_false(read_at(b, false, MEMORY, 1));
    set(b, COMMAND, 2, 2);
    assert_false(read_at(b, true, PORTS, 1));
    assert_true(read_at(b, false, MEMORY, 1));
}

static void firmware_gives_each_bar_its_place(void **state)
{
    struct bench *b = *state;
    static struct gadget other;

    gadget_init(&other);
    assert_int_equal(pci_host_add(&b->host, &other.fn, 11), 2);
    pci_host_assign(&b->host, PORTS + 4, MEMORY + 4); /* odd starts are rounded */
    assert_int_equal(get(b, 1, BAR0, 4), (PORTS + 32) | 1);
    assert_int_equal(get(b, 2, BAR0, 4), (PORTS + 64) | 1);
    assert_int_equal(get(b, 1, BAR3, 4), MEMORY + 0x1000);
    assert_int_equal(get(b, 2, BAR3, 4), MEMORY + 0x2000);
    assert_true(read_at(b, true, PORTS + 32, 4));
    assert_int_equal(b->gadget.bar, BAR_PORTS);
    assert_true(read_at(b, false, MEMORY + 0x2000, 4));
    assert_int_equal(other.bar, BAR_MEMORY);
}

static void access_is_told_from_the_start_of_the_bar(void **state)
{
    struct bench *b = *state;
    uint32_t value = 0;

    pci_host_assign(&b->host, PORTS, MEMORY);
    assert_true(pci_host_read(&b->host, false, MEMORY + 0x123, 2, &value));
    assert_int_equal(value, 0xfeed0123);
    assert_int_equal(b->gadget.len, 2);
    assert_true(pci_host_write(&b->host, true, PORTS + 5, 1, 0x77));
    assert_int_equal(b->gadget.bar, BAR_PORTS);
    assert_int_equal(b->gadget.offset, 5);
    assert_int_equal(b->gadget.value, 0x77);
    assert_int_equal(b->gadget.len, 1);
}

static void access_over_the_edge_of_a_bar_hits_nobody(void **state)
{
    struct bench *b = *state;

    pci_host_assign(&b->host, PORTS, MEMORY);
    assert_true(read_at(b, true, PORTS + 28, 4));
    assert_false(read_at(b, true, PORTS + 29, 4));
    assert_false(read_at(b, true, PORTS + 32, 1));
    assert_false(read_at(b, true, PORTS - 1, 2));
    assert_true(read_at(b, false, MEMORY + 4092, 4));
    assert_false(read_at(b, false, MEMORY + 4093, 4));
    assert_false(pci_host_write(&b->host, false, MEMORY + 4096, 4, 1));
    assert_false(pci_host_write(&b->host, false, UINT64_MAX, 4, 1));
}

static void ports_and_memory_are_two_spaces(void **state)
{
    struct bench *b = *state;

    pci_host_assign(&b->host, PORTS, MEMORY);
    assert_false(read_at(b, false, PORTS, 1));
    assert_false(read_at(b, true, MEMORY, 1));
    assert_false(read_at(b, false, MEMORY + (1ull << 32), 1)); /* a BAR of 32 bits */
}

static void moved_bar_answers_at_its_new_place_only(void **state)
{
    struct bench *b = *state;

    pci_host_assign(&b->host, PORTS, MEMORY);
    set(b, BAR3, 4, 0xd0000000);
    assert_false(read_at(b, false, MEMORY, 1));
    assert_true(read_at(b, false, 0xd0000000, 1));
}

static void each_move_is_told_once(void **state)
{
    struct bench *b = *state;

    pci_host_assign(&b->host, PORTS, MEMORY);
    assert_int_equal(b->gadget.moves, 1);
    set(b, BAR3, 4, MEMORY); /* there already */
    set(b, 0x3c, 1, 5);
    assert_int_equal(b->gadget.moves, 1);
    set(b, BAR3, 4, 0xd0000000);
    assert_int_equal(b->gadget.moves, 2);
    set(b, COMMAND, 2, 0);
    assert_int_equal(b->gadget.moves, 3);
    set(b, COMMAND, 2, 3);
    assert_int_equal(b->gadget.moves, 4);
}

/* Source: PCI Express Base Specification 3.0, 7.2.2 "Enhanced Configuration Access Mechanism". */
static void memory_shows_the_configuration_of_each_function(void **state)
{
    struct bench *b = *state;

    assert_int_equal(pci_host_ecam_read(&b->host, 0, 4), 0x12378086);
    assert_int_equal(pci_host_ecam_read(&b->host, 1 << 15, 4), 0x10421af4);
    assert_int_equal(pci_host_ecam_read(&b->host, (1 << 15) + 2, 2), 0x1042);
    assert_int_equal(pci_host_ecam_read(&b->host, (1 << 15) + 0xff, 1), 0);
    pci_host_ecam_write(&b->host, (1 << 15) + COMMAND, 2, 2);
    assert_int_equal(get(b, 1, COMMAND, 2), 2);
    assert_int_equal(b->gadget.config_writes, 1);
    assert_int_equal(b->gadget.config_offset, COMMAND);
}

static void memory_shows_nothing_elsewhere(void **state)
{
    struct bench *b = *state;
    static const uint32_t nothing[] = {
        (1 << 15) + 0x100,     /* no extended configuration */
        (1 << 15) + 0xfe,      /* across its end */
        (1 << 15) + 0xffe,     /* across the page */
        (1 << 15) + (1 << 12), /* function 1 */
        2 << 15,               /* no device */
        PCI_ECAM_BYTES - 4,
    };

    for (unsigned i = 0; i < ARRAY_SIZE(nothing); i++) {
        assert_int_equal(pci_host_ecam_read(&b->host, nothing[i], 4), UINT32_MAX);
        pci_host_ecam_write(&b->host, nothing[i], UINT32_MAX, 4);
    }
    assert_int_equal(b->gadget.config_writes, 0);
    assert_int_equal(b->gadget.config_reads, 0);
}

int main(void)
{
#define bus_test(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    static const struct CMUnitTest tests[] = {
        bus_test(address_port_keeps_what_is_defined),
        bus_test(address_port_is_one_of_4_bytes_only),
        bus_test(data_ports_show_bytes_words_and_all),
        bus_test(data_access_past_the_last_port_is_none),
        bus_test(nothing_is_shown_without_the_enable_bit),
        bus_test(empty_places_read_as_all_ones),
        bus_test(bridge_stands_in_slot_0),
        bus_test(bridge_takes_writes_without_a_word),
        bus_test(bus_of_32_is_full),
        bus_test(interrupt_line_and_pin_are_told),
        bus_test(only_writable_bits_change),
        bus_test(write_of_a_byte_leaves_its_neighbours),
        bus_test(function_hears_of_reads_before_and_of_writes_after),
        bus_test(capabilities_are_linked_in_their_order),
        bus_test(ones_show_the_size_of_a_bar),
        bus_test(bars_answer_only_when_their_space_is_on),
        bus_test(firmware_gives_each_bar_its_place),
        bus_test(access_is_told_from_the_start_of_the_bar),
        bus_test(access_over_the_edge_of_a_bar_hits_nobody),
        bus_test(ports_and_memory_are_two_spaces),
        bus_test(moved_bar_answers_at_its_new_place_only),
        bus_test(each_move_is_told_once),
        bus_test(memory_shows_the_configuration_of_each_function),
        bus_test(memory_shows_nothing_elsewhere),
    };

    return unit_run(tests);
}
