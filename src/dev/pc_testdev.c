// SPDX-License-Identifier: BSD-2-Clause
#include "dev/pc_testdev.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "dev/inout.h"
#include "dev/mmio.h"

#define EXIT_PORT  0xf4u
#define EXIT_SIZE  4u
#define LATCH_PORT 0xe0u
#define LATCH_SIZE 4u
#define IRQ_PORT   0x2000u
#define IRQ_MIN    24 /* pins of the IOAPIC, as bhyve wants them */
#define IRQ_MAX    32
#define MEM_GPA    0xff000000u
#define MEM_SIZE   0x10000u

struct testdev_state {
	uint8_t latch[LATCH_SIZE];
	uint32_t lines; /* that are up */
	uint64_t memory[MEM_SIZE / 8];
};

struct pc_testdev {
	struct board *board;
	struct irq_wires *irqs;
	struct io_range exit;
	struct io_range latch;
	struct io_range irq;
	struct io_range mem;
	pthread_mutex_t lock; /* for what follows */
	struct testdev_state s;
};

/* -- registers ------------------------------------------------------------- */

static uint64_t exit_read(void *arg, uint64_t offset, unsigned int bytes)
{
	(void)arg;
	(void)offset;
	(void)bytes;
	return 0;
}

static void exit_write(void *arg, uint64_t offset, unsigned int bytes,
		       uint64_t value)
{
	struct pc_testdev *dev = arg;

	(void)offset;
	(void)bytes;
	board_exit(dev->board, (uint8_t)(value << 1 | 1));
}

static uint64_t read_bytes(struct pc_testdev *dev, const void *from,
			   unsigned int bytes)
{
	uint64_t value = 0;

	pthread_mutex_lock(&dev->lock);
	memcpy(&value, from, bytes);
	pthread_mutex_unlock(&dev->lock);
	return value;
}

static void write_bytes(struct pc_testdev *dev, void *to, unsigned int bytes,
			uint64_t value)
{
	pthread_mutex_lock(&dev->lock);
	memcpy(to, &value, bytes);
	pthread_mutex_unlock(&dev->lock);
}

static uint64_t latch_read(void *arg, uint64_t offset, unsigned int bytes)
{
	struct pc_testdev *dev = arg;

	return read_bytes(dev, dev->s.latch + offset, bytes);
}

static void latch_write(void *arg, uint64_t offset, unsigned int bytes,
			uint64_t value)
{
	struct pc_testdev *dev = arg;

	write_bytes(dev, dev->s.latch + offset, bytes, value);
}

static uint64_t mem_read(void *arg, uint64_t offset, unsigned int bytes)
{
	struct pc_testdev *dev = arg;

	return read_bytes(dev, (uint8_t *)dev->s.memory + offset, bytes);
}

static void mem_write(void *arg, uint64_t offset, unsigned int bytes,
		      uint64_t value)
{
	struct pc_testdev *dev = arg;

	write_bytes(dev, (uint8_t *)dev->s.memory + offset, bytes, value);
}

/* The lock is held; a wire that it shares with others counts its holders. */
static void set_line(struct pc_testdev *dev, unsigned int line, bool level)
{
	uint32_t bit = (uint32_t)BIT(line);

	if (level == !!(dev->s.lines & bit))
		return;
	dev->s.lines ^= bit;
	if (line < IRQ_ISA_COUNT)
		irq_set_isa(dev->irqs, line, level);
	else
		irq_set_pin(dev->irqs, line, level);
}

static uint64_t irq_read(void *arg, uint64_t offset, unsigned int bytes)
{
	(void)arg;
	(void)offset;
	return bytes == 1 ? 0 : UINT64_MAX;
}

static void irq_write(void *arg, uint64_t offset, unsigned int bytes,
		      uint64_t value)
{
	struct pc_testdev *dev = arg;

	if (bytes != 1)
		return;
	pthread_mutex_lock(&dev->lock);
	set_line(dev, (unsigned int)offset, value != 0);
	pthread_mutex_unlock(&dev->lock);
}

/* -- life ------------------------------------------------------------------ */

static void describe(struct pc_testdev *dev, unsigned int pins)
{
	dev->exit = (struct io_range){"pc-testdev exit", EXIT_SIZE,  4,
				      exit_read,         exit_write, dev};
	dev->latch = (struct io_range){"pc-testdev port", LATCH_SIZE,  4,
				       latch_read,        latch_write, dev};
	dev->irq = (struct io_range){
	    "pc-testdev interrupts", pins, 4, irq_read, irq_write, dev};
	dev->mem = (struct io_range){"pc-testdev memory", MEM_SIZE, 8, mem_read,
				     mem_write,           dev};
}

static int add_ranges(struct pc_testdev *dev, struct err *err)
{
	struct board *board = dev->board;
	int error = inout_add(board->ports, &dev->exit, EXIT_PORT, err);

	if (error == 0)
		error = inout_add(board->ports, &dev->latch, LATCH_PORT, err);
	if (error == 0)
		error = inout_add(board->ports, &dev->irq, IRQ_PORT, err);
	if (error == 0)
		error = mmio_add(board->mmio, &dev->mem, MEM_GPA, err);
	return error;
}

int pc_testdev_create(struct board *board, struct irq_wires *irqs,
		      struct pc_testdev **out, struct err *err)
{
	struct pc_testdev *dev;
	int pins, error;

	if (vm_ioapic_pincount(board->ctx, &pins) < 0)
		return err_sys(err, errno, "pc-testdev: IOAPIC");
	if (pins < IRQ_MIN || pins > IRQ_MAX)
		return err_set(err, EINVAL,
			       "pc-testdev: an IOAPIC of %d pins, not %d to %d",
			       pins, IRQ_MIN, IRQ_MAX);
	dev = calloc(1, sizeof(*dev));
	if (dev == NULL)
		return err_sys(err, ENOMEM, "pc-testdev");
	dev->board = board;
	dev->irqs = irqs;
	pthread_mutex_init(&dev->lock, NULL);
	describe(dev, (unsigned int)pins);
	error = add_ranges(dev, err);
	if (error < 0) {
		pc_testdev_destroy(dev);
		return error;
	}
	*out = dev;
	return 0;
}

void pc_testdev_destroy(struct pc_testdev *dev)
{
	if (dev == NULL)
		return;
	inout_remove(dev->board->ports, &dev->exit);
	inout_remove(dev->board->ports, &dev->latch);
	inout_remove(dev->board->ports, &dev->irq);
	mmio_remove(dev->board->mmio, &dev->mem);
	pthread_mutex_destroy(&dev->lock);
	free(dev);
}

/* -- saved state ----------------------------------------------------------- */

static const struct state_field fields[] = {
    STATE_ARRAY(struct testdev_state, latch),
    STATE_SCALAR(struct testdev_state, lines),
    STATE_ARRAY(struct testdev_state, memory),
};

static const struct state_class testdev_class = {
    .name = "pc-testdev",
    .version = 1,
    .fields = fields,
    .field_count = ARRAY_SIZE(fields),
};

int pc_testdev_save(struct pc_testdev *dev, struct state_writer *writer)
{
	int error;

	pthread_mutex_lock(&dev->lock);
	error = state_save(&testdev_class, 0, &dev->s, writer);
	pthread_mutex_unlock(&dev->lock);
	return error;
}

/* Lines that the IOAPIC does not have are no lines. */
static void take(struct pc_testdev *dev, const struct testdev_state *s)
{
	memcpy(dev->s.latch, s->latch, sizeof(s->latch));
	memcpy(dev->s.memory, s->memory, sizeof(s->memory));
	for (unsigned int i = 0; i < dev->irq.size; i++)
		set_line(dev, i, s->lines & BIT(i));
}

int pc_testdev_load(struct pc_testdev *dev, struct state_reader *reader,
		    struct err *err)
{
	struct testdev_state *s = malloc(sizeof(*s));
	int error;

	if (s == NULL)
		return err_sys(err, ENOMEM, "pc-testdev");
	error = state_load(&testdev_class, 0, s, reader, err);
	if (error == 0) {
		pthread_mutex_lock(&dev->lock);
		take(dev, s);
		pthread_mutex_unlock(&dev->lock);
	}
	free(s);
	return error;
}
