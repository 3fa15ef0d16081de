// SPDX-License-Identifier: BSD-2-Clause
/* PCI: the buses' devices, from the configuration to the end. */
#include "dev/pci.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dev/inout.h"
#include "dev/mmio.h"
#include "dev/pci_priv.h"

/* -- what a device may call ------------------------------------------------ */

struct board *pci_board(struct pci_device *dev)
{
	return dev->pci->board;
}

struct irq_wires *pci_irqs(struct pci_device *dev)
{
	return dev->pci->irqs;
}

const char *pci_name(const struct pci_device *dev)
{
	return dev->name;
}

unsigned int pci_bus_number(const struct pci_device *dev)
{
	return dev->bus;
}

unsigned int pci_slot_number(const struct pci_device *dev)
{
	return dev->slot;
}

unsigned int pci_function_number(const struct pci_device *dev)
{
	return dev->func;
}

void *pci_private(const struct pci_device *dev)
{
	return dev->private_data;
}

void pci_set_private(struct pci_device *dev, void *private_data)
{
	dev->private_data = private_data;
}

/* One of pcireg's variables; they are hexadecimal or decimal numbers. */
static int override(struct config_node *node, const char *name, uint16_t *value,
		    struct err *err)
{
	const char *text = config_get_in(node, name);
	unsigned long number;
	char *end;

	if (text == NULL)
		return 0;
	errno = 0;
	number = strtoul(text, &end, 0);
	if (errno != 0 || *text == '\0' || *end != '\0' || number > UINT16_MAX)
		return err_set(err, EINVAL,
			       "pcireg.%s=%s: not a number of 16 bits", name,
			       text);
	*value = (uint16_t)number;
	return 0;
}

int pci_set_ids(struct pci_device *dev, struct config_node *node,
		const struct pci_ids *ids, struct err *err)
{
	uint16_t revision = ids->revision;
	const struct {
		const char *name;
		unsigned int offset;
		uint16_t value;
	} rows[] = {
	    {"vendor", PCI_CFG_VENDOR, ids->vendor},
	    {"device", PCI_CFG_DEVICE, ids->device},
	    {"subvendor", PCI_CFG_SUBVENDOR, ids->subvendor},
	    {"subdevice", PCI_CFG_SUBDEVICE, ids->subdevice},
	};
	struct config_node *pcireg =
	    node == NULL ? NULL : config_find(node, "pcireg");
	int error = 0;

	for (size_t i = 0; i < ARRAY_SIZE(rows) && error == 0; i++) {
		uint16_t value = rows[i].value;

		if (pcireg != NULL)
			error = override(pcireg, rows[i].name, &value, err);
		pci_cfg_set(dev, rows[i].offset, 2, value);
	}
	if (pcireg != NULL && error == 0)
		error = override(pcireg, "revid", &revision, err);
	pci_cfg_set(dev, PCI_CFG_REVISION, 1, revision);
	pci_cfg_set(dev, PCI_CFG_PROGIF, 1, ids->progif);
	pci_cfg_set(dev, PCI_CFG_SUBCLASS, 1, ids->subclass);
	pci_cfg_set(dev, PCI_CFG_CLASS, 1, ids->class_code);
	return error;
}

/* The pin that fewest functions of the slot use; its wire comes later. */
int pci_add_intx(struct pci_device *dev)
{
	unsigned int users[4] = {0};
	unsigned int best = 0;
	struct pci_device *other;

	for (other = dev->pci->devices; other != NULL; other = other->next) {
		if (other != dev && other->bus == dev->bus &&
		    other->slot == dev->slot && other->has_intx)
			users[other->cfg[PCI_CFG_INTPIN] - 1]++;
	}
	for (unsigned int i = 1; i < ARRAY_SIZE(users); i++) {
		if (users[i] < users[best])
			best = i;
	}
	dev->has_intx = true;
	pci_cfg_set(dev, PCI_CFG_INTPIN, 1, best + 1);
	return 0;
}

/* -- one device ------------------------------------------------------------ */

static void free_device(struct pci_device *dev)
{
	pci_bar_unmap_all(dev);
	if (dev->ops->destroy != NULL)
		dev->ops->destroy(dev);
	free(dev->msix.table);
	pthread_mutex_destroy(&dev->irq_lock);
	free(dev);
}

static struct pci_device *new_device(struct pci *pci, unsigned int bus,
				     unsigned int slot, unsigned int func,
				     const char *emulation)
{
	struct pci_device *dev = calloc(1, sizeof(*dev));

	if (dev == NULL)
		return NULL;
	dev->pci = pci;
	dev->bus = (uint8_t)bus;
	dev->slot = (uint8_t)slot;
	dev->func = (uint8_t)func;
	snprintf(dev->name, sizeof(dev->name), "%.30s %u:%u:%u", emulation, bus,
		 slot, func);
	pthread_mutex_init(&dev->irq_lock, NULL);
	pci_cfg_device_init(dev);
	pci_cfg_set(dev, PCI_CFG_COMMAND, 2, PCI_COMMAND_MASTER);
	return dev;
}

/* Devices come in the order of bus, slot and function, so last is last. */
static void append(struct pci *pci, struct pci_device *dev)
{
	struct pci_device **at = &pci->devices;

	while (*at != NULL)
		at = &(*at)->next;
	*at = dev;
	pci->buses[dev->bus].present = true;
}

static int create_device(struct pci *pci, unsigned int bus, unsigned int slot,
			 unsigned int func, struct config_node *node,
			 struct err *err)
{
	const char *emulation = config_get_in(node, "device");
	const struct pci_device_ops *ops;
	struct pci_device *dev;
	struct err why = {""};
	int error;

	if (emulation == NULL)
		return 0;
	ops = pci_find_ops(emulation);
	if (ops == NULL)
		return err_set(err, EINVAL,
			       "pci slot %u:%u:%u: unknown device \"%s\"", bus,
			       slot, func, emulation);
	dev = new_device(pci, bus, slot, func, emulation);
	if (dev == NULL)
		return err_sys(err, ENOMEM, "pci slot %u:%u:%u", bus, slot,
			       func);
	dev->ops = ops;
	error = ops->create(dev, node, &why);
	if (error < 0) {
		free(dev->msix.table);
		pthread_mutex_destroy(&dev->irq_lock);
		free(dev);
		return err_set(err, -error, "pci slot %u:%u:%u: %.400s", bus,
			       slot, func, why.text);
	}
	append(pci, dev);
	return 0;
}

/* -- all devices ----------------------------------------------------------- */

static struct config_node *child(struct config_node *node, unsigned int number)
{
	char name[8];

	snprintf(name, sizeof(name), "%u", number);
	return config_find(node, name);
}

static int create_slot(struct pci *pci, unsigned int bus, unsigned int slot,
		       struct config_node *node, struct err *err)
{
	struct config_node *function;
	int error = 0;

	for (unsigned int i = 0; i < PCI_FUNCTIONS && error == 0; i++) {
		function = child(node, i);
		if (function != NULL)
			error = create_device(pci, bus, slot, i, function, err);
	}
	return error;
}

static int create_bus(struct pci *pci, unsigned int bus,
		      struct config_node *node, struct err *err)
{
	struct config_node *slot;
	int error = 0;

	for (unsigned int i = 0; i < PCI_SLOTS && error == 0; i++) {
		slot = child(node, i);
		if (slot != NULL)
			error = create_slot(pci, bus, i, slot, err);
	}
	return error;
}

static int create_devices(struct pci *pci, struct err *err)
{
	struct config_node *root =
	    config_find(config_root(pci->board->config), "pci");
	struct config_node *bus;
	unsigned int buses = 0;
	int error = 0;

	if (root == NULL)
		return 0;
	for (unsigned int i = 0; i < PCI_BUSES && error == 0; i++) {
		bus = child(root, i);
		if (bus == NULL)
			continue;
		error = create_bus(pci, i, bus, err);
		buses += pci->buses[i].present;
	}
	if (error == 0 && buses > FW_MAX_BUSES)
		return err_set(err, EINVAL, "%u PCI buses: %d is the most",
			       buses, FW_MAX_BUSES);
	return error;
}

/* Functions other than 0 are only looked for when function 0 says so. */
static int mark_multifunction(struct pci *pci, struct err *err)
{
	struct pci_device *dev;
	struct pci_device *first;

	for (dev = pci->devices; dev != NULL; dev = dev->next) {
		if (dev->func == 0)
			continue;
		first = pci_find(pci, dev->bus, dev->slot, 0);
		if (first == NULL)
			return err_set(err, EINVAL,
				       "pci slot %u:%u:%u: no guest looks for "
				       "it without a function 0",
				       dev->bus, dev->slot, dev->func);
		first->cfg[PCI_CFG_HEADER] |= PCI_HEADER_MULTI;
		dev->cfg[PCI_CFG_HEADER] |= PCI_HEADER_MULTI;
	}
	return 0;
}

/* The wire of dev's pin, if an earlier function of the slot has it already. */
static const struct pci_device *same_pin(const struct pci *pci,
					 const struct pci_device *dev)
{
	const struct pci_device *other = pci->devices;

	for (; other != dev; other = other->next) {
		if (other->has_intx && other->bus == dev->bus &&
		    other->slot == dev->slot &&
		    other->cfg[PCI_CFG_INTPIN] == dev->cfg[PCI_CFG_INTPIN])
			return other;
	}
	return NULL;
}

static void route(struct pci *pci, struct pci_device *dev)
{
	const struct pci_device *other = same_pin(pci, dev);
	struct fw_intx *row = &pci->intx[pci->intx_count];
	uint8_t irq;

	if (other != NULL) {
		dev->wire = other->wire;
		dev->cfg[PCI_CFG_INTLINE] = other->cfg[PCI_CFG_INTLINE];
		return;
	}
	irq = irq_route_intx(pci->irqs, &dev->wire);
	pci_cfg_set(dev, PCI_CFG_INTLINE, 1, irq);
	*row = (struct fw_intx){
	    .slot = dev->slot,
	    .pin = (uint8_t)(dev->cfg[PCI_CFG_INTPIN] - 1),
	    .ioapic_pin = dev->wire.pin,
	    .pic_irq = irq,
	};
	pci->intx_bus[pci->intx_count++] = dev->bus;
}

static int route_all(struct pci *pci, struct err *err)
{
	struct pci_device *dev;
	size_t count = 1;

	for (dev = pci->devices; dev != NULL; dev = dev->next)
		count++;
	pci->intx = calloc(count, sizeof(*pci->intx));
	pci->intx_bus = calloc(count, sizeof(*pci->intx_bus));
	if (pci->intx == NULL || pci->intx_bus == NULL)
		return err_sys(err, ENOMEM, "PCI interrupts");
	for (dev = pci->devices; dev != NULL; dev = dev->next) {
		if (dev->has_intx)
			route(pci, dev);
	}
	return 0;
}

static void apply_all(struct pci *pci)
{
	struct pci_device *dev;

	pthread_mutex_lock(&pci->lock);
	for (dev = pci->devices; dev != NULL; dev = dev->next)
		pci_cfg_apply(dev);
	pthread_mutex_unlock(&pci->lock);
}

int pci_create(struct board *board, struct irq_wires *irqs, struct err *err)
{
	struct pci *pci = calloc(1, sizeof(*pci));
	int error;

	if (pci == NULL)
		return err_sys(err, ENOMEM, "PCI");
	pci->board = board;
	pci->irqs = irqs;
	pthread_mutex_init(&pci->lock, NULL);
	board->pci = pci;
	error = pci_cfg_init(pci, err);
	if (error == 0)
		error = create_devices(pci, err);
	if (error == 0)
		error = mark_multifunction(pci, err);
	if (error == 0)
		error = pci_bar_assign(pci, err);
	if (error == 0)
		error = route_all(pci, err);
	if (error < 0) {
		pci_destroy(pci);
		board->pci = NULL;
		return error;
	}
	apply_all(pci);
	return 0;
}

void pci_destroy(struct pci *pci)
{
	if (pci == NULL)
		return;
	while (pci->devices != NULL) {
		struct pci_device *dev = pci->devices;

		pci->devices = dev->next;
		free_device(dev);
	}
	inout_remove(pci->board->ports, &pci->ports);
	mmio_remove(pci->board->mmio, &pci->ecam);
	pthread_mutex_destroy(&pci->lock);
	free(pci->intx);
	free(pci->intx_bus);
	free(pci);
}

/* -- description for the firmware's tables --------------------------------- */

/* The ports of the first bus: everything but PCI's own and, from 0x2000 on,
   the windows of other buses. */
static void describe_first_io(const struct pci_bus *bus, struct fw_pci_bus *out)
{
	out->io[0] = (struct fw_window){0, 0xcf8};
	out->io[1] = (struct fw_window){0xd00, 0x2000 - 0xd00};
	out->io[2] = bus->io;
}

static void describe_bus(const struct pci *pci, unsigned int number,
			 struct fw_pci_bus *out)
{
	const struct pci_bus *bus = &pci->buses[number];

	*out = (struct fw_pci_bus){
	    .number = (uint8_t)number,
	    .last = (uint8_t)number,
	    .mem32 = bus->mem32,
	    .mem64 = bus->mem64,
	};
	if (number == 0)
		describe_first_io(bus, out);
	else
		out->io[0] = bus->io;
	for (unsigned int i = 0; i < pci->intx_count; i++) {
		if (pci->intx_bus[i] != number)
			continue;
		if (out->intx_count++ == 0)
			out->intx = &pci->intx[i];
	}
}

void pci_describe(const struct pci *pci, struct fw_board *out)
{
	out->bus_count = 0;
	for (unsigned int i = 0; i < PCI_BUSES; i++) {
		if (pci->buses[i].present && out->bus_count < FW_MAX_BUSES)
			describe_bus(pci, i, &out->bus[out->bus_count++]);
	}
}

/* -- saved state ----------------------------------------------------------- */

/* All of them, before anything is saved: what a device finishes now may still
   raise its interrupt. */
void pci_pause(struct pci *pci)
{
	struct pci_device *dev;

	for (dev = pci->devices; dev != NULL; dev = dev->next) {
		if (dev->ops->pause != NULL)
			dev->ops->pause(dev);
	}
}

void pci_resume(struct pci *pci)
{
	struct pci_device *dev;

	for (dev = pci->devices; dev != NULL; dev = dev->next) {
		if (dev->ops->resume != NULL)
			dev->ops->resume(dev);
	}
}

struct pci_state {
	uint32_t config_address;
};

static const struct state_field pci_fields[] = {
    STATE_SCALAR(struct pci_state, config_address),
};

static const struct state_class pci_class = {
    .name = "pci",
    .version = 1,
    .fields = pci_fields,
    .field_count = ARRAY_SIZE(pci_fields),
};

struct device_state {
	uint8_t cfg[PCI_CFG_SIZE];
};

static const struct state_field device_fields[] = {
    STATE_ARRAY(struct device_state, cfg),
};

static const struct state_class device_class = {
    .name = "pci-device",
    .version = 1,
    .fields = device_fields,
    .field_count = ARRAY_SIZE(device_fields),
};

static uint32_t instance(const struct pci_device *dev)
{
	return (uint32_t)(dev->bus << 8 | dev->slot << 3 | dev->func);
}

static int save_device(struct pci_device *dev, struct state_writer *writer)
{
	struct device_state s;
	int error;

	pthread_mutex_lock(&dev->pci->lock);
	memcpy(s.cfg, dev->cfg, sizeof(s.cfg));
	pthread_mutex_unlock(&dev->pci->lock);
	error = state_save(&device_class, instance(dev), &s, writer);
	if (error == 0)
		error = pci_irq_save(dev, writer);
	if (error == 0 && dev->ops->save != NULL)
		error = dev->ops->save(dev, writer);
	return error;
}

int pci_save(struct pci *pci, struct state_writer *writer)
{
	struct pci_state s = {pci->config_address};
	struct pci_device *dev;
	int error = state_save(&pci_class, 0, &s, writer);

	for (dev = pci->devices; dev != NULL && error == 0; dev = dev->next)
		error = save_device(dev, writer);
	return error;
}

/* Bits that neither side can write must be the same: the same device. */
static int take_cfg(struct pci_device *dev, const struct device_state *s,
		    struct err *err)
{
	for (unsigned int i = 0; i < PCI_CFG_SIZE; i++) {
		uint8_t fixed = (uint8_t) ~(dev->writable[i] | dev->clear[i]);

		if ((s->cfg[i] ^ dev->cfg[i]) & fixed)
			return err_set(err, EINVAL,
				       "saved state of %s is of another "
				       "device: byte 0x%02x of its "
				       "configuration space",
				       dev->name, i);
	}
	memcpy(dev->cfg, s->cfg, sizeof(dev->cfg));
	return 0;
}

static int load_device(struct pci_device *dev, struct state_reader *reader,
		       struct err *err)
{
	struct device_state s;
	int error = state_load(&device_class, instance(dev), &s, reader, err);

	if (error == 0)
		error = pci_irq_load(dev, reader, err);
	if (error < 0)
		return error;
	pthread_mutex_lock(&dev->pci->lock);
	error = take_cfg(dev, &s, err);
	if (error == 0)
		pci_cfg_apply(dev);
	pthread_mutex_unlock(&dev->pci->lock);
	if (error == 0 && dev->ops->load != NULL)
		error = dev->ops->load(dev, reader, err);
	return error;
}

int pci_load(struct pci *pci, struct state_reader *reader, struct err *err)
{
	struct pci_state s;
	struct pci_device *dev;
	int error = state_load(&pci_class, 0, &s, reader, err);

	if (error < 0)
		return error;
	pci->config_address = s.config_address & 0x80fffffcu;
	for (dev = pci->devices; dev != NULL && error == 0; dev = dev->next)
		error = load_device(dev, reader, err);
	return error;
}
