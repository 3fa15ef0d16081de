/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The control socket's messages: SOCK_SEQPACKET, one request, one reply, of
 * one host and so of one byte order. The argument is the verb's struct.
 */
#ifndef VMMAPI_CTL_PROTO_H
#define VMMAPI_CTL_PROTO_H

#include <stddef.h>
#include <stdint.h>
#include <sys/un.h>

#include "vmm/verb.h"

#define CTL_MAGIC   0x43485641u /* "AVHC" */
#define CTL_VERSION 2

struct ctl_message {
	uint32_t magic;
	uint16_t version;
	uint16_t verb;
	uint32_t vcpu;
	int32_t error; /* of a reply: 0 or -errno */
	uint32_t size; /* of arg */
	uint32_t reserved;
	uint8_t arg[VERB_ARG_MAX] __attribute__((aligned(8)));
};

#define CTL_HEADER offsetof(struct ctl_message, arg)

struct vmctx;

/* Socket paths end at 108 bytes, so by way of /proc. */
void ctl_address(struct vmctx *ctx, struct sockaddr_un *address);

#endif
