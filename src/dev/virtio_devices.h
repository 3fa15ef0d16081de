/* SPDX-License-Identifier: BSD-2-Clause */
/* The virtio devices, for pci_devices.c. */
#ifndef DEV_VIRTIO_DEVICES_H
#define DEV_VIRTIO_DEVICES_H

#include "dev/pci.h"

extern const struct pci_device_ops virtio_blk_ops;
extern const struct pci_device_ops virtio_rnd_ops;

#endif
