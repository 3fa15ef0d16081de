// SPDX-License-Identifier: BSD-2-Clause
/* Guest memory at the door: set-up, addresses, the write gate, copying. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "vmmapi/door.h"

/* -- set-up -------------------------------------------------------------------
 */

/* As expand_number(3): a suffix, each with its power of 1024. */
static int expand_suffix(uint64_t *value, const char *suffix)
{
	static const char powers[] = "kmgtpe";
	const char *power;
	unsigned shift;

	if (suffix[0] == '\0')
		return 0;
	power = strchr(powers, suffix[0] | 0x20);
	if (power == NULL || suffix[1] != '\0')
		return -EINVAL;
	shift = 10 * (unsigned)(power - powers + 1);
	if (*value > UINT64_MAX >> shift)
		return -ERANGE;
	*value <<= shift;
	return 0;
}

/* Below 1 MiB and without a suffix it is a number of MiB. */
int vm_parse_memsize(const char *text, size_t *memsize)
{
	uint64_t value;
	char *end;
	int error;

	if (text[0] < '0' || text[0] > '9')
		return door_result(-EINVAL, NULL);
	errno = 0;
	value = strtoull(text, &end, 0);
	if (errno != 0)
		return door_result(-ERANGE, NULL);
	if (*end == '\0' && value < MiB)
		value *= MiB;
	error = expand_suffix(&value, end);
	if (error == 0)
		*memsize = value;
	return door_result(error, NULL);
}

static int check_same(struct vmctx *ctx, uint64_t len, struct err *err)
{
	uint64_t has = ctx->record.low_size + ctx->record.high_size;

	if (has != len)
		return err_set(err, EINVAL,
			       "%s: has %llu MB of memory, not %llu MB",
			       ctx->name, (unsigned long long)has / MiB,
			       (unsigned long long)len / MiB);
	return 0;
}

/* There is a file; door_hold_files could not map it, or has. */
static int map_existing(struct vmctx *ctx, uint64_t len, struct err *err)
{
	struct vm_record *record = &ctx->record;
	int fd;
	int error = check_same(ctx, len, err);

	if (error != 0 || ctx->vm->mem.base != NULL)
		return error;
	error = memfile_open(ctx, len, &fd, err);
	if (error != 0)
		return error;
	error =
	    mem_setup(&ctx->vm->mem, fd, record->low_size, record->high_size);
	if (error != 0) {
		close(fd);
		err_sys(err, -error, "%s: mapping its memory", ctx->name);
	}
	return error;
}

static int make_new(struct vmctx *ctx, uint64_t len, struct err *err)
{
	struct vm_record *record = &ctx->record;
	uint64_t low = mem_low_part(len);
	int error, fd;

	if (len == 0)
		return err_set(err, EINVAL,
			       "%s: a VM without memory cannot run: give it "
			       "some (-m)",
			       ctx->name);
	if (len % 4096 != 0)
		return err_set(err, EINVAL,
			       "%s: a memory size of %llu bytes is not whole "
			       "pages of 4 KiB",
			       ctx->name, (unsigned long long)len);
	if (getrandom(&record->memory_id, sizeof(record->memory_id), 0) < 0)
		record->memory_id++;
	memfile_remove(ctx);
	error = memfile_create(ctx, len, &fd, err);
	if (error != 0)
		return error;
	error = mem_setup(&ctx->vm->mem, fd, low, len - low);
	if (error != 0) {
		close(fd);
		memfile_remove(ctx);
		return err_sys(err, -error, "%s: %llu MB of memory", ctx->name,
			       (unsigned long long)len / MiB);
	}
	record->low_size = low;
	record->high_size = len - low;
	return 0;
}

/* As on FreeBSD, RAM is in a core file only when asked for. */
static void apply_memflags(struct vmctx *ctx)
{
	const struct vm_mem *mem = &ctx->vm->mem;
	int advice = (ctx->memflags & VM_MEM_F_INCORE) != 0 ? MADV_DODUMP
							    : MADV_DONTDUMP;

	if (mem->base == NULL)
		return;
	madvise(mem->base, mem->low_size, advice);
	if (mem->high_size != 0)
		madvise(mem->base + MEM_HIGH_BASE, mem->high_size, advice);
}

int vm_setup_memory(struct vmctx *ctx, size_t len, enum vm_mmap_style style)
{
	struct err err;
	bool made = false;
	int error;

	if (style != VM_MMAP_ALL && style != VM_MMAP_NONE) {
		error = err_set(&err, ENOTSUP, "%s: VM_MMAP_SPARSE", ctx->name);
		return door_result(error, &err);
	}
	error = door_hold_files(ctx, FILES_CHANGE, &err);
	if (error != 0)
		return door_result(error, &err);
	if (ctx->record.low_size != 0)
		error = map_existing(ctx, len, &err);
	else {
		error = make_new(ctx, len, &err);
		made = error == 0;
	}
	if (error == 0) {
		apply_memflags(ctx);
		error = door_drop_files(ctx, made, &err);
	} else
		door_drop_files(ctx, false, NULL);
	return door_result(error, &err);
}

/* -- addresses ----------------------------------------------------------------
 */

void *vm_map_gpa(struct vmctx *ctx, vm_paddr_t gpa, size_t len)
{
	return mem_hva(&ctx->vm->mem, gpa, len);
}

vm_paddr_t vm_rev_map_gpa(struct vmctx *ctx, void *addr)
{
	const struct vm_mem *mem = &ctx->vm->mem;
	uint64_t gpa = (uint64_t)((uint8_t *)addr - mem->base);

	return mem->base != NULL && mem_is_ram(mem, gpa, 1) ? gpa
							    : (vm_paddr_t)-1;
}

void vm_get_guestmem_from_ctx(struct vmctx *ctx, char **guest_baseaddr,
			      size_t *lowmem_size, size_t *highmem_size)
{
	const struct vm_mem *mem = &ctx->vm->mem;

	*guest_baseaddr = (char *)mem->base;
	*lowmem_size = mem->low_size;
	*highmem_size = mem->high_size;
}

uint32_t vm_get_lowmem_limit(struct vmctx *ctx)
{
	return (uint32_t)MEM_LOW_LIMIT;
}

size_t vm_get_lowmem_size(struct vmctx *ctx)
{
	return ctx->vm->mem.low_size;
}

vm_paddr_t vm_get_highmem_base(struct vmctx *ctx)
{
	return MEM_HIGH_BASE;
}

size_t vm_get_highmem_size(struct vmctx *ctx)
{
	return ctx->vm->mem.high_size;
}

void vm_set_memflags(struct vmctx *ctx, int flags)
{
	ctx->memflags = flags;
	apply_memflags(ctx);
}

int vm_get_memflags(struct vmctx *ctx)
{
	return ctx->memflags;
}

static int get_memory(struct vmctx *ctx, struct verb_memory *memory)
{
	return door_call(ctx, VERB_MEMORY, 0, memory, sizeof(*memory));
}

int vm_get_memseg(struct vmctx *ctx, int ident, size_t *len, char *name,
		  size_t namesize)
{
	struct verb_memory memory;

	if (ident < VM_SYSMEM || ident > VM_PCIROM)
		return door_result(-EINVAL, NULL);
	if (get_memory(ctx, &memory) != 0)
		return -1;
	*len = ident == VM_SYSMEM    ? memory.low_size + memory.high_size
	       : ident == VM_BOOTROM ? memory.rom_size
				     : 0;
	/* System memory has none. */
	if (name != NULL && namesize != 0)
		snprintf(name, namesize, "%s",
			 ident == VM_BOOTROM && *len != 0 ? "bootrom" : "");
	return 0;
}

int vm_mmap_getnext(struct vmctx *ctx, vm_paddr_t *gpa, int *segid,
		    off_t *segoff, size_t *len, int *prot, int *flags)
{
	struct verb_memory memory;

	if (get_memory(ctx, &memory) != 0)
		return -1;
	const struct {
		uint64_t gpa, len, offset;
		int segment, prot;
	} maps[] = {
	    {0, memory.low_size, 0, VM_SYSMEM, PROT_WRITE},
	    {memory.rom_gpa, memory.rom_len, memory.rom_offset, VM_BOOTROM, 0},
	    {MEM_HIGH_BASE, memory.high_size, memory.low_size, VM_SYSMEM,
	     PROT_WRITE},
	};

	for (size_t i = 0; i < ARRAY_SIZE(maps); i++) {
		if (maps[i].len == 0 || maps[i].gpa < *gpa)
			continue;
		*gpa = maps[i].gpa;
		*segid = maps[i].segment;
		*segoff = (off_t)maps[i].offset;
		*len = maps[i].len;
		*prot = PROT_READ | PROT_EXEC | maps[i].prot;
		*flags = ctx->memflags;
		return 0;
	}
	return door_result(-ENOENT, NULL);
}

/* -- the write gate -----------------------------------------------------------
 */

void *vm_mem_write_begin(struct vmctx *ctx, vm_paddr_t gpa, size_t len)
{
	void *hva = mem_write_begin(ctx->vm, gpa, len);

	if (hva == NULL)
		door_result(-EFAULT, NULL);
	return hva;
}

void vm_mem_write_end(struct vmctx *ctx, vm_paddr_t gpa, size_t len)
{
	struct verb_range range = {gpa, len};

	if (atomic_load_explicit(&ctx->is_runner, memory_order_acquire))
		mem_write_end(ctx->vm, gpa, len);
	else
		door_call(ctx, VERB_MEM_DIRTY, 0, &range, sizeof(range));
}

void vm_mem_dirty(struct vmctx *ctx, vm_paddr_t gpa, size_t len)
{
	vm_mem_write_end(ctx, gpa, len);
}

/* From here on the kernel copies faster into a file than a process into fresh
   pages, which have to be cleared and mapped first. */
#define WRITE_BY_FILE (64 * KiB)

/* How much the file took; the memory is a mapping of it. */
static size_t write_file(const struct vm_mem *mem, vm_paddr_t gpa,
			 const uint8_t *data, size_t len)
{
	uint64_t offset =
	    gpa < MEM_HIGH_BASE ? gpa : gpa - MEM_HIGH_BASE + mem->low_size;
	size_t done = 0;
	ssize_t part;

	while (done < len) {
		part = pwrite(mem->fd, data + done, len - done,
			      (off_t)(offset + done));
		if (part < 0 && errno == EINTR)
			continue;
		if (part <= 0)
			break;
		done += (size_t)part;
	}
	return done;
}

int vm_mem_write(struct vmctx *ctx, vm_paddr_t gpa, const void *data,
		 size_t len)
{
	uint8_t *to = vm_mem_write_begin(ctx, gpa, len);
	size_t done = 0;

	if (to == NULL)
		return -1;
	if (len >= WRITE_BY_FILE)
		done = write_file(&ctx->vm->mem, gpa, data, len);
	/* Also what a full tmpfs did not take: vm_memory_loss_fd. */
	memcpy(to + done, (const uint8_t *)data + done, len - done);
	vm_mem_write_end(ctx, gpa, len);
	return 0;
}

/* -- copying by linear address ------------------------------------------------
 */

/*
 * vm_copyout gets host addresses and no handle, and has to pass the write
 * gate: so the handles of the process are found by address.
 */
static pthread_mutex_t door_handles_lock = PTHREAD_MUTEX_INITIALIZER;
static struct vmctx *door_handles;

void handles_add(struct vmctx *ctx)
{
	pthread_mutex_lock(&door_handles_lock);
	ctx->next = door_handles;
	door_handles = ctx;
	pthread_mutex_unlock(&door_handles_lock);
}

void handles_remove(struct vmctx *ctx)
{
	struct vmctx **link = &door_handles;

	pthread_mutex_lock(&door_handles_lock);
	while (*link != NULL && *link != ctx)
		link = &(*link)->next;
	if (*link != NULL)
		*link = ctx->next;
	pthread_mutex_unlock(&door_handles_lock);
}

static void mark_dirty(void *hva, size_t len)
{
	struct vmctx *ctx;
	vm_paddr_t gpa = (vm_paddr_t)-1;

	pthread_mutex_lock(&door_handles_lock);
	for (ctx = door_handles; ctx != NULL; ctx = ctx->next) {
		gpa = vm_rev_map_gpa(ctx, hva);
		if (gpa != (vm_paddr_t)-1)
			break;
	}
	pthread_mutex_unlock(&door_handles_lock);
	if (ctx != NULL)
		vm_mem_write_end(ctx, gpa, len);
}

static int translate(struct vcpu *vcpu, struct vm_guest_paging *paging,
		     uint64_t gla, int prot, uint64_t *gpa, int *fault,
		     enum verb_id id)
{
	struct verb_gla arg = {
	    .cr3 = paging->cr3,
	    .gla = gla,
	    .cpl = paging->cpl,
	    .cpu_mode = (int32_t)paging->cpu_mode,
	    .paging_mode = (int32_t)paging->paging_mode,
	    .prot = prot,
	};
	int error = door_call(vcpu->ctx, id, vcpu->id, &arg, sizeof(arg));

	if (error == 0) {
		*gpa = arg.gpa;
		*fault = arg.fault != 0;
	}
	return error;
}

int vm_gla2gpa(struct vcpu *vcpu, struct vm_guest_paging *paging, uint64_t gla,
	       int prot, uint64_t *gpa, int *fault)
{
	return translate(vcpu, paging, gla, prot, gpa, fault,
			 VERB_GLA2GPA_FAULT);
}

int vm_gla2gpa_nofault(struct vcpu *vcpu, struct vm_guest_paging *paging,
		       uint64_t gla, int prot, uint64_t *gpa, int *fault)
{
	return translate(vcpu, paging, gla, prot, gpa, fault, VERB_GLA2GPA);
}

int vm_copy_setup(struct vcpu *vcpu, struct vm_guest_paging *paging,
		  uint64_t gla, size_t len, int prot, struct iovec *iov,
		  int iovcnt, int *fault)
{
	uint64_t gpa;
	size_t piece;

	for (int i = 0; i < iovcnt; i++)
		iov[i] = (struct iovec){NULL, 0};
	*fault = 0;
	for (; len != 0; gla += piece, len -= piece, iov++, iovcnt--) {
		if (iovcnt == 0)
			return door_result(-EFAULT, NULL);
		if (vm_gla2gpa(vcpu, paging, gla, prot, &gpa, fault) != 0)
			return -1;
		if (*fault)
			return 0;
		piece = MIN(len, 4096 - (gpa & 4095));
		iov->iov_base = vm_map_gpa(vcpu->ctx, gpa, piece);
		if (iov->iov_base == NULL)
			return door_result(-EFAULT, NULL);
		iov->iov_len = piece;
	}
	return 0;
}

void vm_copyin(struct iovec *guest_iov, void *host_dst, size_t len)
{
	char *to = host_dst;

	for (; len != 0; guest_iov++) {
		size_t piece = MIN(len, guest_iov->iov_len);

		memcpy(to, guest_iov->iov_base, piece);
		to += piece;
		len -= piece;
	}
}

void vm_copyout(const void *host_src, struct iovec *guest_iov, size_t len)
{
	const char *from = host_src;

	for (; len != 0; guest_iov++) {
		size_t piece = MIN(len, guest_iov->iov_len);

		memcpy(guest_iov->iov_base, from, piece);
		mark_dirty(guest_iov->iov_base, piece);
		from += piece;
		len -= piece;
	}
}

/* vm_copy_setup holds nothing. */
void vm_copy_teardown(struct iovec *iov, int iovcnt)
{
}
