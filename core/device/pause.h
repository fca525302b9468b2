/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Why a device takes no requests.  Reasons do not undo each other. */
enum pause_reason {
    PAUSE_ADMIN = 1 << 0,   /* vblkctl stop: until start */
    PAUSE_MESSAGE = 1 << 1, /* a message that changes memory or rings: until it is answered */
    PAUSE_GONE = 1 << 2,    /* the front-end is going: until the next one */
    PAUSE_EXIT = 1 << 3,    /* removal, shutdown: for good */
    PAUSE_MOVE = 1 << 4,    /* rings go to other threads: until they are there */
    PAUSE_IMAGE = 1 << 5,   /* the image gets another root, or size: until it has it */
    PAUSE_ERROR = 1 << 6,   /* a request failed and is held: until start, or until none is */
    PAUSE_MEDIUM = 1 << 7,  /* another image is written down: until the disk has it, or not */
    PAUSE_UPGRADE = 1 << 8, /* it goes to another process, or comes from one: until it is there */
};
