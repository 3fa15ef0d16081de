/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From the runner's 64-bit mode down to 32-bit protected mode without paging,
 * the interrupt stubs, and the way into other levels and modes and back.
 */
	.section .text.start, "ax"
	.code64
	.globl	_start
_start:
	/* By hand: 64-bit code with 32-bit relocations. */
	.byte	0x0f, 0x01, 0x14, 0x25 /* lgdt boot_gdtr */
	.long	boot_gdtr
	.byte	0xff, 0x2c, 0x25 /* ljmp *boot_jump */
	.long	boot_jump
	.code32
boot32:
	mov	$0x10, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	mov	%cr0, %eax
	and	$0x7fffffff, %eax
	mov	%eax, %cr0
	mov	$0xc0000080, %ecx
	xor	%eax, %eax
	xor	%edx, %edx
	wrmsr
	mov	%eax, %cr4
	mov	$boot_stack_top, %esp
	xor	%ebp, %ebp
	call	runtime_main
1:	hlt
	jmp	1b
	.balign	8
boot_gdtr:
	.word	64 * 8 - 1
	.long	gdt, 0
boot_jump:
	.long	boot32
	.word	0x08

	.text
	.globl	stub_table
	.balign	16
stub_table:
	.set	n, 0
	.rept	256
	.balign	16
	.if (n == 8) || (n >= 10 && n <= 14) || (n == 17) || (n == 21)
	nop
	.else
	pushl	$0
	.endif
	pushl	$n
	jmp	common
	.set	n, n + 1
	.endr

common:
	cld
	pusha
	push	%ds
	push	%es
	push	%fs
	push	%gs
	mov	$0x10, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%esp, %eax
	push	%eax
	call	runtime_trap
	add	$4, %esp
	.globl	trap_return
trap_return:
	pop	%gs
	pop	%fs
	pop	%es
	pop	%ds
	popa
	add	$8, %esp
	iret

/* run_enter(target, words, eax): pushes words of the target, IRETs to it */
	.globl	run_enter
run_enter:
	push	%ebx
	push	%ebp
	push	%esi
	push	%edi
	mov	20(%esp), %esi
	mov	24(%esp), %ecx
	mov	28(%esp), %eax
	mov	%esp, run_saved_esp
	cmp	$5, %ecx /* to CPL 3: data that it may use */
	jne	1f
	mov	$0x23, %edx
	mov	%edx, %ds
	mov	%edx, %es
1:	pushl	-4(%esi, %ecx, 4)
	dec	%ecx
	jnz	1b
	iret

/* run_leave(eax): back to where run_enter was called, which returns it */
	.globl	run_leave
run_leave:
	mov	4(%esp), %eax
	mov	$0x10, %ecx
	mov	%ecx, %ss
	mov	run_saved_esp, %esp
	mov	%ecx, %ds
	mov	%ecx, %es
	pop	%edi
	pop	%esi
	pop	%ebp
	pop	%ebx
	ret

	.bss
	.balign	16
	.skip	16384
boot_stack_top:
	.globl	run_saved_esp
run_saved_esp:
	.long	0
	.section .note.GNU-stack, "", @progbits
