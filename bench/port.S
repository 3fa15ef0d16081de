/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A multiboot kernel that reads com1's line status many times, and prints
 * what a read took, in TSC cycles: eight rounds, a decimal number a line, in
 * whichever VMM it runs. Then it resets the machine by the keyboard
 * controller.
 */
#define READS 2048 /* a power of 2: see the shift */

	.text
	.balign	4
	.long	0x1badb002, 0, -0x1badb002 /* multiboot 1, no flags */
	.code32
	.globl	start
start:	mov	$stack, %esp
	mov	$8, %ebp
1:	rdtsc
	mov	%eax, %esi
	mov	%edx, %edi
	mov	$READS, %ecx
	mov	$0x3fd, %edx
2:	in	%dx, %al
	dec	%ecx
	jnz	2b
	rdtsc
	sub	%esi, %eax
	sbb	%edi, %edx
	shrd	$11, %edx, %eax
	call	print
	dec	%ebp
	jnz	1b
	mov	$0xfe, %al
	out	%al, $0x64
3:	hlt
	jmp	3b

/* EAX and a newline. */
print:	mov	$10, %ebx
	push	$10		/* the newline, below all digits */
1:	xor	%edx, %edx
	div	%ebx
	add	$'0', %edx
	push	%edx
	test	%eax, %eax
	jnz	1b
	mov	$0x3f8, %edx
2:	pop	%eax
	out	%al, %dx
	cmp	$10, %al
	jne	2b
	ret

	.bss
	.balign	16
	.skip	4096
stack:
	.section .note.GNU-stack, "", @progbits
