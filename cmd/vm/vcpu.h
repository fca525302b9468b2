/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A processor of the guest: a thread that runs it until the machine ends.
 * Owner: the launcher.
 */

#include "cmd/vm/machine.h"

/* What a processor leaves the guest for. */
enum vcpu_exit {
    VCPU_EXIT_PORT,
    VCPU_EXIT_MEMORY,
    VCPU_EXIT_HALT,
    VCPU_EXIT_SIGNAL,
    VCPU_EXIT_OTHER,
    VCPU_EXIT_KINDS,
};

struct kvm_run;

struct vcpu {
    struct machine *machine; /* parent */
    unsigned index;
    int fd;              /* owned */
    struct kvm_run *run; /* owned mapping of `run_bytes` */
    size_t run_bytes;
    pthread_t thread;
    bool is_started;
    bool must_stop;                  /* atomic: set by vcpu_stop, read by the thread */
    uint64_t exits[VCPU_EXIT_KINDS]; /* the thread's, until it has ended */
};

int vcpu_open(struct vcpu *vcpu, struct machine *machine, unsigned index, unsigned count,
              uint64_t entry, struct err *err);
int vcpu_start(struct vcpu *vcpu, struct err *err);

/* Out of the guest, thread joined. */
void vcpu_stop(struct vcpu *vcpu);
void vcpu_close(struct vcpu *vcpu);

const char *vcpu_exit_name(enum vcpu_exit kind);
