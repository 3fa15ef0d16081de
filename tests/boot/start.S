/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The way into a kernel of these tests, from 32-bit protected mode: keeps what
 * the loader left in registers, goes to long mode if this is a 64-bit kernel,
 * and calls kernel_main. MULTIBOOT is its header's flags, or PVH is defined.
 */
#ifdef MULTIBOOT
	.section .header, "a"
	.balign	4
multiboot_header:
	.long	0x1badb002
	.long	MULTIBOOT
	.long	-(0x1badb002 + MULTIBOOT)
#if (MULTIBOOT) & 0x10000
	.long	multiboot_header
	.long	load_start
	.long	load_end
	.long	bss_end
	.long	_start
#endif
#endif

#ifdef PVH
	.section .note.Xen, "a", @note
	.balign	4
	/* One of another owner, and a shorter one, before the one that counts. */
	.long	4, 3, 18
	.asciz	"XeX"
	.byte	1, 2, 3
	.balign	4
	.long	4, 4, 7
	.asciz	"Xen"
	.long	0x1234
	.long	4, 4, 18
	.asciz	"Xen"
	.long	_start
#endif

	.text
	.code32
	.globl	_start
_start:
	cld
	mov	%eax, entry_state
	mov	%ebx, entry_state + 4
	mov	%cr0, %eax
	mov	%eax, entry_state + 8
	mov	%cr4, %eax
	mov	%eax, entry_state + 12
	mov	$stack_top, %esp
	pushf
	pop	%eax
	mov	%eax, entry_state + 16
	mov	$entry_state + 20, %edi
	mov	%cs, %ax
	stosw
	mov	%ds, %ax
	stosw
	mov	%es, %ax
	stosw
	mov	%ss, %ax
	stosw
	str	%ax
	stosw
	mov	$0xc0000080, %ecx
	rdmsr
	mov	%eax, entry_state + 32
#ifndef __x86_64__
	call	kernel_main
1:	hlt
	jmp	1b
#else
	/* An identity map of 1 GiB. */
	mov	$page_tables, %edi
	lea	0x1003(%edi), %eax
	mov	%eax, (%edi)
	add	$0x1000, %eax
	mov	%eax, 0x1000(%edi)
	mov	$0x83, %eax
	xor	%ecx, %ecx
1:	mov	%eax, 0x2000(%edi, %ecx, 8)
	add	$0x200000, %eax
	inc	%ecx
	cmp	$512, %ecx
	jne	1b
	mov	%edi, %cr3
	mov	$0x20, %eax
	mov	%eax, %cr4
	mov	$0xc0000080, %ecx
	xor	%edx, %edx
	mov	$0x100, %eax
	wrmsr
	mov	%cr0, %eax
	or	$0x80000000, %eax
	mov	%eax, %cr0
	lgdt	gdtr
	ljmp	$8, $long_mode
	.code64
long_mode:
	mov	$0x10, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	call	kernel_main
1:	hlt
	jmp	1b

	.data
	.balign	8
gdt:
	.quad	0, 0x00af9b000000ffff, 0x00cf93000000ffff
gdtr:
	.word	23
	.quad	gdt

	.bss
	.balign	4096
page_tables:
	.skip	3 * 4096
#endif
	.bss
	.balign	16
	.skip	8192
stack_top:
	.section .note.GNU-stack, "", @progbits
