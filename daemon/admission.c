/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/admission.h"

#include <ctype.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/base.h"
#include "core/base/text.h"

#define READ_ONLY ":read"

/* Longest name of a user or group with READ_ONLY behind it; useradd(8) has 32 for the name. */
#define ENTRY_BYTES 264

/* ---- what may be said ---- */

/* More than ID_MAX is "nobody in particular" to the kernel. */
#define ID_MAX (UINT32_MAX - 1)

static int read_number(const char *name, id_t *id, struct err *err)
{
    if (!text_is_id(name, id)) {
        return err_say(err, -EINVAL, "\"%s\" is no number from 0 to %u", name, ID_MAX);
    }
    return 0;
}

static int read_name(const char *name, bool is_group, id_t *id, struct err *err)
{
    const struct passwd *user = is_group ? NULL : getpwnam(name);
    const struct group *group = is_group ? getgrnam(name) : NULL;

    if (!user && !group) {
        return err_say(err, -EINVAL, "there is no %s \"%s\" on this host",
                       is_group ? "group" : "user", name);
    }
    *id = user ? user->pw_uid : group->gr_gid;
    return 0;
}

static bool cut_end(char *text, const char *end)
{
    size_t len = strlen(text);
    size_t cut = strlen(end);

    if (len < cut || strcmp(text + len - cut, end) != 0) {
        return false;
    }
    text[len - cut] = '\0';
    return true;
}

static int add_entry(struct admission *admission, char *entry, bool is_group, struct err *err)
{
    enum rights rights = cut_end(entry, READ_ONLY) ? RIGHTS_READ : RIGHTS_CHANGE;
    id_t id = 0;
    int ret;

    if (entry[0] == '\0' || strchr(entry, ':')) {
        return err_say(err, -EINVAL, "\"%s\": give names or numbers, each alone or with " READ_ONLY,
                       entry);
    }
    if (admission->count == ADMISSIONS_MAX) {
        return err_say(err, -ENOSPC,
                       "more than %u users and groups: make them members of one group",
                       ADMISSIONS_MAX);
    }
    ret = isdigit((unsigned char)entry[0]) ? read_number(entry, &id, err)
                                           : read_name(entry, is_group, &id, err);
    if (ret == 0) {
        admission->list[admission->count].id = id;
        admission->list[admission->count].is_group = is_group;
        admission->list[admission->count++].rights = rights;
    }
    return ret;
}

int admission_add(struct admission *admission, const char *text, bool is_group, struct err *err)
{
    unsigned before = admission->count;
    char entry[ENTRY_BYTES];
    size_t len;
    int ret;

    do {
        len = strcspn(text, ",");
        if (len >= sizeof(entry)) {
            ret = err_say(err, -EINVAL, "a name is longer than %zu bytes", sizeof(entry) - 1);
        } else {
            memcpy(entry, text, len);
            entry[len] = '\0';
            ret = add_entry(admission, entry, is_group, err);
        }
        text += len + 1;
    } while (ret == 0 && text[-1] == ',');
    if (ret < 0) {
        admission->count = before;
    }
    return ret;
}

/* ---- who is there ---- */

static bool is_among(gid_t id, const gid_t *groups, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (groups[i] == id) {
            return true;
        }
    }
    return false;
}

/* Owned by the caller; NULL with a count of 0 where they cannot be had: then it has none. */
static gid_t *read_groups(int fd, size_t *count)
{
    socklen_t len = 0;
    gid_t *groups = NULL;

    *count = 0;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &len) < 0 && errno == ERANGE) {
        groups = malloc(len);
    }
    if (groups && getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) == 0) {
        *count = len / sizeof(*groups);
    }
    return groups;
}

static enum rights best_of(const struct admission *admission, const struct ucred *peer,
                           const gid_t *groups, size_t group_count)
{
    enum rights best = RIGHTS_NONE;

    for (unsigned i = 0; i < admission->count; i++) {
        id_t id = admission->list[i].id;
        bool is_it = admission->list[i].is_group
                         ? peer->gid == id || is_among(id, groups, group_count)
                         : peer->uid == id;

        if (is_it && admission->list[i].rights > best) {
            best = admission->list[i].rights;
        }
    }
    return best;
}

enum rights admission_rights(const struct admission *admission, int fd)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);
    size_t group_count;
    gid_t *groups;
    enum rights best;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0) {
        return RIGHTS_NONE;
    }
    if (peer.uid == 0 || peer.uid == geteuid()) {
        return RIGHTS_OWNER;
    }
    groups = read_groups(fd, &group_count);
    best = best_of(admission, &peer, groups, group_count);
    free(groups);
    return best;
}
