// SPDX-License-Identifier: BSD-2-Clause
#include "virtio_fixture.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define CAP_MSIX      0x11
#define FIRST_PCI_PIN 16

void start_machine(struct fixture *f)
{
	static const char *const one_echo[] = {"pci.0.3.0.device=echo", NULL};
	struct err err = {""};

	if (machine_start(&f->m, one_echo, &err) != 0)
		fail_msg("%s", err.text);
	driver_make_ram(&f->m);
	f->echo = echo_of(&f->m, ECHO_SLOT);
}

void start(struct fixture *f, uint64_t features, uint16_t size)
{
	start_machine(f);
	driver_start(&f->d, &f->m, ECHO_SLOT, features, size);
	assert_int_equal(f->d.features & ~VIRTIO_F_VERSION_1, features);
}

void finish(struct fixture *f)
{
	assert_int_equal(f->m.vm.wrong, 0);
	machine_end(&f->m);
	driver_free_ram(&f->m);
}

uint64_t request(struct driver *d, uint8_t value, uint32_t count, bool indirect)
{
	uint64_t at = driver_alloc(d, 2 * count);
	const struct buffer buffers[] = {{at, count, false},
					 {at + count, count, true}};

	for (uint32_t i = 0; i < count; i++)
		*(uint8_t *)driver_at(d, at + i) = (uint8_t)(value + i);
	driver_add(d, 0, buffers, 2, indirect);
	return at + count;
}

bool echoed(struct driver *d, uint64_t at, uint8_t value, uint32_t count)
{
	const uint8_t *bytes = driver_at(d, at);

	for (uint32_t i = 0; i < count; i++) {
		if (bytes[i] != (uint8_t)(value + i))
			return false;
	}
	return true;
}

unsigned int find_cap(struct machine *m, unsigned int id)
{
	unsigned int at = cfg_in(m, ECHO_SLOT, 0x34, 1);

	while (at != 0 && cfg_in(m, ECHO_SLOT, at, 1) != id)
		at = cfg_in(m, ECHO_SLOT, at + 1, 1);
	assert_int_not_equal(at, 0);
	return at;
}

uint64_t enable_msix(struct machine *m)
{
	unsigned int cap = find_cap(m, CAP_MSIX);
	uint32_t where = cfg_in(m, ECHO_SLOT, cap + 4, 4);
	uint64_t table =
	    (cfg_in(m, ECHO_SLOT, 0x10 + 4 * (where & 7), 4) & ~15u) +
	    (where & ~7u);
	unsigned int last = cfg_in(m, ECHO_SLOT, cap + 2, 2) & 0x7ff;

	for (unsigned int i = 0; i <= last; i++) {
		store(m, table + 16 * i, 4, 0xfee00000);
		store(m, table + 16 * i + 8, 4, 0x50 + i);
		store(m, table + 16 * i + 12, 4, 0);
	}
	cfg_out(m, ECHO_SLOT, cap + 2, 2, 0x8000);
	return table;
}

bool intx_is_up(const struct machine *m)
{
	for (size_t i = FIRST_PCI_PIN; i < ARRAY_SIZE(m->vm.pins); i++) {
		if (m->vm.pins[i])
			return true;
	}
	return false;
}
