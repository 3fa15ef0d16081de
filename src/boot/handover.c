// SPDX-License-Identifier: BSD-2-Clause
#include "boot/handover.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "boot/cpu.h"

#define MODULE_ALIGN (4 * KiB)

static void init(struct handover *h, struct loader *loader)
{
	const struct guest_memory *memory = &loader->memory;

	*h = (struct handover){.loader = loader, .next_text = LOWMEM_CMDLINE};
	h->e820_count = e820_build(memory->lowmem,
				   memory->highend - memory->highbase, h->e820);
}

/* -- texts --------------------------------------------------------------- */

int handover_text(struct handover *h, const char *first, const char *second,
		  uint64_t *gpa, struct err *err)
{
	const struct guest_memory *memory = &h->loader->memory;
	uint64_t end = LOWMEM_CMDLINE + LOWMEM_CMDLINE_SIZE;
	size_t before = strlen(first), after = strlen(second);
	uint64_t at = h->next_text;
	int error;

	*gpa = at;
	/* A space and a NUL. */
	if (before + after + 2 > end - at)
		return err_set(
		    err, E2BIG,
		    "\"%.40s...\": the command line and the texts of "
		    "modules are longer than %llu KiB",
		    first, LOWMEM_CMDLINE_SIZE / KiB);
	h->next_text += before + after + 2;
	error = guest_write(memory, at, first, before + 1);
	if (error == 0 && after > 0)
		error = guest_write(memory, at + before, " ", 1);
	if (error == 0 && after > 0)
		error = guest_write(memory, at + before + 1, second, after + 1);
	return error == 0 ? 0
			  : err_sys(err, -error,
				    "cannot write the command line to the "
				    "guest's memory");
}

/* -- modules ------------------------------------------------------------- */

static int read_module(struct handover *h, const struct boot_file *file,
		       struct handover_module *module, uint64_t from,
		       struct err *err)
{
	struct loader *loader = h->loader;

	module->gpa = ALIGN_UP(from, MODULE_ALIGN);
	module->size = file->size;
	if (!range_inside(module->gpa, module->size, loader->memory.lowmem))
		return err_set(err, ENOMEM,
			       "%s: a module of %llu MiB does not fit behind "
			       "the kernel and other modules (%llu MiB) into "
			       "%llu MiB of memory",
			       file->path, loader_in_mib(file->size),
			       loader_in_mib(from),
			       loader_in_mib(loader->memory.lowmem));
	return loader_read_file(loader, file, 0, module->gpa, module->size,
				err);
}

static int add_module(struct handover *h, const char *path, const char *text,
		      struct err *err)
{
	struct handover_module *module = &h->module[h->modules];
	uint64_t from = h->loader->result.kernel_end;
	struct boot_file file = {.fd = -1};
	int error;

	if (h->modules == BOOT_MODULES_MAX)
		return err_set(err, E2BIG, "%s: more than %d modules", path,
			       BOOT_MODULES_MAX);
	if (h->modules > 0)
		from = module[-1].gpa + module[-1].size;
	error = handover_text(h, text, "", &module->text, err);
	if (error == 0)
		error = boot_file_open(&file, path, err);
	if (error == 0)
		error = read_module(h, &file, module, from, err);
	boot_file_close(&file);
	if (error == 0)
		h->modules++;
	return error;
}

/* Its path ends at the first space; the kernel sees all of text. */
static int add_text(struct handover *h, const char *text, struct err *err)
{
	char *path = strndup(text, strcspn(text, " "));
	int error;

	if (path == NULL)
		return err_sys(err, ENOMEM, "module %.80s", text);
	error = add_module(h, path, text, err);
	free(path);
	return error;
}

int handover_modules(struct handover *h, struct err *err)
{
	const struct boot_request *request = h->loader->request;
	struct boot_result *result = &h->loader->result;
	int error = 0;

	/* The initrd's path is all of its text, spaces and all. */
	if (request->initrd != NULL && *request->initrd != '\0') {
		error = add_module(h, request->initrd, request->initrd, err);
		result->initrd_gpa = h->module[0].gpa;
		result->initrd_size = h->module[0].size;
	}
	for (unsigned int i = 0; error == 0 && i < request->modules; i++)
		error = add_text(h, request->module[i], err);
	return error;
}

static int write_all(const struct handover *h, struct err *err)
{
	const struct guest_memory *memory = &h->loader->memory;
	int error = guest_write(memory, HANDOVER_GPA, h->page, sizeof(h->page));

	if (error == 0)
		error = boot_cpu_tables32(memory);
	return error == 0 ? 0
			  : err_sys(err, -error,
				    "cannot write the kernel's parameters to "
				    "the guest's memory");
}

/* -- all of it ----------------------------------------------------------- */

int handover_load(struct loader *loader, struct vcpu *bsp,
		  const struct handover_format *format, struct err *err)
{
	struct handover h;
	int error;

	init(&h, loader);
	error = format->load_kernel(loader, err);
	if (error == 0)
		error = format->describe(&h, err);
	if (error == 0)
		error = write_all(&h, err);
	return error != 0
		   ? error
		   : boot_cpu_registers32(bsp, (uint32_t)loader->result.entry,
					  format->eax, HANDOVER_GPA, err);
}
