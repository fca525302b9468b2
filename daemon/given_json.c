/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/given_json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- descriptors ---- */

json_t *given_fd(struct given_fds *fds, int fd)
{
    struct parcel *parcel = fds->parcel;

    if (fd < 0) {
        return json_null();
    }
    if (parcel->fd_count == fds->room) {
        unsigned room = fds->room ? 2 * fds->room : 64;
        int *more = realloc(parcel->fd, room * sizeof(*more));

        if (!more) {
            fds->has_failed = true;
            return NULL;
        }
        parcel->fd = more;
        fds->room = room;
    }
    parcel->fd[parcel->fd_count] = fd;
    return json_integer(parcel->fd_count++);
}

int given_take_fd(struct parcel *parcel, const json_t *number)
{
    return json_is_integer(number) ? parcel_take(parcel, (unsigned)json_integer_value(number)) : -1;
}

/* ---- bytes ---- */

static json_t *hex_json(const void *bytes, size_t count)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *from = bytes;
    char *text = malloc(2 * count + 1);
    json_t *json;

    if (!text) {
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        text[2 * i] = digits[from[i] >> 4];
        text[2 * i + 1] = digits[from[i] & 15];
    }
    text[2 * count] = '\0';
    json = json_string(text);
    free(text);
    return json;
}

/* Returns how many bytes there are, or -EPROTO. */
static int read_hex(const json_t *json, void *to, size_t room)
{
    const char *text = json_string_value(json);
    size_t count = text ? strlen(text) / 2 : 0;

    if (!text || strlen(text) % 2 != 0 || count > room) {
        return -EPROTO;
    }
    for (size_t i = 0; i < count; i++) {
        const char pair[] = {text[2 * i], text[2 * i + 1], '\0'};
        char *end;

        ((uint8_t *)to)[i] = (uint8_t)strtoul(pair, &end, 16);
        if (*end) {
            return -EPROTO;
        }
    }
    return (int)count;
}

/* ---- listening sockets ---- */

json_t *given_listener(struct given_fds *fds, const struct unix_listener *listener)
{
    return json_pack("{s:o, s:o, s:I, s:I, s:i, s:I, s:I, s:b, s:s}", "fd",
                     given_fd(fds, listener->fd), "lock", given_fd(fds, listener->lock_fd), "dev",
                     (json_int_t)listener->dev, "ino", (json_int_t)listener->ino, "mode",
                     (int)listener->rights.mode, "uid", (json_int_t)listener->rights.uid, "gid",
                     (json_int_t)listener->rights.gid, "known", (int)listener->is_known, "path",
                     listener->path);
}

int given_read_listener(struct parcel *parcel, const json_t *json, struct unix_listener *listener)
{
    json_t *fd, *lock;
    json_int_t dev, ino, uid, gid;
    int mode, is_known;
    const char *path;

    if (json_unpack((json_t *)json, "{s:o, s:o, s:I, s:I, s:i, s:I, s:I, s:b, s:s}", "fd", &fd,
                    "lock", &lock, "dev", &dev, "ino", &ino, "mode", &mode, "uid", &uid, "gid",
                    &gid, "known", &is_known, "path", &path) < 0) {
        return -EPROTO;
    }
    *listener = (struct unix_listener){
        .fd = given_take_fd(parcel, fd),
        .lock_fd = given_take_fd(parcel, lock),
        .dev = (dev_t)dev,
        .ino = (ino_t)ino,
        .rights = {.mode = (mode_t)mode, .uid = (uid_t)uid, .gid = (gid_t)gid},
        .is_known = is_known,
    };
    (void)snprintf(listener->path, sizeof(listener->path), "%s", path);
    return 0;
}

/* ---- an image ---- */

static json_t *image_json(struct given_fds *fds, const struct image_given *image)
{
    json_t *claims = json_array();

    for (unsigned i = 0; i < image->claims; i++) {
        (void)json_array_append_new(claims, given_fd(fds, image->claim[i]));
    }
    return json_pack("{s:o, s:b, s:o, s:o, s:b, s:i, s:i, s:I}", "fd", given_fd(fds, image->fd),
                     "held", (int)image->is_held, "claims", claims, "witness",
                     given_fd(fds, image->witness), "named", (int)image->had_name, "lost",
                     image->loss.code, "lost_by", (int)image->loss.op, "lost_at",
                     (json_int_t)image->loss.time_s);
}

static int read_image(struct parcel *parcel, const json_t *json, struct image_given *image)
{
    json_t *fd, *claims, *witness;
    int is_held, had_name, code, op;
    json_int_t time_s;

    if (json_unpack((json_t *)json, "{s:o, s:b, s:o, s:o, s:b, s:i, s:i, s:I}", "fd", &fd, "held",
                    &is_held, "claims", &claims, "witness", &witness, "named", &had_name, "lost",
                    &code, "lost_by", &op, "lost_at", &time_s) < 0 ||
        json_array_size(claims) > IMAGE_CLAIMS) {
        return -EPROTO;
    }
    *image = (struct image_given){
        .fd = given_take_fd(parcel, fd),
        .is_held = is_held,
        .witness = given_take_fd(parcel, witness),
        .had_name = had_name,
        .loss = {.code = code, .op = (enum io_op)op, .time_s = time_s},
    };
    for (size_t i = 0; i < json_array_size(claims); i++) {
        image->claim[image->claims++] = given_take_fd(parcel, json_array_get(claims, i));
    }
    return 0;
}

/* ---- a connection ---- */

static json_t *messages_json(struct given_fds *fds, const struct vu_given *vu)
{
    json_t *list = json_array();

    for (unsigned i = 0; i < vu->count; i++) {
        const struct vu_given_msg *msg = &vu->msg[i];

        (void)json_array_append_new(list, json_pack("{s:I, s:I, s:o, s:o}", "request",
                                                    (json_int_t)msg->header.request, "flags",
                                                    (json_int_t)msg->header.flags, "payload",
                                                    hex_json(msg->payload, msg->header.size), "fd",
                                                    given_fd(fds, msg->fd)));
    }
    return list;
}

static int read_message(struct parcel *parcel, const json_t *json, struct vu_given_msg *msg)
{
    json_int_t request, flags;
    json_t *payload, *fd;
    int size;

    if (json_unpack((json_t *)json, "{s:I, s:I, s:o, s:o}", "request", &request, "flags", &flags,
                    "payload", &payload, "fd", &fd) < 0) {
        return -EPROTO;
    }
    size = read_hex(payload, msg->payload, sizeof(msg->payload));
    msg->header = (struct vhost_user_header){
        .request = (uint32_t)request, .flags = (uint32_t)flags, .size = (uint32_t)size};
    msg->fd = given_take_fd(parcel, fd);
    return size < 0 ? size : 0;
}

static int read_messages(struct parcel *parcel, const json_t *list, struct vu_given *vu)
{
    size_t count = json_array_size(list);
    int ret = 0;

    vu->msg = calloc(count + 1, sizeof(*vu->msg));
    if (!vu->msg) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < count && ret == 0; i++) {
        ret = read_message(parcel, json_array_get(list, i), &vu->msg[i]);
        vu->count++;
    }
    return ret;
}

static json_t *connection_json(struct given_fds *fds, const struct vu_given *vu)
{
    json_t *half_fds = json_array();

    for (unsigned i = 0; i < vu->fd_count; i++) {
        (void)json_array_append_new(half_fds, given_fd(fds, vu->fds[i]));
    }
    return json_pack("{s:o, s:o, s:I, s:b, s:b, s:I, s:I, s:o, s:o}", "fd", given_fd(fds, vu->fd),
                     "messages", messages_json(fds, vu), "read_capacity",
                     (json_int_t)vu->read_capacity, "doubt", (int)vu->is_in_doubt, "vouched",
                     (int)vu->is_vouched, "started", (json_int_t)vu->has_started, "broken",
                     (json_int_t)vu->is_broken, "half", hex_json(vu->bytes, vu->have), "half_fds",
                     half_fds);
}

static int read_half(struct parcel *parcel, const json_t *half, const json_t *fds,
                     struct vu_given *vu)
{
    int have = read_hex(half, vu->bytes, sizeof(vu->bytes));

    if (have < 0 || json_array_size(fds) > VHOST_USER_MAX_FDS) {
        return -EPROTO;
    }
    vu->have = (size_t)have;
    for (size_t i = 0; i < json_array_size(fds); i++) {
        vu->fds[vu->fd_count++] = given_take_fd(parcel, json_array_get(fds, i));
    }
    return 0;
}

static int read_connection(struct parcel *parcel, const json_t *json, struct vu_given *vu)
{
    json_t *fd, *messages, *half, *half_fds;
    json_int_t capacity, started, broken;
    int is_in_doubt, is_vouched, ret;

    if (json_unpack((json_t *)json, "{s:o, s:o, s:I, s:b, s:b, s:I, s:I, s:o, s:o}", "fd", &fd,
                    "messages", &messages, "read_capacity", &capacity, "doubt", &is_in_doubt,
                    "vouched", &is_vouched, "started", &started, "broken", &broken, "half", &half,
                    "half_fds", &half_fds) < 0) {
        return -EPROTO;
    }
    vu->fd = given_take_fd(parcel, fd);
    vu->read_capacity = (uint64_t)capacity;
    vu->is_in_doubt = is_in_doubt;
    vu->is_vouched = is_vouched;
    vu->has_started = (uint64_t)started;
    vu->is_broken = (uint64_t)broken;
    ret = read_messages(parcel, messages, vu);
    return ret < 0 ? ret : read_half(parcel, half, half_fds, vu);
}

/* ---- counters ---- */

/* By their place: one more of them is another version. */
_Static_assert(sizeof(struct stats) == 45 * sizeof(uint64_t), "raise GIVEN_VERSION");

static json_t *stats_json(const struct stats *stats)
{
    const uint64_t *counter = (const uint64_t *)stats;
    json_t *list = json_array();

    for (size_t i = 0; i < sizeof(*stats) / sizeof(*counter); i++) {
        (void)json_array_append_new(list, json_integer((json_int_t)counter[i]));
    }
    return list;
}

static int read_stats(const json_t *list, struct stats *stats)
{
    uint64_t *counter = (uint64_t *)stats;

    if (json_array_size(list) != sizeof(*stats) / sizeof(*counter)) {
        return -EPROTO;
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        counter[i] = (uint64_t)json_integer_value(json_array_get(list, i));
    }
    return 0;
}

/* ---- a disk ---- */

json_t *given_disk(struct given_fds *fds, const struct plane_given *given)
{
    return json_pack("{s:s, s:s, s:s, s:b, s:b, s:I, s:o, s:o, s:o, s:o}", "name", given->name,
                     "state", plane_state_name(given->state), "reason", given->reason, "transient",
                     (int)given->is_transient, "retries", (int)given->retries, "paused_ns",
                     (json_int_t)given->paused_ns, "image", image_json(fds, &given->image),
                     "socket", given_listener(fds, &given->vu.listener), "connection",
                     connection_json(fds, &given->vu), "stats", stats_json(&given->stats));
}

static int read_state(const char *name, enum plane_state *state)
{
    static const enum plane_state states[] = {PLANE_RUNNING, PLANE_STOPPED, PLANE_FAILED,
                                              PLANE_WAITING};

    for (unsigned i = 0; i < ARRAY_SIZE(states); i++) {
        if (strcmp(name, plane_state_name(states[i])) == 0) {
            *state = states[i];
            return 0;
        }
    }
    return -EPROTO;
}

int given_read_disk(struct parcel *parcel, const json_t *json, struct plane_given *given)
{
    const char *name, *state, *reason;
    json_t *image, *socket, *connection, *stats;
    json_int_t paused_ns;
    int is_transient, retries;
    int ret;

    plane_given_init(given);
    if (json_unpack((json_t *)json, "{s:s, s:s, s:s, s:b, s:b, s:I, s:o, s:o, s:o, s:o}", "name",
                    &name, "state", &state, "reason", &reason, "transient", &is_transient,
                    "retries", &retries, "paused_ns", &paused_ns, "image", &image, "socket",
                    &socket, "connection", &connection, "stats", &stats) < 0) {
        return -EPROTO;
    }
    (void)snprintf(given->name, sizeof(given->name), "%s", name);
    (void)snprintf(given->reason, sizeof(given->reason), "%s", reason);
    given->is_transient = is_transient;
    given->retries = retries;
    given->paused_ns = (uint64_t)paused_ns;
    ret = read_state(state, &given->state);
    if (ret == 0) {
        ret = read_image(parcel, image, &given->image);
    }
    if (ret == 0) {
        ret = given_read_listener(parcel, socket, &given->vu.listener);
    }
    if (ret == 0) {
        ret = read_connection(parcel, connection, &given->vu);
    }
    return ret == 0 ? read_stats(stats, &given->stats) : ret;
}
