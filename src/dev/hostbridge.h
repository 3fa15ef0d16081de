/* SPDX-License-Identifier: BSD-2-Clause */
/* Host bridges: hostbridge[,model=netapp|amd|i440fx|q35], amd_hostbridge. */
#ifndef DEV_HOSTBRIDGE_H
#define DEV_HOSTBRIDGE_H

#include "dev/pci.h"

extern const struct pci_device_ops hostbridge_ops;
extern const struct pci_device_ops amd_hostbridge_ops;

#endif
