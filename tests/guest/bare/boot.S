/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ways into the guest.  Firmware starts at real_mode below, a VMM by the 32-bit or the
 * 64-bit boot protocol; all end in bare_main(boot_params) in long mode, with memory below 4 GiB
 * mapped one to one and interrupts off.
 * Source: Linux documentation, "The Linux/x86 Boot Protocol".
 */

    .section .setup, "ax"
    .code16
setup:
    .org 0x1f1
    .byte 1             /* setup_sects: one, after the first */
    .word 0             /* root_flags */
    .long kernel_paragraphs /* syssize */
    .word 0             /* ram_size */
    .word 0xffff        /* vid_mode: normal */
    .word 0             /* root_dev */
    .word 0xaa55        /* boot_flag */
    .org 0x200
    .byte 0xeb, real_mode - 1f /* jump */
1:  .ascii "HdrS"
    .word 0x020f        /* version 2.15 */
    .long 0             /* realmode_swtch */
    .word 0             /* start_sys_seg */
    .word 0             /* kernel_version: none */
    .byte 0             /* type_of_loader, by the loader */
    .byte 0x01          /* loadflags: LOADED_HIGH */
    .word 0             /* setup_move_size */
    .long 0x100000      /* code32_start */
    .long 0, 0          /* ramdisk, by the loader */
    .long 0             /* bootsect_kludge */
    .word 0             /* heap_end_ptr */
    .byte 0, 0          /* ext_loader_ver, ext_loader_type */
    .long 0             /* cmd_line_ptr, by the loader */
    .long 0x7fffffff    /* initrd_addr_max */
    .long 0x100000      /* kernel_alignment */
    .byte 0             /* relocatable_kernel */
    .byte 20            /* min_alignment */
    .word 0x0001        /* xloadflags: XLF_KERNEL_64, entry at 0x200 */
    .long 2047          /* cmdline_size */
    .long 0             /* hardware_subarch */
    .quad 0             /* hardware_subarch_data */
    .long 0, 0          /* payload */
    .quad 0             /* setup_data */
    .quad 0x100000      /* pref_address */
    .long kernel_bytes  /* init_size */
    .long 0             /* handover_offset */
    .long 0             /* kernel_info_offset */

/* The setup header lies as in boot_params, so this segment serves as them. */
real_mode:
    cli
    xorl %esi, %esi
    movw %cs, %si
    subw $0x20, %si
    movw %si, %ds
    shll $4, %esi
    leal setup_gdt(%esi), %eax
    movl %eax, setup_gdt_pointer + 2
    lgdtl setup_gdt_pointer
    movl %cr0, %eax
    orb $1, %al
    movl %eax, %cr0
    .byte 0x66, 0xea    /* far jump, 32-bit offset */
    .long 0x100000
    .word 0x10

    .balign 8
setup_gdt:
    .quad 0, 0
    .quad 0x00cf9b000000ffff /* 0x10: code, 32 bits, flat */
    .quad 0x00cf93000000ffff /* 0x18: data */
setup_gdt_pointer:
    .word 31
    .long 0
    .org 0x400

    .section .head, "ax"
    .code32
    /* 32-bit entry: esi is boot_params; segments are flat. */
start32:
    cli
    movw $0x18, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movl %cr4, %eax
    orl $0x20, %eax     /* PAE */
    movl %eax, %cr4
    movl $pml4, %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx
    rdmsr
    orl $0x100, %eax    /* EFER.LME */
    wrmsr
    movl %cr0, %eax
    orl $0x80000001, %eax
    movl %eax, %cr0
    lgdt gdt_pointer
    ljmp $0x10, $start64

    .code64
    .org 0x200
    /* 64-bit entry: rsi is boot_params. */
start64:
    cli
    cld
    movl $pml4, %eax
    movq %rax, %cr3
    lgdt gdt_pointer
    movl $0x18, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movl $stack_end, %esp
    pushq $0x10
    pushq $1f
    lretq
1:  movl $bss_start, %edi
    movl $bss_end, %ecx
    subl %edi, %ecx
    shrl $3, %ecx
    xorl %eax, %eax
    rep stosq
    movq %rsi, %rdi
    call bare_main
2:  cli
    hlt
    jmp 2b

    .text
/* One entry for each vector, 16 bytes apart: error code (or 0), vector, registers. */
    .balign 16
    .globl irq_stubs
irq_stubs:
    vector = 0
    .rept 256
    .balign 16
    .if !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21)
    pushq $0
    .endif
    pushq $vector
    jmp irq_common
    vector = vector + 1
    .endr

    .balign 16
irq_common:
    pushq %rax
    pushq %rcx
    pushq %rdx
    pushq %rsi
    pushq %rdi
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    cld
    movq 72(%rsp), %rdi /* vector */
    movq 80(%rsp), %rsi /* error code */
    movq 88(%rsp), %rdx /* where it happened */
    call irq_handle
    popq %r11
    popq %r10
    popq %r9
    popq %r8
    popq %rdi
    popq %rsi
    popq %rdx
    popq %rcx
    popq %rax
    addq $16, %rsp
    iretq

    .section .tables, "aw"
    .balign 4096
pml4:
    .quad pdpt + 3
    .fill 511, 8, 0
pdpt:
    .quad pages + 0x3, pages + 0x1003, pages + 0x2003, pages + 0x3003
    .fill 508, 8, 0
pages:
    page = 0
    .rept 2048          /* 2 MiB each; registers, from 3 GiB on, not cached */
    .if page < 1536
    .quad page * 0x200000 + 0x83
    .else
    .quad page * 0x200000 + 0x9b
    .endif
    page = page + 1
    .endr

    .data
    .balign 8
gdt:
    .quad 0, 0
    .quad 0x00af9b000000ffff /* 0x10: code, 64 bits */
    .quad 0x00cf93000000ffff /* 0x18: data */
gdt_pointer:
    .word 31
    .quad gdt

    .bss
    .balign 16
    .skip 32768
stack_end:

    .section .note.GNU-stack, "", @progbits
