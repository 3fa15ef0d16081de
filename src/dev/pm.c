// SPDX-License-Identifier: BSD-2-Clause
/* Power and reset (ACPI 5.1, 4.8 "ACPI Register Model"). */
#include "dev/pm.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "dev/inout.h"
#include "dev/irq.h"
#include "dev/pci.h"
#include "firmware/acpi.h"

/* PM1 status and enable (4.8.3.1): both have a button at the same bit. */
#define PM1_TMR     0x0001u
#define PM1_GBL     0x0020u
#define PM1_PWRBTN  0x0100u
#define PM1_SLPBTN  0x0200u
#define PM1_RTC     0x0400u
#define PM1_STATUS  0xcf31u /* that exist; written ones clear them */
#define PM1_ENABLES (PM1_TMR | PM1_GBL | PM1_PWRBTN | PM1_SLPBTN | PM1_RTC)

/* PM1 control (4.8.3.2). */
#define CNT_SCI_EN           0x0001u
#define CNT_WRITABLE         0x1c02u /* BM_RLD, SLP_TYP; GBL_RLS and SLP_EN read 0 */
#define CNT_SLP_TYP(control) ((control) >> 10 & 7)
#define CNT_SLP_EN           0x2000u

#define PM1_SIZE  6 /* status, enable, control: 2 bytes each */
#define GPE0_SIZE 2 /* status, enable: 1 byte each */

#define PORT_92      0x92
#define PORT_92_INIT 0x01u
#define PORT_92_A20  0x02u

/* Reset control register: a rising bit 2 resets; bit 1 says how hard. */
#define CF9_SYSTEM 0x02u
#define CF9_RESET  0x04u
#define CF9_BITS   0x0eu

/* What the guest can see of it, and what is saved. */
struct pm_state {
	uint16_t pm1_status;
	uint16_t pm1_enable;
	uint16_t pm1_control;
	uint8_t gpe0_status;
	uint8_t gpe0_enable;
	uint8_t reset_control;
	uint8_t port92;
};

struct pm {
	struct board *board;
	struct irq_wires *irqs;
	struct io_range pm1;
	struct io_range gpe0;
	struct io_range smi;
	struct io_range p92;
	pthread_mutex_t lock; /* for what follows */
	bool sci;
	struct pm_state s;
};

/* The SCI is a level: up while an enabled event is pending. */
static void update_sci(struct pm *pm)
{
	bool sci = pm->s.pm1_control & CNT_SCI_EN &&
		   ((pm->s.pm1_status & pm->s.pm1_enable & PM1_ENABLES) ||
		    (pm->s.gpe0_status & pm->s.gpe0_enable));

	if (sci == pm->sci)
		return;
	pm->sci = sci;
	irq_set_isa(pm->irqs, ACPI_SCI_IRQ, sci);
}

/* -- PM1 ------------------------------------------------------------------- */

static uint64_t pm1_read(void *arg, uint64_t offset, unsigned int bytes)
{
	struct pm *pm = arg;
	uint16_t value;

	(void)bytes;
	pthread_mutex_lock(&pm->lock);
	if (offset < 2)
		value = pm->s.pm1_status;
	else if (offset < 4)
		value = pm->s.pm1_enable;
	else
		value = pm->s.pm1_control;
	pthread_mutex_unlock(&pm->lock);
	return value >> (8 * (offset & 1));
}

/* One byte of a 16-bit register replaced. */
static uint16_t merge(uint16_t old, uint16_t writable, unsigned int shift,
		      uint64_t byte)
{
	uint16_t mask = (uint16_t)(0xffu << shift) & writable;

	return (uint16_t)((old & ~mask) | ((byte << shift) & mask));
}

/* True: the guest asks for soft-off. */
static bool write_control(struct pm *pm, unsigned int shift, uint64_t byte)
{
	pm->s.pm1_control = merge(pm->s.pm1_control, CNT_WRITABLE, shift, byte);
	return byte << shift & CNT_SLP_EN &&
	       CNT_SLP_TYP(pm->s.pm1_control) == ACPI_S5_SLP_TYP;
}

static void pm1_write(void *arg, uint64_t offset, unsigned int bytes,
		      uint64_t value)
{
	struct pm *pm = arg;
	unsigned int shift = 8 * (offset & 1);
	bool off = false;

	(void)bytes;
	pthread_mutex_lock(&pm->lock);
	if (offset < 2)
		pm->s.pm1_status &= (uint16_t) ~(value << shift & PM1_STATUS);
	else if (offset < 4)
		pm->s.pm1_enable =
		    merge(pm->s.pm1_enable, PM1_ENABLES, shift, value);
	else
		off = write_control(pm, shift, value);
	update_sci(pm);
	pthread_mutex_unlock(&pm->lock);
	/* Without the lock: it reaches into the VM. A second request fails,
	   and changes nothing. */
	if (off)
		(void)vm_suspend(pm->board->ctx, VM_SUSPEND_POWEROFF);
}

bool pm_power_button(struct pm *pm)
{
	bool acpi;

	pthread_mutex_lock(&pm->lock);
	acpi = pm->s.pm1_control & CNT_SCI_EN;
	if (acpi) {
		pm->s.pm1_status |= PM1_PWRBTN;
		update_sci(pm);
	}
	pthread_mutex_unlock(&pm->lock);
	return acpi;
}

/* -- GPE0 ------------------------------------------------------------------ */

static uint64_t gpe0_read(void *arg, uint64_t offset, unsigned int bytes)
{
	struct pm *pm = arg;
	uint8_t value;

	(void)bytes;
	pthread_mutex_lock(&pm->lock);
	value = offset == 0 ? pm->s.gpe0_status : pm->s.gpe0_enable;
	pthread_mutex_unlock(&pm->lock);
	return value;
}

static void gpe0_write(void *arg, uint64_t offset, unsigned int bytes,
		       uint64_t value)
{
	struct pm *pm = arg;

	(void)bytes;
	pthread_mutex_lock(&pm->lock);
	if (offset == 0)
		pm->s.gpe0_status &= (uint8_t)~value;
	else
		pm->s.gpe0_enable = (uint8_t)value;
	update_sci(pm);
	pthread_mutex_unlock(&pm->lock);
}

/* -- SMI command, reset control, port 0x92 --------------------------------- */

static uint64_t smi_read(void *arg, uint64_t offset, unsigned int bytes)
{
	(void)arg;
	(void)offset;
	(void)bytes;
	return 0;
}

static void smi_write(void *arg, uint64_t offset, unsigned int bytes,
		      uint64_t value)
{
	struct pm *pm = arg;

	(void)offset;
	(void)bytes;
	pthread_mutex_lock(&pm->lock);
	if (value == ACPI_SMI_ENABLE)
		pm->s.pm1_control |= CNT_SCI_EN;
	else if (value == ACPI_SMI_DISABLE)
		pm->s.pm1_control &= (uint16_t)~CNT_SCI_EN;
	update_sci(pm);
	pthread_mutex_unlock(&pm->lock);
}

static uint8_t cf9_read(void *arg)
{
	struct pm *pm = arg;
	uint8_t value;

	pthread_mutex_lock(&pm->lock);
	value = pm->s.reset_control;
	pthread_mutex_unlock(&pm->lock);
	return value;
}

static void cf9_write(void *arg, uint8_t value)
{
	struct pm *pm = arg;
	bool reset;

	pthread_mutex_lock(&pm->lock);
	reset = value & ~pm->s.reset_control & CF9_RESET;
	pm->s.reset_control = value & CF9_BITS;
	pthread_mutex_unlock(&pm->lock);
	if (reset)
		(void)vm_suspend(pm->board->ctx, VM_SUSPEND_RESET);
}

void pm_port_cf9(struct pm *pm, struct pci_port_cf9 *out)
{
	*out = (struct pci_port_cf9){cf9_read, cf9_write, pm};
}

static uint64_t p92_read(void *arg, uint64_t offset, unsigned int bytes)
{
	struct pm *pm = arg;
	uint8_t value;

	(void)offset;
	(void)bytes;
	pthread_mutex_lock(&pm->lock);
	value = pm->s.port92;
	pthread_mutex_unlock(&pm->lock);
	return value;
}

/* Line A20 is always open; the bit only remembers what was written. */
static void p92_write(void *arg, uint64_t offset, unsigned int bytes,
		      uint64_t value)
{
	struct pm *pm = arg;
	bool reset;

	(void)offset;
	(void)bytes;
	pthread_mutex_lock(&pm->lock);
	reset = value & ~(uint64_t)pm->s.port92 & PORT_92_INIT;
	pm->s.port92 = value & (PORT_92_A20 | PORT_92_INIT);
	pthread_mutex_unlock(&pm->lock);
	if (reset)
		(void)vm_suspend(pm->board->ctx, VM_SUSPEND_RESET);
}

/* -- life ------------------------------------------------------------------ */

static void init_ranges(struct pm *pm)
{
	/* Bytes: the registers have no meaning that a wider access adds. */
	pm->pm1 =
	    (struct io_range){"ACPI PM1", PM1_SIZE, 1, pm1_read, pm1_write, pm};
	pm->gpe0 = (struct io_range){"ACPI GPE0", GPE0_SIZE,  1,
				     gpe0_read,   gpe0_write, pm};
	pm->smi =
	    (struct io_range){"SMI command", 1, 1, smi_read, smi_write, pm};
	pm->p92 = (struct io_range){"port 0x92", 1, 1, p92_read, p92_write, pm};
}

int pm_create(struct board *board, struct irq_wires *irqs, struct pm **out,
	      struct err *err)
{
	struct inout_map *ports = board->ports;
	struct pm *pm = calloc(1, sizeof(*pm));
	int error;

	if (pm == NULL)
		return err_sys(err, ENOMEM, "ACPI registers");
	pm->board = board;
	pm->irqs = irqs;
	pm->s.port92 = PORT_92_A20;
	pthread_mutex_init(&pm->lock, NULL);
	init_ranges(pm);
	irq_claim_isa(irqs, ACPI_SCI_IRQ);
	vm_isa_set_irq_trigger(board->ctx, ACPI_SCI_IRQ, LEVEL_TRIGGER);
	error = inout_add(ports, &pm->pm1, ACPI_PM1A_EVT_PORT, err);
	if (error == 0)
		error = inout_add(ports, &pm->gpe0, ACPI_GPE0_PORT, err);
	if (error == 0)
		error = inout_add(ports, &pm->smi, ACPI_SMI_CMD_PORT, err);
	if (error == 0)
		error = inout_add(ports, &pm->p92, PORT_92, err);
	if (error < 0) {
		pm_destroy(pm);
		return error;
	}
	*out = pm;
	return 0;
}

void pm_destroy(struct pm *pm)
{
	if (pm == NULL)
		return;
	inout_remove(pm->board->ports, &pm->pm1);
	inout_remove(pm->board->ports, &pm->gpe0);
	inout_remove(pm->board->ports, &pm->smi);
	inout_remove(pm->board->ports, &pm->p92);
	pthread_mutex_destroy(&pm->lock);
	free(pm);
}

/* -- saved state ----------------------------------------------------------- */

static int post_load(void *object)
{
	const struct pm_state *s = object;

	if (s->pm1_status & ~PM1_STATUS || s->pm1_enable & ~PM1_ENABLES ||
	    s->pm1_control & ~(CNT_WRITABLE | CNT_SCI_EN) ||
	    s->reset_control & ~CF9_BITS ||
	    s->port92 & ~(PORT_92_A20 | PORT_92_INIT))
		return -EINVAL;
	return 0;
}

static const struct state_field fields[] = {
    STATE_SCALAR(struct pm_state, pm1_status),
    STATE_SCALAR(struct pm_state, pm1_enable),
    STATE_SCALAR(struct pm_state, pm1_control),
    STATE_SCALAR(struct pm_state, gpe0_status),
    STATE_SCALAR(struct pm_state, gpe0_enable),
    STATE_SCALAR(struct pm_state, reset_control),
    STATE_SCALAR(struct pm_state, port92),
};

static const struct state_class pm_class = {
    .name = "pm",
    .version = 1,
    .fields = fields,
    .field_count = ARRAY_SIZE(fields),
    .post_load = post_load,
};

int pm_save(struct pm *pm, struct state_writer *writer)
{
	int error;

	pthread_mutex_lock(&pm->lock);
	error = state_save(&pm_class, 0, &pm->s, writer);
	pthread_mutex_unlock(&pm->lock);
	return error;
}

int pm_load(struct pm *pm, struct state_reader *reader, struct err *err)
{
	struct pm_state loaded;
	int error = state_load(&pm_class, 0, &loaded, reader, err);

	if (error < 0)
		return error;
	pthread_mutex_lock(&pm->lock);
	pm->s = loaded;
	update_sci(pm);
	pthread_mutex_unlock(&pm->lock);
	return 0;
}
