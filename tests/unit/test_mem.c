/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/virtio/mem.h"

#define PAGE 4096u
#define FILE_BYTES (16 * PAGE)
#define GUEST 0x100000ull
#define USER 0x7f0000000000ull

/* A memfd whose byte at offset n is n / 256, so that each page and quarter differs. */
struct world {
    struct mem mem;
    struct err err;
    int fd;
};

static int world_start(void **state)
{
    static struct world world;
    static uint8_t bytes[FILE_BYTES];

    for (unsigned i = 0; i < FILE_BYTES; i++) {
        bytes[i] = (uint8_t)(i / 256);
    }
    world.fd = memfd_create("mem", MFD_CLOEXEC);
    assert(world.fd >= 0 && write(world.fd, bytes, FILE_BYTES) == FILE_BYTES);
    mem_init(&world.mem);
    *state = &world;
    return 0;
}

static int world_stop(void **state)
{
    struct world *world = *state;

    mem_guard_watch(NULL);
    mem_clear(&world->mem);
    close(world->fd);
    return 0;
}

static int add(struct world *w, uint64_t guest, uint64_t size, uint64_t user, uint64_t offset)
{
    struct mem_layout layout = {
        .guest_addr = guest, .size = size, .user_addr = user, .offset = offset};

    w->err.text[0] = '\0';
    return mem_add(&w->mem, &layout, w->fd, &w->err);
}

/* One region of four pages at GUEST, from the file's start. */
static struct world *with_region(void **state)
{
    struct world *w = *state;

    assert_int_equal(add(w, GUEST, 4 * PAGE, USER, 0), 0);
    return w;
}

static void no_memory_resolves_nothing(void **state)
{
    struct world *w = *state;
    uint64_t len = 1;
    uint8_t byte;

    assert_null(mem_at(&w->mem, 0, 1));
    assert_null(mem_at_user(&w->mem, 0, 1));
    assert_null(mem_piece(&w->mem, 0, &len));
    assert_false(mem_read(&w->mem, 0, &byte, 1));
}

static void first_and_last_byte_are_found(void **state)
{
    struct world *w = with_region(state);
    uint8_t *first = mem_at(&w->mem, GUEST, 1);
    uint8_t *last = mem_at(&w->mem, GUEST + 4 * PAGE - 1, 1);

    assert_non_null(first);
    assert_non_null(last);
    assert_int_equal(*first, 0);
    assert_int_equal(*last, 63);
    assert_ptr_equal(mem_at(&w->mem, GUEST, 4 * PAGE), first);
}

static void bytes_beside_the_region_are_not_there(void **state)
{
    struct world *w = with_region(state);

    assert_null(mem_at(&w->mem, GUEST - 1, 1));
    assert_null(mem_at(&w->mem, GUEST - 1, 2));
    assert_null(mem_at(&w->mem, GUEST + 4 * PAGE, 1));
    assert_null(mem_at(&w->mem, GUEST + 4 * PAGE - 1, 2));
    assert_null(mem_at(&w->mem, GUEST, 4 * PAGE + 1));
}

static void lengths_that_wrap_are_refused(void **state)
{
    struct world *w = with_region(state);
    uint64_t len = UINT64_MAX;

    assert_null(mem_at(&w->mem, GUEST + 1, UINT64_MAX));
    assert_null(mem_at(&w->mem, GUEST + 1, UINT64_MAX - GUEST + 1));
    assert_null(mem_at(&w->mem, UINT64_MAX, 2));
    assert_null(mem_at_user(&w->mem, USER + 1, UINT64_MAX - USER + 1));
    assert_non_null(mem_piece(&w->mem, GUEST + 1, &len));
    assert_int_equal(len, 4 * PAGE - 1);
}

static void piece_is_as_long_as_wanted_inside(void **state)
{
    struct world *w = with_region(state);
    uint64_t len = 100;

    assert_ptr_equal(mem_piece(&w->mem, GUEST + 50, &len), mem_at(&w->mem, GUEST + 50, 1));
    assert_int_equal(len, 100);
}

static void piece_ends_with_its_region(void **state)
{
    struct world *w = with_region(state);
    uint64_t len = 100;

    assert_int_equal(add(w, GUEST + 4 * PAGE, PAGE, USER + 4 * PAGE, 8 * PAGE), 0);

    uint8_t *first = mem_piece(&w->mem, GUEST + 4 * PAGE - 30, &len);

    assert_non_null(first);
    assert_int_equal(len, 30);
    len = 70;

    uint8_t *second = mem_piece(&w->mem, GUEST + 4 * PAGE, &len);

    assert_non_null(second);
    assert_int_equal(len, 70);
    assert_int_equal(*second, 8 * PAGE / 256);
}

static void one_address_does_not_span_two_regions(void **state)
{
    struct world *w = with_region(state);

    assert_int_equal(add(w, GUEST + 4 * PAGE, PAGE, USER + 4 * PAGE, 8 * PAGE), 0);
    assert_null(mem_at(&w->mem, GUEST + 4 * PAGE - 1, 2));
    assert_null(mem_at_user(&w->mem, USER + 4 * PAGE - 1, 2));
}

static void read_goes_over_a_region_edge(void **state)
{
    struct world *w = with_region(state);
    uint8_t bytes[4];

    assert_int_equal(add(w, GUEST + 4 * PAGE, PAGE, USER + 4 * PAGE, 8 * PAGE), 0);
    assert_true(mem_read(&w->mem, GUEST + 4 * PAGE - 2, bytes, 4));
    assert_memory_equal(bytes, ((uint8_t[]){63, 63, 128, 128}), 4);
}

static void read_past_all_memory_fails(void **state)
{
    struct world *w = with_region(state);
    uint8_t bytes[4];

    assert_true(mem_read(&w->mem, GUEST + 4 * PAGE - 4, bytes, 4));
    assert_false(mem_read(&w->mem, GUEST + 4 * PAGE - 3, bytes, 4));
    assert_false(mem_read(&w->mem, GUEST - 1, bytes, 4));
    assert_false(mem_read(&w->mem, UINT64_MAX - 1, bytes, 4));
}

static void regions_in_any_order_are_found(void **state)
{
    struct world *w = *state;

    for (unsigned i = 0; i < 8; i++) {
        unsigned at = (i * 5) % 8; /* 0 5 2 7 4 1 6 3 */

        assert_int_equal(add(w, GUEST + 2 * at * PAGE, PAGE, USER + 2 * at * PAGE, at * PAGE), 0);
    }
    for (unsigned i = 0; i < 8; i++) {
        uint8_t *byte = mem_at(&w->mem, GUEST + 2 * i * PAGE + 1, 1);

        assert_non_null(byte);
        assert_int_equal(*byte, i * PAGE / 256);
        assert_null(mem_at(&w->mem, GUEST + (2 * i + 1) * PAGE, 1));
    }
}

static void empty_region_is_refused(void **state)
{
    struct world *w = *state;

    assert_int_not_equal(add(w, GUEST, 0, USER, 0), 0);
    assert_string_not_equal(w->err.text, "");
    assert_int_equal(w->mem.count, 0);
}

static void overlaps_are_refused(void **state)
{
    struct world *w = with_region(state);

    assert_int_not_equal(add(w, GUEST, 4 * PAGE, USER + 64 * PAGE, 0), 0);
    assert_int_not_equal(add(w, GUEST - PAGE, 2 * PAGE, USER + 64 * PAGE, 0), 0);
    assert_int_not_equal(add(w, GUEST + 3 * PAGE, 2 * PAGE, USER + 64 * PAGE, 0), 0);
    assert_int_not_equal(add(w, GUEST + PAGE, PAGE, USER + 64 * PAGE, 0), 0);
    assert_int_not_equal(add(w, GUEST - PAGE, 6 * PAGE, USER + 64 * PAGE, 0), 0);
    assert_string_not_equal(w->err.text, "");
    assert_int_equal(w->mem.count, 1);
}

static void neighbours_are_no_overlap(void **state)
{
    struct world *w = with_region(state);

    assert_int_equal(add(w, GUEST - PAGE, PAGE, USER + 64 * PAGE, 0), 0);
    assert_int_equal(add(w, GUEST + 4 * PAGE, PAGE, USER + 65 * PAGE, 0), 0);
}

static void wrapping_regions_are_refused(void **state)
{
    struct world *w = *state;

    assert_int_not_equal(add(w, UINT64_MAX - PAGE + 1, 2 * PAGE, USER, 0), 0);
    assert_int_not_equal(add(w, GUEST, 2 * PAGE, UINT64_MAX - PAGE + 1, 0), 0);
    assert_int_not_equal(add(w, GUEST, 2 * PAGE, USER, UINT64_MAX - PAGE + 1), 0);
    assert_int_not_equal(add(w, GUEST, UINT64_MAX - PAGE, USER, 0), 0);
}

static void file_shorter_than_the_region_is_refused(void **state)
{
    struct world *w = *state;

    assert_int_not_equal(add(w, GUEST, FILE_BYTES + 1, USER, 0), 0);
    assert_string_not_equal(w->err.text, "");
    assert_int_not_equal(add(w, GUEST, PAGE, USER, FILE_BYTES), 0);
    assert_int_not_equal(add(w, GUEST, PAGE, USER, FILE_BYTES - PAGE + 1), 0);
    assert_int_equal(add(w, GUEST, PAGE, USER, FILE_BYTES - PAGE), 0);
}

static void fd_that_cannot_be_mapped_is_refused(void **state)
{
    struct world *w = *state;
    int fds[2];
    struct mem_layout layout = {.guest_addr = GUEST, .size = PAGE, .user_addr = USER};

    assert_int_equal(pipe(fds), 0);
    assert_int_not_equal(mem_add(&w->mem, &layout, fds[0], &w->err), 0);
    assert_int_equal(w->mem.count, 0);
    close(fds[0]);
    close(fds[1]);
}

static void region_may_end_inside_a_page(void **state)
{
    struct world *w = *state;

    assert_int_equal(add(w, GUEST, PAGE + 100, USER, 0), 0);
    assert_non_null(mem_at(&w->mem, GUEST + PAGE + 99, 1));
    assert_null(mem_at(&w->mem, GUEST + PAGE + 100, 1));
}

static void file_may_end_inside_a_page(void **state)
{
    struct world *w = *state;

    assert_int_equal(ftruncate(w->fd, PAGE + 100), 0);
    assert_int_equal(add(w, GUEST, PAGE + 100, USER, 0), 0);
    assert_int_equal(*(uint8_t *)mem_at(&w->mem, GUEST + PAGE + 99, 1), 16);
}

static void offset_need_not_be_a_multiple_of_the_page(void **state)
{
    struct world *w = *state;

    assert_int_equal(add(w, GUEST, PAGE, USER, PAGE + 512), 0);
    assert_int_equal(*(uint8_t *)mem_at(&w->mem, GUEST, 1), (PAGE + 512) / 256);
    assert_int_equal(*(uint8_t *)mem_at(&w->mem, GUEST + PAGE - 1, 1), (2 * PAGE + 511) / 256);
    assert_null(mem_at(&w->mem, GUEST + PAGE, 1));
}

static void table_holds_509_regions_and_no_more(void **state)
{
    struct world *w = *state;

    for (unsigned i = 0; i < MEM_MAX_REGIONS; i++) {
        assert_int_equal(add(w, GUEST + i * PAGE, PAGE, USER + i * PAGE, 0), 0);
    }
    assert_int_not_equal(
        add(w, GUEST + MEM_MAX_REGIONS * PAGE, PAGE, USER + MEM_MAX_REGIONS * PAGE, 0), 0);
    assert_string_not_equal(w->err.text, "");
    assert_non_null(mem_at(&w->mem, GUEST + (MEM_MAX_REGIONS - 1) * PAGE, PAGE));
}

static void mapping_outlives_the_fd(void **state)
{
    struct world *w = with_region(state);

    close(w->fd);
    assert_int_equal(*(uint8_t *)mem_at(&w->mem, GUEST + PAGE, 1), PAGE / 256);
    w->fd = memfd_create("other", MFD_CLOEXEC);
}

/* Who takes the memory over maps the same file; with the region its descriptor goes. */
static void a_region_keeps_a_descriptor_of_its_file(void **state)
{
    struct world *w = *state;
    struct stat own, kept;
    int fd;

    assert_int_equal(add(w, GUEST, 4 * PAGE, USER, 0), 0);
    fd = w->mem.region[0].fd;
    assert_int_not_equal(fd, w->fd);
    assert_int_equal(fstat(w->fd, &own), 0);
    assert_int_equal(fstat(fd, &kept), 0);
    assert_int_equal(own.st_ino, kept.st_ino);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    mem_clear(&w->mem);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
}

static void writes_reach_the_file(void **state)
{
    struct world *w = with_region(state);
    uint8_t byte;

    *(uint8_t *)mem_at(&w->mem, GUEST + 17, 1) = 0xa5;
    assert_int_equal(pread(w->fd, &byte, 1, 17), 1);
    assert_int_equal(byte, 0xa5);
}

static void user_addresses_are_their_own_space(void **state)
{
    struct world *w = with_region(state);

    assert_int_equal(add(w, USER, PAGE, GUEST, 8 * PAGE), 0);
    assert_int_equal(*(uint8_t *)mem_at_user(&w->mem, USER + PAGE, 1), PAGE / 256);
    assert_int_equal(*(uint8_t *)mem_at_user(&w->mem, GUEST, 1), 8 * PAGE / 256);
    assert_non_null(mem_at_user(&w->mem, USER, 4 * PAGE));
    assert_null(mem_at_user(&w->mem, USER + 4 * PAGE, 1));
    assert_null(mem_at_user(&w->mem, USER + 4 * PAGE - 1, 2));
}

static int take_away(struct world *w, uint64_t guest, uint64_t size, uint64_t user)
{
    struct mem_layout layout = {.guest_addr = guest, .size = size, .user_addr = user};

    return mem_remove(&w->mem, &layout, &w->err);
}

static void removed_region_is_gone_and_others_stay(void **state)
{
    struct world *w = with_region(state);

    assert_int_equal(add(w, GUEST + 8 * PAGE, PAGE, USER + 8 * PAGE, 8 * PAGE), 0);
    assert_int_equal(add(w, GUEST + 12 * PAGE, PAGE, USER + 12 * PAGE, 12 * PAGE), 0);
    assert_non_null(mem_at(&w->mem, GUEST + 12 * PAGE, 1));
    assert_int_equal(take_away(w, GUEST + 8 * PAGE, PAGE, USER + 8 * PAGE), 0);
    assert_null(mem_at(&w->mem, GUEST + 8 * PAGE, 1));
    assert_int_equal(*(uint8_t *)mem_at(&w->mem, GUEST, 1), 0);
    assert_int_equal(*(uint8_t *)mem_at(&w->mem, GUEST + 12 * PAGE, 1), 12 * PAGE / 256);
}

static void removing_the_last_region_leaves_nothing(void **state)
{
    struct world *w = with_region(state);

    assert_non_null(mem_at(&w->mem, GUEST, 1));
    assert_int_equal(take_away(w, GUEST, 4 * PAGE, USER), 0);
    assert_null(mem_at(&w->mem, GUEST, 1));
    assert_int_equal(add(w, GUEST, PAGE, USER, 0), 0);
}

static void remove_needs_all_three_to_match(void **state)
{
    struct world *w = with_region(state);

    assert_int_not_equal(take_away(w, GUEST + PAGE, 4 * PAGE, USER), 0);
    assert_int_not_equal(take_away(w, GUEST, 3 * PAGE, USER), 0);
    assert_int_not_equal(take_away(w, GUEST, 4 * PAGE, USER + PAGE), 0);
    assert_non_null(mem_at(&w->mem, GUEST, 4 * PAGE));
}

static void cleared_memory_can_be_filled_again(void **state)
{
    struct world *w = with_region(state);

    mem_clear(&w->mem);
    assert_int_equal(w->mem.count, 0);
    assert_null(mem_at(&w->mem, GUEST, 1));
    assert_int_equal(add(w, GUEST, 4 * PAGE, USER, 0), 0);
    assert_non_null(mem_at(&w->mem, GUEST, 1));
}

/* ---- limits ---- */

#define TIB (1ull << 40)
#define BIG (8 * TIB)

/* A file that is nothing but a hole. */
static int hole(uint64_t size)
{
    int fd = memfd_create("hole", MFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    return fd;
}

static int add_hole(struct world *w, struct mem *mem, int fd, uint64_t at, uint64_t size)
{
    const struct mem_layout layout = {.guest_addr = at, .size = size, .user_addr = at};

    return mem_add(mem, &layout, fd, &w->err);
}

/* Valgrind and the thread sanitizer leave a program less than the limits. */
static bool has_addresses(void)
{
    void *map = mmap(NULL, MEM_MAX_BYTES_OF_ALL, PROT_NONE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return map != MAP_FAILED && munmap(map, MEM_MAX_BYTES_OF_ALL) == 0;
}

/* The same file counts each time: it is the addresses that are used up. */
static void one_front_end_shares_so_much_and_no_more(void **state)
{
    struct world *w = *state;
    int fd = hole(MEM_MAX_BYTES + PAGE);

    if (!has_addresses()) {
        close(fd);
        return;
    }
    assert_int_equal(add_hole(w, &w->mem, fd, 0, MEM_MAX_BYTES + 1), -ENOMEM);
    for (uint64_t at = 0; at < MEM_MAX_BYTES; at += BIG) {
        assert_int_equal(add_hole(w, &w->mem, fd, at, BIG), 0);
    }
    assert_int_equal(add_hole(w, &w->mem, fd, MEM_MAX_BYTES, 1), -ENOMEM);
    assert_non_null(strstr(w->err.text, "32 TiB is the most; give the guest less memory"));
    assert_int_equal(w->mem.count, MEM_MAX_BYTES / BIG);
    assert_int_equal(
        mem_remove(&w->mem, &(struct mem_layout){.size = BIG, .guest_addr = 0}, &w->err), 0);
    assert_int_equal(add_hole(w, &w->mem, fd, MEM_MAX_BYTES, 1), 0);
    close(fd);
}

static void what_cannot_be_mapped_does_not_count(void **state)
{
    struct world *w = *state;
    const struct mem_layout layout = {.size = PAGE};
    int fd = memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    assert_int_equal(ftruncate(fd, PAGE), 0);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), 0);
    assert_int_equal(mem_add(&w->mem, &layout, fd, &w->err), -EPERM);
    assert_int_equal(w->mem.mapped, 0);
    close(fd);
}

static void all_front_ends_share_so_much_and_no_more(void **state)
{
    struct world *w = *state;
    static struct mem other[MEM_MAX_BYTES_OF_ALL / MEM_MAX_BYTES];
    int fd = hole(MEM_MAX_BYTES);
    int ret = 0;

    if (!has_addresses()) {
        close(fd);
        return;
    }
    for (unsigned i = 0; i < ARRAY_SIZE(other); i++) {
        assert_int_equal(add_hole(w, &other[i], fd, 0, MEM_MAX_BYTES), 0);
    }
    assert_int_equal(add_hole(w, &w->mem, fd, 0, PAGE), -ENOMEM);
    assert_non_null(strstr(w->err.text, "96 TiB is the most; end another guest, or serve some by"));
    assert_int_equal(w->mem.count, 0);
    mem_clear(&other[0]);
    ret = add_hole(w, &w->mem, fd, 0, MEM_MAX_BYTES);
    for (unsigned i = 1; i < ARRAY_SIZE(other); i++) {
        mem_clear(&other[i]);
    }
    assert_int_equal(ret, 0);
    close(fd);
}

static void guard_is_quiet_while_the_file_is_whole(void **state)
{
    struct world *w = with_region(state);

    mem_guard_install();
    mem_guard_watch(&w->mem);
    assert_int_equal(*(volatile uint8_t *)mem_at(&w->mem, GUEST + PAGE, 1), PAGE / 256);
    assert_false(mem_guard_take());
}

static void truncated_memory_reads_as_zeroes_and_trips_the_guard(void **state)
{
    struct world *w = with_region(state);

    mem_guard_install();
    mem_guard_watch(&w->mem);
    assert_int_equal(ftruncate(w->fd, 0), 0);
    assert_int_equal(*(volatile uint8_t *)mem_at(&w->mem, GUEST + 3 * PAGE + 5, 1), 0);
    assert_true(mem_guard_take());
    assert_int_equal(*(volatile uint8_t *)mem_at(&w->mem, GUEST, 1), 0);
}

static void truncated_memory_takes_writes(void **state)
{
    struct world *w = with_region(state);

    mem_guard_install();
    mem_guard_watch(&w->mem);
    assert_int_equal(ftruncate(w->fd, PAGE), 0);
    *(volatile uint8_t *)mem_at(&w->mem, GUEST + 2 * PAGE, 1) = 1;
    assert_true(mem_guard_take());
}

static void loss_is_of_its_region(void **state)
{
    struct world *w = with_region(state);
    int other = memfd_create("other", MFD_CLOEXEC);
    struct mem_layout layout = {.guest_addr = 0, .size = PAGE, .user_addr = 0};

    mem_guard_install();
    mem_guard_watch(&w->mem);
    assert_int_equal(ftruncate(other, PAGE), 0);
    assert_int_equal(mem_add(&w->mem, &layout, other, NULL), 0);
    assert_int_equal(ftruncate(other, 0), 0);
    assert_false(mem_is_lost(&w->mem));
    assert_int_equal(*(volatile uint8_t *)mem_at(&w->mem, 0, 1), 0);
    assert_true(mem_guard_take());
    assert_true(mem_is_lost(&w->mem));
    assert_int_equal(mem_remove(&w->mem, &layout, NULL), 0);
    assert_false(mem_is_lost(&w->mem));
    close(other);
}

static void second_loss_is_seen(void **state)
{
    struct world *w = with_region(state);

    mem_guard_install();
    mem_guard_watch(&w->mem);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(ftruncate(w->fd, 0), 0);
        assert_int_equal(*(volatile uint8_t *)mem_at(&w->mem, GUEST, 1), 0);
        assert_true(mem_guard_take());
        assert_false(mem_guard_take());
        assert_true(mem_is_lost(&w->mem));
        mem_clear(&w->mem);
        assert_false(mem_is_lost(&w->mem));
        assert_int_equal(ftruncate(w->fd, 4 * PAGE), 0);
        assert_int_equal(add(w, GUEST, 4 * PAGE, USER, 0), 0);
        assert_false(mem_is_lost(&w->mem));
    }
}

/* The program's own faults must not be papered over. */
static void sigbus_elsewhere_still_kills(void **state)
{
    struct world *w = with_region(state);
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        volatile uint8_t *own = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, w->fd, 0);

        close(STDERR_FILENO);
        mem_guard_install();
        mem_guard_watch(&w->mem);
        _exit(ftruncate(w->fd, 0) < 0 || *own == 0 ? 0 : 0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_false(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

#define in_world(test) cmocka_unit_test_setup_teardown(test, world_start, world_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_world(no_memory_resolves_nothing),
        in_world(first_and_last_byte_are_found),
        in_world(bytes_beside_the_region_are_not_there),
        in_world(lengths_that_wrap_are_refused),
        in_world(piece_is_as_long_as_wanted_inside),
        in_world(piece_ends_with_its_region),
        in_world(one_address_does_not_span_two_regions),
        in_world(read_goes_over_a_region_edge),
        in_world(read_past_all_memory_fails),
        in_world(regions_in_any_order_are_found),
        in_world(empty_region_is_refused),
        in_world(overlaps_are_refused),
        in_world(neighbours_are_no_overlap),
        in_world(wrapping_regions_are_refused),
        in_world(file_shorter_than_the_region_is_refused),
        in_world(fd_that_cannot_be_mapped_is_refused),
        in_world(region_may_end_inside_a_page),
        in_world(file_may_end_inside_a_page),
        in_world(offset_need_not_be_a_multiple_of_the_page),
        in_world(table_holds_509_regions_and_no_more),
        in_world(mapping_outlives_the_fd),
        in_world(a_region_keeps_a_descriptor_of_its_file),
        in_world(writes_reach_the_file),
        in_world(user_addresses_are_their_own_space),
        in_world(removed_region_is_gone_and_others_stay),
        in_world(removing_the_last_region_leaves_nothing),
        in_world(remove_needs_all_three_to_match),
        in_world(cleared_memory_can_be_filled_again),
        in_world(one_front_end_shares_so_much_and_no_more),
        in_world(what_cannot_be_mapped_does_not_count),
        in_world(all_front_ends_share_so_much_and_no_more),
        in_world(guard_is_quiet_while_the_file_is_whole),
        in_world(truncated_memory_reads_as_zeroes_and_trips_the_guard),
        in_world(truncated_memory_takes_writes),
        in_world(loss_is_of_its_region),
        in_world(second_loss_is_seen),
        in_world(sigbus_elsewhere_still_kills),
    };

    return unit_run(tests);
}
