/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ACPI machine language, written term by term (ACPI specification 5.1,
 * chapter 20; resource descriptors: 6.4). What has an end (a scope, a device,
 * a method, a package, a list of resources) is opened and closed:
 *
 *	size_t device = aml_open_device(aml, "COM1");
 *	aml_name_eisaid(aml, "_HID", "PNP0501");
 *	aml_name_integer(aml, "_UID", 1);
 *	size_t resources = aml_open_resources(aml, "_CRS");
 *	aml_io(aml, 0x3f8, 8);
 *	aml_irq(aml, 4);
 *	aml_close_resources(aml, resources);
 *	aml_close(aml, device);
 *
 * Names are as in ASL: up to four characters, or a path of them with dots,
 * with a backslash or carets before it.
 */
#ifndef FIRMWARE_AML_H
#define FIRMWARE_AML_H

#include "firmware/out.h"

struct aml {
	struct fw_out *out;
};

/* -- terms ----------------------------------------------------------------- */

void aml_integer(struct aml *aml, uint64_t value);
void aml_string(struct aml *aml, const char *text);
void aml_eisaid(struct aml *aml, const char *id); /* "PNP0501" */
void aml_path(struct aml *aml, const char *name);

/* Name (name, ...): the value follows. */
void aml_name(struct aml *aml, const char *name);
void aml_name_integer(struct aml *aml, const char *name, uint64_t value);
void aml_name_string(struct aml *aml, const char *name, const char *text);
void aml_name_eisaid(struct aml *aml, const char *name, const char *id);

/* Return (name) */
void aml_return_path(struct aml *aml, const char *name);

/* -- what has an end ------------------------------------------------------- */

size_t aml_open_scope(struct aml *aml, const char *name);
size_t aml_open_device(struct aml *aml, const char *name);
size_t aml_open_method(struct aml *aml, const char *name, unsigned int args);
size_t aml_open_package(struct aml *aml, size_t elements);
/* If (name) */
size_t aml_open_if(struct aml *aml, const char *name);
void aml_close(struct aml *aml, size_t opened);

/* Name (name, ResourceTemplate () { ... }) */
size_t aml_open_resources(struct aml *aml, const char *name);
void aml_close_resources(struct aml *aml, size_t opened);

/* -- resources ------------------------------------------------------------- */

/* Ports that the device itself decodes, 16 bits. */
void aml_io(struct aml *aml, uint16_t port, uint8_t count);
/* An ISA interrupt: edge-triggered, active high. */
void aml_irq(struct aml *aml, uint8_t irq);
void aml_memory32(struct aml *aml, uint32_t base, uint32_t size);

enum aml_window {
	AML_WINDOW_MEMORY,
	AML_WINDOW_IO,
	AML_WINDOW_BUS,
};

/* What a bridge passes on; size is not 0. */
void aml_window(struct aml *aml, enum aml_window kind, uint64_t base,
		uint64_t size);

#endif
