/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/vm/vcpu.h"

#include <errno.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cmd/vm/cpu.h"

/* Interrupts KVM_RUN; the handler does nothing. */
#define STOP_SIGNAL SIGUSR1

const char *vcpu_exit_name(enum vcpu_exit kind)
{
    static const char *const names[VCPU_EXIT_KINDS] = {
        [VCPU_EXIT_PORT] = "port",     [VCPU_EXIT_MEMORY] = "memory", [VCPU_EXIT_HALT] = "halt",
        [VCPU_EXIT_SIGNAL] = "signal", [VCPU_EXIT_OTHER] = "other",
    };

    return names[kind];
}

int vcpu_open(struct vcpu *vcpu, struct machine *machine, unsigned index, unsigned count,
              uint64_t entry, struct err *err)
{
    struct cpu_start start = {
        .kvm_fd = machine->kvm.fd, .index = index, .count = count, .entry = entry};
    int ret;

    *vcpu = (struct vcpu){.machine = machine, .index = index};
    ret = kvm_vcpu_open(&machine->kvm, index, &vcpu->fd, err);
    if (ret < 0) {
        return ret;
    }
    vcpu->run_bytes = (size_t)ret;
    vcpu->run = mmap(NULL, vcpu->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
    if (vcpu->run == MAP_FAILED) {
        ret = err_set(err, -errno, "cannot map processor %u", index);
        goto close_fd;
    }
    start.fd = vcpu->fd;
    ret = cpu_setup(&start, err);
    if (ret < 0) {
        goto unmap;
    }
    return 0;

unmap:
    munmap(vcpu->run, vcpu->run_bytes);
close_fd:
    close(vcpu->fd);
    return ret;
}

void vcpu_close(struct vcpu *vcpu)
{
    munmap(vcpu->run, vcpu->run_bytes);
    close(vcpu->fd);
}

/* A string instruction comes as `count` accesses of the same port. */
static void serve_port(struct vcpu *vcpu)
{
    const struct kvm_run *run = vcpu->run;
    char *data = (char *)vcpu->run + run->io.data_offset;

    for (uint32_t i = 0; i < run->io.count; i++, data += run->io.size) {
        uint64_t value = 0;

        if (run->io.direction == KVM_EXIT_IO_OUT) {
            memcpy(&value, data, run->io.size);
            machine_write(vcpu->machine, true, run->io.port, run->io.size, value);
        } else {
            value = machine_read(vcpu->machine, true, run->io.port, run->io.size);
            memcpy(data, &value, run->io.size);
        }
    }
}

static void serve_memory(struct vcpu *vcpu)
{
    struct kvm_run *run = vcpu->run;
    uint64_t value = 0;

    if (run->mmio.is_write) {
        memcpy(&value, run->mmio.data, run->mmio.len);
        machine_write(vcpu->machine, false, run->mmio.phys_addr, run->mmio.len, value);
    } else {
        value = machine_read(vcpu->machine, false, run->mmio.phys_addr, run->mmio.len);
        memcpy(run->mmio.data, &value, sizeof(value));
    }
}

/* Where it was, for who has to find out why it ended. */
static uint64_t instruction(const struct vcpu *vcpu)
{
    struct kvm_regs regs = {0};

    (void)ioctl(vcpu->fd, KVM_GET_REGS, &regs); /* else 0 */
    return regs.rip;
}

static enum vcpu_exit serve_end(struct vcpu *vcpu)
{
    const struct kvm_run *run = vcpu->run;
    unsigned long long at = instruction(vcpu);

    switch (run->exit_reason) {
    case KVM_EXIT_SHUTDOWN:
        machine_end(vcpu->machine, EXIT_FAILURE,
                    "the guest crashed: triple fault on processor %u at 0x%llx", vcpu->index, at);
        break;
    case KVM_EXIT_FAIL_ENTRY:
        machine_end(vcpu->machine, EXIT_FAILURE,
                    "KVM cannot enter processor %u: hardware reason 0x%llx", vcpu->index,
                    (unsigned long long)run->fail_entry.hardware_entry_failure_reason);
        break;
    case KVM_EXIT_INTERNAL_ERROR:
        machine_end(vcpu->machine, EXIT_FAILURE,
                    "KVM cannot go on with processor %u at 0x%llx: internal error %u", vcpu->index,
                    at, run->internal.suberror);
        break;
    case KVM_EXIT_SYSTEM_EVENT:
        machine_end(vcpu->machine, EXIT_SUCCESS, NULL);
        break;
    default:
        machine_end(vcpu->machine, EXIT_FAILURE,
                    "KVM left processor %u at 0x%llx for an unknown reason, %u", vcpu->index, at,
                    run->exit_reason);
        break;
    }
    return VCPU_EXIT_OTHER;
}

/* Returns what it was; `must_stop` is set when the guest is over. */
static enum vcpu_exit serve(struct vcpu *vcpu)
{
    switch (vcpu->run->exit_reason) {
    case KVM_EXIT_IO:
        serve_port(vcpu);
        return VCPU_EXIT_PORT;
    case KVM_EXIT_MMIO:
        serve_memory(vcpu);
        return VCPU_EXIT_MEMORY;
    case KVM_EXIT_HLT:
        return VCPU_EXIT_HALT;
    case KVM_EXIT_INTR:
    case KVM_EXIT_IRQ_WINDOW_OPEN:
        return VCPU_EXIT_SIGNAL;
    default:
        __atomic_store_n(&vcpu->must_stop, true, __ATOMIC_RELAXED);
        return serve_end(vcpu);
    }
}

static void *run(void *arg)
{
    struct vcpu *vcpu = arg;

    while (!__atomic_load_n(&vcpu->must_stop, __ATOMIC_RELAXED)) {
        enum vcpu_exit kind = VCPU_EXIT_SIGNAL;

        if (ioctl(vcpu->fd, KVM_RUN, 0) == 0) {
            kind = serve(vcpu);
        } else if (errno != EINTR && errno != EAGAIN) {
            machine_end(vcpu->machine, EXIT_FAILURE, "KVM_RUN on processor %u: %s", vcpu->index,
                        strerror(errno));
            break;
        }
        vcpu->exits[kind]++;
    }
    return NULL;
}

static void on_stop_signal(int signal)
{
}

int vcpu_start(struct vcpu *vcpu, struct err *err)
{
    struct sigaction action = {.sa_handler = on_stop_signal};
    int code;

    (void)sigaction(STOP_SIGNAL, &action, NULL); /* cannot fail for this one */
    code = pthread_create(&vcpu->thread, NULL, run, vcpu);
    if (code != 0) {
        return err_set(err, -code, "cannot start a thread for processor %u", vcpu->index);
    }
    vcpu->is_started = true;
    return 0;
}

/* `immediate_exit` makes the next KVM_RUN return, the signal the present one. */
void vcpu_stop(struct vcpu *vcpu)
{
    if (!vcpu->is_started) {
        return;
    }
    __atomic_store_n(&vcpu->must_stop, true, __ATOMIC_RELAXED);
    __atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
    (void)pthread_kill(vcpu->thread, STOP_SIGNAL);
    (void)pthread_join(vcpu->thread, NULL);
    vcpu->is_started = false;
}
