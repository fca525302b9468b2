/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/ctl/attach.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cmd/ctl/print.h"
#include "cmd/common/size.h"

/* What QEMU sets when it is not told: queue-size of vhost-user-blk. */
#define QEMU_QUEUE_SIZE 128

/* QEMU takes ",," for a comma within a value. */
static void print_value(const char *text)
{
    for (; *text; text++) {
        printf(*text == ',' ? ",," : "%c", *text);
    }
}

static void print_qemu(const json_t *disk)
{
    const char *name = print_text_of(disk, "name");
    /* An id of QEMU begins with a letter. */
    const char *prefix = name[0] >= '0' && name[0] <= '9' ? "disk" : "";
    uint64_t queue_size = print_number_of(disk, "queue_size");
    uint64_t queues = print_number_of(disk, "queues");

    printf("\nQEMU attaches it with (as much shared memory as -m gives the guest):\n");
    printf("  -object memory-backend-memfd,id=mem0,size=1G,share=on \\\n");
    printf("  -machine q35,memory-backend=mem0 -m 1G \\\n");
    printf("  -chardev socket,id=%s%s,path=", prefix, name);
    print_value(print_text_of(disk, "socket"));
    printf(",reconnect=1 \\\n");
    printf("  -device vhost-user-blk-pci,chardev=%s%s", prefix, name);
    if (queue_size < QEMU_QUEUE_SIZE) {
        printf(",queue-size=%" PRIu64, queue_size);
    }
    printf("\nFrom QEMU 9.2 on, reconnect-ms=1000 takes the place of reconnect=1.\n");
    printf("A guest with more than %" PRIu64 " processors needs num-queues=%" PRIu64
           " at -device.\n",
           queues, queues);
}

static void print_warnings(const json_t *disk)
{
    size_t i;
    json_t *warning;

    json_array_foreach(json_object_get(disk, "warnings"), i, warning)
    {
        printf("warning: %s\n", print_text_of(warning, "text"));
    }
}

void attach_print(const json_t *disk, const struct args *args)
{
    char size[SIZE_TEXT_BYTES];

    printf("%s: %s, %s\n", print_text_of(disk, "name"), print_text_of(disk, "state"),
           print_number_of(disk, "size") > 0 ? size_format(print_number_of(disk, "size"), size)
                                             : "empty");
    printf("socket: %s\n", print_text_of(disk, "socket"));
    print_warnings(disk);
    print_qemu(disk);
}
