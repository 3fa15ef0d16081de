// SPDX-License-Identifier: BSD-2-Clause
/* Options that are not registers: the VM's life, vCPUs, devices, memory. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sysexits.h>
#include <time.h>

#include "base/bits.h"
#include "bhyvectl/bhyvectl.h"
#include "x86/msr.h"

/* -- vCPUs --------------------------------------------------------------------
 */

static int set_capability(struct session *s, const struct action *action,
			  const char *value)
{
	uint64_t on;
	int type, error = parse_number("setcap", value, 1, &on);

	if (error != 0)
		return error;
	type = s->capname == NULL ? -1 : vm_capability_name2type(s->capname);
	if (type < 0) {
		fprintf(stderr, "bhyvectl: --setcap needs --capname=NAME of a "
				"capability (see --getcap)\n");
		return EX_USAGE;
	}
	return vm_set_capability(s->vcpu, (enum vm_cap_type)type, (int)on);
}

/* Without --capname all that this engine has. */
static int get_capabilities(struct session *s, const struct action *action,
			    const char *value)
{
	int on, type = -1;

	if (s->capname != NULL) {
		type = vm_capability_name2type(s->capname);
		if (type < 0) {
			fprintf(stderr,
				"bhyvectl: --capname=%s: no such "
				"capability\n",
				s->capname);
			return EX_USAGE;
		}
	}
	for (int i = 0; i < VM_CAP_MAX; i++) {
		if (type >= 0 && i != type)
			continue;
		if (vm_get_capability(s->vcpu, (enum vm_cap_type)i, &on) != 0) {
			if (type < 0 && errno == ENOENT)
				continue;
			return -1;
		}
		printf("Capability \"%s\" is %s on vcpu %d\n",
		       vm_capability_type2name(i), on ? "set" : "not set",
		       s->cpu);
	}
	return 0;
}

static int get_x2apic(struct session *s, const struct action *action,
		      const char *value)
{
	enum x2apic_state state;

	if (vm_get_x2apic_state(s->vcpu, &state) != 0)
		return -1;
	printf("x2apic_state[%d]\t%s\n", s->cpu,
	       state == X2APIC_ENABLED ? "enabled" : "disabled");
	return 0;
}

static int set_x2apic(struct session *s, const struct action *action,
		      const char *value)
{
	uint64_t state;
	int error = parse_number("set-x2apic-state", value,
				 X2APIC_STATE_LAST - 1, &state);

	return error != 0
		   ? error
		   : vm_set_x2apic_state(s->vcpu, (enum x2apic_state)state);
}

/* VMX's layout (SDM vol. 3, 25.8.3), as in vmm.ko. */
#define INTINFO_TYPE(info)  ((info) >> 8 & 7)
#define INTINFO_HAS_ERROR   BIT(11)
#define INTINFO_VALID       BIT(31)
#define INTINFO_ERROR(info) ((uint32_t)((info) >> 32))

static void print_intinfo(const char *title, uint64_t info)
{
	static const char *const types[] = {"extint",    "type 1", "nmi",
					    "exception", "swint",  "type 5",
					    "type 6",    "type 7"};

	printf("%s:\t", title);
	if ((info & INTINFO_VALID) == 0)
		printf("n/a");
	else
		printf("%s %u", types[INTINFO_TYPE(info)],
		       (unsigned int)(info & 0xff));
	if ((info & INTINFO_VALID) != 0 && (info & INTINFO_HAS_ERROR) != 0)
		printf(", errcode 0x%x", INTINFO_ERROR(info));
	printf("\n");
}

/* Cut short by the last exit, and the one that waits to be delivered. */
static int get_intinfo(struct session *s, const struct action *action,
		       const char *value)
{
	uint64_t info[2];

	if (vm_get_intinfo(s->vcpu, &info[0], &info[1]) != 0)
		return -1;
	print_intinfo("pending", info[0]);
	print_intinfo("current", info[1]);
	return 0;
}

static int get_tsc_offset(struct session *s, const struct action *action,
			  const char *value)
{
	uint64_t offset;

	if (vm_get_tsc_offset(s->vcpu, &offset) != 0)
		return -1;
	printf("tsc_offset[%d]\t0x%016" PRIx64 "\n", s->cpu, offset);
	return 0;
}

static int print_msr(struct session *s, const char *name, uint32_t index)
{
	uint64_t msr;

	if (vm_get_msr(s->vcpu, index, &msr) != 0)
		return -1;
	printf("%s[%d]\t0x%016" PRIx64 "\n", name, s->cpu, msr);
	return 0;
}

static int get_pat(struct session *s, const struct action *action,
		   const char *value)
{
	return print_msr(s, "guest_pat", MSR_PAT);
}

static int get_sysenter(struct session *s, const struct action *action,
			const char *value)
{
	int error = print_msr(s, "guest_sysenter_cs", MSR_SYSENTER_CS);

	if (error == 0)
		error = print_msr(s, "guest_sysenter_sp", MSR_SYSENTER_ESP);
	if (error == 0)
		error = print_msr(s, "guest_sysenter_ip", MSR_SYSENTER_EIP);
	return error;
}

static int inject_nmi(struct session *s, const struct action *action,
		      const char *value)
{
	return vm_inject_nmi(s->vcpu);
}

static int assert_lvt(struct session *s, const struct action *action,
		      const char *value)
{
	uint64_t pin;
	int error = parse_number("assert-lapic-lvt", value, 5, &pin);

	return error != 0 ? error : vm_lapic_local_irq(s->vcpu, (int)pin);
}

/* -- sets of vCPUs
 * ------------------------------------------------------------- */

static void print_cpus(const char *title, const cpuset_t *cpus)
{
	const char *between = " ";

	printf("%s:\t", title);
	if (CPU_COUNT(cpus) == 0)
		printf(" (none)");
	for (int i = 0; i < VM_MAXCPU; i++)
		if (CPU_ISSET(i, cpus)) {
			printf("%s%d", between, i);
			between = ", ";
		}
	printf("\n");
}

static const struct cpu_kind {
	const char *title;
	int (*get)(struct vmctx *ctx, cpuset_t *cpus);
} cpu_kinds[] = {
    {"active cpus", vm_active_cpus},
    {"suspended cpus", vm_suspended_cpus},
    {"debug cpus", vm_debug_cpus},
};

static int get_cpus(struct session *s, const struct action *action,
		    const char *value)
{
	const struct cpu_kind *kind = &cpu_kinds[action->which];
	cpuset_t cpus;

	if (kind->get(s->ctx, &cpus) != 0)
		return -1;
	print_cpus(kind->title, &cpus);
	return 0;
}

static int get_topology(struct session *s, const struct action *action,
			const char *value)
{
	uint16_t sockets, cores, threads, maxcpus;

	if (vm_get_topology(s->ctx, &sockets, &cores, &threads, &maxcpus) != 0)
		return -1;
	printf("cpu_topology:\tsockets=%u, cores=%u, threads=%u, maxcpus=%u\n",
	       sockets, cores, threads, maxcpus);
	return 0;
}

/* -- memory
 * -------------------------------------------------------------------- */

static const char *const segments[] = {"sysmem", "bootrom", "framebuffer",
				       "pcirom"};

static int get_memseg(struct session *s, const struct action *action,
		      const char *value)
{
	size_t len;

	printf("%-4s%-20s%s\n", "ID", "Length", "Name");
	for (int i = VM_SYSMEM; i <= VM_PCIROM; i++) {
		if (vm_get_memseg(s->ctx, i, &len, NULL, 0) != 0)
			return -1;
		if (len != 0)
			printf("%-4d0x%-18zx%s\n", i, len, segments[i]);
	}
	return 0;
}

static int get_memmap(struct session *s, const struct action *action,
		      const char *value)
{
	int segment, prot, flags;
	vm_paddr_t gpa = 0;
	off_t offset;
	size_t len;

	printf("%-20s%-20s%-20s%s\n", "Address", "Length", "Segment", "Prot");
	while (vm_mmap_getnext(s->ctx, &gpa, &segment, &offset, &len, &prot,
			       &flags) == 0) {
		printf("0x%-18" PRIx64 "0x%-18zx%s+0x%-11jx%c%c%c\n", gpa, len,
		       segments[segment], (uintmax_t)offset,
		       prot & PROT_READ ? 'R' : '-',
		       prot & PROT_WRITE ? 'W' : '-',
		       prot & PROT_EXEC ? 'X' : '-');
		gpa += len;
	}
	return errno == ENOENT ? 0 : -1;
}

/* In what it is, and at which offset; there are no nested page tables. */
static int get_gpa_pmap(struct session *s, const struct action *action,
			const char *value)
{
	vm_paddr_t gpa = 0;
	uint64_t wanted;
	int error = parse_number(action->option, value, UINT64_MAX, &wanted);
	int segment, prot, flags;
	off_t offset;
	size_t len;

	if (error != 0)
		return error;
	while (vm_mmap_getnext(s->ctx, &gpa, &segment, &offset, &len, &prot,
			       &flags) == 0) {
		if (wanted - gpa < len) {
			printf("gpa 0x%" PRIx64 ": %s+0x%" PRIx64 "\n", wanted,
			       segments[segment],
			       (uint64_t)offset + (wanted - gpa));
			return 0;
		}
		gpa += len;
	}
	if (errno != ENOENT)
		return -1;
	printf("gpa 0x%" PRIx64 ": not mapped\n", wanted);
	return 0;
}

/* The library's limit is the host's room, which it checks. */
static int set_memory(struct session *s, const struct action *action,
		      const char *value)
{
	uint64_t size;
	int error =
	    parse_number(action->option, value, UINT64_MAX / MiB, &size);

	return error != 0 ? error
			  : vm_setup_memory(s->ctx, size * MiB, VM_MMAP_ALL);
}

static int get_lowmem(struct session *s, const struct action *action,
		      const char *value)
{
	size_t len = vm_get_lowmem_size(s->ctx);

	printf("lowmem\t\t0x%016" PRIx64 "/%zu\n", (uint64_t)0, len);
	return 0;
}

static int get_highmem(struct session *s, const struct action *action,
		       const char *value)
{
	size_t len = vm_get_highmem_size(s->ctx);

	printf("highmem\t\t0x%016" PRIx64 "/%zu\n", vm_get_highmem_base(s->ctx),
	       len);
	return 0;
}

/* -- the clock chip
 * --------------------------------------------------------------
 */

static int get_rtc_time(struct session *s, const struct action *action,
			const char *value)
{
	char text[64];
	struct tm tm;
	time_t secs;

	if (vm_rtc_gettime(s->ctx, &secs) != 0)
		return -1;
	if (gmtime_r(&secs, &tm) == NULL ||
	    strftime(text, sizeof(text), "%a %b %d %H:%M:%S %Y", &tm) == 0)
		text[0] = '\0';
	printf("rtc time %#jx: %s\n", (uintmax_t)secs, text);
	return 0;
}

static int set_rtc_time(struct session *s, const struct action *action,
			const char *value)
{
	uint64_t secs;
	int error = parse_number("set-rtc-time", value, INT64_MAX, &secs);

	return error != 0 ? error : vm_rtc_settime(s->ctx, (time_t)secs);
}

static int nvram_offset(struct session *s, uint64_t *offset)
{
	if (s->nvram_offset != NULL)
		return parse_number("rtc-nvram-offset", s->nvram_offset, 127,
				    offset);
	fprintf(stderr, "bhyvectl: --rtc-nvram-offset=OFFSET is missing\n");
	return EX_USAGE;
}

static int get_nvram(struct session *s, const struct action *action,
		     const char *value)
{
	uint64_t offset;
	uint8_t byte;
	int error = nvram_offset(s, &offset);

	if (error != 0)
		return error;
	if (vm_rtc_read(s->ctx, (int)offset, &byte) != 0)
		return -1;
	printf("rtc nvram[%03d]: 0x%02x\n", (int)offset, byte);
	return 0;
}

static int set_nvram(struct session *s, const struct action *action,
		     const char *value)
{
	uint64_t offset, byte;
	int error = nvram_offset(s, &offset);

	if (error == 0)
		error = parse_number("set-rtc-nvram", value, 255, &byte);
	return error != 0 ? error
			  : vm_rtc_write(s->ctx, (int)offset, (uint8_t)byte);
}

/* -- life
 * ----------------------------------------------------------------------
 */

static int stop(struct session *s, const struct action *action,
		const char *value)
{
	return vm_suspend(s->ctx, (enum vm_suspend_how)action->which);
}

static int pause_vm(struct session *s, const struct action *action,
		    const char *value)
{
	return vm_suspend_all_cpus(s->ctx);
}

static int resume_vm(struct session *s, const struct action *action,
		     const char *value)
{
	return vm_resume_all_cpus(s->ctx);
}

static int not_built(struct session *s, const struct action *action,
		     const char *value)
{
	s->refusal = "snapshots are not built in this version";
	s->refused = action->option;
	errno = ENOTSUP;
	return -1;
}

/* main carries these two out. */
static int in_main(struct session *s, const struct action *action,
		   const char *value)
{
	return 0;
}

static int get_all(struct session *s, const struct action *action,
		   const char *value);

const struct action vm_actions[] = {
    {"create", NULL, in_main, 0, true},
    {"set-mem", "MB", set_memory, 0, false},
    {"setcap", "0|1", set_capability, 0, false},
    {"set-x2apic-state", "0|1", set_x2apic, 0, false},
    {"set-rtc-time", "SECONDS", set_rtc_time, 0, false},
    {"set-rtc-nvram", "BYTE", set_nvram, 0, false},
    {"get-rtc-nvram", NULL, get_nvram, 0, false},
    {"get-all", NULL, get_all, 0, false},
    {"get-lowmem", NULL, get_lowmem, 0, false},
    {"get-highmem", NULL, get_highmem, 0, false},
    {"get-memmap", NULL, get_memmap, 0, false},
    {"get-memseg", NULL, get_memseg, 0, false},
    {"get-gpa-pmap", "GPA", get_gpa_pmap, 0, false},
    {"get-x2apic-state", NULL, get_x2apic, 0, false},
    {"get-intinfo", NULL, get_intinfo, 0, false},
    {"get-tsc-offset", NULL, get_tsc_offset, 0, false},
    {"get-guest-pat", NULL, get_pat, 0, false},
    {"get-guest-sysenter", NULL, get_sysenter, 0, false},
    {"getcap", NULL, get_capabilities, 0, false},
    {"get-rtc-time", NULL, get_rtc_time, 0, false},
    {"get-active-cpus", NULL, get_cpus, 0, false},
    {"get-suspended-cpus", NULL, get_cpus, 1, false},
    {"get-debug-cpus", NULL, get_cpus, 2, false},
    {"get-cpu-topology", NULL, get_topology, 0, false},
    {"get-stats", NULL, get_stats, 0, false},
    {"run", NULL, run_vcpu, 0, false},
    {"inject-nmi", NULL, inject_nmi, 0, false},
    {"assert-lapic-lvt", "PIN", assert_lvt, 0, false},
    {"pause", NULL, pause_vm, 0, true},
    {"resume", NULL, resume_vm, 0, true},
    {"checkpoint", "FILE", not_built, 0, true},
    {"suspend", "FILE", not_built, 0, true},
    {"force-reset", NULL, stop, VM_SUSPEND_RESET, true},
    {"force-poweroff", NULL, stop, VM_SUSPEND_POWEROFF, true},
    {"destroy", NULL, in_main, 0, true},
};

/* The registers, and every row that gets something without an argument. */
static int get_all(struct session *s, const struct action *action,
		   const char *value)
{
	int error = print_all_registers(s);

	for (size_t i = 0; i < ARRAY_SIZE(vm_actions) && error == 0; i++) {
		const struct action *row = &vm_actions[i];

		if (strncmp(row->option, "get", 3) == 0 && row->value == NULL &&
		    row->run != get_all && row->run != get_nvram)
			error = row->run(s, row, NULL);
	}
	return error;
}

const size_t vm_action_count = ARRAY_SIZE(vm_actions);
