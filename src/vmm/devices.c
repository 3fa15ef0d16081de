/* SPDX-License-Identifier: BSD-2-Clause */
/* The list of the room's devices, and what is done to all of them. */
#include "vmm/device.h"
#include "vmm/vm.h"

/* Interrupt controllers before those that raise interrupts. */
static const struct room_device *const devices[] = {
    &i8259_device, &ioapic_device,   &i8254_device,
    &hpet_device,  &mc146818_device, &pmtimer_device,
};

static void destroy_first(struct vm *vm, size_t count)
{
	while (count-- > 0)
		devices[count]->destroy(vm);
}

int room_devices_create(struct vm *vm)
{
	for (size_t i = 0; i < ARRAY_SIZE(devices); i++) {
		int error = devices[i]->create(vm);

		if (error != 0) {
			destroy_first(vm, i);
			return error;
		}
	}
	return 0;
}

void room_devices_destroy(struct vm *vm)
{
	destroy_first(vm, ARRAY_SIZE(devices));
}

void room_devices_reset(struct vm *vm)
{
	for (size_t i = 0; i < ARRAY_SIZE(devices); i++)
		devices[i]->reset(vm);
}

int room_devices_save(struct vm *vm, struct state_writer *writer)
{
	for (size_t i = 0; i < ARRAY_SIZE(devices); i++)
		state_save(devices[i]->state, 0, devices[i]->object(vm),
			   writer);
	return writer->error;
}

/* Half-loaded devices would run on nonsense: after a failure all are reset. */
int room_devices_load(struct vm *vm, struct state_reader *reader,
		      struct err *err)
{
	int error = 0;

	for (size_t i = 0; i < ARRAY_SIZE(devices) && error == 0; i++)
		error = state_load(devices[i]->state, 0, devices[i]->object(vm),
				   reader, err);
	if (error != 0) {
		room_devices_reset(vm);
		return error;
	}
	for (size_t i = 0; i < ARRAY_SIZE(devices); i++)
		if (devices[i]->resume != NULL)
			devices[i]->resume(vm);
	return 0;
}
