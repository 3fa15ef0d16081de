// SPDX-License-Identifier: BSD-2-Clause
/* PCI's framework with a device made for it: BARs, MSI, MSI-X, state. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "board_fixture.h"
#include "dev/board_priv.h"
#include "dev/pci.h"

/*
 * "probe": I/O BAR 0 of 32 bytes, memory BAR 1 of 4 KiB, 64-bit BAR 2 of
 * 256 MiB or of `size`, MSI-X with 5 vectors in BAR 4, MSI with 4 messages,
 * INTx. Registers read as BAR number and offset.
 */
struct probe {
	unsigned int bar;
	uint64_t offset;
	unsigned int bytes;
	uint64_t value;
	unsigned int writes;
	unsigned int config_writes;
	pthread_mutex_t lock;
};

static int probe_create(struct pci_device *dev, struct config_node *node,
			struct err *err)
{
	static const struct pci_ids ids = {
	    .vendor = 0x1234, .device = 0x5678, .class_code = 0xff};
	struct probe *probe = calloc(1, sizeof(*probe));
	const char *big = config_get_in(node, "size");
	int error = pci_set_ids(dev, node, &ids, err);

	if (error == 0)
		error = pci_add_bar(dev, 0, PCI_BAR_IO, 20, err);
	if (error == 0)
		error = pci_add_bar(dev, 1, PCI_BAR_MEM32, 4 * KiB, err);
	if (error == 0)
		error = pci_add_bar(
		    dev, 2, PCI_BAR_MEM64,
		    big == NULL ? 256 * MiB : strtoull(big, NULL, 0), err);
	if (error == 0)
		error = pci_add_msix(dev, 5, 4, err);
	if (error == 0)
		error = pci_add_msi(dev, 4, err);
	if (error == 0)
		error = pci_add_intx(dev);
	assert_true(pci_add_bar(dev, 3, PCI_BAR_IO, 4, NULL) < 0);
	assert_true(pci_add_bar(dev, 6, PCI_BAR_IO, 4, NULL) < 0);
	assert_true(pci_add_bar(dev, 5, PCI_BAR_MEM64, 16, NULL) < 0);
	if (error < 0) {
		free(probe);
		return error;
	}
	pthread_mutex_init(&probe->lock, NULL);
	pci_set_private(dev, probe);
	return 0;
}

static void probe_destroy(struct pci_device *dev)
{
	free(pci_private(dev));
}

static uint64_t probe_read(struct pci_device *dev, unsigned int bar,
			   uint64_t offset, unsigned int bytes)
{
	struct probe *probe = pci_private(dev);

	pthread_mutex_lock(&probe->lock);
	probe->bar = bar;
	probe->offset = offset;
	probe->bytes = bytes;
	pthread_mutex_unlock(&probe->lock);
	return ~0ull << 32 | bar << 24 | (uint32_t)offset;
}

static void probe_write(struct pci_device *dev, unsigned int bar,
			uint64_t offset, unsigned int bytes, uint64_t value)
{
	struct probe *probe = pci_private(dev);

	pthread_mutex_lock(&probe->lock);
	probe->bar = bar;
	probe->offset = offset;
	probe->bytes = bytes;
	probe->value = value;
	probe->writes++;
	pthread_mutex_unlock(&probe->lock);
}

static void probe_config(struct pci_device *dev, unsigned int offset,
			 unsigned int bytes)
{
	struct probe *probe = pci_private(dev);

	(void)offset;
	(void)bytes;
	pthread_mutex_lock(&probe->lock);
	probe->config_writes++;
	pthread_mutex_unlock(&probe->lock);
}

static const struct pci_device_ops probe_ops = {
    .create = probe_create,
    .destroy = probe_destroy,
    .bar_read = probe_read,
    .bar_write = probe_write,
    .config_written = probe_config,
};

/* In place of pci_devices.c. */
const struct pci_device_ops *pci_find_ops(const char *name)
{
	return strcmp(name, "probe") == 0 ? &probe_ops : NULL;
}

static const char *const two[] = {
    "pci.0.2.0.device=probe",
    "pci.0.3.0.device=probe",
    NULL,
};

static int setup(void **state)
{
	struct machine *m = malloc(sizeof(*m));
	struct err err = {""};

	*state = m;
	if (machine_start(m, two, &err) != 0)
		fail_msg("%s", err.text);
	return 0;
}

static int teardown(void **state)
{
	struct machine *m = *state;

	assert_int_equal(m->vm.wrong, 0);
	machine_end(m);
	free(m);
	return 0;
}

static struct pci_device *device(struct machine *m, unsigned int slot)
{
	return pci_find(m->board->pci, 0, slot, 0);
}

static uint64_t bar(struct machine *m, unsigned int slot, unsigned int number)
{
	uint64_t low = cfg_in(m, slot, 0x10 + 4 * number, 4);

	if (low & 1)
		return low & ~3ull;
	if (low & 4)
		low |= (uint64_t)cfg_in(m, slot, 0x14 + 4 * number, 4) << 32;
	return low & ~15ull;
}

static void test_assigned(void **state)
{
	struct machine *m = *state;

	/* Rounded up, aligned, apart, large 64-bit ones above 4 GiB. */
	assert_int_equal(bar(m, 2, 0), 0x2000);
	assert_int_equal(bar(m, 3, 0), 0x2020);
	assert_true(bar(m, 2, 2) >= 4 * GiB);
	assert_int_equal(bar(m, 2, 2) % (256 * MiB), 0);
	assert_true(bar(m, 3, 2) - bar(m, 2, 2) == 256 * MiB);
	assert_true(bar(m, 2, 1) >= 0xc0000000 && bar(m, 3, 1) < 0xe0000000);
	assert_int_equal(cfg_in(m, 2, 4, 2) & 7, 7);
	assert_int_equal(in(m, 0x2024, 4), 0x00000004);
	assert_int_equal(in(m, 0x203f, 1), 0x1f);
	assert_int_equal(load(m, bar(m, 3, 1) + 0x123, 4), 0x01000123);
	assert_true(load(m, bar(m, 2, 2) + 0x8, 8) == 0x0200000c02000008);
	/* Over the end of one BAR, into the next one's. */
	assert_int_equal(in(m, 0x201e, 4), 0x01001f1e);
}

static void test_sizing(void **state)
{
	struct machine *m = *state;
	uint32_t command = cfg_in(m, 2, 4, 2);
	uint64_t where = bar(m, 2, 2);

	cfg_out(m, 2, 4, 2, 0);
	cfg_out(m, 2, 0x10, 4, 0xffffffff);
	assert_int_equal(cfg_in(m, 2, 0x10, 4), 0xffffffe1);
	cfg_out(m, 2, 0x14, 4, 0xffffffff);
	assert_int_equal(cfg_in(m, 2, 0x14, 4), 0xfffff000);
	cfg_out(m, 2, 0x18, 4, 0xffffffff);
	assert_int_equal(cfg_in(m, 2, 0x18, 4), 0xf0000004);
	cfg_out(m, 2, 0x1c, 4, 0xffffffff);
	assert_int_equal(cfg_in(m, 2, 0x1c, 4), 0xffffffff);
	cfg_out(m, 2, 0x24, 4, 0xffffffff); /* BAR 5: none */
	assert_int_equal(cfg_in(m, 2, 0x24, 4), 0);
	cfg_out(m, 2, 0x30, 4, 0xffffffff); /* no ROM */
	assert_int_equal(cfg_in(m, 2, 0x30, 4), 0);
	cfg_out(m, 2, 0, 4, 0xffffffff); /* read-only */
	assert_int_equal(cfg_in(m, 2, 0, 4), 0x56781234);
	cfg_out(m, 2, 0x18, 4, (uint32_t)where);
	cfg_out(m, 2, 0x1c, 4, (uint32_t)(where >> 32));
	cfg_out(m, 2, 4, 2, command);
	assert_true(load(m, where + 4, 4) == 0x02000004);
}

static void test_moving(void **state)
{
	struct machine *m = *state;
	uint64_t at = bar(m, 2, 1);

	/* Byte by byte, while it is decoded. */
	cfg_out(m, 2, 0x11, 1, 0x90);
	assert_int_equal(in(m, 0x9004, 4), 4);
	assert_int_equal(in(m, 0x2004, 4), 0xffffffff);
	cfg_out(m, 2, 4, 2, 0x2); /* ports off, memory on */
	assert_int_equal(in(m, 0x9004, 4), 0xffffffff);
	assert_int_equal(load(m, at, 4), 0x01000000);
	cfg_out(m, 2, 4, 2, 0x1);
	assert_int_equal(in(m, 0x9004, 4), 4);
	assert_true(load(m, at, 4) == 0xffffffff);
	cfg_out(m, 2, 4, 2, 0x3);
	/* Out of the 64 Ki ports: nowhere. */
	cfg_out(m, 2, 0x10, 4, 0x12340000);
	assert_int_equal(in(m, 0x0000, 4), 0xffffffff);
	/* Address 0 is nowhere too. */
	cfg_out(m, 2, 0x14, 4, 0);
	assert_true(load(m, 0, 4) == 0xffffffff);
	cfg_out(m, 2, 0x14, 4, 0xd0000000);
	assert_int_equal(load(m, 0xd0000010, 4), 0x01000010);
}

/* Onto another device, onto PCI's own ports and window: not decoded; when the
   other goes away, decoded. */
static void test_conflict(void **state)
{
	struct machine *m = *state;
	struct probe *second = pci_private(device(m, 3));

	cfg_out(m, 2, 0x10, 4, 0x2020);
	assert_int_equal(in(m, 0x2020, 1), 0);
	assert_int_equal(second->bar, 0);
	out(m, 0x2020, 1, 0x55);
	assert_int_equal(second->writes, 1);
	cfg_out(m, 3, 0x10, 4, 0x3000);
	out(m, 0x2020, 1, 0x66);
	assert_int_equal(second->writes, 1);
	assert_int_equal(((struct probe *)pci_private(device(m, 2)))->value,
			 0x66);
	cfg_out(m, 2, 0x10, 4, 0x0ce0);
	assert_int_equal(cfg_in(m, 2, 0, 4), 0x56781234);
	cfg_out(m, 2, 0x14, 4, 0xe0000000);
	assert_int_equal(load(m, 0xe0000000 + (2 << 15), 4), 0x56781234);
}

static unsigned int capability(struct machine *m, unsigned int id)
{
	unsigned int at = cfg_in(m, 2, 0x34, 1);

	assert_true(cfg_in(m, 2, 6, 2) & 0x10);
	while (at != 0 && cfg_in(m, 2, at, 1) != id)
		at = cfg_in(m, 2, at + 1, 1);
	assert_int_not_equal(at, 0);
	return at;
}

static void test_msi(void **state)
{
	struct machine *m = *state;
	struct pci_device *dev = device(m, 2);
	unsigned int cap = capability(m, PCI_CAP_MSI);

	assert_int_equal(cfg_in(m, 2, cap + 2, 2), 0x0184);
	pci_intx_set(dev, true);
	assert_int_equal(m->vm.pins[16], 1);
	pci_msi_send(dev, 0);
	assert_int_equal(m->vm.msis, 0);
	cfg_out(m, 2, cap + 4, 4, 0xfee01003);
	cfg_out(m, 2, cap + 8, 4, 0);
	cfg_out(m, 2, cap + 12, 2, 0x4143);
	cfg_out(m, 2, cap + 2, 2, 0x00ff);
	assert_int_equal(cfg_in(m, 2, cap + 2, 2), 0x01f5);
	assert_true(pci_msi_enabled(dev));
	assert_int_equal(m->vm.pins[16], 0); /* MSI instead of INTx */
	/* 128 messages asked for, 4 there are. */
	pci_msi_send(dev, 3);
	assert_int_equal(m->vm.msis, 1);
	assert_int_equal(m->vm.msi_address, 0xfee01000);
	assert_int_equal(m->vm.msi_data, 0x4143);
	pci_msi_send(dev, 2);
	assert_int_equal(m->vm.msi_data, 0x4142);
	pci_msi_send(dev, 4);
	pci_msi_send(dev, 1000);
	assert_int_equal(m->vm.msis, 2);
	cfg_out(m, 2, cap + 2, 2, 0x0001); /* one message */
	pci_msi_send(dev, 1);
	assert_int_equal(m->vm.msis, 2);
	pci_msi_send(dev, 0);
	assert_int_equal(m->vm.msi_data, 0x4143);
	cfg_out(m, 2, cap + 2, 2, 0);
	assert_int_equal(m->vm.pins[16], 1);
	pci_intx_set(dev, false);
	assert_int_equal(m->vm.pins[16], 0);
}

/* Per-vector masks, of the messages that the guest has enabled. */
static void test_msi_masks(void **state)
{
	struct machine *m = *state;
	struct pci_device *dev = device(m, 2);
	unsigned int cap = capability(m, PCI_CAP_MSI);
	struct state_writer saved = {0};
	struct machine other;
	struct err err = {""};

	cfg_out(m, 2, cap + 16, 4, 0xffffffff);
	assert_int_equal(cfg_in(m, 2, cap + 16, 4), 0xf);
	cfg_out(m, 2, cap + 4, 4, 0xfee00000);
	cfg_out(m, 2, cap + 12, 2, 0x60);
	cfg_out(m, 2, cap + 2, 2, 0x21); /* four messages */
	pci_msi_send(dev, 1);
	pci_msi_send(dev, 3);
	pci_msi_send(dev, 3);
	assert_int_equal(m->vm.msis, 0);
	assert_int_equal(cfg_in(m, 2, cap + 20, 4), 0xa);
	assert_int_equal(cfg_in(m, 2, cap + 20, 1), 0xa);
	cfg_out(m, 2, cap + 20, 4, 0); /* read-only */
	assert_int_equal(cfg_in(m, 2, cap + 20, 4), 0xa);
	cfg_out(m, 2, cap + 16, 1, 0x8);
	assert_int_equal(m->vm.msis, 1);
	assert_int_equal(m->vm.msi_data, 0x61);
	assert_int_equal(cfg_in(m, 2, cap + 20, 4), 0x8);
	/* It waits in a saved state too. */
	save_board(m, &saved);
	assert_int_equal(machine_start(&other, two, &err), 0);
	if (load_board(&other, &saved, &err) != 0)
		fail_msg("%s", err.text);
	assert_int_equal(other.vm.msis, 0);
	assert_int_equal(cfg_in(&other, 2, cap + 20, 4), 0x8);
	cfg_out(&other, 2, cap + 16, 4, 0);
	assert_int_equal(other.vm.msi_data, 0x63);
	machine_end(&other);
	state_writer_free(&saved);
	/* MSI off: forgotten. */
	cfg_out(m, 2, cap + 2, 2, 0);
	cfg_out(m, 2, cap + 16, 4, 0);
	cfg_out(m, 2, cap + 2, 2, 0x21);
	assert_int_equal(m->vm.msis, 1);
}

static void set_msi(struct machine *m, unsigned int cap, uint16_t control)
{
	cfg_out(m, 2, cap + 4, 4, 0xfee00000);
	cfg_out(m, 2, cap + 12, 2, 0x60);
	cfg_out(m, 2, cap + 2, 2, control);
}

/* A message is a write: without bus mastering it waits, also in a saved
   state. INTx is a wire. */
static void test_msi_without_master(void **state)
{
	struct machine *m = *state;
	struct pci_device *dev = device(m, 2);
	unsigned int cap = capability(m, PCI_CAP_MSI);
	struct state_writer saved = {0};
	struct machine other;
	struct err err = {""};

	assert_true(pci_is_master(dev)); /* as bhyve leaves it */
	cfg_out(m, 2, 4, 2, 0x0003);
	assert_false(pci_is_master(dev));
	pci_intx_set(dev, true);
	assert_int_equal(m->vm.pins[16], 1);
	set_msi(m, cap, 0x21);
	pci_msi_send(dev, 1);
	pci_msi_send(dev, 1);
	assert_int_equal(m->vm.msis, 0);
	assert_int_equal(cfg_in(m, 2, cap + 20, 4), 0x2);
	save_board(m, &saved);
	assert_int_equal(machine_start(&other, two, &err), 0);
	if (load_board(&other, &saved, &err) != 0)
		fail_msg("%s", err.text);
	assert_int_equal(other.vm.msis, 0);
	cfg_out(&other, 2, 4, 1, 0x07);
	assert_int_equal(other.vm.msis, 1);
	assert_int_equal(other.vm.msi_data, 0x61);
	machine_end(&other);
	state_writer_free(&saved);
	/* What the guest forgets, it is not told. */
	cfg_out(m, 2, cap + 2, 2, 0);
	cfg_out(m, 2, cap + 2, 2, 0x21);
	cfg_out(m, 2, 4, 2, 0x0007);
	assert_int_equal(m->vm.msis, 0);
	pci_msi_send(dev, 2);
	assert_int_equal(m->vm.msis, 1);
	pci_intx_set(dev, false);
}

static void test_msix_without_master(void **state)
{
	struct machine *m = *state;
	struct pci_device *dev = device(m, 2);
	unsigned int cap = capability(m, PCI_CAP_MSIX);
	uint64_t table = bar(m, 2, 4);
	struct state_writer saved = {0};
	struct machine other;
	struct err err = {""};

	store(m, table + 16, 4, 0xfee00000);
	store(m, table + 24, 4, 0x55);
	store(m, table + 28, 4, 0);
	cfg_out(m, 2, cap + 2, 2, 0x8000);
	cfg_out(m, 2, 4, 2, 0x0003);
	pci_msix_send(dev, 1);
	pci_msix_send(dev, 3); /* masked, too */
	assert_int_equal(m->vm.msis, 0);
	save_board(m, &saved);
	cfg_out(m, 2, 4, 2, 0x0007);
	assert_int_equal(m->vm.msis, 1);
	assert_int_equal(m->vm.msi_data, 0x55);
	cfg_out(m, 2, 4, 2, 0x0007);
	assert_int_equal(m->vm.msis, 1);
	assert_int_equal(machine_start(&other, two, &err), 0);
	if (load_board(&other, &saved, &err) != 0)
		fail_msg("%s", err.text);
	assert_int_equal(other.vm.msis, 0);
	cfg_out(&other, 2, 4, 2, 0x0006);
	assert_int_equal(other.vm.msis, 1);
	machine_end(&other);
	state_writer_free(&saved);
}

static void test_msix(void **state)
{
	struct machine *m = *state;
	struct pci_device *dev = device(m, 2);
	unsigned int cap = capability(m, PCI_CAP_MSIX);
	uint64_t table = bar(m, 2, 4);
	uint64_t pba = table + 0x1000;

	assert_int_equal(cfg_in(m, 2, cap + 2, 2), 4);
	assert_int_equal(cfg_in(m, 2, cap + 4, 4), 4);
	assert_int_equal(cfg_in(m, 2, cap + 8, 4), 0x1004);
	for (unsigned int i = 0; i < 5; i++)
		assert_int_equal(load(m, table + 16 * i + 12, 4), 1);
	store(m, table + 16, 8, 0x00000000fee02003);
	store(m, table + 24, 4, 0x55);
	assert_true(load(m, table + 16, 8) == 0xfee02000);
	assert_true(load(m, table + 24, 8) == 0x0000000100000055);
	assert_int_equal(load(m, table + 18, 4), 0x0000fee0);
	pci_msix_send(dev, 1); /* not enabled: lost */
	cfg_out(m, 2, cap + 2, 2, 0x8000);
	assert_true(pci_msix_enabled(dev));
	assert_int_equal(m->vm.msis, 0);
	pci_msix_send(dev, 1); /* masked: waits */
	pci_msix_send(dev, 1);
	assert_int_equal(m->vm.msis, 0);
	assert_int_equal(load(m, pba, 4), 2);
	store(m, table + 28, 4, 0);
	assert_int_equal(m->vm.msis, 1);
	assert_int_equal(m->vm.msi_address, 0xfee02000);
	assert_int_equal(m->vm.msi_data, 0x55);
	assert_int_equal(load(m, pba, 4), 0);
	/* As a whole. */
	cfg_out(m, 2, cap + 2, 2, 0xc000);
	pci_msix_send(dev, 1);
	assert_int_equal(m->vm.msis, 1);
	cfg_out(m, 2, cap + 2, 2, 0x8000);
	assert_int_equal(m->vm.msis, 2);
	pci_msix_send(dev, 5);
	pci_msix_send(dev, 4000);
	assert_int_equal(m->vm.msis, 2);
	/* Narrow and crooked writes are ignored, the rest reads as zero. */
	store(m, table + 28, 1, 1);
	store(m, table + 29, 4, 1);
	store(m, table + 80, 4, 0xffffffff);
	store(m, pba, 4, 0xffffffff);
	assert_int_equal(load(m, table + 28, 4), 0);
	assert_int_equal(load(m, table + 80, 4), 0);
	assert_int_equal(load(m, pba, 8), 0);
}

static void test_windows(void **state)
{
	static const char *const variables[] = {"pci.0.0.0.device=probe",
						"pci.0.0.0.size=0x10000",
						"pci.2.0.0.device=probe",
						"pci.2.0.0.size=0x10000",
						"pci.2.5.0.device=probe",
						"pci.2.5.0.size=0x10000",
						NULL};
	static const char *const full[] = {"pci.0.0.0.device=probe",
					   "pci.0.0.0.size=0x400000000",
					   "pci.0.1.0.device=probe",
					   "pci.0.1.0.size=0x400000000",
					   "pci.0.2.0.device=probe",
					   "pci.0.2.0.size=0x400000000",
					   NULL};
	struct machine m;
	struct fw_board fw = {0};
	struct err err;

	(void)state;
	assert_int_equal(machine_start(&m, variables, &err), 0);
	board_describe(m.board, &fw);
	assert_int_equal(fw.bus_count, 2);
	assert_int_equal(fw.bus[1].number, 2);
	assert_true(fw.bus[0].mem32.base + fw.bus[0].mem32.size ==
		    fw.bus[1].mem32.base);
	assert_true(fw.bus[0].io[2].base + fw.bus[0].io[2].size ==
		    fw.bus[1].io[0].base);
	assert_int_equal(fw.bus[1].io[0].base + fw.bus[1].io[0].size, 0x10000);
	assert_int_equal(fw.bus[1].intx_count, 2);
	assert_int_equal(fw.bus[1].intx[1].slot, 5);
	assert_int_equal(load(&m, 0xe0000000 + (2 << 20) + (5 << 15), 4),
			 0x56781234);
	machine_end(&m);
	assert_int_equal(machine_start(&m, full, &err), -ENOSPC);
	assert_non_null(strstr(err.text, "memory above 4 GiB"));
	machine_end(&m);
}

static void test_disabled_bars(void **state)
{
	static const char *const variables[] = {"pci.0.2.0.device=probe",
						"pci.enable_bars=false", NULL};
	struct machine m;

	(void)state;
	assert_int_equal(machine_start(&m, variables, NULL), 0);
	assert_int_equal(cfg_in(&m, 2, 4, 2) & 3, 0);
	assert_int_equal(in(&m, 0x2000, 4), 0xffffffff);
	machine_end(&m);
}

static void test_state(void **state)
{
	struct machine *m = *state;
	struct machine other;
	struct state_writer first = {0}, second = {0};
	struct err err = {""};
	static const char *const one[] = {"pci.0.2.0.device=probe",
					  "pci.0.3.0.device=probe",
					  "pci.0.3.0.pcireg.vendor=1", NULL};

	cfg_out(m, 2, capability(m, PCI_CAP_MSIX) + 2, 2, 0x8000);
	store(m, bar(m, 2, 4), 4, 0xfee03000);
	store(m, bar(m, 2, 4) + 8, 4, 0x66);
	pci_msix_send(device(m, 2), 0);
	pci_intx_set(device(m, 3), true);
	cfg_out(m, 3, 0x10, 4, 0x2000); /* where slot 2 is */
	cfg_out(m, 2, 0x10, 4, 0x5000);
	save_board(m, &first);
	assert_int_equal(machine_start(&other, two, &err), 0);
	if (load_board(&other, &first, &err) != 0)
		fail_msg("%s", err.text);
	save_board(&other, &second);
	assert_int_equal(first.size, second.size);
	assert_memory_equal(first.data, second.data, first.size);
	assert_memory_equal(m->vm.pins, other.vm.pins, sizeof(m->vm.pins));
	assert_int_equal(in(&other, 0x2004, 4), 4);
	assert_int_equal(in(&other, 0x5004, 4), 4);
	store(&other, bar(&other, 2, 4) + 12, 4, 0);
	assert_int_equal(other.vm.msi_data, 0x66);
	machine_end(&other);
	/* Not the same device. */
	assert_int_equal(machine_start(&other, one, &err), 0);
	assert_int_equal(load_board(&other, &first, &err), -EINVAL);
	assert_non_null(strstr(err.text, "probe 0:3:0 is of another device"));
	machine_end(&other);
	state_writer_free(&first);
	state_writer_free(&second);
}

/* One vCPU moves BARs while another uses them and a device interrupts. */
struct race {
	struct machine *m;
	atomic_bool over;
};

static void *use(void *arg)
{
	struct race *race = arg;
	uint32_t seed = 3;

	while (!atomic_load(&race->over)) {
		seed = seed * 1664525 + 1013904223;
		in(race->m, (uint16_t)(0x2000 + (seed >> 20 & 0xff)), 4);
		load(race->m, 0xc0000000 + (seed >> 8 & 0xffff), 8);
		pci_msix_send(device(race->m, 2), seed >> 24 & 7);
		pci_intx_set(device(race->m, 3), seed >> 30 & 1);
	}
	return NULL;
}

static void test_race(void **state)
{
	struct race race = {.m = *state};
	pthread_t thread;
	uint32_t seed = 9;

	pthread_create(&thread, NULL, use, &race);
	for (int i = 0; i < 100000; i++) {
		uint64_t at = 0xe0000000 + (2u << 15);

		seed = seed * 1664525 + 1013904223;
		at += (seed >> 9 & 1) << 15;
		store(race.m, at + (seed >> 10 & 0xff), 1u << (seed >> 30),
		      (uint64_t)(seed & 0xffff) * 0x10001);
		store(race.m, 0xc0000000 + (seed >> 8 & 0xffff), 4, seed);
	}
	atomic_store(&race.over, true);
	pthread_join(thread, NULL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(test_assigned),
	    TEST(test_sizing),
	    TEST(test_moving),
	    TEST(test_conflict),
	    TEST(test_msi),
	    TEST(test_msi_masks),
	    TEST(test_msi_without_master),
	    TEST(test_msix_without_master),
	    TEST(test_msix),
	    cmocka_unit_test(test_windows),
	    cmocka_unit_test(test_disabled_bars),
	    TEST(test_state),
	    TEST(test_race),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
