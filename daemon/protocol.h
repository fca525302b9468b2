/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Names and limits of the control protocol: JSON-RPC 2.0, one object a line.
 * Shared by vblkd and vblkctl; described in vblkd-protocol(7).
 */

#define PROTOCOL_VERSION 1

/* Longest request in bytes, the line feed not included. */
#define PROTOCOL_LINE_MAX 65536

/*
 * Clients at once.  No more are taken of those who are neither root nor the daemon's own user
 * when so many of all kinds are there, and of those who may only read when there are fewer yet.
 */
#define PROTOCOL_CLIENTS_MAX 64
#define PROTOCOL_GUESTS_MAX 48
#define PROTOCOL_READERS_MAX 32

/* Answers that a client has not read, in bytes; past that it is dropped. */
#define PROTOCOL_BACKLOG_MAX (4u << 20)

/* Requests of one client under way; more are read when some have been answered. */
#define PROTOCOL_CALLS_MAX 64

/* JSON-RPC 2.0, 5.1 "Error object". */
#define RPC_PARSE_ERROR (-32700)
#define RPC_INVALID_REQUEST (-32600)
#define RPC_METHOD_NOT_FOUND (-32601)
#define RPC_INVALID_PARAMS (-32602)
#define RPC_REFUSED (-32000)

/* What the daemon says at its end, without being asked, to those who asked for that. */
#define PROTOCOL_ENDED "daemon.ended"

/*
 * How what the daemon says begins a command of vblkctl that is to be typed, up to what follows
 * "vblkctl ".  vblkctl knows it by that, and adds how the daemon is reached.
 */
#define PROTOCOL_FIRST "first 'vblkctl "
#define PROTOCOL_AFTERWARDS "afterwards 'vblkctl "
#define PROTOCOL_IF_MEANT "if this one is meant: vblkctl "
#define PROTOCOL_IF_MOVED "if it was moved: vblkctl "

/* All of them, of an array. */
#define PROTOCOL_COMMANDS                                                         \
    {                                                                             \
        PROTOCOL_FIRST, PROTOCOL_AFTERWARDS, PROTOCOL_IF_MEANT, PROTOCOL_IF_MOVED \
    }

/* How long stop and remove wait for requests in flight when they are not told. */
#define PROTOCOL_DRAIN_MS 30000
/* The same, where all disks wait for the slowest. */
#define PROTOCOL_UPGRADE_MS 3000
#define PROTOCOL_DRAIN_MS_MAX 86400000

/*
 * How long a disk's thread may take to answer: what it knows, what it changes (of that, waiting
 * for requests in flight), what it opens.
 */
#define PROTOCOL_INFO_MS 1000

/* The same where something is decided by what has become of its image. */
#define PROTOCOL_EXAMINE_MS 3000
#define PROTOCOL_SET_MS 5000
#define PROTOCOL_MOVE_MS 3000
#define PROTOCOL_OPEN_MS 30000

/* The same with a new file that is allocated, as long as that goes on. */
#define PROTOCOL_ALLOCATE_MS 1728000000u

/* What is added to the time that a drain may take. */
#define PROTOCOL_GRACE_MS 2000

/* How long all disks together may take to drain when the daemon ends. */
#define PROTOCOL_SHUTDOWN_MS 30000
