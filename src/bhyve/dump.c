// SPDX-License-Identifier: BSD-2-Clause
#include "bhyve/dump.h"

#include <stdio.h>
#include <sys/mman.h>

#include "base/bits.h"
#include "x86/disasm.h"

static const char *const exit_names[VM_EXITCODE_MAX] = {
    [VM_EXITCODE_INOUT] = "INOUT",
    [VM_EXITCODE_VMX] = "VMX",
    [VM_EXITCODE_BOGUS] = "BOGUS",
    [VM_EXITCODE_RDMSR] = "RDMSR",
    [VM_EXITCODE_WRMSR] = "WRMSR",
    [VM_EXITCODE_HLT] = "HLT",
    [VM_EXITCODE_MTRAP] = "MTRAP",
    [VM_EXITCODE_PAUSE] = "PAUSE",
    [VM_EXITCODE_PAGING] = "PAGING",
    [VM_EXITCODE_INST_EMUL] = "INST_EMUL",
    [VM_EXITCODE_SPINUP_AP] = "SPINUP_AP",
    [VM_EXITCODE_RENDEZVOUS] = "RENDEZVOUS",
    [VM_EXITCODE_IOAPIC_EOI] = "IOAPIC_EOI",
    [VM_EXITCODE_SUSPENDED] = "SUSPENDED",
    [VM_EXITCODE_INOUT_STR] = "INOUT_STR",
    [VM_EXITCODE_TASK_SWITCH] = "TASK_SWITCH",
    [VM_EXITCODE_MONITOR] = "MONITOR",
    [VM_EXITCODE_MWAIT] = "MWAIT",
    [VM_EXITCODE_SVM] = "SVM",
    [VM_EXITCODE_REQIDLE] = "REQIDLE",
    [VM_EXITCODE_DEBUG] = "DEBUG",
    [VM_EXITCODE_VMINSN] = "VMINSN",
    [VM_EXITCODE_BPT] = "BPT",
    [VM_EXITCODE_IPI] = "IPI",
    [VM_EXITCODE_DB] = "DB",
};

static const struct {
	const char *name;
	int reg;
} registers[] = {
    {"rax", VM_REG_GUEST_RAX}, {"rbx", VM_REG_GUEST_RBX},
    {"rcx", VM_REG_GUEST_RCX}, {"rdx", VM_REG_GUEST_RDX},
    {"rsi", VM_REG_GUEST_RSI}, {"rdi", VM_REG_GUEST_RDI},
    {"rbp", VM_REG_GUEST_RBP}, {"rsp", VM_REG_GUEST_RSP},
    {"r8", VM_REG_GUEST_R8},   {"r9", VM_REG_GUEST_R9},
    {"r10", VM_REG_GUEST_R10}, {"r11", VM_REG_GUEST_R11},
    {"r12", VM_REG_GUEST_R12}, {"r13", VM_REG_GUEST_R13},
    {"r14", VM_REG_GUEST_R14}, {"r15", VM_REG_GUEST_R15},
    {"rip", VM_REG_GUEST_RIP}, {"rflags", VM_REG_GUEST_RFLAGS},
    {"cr0", VM_REG_GUEST_CR0}, {"cr2", VM_REG_GUEST_CR2},
    {"cr3", VM_REG_GUEST_CR3}, {"cr4", VM_REG_GUEST_CR4},
    {"dr7", VM_REG_GUEST_DR7}, {"efer", VM_REG_GUEST_EFER},
};

static const struct {
	const char *name;
	int reg;
	bool has_selector;
} segments[] = {
    {"cs", VM_REG_GUEST_CS, true},      {"ds", VM_REG_GUEST_DS, true},
    {"es", VM_REG_GUEST_ES, true},      {"fs", VM_REG_GUEST_FS, true},
    {"gs", VM_REG_GUEST_GS, true},      {"ss", VM_REG_GUEST_SS, true},
    {"tr", VM_REG_GUEST_TR, true},      {"ldtr", VM_REG_GUEST_LDTR, true},
    {"gdtr", VM_REG_GUEST_GDTR, false}, {"idtr", VM_REG_GUEST_IDTR, false},
};

const char *dump_exit_name(enum vm_exitcode code)
{
	if ((unsigned int)code >= ARRAY_SIZE(exit_names) ||
	    exit_names[code] == NULL)
		return "?";
	return exit_names[code];
}

static void dump_registers(FILE *out, struct vcpu *vcpu)
{
	for (size_t i = 0; i < ARRAY_SIZE(registers); i++) {
		uint64_t value;

		if (vm_get_register(vcpu, registers[i].reg, &value) == 0)
			fprintf(out, "\t%s\t\t0x%016jx\n", registers[i].name,
				(uintmax_t)value);
	}
}

static void dump_segments(FILE *out, struct vcpu *vcpu)
{
	for (size_t i = 0; i < ARRAY_SIZE(segments); i++) {
		uint32_t limit, access;
		uint64_t base, selector = 0;

		if (vm_get_desc(vcpu, segments[i].reg, &base, &limit,
				&access) != 0)
			continue;
		fprintf(out, "\t%s\t\t", segments[i].name);
		if (segments[i].has_selector &&
		    vm_get_register(vcpu, segments[i].reg, &selector) == 0)
			fprintf(out, "0x%04jx ", (uintmax_t)selector);
		fprintf(out, "base 0x%016jx limit 0x%08x access 0x%08x\n",
			(uintmax_t)base, limit, access);
	}
}

#define EFER_LMA BIT(10)
#define CR0_PE   BIT(0)
#define CR0_PG   BIT(31)
#define CR4_PAE  BIT(5)
#define CR4_LA57 BIT(12)
#define CS_LONG  BIT(13)
#define CS_DB    BIT(14)

static struct vm_guest_paging paging_of(struct vcpu *vcpu, uint32_t cs_access)
{
	uint64_t cr0 = 0, cr4 = 0, efer = 0;
	struct vm_guest_paging paging = {0};

	vm_get_register(vcpu, VM_REG_GUEST_CR0, &cr0);
	vm_get_register(vcpu, VM_REG_GUEST_CR3, &paging.cr3);
	vm_get_register(vcpu, VM_REG_GUEST_CR4, &cr4);
	vm_get_register(vcpu, VM_REG_GUEST_EFER, &efer);
	if ((efer & EFER_LMA) != 0)
		paging.cpu_mode = (cs_access & CS_LONG) != 0
				      ? CPU_MODE_64BIT
				      : CPU_MODE_COMPATIBILITY;
	else
		paging.cpu_mode =
		    (cr0 & CR0_PE) != 0 ? CPU_MODE_PROTECTED : CPU_MODE_REAL;
	if ((cr0 & CR0_PG) == 0)
		paging.paging_mode = PAGING_MODE_FLAT;
	else if ((cr4 & CR4_PAE) == 0)
		paging.paging_mode = PAGING_MODE_32;
	else if ((efer & EFER_LMA) == 0)
		paging.paging_mode = PAGING_MODE_PAE;
	else
		paging.paging_mode = (cr4 & CR4_LA57) != 0 ? PAGING_MODE_64_LA57
							   : PAGING_MODE_64;
	return paging;
}

#define LONGEST_INSTRUCTION 15

/* From linear address gla on, as far as there is memory: how many. */
static unsigned read_code(struct vcpu *vcpu, struct vm_guest_paging *paging,
			  uint64_t gla, uint8_t bytes[LONGEST_INSTRUCTION])
{
	unsigned n;

	for (n = 0; n < LONGEST_INSTRUCTION; n++) {
		const uint8_t *byte = NULL;
		uint64_t gpa;
		int fault = 0;

		if (vm_gla2gpa_nofault(vcpu, paging, gla + n, PROT_READ, &gpa,
				       &fault) == 0 &&
		    fault == 0)
			byte = vm_map_gpa(vcpu_ctx(vcpu), gpa, 1);
		if (byte == NULL)
			break;
		bytes[n] = *byte;
	}
	return n;
}

/* What is at RIP: the bytes, and what they say. */
static void dump_instruction(FILE *out, struct vcpu *vcpu)
{
	uint8_t bytes[LONGEST_INSTRUCTION];
	struct vm_guest_paging paging;
	uint64_t base = 0, rip = 0;
	uint32_t limit, access;
	unsigned count;
	char text[96];

	if (vm_get_desc(vcpu, VM_REG_GUEST_CS, &base, &limit, &access) != 0 ||
	    vm_get_register(vcpu, VM_REG_GUEST_RIP, &rip) != 0)
		return;
	paging = paging_of(vcpu, access);
	if (paging.cpu_mode == CPU_MODE_64BIT)
		base = 0;
	count = read_code(vcpu, &paging, base + rip, bytes);
	fprintf(out, "\tinstruction\t");
	for (unsigned n = 0; n < count; n++)
		fprintf(out, "%02x ", bytes[n]);
	disasm(bytes, count,
	       paging.cpu_mode == CPU_MODE_64BIT ? 8
	       : access & CS_DB                  ? 4
						 : 2,
	       rip, text, sizeof(text));
	fprintf(out, "\n\t\t\t%s\n", text);
}

char *dump_exit(struct vcpu *vcpu, const struct vm_exit *exit, const char *line)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (out == NULL)
		return NULL;
	fprintf(out, "bhyve: %s\n", line);
	fprintf(out, "vm exit[%d]\n", vcpu_id(vcpu));
	fprintf(out, "\treason\t\t%s\n", dump_exit_name(exit->exitcode));
	fprintf(out, "\trip\t\t0x%016jx\n", (uintmax_t)exit->rip);
	fprintf(out, "\tinst_length\t%d\n", exit->inst_length);
	dump_instruction(out, vcpu);
	dump_registers(out, vcpu);
	dump_segments(out, vcpu);
	if (fclose(out) != 0)
		return NULL;
	return text;
}
