/* SPDX-License-Identifier: BSD-2-Clause */
/* Virtio 1.2's numbers: features, status bits, capabilities, rings. */
#ifndef DEV_VIRTIO_REGS_H
#define DEV_VIRTIO_REGS_H

#include "base/bits.h"

#define VIRTIO_VENDOR      0x1af4
#define VIRTIO_DEVICE_BASE 0x1040 /* plus the device's type (4.1.2) */

/* Types (5). */
#define VIRTIO_TYPE_BLOCK   2
#define VIRTIO_TYPE_ENTROPY 4

/* Features of all devices (6). */
#define VIRTIO_F_INDIRECT_DESC     BIT(28)
#define VIRTIO_F_EVENT_IDX         BIT(29)
#define VIRTIO_F_VERSION_1         BIT(32)
#define VIRTIO_F_RING_PACKED       BIT(34)
#define VIRTIO_F_NOTIFICATION_DATA BIT(38)
#define VIRTIO_F_RING_RESET        BIT(40)

/* Device status (2.1). */
#define VIRTIO_ACKNOWLEDGE 0x01
#define VIRTIO_DRIVER      0x02
#define VIRTIO_DRIVER_OK   0x04
#define VIRTIO_FEATURES_OK 0x08
#define VIRTIO_NEEDS_RESET 0x40
#define VIRTIO_FAILED      0x80

#define VIRTIO_NO_VECTOR 0xffff

/* ISR status (4.1.4.5). */
#define VIRTIO_ISR_QUEUE  0x1
#define VIRTIO_ISR_CONFIG 0x2

/* Vendor capabilities (4.1.4). */
#define VIRTIO_CAP_COMMON 1
#define VIRTIO_CAP_NOTIFY 2
#define VIRTIO_CAP_ISR    3
#define VIRTIO_CAP_DEVICE 4
#define VIRTIO_CAP_PCI    5

/* The common configuration's registers (4.1.4.3). */
#define VIRTIO_COMMON_DEVICE_FEATURE_SELECT 0x00
#define VIRTIO_COMMON_DEVICE_FEATURE        0x04
#define VIRTIO_COMMON_DRIVER_FEATURE_SELECT 0x08
#define VIRTIO_COMMON_DRIVER_FEATURE        0x0c
#define VIRTIO_COMMON_CONFIG_VECTOR         0x10
#define VIRTIO_COMMON_NUM_QUEUES            0x12
#define VIRTIO_COMMON_STATUS                0x14
#define VIRTIO_COMMON_GENERATION            0x15
#define VIRTIO_COMMON_QUEUE_SELECT          0x16
#define VIRTIO_COMMON_QUEUE_SIZE            0x18
#define VIRTIO_COMMON_QUEUE_VECTOR          0x1a
#define VIRTIO_COMMON_QUEUE_ENABLE          0x1c
#define VIRTIO_COMMON_QUEUE_NOTIFY_OFF      0x1e
#define VIRTIO_COMMON_QUEUE_DESC            0x20
#define VIRTIO_COMMON_QUEUE_DRIVER          0x28
#define VIRTIO_COMMON_QUEUE_DEVICE          0x30
#define VIRTIO_COMMON_QUEUE_NOTIFY_DATA     0x38
#define VIRTIO_COMMON_QUEUE_RESET           0x3a
#define VIRTIO_COMMON_SIZE                  0x3c

/* Descriptors: 16 bytes in both formats. */
#define VQ_DESC_SIZE     16u
#define VQ_DESC_NEXT     0x0001
#define VQ_DESC_WRITE    0x0002
#define VQ_DESC_INDIRECT 0x0004
#define VQ_DESC_AVAIL    0x0080 /* packed */
#define VQ_DESC_USED     0x8000 /* packed */

/* Split: available ring's flags. */
#define VQ_AVAIL_NO_INTERRUPT 0x1

/* Packed: flags of an event structure (2.8.10). */
#define VQ_EVENT_ENABLE  0
#define VQ_EVENT_DISABLE 1
#define VQ_EVENT_DESC    2
#define VQ_EVENT_WRAP    0x8000

#endif
