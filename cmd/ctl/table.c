/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * The one list of commands, operands and options, but for those of a disk (disk_params.h).
 */

#include "cmd/common/command.h"

#include "cmd/ctl/attach.h"
#include "cmd/ctl/daemon.h"
#include "cmd/ctl/list.h"
#include "cmd/ctl/medium.h"
#include "cmd/ctl/resize.h"
#include "cmd/ctl/set.h"
#include "cmd/ctl/show.h"
#include "cmd/ctl/stats.h"
#include "cmd/ctl/upgrade.h"
#include "daemon/disk_params.h"
#include "daemon/protocol.h"
#include "daemon/settings.h"

/* What the daemon itself may take, and time for a busy machine. */
#define WAIT_MS 10000
#define WAIT_OPEN_MS (PROTOCOL_OPEN_MS + WAIT_MS)
#define WAIT_SET_MS (PROTOCOL_SET_MS + WAIT_MS)
#define WAIT_DRAIN_MS (PROTOCOL_GRACE_MS + WAIT_MS)

#define OPTION(kind_, option_, word_, param_, help_)                                    \
    {                                                                                   \
        .kind = kind_, .option = option_, .word = word_, .param = param_, .help = help_ \
    }
#define OPERAND(kind_, word_, param_, help_)                         \
    {                                                                \
        .kind = kind_, .word = word_, .param = param_, .help = help_ \
    }

#define NAME_OPERAND OPERAND(ARG_TEXT, "NAME", "name", "of the disk")
#define TIMEOUT_OPTION                                \
    OPTION(ARG_SECONDS, "timeout", "S", "timeout_ms", \
           "how long to wait for requests in flight, and the flush [30]")

#define FORMAT_OPTION                              \
    OPTION(ARG_TEXT, "format", "FORMAT", "format", \
           "raw: take its bytes as they are [other formats are refused]")

#define CHANGE_TIMEOUT_OPTION                         \
    OPTION(ARG_SECONDS, "timeout", "S", "timeout_ms", \
           "how long it may take; past that nothing is changed [30]")

const struct arg global_options[] = {
    OPTION(ARG_TEXT, "control", "PATH", NULL,
           "control socket of vblkd [$VBLK_CONTROL, or its default]"),
    OPTION(ARG_FLAG, "json", NULL, NULL, "print the answer as JSON"),
    OPTION(ARG_FLAG, "version", NULL, NULL, "print the version and end"),
    OPTION(ARG_FLAG, "help", NULL, NULL, "print this and end"),
    {.kind = ARG_END},
};

const struct command commands[] = {
    {
        .name = "add",
        .method = "disk.add",
        .help = "serve an image as a disk",
        .operands =
            {
                OPERAND(ARG_TEXT, "NAME", "name", "letters, digits, '.', '_' and '-'"),
                {.kind = ARG_IMAGE,
                 .word = "IMAGE",
                 .param = "image",
                 .help = "file, block device, or ",
                 .is_optional = true},
            },
        .options =
            {
                OPTION(ARG_FLAG, "empty", NULL, NULL,
                       "in the place of IMAGE: without one yet, of size 0, see insert"),
            },
        .params = disk_params,
        .check = medium_check_add,
        .wait_ms = WAIT_OPEN_MS,
        .print = attach_print,
    },
    {
        .name = "remove",
        .method = "disk.remove",
        .help = "take no more requests, answer those in flight, flush, close everything",
        .operands = {NAME_OPERAND},
        .options =
            {
                OPTION(ARG_FLAG, "force", NULL, "force",
                       "also while a guest is connected, or the image was deleted or replaced"),
                TIMEOUT_OPTION,
            },
        .wait_ms = WAIT_DRAIN_MS,
        .print = show_removed,
    },
    {
        .name = "list",
        .method = "disk.list",
        .help = "all disks, a line each",
        .wait_ms = WAIT_MS,
        .print = list_show,
    },
    {
        .name = "show",
        .method = "disk.show",
        .help = "all that is known of one disk",
        .operands = {NAME_OPERAND},
        .options =
            {
                OPTION(ARG_FLAG, "shown", NULL, NULL,
                       "print only what its guest is shown, for add --as-shown on another host"),
            },
        .wait_ms = WAIT_MS,
        .check = show_check,
        .print = show_disk,
    },
    {
        .name = "stats",
        .method = "disk.stats",
        .help = "counters since the disk was added, or rates",
        .operands = {{.kind = ARG_TEXT,
                      .word = "NAME",
                      .param = "name",
                      .help = "of the disk [all disks]",
                      .is_optional = true}},
        .options =
            {
                OPTION(ARG_SECONDS, "interval", "S", NULL, "rates over S seconds, again and again"),
                OPTION(ARG_NUMBER, "count", "N", NULL, "with --interval: end after N times"),
            },
        .wait_ms = WAIT_MS,
        .check = stats_check,
        .run = stats_run,
    },
    {
        .name = "start",
        .method = "disk.start",
        .help = "open the image again and go on where stop left off",
        .operands = {NAME_OPERAND},
        .options =
            {
                OPTION(ARG_FLAG, "new-image", NULL, "new_image",
                       "also with another file or device than the one that was open last"),
            },
        .wait_ms = WAIT_OPEN_MS,
        .print = show_change,
    },
    {
        .name = "stop",
        .method = "disk.stop",
        .help = "take no more requests, answer those in flight, flush and close the image",
        .operands = {NAME_OPERAND},
        .options =
            {
                OPTION(ARG_FLAG, "force", NULL, "force",
                       "also while the image was deleted or replaced"),
                TIMEOUT_OPTION,
            },
        .wait_ms = WAIT_DRAIN_MS,
        .print = show_change,
    },
    {
        .name = "replace",
        .method = "disk.replace",
        .help = "serve the disk from another image, which has the same bytes",
        .operands = {NAME_OPERAND, OPERAND(ARG_PATH, "IMAGE", "path", "file or block device")},
        .options =
            {
                FORMAT_OPTION,
                OPTION(ARG_FLAG, "force", NULL, "force",
                       "also while the disk runs, and may have been written to since"),
                CHANGE_TIMEOUT_OPTION,
            },
        .wait_ms = WAIT_DRAIN_MS,
        .print = medium_print,
    },
    {
        .name = "insert",
        .method = "disk.insert",
        .help = "give a disk that is empty an image",
        .operands = {NAME_OPERAND, OPERAND(ARG_PATH, "IMAGE", "path", "file or block device")},
        .options = {FORMAT_OPTION, CHANGE_TIMEOUT_OPTION},
        .wait_ms = WAIT_DRAIN_MS,
        .print = medium_print,
    },
    {
        .name = "eject",
        .method = "disk.eject",
        .help = "flush and close the image, and leave the disk empty",
        .operands = {NAME_OPERAND},
        .options =
            {
                OPTION(ARG_FLAG, "force", NULL, "force",
                       "also while a guest is connected, or the image was deleted or replaced"),
                CHANGE_TIMEOUT_OPTION,
            },
        .wait_ms = WAIT_DRAIN_MS,
        .print = medium_print,
    },
    {
        .name = "set",
        .method = "disk.set",
        .help = "change settings of a disk, or print them",
        .operands = {NAME_OPERAND,
                     {.kind = ARG_SETTING,
                      .word = "KEY=VALUE",
                      .help = "what to change; without one the settings are printed",
                      .is_optional = true,
                      .is_repeated = true}},
        .settings = settings_params,
        .fixed = disk_params,
        .wait_ms = WAIT_SET_MS,
        .run = set_run,
    },
    {
        .name = "resize",
        .method = "disk.resize",
        .help = "another size under the guest, or the one that the image has",
        .operands = {NAME_OPERAND,
                     {.kind = ARG_SIZE,
                      .word = "SIZE",
                      .param = "size",
                      .help = "how large it is to be, in whole logical blocks",
                      .is_optional = true}},
        .options =
            {
                OPTION(ARG_FLAG, "refresh", NULL, "refresh",
                       "look how large the image is by now, instead of SIZE"),
                OPTION(ARG_FLAG, "shrink", NULL, "shrink", "also to less than it has"),
                OPTION(ARG_SECONDS, "timeout", "S", "timeout_ms",
                       "how long to wait for the file system, and to shrink for requests [30]"),
            },
        .wait_ms = WAIT_DRAIN_MS,
        .check = resize_check,
        .print = resize_print,
    },
    {
        .name = "version",
        .method = "daemon.version",
        .help = "versions of vblkctl and of the daemon",
        .wait_ms = WAIT_MS,
        .print = daemon_print_version,
    },
    {
        .name = "ping",
        .method = "daemon.ping",
        .help = "does the daemon answer?",
        .wait_ms = WAIT_MS,
        .print = daemon_print_ping,
    },
    {
        .name = "shutdown",
        .method = "daemon.shutdown",
        .help = "drain all disks and end the daemon",
        .options =
            {
                OPTION(ARG_FLAG, "force", NULL, "force",
                       "also while the image of a disk was deleted or replaced"),
            },
        .wait_ms = WAIT_MS,
        .run = daemon_shutdown,
    },
    {
        .name = "upgrade",
        .method = "daemon.hand_over",
        .help = "have another vblkd go on with all disks, and their guests",
        .options =
            {
                OPTION(ARG_PATH, "binary", "PATH", NULL,
                       "the vblkd to start [the one that came with this vblkctl]"),
            },
        .wait_ms = WAIT_MS,
        .run = upgrade_run,
    },
    {.name = NULL},
};
