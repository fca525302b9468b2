# SPDX-License-Identifier: GPL-2.0-or-later
# Registers of virtio devices, PCI, KVM.
noinst_LIBRARIES += transports/vmm/libvmm.a

transports_vmm_libvmm_a_SOURCES = \
	transports/vmm/kvm.c transports/vmm/kvm.h \
	transports/vmm/pci_host.c transports/vmm/pci_host.h \
	transports/vmm/virtio_mmio.c transports/vmm/virtio_mmio.h \
	transports/vmm/virtio_pci.c transports/vmm/virtio_pci.h \
	transports/vmm/virtio_pci_legacy.c \
	transports/vmm/virtio_pci_modern.c \
	transports/vmm/virtio_pci_msix.c \
	transports/vmm/virtio_regs.c transports/vmm/virtio_regs.h
