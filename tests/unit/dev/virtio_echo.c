// SPDX-License-Identifier: BSD-2-Clause
#include "board_fixture.h"

#include "virtio_echo.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static uint64_t copy(struct virtio *v, const struct vq_chain *chain)
{
	uint8_t bytes[512];
	uint64_t left = MIN(chain->readable_bytes, chain->writable_bytes);
	uint64_t done = 0;

	while (done < left) {
		size_t count = virtio_read(v, chain, done, bytes,
					   MIN(left - done, sizeof(bytes)));

		done += virtio_write(v, chain, done, bytes, count);
	}
	return done;
}

static void notify(struct virtio *v, unsigned int queue)
{
	struct echo *echo = virtio_private(v);

	while (echo->count < ECHO_HELD_MAX &&
	       virtio_pop(v, queue, &echo->chain)) {
		echo->popped++;
		if (echo->hold)
			echo->held[echo->count++] =
			    (struct held){queue, echo->chain};
		else
			virtio_push(v, queue, &echo->chain,
				    copy(v, &echo->chain));
	}
	virtio_interrupt(v, queue);
}

void echo_release(struct echo *echo)
{
	struct held first = echo->held[0];

	echo->count--;
	memmove(echo->held, echo->held + 1, echo->count * sizeof(first));
	virtio_complete(echo->v, first.queue, &first.chain,
			copy(echo->v, &first.chain), NULL, NULL);
}

static void reset(struct virtio *v)
{
	struct echo *echo = virtio_private(v);

	echo->resets++;
}

static void config_written(struct virtio *v, unsigned int offset,
			   unsigned int bytes, uint32_t value)
{
	struct echo *echo = virtio_private(v);

	if (offset == 0 && bytes == 4)
		echo->config_value = value;
}

static int create(struct virtio *v, struct config_node *node, struct err *err)
{
	struct echo *echo = virtio_private(v);
	static const uint8_t config[] = {1, 2, 3, 4, 5, 6, 7, 8};

	(void)node;
	echo->held = calloc(ECHO_HELD_MAX, sizeof(*echo->held));
	if (echo->held == NULL)
		return err_sys(err, ENOMEM, "echo");
	echo->v = v;
	echo->resets = 0;
	virtio_set_config(v, 0, config, sizeof(config));
	/* Out of the configuration's bounds: ignored. */
	virtio_set_config(v, VIRTIO_CONFIG_MAX - 4, config, sizeof(config));
	return 0;
}

static void destroy(struct virtio *v)
{
	struct echo *echo = virtio_private(v);

	free(echo->held);
}

static const struct state_field fields[] = {
    STATE_SCALAR(struct echo, saved),
};

static const struct state_class echo_class = {
    .name = "echo",
    .version = 1,
    .fields = fields,
    .field_count = ARRAY_SIZE(fields),
};

static const struct virtio_device device = {
    .type = 60,
    .class_code = 0xff,
    .queues = ECHO_QUEUES,
    .queue_size = ECHO_QUEUE_SIZE,
    .features = BIT(0),
    .private_size = sizeof(struct echo),
    .create = create,
    .destroy = destroy,
    .notify = notify,
    .reset = reset,
    .config_written = config_written,
    .state = &echo_class,
};

VIRTIO_PCI_DEVICE(echo_ops, device);

/* In place of pci_devices.c. */
const struct pci_device_ops *pci_find_ops(const char *name)
{
	return strcmp(name, "echo") == 0 ? &echo_ops : NULL;
}

struct echo *echo_of(struct machine *m, unsigned int slot)
{
	return virtio_private(pci_private(pci_find(m->board->pci, 0, slot, 0)));
}
