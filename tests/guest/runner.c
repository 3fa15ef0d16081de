/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * runner PAYLOAD [--cpus N] [--features LIST] [--triple|--halt|--move|--reopen]
 *	[--mux] [--storm N] [--again N] [--engine NAME] [--jit MODE] [--hot N]
 *	[--cache MIB]
 *
 * A VMM of its own on vmmapi.h alone: loads a flat payload at 1 MiB, enters
 * it in 64-bit mode, answers its ports and memory, prints its lines as TAP.
 */
#include "runner.h"

#include <errno.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "bare.h"

#define TABLES 0x10000u /* page tables and GDT on entry */

/* -- TAP ------------------------------------------------------------------ */

static void print_line(struct machine *m, const char *text)
{
	bool ok = strncmp(text, "ok", 2) == 0;

	if (!ok && strncmp(text, "not ok", 6) != 0) {
		printf("%s\n", text);
		return;
	}
	m->checks++;
	if (!ok && m->bare != NULL && bare_failed(m->bare, text)) {
		printf("ok %u%s # SKIP bare KVM fails it on this host, too\n",
		       m->checks, text + 6);
		return;
	}
	m->failures += !ok;
	printf("%s %u%s\n", ok ? "ok" : "not ok", m->checks,
	       text + (ok ? 2 : 6));
}

void tap_line(struct machine *m, const char *text)
{
	pthread_mutex_lock(&m->lock);
	print_line(m, text);
	fflush(stdout);
	pthread_mutex_unlock(&m->lock);
}

void tap_check(struct machine *m, bool ok, const char *format, ...)
{
	char name[LINE_MAX_BYTES], line[LINE_MAX_BYTES + 16];
	va_list args;

	va_start(args, format);
	vsnprintf(name, sizeof(name), format, args);
	va_end(args);
	snprintf(line, sizeof(line), "%s - %s", ok ? "ok" : "not ok", name);
	tap_line(m, line);
}

static _Noreturn void bail_out(const char *what)
{
	printf("Bail out! %s: %s\n", what, vm_error_text());
	exit(1);
}

/* -- the payload's calls --------------------------------------------------- */

static int64_t result_of(int r)
{
	return r == 0 ? 0 : -errno;
}

static int64_t host_write(struct machine *m, uint64_t gpa, uint64_t value,
			  uint64_t bytes)
{
	void *p;

	if (bytes > 8)
		return -EINVAL;
	p = vm_mem_write_begin(m->ctx, gpa, bytes);
	if (p == NULL)
		return -errno;
	memcpy(p, &value, bytes);
	vm_mem_write_end(m->ctx, gpa, bytes);
	return 0;
}

static int64_t line_level(struct machine *m, bool isa, uint64_t irq, bool level)
{
	int n = (int)irq;

	if (isa)
		return result_of(level ? vm_isa_assert_irq(m->ctx, n, n)
				       : vm_isa_deassert_irq(m->ctx, n, n));
	return result_of(level ? vm_ioapic_assert_irq(m->ctx, n)
			       : vm_ioapic_deassert_irq(m->ctx, n));
}

static int64_t bell_count(struct machine *m)
{
	uint64_t count = 0;

	return read(m->bell, &count, sizeof(count)) == sizeof(count)
		   ? (int64_t)count
		   : 0;
}

static int64_t call_serve(struct machine *m, struct vcpu *vcpu,
			  const struct host_call *call)
{
	const uint64_t *a = call->a;

	switch (call->fn) {
	case HOST_EXPECT:
		expectation_add(m, call);
		return 0;
	case HOST_MET:
		return expectations_left(m);
	case HOST_NMI:
		return a[0] < m->cpus ? result_of(vm_inject_nmi(m->vcpu[a[0]]))
				      : -EINVAL;
	case HOST_CAPABILITY:
		return result_of(
		    vm_set_capability(vcpu, (enum vm_cap_type)a[0], (int)a[1]));
	case HOST_WRITE:
		return host_write(m, a[0], a[1], a[2]);
	case HOST_IOAPIC:
		return line_level(m, false, a[0], a[1] != 0);
	case HOST_ISA:
		return line_level(m, true, a[0], a[1] != 0);
	case HOST_MSI:
		return result_of(vm_lapic_msi(m->ctx, a[0], a[1]));
	case HOST_LAPIC:
		return a[0] < m->cpus
			   ? result_of(vm_lapic_irq(m->vcpu[a[0]], (int)a[1]))
			   : -EINVAL;
	case HOST_EXCEPTION:
		return result_of(vm_inject_exception(
		    vcpu, (int)a[0], a[1] != ~0ull, (uint32_t)a[1], 0));
	case HOST_ANSWER:
		m->msr_answer = a[0];
		return 0;
	case HOST_CHECK_BUSY:
		return check_busy(m, vcpu);
	case HOST_ESCAPE:
		m->escape_rip = a[0];
		m->escape_rsp = a[1];
		return 0;
	case HOST_DOORBELL:
		return result_of(vm_ioeventfd(m->ctx, a[0], (unsigned)a[1],
					      DOORBELL_VALUE, m->bell,
					      (int)a[2]));
	case HOST_RUNG:
		return bell_count(m);
	case HOST_MOVE:
		m->move_wanted = m->moves_at_all;
		return m->moves_at_all ? 0 : -ENOSYS;
	case HOST_ENGINE:
		return (int64_t)m->engine_is;
	default:
		return -ENOSYS;
	}
}

static void call_made(struct machine *m, struct vcpu *vcpu, uint32_t gpa)
{
	struct host_call *at = vm_map_gpa(m->ctx, gpa, sizeof(*at));
	struct host_call call;

	if (at == NULL)
		bail_out("a call from outside memory");
	call = *at;
	call.result = call_serve(m, vcpu, &call);
	at->result = call.result;
	vm_mem_dirty(m->ctx, gpa, sizeof(*at));
}

static void line_made(struct machine *m, uint32_t gpa)
{
	char text[LINE_MAX_BYTES];
	const char *at = vm_map_gpa(m->ctx, gpa, sizeof(text));

	if (at == NULL)
		bail_out("a line from outside memory");
	memcpy(text, at, sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	tap_line(m, text);
}

/* -- exits ------------------------------------------------------------------
 */

static void stop(struct machine *m, uint32_t code)
{
	if (code != 0)
		tap_check(m, false, "the payload ended with %u", code);
	vm_suspend(m->ctx, VM_SUSPEND_POWEROFF);
}

static void port_access(struct machine *m, struct vm_inout *io)
{
	unsigned at = io->port - PORT_TEST;

	if (at >= sizeof(m->port) || at + io->bytes > sizeof(m->port)) {
		if (io->in)
			io->eax = ~0u;
		return;
	}
	pthread_mutex_lock(&m->lock);
	if (io->in) {
		io->eax = 0;
		memcpy(&io->eax, m->port + at, io->bytes);
	} else {
		memcpy(m->port + at, &io->eax, io->bytes);
	}
	pthread_mutex_unlock(&m->lock);
}

/* The first time it stays unanswered: the instruction runs again elsewhere. */
static void move_port(struct machine *m, struct vm_inout *io)
{
	io->eax = m->moves_at_all ? MOVED_ANSWER : 0;
	if (m->moves_at_all && !m->asked_twice)
		m->move_wanted = true;
	m->asked_twice = !m->asked_twice;
}

static void on_inout(struct machine *m, struct vcpu *vcpu, struct vm_exit *exit)
{
	struct vm_inout *io = &exit->u.inout;

	if (!io->in && io->port == PORT_LINE)
		line_made(m, io->eax);
	else if (!io->in && io->port == PORT_EXIT)
		stop(m, io->eax);
	else if (!io->in && io->port == PORT_CALL)
		call_made(m, vcpu, io->eax);
	else if (io->in && io->port == PORT_MOVE)
		move_port(m, io);
	else
		port_access(m, io);
}

static void on_memory(struct machine *m, struct vm_inst_emul *e)
{
	uint64_t at = e->gpa - MMIO_BASE;

	if (at >= MMIO_SIZE || e->bytes > MMIO_SIZE - at) {
		if (!e->write)
			e->data = ~0ull;
		return;
	}
	pthread_mutex_lock(&m->lock);
	if (e->write)
		memcpy(m->mmio + at, &e->data, e->bytes);
	else
		memcpy(&e->data, m->mmio + at, e->bytes);
	pthread_mutex_unlock(&m->lock);
}

static void say_where(struct machine *m, struct vcpu *vcpu)
{
	uint64_t rip = 0, rsp = 0, cr2 = 0;
	char text[LINE_MAX_BYTES];

	vm_get_register(vcpu, VM_REG_GUEST_RIP, &rip);
	vm_get_register(vcpu, VM_REG_GUEST_RSP, &rsp);
	vm_get_register(vcpu, VM_REG_GUEST_CR2, &cr2);
	snprintf(text, sizeof(text), "# rip %#llx rsp %#llx cr2 %#llx",
		 (unsigned long long)rip, (unsigned long long)rsp,
		 (unsigned long long)cr2);
	tap_line(m, text);
}

static void say_stopped(struct machine *m, int how)
{
	char line[LINE_MAX_BYTES];

	snprintf(line, sizeof(line), BARE_STOPPED, how);
	if (how == m->wants_stop)
		tap_line(m, line + strlen("not "));
	else
		tap_line(m, line);
}

/* false: this vCPU is done. */
/* One MSR is refused, as the process does it. */
static void on_msr(struct machine *m, struct vcpu *vcpu, struct vm_exit *exit)
{
	if (exit->u.msr.code == MSR_REFUSED)
		vm_inject_exception(vcpu, 13 /* #GP */, 1, 0, 1);
	else if (exit->exitcode == VM_EXITCODE_RDMSR)
		exit->u.msr.wval = m->msr_answer;
}

static bool on_exit_code(struct machine *m, struct vcpu *vcpu,
			 struct vm_exit *exit)
{
	switch (exit->exitcode) {
	case VM_EXITCODE_INOUT:
	case VM_EXITCODE_INOUT_STR:
		on_inout(m, vcpu, exit);
		return true;
	case VM_EXITCODE_INST_EMUL:
		on_memory(m, &exit->u.inst_emul);
		return true;
	case VM_EXITCODE_RDMSR:
	case VM_EXITCODE_WRMSR:
		on_msr(m, vcpu, exit);
		return true;
	case VM_EXITCODE_HLT:
	case VM_EXITCODE_PAUSE:
	case VM_EXITCODE_MTRAP:
	case VM_EXITCODE_BOGUS:
	case VM_EXITCODE_REQIDLE:
		return true;
	case VM_EXITCODE_DEBUG:
		m->debug_exits[vcpu_id(vcpu)]++;
		return true;
	case VM_EXITCODE_SUSPENDED:
		if (exit->u.suspended.how != VM_SUSPEND_POWEROFF &&
		    vcpu_id(vcpu) == 0) {
			say_where(m, vcpu);
			say_stopped(m, exit->u.suspended.how);
		}
		return false;
	default:
		tap_check(m, false, "exit %d has no handler", exit->exitcode);
		vm_suspend(m->ctx, VM_SUSPEND_POWEROFF);
		return true;
	}
}

static void set_registers(struct vcpu *vcpu);

/*
 * KVM without hardware for ring 0 has an emulator that lacks instructions. The
 * part of the payload that met one is skipped, with KVM's words as the reason;
 * anywhere else that is a failure.
 */
bool run_escapes(struct machine *m, struct vcpu *vcpu)
{
	char text[LINE_MAX_BYTES];

	if (!(m->engine_is & HOST_IS_EMULATED) || m->escape_rip == 0 ||
	    vcpu_id(vcpu) != 0 ||
	    strstr(vm_error_text(), "emulation failed") == NULL)
		return false;
	snprintf(text, sizeof(text),
		 "ok - the rest of this part # SKIP this KVM emulates ring 0: "
		 "%s",
		 vm_error_text());
	tap_line(m, text);
	expectations_forget(m->expect);
	set_registers(vcpu);
	if (vm_set_register(vcpu, VM_REG_GUEST_RSP, m->escape_rsp) != 0 ||
	    vm_set_register(vcpu, VM_REG_GUEST_RIP, m->escape_rip) != 0)
		bail_out("the way out of a part");
	return true;
}

struct cpu_thread {
	struct machine *m;
	unsigned cpu;
	pthread_t thread;
};

static void move_if_wanted(struct machine *m, struct vm_exit *exit)
{
	if (!m->move_wanted)
		return;
	m->move_wanted = false;
	if (!move_to(m, m->moves % 2 == 0 && !m->stays ? "soft" : "kvm"))
		bail_out("the VM does not move");
	exit->exitcode = VM_EXITCODE_BOGUS;
}

static void *cpu_loop(void *arg)
{
	struct cpu_thread *t = arg;
	struct vm_exit exit = {.exitcode = VM_EXITCODE_BOGUS};
	struct vm_run run = {.vm_exit = &exit};

	do {
		/* a move replaces it */
		struct vcpu *vcpu = t->m->vcpu[t->cpu];

		if (vm_run(vcpu, &run) != 0) {
			if (!run_escapes(t->m, vcpu))
				bail_out("vm_run");
			exit.exitcode = VM_EXITCODE_BOGUS;
			continue;
		}
		exit_judge(t->m, vcpu, &exit);
		if (!on_exit_code(t->m, vcpu, &exit))
			return NULL;
		move_park(t->m, t->cpu, &exit);
		if (t->cpu == 0)
			move_if_wanted(t->m, &exit);
	} while (true);
}

/* -- setting up -------------------------------------------------------------
 */

/* bare_run has one vCPU, and no need where the CPU itself runs ring 0. */
static void ask_bare_kvm(struct machine *m, const void *image, size_t size)
{
	if (m->cpus != 1 || !(m->engine_is & HOST_IS_EMULATED))
		return;
	m->bare = calloc(1, sizeof(*m->bare));
	if (m->bare != NULL)
		bare_run(image, size, m->bare);
}

static void load(struct machine *m, const char *path)
{
	FILE *f = fopen(path, "rb");
	uint8_t *to = vm_map_gpa(m->ctx, LOAD_ADDRESS, 1u << 20);
	size_t n;

	if (f == NULL || to == NULL)
		bail_out(path);
	n = fread(to, 1, 1u << 20, f);
	if (n == 0 || ferror(f))
		bail_out(path);
	fclose(f);
	ask_bare_kvm(m, to, n);
}

static void make_tables(struct machine *m)
{
	uint64_t *t = vm_map_gpa(m->ctx, TABLES, 7 * 4096);

	if (t == NULL)
		bail_out("no memory for page tables");
	bare_tables(t, TABLES);
}

/* Identity for 4 GiB, and a GDT with 64-bit code at 8. */
void bare_tables(uint64_t *t, uint64_t address)
{
	t[0] = (address + 4096) | 3;
	for (uint64_t n = 0; n < 4; n++) {
		t[512 + n] = (address + (2 + n) * 4096) | 3;
		for (uint64_t k = 0; k < 512; k++)
			t[(2 + n) * 512 + k] = (n * 512 + k) << 21 | 0x83;
	}
	t[6 * 512 + 1] = 0x00af9b000000ffff;
	t[6 * 512 + 2] = 0x00cf93000000ffff;
}

static void set_registers(struct vcpu *vcpu)
{
	static const struct {
		int reg;
		uint64_t value;
	} table[] = {
	    {VM_REG_GUEST_EFER, 0xd01}, /* SCE LME LMA NXE */
	    {VM_REG_GUEST_CR4, 0x20},   /* PAE */
	    {VM_REG_GUEST_CR3, TABLES},
	    {VM_REG_GUEST_CR0, 0x80010033}, /* PG WP NE ET MP PE */
	    {VM_REG_GUEST_CS, 8},
	    {VM_REG_GUEST_SS, 16},
	    {VM_REG_GUEST_DS, 16},
	    {VM_REG_GUEST_ES, 16},
	    {VM_REG_GUEST_RFLAGS, 2},
	    {VM_REG_GUEST_RIP, LOAD_ADDRESS},
	};
	static const struct {
		int reg;
		uint64_t base;
		uint32_t limit, access;
	} desc[] = {
	    {VM_REG_GUEST_CS, 0, 0xffffffff, 0xa09b},
	    {VM_REG_GUEST_SS, 0, 0xffffffff, 0xc093},
	    {VM_REG_GUEST_DS, 0, 0xffffffff, 0xc093},
	    {VM_REG_GUEST_ES, 0, 0xffffffff, 0xc093},
	    {VM_REG_GUEST_GDTR, TABLES + 6 * 4096, 23, 0},
	};
	int regnum[sizeof(table) / sizeof(table[0])];
	uint64_t value[sizeof(table) / sizeof(table[0])];

	for (unsigned n = 0; n < sizeof(table) / sizeof(table[0]); n++) {
		regnum[n] = table[n].reg;
		value[n] = table[n].value;
	}
	/* in this order: 64-bit code is refused outside of long mode */
	if (vm_set_register_set(vcpu, sizeof(table) / sizeof(table[0]), regnum,
				value) != 0)
		bail_out("vm_set_register_set");
	for (unsigned n = 0; n < sizeof(desc) / sizeof(desc[0]); n++)
		if (vm_set_desc(vcpu, desc[n].reg, desc[n].base, desc[n].limit,
				desc[n].access) != 0)
			bail_out("vm_set_desc");
}

static void option(const char *key, const char *value)
{
	if (vm_set_option(key, value) != 0)
		bail_out(key);
}

static void make_vm(struct machine *m, const char *engine, const char *features)
{
	strcpy(m->rundir, "/tmp/guesttest.XXXXXX");
	if (mkdtemp(m->rundir) == NULL ||
	    vm_set_option("rundir", m->rundir) != 0 ||
	    vm_set_option("engine", engine) != 0 ||
	    (m->moves_at_all && !m->stays &&
	     vm_set_option("cpu.model", "common") != 0) ||
	    (features != NULL && vm_set_option("cpu.features", features) != 0))
		bail_out("options");
	if (vm_create("t") != 0 || (m->ctx = vm_open("t")) == NULL)
		bail_out("vm_create");
	if (vm_setup_memory(m->ctx, MEMORY_SIZE, VM_MMAP_ALL) != 0 ||
	    vm_set_topology(m->ctx, 1, (uint16_t)m->cpus, 1, 0) != 0)
		bail_out("memory");
	for (unsigned n = 0; n < m->cpus; n++) {
		m->vcpu[n] = vm_vcpu_open(m->ctx, (int)n);
		if (m->vcpu[n] == NULL || vcpu_reset(m->vcpu[n]) != 0 ||
		    vm_activate_cpu(m->vcpu[n]) != 0)
			bail_out("vCPU");
	}
	m->port[12] = (uint8_t)m->cpus;
}

/* engine=auto does not take a KVM that emulates ring 0, and says so. */
static uint64_t engine_bits(const char *engine)
{
	const char *why = NULL;
	struct vmctx *other;
	uint64_t bits = HOST_IS_KVM;

	if (strcmp(engine, "kvm") != 0)
		return 0;
	if (vm_set_option("engine", "auto") != 0 || vm_create("auto") != 0 ||
	    (other = vm_open("auto")) == NULL)
		bail_out("engine=auto");
	vm_get_engine(other, &why);
	if (strstr(why, "emulates kernel mode") != NULL)
		bits |= HOST_IS_EMULATED;
	vm_destroy(other);
	return bits;
}

static int remove_one(const char *path, const struct stat *st, int type,
		      struct FTW *ftw)
{
	return remove(path);
}

static void take_down(struct machine *m)
{
	for (unsigned n = 0; n < m->cpus; n++)
		vm_vcpu_close(m->vcpu[n]);
	vm_destroy(m->ctx);
	nftw(m->rundir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	expectations_free(m->expect);
	free(m->bare);
}

/* false: this vCPU is done. */
bool turn_done(struct machine *m, struct vcpu *vcpu, struct vm_exit *exit)
{
	exit_judge(m, vcpu, exit);
	return !on_exit_code(m, vcpu, exit);
}

static void run_threads(struct machine *m)
{
	struct cpu_thread t[VM_MAXCPU];

	for (unsigned n = 0; n < m->cpus; n++) {
		t[n] = (struct cpu_thread){.m = m, .cpu = n};
		if (pthread_create(&t[n].thread, NULL, cpu_loop, &t[n]) != 0)
			bail_out("pthread_create");
	}
	for (unsigned n = 0; n < m->cpus; n++)
		pthread_join(t[n].thread, NULL);
}

static void run(struct machine *m)
{
	pthread_t storm = {0};

	if (m->storm != 0)
		storm = storm_start(m);
	if (m->mux)
		turns_run(m);
	else
		run_threads(m);
	if (m->storm != 0)
		pthread_join(storm, NULL);
}

/* The VM as new, in the same process. */
static bool start_over(struct machine *m)
{
	if (vm_reinit(m->ctx) != 0)
		bail_out("vm_reinit");
	for (unsigned n = 0; n < m->cpus; n++)
		if (vm_activate_cpu(m->vcpu[n]) != 0)
			bail_out("vm_activate_cpu");
	m->port[8] = m->port[9] = 0;
	return true;
}

int main(int argc, char **argv)
{
	struct machine m = {
	    .cpus = 1,
	    .lock = PTHREAD_MUTEX_INITIALIZER,
	    .move_lock = PTHREAD_MUTEX_INITIALIZER,
	    .move_wake = PTHREAD_COND_INITIALIZER,
	};
	const char *engine = "soft", *features = NULL, *why;
	unsigned checks, failures;
	int again = 0;

	for (int n = 2; n < argc; n++) {
		if (strcmp(argv[n], "--triple") == 0)
			m.wants_stop = VM_SUSPEND_TRIPLEFAULT;
		else if (strcmp(argv[n], "--halt") == 0)
			m.wants_stop = VM_SUSPEND_HALT;
		else if (strcmp(argv[n], "--mux") == 0)
			m.mux = true;
		else if (strcmp(argv[n], "--again") == 0 && n + 1 < argc)
			again = atoi(argv[++n]);
		else if (strcmp(argv[n], "--storm") == 0 && n + 1 < argc)
			m.storm = (unsigned)atoi(argv[++n]);
		else if (strcmp(argv[n], "--move") == 0)
			m.moves_at_all = true;
		else if (strcmp(argv[n], "--reopen") == 0)
			m.moves_at_all = m.stays = true;
		else if (strcmp(argv[n], "--cpus") == 0 && n + 1 < argc)
			m.cpus = (unsigned)atoi(argv[++n]);
		else if (strcmp(argv[n], "--features") == 0 && n + 1 < argc)
			features = argv[++n];
		else if (strcmp(argv[n], "--engine") == 0 && n + 1 < argc)
			engine = argv[++n];
		else if (strcmp(argv[n], "--jit") == 0 && n + 1 < argc)
			option("soft.jit", argv[++n]);
		else if (strcmp(argv[n], "--cache") == 0 && n + 1 < argc)
			option("soft.jit.cache", argv[++n]);
		else if (strcmp(argv[n], "--hot") == 0 && n + 1 < argc)
			option("soft.jit.hot", argv[++n]);
	}
	if (argc < 2 || m.cpus < 1 || m.cpus > VM_MAXCPU)
		bail_out("runner PAYLOAD [--cpus N] [--features LIST]");
	m.expect = expectations_new();
	m.bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	make_vm(&m, engine, features);
	engine = vm_get_engine(m.ctx, &why);
	if (engine == NULL) {
		printf("1..0 # SKIP %s\n", why); /* it is ctx's */
		take_down(&m);
		return 0;
	}
	m.engine_is = engine_bits(engine) | (m.mux ? HOST_IS_MUXED : 0);
	do {
		load(&m, argv[1]);
		make_tables(&m);
		set_registers(m.vcpu[0]);
		run(&m);
	} while (again-- > 0 && start_over(&m));
	checks = m.checks;
	failures = m.failures;
	take_down(&m);
	printf("1..%u\n", checks);
	return checks == 0 || failures != 0;
}
