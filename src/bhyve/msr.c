// SPDX-License-Identifier: BSD-2-Clause
#include "bhyve/msr.h"

#include <cpuid.h>
#include <stddef.h>
#include <string.h>

#include "base/bits.h"

struct msr_row {
	enum msr_vendor vendor;
	uint32_t first, last;
	uint64_t value; /* what a read gives */
	enum { RW, RO, WO } access;
};

/*
 * Intel: SDM vol. 4, tables 2-2 and 2-39. AMD: BIOS and Kernel Developer's
 * Guide, Architectural MSRs C001_xxxx. Writes are taken and forgotten; bhyve
 * refuses those of MISC_FEATURE_ENABLES, of which Linux complains.
 */
static const struct msr_row rows[] = {
    {MSR_INTEL, 0x03a, 0x03a, 1, RO},         /* FEATURE_CONTROL: locked */
    {MSR_INTEL, 0x079, 0x079, 0, WO},         /* BIOS_UPDT_TRIG */
    {MSR_INTEL, 0x08b, 0x08b, 0, RW},         /* BIOS_SIGN_ID */
    {MSR_INTEL, 0x140, 0x140, 0, RW},         /* MISC_FEATURE_ENABLES */
    {MSR_INTEL, 0x606, 0x606, 0xa1003, RO},   /* RAPL_POWER_UNIT */
    {MSR_INTEL, 0x611, 0x611, 0, RO},         /* PKG_ENERGY_STATUS */
    {MSR_INTEL, 0x619, 0x619, 0, RO},         /* DRAM_ENERGY_STATUS */
    {MSR_INTEL, 0x639, 0x639, 0, RO},         /* PP0_ENERGY_STATUS */
    {MSR_INTEL, 0x641, 0x641, 0, RO},         /* PP1_ENERGY_STATUS */
    {MSR_AMD, 0x08b, 0x08b, 0, RO},           /* PATCH_LEVEL */
    {MSR_AMD, 0xc0010000, 0xc0010007, 0, RW}, /* PERF_CTL, PERF_CTR */
    {MSR_AMD, 0xc0010010, 0xc0010010, 0, RW}, /* SYSCFG */
    {MSR_AMD, 0xc0010015, 0xc0010015, BIT(24), RW}, /* HWCR: TscFreqSel */
    {MSR_AMD, 0xc0010016, 0xc0010019, 0, RW},       /* IORRs */
    {MSR_AMD, 0xc001001a, 0xc001001a, 0, RW},       /* TOP_MEM */
    {MSR_AMD, 0xc001001d, 0xc001001d, 0, RW},       /* TOM2 */
    {MSR_AMD, 0xc001001f, 0xc001001f, 0, RW},       /* NB_CFG */
    {MSR_AMD, 0xc0010020, 0xc0010020, 0, WO},       /* PATCH_LOADER */
    {MSR_AMD, 0xc0010061, 0xc001006b, 0, RW},       /* P-states */
    {MSR_AMD, 0xc0010112, 0xc0010113, 0, RW},       /* SMM_ADDR, SMM_MASK */
    {MSR_AMD, 0xc0010114, 0xc0010114, 0x10, RW},    /* VM_CR: SVMDIS */
    {MSR_AMD, 0xc0011020, 0xc0011021, 0, RW},       /* LS_CFG, IC_CFG */
    {MSR_AMD, 0xc0011029, 0xc0011029, 1, RW},       /* DE_CFG */
};

enum msr_vendor msr_host_vendor(void)
{
	unsigned int eax, ebx = 0, ecx = 0, edx = 0;
	char name[12];

	__get_cpuid(0, &eax, &ebx, &ecx, &edx);
	memcpy(name, &ebx, 4);
	memcpy(name + 4, &edx, 4);
	memcpy(name + 8, &ecx, 4);
	if (memcmp(name, "GenuineIntel", 12) == 0)
		return MSR_INTEL;
	if (memcmp(name, "AuthenticAMD", 12) == 0 ||
	    memcmp(name, "HygonGenuine", 12) == 0)
		return MSR_AMD;
	return MSR_OTHER;
}

static const struct msr_row *find(enum msr_vendor vendor, uint32_t code)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (rows[i].vendor == vendor && code >= rows[i].first &&
		    code <= rows[i].last)
			return &rows[i];
	}
	return NULL;
}

bool msr_read(enum msr_vendor vendor, uint32_t code, uint64_t *value)
{
	const struct msr_row *row = find(vendor, code);

	if (row == NULL || row->access == WO)
		return false;
	*value = row->value;
	return true;
}

bool msr_write(enum msr_vendor vendor, uint32_t code)
{
	const struct msr_row *row = find(vendor, code);

	return row != NULL && row->access != RO;
}
