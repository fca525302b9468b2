/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/virtio_host.h"

#include <errno.h>
#include <stdio.h>

#include "tests/unit/unit.h"

static void note(struct virtio_host *host, char what, unsigned number)
{
    size_t used = strlen(host->log);

    (void)snprintf(host->log + used, sizeof(host->log) - used, "%c%u", what, number);
}

void expect_log(struct virtio_host *host, const char *text)
{
    assert_string_equal(host->log, text);
    host->log[0] = '\0';
}

static uint64_t features(void *arg)
{
    const struct virtio_host *host = arg;

    return HOST_FEATURES | host->more;
}

static int set_features(void *arg, uint64_t accepted)
{
    struct virtio_host *host = arg;

    host->features = accepted;
    return host->refuse_features;
}

static void config_read(void *arg, uint32_t offset, void *to, uint32_t len)
{
    const struct virtio_host *host = arg;

    memset(to, 0, len);
    if (range_ok(offset, len, sizeof(host->config))) {
        memcpy(to, host->config + offset, len);
    }
}

static void config_write(void *arg, uint32_t offset, const void *from, uint32_t len)
{
    struct virtio_host *host = arg;

    if (range_ok(offset, len, sizeof(host->config))) {
        memcpy(host->config + offset, from, len);
    }
}

static int queue_start(void *arg, unsigned queue, const struct virtio_queue *set)
{
    struct virtio_host *host = arg;

    note(host, 'S', queue);
    assert_false(host->is_started[queue]);
    host->is_started[queue] = host->refuse_queue == 0;
    host->started[queue] = *set;
    return host->refuse_queue;
}

static void queue_stop(void *arg, unsigned queue)
{
    struct virtio_host *host = arg;

    note(host, 'P', queue);
    assert_true(host->is_started[queue]);
    assert_false(host->is_kick_on[queue]);
    host->is_started[queue] = false;
}

static void kick(void *arg, unsigned queue)
{
    note(arg, 'k', queue);
}

static int kick_on(void *arg, unsigned queue, const struct virtio_doorbell *door)
{
    struct virtio_host *host = arg;

    note(host, 'K', queue);
    assert_false(host->is_kick_on[queue]);
    host->is_kick_on[queue] = true;
    host->door[queue] = *door;
    return 0;
}

static void kick_off(void *arg, unsigned queue, const struct virtio_doorbell *door)
{
    struct virtio_host *host = arg;

    note(host, 'X', queue);
    assert_true(host->is_kick_on[queue]);
    host->is_kick_on[queue] = false;
    assert_int_equal(door->addr, host->door[queue].addr);
}

static int call_on(void *arg, unsigned source, const struct virtio_message *message)
{
    struct virtio_host *host = arg;

    note(host, 'C', source);
    host->is_call_on[source] = true;
    host->is_line[source] = message == NULL;
    if (message) {
        host->message[source] = *message;
    }
    return 0;
}

static void call_off(void *arg, unsigned source)
{
    struct virtio_host *host = arg;

    note(host, 'U', source);
    host->is_call_on[source] = false;
}

static bool is_pending(void *arg, unsigned source)
{
    const struct virtio_host *host = arg;

    return host->is_pending[source];
}

static void signal_source(void *arg, unsigned source)
{
    note(arg, 's', source);
}

static bool was_used(void *arg, bool mark)
{
    struct virtio_host *host = arg;
    bool value = host->was_used;

    host->was_used = value && !mark;
    return value;
}

const struct virtio_host_ops virtio_host_ops = {
    .features = features,
    .set_features = set_features,
    .config_read = config_read,
    .config_write = config_write,
    .queue_start = queue_start,
    .queue_stop = queue_stop,
    .kick = kick,
    .kick_on = kick_on,
    .kick_off = kick_off,
    .call_on = call_on,
    .call_off = call_off,
    .is_pending = is_pending,
    .signal = signal_source,
    .was_used = was_used,
};

void virtio_host_init(struct virtio_host *host)
{
    memset(host, 0, sizeof(*host));
    for (unsigned i = 0; i < sizeof(host->config); i++) {
        host->config[i] = (uint8_t)(0x40 + i);
    }
}

void virtio_host_mmio(struct virtio_host *host, struct virtio_mmio *mmio, bool is_version_1)
{
    struct virtio_mmio_opts opts = {
        .host = &virtio_host_ops,
        .arg = host,
        .base = HOST_MMIO,
        .queue_count = HOST_QUEUES,
        .queue_max = HOST_QUEUE_SIZE,
        .is_version_1 = is_version_1,
    };

    virtio_host_init(host);
    virtio_mmio_init(mmio, &opts);
}

void virtio_host_pci(struct virtio_host *host, struct virtio_pci *pci, struct pci_host *bus,
                     bool has_modern)
{
    struct virtio_pci_opts opts = {
        .host = &virtio_host_ops,
        .arg = host,
        .queue_count = HOST_QUEUES,
        .queue_max = HOST_QUEUE_SIZE,
        .has_modern = has_modern,
        .has_legacy = true,
    };

    virtio_host_init(host);
    virtio_pci_init(pci, &opts);
    pci_host_init(bus);
    assert_int_equal(pci_host_add(bus, &pci->fn, 17), 1);
    pci_host_assign(bus, HOST_PORTS, HOST_MEMORY);
}
