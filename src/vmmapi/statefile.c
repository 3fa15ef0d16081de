// SPDX-License-Identifier: BSD-2-Clause
/*
 * The `state` file: a small header, then records (base/state.h) of the VM,
 * its vCPUs and the room's devices. It is replaced as a whole, so that who
 * dies while writing leaves the old one; the header's generation tells other
 * handles that theirs is out of date.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/state.h"
#include "vmm/device.h"
#include "vmmapi/door.h"

#define STATE_SIZE_MAX (16 * MiB) /* far above what VM_MAXCPU vCPUs need */

static const char state_magic[8] = {'A', 'V', 'H', 'S', 'T', 'A', 'T', 'E'};
#define STATE_VERSION 1

struct file_header {
	char magic[8];
	uint32_t version;
	uint32_t reserved;
	uint64_t generation;
};

static int vm_record_check(void *object)
{
	const struct vm_record *record = object;
	uint64_t sizes = record->low_size | record->high_size;

	if (record->tsc_hz == 0 || record->low_size > MEM_LOW_LIMIT ||
	    record->high_size > BIT(51) || sizes % 4096 != 0 ||
	    record->vcpus >= BIT(VM_MAXCPU) ||
	    record->suspend_how >= VM_SUSPEND_LAST ||
	    record->destroy_on_close > 1 || record->is_running > 1 ||
	    record->sockets == 0 || record->cores == 0 ||
	    record->threads == 0 ||
	    (uint64_t)record->sockets * record->cores * record->threads >
		VM_MAXCPU)
		return -EINVAL;
	return 0;
}

static const struct state_field vm_record_fields[] = {
    STATE_SCALAR(struct vm_record, clock_ns),
    STATE_SCALAR(struct vm_record, tsc_hz),
    STATE_SCALAR(struct vm_record, low_size),
    STATE_SCALAR(struct vm_record, high_size),
    STATE_SCALAR(struct vm_record, memory_id),
    STATE_SCALAR(struct vm_record, runner),
    STATE_SCALAR(struct vm_record, vcpus),
    STATE_SCALAR(struct vm_record, suspend_how),
    STATE_ARRAY(struct vm_record, cpu_features),
    STATE_SCALAR(struct vm_record, kvmclock_gain),
    STATE_SCALAR(struct vm_record, sockets),
    STATE_SCALAR(struct vm_record, cores),
    STATE_SCALAR(struct vm_record, threads),
    STATE_SCALAR(struct vm_record, destroy_on_close),
    STATE_SCALAR(struct vm_record, is_running),
};

static const struct state_class vm_record_class = {
    .name = "vm",
    .version = 1,
    .fields = vm_record_fields,
    .field_count = ARRAY_SIZE(vm_record_fields),
    .post_load = vm_record_check,
};

/* -- writing ------------------------------------------------------------------
 */

static void record_vm(struct vmctx *ctx)
{
	struct vm_record *record = &ctx->record;
	struct vm *vm = ctx->vm;

	record->clock_ns = vm_clock_ns(&vm->clock);
	record->tsc_hz = vm->clock.tsc_hz;
	record->suspend_how = (uint32_t)atomic_load(&vm->suspend_how);
	memcpy(record->cpu_features, vm->cpu_features,
	       sizeof(record->cpu_features));
	record->kvmclock_gain = vm->kvmclock_gain;
	record->sockets = vm->sockets;
	record->cores = vm->cores;
	record->threads = vm->threads;
	record->vcpus = 0;
	for (unsigned i = 0; i < VM_MAXCPU; i++)
		if (vm->vcpu[i] != NULL)
			record->vcpus |= 1u << i;
}

static int save_all(struct vmctx *ctx, struct state_writer *writer)
{
	struct vm *vm = ctx->vm;
	int error;

	record_vm(ctx);
	error = state_save(&vm_record_class, 0, &ctx->record, writer);
	for (unsigned i = 0; i < VM_MAXCPU && error == 0; i++) {
		if (vm->vcpu[i] == NULL)
			continue;
		error = state_save(&vcpu_state_class, i, vm->vcpu[i], writer);
		if (error == 0)
			error = state_save(&lapic_state_class, i,
					   vm->vcpu[i]->lapic, writer);
	}
	if (error == 0)
		error = room_devices_save(vm, writer);
	return error;
}

static int write_all(int fd, const void *data, size_t size)
{
	const char *from = data;

	while (size > 0) {
		ssize_t done = write(fd, from, size);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return done < 0 ? -errno : -EIO;
		from += done;
		size -= (size_t)done;
	}
	return 0;
}

static int write_file(struct vmctx *ctx, const struct file_header *header,
		      const struct state_writer *writer)
{
	int fd =
	    openat(ctx->dir_fd, "state.new",
		   O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	int error;

	if (fd < 0)
		return -errno;
	error = write_all(fd, header, sizeof(*header));
	if (error == 0)
		error = write_all(fd, writer->data, writer->size);
	if (close(fd) != 0 && error == 0)
		error = -errno;
	if (error == 0 &&
	    renameat(ctx->dir_fd, "state.new", ctx->dir_fd, "state") != 0)
		error = -errno;
	if (error != 0)
		unlinkat(ctx->dir_fd, "state.new", 0);
	return error;
}

int statefile_write(struct vmctx *ctx, struct err *err)
{
	struct file_header header = {
	    .version = STATE_VERSION,
	    .generation = ctx->generation + 1,
	};
	struct state_writer writer = {0};
	int error;

	memcpy(header.magic, state_magic, sizeof(header.magic));
	error = save_all(ctx, &writer);
	if (error == 0)
		error = write_file(ctx, &header, &writer);
	state_writer_free(&writer);
	if (error != 0)
		return err_sys(err, -error, "%s: state file in %s", ctx->name,
			       ctx->rundir);
	ctx->generation = header.generation;
	return 0;
}

/* -- reading ------------------------------------------------------------------
 */

static int load_vcpu(struct vmctx *ctx, unsigned id,
		     struct state_reader *reader, struct err *err)
{
	struct vmcpu *vcpu;
	int error = vm_get_vcpu(ctx->vm, id, &vcpu);

	if (error != 0)
		return err_sys(err, -error, "%s: vCPU %u", ctx->name, id);
	error = state_load(&vcpu_state_class, id, vcpu, reader, err);
	if (error != 0)
		return error;
	error = state_load(&lapic_state_class, id, vcpu->lapic, reader, err);
	if (error == 0)
		lapic_resume(vcpu->lapic);
	return error;
}

static int load_all(struct vmctx *ctx, struct state_reader *reader,
		    struct err *err)
{
	struct vm *vm = ctx->vm;
	struct vm_record record;
	int error = state_load(&vm_record_class, 0, &record, reader, err);

	if (error != 0)
		return error;
	vm_reset(vm);
	vm->clock.tsc_hz = record.tsc_hz;
	vm_clock_set(&vm->clock, record.clock_ns);
	memcpy(vm->cpu_features, record.cpu_features, sizeof(vm->cpu_features));
	vm->kvmclock_gain = record.kvmclock_gain;
	vm->sockets = record.sockets;
	vm->cores = record.cores;
	vm->threads = record.threads;
	for (unsigned i = 0; i < VM_MAXCPU && error == 0; i++)
		if ((record.vcpus & 1u << i) != 0)
			error = load_vcpu(ctx, i, reader, err);
	if (error == 0)
		error = room_devices_load(vm, reader, err);
	if (error != 0)
		return error;
	atomic_store(&vm->suspend_how, (int)record.suspend_how);
	ctx->record = record;
	return 0;
}

static int read_exactly(int fd, void *to, size_t size)
{
	char *at = to;

	while (size > 0) {
		ssize_t done = read(fd, at, size);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return done < 0 ? -errno : -EINVAL;
		at += done;
		size -= (size_t)done;
	}
	return 0;
}

static int load_records(struct vmctx *ctx, int fd, size_t size, struct err *err)
{
	struct state_reader reader = {.size = size};
	uint8_t *data = malloc(size);
	int error;

	if (data == NULL)
		return -ENOMEM;
	reader.data = data;
	error = read_exactly(fd, data, size);
	if (error == 0)
		error = load_all(ctx, &reader, err);
	free(data);
	return error;
}

static int read_open_file(struct vmctx *ctx, int fd, struct err *err)
{
	struct file_header header;
	struct stat st;
	int error;

	if (fstat(fd, &st) != 0)
		return -errno;
	if (st.st_size < (off_t)sizeof(header) ||
	    st.st_size > (off_t)STATE_SIZE_MAX ||
	    read_exactly(fd, &header, sizeof(header)) != 0 ||
	    memcmp(header.magic, state_magic, sizeof(state_magic)) != 0)
		return err_set(err, EINVAL, "not a state file");
	if (header.version != STATE_VERSION)
		return err_set(err, EINVAL,
			       "version %u; this program reads version %u",
			       header.version, STATE_VERSION);
	if (header.generation == ctx->generation)
		return 0;
	ctx->generation = 0; /* neither the old nor the new, should it fail */
	error = load_records(ctx, fd, (size_t)st.st_size - sizeof(header), err);
	if (error == 0)
		ctx->generation = header.generation;
	return error;
}

int statefile_read(struct vmctx *ctx, struct err *err)
{
	int fd =
	    openat(ctx->dir_fd, "state", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct err why = {""};
	int error;

	if (fd < 0)
		return err_sys(err, errno, "%s: state file in %s", ctx->name,
			       ctx->rundir);
	error = read_open_file(ctx, fd, &why);
	close(fd);
	if (error == 0)
		return 0;
	if (why.text[0] == '\0')
		err_sys(&why, -error, "read");
	return err_set(err, -error,
		       "%s: state file: %.400s; destroy the VM "
		       "(bhyvectl --destroy)",
		       ctx->name, why.text);
}
