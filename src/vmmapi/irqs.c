// SPDX-License-Identifier: BSD-2-Clause
/* Interrupt lines and messages, and the room's devices, at the door. */
#include <errno.h>

#include "vmmapi/door.h"

/* -- local APICs --------------------------------------------------------------
 */

int vm_lapic_irq(struct vcpu *vcpu, int vector)
{
	struct verb_value value = {(uint64_t)vector};

	return door_call(vcpu->ctx, VERB_LAPIC_IRQ, vcpu->id, &value,
			 sizeof(value));
}

int vm_lapic_local_irq(struct vcpu *vcpu, int vector)
{
	struct verb_value value = {(uint64_t)vector};

	return door_call(vcpu->ctx, VERB_LAPIC_LOCAL, vcpu->id, &value,
			 sizeof(value));
}

int vm_lapic_msi(struct vmctx *ctx, uint64_t addr, uint64_t msg)
{
	struct verb_msi msi = {addr, msg};

	return door_call(ctx, VERB_MSI, 0, &msi, sizeof(msi));
}

/* There is no interrupt remapping that would ask who sent it. */
int vm_raise_msi(struct vmctx *ctx, uint64_t addr, uint64_t msg, int bus,
		 int slot, int func)
{
	return vm_lapic_msi(ctx, addr, msg);
}

/* The APIC id is the vCPU's number. */
int vm_apicid2vcpu(struct vmctx *ctx, int apicid)
{
	return apicid;
}

/* -- lines --------------------------------------------------------------------
 */

static int change_line(struct vmctx *ctx, int atpic, int ioapic,
		       enum verb_line_change change)
{
	struct verb_line line = {atpic, ioapic, change, 0};

	return door_call(ctx, VERB_LINE, 0, &line, sizeof(line));
}

int vm_ioapic_assert_irq(struct vmctx *ctx, int irq)
{
	return irq < 0 ? door_result(-EINVAL, NULL)
		       : change_line(ctx, -1, irq, LINE_RAISE);
}

int vm_ioapic_deassert_irq(struct vmctx *ctx, int irq)
{
	return irq < 0 ? door_result(-EINVAL, NULL)
		       : change_line(ctx, -1, irq, LINE_LOWER);
}

int vm_ioapic_pulse_irq(struct vmctx *ctx, int irq)
{
	return irq < 0 ? door_result(-EINVAL, NULL)
		       : change_line(ctx, -1, irq, LINE_PULSE);
}

int vm_ioapic_pincount(struct vmctx *ctx, int *pincount)
{
	struct verb_value value = {0};
	int error = door_call(ctx, VERB_PINCOUNT, 0, &value, sizeof(value));

	*pincount = (int)value.value;
	return error;
}

int vm_isa_assert_irq(struct vmctx *ctx, int atpic_irq, int ioapic_irq)
{
	return change_line(ctx, atpic_irq, ioapic_irq, LINE_RAISE);
}

int vm_isa_deassert_irq(struct vmctx *ctx, int atpic_irq, int ioapic_irq)
{
	return change_line(ctx, atpic_irq, ioapic_irq, LINE_LOWER);
}

int vm_isa_pulse_irq(struct vmctx *ctx, int atpic_irq, int ioapic_irq)
{
	return change_line(ctx, atpic_irq, ioapic_irq, LINE_PULSE);
}

int vm_isa_set_irq_trigger(struct vmctx *ctx, int atpic_irq,
			   enum vm_intr_trigger trigger)
{
	struct verb_trigger arg = {atpic_irq, trigger};

	return door_call(ctx, VERB_TRIGGER, 0, &arg, sizeof(arg));
}

/* -- devices ------------------------------------------------------------------
 */

int vm_get_hpet_capabilities(struct vmctx *ctx, uint32_t *capabilities)
{
	struct verb_value value = {0};
	int error = door_call(ctx, VERB_HPET_CAPS, 0, &value, sizeof(value));

	*capabilities = (uint32_t)value.value;
	return error;
}

int vm_rtc_write(struct vmctx *ctx, int offset, uint8_t value)
{
	struct verb_rtc rtc = {offset, value};

	return door_call(ctx, VERB_RTC_WRITE, 0, &rtc, sizeof(rtc));
}

int vm_rtc_read(struct vmctx *ctx, int offset, uint8_t *retval)
{
	struct verb_rtc rtc = {offset, 0};
	int error = door_call(ctx, VERB_RTC_READ, 0, &rtc, sizeof(rtc));

	*retval = (uint8_t)rtc.value;
	return error;
}

int vm_rtc_settime(struct vmctx *ctx, time_t secs)
{
	struct verb_value value = {(uint64_t)secs};

	return door_call(ctx, VERB_RTC_SETTIME, 0, &value, sizeof(value));
}

int vm_rtc_gettime(struct vmctx *ctx, time_t *secs)
{
	struct verb_value value = {0};
	int error = door_call(ctx, VERB_RTC_GETTIME, 0, &value, sizeof(value));

	*secs = (time_t)value.value;
	return error;
}

/* -- doorbells ----------------------------------------------------------------
 */

int vm_ioeventfd(struct vmctx *ctx, uint64_t addr, unsigned int bytes,
		 uint64_t match, int fd, int flags)
{
	const struct doorbell bell = {
	    .addr = addr,
	    .match = match,
	    .bytes = (uint8_t)bytes,
	    .is_port = (flags & VM_DOORBELL_PORT) != 0,
	    .has_match = (flags & VM_DOORBELL_MATCH) != 0,
	    .fd = fd,
	};
	const int known =
	    VM_DOORBELL_PORT | VM_DOORBELL_MATCH | VM_DOORBELL_REMOVE;
	int error = -EINVAL;

	if ((flags & ~known) == 0 && bytes <= 8) {
		pthread_mutex_lock(&ctx->vm->lock);
		error = (flags & VM_DOORBELL_REMOVE) != 0
			    ? doorbell_remove(ctx->vm, &bell)
			    : doorbell_add(ctx->vm, &bell);
		pthread_mutex_unlock(&ctx->vm->lock);
	}
	return door_result(error, NULL);
}
