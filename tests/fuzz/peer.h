/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A front-end and its guest that do what a fuzz target's input says: messages, good or spoiled,
 * with whatever file descriptors; two rings, split or packed; memory that shrinks, and that a
 * thread of its own flips while the disk reads it.
 *
 * Memory is two files that follow one another in the guest's addresses.  Ring 0 is in the first,
 * which stays as it is, so that flips meet no hole; ring 1 is in the second, which may be cut off.
 * One in a process.  Thread: the target's, but for the flips.
 */

#include "tests/lib/driver.h"
#include "tests/lib/packed.h"
#include "tests/lib/vhost_msg.h"

#define PEER_GUEST 0x100000ull
#define PEER_ARENA_BYTES (256u << 10)
#define PEER_RINGS 2u
#define PEER_RING_SIZE 16u

/* Where things are in each arena, behind the rings. */
#define PEER_FRAMES_AT 0x8000u
#define PEER_TABLES_AT 0xa000u
#define PEER_INFLIGHT_AT 0xc000u
#define PEER_LOG_AT 0xe000u
#define PEER_DATA_AT 0x10000u

#define PEER_INFLIGHT_BYTES 4096u
#define PEER_LOG_BYTES 4096u

/* Four bytes of the input, after the one that says what is done. */
struct peer_args {
    uint8_t a, b, c, d;
};

/* File descriptors that a front-end may send; those from PEER_PIPE on are no memory. */
enum peer_file {
    PEER_FIRST, /* memory */
    PEER_SECOND,
    PEER_INFLIGHT,
    PEER_SEALED,   /* memory that cannot be written */
    PEER_READONLY, /* the first, opened for reading */
    PEER_PIPE,
    PEER_SOCKET,
    PEER_DIRECTORY,
    PEER_ZERO, /* /dev/zero */
    PEER_KICK,
    PEER_KICK_1,
    PEER_CALL,
    PEER_CALL_1,
    PEER_ERR,
    PEER_FILES,
};

struct peer {
    int sock;   /* -1: not connected */
    int second; /* likewise */
    bool is_packed;
    bool is_cut; /* the second file has nothing */
    unsigned asked;
    struct arena arena[PEER_RINGS];
    struct driver split[PEER_RINGS];
    struct packed packed[PEER_RINGS];
    int file[PEER_FILES];
    int other_end[2]; /* of the pipe, and of the socket */
    uint16_t head[PEER_RINGS];
    unsigned requests;
};

extern struct peer peer;

void peer_start(void);

/* Memory, rings and fds as in the beginning. */
void peer_reset(void);

void peer_connect(const char *path);
void peer_connect_second(const char *path);
void peer_disconnect(void);

/* All that a front-end sends to begin. */
#define PEER_WITH_PACKED 1u
#define PEER_WITH_INFLIGHT 2u
#define PEER_WITH_LOG 4u
#define PEER_WITH_SLOTS 8u /* ADD_MEM_REG instead of a table */
#define PEER_WITH_EVENT_IDX 16u
#define PEER_WITH_ONE_RING 32u
#define PEER_WITH_WCE 64u
#define PEER_WITH_OLD_RINGS 128u /* as they are in memory */
void peer_set_up(uint8_t with);

/* One message, as it should be or not. */
void peer_message(struct peer_args args);

/* Take what the disk has answered. */
void peer_listen(void);

/* The guest's (peer_guest.c). */
void peer_rings_reset(void);
void peer_ring_addresses(unsigned ring, struct vhost_vring_addr_msg *addr);
uint32_t peer_ring_base(unsigned ring);
void peer_request(struct peer_args args);
void peer_kick(struct peer_args args);
void peer_spoil(struct peer_args args);
void peer_cut(struct peer_args args);
void peer_reap(void);

/* A thread that flips words of the first file, until the end or the next (peer_flip.c). */
void peer_flip(struct peer_args args);
void peer_flip_end(void);
