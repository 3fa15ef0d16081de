/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The entry of a payload, its 256 interrupt stubs, the way to CPL 3 and back,
 * and the trampoline on which other vCPUs start.
 */
	.section .text.start, "ax"
	.code64
	.globl _start
_start:
	lea	boot_stack_top(%rip), %rsp
	xor	%ebp, %ebp
	call	runtime_main
1:	hlt
	jmp	1b

	.text
	.globl stub_table
	.balign 16
stub_table:
	.set	n, 0
	.rept	256
	.balign 16
	.if (n == 8) || (n >= 10 && n <= 14) || (n == 17) || (n == 21)
	nop
	.else
	pushq	$0
	.endif
	pushq	$n
	jmp	common
	.set	n, n + 1
	.endr

common:
	cld
	push	%rax
	push	%rbx
	push	%rcx
	push	%rdx
	push	%rsi
	push	%rdi
	push	%rbp
	push	%r8
	push	%r9
	push	%r10
	push	%r11
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	mov	%rsp, %rdi
	and	$~15, %rsp
	mov	%rdi, %rbx
	call	runtime_trap
	mov	%rbx, %rsp
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%r11
	pop	%r10
	pop	%r9
	pop	%r8
	pop	%rbp
	pop	%rdi
	pop	%rsi
	pop	%rdx
	pop	%rcx
	pop	%rbx
	pop	%rax
	add	$16, %rsp
	iretq

/* user_enter(struct iret_frame *frame, rdi of the code) */
	.globl user_enter
user_enter:
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	mov	%rsp, user_saved_rsp
	mov	%rdi, %rax
	mov	%rsi, %rdi
	pushq	32(%rax)
	pushq	24(%rax)
	pushq	16(%rax)
	pushq	8(%rax)
	pushq	(%rax)
	iretq

/* user_leave(value): back to where user_enter was called, which returns it */
	.globl user_leave
user_leave:
	mov	user_saved_rsp, %rsp
	mov	%rdi, %rax
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	ret

/* part_run(fn): 0, or 1 by part_escape, with the stack of part_rsp */
	.globl part_run, part_escape, part_rsp
part_run:
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	sub	$8, %rsp
	mov	%rsp, part_rsp
	call	*%rdi
	xor	%eax, %eax
	jmp	1f
part_escape:
	mov	$1, %eax
1:	add	$8, %rsp
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	ret

/*
 * Copied to TRAMPOLINE: real mode to long mode in one step. trampoline_cr3,
 * _stack and _entry are filled in the copy.
 */
	.set	TRAMPOLINE, 0x8000
	.globl trampoline, trampoline_end, trampoline_cr3, trampoline_stack
	.globl trampoline_entry, trampoline_arg
	.balign 16
	.code16
trampoline:
	cli
	xor	%ax, %ax
	mov	%ax, %ds
	lgdtl	TRAMPOLINE + (tr_gdtr - trampoline)
	mov	%cr4, %eax
	or	$0x20, %eax
	mov	%eax, %cr4
	mov	TRAMPOLINE + (trampoline_cr3 - trampoline), %eax
	mov	%eax, %cr3
	mov	$0xc0000080, %ecx
	rdmsr
	or	$0x901, %eax
	wrmsr
	mov	%cr0, %eax
	or	$0x80010003, %eax
	mov	%eax, %cr0
	ljmpl	$8, $(TRAMPOLINE + (tr_64 - trampoline))
	.code64
tr_64:
	mov	$0x10, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	mov	TRAMPOLINE + (trampoline_stack - trampoline), %rsp
	mov	TRAMPOLINE + (trampoline_arg - trampoline), %rdi
	mov	TRAMPOLINE + (trampoline_entry - trampoline), %rax
	call	*%rax
1:	hlt
	jmp	1b
	.balign 8
tr_gdt:
	.quad	0
	.quad	0x00af9b000000ffff
	.quad	0x00cf93000000ffff
tr_gdtr:
	.word	23
	.long	TRAMPOLINE + (tr_gdt - trampoline)
	.balign 8
trampoline_cr3:
	.quad	0
trampoline_stack:
	.quad	0
trampoline_entry:
	.quad	0
trampoline_arg:
	.quad	0
trampoline_end:

	.bss
	.balign 16
	.skip	16384
boot_stack_top:
	.globl user_saved_rsp
user_saved_rsp:
	.quad	0
part_rsp:
	.quad	0
	.section .note.GNU-stack, "", @progbits
