/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The ACPI power management timer: a free-running counter of 3.579545 MHz,
 * 32 bits wide as the FADT says. Its overflow interrupts nobody.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/bits.h"
#include "vmm/device.h"
#include "vmm/vm.h"

#define PMTIMER_HZ 3579545

struct pmtimer {
	uint64_t start_ns; /* when it showed 0 */
};

uint32_t pmtimer_read(struct vm *vm, uint16_t port, unsigned bytes)
{
	uint64_t ns = vm_clock_ns(&vm->clock) - vm->pmtimer->start_ns;
	uint32_t ticks = (uint32_t)ns_to_ticks(ns, PMTIMER_HZ);

	return ticks >> (port & 3) * 8;
}

void pmtimer_write(struct vm *vm, uint16_t port, unsigned bytes, uint32_t value)
{
}

static void pmtimer_reset(struct vm *vm)
{
	vm->pmtimer->start_ns = vm_clock_ns(&vm->clock);
}

static int pmtimer_create(struct vm *vm)
{
	struct pmtimer *pmtimer = calloc(1, sizeof(*pmtimer));

	if (pmtimer == NULL)
		return -ENOMEM;
	vm->pmtimer = pmtimer;
	pmtimer_reset(vm);
	return 0;
}

static void pmtimer_destroy(struct vm *vm)
{
	free(vm->pmtimer);
	vm->pmtimer = NULL;
}

static void *pmtimer_object(struct vm *vm)
{
	return vm->pmtimer;
}

static const struct state_field pmtimer_fields[] = {
    STATE_SCALAR(struct pmtimer, start_ns),
};

static const struct state_class pmtimer_state_class = {
    .name = "pmtimer",
    .version = 1,
    .fields = pmtimer_fields,
    .field_count = ARRAY_SIZE(pmtimer_fields),
};

const struct room_device pmtimer_device = {
    .name = "pmtimer",
    .state = &pmtimer_state_class,
    .create = pmtimer_create,
    .destroy = pmtimer_destroy,
    .reset = pmtimer_reset,
    .object = pmtimer_object,
};
