/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Lines of `vblkctl show` about what a guest is told of a disk's shape.
 */

#include <jansson.h>
#include <stdint.h>

/* The host may not know what the medium likes best. */
void shape_show_blocks(const json_t *disk);

/* What data requests are to be made of; a daemon of before says nothing. */
void shape_show_segments(const json_t *disk);

/* The geometry that a BIOS is told of, if one is offered. */
void shape_show_chs(const json_t *disk);

/* What of discards and zeroes is offered; a daemon of before says nothing. */
void shape_show_ranges(const json_t *disk);

/* How large discards and zeroes are to be; nothing where none are offered. */
void shape_show_largest_ranges(const json_t *disk);

/* What is stable when, and who has said so; a daemon of before says nothing. */
void shape_show_write_cache(const json_t *disk);

/* The virtio features that a guest is offered, as long as the disk is there; as above. */
void shape_show_shown(const json_t *disk);

/* Those bits by number and name. */
void shape_show_features(const char *label, uint64_t features);
