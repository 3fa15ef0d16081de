// SPDX-License-Identifier: BSD-2-Clause
/*
 * Host bridges: an identity in slot 0 and nothing behind it. Guests decide by
 * it which quirks of a chipset apply; some (OVMF) know only a few.
 */
#include <errno.h>
#include <string.h>

#include "dev/pci.h"

#define CLASS_BRIDGE  0x06
#define SUBCLASS_HOST 0x00

/* The PCI Express capability, version 2, of a root port: guests use MSI only
   where they find one (PCI Express 3.0, 7.8). */
#define PCIE_CAP_SIZE    0x3c
#define PCIE_FLAGS       0x02
#define PCIE_ROOT_PORT_2 0x0042
#define PCIE_LINK_CAP    0x0c
#define PCIE_LINK_STATUS 0x12
#define PCIE_X1_GEN1     0x0011

static const struct {
	const char *model;
	uint16_t vendor;
	uint16_t device;
} models[] = {
    {"netapp", 0x1275, 0x1275},
    {"amd", 0x1022, 0x7432},
    {"i440fx", 0x8086, 0x1237},
    {"q35", 0x8086, 0x29b0},
};

static int create_model(struct pci_device *dev, struct config_node *node,
			const char *model, struct err *err)
{
	struct pci_ids ids = {.class_code = CLASS_BRIDGE,
			      .subclass = SUBCLASS_HOST};
	size_t i = 0;
	int cap;

	while (i < ARRAY_SIZE(models) && strcmp(models[i].model, model) != 0)
		i++;
	if (i == ARRAY_SIZE(models))
		return err_set(err, EINVAL,
			       "hostbridge: model=%s: netapp, amd, i440fx or "
			       "q35",
			       model);
	ids.vendor = models[i].vendor;
	ids.device = models[i].device;
	cap = pci_add_capability(dev, PCI_CAP_PCIE, PCIE_CAP_SIZE);
	if (cap < 0)
		return err_sys(err, -cap, "hostbridge: capabilities");
	pci_cfg_set(dev, (unsigned int)cap + PCIE_FLAGS, 2, PCIE_ROOT_PORT_2);
	pci_cfg_set(dev, (unsigned int)cap + PCIE_LINK_CAP, 4, PCIE_X1_GEN1);
	pci_cfg_set(dev, (unsigned int)cap + PCIE_LINK_STATUS, 2, PCIE_X1_GEN1);
	return pci_set_ids(dev, node, &ids, err);
}

static int create(struct pci_device *dev, struct config_node *node,
		  struct err *err)
{
	const char *model = config_get_in(node, "model");

	return create_model(dev, node, model == NULL ? "netapp" : model, err);
}

static int create_amd(struct pci_device *dev, struct config_node *node,
		      struct err *err)
{
	return create_model(dev, node, "amd", err);
}

const struct pci_device_ops hostbridge_ops = {.create = create};
const struct pci_device_ops amd_hostbridge_ops = {.create = create_amd};
