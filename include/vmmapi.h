/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libvmmapi: the one door to a virtual machine.
 *
 * Names, argument order and return conventions are those of FreeBSD's
 * libvmmapi, interface 0300: a function returns 0, or -1 with errno set,
 * unless its comment says otherwise. docs/vmmapi-compat.md has one row for
 * each function of FreeBSD's library: same, differs (how), or ENOTSUP.
 *
 * A VM is a directory, $rundir/NAME. A handle (struct vmctx) attaches to the
 * files there while nobody runs the VM, and to the process that runs it
 * otherwise; the caller does not see which. The first vm_run makes the
 * calling process the VM's runner until it exits or closes the handle.
 */
#ifndef VMMAPI_H
#define VMMAPI_H

#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

/* All that libvmmapi.so exports is declared here. */
#pragma GCC visibility push(default)

#define VMMAPI_VERSION 0300

#define VM_MAX_NAMELEN 64 /* bytes, without the NUL */
#define VM_MAXCPU      16

typedef uint64_t vm_paddr_t; /* a guest physical address (gpa) */
typedef cpu_set_t cpuset_t;

struct vmctx;
struct vcpu;

/* -- registers ---------------------------------------------------------- */

enum vm_reg_name {
	VM_REG_GUEST_RAX,
	VM_REG_GUEST_RBX,
	VM_REG_GUEST_RCX,
	VM_REG_GUEST_RDX,
	VM_REG_GUEST_RSI,
	VM_REG_GUEST_RDI,
	VM_REG_GUEST_RBP,
	VM_REG_GUEST_R8,
	VM_REG_GUEST_R9,
	VM_REG_GUEST_R10,
	VM_REG_GUEST_R11,
	VM_REG_GUEST_R12,
	VM_REG_GUEST_R13,
	VM_REG_GUEST_R14,
	VM_REG_GUEST_R15,
	VM_REG_GUEST_CR0,
	VM_REG_GUEST_CR3,
	VM_REG_GUEST_CR4,
	VM_REG_GUEST_DR7,
	VM_REG_GUEST_RSP,
	VM_REG_GUEST_RIP,
	VM_REG_GUEST_RFLAGS,
	VM_REG_GUEST_ES,
	VM_REG_GUEST_CS,
	VM_REG_GUEST_SS,
	VM_REG_GUEST_DS,
	VM_REG_GUEST_FS,
	VM_REG_GUEST_GS,
	VM_REG_GUEST_LDTR,
	VM_REG_GUEST_TR,
	VM_REG_GUEST_IDTR,
	VM_REG_GUEST_GDTR,
	VM_REG_GUEST_EFER,
	VM_REG_GUEST_CR2,
	VM_REG_GUEST_PDPTE0,
	VM_REG_GUEST_PDPTE1,
	VM_REG_GUEST_PDPTE2,
	VM_REG_GUEST_PDPTE3,
	VM_REG_GUEST_INTR_SHADOW,
	VM_REG_GUEST_DR0,
	VM_REG_GUEST_DR1,
	VM_REG_GUEST_DR2,
	VM_REG_GUEST_DR3,
	VM_REG_GUEST_DR6,
	VM_REG_GUEST_ENTRY_INST_LENGTH,
	VM_REG_GUEST_FS_BASE,
	VM_REG_GUEST_GS_BASE,
	VM_REG_GUEST_KGS_BASE,
	VM_REG_GUEST_TPR,
	VM_REG_LAST
};

/*
 * A segment descriptor as the CPU holds it. access has the layout of VMX's
 * access-rights field (SDM vol. 3, 25.4.1): type 3:0, S 4, DPL 6:5, P 7,
 * AVL 12, L 13, D/B 14, G 15, unusable 16.
 */
struct seg_desc {
	uint64_t base;
	uint32_t limit; /* in bytes, granularity already applied */
	uint32_t access;
};
#define SEG_DESC_TYPE(access)     ((access)&0x001f)
#define SEG_DESC_DPL(access)      (((access) >> 5) & 0x3)
#define SEG_DESC_PRESENT(access)  (((access)&0x0080) != 0)
#define SEG_DESC_DEF32(access)    (((access)&0x4000) != 0)
#define SEG_DESC_GRANULAR(access) (((access)&0x8000) != 0)
#define SEG_DESC_UNUSABLE(access) (((access)&0x10000) != 0)

enum vm_cpu_mode {
	CPU_MODE_REAL,
	CPU_MODE_PROTECTED,
	CPU_MODE_COMPATIBILITY, /* IA-32e, 32-bit or 16-bit code segment */
	CPU_MODE_64BIT
};

enum vm_paging_mode {
	PAGING_MODE_FLAT,
	PAGING_MODE_32,
	PAGING_MODE_PAE,
	PAGING_MODE_64,
	PAGING_MODE_64_LA57
};

struct vm_guest_paging {
	uint64_t cr3;
	int cpl;
	enum vm_cpu_mode cpu_mode;
	enum vm_paging_mode paging_mode;
};

/* -- exits --------------------------------------------------------------- */

enum vm_exitcode {
	VM_EXITCODE_INOUT,
	VM_EXITCODE_VMX,
	VM_EXITCODE_BOGUS,
	VM_EXITCODE_RDMSR,
	VM_EXITCODE_WRMSR,
	VM_EXITCODE_HLT,
	VM_EXITCODE_MTRAP,
	VM_EXITCODE_PAUSE,
	VM_EXITCODE_PAGING,
	VM_EXITCODE_INST_EMUL,
	VM_EXITCODE_SPINUP_AP,
	VM_EXITCODE_DEPRECATED1,
	VM_EXITCODE_RENDEZVOUS,
	VM_EXITCODE_IOAPIC_EOI,
	VM_EXITCODE_SUSPENDED,
	VM_EXITCODE_INOUT_STR,
	VM_EXITCODE_TASK_SWITCH,
	VM_EXITCODE_MONITOR,
	VM_EXITCODE_MWAIT,
	VM_EXITCODE_SVM,
	VM_EXITCODE_REQIDLE,
	VM_EXITCODE_DEBUG,
	VM_EXITCODE_VMINSN,
	VM_EXITCODE_BPT,
	VM_EXITCODE_IPI,
	VM_EXITCODE_DB,
	VM_EXITCODE_MAX
};

enum vm_suspend_how {
	VM_SUSPEND_NONE,
	VM_SUSPEND_RESET,
	VM_SUSPEND_POWEROFF,
	VM_SUSPEND_HALT,
	VM_SUSPEND_TRIPLEFAULT,
	VM_SUSPEND_DESTROY,
	VM_SUSPEND_LAST
};

/*
 * INOUT: one port access. For IN the caller leaves the answer in eax (the
 * low `bytes` bytes count) before the next vm_run, which completes the
 * instruction. INS and OUTS arrive as one exit an element, string set.
 */
struct vm_inout {
	uint16_t port;
	uint8_t bytes; /* 1, 2 or 4 */
	bool in;
	bool string;
	bool rep;
	uint32_t eax; /* value written, or the caller's answer */
};

/*
 * INST_EMUL: one access to guest physical memory that is neither RAM nor a
 * device of the room. On a read the caller leaves the answer in data.
 * An instruction that makes several accesses gives several exits.
 */
struct vm_inst_emul {
	uint64_t gpa;
	uint64_t gla;
	uint8_t bytes; /* 1, 2, 4 or 8 */
	bool write;
	uint64_t data;
};

struct vm_exit {
	enum vm_exitcode exitcode;
	int inst_length; /* bytes of the instruction at rip; 0 = unknown */
	uint64_t rip;    /* the instruction that caused the exit */
	union {
		struct vm_inout inout;
		struct vm_inst_emul inst_emul;
		struct {
			uint64_t gpa;
			int fault_type; /* PROT_READ, PROT_WRITE, PROT_EXEC */
		} paging;
		struct {
			uint32_t code;
			uint64_t wval; /* WRMSR: written; RDMSR: the answer */
		} msr;
		struct {
			int vcpu;
			uint64_t rip;
		} spinup_ap;
		struct {
			uint64_t rflags;
		} hlt;
		struct {
			int vector;
		} ioapic_eoi;
		struct {
			enum vm_suspend_how how;
		} suspended;
		struct {
			uint32_t mode; /* APIC delivery mode, bits 10:8 */
			uint8_t vector;
			cpuset_t dmask;
		} ipi;
		struct {
			int inst_length;
		} bpt;
		struct {
			uint64_t dr6;
		} dbg;
	} u;
};

struct vm_run {
	cpuset_t *cpuset; /* unused; FreeBSD's RENDEZVOUS destination */
	size_t cpusetsize;
	struct vm_exit *vm_exit; /* filled at return, read at the next run */

	/*
	 * Ours, for threads that run several vCPUs by turns: vm_run returns
	 * with REQIDLE when slice_ns are over, or, instead of waiting (in HLT,
	 * for SIPI, while suspended), at once with idle set. 0: no slice.
	 */
	uint64_t slice_ns;
	bool idle;
};

/* -- what holds for all functions ---------------------------------------- */

/*
 * Threads: any thread may call anything at any time, unless a comment says
 * otherwise; a handle must not be used once it is being closed. Calls on a
 * vCPU freeze it: when it runs, it leaves the guest for the moment of the
 * call (VM_EXITCODE_REQIDLE), so they are of one moment, and cost some
 * microseconds. Calls on the VM do not, unless a comment says so.
 *
 * Errors: beside those that are named, each call can fail with
 *	ENXIO            the VM has been destroyed
 *	ENOTRECOVERABLE  it has crashed, and the call would change it
 *	EBUSY            a vCPU did not stop for ten seconds
 *	EPERM, EIO, ...  its files or its control socket failed
 * A call that fails has changed nothing.
 *
 * "as vmm.ko" means that FreeBSD's kernel module and its libvmmapi are the
 * source of the behaviour; other sources are named.
 */

/* -- life cycle ---------------------------------------------------------- */

#define VMMAPI_OPEN_CREATE                  0x01
#define VMMAPI_OPEN_REINIT                  0x02
#define VMMAPI_OPEN_CREATE_DESTROY_ON_CLOSE 0x04

/*
 * Makes a VM, without memory and with vCPU 0 at the reset vector. name: 1 to
 * VM_MAX_NAMELEN bytes, no slash, no dot at the start (EINVAL). EEXIST.
 */
int vm_create(const char *name);

/*
 * A handle of a VM that exists, or NULL (ENOENT; EINVAL: a state file that
 * this version cannot read). Any number of handles, in any process.
 */
struct vmctx *vm_open(const char *name);

/*
 * The same, with flags: CREATE makes the VM when there is none; REINIT drops
 * its memory and state (EBUSY: somebody runs it), also of one that crashed or
 * cannot be read; CREATE_DESTROY_ON_CLOSE makes one (EEXIST) that is destroyed
 * when this handle is closed or its process ends. As vmm.ko, but for REINIT,
 * which there keeps the memory.
 */
struct vmctx *vm_openf(const char *name, int flags);

/*
 * Gives a handle back. When it runs the VM, its vCPUs are stopped, and what
 * they have become is written to the VM's files; no other thread may be in
 * a call on the handle but vm_run.
 */
void vm_close(struct vmctx *ctx);

/*
 * Removes the VM and gives the handle back. A process that runs the VM is
 * asked to stop (VM_SUSPEND_DESTROY) and has ten seconds. Errors are left in
 * vm_error_text only; other handles then get ENXIO.
 */
void vm_destroy(struct vmctx *ctx);

/* Does nothing, and succeeds: there are no Capsicum rights to limit. */
int vm_limit_rights(struct vmctx *ctx);

/*
 * As after its creation: memory zeroed, vCPUs not active and at their reset
 * state, devices reset, topology kept. EBUSY while it runs and has not
 * stopped. As vmm.ko.
 */
int vm_reinit(struct vmctx *ctx);

/*
 * Stops the VM: each vm_run returns VM_EXITCODE_SUSPENDED with how, until
 * vm_reinit. EALREADY when it is stopping; EINVAL for an unknown how. As
 * vmm.ko.
 */
int vm_suspend(struct vmctx *ctx, enum vm_suspend_how how);

/* The name it was opened by; lives as long as the handle. */
const char *vm_get_name(struct vmctx *ctx);

/*
 * Ours: between the two, while nobody runs the VM, this handle has it alone:
 * calls on others wait, and what was changed is written once, at the end.
 * Setting up a VM is a hundred calls. May be nested. Both on one thread, which
 * is the only one to use the handle meanwhile; begin fails with EBUSY when
 * another handle runs the VM.
 */
int vm_batch_begin(struct vmctx *ctx);
int vm_batch_end(struct vmctx *ctx);

/*
 * Ours: why the last call of this thread on any handle failed, in one line
 * for a person ("vm0: already running, process 4711"), or strerror(errno).
 * Lives until the thread's next call.
 */
const char *vm_error_text(void);

/*
 * Ours: variables of the library, for the VMs that are opened afterwards by
 * this process; bhyve_config(5) tells what they mean:
 *	rundir, engine (auto, soft, kvm), soft.jit (on, off, verify),
 *	soft.jit.cache (MiB), soft.jit.hot (runs),
 *	soft.jit.perfmap (on, off), cpu.model, cpu.features,
 *	memory.backing (file, anon, auto).
 * NULL value clears. EINVAL for an unknown key or malformed value.
 *
 * memory.backing: "file" (default) on a tmpfs, so that it outlives this
 * process; "anon", which does not, needs no room there, and is in huge pages
 * if the host lets us make a tmpfs of its own (as root, or in a user
 * namespace); "auto", in huge pages, else a file if there is room, else anon.
 */
int vm_set_option(const char *key, const char *value);

/* -- memory -------------------------------------------------------------- */

/*
 * Ours: guest memory is given by the host page by page, as it is touched, and
 * a tmpfs may be full by then, which is a SIGBUS. vm_memory_loss_fd takes
 * that signal for the process and returns an eventfd, the handle's, that
 * becomes readable when it has happened; the page is then an empty one of this
 * process alone, and the VM must be stopped. vm_memory_lost says whether it
 * has, and vm_error_text then why. The VM has crashed when it is closed.
 *
 * A thread that runs a vCPU must have an alternate signal stack (sigaltstack)
 * before; vm_run fails with EINVAL otherwise. -1 and errno: no such luck.
 */
int vm_memory_loss_fd(struct vmctx *ctx);
bool vm_memory_lost(struct vmctx *ctx);

enum vm_mmap_style { VM_MMAP_NONE, VM_MMAP_ALL, VM_MMAP_SPARSE };

enum {
	VM_SYSMEM,
	VM_BOOTROM,
	VM_FRAMEBUFFER,
	VM_PCIROM,
};

#define VM_MEM_F_INCORE 0x01
#define VM_MEM_F_WIRED  0x02

/*
 * "512M": a number with a suffix K, M, G, T, P or E (powers of 1024), or
 * without, then in MiB when below 1048576 and in bytes otherwise; base 10, 8
 * or 16 as in C. EINVAL, ERANGE. As expand_number(3) of FreeBSD.
 */
int vm_parse_memsize(const char *optarg, size_t *memsize);

/*
 * Gives the VM len bytes of RAM (whole pages of 4 KiB), the first 3 GiB from
 * gpa 0 and the rest from 4 GiB on, or maps what it has, which must be as
 * much (EINVAL). style: VM_MMAP_ALL, VM_MMAP_NONE (the same here);
 * VM_MMAP_SPARSE is ENOTSUP. ENOSPC: no tmpfs has room. Memory is zero, and
 * is taken from the host when it is first touched.
 */
int vm_setup_memory(struct vmctx *ctx, size_t len, enum vm_mmap_style style);

/*
 * The host's address of [gpa, gpa + len), or NULL when that is not all RAM of
 * one piece or the memory is not mapped (vm_setup_memory). For reading; the
 * guest may change it at any time. Valid until the handle is closed. No lock.
 */
void *vm_map_gpa(struct vmctx *ctx, vm_paddr_t gpa, size_t len);

/* The gpa of such an address, or (vm_paddr_t)-1. No lock. */
vm_paddr_t vm_rev_map_gpa(struct vmctx *ctx, void *addr);

/* Where RAM below 4 GiB ends at most: 3 GiB, in bytes. */
uint32_t vm_get_lowmem_limit(struct vmctx *ctx);

/* Bytes of RAM from gpa 0 on; 0 before there is memory. */
size_t vm_get_lowmem_size(struct vmctx *ctx);

/* Where the rest of RAM begins (4 GiB), and its bytes. */
vm_paddr_t vm_get_highmem_base(struct vmctx *ctx);
size_t vm_get_highmem_size(struct vmctx *ctx);

/*
 * VM_MEM_F_INCORE: RAM is in the core files of this process; else it is not.
 * VM_MEM_F_WIRED is kept and does nothing yet. Of this handle; best set before
 * vm_setup_memory. One thread at a time.
 */
void vm_set_memflags(struct vmctx *ctx, int flags);
int vm_get_memflags(struct vmctx *ctx);

/*
 * The length of a segment (VM_SYSMEM to VM_PCIROM, else EINVAL) in bytes; 0,
 * when there is none. name gets "bootrom" or "", and may be NULL.
 */
int vm_get_memseg(struct vmctx *ctx, int ident, size_t *len, char *name,
		  size_t namesize);

/*
 * The first mapping at or above *gpa: its gpa, segment, offset and length in
 * bytes, protection (PROT_*) and flags (VM_MEM_F_*). ENOENT after the last.
 */
int vm_mmap_getnext(struct vmctx *ctx, vm_paddr_t *gpa, int *segid,
		    off_t *segoff, size_t *len, int *prot, int *flags);

/*
 * A boot ROM: a segment of len bytes (segid VM_BOOTROM, else ENOTSUP; whole
 * pages, up to 16 MiB), whose address is returned to be filled, or MAP_FAILED;
 * and the piece of it that the guest reads and runs at gpa, in the last 16 MiB
 * below 4 GiB (prot without PROT_WRITE, else ENOTSUP). The guest's writes there
 * are dropped, and vm_map_gpa and the write gate do not know it. It belongs
 * to the handle, which has memory (EINVAL) and does not run the VM yet (EBUSY).
 */
void *vm_create_devmem(struct vmctx *ctx, int segid, const char *name,
		       size_t len);
int vm_mmap_memseg(struct vmctx *ctx, vm_paddr_t gpa, int segid, off_t segoff,
		   size_t len, int prot);

/*
 * Ours: the write gate. Host-side writes to guest memory go between begin
 * and end, so that translations of code there are dropped and dirty bits
 * set. begin returns the address to write to, or NULL (EFAULT) when
 * [gpa, gpa + len) is not all RAM. Callers that wrote through vm_map_gpa
 * call vm_mem_dirty instead. vm_mem_write is begin, a copy and end, and the
 * fastest way to fill memory that nobody has touched. Any thread, no lock.
 */
void *vm_mem_write_begin(struct vmctx *ctx, vm_paddr_t gpa, size_t len);
void vm_mem_write_end(struct vmctx *ctx, vm_paddr_t gpa, size_t len);
void vm_mem_dirty(struct vmctx *ctx, vm_paddr_t gpa, size_t len);
int vm_mem_write(struct vmctx *ctx, vm_paddr_t gpa, const void *data,
		 size_t len);

/*
 * Where guest memory is mapped: the host address of gpa 0, such that a gpa in
 * RAM is at base + gpa, and the bytes of RAM from 0 and from 4 GiB on. For
 * reading, as vm_map_gpa.
 */
void vm_get_guestmem_from_ctx(struct vmctx *ctx, char **guest_baseaddr,
			      size_t *lowmem_size, size_t *highmem_size);

/*
 * Walks the page tables of paging for an access of prot (PROT_READ, PROT_WRITE
 * or PROT_EXEC) to the linear address gla. *fault 0: *gpa is where it goes;
 * 1: the guest gets a fault, which vm_gla2gpa has injected, and _nofault has
 * not. vm_gla2gpa also sets accessed and dirty bits. EFAULT: the tables are
 * not in RAM. SDM vol. 3, chapter 4; SMAP and protection keys are not checked.
 */
int vm_gla2gpa(struct vcpu *vcpu, struct vm_guest_paging *paging, uint64_t gla,
	       int prot, uint64_t *gpa, int *fault);
int vm_gla2gpa_nofault(struct vcpu *vcpu, struct vm_guest_paging *paging,
		       uint64_t gla, int prot, uint64_t *gpa, int *fault);

/*
 * Fills iov with host addresses of the pieces of [gla, gla + len), one a page
 * at most, for vm_copyin (prot PROT_READ) or vm_copyout (PROT_WRITE), which
 * move len bytes at most and pass the write gate. EFAULT: iovcnt is too few,
 * or a piece is not RAM. *fault as of vm_gla2gpa; iov is then of no use.
 * vm_copy_teardown ends it. As vmm.ko.
 */
int vm_copy_setup(struct vcpu *vcpu, struct vm_guest_paging *paging,
		  uint64_t gla, size_t len, int prot, struct iovec *iov,
		  int iovcnt, int *fault);
void vm_copyin(struct iovec *guest_iov, void *host_dst, size_t len);
void vm_copyout(const void *host_src, struct iovec *guest_iov, size_t len);
void vm_copy_teardown(struct iovec *iov, int iovcnt);

/* -- vCPUs --------------------------------------------------------------- */

/*
 * A handle of vCPU vcpuid, 0 to VM_MAXCPU - 1 (NULL, EINVAL), which need not
 * be active. close gives it back; before the VM's.
 */
struct vcpu *vm_vcpu_open(struct vmctx *ctx, int vcpuid);
void vm_vcpu_close(struct vcpu *vcpu);

int vcpu_id(struct vcpu *vcpu);
struct vmctx *vcpu_ctx(struct vcpu *vcpu); /* ours: what it was opened on */

/*
 * All registers, those of the FPU included, as after power-up (SDM vol. 3,
 * 10.1.1); vCPUs other than 0 then wait for a SIPI. Activity, capabilities and
 * the local APIC stay.
 */
int vcpu_reset(struct vcpu *vcpu);

/*
 * Runs the vCPU on this thread until the caller is needed, and fills
 * vm_run->vm_exit; vmmapi(3) has a table of exits and their answers. The same
 * structure, answered, is to be passed to the next call, which completes the
 * instruction. One thread at a time and vCPU: EBUSY, as when another process
 * runs the VM. EINVAL: not active, or vm_exit is NULL. The first call makes
 * this handle the VM's runner. Sleeps in HLT and before SIPI; vm_suspend,
 * from any thread, ends that.
 */
int vm_run(struct vcpu *vcpu, struct vm_run *vm_run);

/* Forgets the exit that waits for an answer: its instruction begins anew. */

/*
 * Ours: waits until a vCPU that was idle may have something to do, but no
 * longer than ns. For the thread that runs all of them, with slices.
 */
int vm_wait(struct vmctx *ctx, uint64_t ns);
int vm_restart_instruction(struct vcpu *vcpu);

/*
 * Makes the vCPU part of the machine; EBUSY when it is. vCPU 0 runs from where
 * its registers say, others when a SIPI arrives.
 */
int vm_activate_cpu(struct vcpu *vcpu);

/*
 * Keeps a vCPU from running: its vm_run returns one VM_EXITCODE_DEBUG, and
 * sleeps when called again, until it is resumed. EINVAL: not active, or not
 * suspended; EBUSY: is suspended. Guest time goes on. As vmm.ko.
 */
int vm_suspend_cpu(struct vcpu *vcpu);
int vm_resume_cpu(struct vcpu *vcpu);

/* Each active vCPU for which that makes sense. */
int vm_suspend_all_cpus(struct vmctx *ctx);
int vm_resume_all_cpus(struct vmctx *ctx);

/*
 * The vCPUs that are active, that have seen the VM stop (vm_suspend), and that
 * vm_suspend_cpu holds.
 */
int vm_active_cpus(struct vmctx *ctx, cpuset_t *cpus);
int vm_suspended_cpus(struct vmctx *ctx, cpuset_t *cpus);
int vm_debug_cpus(struct vmctx *ctx, cpuset_t *cpus);

/*
 * What the guest is told in CPUID: sockets of cores of threads, together 1 to
 * VM_MAXCPU. set: maxcpus is 0 or VM_MAXCPU (EINVAL); EBUSY once a vCPU has
 * run. get: maxcpus is VM_MAXCPU.
 */
int vm_set_topology(struct vmctx *ctx, uint16_t sockets, uint16_t cores,
		    uint16_t threads, uint16_t maxcpus);
int vm_get_topology(struct vmctx *ctx, uint16_t *sockets, uint16_t *cores,
		    uint16_t *threads, uint16_t *maxcpus);

/* -- state of a vCPU ----------------------------------------------------- */

/*
 * A register of enum vm_reg_name; a segment register's value is its selector.
 * EINVAL: no such register (IDTR and GDTR are descriptors only), or a value
 * that the CPU cannot have. An exit that needs no answer is completed first;
 * setting RIP forgets one that does.
 */
int vm_set_register(struct vcpu *vcpu, int reg, uint64_t val);
int vm_get_register(struct vcpu *vcpu, int reg, uint64_t *retval);

/* Up to 64 at once (EINVAL), of one moment; set: all or none. */
int vm_set_register_set(struct vcpu *vcpu, unsigned int count,
			const int *regnums, uint64_t *regvals);
int vm_get_register_set(struct vcpu *vcpu, unsigned int count,
			const int *regnums, uint64_t *regvals);

/*
 * The hidden part of ES, CS, SS, DS, FS, GS, LDTR, TR (struct seg_desc), and
 * base and limit of IDTR and GDTR. EINVAL: another register, or what the CPU
 * cannot have.
 */
int vm_set_desc(struct vcpu *vcpu, int reg, uint64_t base, uint32_t limit,
		uint32_t access);
int vm_get_desc(struct vcpu *vcpu, int reg, uint64_t *base, uint32_t *limit,
		uint32_t *access);
int vm_get_seg_desc(struct vcpu *vcpu, int reg, struct seg_desc *seg_desc);

/*
 * Ours: a model-specific register that is plain state of the vCPU (PAT,
 * SYSENTER_*, STAR and its like, ...), EFER, the FS, GS and kernel GS bases,
 * TSC, TSC_ADJUST. index: as RDMSR has it. ENOENT: another one.
 */
int vm_get_msr(struct vcpu *vcpu, uint32_t index, uint64_t *retval);

/* Ours: what this vCPU's TSC is ahead of the VM's clock, in cycles. */
int vm_get_tsc_offset(struct vcpu *vcpu, uint64_t *retval);

enum vm_cap_type {
	VM_CAP_HALT_EXIT,
	VM_CAP_MTRAP_EXIT,
	VM_CAP_PAUSE_EXIT,
	VM_CAP_UNRESTRICTED_GUEST,
	VM_CAP_ENABLE_INVPCID,
	VM_CAP_BPT_EXIT,
	VM_CAP_RDPID,
	VM_CAP_RDTSCP,
	VM_CAP_IPI_EXIT,
	VM_CAP_MASK_HWINTR,
	VM_CAP_RFLAGS_TF,
	VM_CAP_MAX
};

/* "hlt_exit" and its number; -1 (no errno), or NULL, when there is none. */
int vm_capability_name2type(const char *capname);
const char *vm_capability_type2name(int type);

/*
 * Whether a capability is on: 0 or 1. ENOENT: the VM's engine has none such,
 * as none has ipi_exit. EINVAL: no such number, or one that is always on.
 */
int vm_get_capability(struct vcpu *vcpu, enum vm_cap_type cap, int *retval);
int vm_set_capability(struct vcpu *vcpu, enum vm_cap_type cap, int val);

enum x2apic_state { X2APIC_DISABLED, X2APIC_ENABLED, X2APIC_STATE_LAST };

/* Whether the guest may put the local APIC into x2APIC mode. EINVAL. */
int vm_get_x2apic_state(struct vcpu *vcpu, enum x2apic_state *s);
int vm_set_x2apic_state(struct vcpu *vcpu, enum x2apic_state s);

/* -- interrupts ---------------------------------------------------------- */

enum vm_intr_trigger { EDGE_TRIGGER, LEVEL_TRIGGER };

/*
 * An interrupt to one local APIC, as if by a message: vector 16 to 255
 * (EINVAL); or its entry of the local vector table: 0 LINT0, 1 LINT1, 2 timer,
 * 3 error, 4 performance counters, 5 thermal sensor. These and all below may
 * be called under any lock of the caller's, and never block on a vCPU.
 */
int vm_lapic_irq(struct vcpu *vcpu, int vector);
int vm_lapic_local_irq(struct vcpu *vcpu, int vector);

/*
 * A message-signalled interrupt: address and data as a device would write them
 * (SDM vol. 3, 11.11). EINVAL: not of the form 0xfeexxxxx. bus, slot and func
 * are not looked at.
 */
int vm_lapic_msi(struct vmctx *ctx, uint64_t addr, uint64_t msg);
int vm_raise_msi(struct vmctx *ctx, uint64_t addr, uint64_t msg, int bus,
		 int slot, int func);

/* The vCPU with a local APIC id, which is its number. */
int vm_apicid2vcpu(struct vmctx *ctx, int apicid);

/*
 * A line of the I/O APIC, 0 to its pin count - 1 (EINVAL): raised, lowered,
 * or raised and lowered at once.
 */
int vm_ioapic_assert_irq(struct vmctx *ctx, int irq);
int vm_ioapic_deassert_irq(struct vmctx *ctx, int irq);
int vm_ioapic_pulse_irq(struct vmctx *ctx, int irq);
int vm_ioapic_pincount(struct vmctx *ctx, int *pincount);

/*
 * The same for a line of the two 8259, 0 to 15, together with one of the I/O
 * APIC; -1 for either leaves it. EINVAL.
 */
int vm_isa_assert_irq(struct vmctx *ctx, int atpic_irq, int ioapic_irq);
int vm_isa_deassert_irq(struct vmctx *ctx, int atpic_irq, int ioapic_irq);
int vm_isa_pulse_irq(struct vmctx *ctx, int atpic_irq, int ioapic_irq);

/* Its ELCR bit. EINVAL: lines 0, 1, 2, 8 and 13 are edge-triggered. */
int vm_isa_set_irq_trigger(struct vmctx *ctx, int atpic_irq,
			   enum vm_intr_trigger trigger);

int vm_inject_nmi(struct vcpu *vcpu);

/*
 * Ours: a doorbell. The guest's writes of `bytes` bytes (0: of any size) to
 * memory or a port at addr add 1 to an eventfd and are not seen otherwise;
 * with VM_DOORBELL_MATCH only those of that value. fd is the caller's to close,
 * once VM_DOORBELL_REMOVE with the same arguments has returned. For the
 * process that runs the VM, before or while it does. EEXIST, ENOENT, ENOSPC.
 */
#define VM_DOORBELL_PORT   0x01
#define VM_DOORBELL_MATCH  0x02
#define VM_DOORBELL_REMOVE 0x04
int vm_ioeventfd(struct vmctx *ctx, uint64_t addr, unsigned int bytes,
		 uint64_t match, int fd, int flags);

/*
 * An exception before the next instruction: vector 0 to 31 but 2 (EINVAL);
 * EBUSY: one waits already. restart_instruction forgets a pending exit, so
 * that RIP stays; to refuse RDMSR or WRMSR: (vcpu, 13, 1, 0, 1).
 */
int vm_inject_exception(struct vcpu *vcpu, int vector, int errcode_valid,
			uint32_t errcode, int restart_instruction);

/*
 * Events in the layout of VMX (SDM vol. 3, 25.8.3), with the error code in the
 * upper half: set begins one; get tells in i1 what the last exit cut short
 * (nothing here, engines finish what they begin), in i2 the exception that
 * waits. EINVAL, EBUSY. As vmm.ko.
 */
int vm_set_intinfo(struct vcpu *vcpu, uint64_t exit_intinfo);
int vm_get_intinfo(struct vcpu *vcpu, uint64_t *i1, uint64_t *i2);

/* -- devices of the room ------------------------------------------------- */

/* The low half of the HPET's capability register (its specification, 2.3.4). */
int vm_get_hpet_capabilities(struct vmctx *ctx, uint32_t *capabilities);

/*
 * A byte of the MC146818: offset 0 to 127 (EINVAL). The clock's own registers
 * are its first fourteen.
 */
int vm_rtc_write(struct vmctx *ctx, int offset, uint8_t value);
int vm_rtc_read(struct vmctx *ctx, int offset, uint8_t *retval);

/* Its time in seconds since 1970, without a time zone; up to the year 9999. */
int vm_rtc_settime(struct vmctx *ctx, time_t secs);
int vm_rtc_gettime(struct vmctx *ctx, time_t *secs);

/* -- statistics ---------------------------------------------------------- */

/*
 * The vCPU's counters, and when they were read; ret_tv and ret_entries may be
 * NULL. They live in the handle until its next call; one thread at a time.
 * NULL on error. vm_get_stat_desc is the text of one by its index, NULL past
 * the last: indexes change between versions, texts do not. Times are in ns,
 * memory is in bytes, told with vCPU 0.
 */
uint64_t *vm_get_stats(struct vcpu *vcpu, struct timeval *ret_tv,
		       int *ret_entries);
const char *vm_get_stat_desc(struct vmctx *ctx, int index);

/* -- for loaders --------------------------------------------------------- */

/*
 * The boot CPU's registers as FreeBSD's own loader leaves them: 64-bit mode
 * with page tables at cr3, or 32-bit protected mode without, a stack, and a
 * GDT of 24 bytes, which vm_setup_freebsd_gdt makes for the first, and _i386
 * writes to gdtbase itself (EFAULT: not RAM).
 */
int vm_setup_freebsd_registers(struct vcpu *vcpu, uint64_t rip, uint64_t cr3,
			       uint64_t gdtbase, uint64_t rsp);
int vm_setup_freebsd_registers_i386(struct vcpu *vcpu, uint32_t eip,
				    uint32_t gdtbase, uint32_t esp);
void vm_setup_freebsd_gdt(uint64_t *gdtr);

/* -- not supported ------------------------------------------------------- */

/*
 * FreeBSD's, and here only so that callers link: each fails with ENOTSUP and
 * a line in vm_error_text that says why; vm_get_ioctls returns NULL.
 */
struct vm_mem_domain;
struct vm_snapshot_meta;

int vm_get_device_fd(struct vmctx *ctx);
const unsigned long *vm_get_ioctls(size_t *len);
int vm_setup_memory_domains(struct vmctx *ctx, enum vm_mmap_style style,
			    struct vm_mem_domain *domains, int ndomains);
int vm_munmap_memseg(struct vmctx *ctx, vm_paddr_t gpa, size_t len);
int vm_get_gpa_pmap(struct vmctx *ctx, uint64_t gpa, uint64_t *pte, int *num);
int vm_readwrite_kernemu_device(struct vcpu *vcpu, vm_paddr_t gpa, bool write,
				int size, uint64_t *value);
int vm_assign_pptdev(struct vmctx *ctx, int bus, int slot, int func);
int vm_unassign_pptdev(struct vmctx *ctx, int bus, int slot, int func);
int vm_map_pptdev_mmio(struct vmctx *ctx, int bus, int slot, int func,
		       vm_paddr_t gpa, size_t len, vm_paddr_t hpa);
int vm_unmap_pptdev_mmio(struct vmctx *ctx, int bus, int slot, int func,
			 vm_paddr_t gpa, size_t len);
int vm_setup_pptdev_msi(struct vmctx *ctx, int bus, int slot, int func,
			uint64_t addr, uint64_t msg, int numvec);
int vm_setup_pptdev_msix(struct vmctx *ctx, int bus, int slot, int func,
			 int idx, uint64_t addr, uint64_t msg,
			 uint32_t vector_control);
int vm_disable_pptdev_msix(struct vmctx *ctx, int bus, int slot, int func);
int vm_snapshot_req(struct vmctx *ctx, struct vm_snapshot_meta *meta);
int vm_restore_time(struct vmctx *ctx);

/* -- ours ---------------------------------------------------------------- */

/*
 * The engine this VM runs on, or will ("soft", "kvm"), and why ("no
 * /dev/kvm ..."); NULL when the one that was asked for cannot run here. why
 * may be NULL. The strings live as long as ctx.
 */
const char *vm_get_engine(struct vmctx *ctx, const char **why);

/*
 * The engines, from 0 on, and what this host offers to each; ENOENT past the
 * last. How fast code runs at ring 0 is measured anew, for a few ms.
 */
struct vm_engine_info {
	char name[16];
	bool usable;          /* engine=NAME runs VMs here */
	bool automatic;       /* engine=auto takes it */
	uint64_t ring0_speed; /* instructions a second; 0: not measured */
	char text[512];       /* why, or why not and what to do */
};
int vm_get_engine_info(int index, struct vm_engine_info *info);

/*
 * Guest time in ns since the VM was created, of the VM's one clock, which
 * stands still while no process runs the VM. For devices of the process.
 */
int vm_clock_gettime(struct vmctx *ctx, uint64_t *ns);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
