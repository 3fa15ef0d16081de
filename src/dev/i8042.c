// SPDX-License-Identifier: BSD-2-Clause
/*
 * The keyboard controller (IBM PS/2 Hardware Interface Technical Reference,
 * "Keyboard and Auxiliary Device Controller"; "101- and 102-Key Keyboards").
 */
#include "dev/i8042.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "dev/inout.h"
#include "dev/irq.h"

#define PORT_DATA    0x60
#define PORT_COMMAND 0x64 /* read: status */
#define IRQ_KEYBOARD 1

#define STATUS_OUTPUT_FULL 0x01
#define STATUS_SYSTEM      0x04
#define STATUS_COMMAND     0x08
#define STATUS_UNLOCKED    0x10

/* Command byte. */
#define CCB_KEYBOARD_IRQ 0x01
#define CCB_SYSTEM       0x04
#define CCB_KEYBOARD_OFF 0x10
#define CCB_AUX_OFF      0x20
#define CCB_TRANSLATE    0x40

/* Controller commands. */
#define CMD_READ_RAM      0x20 /* to 0x3f; 0x20 is the command byte */
#define CMD_WRITE_RAM     0x60 /* to 0x7f */
#define CMD_AUX_OFF       0xa7
#define CMD_AUX_ON        0xa8
#define CMD_AUX_TEST      0xa9
#define CMD_SELF_TEST     0xaa
#define CMD_KEYBOARD_TEST 0xab
#define CMD_KEYBOARD_OFF  0xad
#define CMD_KEYBOARD_ON   0xae
#define CMD_READ_INPUT    0xc0
#define CMD_READ_OUTPUT   0xd0
#define CMD_WRITE_OUTPUT  0xd1
#define CMD_WRITE_OBF     0xd2 /* as if from the keyboard */
#define CMD_WRITE_AUX_OBF 0xd3
#define CMD_WRITE_AUX     0xd4
#define CMD_PULSE         0xf0 /* to 0xff; bit 0 clear: reset */

#define SELF_TEST_PASSED 0x55
#define AUX_CLOCK_LOW    0x01 /* no mouse: its clock line is stuck */
#define OUTPUT_NOT_RESET 0x01 /* output port, bit 0 */
#define OUTPUT_A20       0x02

/* Keyboard commands and answers. */
#define KBD_SET_LEDS  0xed
#define KBD_ECHO      0xee
#define KBD_SCAN_SET  0xf0
#define KBD_IDENTIFY  0xf2
#define KBD_TYPEMATIC 0xf3
#define KBD_ENABLE    0xf4
#define KBD_DISABLE   0xf5
#define KBD_DEFAULTS  0xf6
#define KBD_RESEND    0xfe
#define KBD_RESET     0xff
#define KBD_ACK       0xfa
#define KBD_PASSED    0xaa

#define QUEUE_SIZE 16
#define RAM_SIZE   32

/* What the guest can see of it, and what is saved. */
struct i8042_state {
	uint8_t ram[RAM_SIZE];   /* [0] is the command byte */
	uint8_t last_to_command; /* the last write was to 0x64 */
	uint8_t output_port;
	uint8_t parameter_of; /* controller command that waits for its byte */
	uint8_t keyboard_parameter_of;
	uint8_t scan_set;
	uint8_t last_sent;
	uint8_t queue_count;
	uint8_t queue[QUEUE_SIZE]; /* towards the guest, oldest first */
};

struct i8042 {
	struct board *board;
	struct irq_wires *irqs;
	struct io_range data;
	struct io_range command;
	pthread_mutex_t lock; /* for what follows */
	bool line;
	struct i8042_state s;
};

static void set_line(struct i8042 *kbc, bool level)
{
	if (kbc->line == level)
		return;
	kbc->line = level;
	irq_set_isa(kbc->irqs, IRQ_KEYBOARD, level);
}

static void update_line(struct i8042 *kbc)
{
	set_line(kbc,
		 kbc->s.queue_count > 0 && kbc->s.ram[0] & CCB_KEYBOARD_IRQ);
}

/* What does not fit is lost, as on a keyboard that is not read. */
static void push(struct i8042 *kbc, uint8_t byte)
{
	if (kbc->s.queue_count == QUEUE_SIZE)
		return;
	kbc->s.queue[kbc->s.queue_count++] = byte;
}

/* -- the keyboard ---------------------------------------------------------- */

static void keyboard_push(struct i8042 *kbc, uint8_t byte)
{
	kbc->s.last_sent = byte;
	push(kbc, byte);
}

static void keyboard_parameter(struct i8042 *kbc, uint8_t byte)
{
	uint8_t command = kbc->s.keyboard_parameter_of;

	kbc->s.keyboard_parameter_of = 0;
	keyboard_push(kbc, KBD_ACK);
	if (command != KBD_SCAN_SET)
		return;
	if (byte == 0)
		keyboard_push(kbc, kbc->s.scan_set);
	else if (byte <= 3)
		kbc->s.scan_set = byte;
}

/* Translation to set 1 changes the second byte of the identity, 83h. */
static void identify(struct i8042 *kbc)
{
	keyboard_push(kbc, KBD_ACK);
	keyboard_push(kbc, 0xab);
	keyboard_push(kbc, kbc->s.ram[0] & CCB_TRANSLATE ? 0x41 : 0x83);
}

static void keyboard_command(struct i8042 *kbc, uint8_t byte)
{
	switch (byte) {
	case KBD_SET_LEDS:
	case KBD_SCAN_SET:
	case KBD_TYPEMATIC:
		kbc->s.keyboard_parameter_of = byte;
		keyboard_push(kbc, KBD_ACK);
		break;
	case KBD_ECHO:
		keyboard_push(kbc, KBD_ECHO);
		break;
	case KBD_IDENTIFY:
		identify(kbc);
		break;
	case KBD_ENABLE:
		keyboard_push(kbc, KBD_ACK);
		break;
	case KBD_DISABLE:
	case KBD_DEFAULTS:
		kbc->s.scan_set = 2;
		keyboard_push(kbc, KBD_ACK);
		break;
	case KBD_RESEND:
		push(kbc, kbc->s.last_sent);
		break;
	case KBD_RESET:
		kbc->s.scan_set = 2;
		keyboard_push(kbc, KBD_ACK);
		keyboard_push(kbc, KBD_PASSED);
		break;
	default:
		keyboard_push(kbc, KBD_RESEND);
		break;
	}
}

/* A command cancels one that waits for its byte. */
static void to_keyboard(struct i8042 *kbc, uint8_t byte)
{
	kbc->s.ram[0] &= (uint8_t)~CCB_KEYBOARD_OFF;
	if (kbc->s.keyboard_parameter_of != 0 && byte < KBD_SET_LEDS) {
		keyboard_parameter(kbc, byte);
	} else {
		kbc->s.keyboard_parameter_of = 0;
		keyboard_command(kbc, byte);
	}
}

/* -- the controller -------------------------------------------------------- */

static void self_test(struct i8042 *kbc)
{
	kbc->s.queue_count = 0;
	kbc->s.ram[0] |= CCB_SYSTEM | CCB_AUX_OFF | CCB_KEYBOARD_OFF;
	push(kbc, SELF_TEST_PASSED);
}

/* A byte at 0x64. True: the machine is to be reset. */
static bool controller_command(struct i8042 *kbc, uint8_t byte)
{
	kbc->s.parameter_of = 0;
	if (byte >= CMD_READ_RAM && byte < CMD_READ_RAM + RAM_SIZE)
		push(kbc, kbc->s.ram[byte - CMD_READ_RAM]);
	else if (byte >= CMD_WRITE_RAM && byte < CMD_WRITE_RAM + RAM_SIZE)
		kbc->s.parameter_of = byte;
	else if (byte >= CMD_PULSE)
		return !(byte & OUTPUT_NOT_RESET);

	switch (byte) {
	case CMD_AUX_OFF:
		kbc->s.ram[0] |= CCB_AUX_OFF;
		break;
	case CMD_AUX_ON:
		kbc->s.ram[0] &= (uint8_t)~CCB_AUX_OFF;
		break;
	case CMD_AUX_TEST:
		push(kbc, AUX_CLOCK_LOW);
		break;
	case CMD_SELF_TEST:
		self_test(kbc);
		break;
	case CMD_KEYBOARD_TEST:
	case CMD_READ_INPUT:
		push(kbc, 0);
		break;
	case CMD_KEYBOARD_OFF:
		kbc->s.ram[0] |= CCB_KEYBOARD_OFF;
		break;
	case CMD_KEYBOARD_ON:
		kbc->s.ram[0] &= (uint8_t)~CCB_KEYBOARD_OFF;
		break;
	case CMD_READ_OUTPUT:
		push(kbc, kbc->s.output_port);
		break;
	case CMD_WRITE_OUTPUT:
	case CMD_WRITE_OBF:
	case CMD_WRITE_AUX_OBF:
	case CMD_WRITE_AUX:
		kbc->s.parameter_of = byte;
		break;
	default:
		break;
	}
	return false;
}

/* The byte that a command at 0x64 waited for. True: reset. */
static bool controller_parameter(struct i8042 *kbc, uint8_t byte)
{
	uint8_t command = kbc->s.parameter_of;

	kbc->s.parameter_of = 0;
	switch (command) {
	case CMD_WRITE_OUTPUT:
		kbc->s.output_port = byte | OUTPUT_NOT_RESET;
		return !(byte & OUTPUT_NOT_RESET);
	case CMD_WRITE_OBF:
	case CMD_WRITE_AUX_OBF: /* one channel only: without the mouse's mark */
		push(kbc, byte);
		return false;
	case CMD_WRITE_AUX: /* nobody there */
		return false;
	default:
		kbc->s.ram[command - CMD_WRITE_RAM] = byte;
		return false;
	}
}

/* -- ports ----------------------------------------------------------------- */

static uint64_t data_read(void *arg, uint64_t offset, unsigned int bytes)
{
	struct i8042 *kbc = arg;
	uint8_t byte;

	(void)offset;
	(void)bytes;
	pthread_mutex_lock(&kbc->lock);
	byte = kbc->s.queue[0];
	if (kbc->s.queue_count > 0) {
		kbc->s.queue_count--;
		memmove(kbc->s.queue, kbc->s.queue + 1, kbc->s.queue_count);
		/* The next byte is a new edge. */
		set_line(kbc, false);
		update_line(kbc);
	}
	pthread_mutex_unlock(&kbc->lock);
	return byte;
}

static uint64_t status_read(void *arg, uint64_t offset, unsigned int bytes)
{
	struct i8042 *kbc = arg;
	uint8_t status = STATUS_UNLOCKED;

	(void)offset;
	(void)bytes;
	pthread_mutex_lock(&kbc->lock);
	if (kbc->s.queue_count > 0)
		status |= STATUS_OUTPUT_FULL;
	if (kbc->s.ram[0] & CCB_SYSTEM)
		status |= STATUS_SYSTEM;
	if (kbc->s.last_to_command)
		status |= STATUS_COMMAND;
	pthread_mutex_unlock(&kbc->lock);
	return status;
}

static void port_write(struct i8042 *kbc, bool to_command, uint8_t byte)
{
	bool reset = false;

	pthread_mutex_lock(&kbc->lock);
	kbc->s.last_to_command = to_command;
	if (to_command)
		reset = controller_command(kbc, byte);
	else if (kbc->s.parameter_of != 0)
		reset = controller_parameter(kbc, byte);
	else
		to_keyboard(kbc, byte);
	update_line(kbc);
	pthread_mutex_unlock(&kbc->lock);
	if (reset)
		(void)vm_suspend(kbc->board->ctx, VM_SUSPEND_RESET);
}

static void data_write(void *arg, uint64_t offset, unsigned int bytes,
		       uint64_t value)
{
	(void)offset;
	(void)bytes;
	port_write(arg, false, (uint8_t)value);
}

static void command_write(void *arg, uint64_t offset, unsigned int bytes,
			  uint64_t value)
{
	(void)offset;
	(void)bytes;
	port_write(arg, true, (uint8_t)value);
}

/* -- life ------------------------------------------------------------------ */

int i8042_create(struct board *board, struct irq_wires *irqs,
		 struct i8042 **out, struct err *err)
{
	struct i8042 *kbc = calloc(1, sizeof(*kbc));
	int error;

	if (kbc == NULL)
		return err_sys(err, ENOMEM, "keyboard controller");
	kbc->board = board;
	kbc->irqs = irqs;
	kbc->s.ram[0] =
	    CCB_KEYBOARD_IRQ | CCB_SYSTEM | CCB_AUX_OFF | CCB_TRANSLATE;
	kbc->s.output_port = OUTPUT_NOT_RESET | OUTPUT_A20;
	kbc->s.scan_set = 2;
	pthread_mutex_init(&kbc->lock, NULL);
	kbc->data = (struct io_range){
	    "keyboard controller", 1, 1, data_read, data_write, kbc};
	kbc->command = (struct io_range){
	    "keyboard controller", 1, 1, status_read, command_write, kbc};
	irq_claim_isa(irqs, IRQ_KEYBOARD);
	error = inout_add(board->ports, &kbc->data, PORT_DATA, err);
	if (error == 0)
		error =
		    inout_add(board->ports, &kbc->command, PORT_COMMAND, err);
	if (error < 0) {
		i8042_destroy(kbc);
		return error;
	}
	*out = kbc;
	return 0;
}

void i8042_destroy(struct i8042 *kbc)
{
	if (kbc == NULL)
		return;
	inout_remove(kbc->board->ports, &kbc->data);
	inout_remove(kbc->board->ports, &kbc->command);
	pthread_mutex_destroy(&kbc->lock);
	free(kbc);
}

/* -- saved state ----------------------------------------------------------- */

static int post_load(void *object)
{
	const struct i8042_state *s = object;
	bool writes_ram = s->parameter_of >= CMD_WRITE_RAM &&
			  s->parameter_of < CMD_WRITE_RAM + RAM_SIZE;
	bool other =
	    s->parameter_of == 0 || (s->parameter_of >= CMD_WRITE_OUTPUT &&
				     s->parameter_of <= CMD_WRITE_AUX);

	return s->queue_count <= QUEUE_SIZE && (writes_ram || other) ? 0
								     : -EINVAL;
}

static const struct state_field fields[] = {
    STATE_ARRAY(struct i8042_state, ram),
    STATE_SCALAR(struct i8042_state, last_to_command),
    STATE_SCALAR(struct i8042_state, output_port),
    STATE_SCALAR(struct i8042_state, parameter_of),
    STATE_SCALAR(struct i8042_state, keyboard_parameter_of),
    STATE_SCALAR(struct i8042_state, scan_set),
    STATE_SCALAR(struct i8042_state, last_sent),
    STATE_SCALAR(struct i8042_state, queue_count),
    STATE_ARRAY(struct i8042_state, queue),
};

static const struct state_class i8042_class = {
    .name = "i8042",
    .version = 1,
    .fields = fields,
    .field_count = ARRAY_SIZE(fields),
    .post_load = post_load,
};

int i8042_save(struct i8042 *kbc, struct state_writer *writer)
{
	int error;

	pthread_mutex_lock(&kbc->lock);
	error = state_save(&i8042_class, 0, &kbc->s, writer);
	pthread_mutex_unlock(&kbc->lock);
	return error;
}

int i8042_load(struct i8042 *kbc, struct state_reader *reader, struct err *err)
{
	struct i8042_state loaded;
	int error = state_load(&i8042_class, 0, &loaded, reader, err);

	if (error < 0)
		return error;
	pthread_mutex_lock(&kbc->lock);
	kbc->s = loaded;
	update_line(kbc);
	pthread_mutex_unlock(&kbc->lock);
	return 0;
}
