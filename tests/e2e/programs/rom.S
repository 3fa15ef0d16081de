/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A boot ROM of 64 KiB. From the reset vector (SDM vol. 3A, 10.1.4) through
 * real, unreal, protected and long mode, saying each on COM1, with code, GDT
 * and page tables in the ROM itself; in each it writes to the ROM, which must
 * stay as it is. It ends bhyve by pc-testdev: GOOD, or BAD after the name of
 * what was wrong.
 *
 * ACCESSED 0: the CPU would set accessed bits of descriptors and page tables
 * in the ROM, which are not kept. 1: they are set, as in any real ROM; KVM
 * tries for ever otherwise.
 */
#define COM1      0x3f8
#define EXIT_PORT 0xf4
#define GOOD      0x11 /* bhyve's status is 2n + 1 */
#define BAD       0x12

#define CODE32 0x08
#define DATA   0x10
#define CODE64 0x18

#define TABLE (0x03 | ACCESSED << 5)
#define LEAF  (0x83 | ACCESSED << 5 | ACCESSED << 6)

#define LOW   0x8000   /* where the far jump goes */
#define ABOVE 0x200000 /* RAM that real mode does not reach */
#define STACK 0x7000

/* Where it is in the segment of the reset state, whose base is FFFF0000h. */
#define IN_CS(label) ((label) - rom)

	.macro SAY16 text
	mov	$IN_CS(9f), %si
	call	say16
	jmp	8f
9:	.asciz	"\text"
8:
	.endm

	/* Says text and ends, unless the flags are right. */
	.macro MUST16 condition text
	j\condition 8f
	mov	$IN_CS(9f), %si
	jmp	bad16
9:	.asciz	"bad: \text"
8:
	.endm

	.macro SAY32 text
	mov	$9f, %esi
	call	say32
	jmp	8f
9:	.asciz	"\text"
8:
	.endm

	.macro MUST32 condition text
	j\condition 8f
	mov	$9f, %esi
	jmp	bad32
9:	.asciz	"bad: \text"
8:
	.endm

	.text
	.globl	rom
rom:
	.code16
start16:
	cli
	cld
	mov	%edx, %ebp
	mov	%cr0, %eax
	cmp	$0x60000010, %eax
	MUST16	e "CR0"
	mov	%cs, %ax
	cmp	$0xf000, %ax
	MUST16	e "CS"
	/* Family, model and stepping; the family of no CPU with CPUID is 0. */
	test	$0xf00, %ebp
	MUST16	nz "EDX"
	/* SS has its base, and the stack is RAM. */
	mov	$STACK, %sp
	call	1f
1:	pop	%ax
	cmp	$IN_CS(1b), %ax
	MUST16	e "stack"
	SAY16	"real"

	/* Segments of 4 GiB: their descriptors outlive protected mode. */
	lgdtl	%cs:IN_CS(gdt_pointer)
	mov	%cr0, %eax
	or	$1, %al
	mov	%eax, %cr0
	mov	$DATA, %bx
	mov	%bx, %ds
	mov	%bx, %es
	and	$0xfe, %al
	mov	%eax, %cr0
	mov	$ABOVE, %edi
	movl	$0x12345678, (%edi)
	cmpl	$0x12345678, (%edi)
	MUST16	e "RAM above 1 MiB"
	/* The same byte by both ways, and not to be written by either. */
	mov	$mark, %edi
	mov	%cs:IN_CS(mark), %al
	cmp	(%edi), %al
	MUST16	e "ROM by a flat segment"
	notb	(%edi)
	movb	$1, (%edi)
	incw	(%edi)
	cmp	(%edi), %al
	MUST16	e "ROM written to"
	cmp	%cs:IN_CS(mark), %al
	MUST16	e "ROM written to, by CS"
	SAY16	"unreal"

	/* The far jump leaves the ROM for good: real mode does not reach it. */
	mov	$IN_CS(low16), %si
	mov	$LOW, %edi
	mov	$(low16_end - low16), %cx
1:	mov	%cs:(%si), %al
	mov	%al, (%edi)
	inc	%si
	inc	%edi
	loop	1b
	ljmp	$0, $LOW

say16:
	mov	$COM1, %dx
1:	mov	%cs:(%si), %al
	inc	%si
	test	%al, %al
	jz	2f
	out	%al, %dx
	jmp	1b
2:	mov	$'\n', %al
	out	%al, %dx
	ret
bad16:
	call	say16
	mov	$BAD, %al
	out	%al, $EXIT_PORT
	hlt

/* A copy of this runs at LOW. */
low16:
	mov	%cs, %ax
	test	%ax, %ax
	jnz	1f
	lidtl	%cs:(LOW + no_idt - low16)
	mov	%cr0, %eax
	or	$1, %al
	mov	%eax, %cr0
	ljmpl	$CODE32, $start32
1:	mov	$BAD, %al
	out	%al, $EXIT_PORT
no_idt:
	.word	0
	.long	0
low16_end:

	.code32
start32:
	mov	$DATA, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	mov	$STACK, %esp
	SAY32	"far"
	/* Descriptors are loaded without a mark in ROM (SDM vol. 3A, 3.4.5.1:
	   the CPU would set their accessed bit). */
	cmpb	$0x9a | ACCESSED, gdt + CODE32 + 5
	MUST32	e "accessed bit of CS in ROM"
	cmpb	$0x92 | ACCESSED, gdt + DATA + 5
	MUST32	e "accessed bit of DS in ROM"
	movl	mark, %ebx
	movl	$0, mark
	lock incl mark
	lock cmpxchg %esi, mark
	xchg	%eax, mark
	cmp	mark, %ebx
	MUST32	e "ROM written to in protected mode"
	/* Over the end of a page and of the code that runs here. */
	mov	$rom, %edi
	mov	$(pages - rom) / 4, %ecx
	xor	%eax, %eax
	rep stosl
	lock incl pages - 2
	cmp	mark, %ebx
	MUST32	e "ROM filled"
	SAY32	"protected"

	mov	%cr4, %eax
	or	$0x20, %eax
	mov	%eax, %cr4
	mov	$pml4, %eax
	mov	%eax, %cr3
	mov	$0xc0000080, %ecx
	rdmsr
	or	$0x100, %eax
	wrmsr
	mov	%cr0, %eax
	or	$0x80000000, %eax
	mov	%eax, %cr0
	ljmp	$CODE64, $start64

say32:
	mov	$COM1, %edx
1:	lodsb
	test	%al, %al
	jz	2f
	out	%al, %dx
	jmp	1b
2:	mov	$'\n', %al
	out	%al, %dx
	ret
bad32:
	call	say32
	mov	$BAD, %al
	out	%al, $EXIT_PORT
	hlt

	.code64
start64:
	/* Addresses of the ROM have bit 31, and are not to be extended. */
	mov	$STACK, %rsp
	mov	$pml4, %eax
	cmpb	$TABLE, (%rax)
	mov	$9f, %esi
	jne	bad64
	mov	$pages, %eax
	cmpb	$LEAF, (%rax)
	jne	bad64
	mov	$mark, %edi
	mov	(%rdi), %rbx
	movq	$0, (%rdi)
	cmp	(%rdi), %rbx
	mov	$7f, %esi
	jne	bad64
	mov	$6f, %esi
	call	say64
	mov	$GOOD, %al
	out	%al, $EXIT_PORT
	hlt
bad64:
	call	say64
	mov	$BAD, %al
	out	%al, $EXIT_PORT
	hlt
say64:
	mov	$COM1, %edx
1:	mov	(%rsi), %al
	inc	%rsi
	test	%al, %al
	jz	2f
	out	%al, %dx
	jmp	1b
2:	mov	$'\n', %al
	out	%al, %dx
	ret
9:	.asciz	"bad: accessed bits of page tables in ROM"
7:	.asciz	"bad: ROM written to in long mode"
6:	.asciz	"long"

	.balign	8
mark:	.quad	0x1122334455667788
gdt:	.quad	0
	.quad	0x00cf9a000000ffff + (ACCESSED << 40)
	.quad	0x00cf92000000ffff + (ACCESSED << 40)
	.quad	0x00af9a000000ffff + (ACCESSED << 40)
gdt_pointer:
	.word	. - gdt - 1
	.long	gdt

	/* The identity, of 4 GiB. */
	.balign	4096
pages:
	.set	n, 0
	.rept	2048
	.quad	(n << 21) + LEAF
	.set	n, n + 1
	.endr
pdpt:
	.set	n, 0
	.rept	4
	.quad	pages + (n << 12) + TABLE
	.set	n, n + 1
	.endr
	.balign	4096
pml4:
	.quad	pdpt + TABLE

	.org	0xfff0
	.code16
	/* JMP rel16 to start16, which is ahead where IP wraps: clang's
	   assembler would not have it so far back. */
	.byte	0xe9
	.word	start16 - rom + 0x10000 - 0xfff3
	.org	0x10000, 0xff
