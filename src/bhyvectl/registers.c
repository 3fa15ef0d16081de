// SPDX-License-Identifier: BSD-2-Clause
/* --get- and --set- of each register: rows made from x86/regs.def. */
#include <inttypes.h>
#include <stdio.h>
#include <sysexits.h>

#include "base/bits.h"
#include "bhyvectl/bhyvectl.h"

/* -- printing -----------------------------------------------------------------
 */

enum kind { KIND_GPR, KIND_SYS, KIND_SEG, KIND_TABLE, KIND_VIRT };

static const struct reg_row {
	const char *name;
	int reg;
	enum kind kind;
} reg_rows[] = {
#define X86_REG(NAME, text, kind) {text, VM_REG_GUEST_##NAME, KIND_##kind},
#include "x86/regs.def"
#undef X86_REG
};

static const char *reg_name(int reg)
{
	return reg_rows[reg].name;
}

/* bhyve's columns: names end at the second tab stop. */
static void print_value(const struct session *s, int reg, uint64_t value)
{
	if (reg_rows[reg].kind == KIND_SEG)
		printf("%s[%d]\t\t0x%04" PRIx64 "\n", reg_name(reg), s->cpu,
		       value);
	else
		printf("%s[%d]\t\t0x%016" PRIx64 "\n", reg_name(reg), s->cpu,
		       value);
}

static int print_desc(struct session *s, int reg)
{
	struct seg_desc desc;

	if (vm_get_seg_desc(s->vcpu, reg, &desc) != 0)
		return -1;
	if (reg_rows[reg].kind == KIND_TABLE)
		printf("%s[%d]\t\t0x%016" PRIx64 "/0x%08x\n", reg_name(reg),
		       s->cpu, desc.base, desc.limit);
	else
		printf("%s desc[%d]\t0x%016" PRIx64 "/0x%08x/0x%08x\n",
		       reg_name(reg), s->cpu, desc.base, desc.limit,
		       desc.access);
	return 0;
}

/* One call for all values, so that they are of one moment. */
int print_all_registers(struct session *s)
{
	uint64_t values[ARRAY_SIZE(reg_rows)];
	int regs[ARRAY_SIZE(reg_rows)];
	unsigned count = 0;

	for (size_t i = 0; i < ARRAY_SIZE(reg_rows); i++)
		if (reg_rows[i].kind != KIND_TABLE)
			regs[count++] = reg_rows[i].reg;
	if (vm_get_register_set(s->vcpu, count, regs, values) != 0)
		return -1;
	for (unsigned i = 0; i < count; i++)
		print_value(s, regs[i], values[i]);
	for (size_t i = 0; i < ARRAY_SIZE(reg_rows); i++)
		if ((reg_rows[i].kind == KIND_SEG ||
		     reg_rows[i].kind == KIND_TABLE) &&
		    print_desc(s, reg_rows[i].reg) != 0)
			return -1;
	return 0;
}

/* -- actions ------------------------------------------------------------------
 */

static int get_value(struct session *s, const struct action *action,
		     const char *value)
{
	uint64_t found;

	if (vm_get_register(s->vcpu, action->which, &found) != 0)
		return -1;
	print_value(s, action->which, found);
	return 0;
}

static int set_value(struct session *s, const struct action *action,
		     const char *value)
{
	uint64_t number;
	int error = parse_number(action->option, value, UINT64_MAX, &number);

	return error != 0 ? error
			  : vm_set_register(s->vcpu, action->which, number);
}

static int get_desc(struct session *s, const struct action *action,
		    const char *value)
{
	return print_desc(s, action->which);
}

/* What is not given stays. */
static int set_desc(struct session *s, const struct action *action,
		    const char *value)
{
	struct seg_desc desc;
	uint64_t base, limit, access;
	int error = 0;

	if (vm_get_seg_desc(s->vcpu, action->which, &desc) != 0)
		return -1;
	base = desc.base;
	limit = desc.limit;
	access = desc.access;
	if (s->desc_base != NULL)
		error =
		    parse_number("desc-base", s->desc_base, UINT64_MAX, &base);
	if (error == 0 && s->desc_limit != NULL)
		error = parse_number("desc-limit", s->desc_limit, UINT32_MAX,
				     &limit);
	if (error == 0 && s->desc_access != NULL)
		error = parse_number("desc-access", s->desc_access, UINT32_MAX,
				     &access);
	if (error != 0)
		return error;
	return vm_set_desc(s->vcpu, action->which, base, (uint32_t)limit,
			   (uint32_t)access);
}

/* Which rows a kind of register has. */
#define SET_GPR(NAME, text)                                                    \
	{"set-" text, "VALUE", set_value, VM_REG_GUEST_##NAME, false},
#define SET_SYS(NAME, text)  SET_GPR(NAME, text)
#define SET_VIRT(NAME, text) SET_GPR(NAME, text)
#define SET_TABLE(NAME, text)                                                  \
	{"set-desc-" text, NULL, set_desc, VM_REG_GUEST_##NAME, false},
#define SET_SEG(NAME, text) SET_GPR(NAME, text) SET_TABLE(NAME, text)
#define GET_GPR(NAME, text)                                                    \
	{"get-" text, NULL, get_value, VM_REG_GUEST_##NAME, false},
#define GET_SYS(NAME, text)  GET_GPR(NAME, text)
#define GET_VIRT(NAME, text) GET_GPR(NAME, text)
#define GET_TABLE(NAME, text)                                                  \
	{"get-desc-" text, NULL, get_desc, VM_REG_GUEST_##NAME, false},
#define GET_SEG(NAME, text) GET_GPR(NAME, text) GET_TABLE(NAME, text)

const struct action register_sets[] = {
#define X86_REG(NAME, text, kind) SET_##kind(NAME, text)
#include "x86/regs.def"
#undef X86_REG
};
const size_t register_set_count = ARRAY_SIZE(register_sets);

const struct action register_gets[] = {
#define X86_REG(NAME, text, kind) GET_##kind(NAME, text)
#include "x86/regs.def"
#undef X86_REG
};
const size_t register_get_count = ARRAY_SIZE(register_gets);
