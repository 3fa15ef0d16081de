/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The pair of 8259A interrupt controllers of a PC, the second on input 2 of
 * the first, and the edge/level registers (ELCR) at 0x4d0. Register names as
 * in Intel's 8259A data sheet. Special fully nested mode is not there: no PC
 * uses it.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "vmm/device.h"
#include "vmm/irq.h"
#include "vmm/vm.h"

#define PIC1_PORT 0x20
#define PIC2_PORT 0xa0
#define ELCR_PORT 0x4d0

#define CASCADE_INPUT 2
#define SPURIOUS      7

#define ICW1      BIT(4)
#define ICW1_ICW4 BIT(0)
#define ICW1_SNGL BIT(1)
#define ICW4_AEOI BIT(1)

#define OCW3      BIT(3)
#define OCW3_RIS  BIT(0)
#define OCW3_RR   BIT(1)
#define OCW3_P    BIT(2)
#define OCW3_SMM  BIT(5)
#define OCW3_ESMM BIT(6)

/* IRQ 0, 1, 2, 8 and 13 have always edge trigger. */
#define ELCR_WRITABLE 0xdef8u

struct chip {
	uint8_t irr; /* edges remembered; with level trigger: the inputs */
	uint8_t isr;
	uint8_t imr;
	uint8_t vector_base;  /* ICW2 */
	uint8_t lowest;       /* the input with the lowest priority */
	uint8_t ready;        /* has been initialised since reset */
	uint8_t expected_icw; /* 2 to 4 while initialising, otherwise 0 */
	uint8_t wants_icw4;
	uint8_t single;
	uint8_t auto_eoi;
	uint8_t rotate_on_auto_eoi;
	uint8_t special_mask;
	uint8_t read_isr;
	uint8_t poll;
};

struct i8259 {
	struct vm *vm;
	pthread_mutex_t lock;
	_Atomic int pending; /* see i8259_pending */
	struct chip chip[2];
	uint16_t elcr;
	uint32_t asserted[16]; /* how many sources hold the input */
};

/* -- priorities -------------------------------------------------------------
 */

/* The first set bit from the highest priority on, as its distance; or 8. */
static unsigned first_by_priority(const struct chip *chip, uint8_t set)
{
	unsigned distance;

	for (distance = 0; distance < 8; distance++)
		if ((set >> ((chip->lowest + 1 + distance) & 7) & 1) != 0)
			break;
	return distance;
}

/* The input this chip would signal now, or -1. */
static int chip_request(const struct chip *chip)
{
	uint8_t wanted = chip->irr & (uint8_t)~chip->imr;
	uint8_t in_service = chip->isr;
	unsigned distance;

	/* In special mask mode a masked input in service blocks nobody. */
	if (chip->special_mask != 0) {
		wanted &= (uint8_t)~chip->isr;
		in_service &= (uint8_t)~chip->imr;
	}
	distance = first_by_priority(chip, wanted);
	if (chip->ready == 0 || distance >= first_by_priority(chip, in_service))
		return -1;
	return (int)((chip->lowest + 1 + distance) & 7);
}

static int pending_vector(const struct i8259 *pic)
{
	int input = chip_request(&pic->chip[0]);

	if (input != CASCADE_INPUT)
		return input < 0 ? -1 : pic->chip[0].vector_base + input;
	input = chip_request(&pic->chip[1]);
	return pic->chip[1].vector_base + (input < 0 ? SPURIOUS : input);
}

/* The second chip's output is the first one's input 2, with level trigger. */
static void update(struct i8259 *pic)
{
	struct vm *vm = pic->vm;
	int vector, before;

	if (chip_request(&pic->chip[1]) >= 0)
		pic->chip[0].irr |= BIT(CASCADE_INPUT);
	else
		pic->chip[0].irr &= (uint8_t)~BIT(CASCADE_INPUT);
	vector = pending_vector(pic);
	before = atomic_exchange(&pic->pending, vector);
	if (vector < 0 || vector == before)
		return;
	extint_raised(vm);
}

int i8259_pending(struct vm *vm)
{
	return vm->pic == NULL ? -1 : atomic_load(&vm->pic->pending);
}

/* -- inputs and acknowledge -------------------------------------------------
 */

static bool is_level(const struct i8259 *pic, unsigned irq)
{
	return (pic->elcr >> irq & 1) != 0;
}

void pic_set_irq(struct vm *vm, unsigned irq, bool level)
{
	struct i8259 *pic = vm->pic;
	struct chip *chip;
	uint8_t bit;

	if (irq >= 16 || irq == CASCADE_INPUT)
		return;
	chip = &pic->chip[irq / 8];
	bit = (uint8_t)BIT(irq & 7);
	pthread_mutex_lock(&pic->lock);
	if (level) {
		if (pic->asserted[irq]++ == 0)
			chip->irr |= bit;
	} else if (pic->asserted[irq] > 0) {
		if (--pic->asserted[irq] == 0 && is_level(pic, irq))
			chip->irr &= (uint8_t)~bit;
	}
	update(pic);
	pthread_mutex_unlock(&pic->lock);
}

static void end_of_interrupt(struct chip *chip, unsigned input, bool rotate)
{
	chip->isr &= (uint8_t)~BIT(input);
	if (rotate)
		chip->lowest = (uint8_t)input;
}

/* INTA on one chip: the input that goes into service, 7 if there is none. */
static unsigned acknowledge(struct i8259 *pic, unsigned index)
{
	struct chip *chip = &pic->chip[index];
	int input = chip_request(chip);

	if (input < 0)
		return SPURIOUS;
	if (!is_level(pic, index * 8 + (unsigned)input))
		chip->irr &= (uint8_t)~BIT(input);
	chip->isr |= (uint8_t)BIT(input);
	if (chip->auto_eoi != 0)
		end_of_interrupt(chip, (unsigned)input,
				 chip->rotate_on_auto_eoi != 0);
	return (unsigned)input;
}

static int intack(struct i8259 *pic)
{
	unsigned input;

	if (chip_request(&pic->chip[0]) < 0)
		return -1;
	input = acknowledge(pic, 0);
	if (input != CASCADE_INPUT)
		return (int)(pic->chip[0].vector_base + input);
	return (int)(pic->chip[1].vector_base + acknowledge(pic, 1));
}

int i8259_intack(struct vm *vm)
{
	struct i8259 *pic = vm->pic;
	int vector;

	if (pic == NULL)
		return -1;
	pthread_mutex_lock(&pic->lock);
	vector = intack(pic);
	update(pic);
	pthread_mutex_unlock(&pic->lock);
	return vector;
}

/* One chip's part: true if the vector is one of its. A spurious one is not in
   service and does not come back. */
static bool put_back(struct i8259 *pic, unsigned index, int vector)
{
	struct chip *chip = &pic->chip[index];
	int input = vector - chip->vector_base;

	if (input < 0 || input > 7)
		return false;
	if ((chip->isr & BIT(input)) == 0 && chip->auto_eoi == 0)
		return true;
	chip->isr &= (uint8_t)~BIT(input);
	if (!is_level(pic, index * 8 + (unsigned)input))
		chip->irr |= (uint8_t)BIT(input);
	return true;
}

void i8259_return(struct vm *vm, int vector)
{
	struct i8259 *pic = vm->pic;

	if (pic == NULL)
		return;
	pthread_mutex_lock(&pic->lock);
	if (!put_back(pic, 0, vector) && put_back(pic, 1, vector))
		pic->chip[0].isr &= (uint8_t)~BIT(CASCADE_INPUT);
	update(pic);
	pthread_mutex_unlock(&pic->lock);
}

void i8259_set_trigger(struct vm *vm, unsigned irq, bool level)
{
	struct i8259 *pic = vm->pic;
	uint16_t bit;

	if (irq >= 16)
		return;
	bit = (uint16_t)(BIT(irq) & ELCR_WRITABLE);
	pthread_mutex_lock(&pic->lock);
	pic->elcr = level ? pic->elcr | bit : pic->elcr & (uint16_t)~bit;
	pthread_mutex_unlock(&pic->lock);
}

/* -- commands ----------------------------------------------------------------
 */

static void write_icw1(struct i8259 *pic, unsigned index, uint8_t value)
{
	struct chip *chip = &pic->chip[index];

	/* Inputs with level trigger are seen again at once. */
	*chip = (struct chip){
	    .irr = chip->irr & (uint8_t)(pic->elcr >> index * 8),
	    .vector_base = chip->vector_base,
	    .lowest = 7,
	    .expected_icw = 2,
	    .wants_icw4 = (value & ICW1_ICW4) != 0,
	    .single = (value & ICW1_SNGL) != 0,
	};
}

/* ICW3 only says how the cascade is wired, and that is known. */
static void write_icw(struct chip *chip, uint8_t value)
{
	if (chip->expected_icw == 2)
		chip->vector_base = value & 0xf8;
	else if (chip->expected_icw == 4)
		chip->auto_eoi = (value & ICW4_AEOI) != 0;

	if (chip->expected_icw == 2 && chip->single == 0)
		chip->expected_icw = 3;
	else if (chip->expected_icw < 4 && chip->wants_icw4 != 0)
		chip->expected_icw = 4;
	else
		chip->expected_icw = 0;
	chip->ready = chip->expected_icw == 0;
}

/* Rotate, specific and EOI are bits 7, 6 and 5. */
static void write_ocw2(struct chip *chip, uint8_t value)
{
	unsigned level = value & 7;
	unsigned highest = first_by_priority(chip, chip->isr);
	bool rotate = (value & 0x80) != 0;

	switch (value >> 5) {
	case 1: /* non-specific EOI, and with rotation */
	case 5:
		if (highest < 8)
			end_of_interrupt(chip, (chip->lowest + 1 + highest) & 7,
					 rotate);
		break;
	case 3: /* specific EOI, and with rotation */
	case 7:
		end_of_interrupt(chip, level, rotate);
		break;
	case 6:
		chip->lowest = (uint8_t)level;
		break;
	case 4:
	case 0:
		chip->rotate_on_auto_eoi = rotate;
		break;
	default:
		break;
	}
}

static void write_ocw3(struct chip *chip, uint8_t value)
{
	if ((value & OCW3_ESMM) != 0)
		chip->special_mask = (value & OCW3_SMM) != 0;
	if ((value & OCW3_P) != 0)
		chip->poll = 1;
	else if ((value & OCW3_RR) != 0)
		chip->read_isr = (value & OCW3_RIS) != 0;
}

static void chip_write(struct i8259 *pic, unsigned index, bool data,
		       uint8_t value)
{
	struct chip *chip = &pic->chip[index];

	if (data && chip->expected_icw != 0)
		write_icw(chip, value);
	else if (data)
		chip->imr = value;
	else if ((value & ICW1) != 0)
		write_icw1(pic, index, value);
	else if ((value & OCW3) != 0)
		write_ocw3(chip, value);
	else
		write_ocw2(chip, value);
}

/* A poll is an INTA by software: bit 7 says whether there was a request. */
static uint8_t poll_read(struct i8259 *pic, unsigned index)
{
	pic->chip[index].poll = 0;
	if (chip_request(&pic->chip[index]) < 0)
		return 0;
	return (uint8_t)(0x80 | acknowledge(pic, index));
}

static uint8_t chip_read(struct i8259 *pic, unsigned index, bool data)
{
	const struct chip *chip = &pic->chip[index];

	if (chip->poll != 0)
		return poll_read(pic, index);
	if (data)
		return chip->imr;
	return chip->read_isr != 0 ? chip->isr : chip->irr;
}

static uint8_t elcr_read(const struct i8259 *pic, unsigned index)
{
	return (uint8_t)(pic->elcr >> index * 8);
}

/* An input that is held counts from now on as its trigger says. */
static void elcr_write(struct i8259 *pic, unsigned index, uint8_t value)
{
	uint16_t mask = (uint16_t)(0xff << index * 8 & ELCR_WRITABLE);

	pic->elcr =
	    (uint16_t)((pic->elcr & ~mask) | (value << index * 8 & mask));
	for (unsigned irq = index * 8; irq < index * 8 + 8; irq++)
		if (is_level(pic, irq) && pic->asserted[irq] == 0)
			pic->chip[index].irr &= (uint8_t)~BIT(irq & 7);
}

/* Byte ports; wider accesses reach the first of them only. */
uint32_t i8259_read(struct vm *vm, uint16_t port, unsigned bytes)
{
	struct i8259 *pic = vm->pic;
	uint32_t value;

	pthread_mutex_lock(&pic->lock);
	if (port >= ELCR_PORT)
		value = elcr_read(pic, port & 1);
	else
		value = chip_read(pic, port >= PIC2_PORT, (port & 1) != 0);
	update(pic);
	pthread_mutex_unlock(&pic->lock);
	return value | (bytes > 1 ? 0xffffff00 : 0);
}

void i8259_write(struct vm *vm, uint16_t port, unsigned bytes, uint32_t value)
{
	struct i8259 *pic = vm->pic;

	pthread_mutex_lock(&pic->lock);
	if (port >= ELCR_PORT)
		elcr_write(pic, port & 1, (uint8_t)value);
	else
		chip_write(pic, port >= PIC2_PORT, (port & 1) != 0,
			   (uint8_t)value);
	update(pic);
	pthread_mutex_unlock(&pic->lock);
}

/* -- life --------------------------------------------------------------------
 */

/*
 * Nothing is requested before a guest has initialised a chip, but its mask
 * can be written: that is how guests see that there is one.
 */
static void i8259_reset(struct vm *vm)
{
	struct i8259 *pic = vm->pic;

	pthread_mutex_lock(&pic->lock);
	memset(pic->chip, 0, sizeof(pic->chip));
	pic->chip[0].lowest = 7;
	pic->chip[1].lowest = 7;
	pic->elcr = 0;
	update(pic);
	pthread_mutex_unlock(&pic->lock);
}

static int i8259_create(struct vm *vm)
{
	struct i8259 *pic = calloc(1, sizeof(*pic));

	if (pic == NULL)
		return -ENOMEM;
	pic->vm = vm;
	pthread_mutex_init(&pic->lock, NULL);
	atomic_init(&pic->pending, -1);
	vm->pic = pic;
	i8259_reset(vm);
	return 0;
}

static void i8259_destroy(struct vm *vm)
{
	if (vm->pic == NULL)
		return;
	pthread_mutex_destroy(&vm->pic->lock);
	free(vm->pic);
	vm->pic = NULL;
}

static void *i8259_object(struct vm *vm)
{
	return vm->pic;
}

static void i8259_resume(struct vm *vm)
{
	pthread_mutex_lock(&vm->pic->lock);
	atomic_store(&vm->pic->pending, -1);
	update(vm->pic);
	pthread_mutex_unlock(&vm->pic->lock);
}

static int i8259_post_load(void *object)
{
	const struct i8259 *pic = object;

	for (unsigned i = 0; i < 2; i++) {
		const struct chip *chip = &pic->chip[i];

		if (chip->lowest > 7 || (chip->vector_base & 7) != 0 ||
		    chip->expected_icw == 1 || chip->expected_icw > 4)
			return -EINVAL;
	}
	return (pic->elcr & ~ELCR_WRITABLE) != 0 ? -EINVAL : 0;
}

#define CHIP_FIELDS(i)                                                         \
	STATE_SCALAR(struct i8259, chip[i].irr),                               \
	    STATE_SCALAR(struct i8259, chip[i].isr),                           \
	    STATE_SCALAR(struct i8259, chip[i].imr),                           \
	    STATE_SCALAR(struct i8259, chip[i].vector_base),                   \
	    STATE_SCALAR(struct i8259, chip[i].lowest),                        \
	    STATE_SCALAR(struct i8259, chip[i].ready),                         \
	    STATE_SCALAR(struct i8259, chip[i].expected_icw),                  \
	    STATE_SCALAR(struct i8259, chip[i].wants_icw4),                    \
	    STATE_SCALAR(struct i8259, chip[i].single),                        \
	    STATE_SCALAR(struct i8259, chip[i].auto_eoi),                      \
	    STATE_SCALAR(struct i8259, chip[i].rotate_on_auto_eoi),            \
	    STATE_SCALAR(struct i8259, chip[i].special_mask),                  \
	    STATE_SCALAR(struct i8259, chip[i].read_isr),                      \
	    STATE_SCALAR(struct i8259, chip[i].poll)

static const struct state_field i8259_fields[] = {
    CHIP_FIELDS(0),
    CHIP_FIELDS(1),
    STATE_SCALAR(struct i8259, elcr),
    STATE_ARRAY(struct i8259, asserted),
};

static const struct state_class i8259_state_class = {
    .name = "i8259",
    .version = 1,
    .fields = i8259_fields,
    .field_count = ARRAY_SIZE(i8259_fields),
    .post_load = i8259_post_load,
};

const struct room_device i8259_device = {
    .name = "i8259",
    .state = &i8259_state_class,
    .create = i8259_create,
    .destroy = i8259_destroy,
    .reset = i8259_reset,
    .object = i8259_object,
    .resume = i8259_resume,
};
