// SPDX-License-Identifier: BSD-2-Clause
#include "fake_vm.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "dev/board.h"

struct machine *fake_machine(struct vmctx *ctx, unsigned int cpus,
			     struct loop *loop)
{
	struct machine *m = calloc(1, sizeof(*m));

	memset(ctx, 0, sizeof(*ctx));
	pthread_mutex_init(&ctx->lock, NULL);
	pthread_cond_init(&ctx->changed, NULL);
	pthread_mutex_init(&m->lock, NULL);
	m->config = config_create();
	m->loop = loop;
	m->ctx = ctx;
	m->name = "vm0";
	m->status = -1;
	m->strict_msr = true;
	m->topology = (struct topology){.cpus = (uint16_t)cpus};
	for (unsigned int i = 0; i < cpus; i++) {
		ctx->vcpu[i].ctx = ctx;
		ctx->vcpu[i].id = (int)i;
		m->cpu[i].machine = m;
		m->cpu[i].vcpu = &ctx->vcpu[i];
	}
	return m;
}

void fake_machine_free(struct machine *m)
{
	if (m->ctx->loss_fd > 0)
		close(m->ctx->loss_fd);
	config_destroy(m->config);
	free(m->last_words);
	free(m);
}

struct vm_exit *fake_exit(struct vmctx *ctx, int vcpu, enum vm_exitcode code)
{
	struct vcpu *v = &ctx->vcpu[vcpu];
	struct vm_exit *exit = &v->script[v->count++];

	exit->exitcode = code;
	exit->rip = 0x1000;
	exit->inst_length = 2;
	return exit;
}

/* -- vmmapi.h ------------------------------------------------------------ */

int vcpu_id(struct vcpu *vcpu)
{
	return vcpu->id;
}

const char *vm_error_text(void)
{
	return strerror(errno);
}

int vm_memory_loss_fd(struct vmctx *ctx)
{
	if (ctx->loss_fd == 0)
		ctx->loss_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return ctx->loss_fd;
}

bool vm_memory_lost(struct vmctx *ctx)
{
	errno = ENOSPC;
	return ctx->lost;
}

static void note_thread(struct vcpu *vcpu)
{
	sigset_t mask;

	pthread_getname_np(pthread_self(), vcpu->thread_name,
			   sizeof(vcpu->thread_name));
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	vcpu->term_blocked = sigismember(&mask, SIGTERM) == 1;
}

int vm_run(struct vcpu *vcpu, struct vm_run *run)
{
	struct vmctx *ctx = vcpu->ctx;

	note_thread(vcpu);
	if (vcpu->run_error != 0) {
		errno = vcpu->run_error;
		return -1;
	}
	if (vcpu->next > 0)
		vcpu->answered = *run->vm_exit;
	if (vcpu->next < vcpu->count) {
		*run->vm_exit = vcpu->script[vcpu->next++];
		return 0;
	}
	pthread_mutex_lock(&ctx->lock);
	while (ctx->how == VM_SUSPEND_NONE)
		pthread_cond_wait(&ctx->changed, &ctx->lock);
	*run->vm_exit = (struct vm_exit){.exitcode = VM_EXITCODE_SUSPENDED,
					 .u.suspended.how = ctx->how};
	pthread_mutex_unlock(&ctx->lock);
	return 0;
}

int vm_suspend(struct vmctx *ctx, enum vm_suspend_how how)
{
	int result = 0;

	pthread_mutex_lock(&ctx->lock);
	ctx->suspends++;
	if (ctx->how == VM_SUSPEND_NONE) {
		ctx->how = how;
	} else {
		errno = EALREADY;
		result = -1;
	}
	pthread_cond_broadcast(&ctx->changed);
	pthread_mutex_unlock(&ctx->lock);
	return result;
}

int vm_activate_cpu(struct vcpu *vcpu)
{
	return 0;
}

int vcpu_reset(struct vcpu *vcpu)
{
	vcpu->resets++;
	return 0;
}

int vm_resume_cpu(struct vcpu *vcpu)
{
	vcpu->resumes++;
	return 0;
}

int vm_get_register(struct vcpu *vcpu, int reg, uint64_t *value)
{
	*value = vcpu->reg[reg];
	return 0;
}

int vm_set_register(struct vcpu *vcpu, int reg, uint64_t value)
{
	vcpu->reg[reg] = value;
	return 0;
}

int vm_get_desc(struct vcpu *vcpu, int reg, uint64_t *base, uint32_t *limit,
		uint32_t *access)
{
	*base = vcpu->desc[reg].base;
	*limit = vcpu->desc[reg].limit;
	*access = vcpu->desc[reg].access;
	return 0;
}

int vm_set_desc(struct vcpu *vcpu, int reg, uint64_t base, uint32_t limit,
		uint32_t access)
{
	vcpu->desc[reg] = (struct seg_desc){base, limit, access};
	return 0;
}

int vm_inject_exception(struct vcpu *vcpu, int vector, int errcode_valid,
			uint32_t errcode, int restart_instruction)
{
	if (errcode_valid && errcode == 0 && restart_instruction)
		vcpu->injected = vector + 1;
	return 0;
}

/* -- board.h ------------------------------------------------------------- */

int board_inout(struct board *board, struct vcpu *vcpu, struct vm_inout *io)
{
	if (io->in)
		io->eax = io->port >= 0x9000 ? ~0u : 0x5au;
	return io->port >= 0x9000 ? -ENXIO : 0;
}

int board_mmio(struct board *board, struct vcpu *vcpu,
	       struct vm_inst_emul *access)
{
	if (!access->write)
		access->data = access->gpa + 1;
	return 0;
}

/* There is no struct board here: the machine's is the fake VM. */
bool board_power_button(struct board *board)
{
	struct vmctx *ctx = (struct vmctx *)(void *)board;
	bool heard;

	pthread_mutex_lock(&ctx->lock);
	heard = ctx->acpi;
	ctx->presses++;
	pthread_cond_broadcast(&ctx->changed);
	pthread_mutex_unlock(&ctx->lock);
	return heard;
}

/* Ten bytes of code, wherever somebody looks. */
static uint8_t fake_code[] = {0x0f, 0x0b, 0x90, 0x90, 0x90,
			      0x90, 0x90, 0x90, 0x90, 0x90};

struct vmctx *vcpu_ctx(struct vcpu *vcpu)
{
	return vcpu->ctx;
}

int vm_gla2gpa_nofault(struct vcpu *vcpu, struct vm_guest_paging *paging,
		       uint64_t gla, int prot, uint64_t *gpa, int *fault)
{
	*gpa = gla;
	*fault = 0;
	return 0;
}

void *vm_map_gpa(struct vmctx *ctx, vm_paddr_t gpa, size_t len)
{
	uint64_t at = gpa & 0xfff;

	return at + len <= sizeof(fake_code) ? fake_code + at : NULL;
}

int vm_wait(struct vmctx *ctx, uint64_t ns)
{
	return 0;
}
