/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/device/lane_map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/device/device_choice.h"

struct lane_map lane_map_in_turn(unsigned lanes)
{
    struct lane_map map;

    for (unsigned i = 0; i < BLK_MAX_QUEUES; i++) {
        map.lane[i] = (uint8_t)(i % lanes);
    }
    return map;
}

/* The number that `*at` begins with, and the comma behind it.  Returns false when there is none. */
static bool read_lane(const char **at, uint8_t *lane)
{
    char *end;
    unsigned long number;

    if (**at < '0' || **at > '9') {
        return false;
    }
    number = strtoul(*at, &end, 10);
    if ((*end != ',' && *end != '\0') || (*end == ',' && end[1] == '\0')) {
        return false;
    }
    *lane = number < LANES_MAX ? (uint8_t)number : LANES_MAX;
    *at = *end ? end + 1 : end;
    return true;
}

/* Returns how many there are, or -EINVAL. */
static int read_lanes(struct lane_map *map, const char *text, unsigned rings, struct err *err)
{
    const char *at = text;
    unsigned count = 0;

    while (*at && count < rings && count < BLK_MAX_QUEUES) {
        if (!read_lane(&at, &map->lane[count])) {
            (void)err_say(err, -EINVAL, "\"%s\" is no list of threads, as 0,0,1,1", text);
            err_hint(err, "a number for each queue, threads are counted from 0; \"" LANE_MAP_AUTO
                          "\" has them in turn");
            return -EINVAL;
        }
        count++;
    }
    return *at ? err_say(err, -EINVAL, "\"%s\" has more numbers than the %u queue%s of the disk",
                         text, rings, rings == 1 ? "" : "s")
               : (int)count;
}

int lane_map_check(const char *text, struct err *err)
{
    struct lane_map map;
    int ret;

    if (strcmp(text, LANE_MAP_AUTO) == 0) {
        return 0;
    }
    ret = read_lanes(&map, text, BLK_MAX_QUEUES, err);
    return ret < 0 ? ret : 0;
}

static int check_lanes(const struct lane_map *map, unsigned count, unsigned lanes, struct err *err)
{
    uint32_t named = 0;

    for (unsigned i = 0; i < count; i++) {
        if (map->lane[i] >= lanes) {
            (void)err_say(
                err, -EINVAL,
                "queue %u is to be served by thread %s%u, and there %s %u, counted from 0", i,
                map->lane[i] == LANES_MAX ? "above " : "",
                map->lane[i] == LANES_MAX ? LANES_MAX - 1u : map->lane[i],
                lanes == 1 ? "is" : "are", lanes);
            err_hint(err, "say with it how many threads there are to be, or \"" LANE_MAP_AUTO "\"");
            return -EINVAL;
        }
        named |= 1u << map->lane[i];
    }
    for (unsigned lane = 0; lane < lanes; lane++) {
        if (!(named & 1u << lane)) {
            (void)err_say(err, -EINVAL, "thread %u of %u would serve no queue", lane, lanes);
            err_hint(err, "have fewer threads, or name it, or say \"" LANE_MAP_AUTO "\"");
            return -EINVAL;
        }
    }
    return 0;
}

int lane_map_parse(struct lane_map *map, const char *text, unsigned lanes, unsigned rings,
                   struct err *err)
{
    int count;
    int ret;

    if (strcmp(text, LANE_MAP_AUTO) == 0) {
        *map = lane_map_in_turn(lanes);
        return 0;
    }
    count = read_lanes(map, text, rings, err);
    ret = count < 0 ? count : check_lanes(map, (unsigned)count, lanes, err);
    for (unsigned i = (unsigned)count; ret == 0 && i < BLK_MAX_QUEUES; i++) {
        map->lane[i] = map->lane[i - (unsigned)count];
    }
    return ret;
}
