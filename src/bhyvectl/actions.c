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

static int get_intinfo(struct session *s, const struct action *action,
		       const char *value)
{
	uint64_t info[2];

	if (vm_get_intinfo(s->vcpu, &info[0], &info[1]) != 0)
		return -1;
	printf("pending exception: 0x%016" PRIx64 " 0x%016" PRIx64 "\n",
	       info[0], info[1]);
	return 0;
}

static int get_stats(struct session *s, const struct action *action,
		     const char *value)
{
	int count;
	uint64_t *stats = vm_get_stats(s->vcpu, NULL, &count);

	if (stats == NULL)
		return -1;
	printf("vcpu%d stats:\n", s->cpu);
	for (int i = 0; i < count; i++)
		printf("%-40s\t%" PRIu64 "\n", vm_get_stat_desc(s->ctx, i),
		       stats[i]);
	return 0;
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

static int get_memseg(struct session *s, const struct action *action,
		      const char *value)
{
	static const char *const names[] = {"sysmem", "bootrom", "framebuffer",
					    "pcirom"};
	size_t len;

	printf("%-4s%-20s%s\n", "ID", "Length", "Name");
	for (int i = VM_SYSMEM; i <= VM_PCIROM; i++) {
		if (vm_get_memseg(s->ctx, i, &len, NULL, 0) != 0)
			return -1;
		if (len != 0)
			printf("%-4d0x%-18zx%s\n", i, len, names[i]);
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
		       "sysmem", (uintmax_t)offset,
		       prot & PROT_READ ? 'R' : '-',
		       prot & PROT_WRITE ? 'W' : '-',
		       prot & PROT_EXEC ? 'X' : '-');
		gpa += len;
	}
	return errno == ENOENT ? 0 : -1;
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
	fprintf(stderr,
		"bhyvectl: --%s: snapshots are not built in this "
		"version\n",
		action->option);
	return EX_USAGE;
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
    {"get-x2apic-state", NULL, get_x2apic, 0, false},
    {"get-intinfo", NULL, get_intinfo, 0, false},
    {"getcap", NULL, get_capabilities, 0, false},
    {"get-rtc-time", NULL, get_rtc_time, 0, false},
    {"get-active-cpus", NULL, get_cpus, 0, false},
    {"get-suspended-cpus", NULL, get_cpus, 1, false},
    {"get-debug-cpus", NULL, get_cpus, 2, false},
    {"get-cpu-topology", NULL, get_topology, 0, false},
    {"get-stats", NULL, get_stats, 0, false},
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

		if (strncmp(row->option, "get", 3) == 0 &&
		    row->run != get_all && row->run != get_nvram)
			error = row->run(s, row, NULL);
	}
	return error;
}

const size_t vm_action_count = ARRAY_SIZE(vm_actions);
