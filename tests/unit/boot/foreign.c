// SPDX-License-Identifier: BSD-2-Clause
#include "foreign.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "firmware/lowmem.h"

int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (f == NULL)
		return -1;
	fake_vm_init(&f->vm, MEMORY, 16 * MiB);
	/* Not fresh memory: what must be zero is made so. */
	memset(f->vm.low, 0x99, 32 * MiB);
	f->request = (struct boot_request){
	    .kernel = f->kernel,
	    .cmdline = "a b=c",
	    .module = f->module,
	};
	*state = f;
	return 0;
}

int teardown(void **state)
{
	struct fixture *f = *state;

	fake_vm_free(&f->vm);
	free(f);
	return 0;
}

void use_kernel(struct fixture *f, struct blob blob)
{
	snprintf(f->kernel, sizeof(f->kernel), "%s",
		 file_with("a-kernel", &blob));
	blob_free(&blob);
}

uint8_t module_byte(size_t offset)
{
	return (uint8_t)(offset * 13 + offset / 4096);
}

void make_module(char path[128], const char *name, size_t size)
{
	struct blob blob = {.data = malloc(size + 1), .size = size};

	assert_non_null(blob.data);
	for (size_t i = 0; i < size; i++)
		blob.data[i] = module_byte(i);
	snprintf(path, 128, "%s", file_with(name, &blob));
	blob_free(&blob);
}

static int run(struct fixture *f)
{
	int error;

	f->err.text[0] = '\0';
	f->bsp = (struct vcpu){0};
	error = boot_load(&f->vm, &f->bsp, &f->request, &f->result, &f->err);
	assert_int_equal(f->vm.open_writes, 0);
	assert_int_equal(error == 0, f->err.text[0] == '\0');
	assert_null(strchr(f->err.text, '\n'));
	return error;
}

void succeed(struct fixture *f)
{
	if (run(f) != 0)
		fail_msg("%s", f->err.text);
}

void refuse(struct fixture *f, int error, const char *text)
{
	int got = run(f);

	if (got != -error || strstr(f->err.text, text) == NULL)
		fail_msg("%d (want %d, \"%s\"): %s", got, -error, text,
			 f->err.text);
}

struct blob kernel_elf32(void)
{
	struct blob elf = kernel_elf();
	Elf64_Ehdr wide = *elf_header(&elf);
	Elf32_Ehdr small = {
	    .e_type = wide.e_type,
	    .e_machine = EM_386,
	    .e_version = 1,
	    .e_entry = (uint32_t)wide.e_entry,
	    .e_phoff = sizeof(Elf32_Ehdr),
	    .e_ehsize = sizeof(Elf32_Ehdr),
	    .e_phentsize = sizeof(Elf32_Phdr),
	    .e_phnum = 2,
	};
	Elf32_Phdr phdr[2];

	memcpy(small.e_ident, wide.e_ident, EI_NIDENT);
	small.e_ident[EI_CLASS] = ELFCLASS32;
	for (unsigned int i = 0; i < 2; i++) {
		const Elf64_Phdr *from = elf_segment(&elf, i);

		phdr[i] = (Elf32_Phdr){
		    .p_type = from->p_type,
		    .p_offset = (uint32_t)from->p_offset,
		    .p_vaddr = (uint32_t)from->p_vaddr,
		    .p_paddr = (uint32_t)from->p_paddr,
		    .p_filesz = (uint32_t)from->p_filesz,
		    .p_memsz = (uint32_t)from->p_memsz,
		};
	}
	memset(elf.data, 0xee, 0x400);
	memcpy(elf.data, &small, sizeof(small));
	memcpy(elf.data + sizeof(small), phdr, sizeof(phdr));
	return elf;
}

void check_state32(const struct fixture *f, uint64_t eax, uint64_t info)
{
	static const int data[] = {VM_REG_GUEST_DS, VM_REG_GUEST_ES,
				   VM_REG_GUEST_SS};
	const struct vcpu *bsp = &f->bsp;
	uint64_t gdt = bsp->desc[VM_REG_GUEST_GDTR].base;

	assert_int_equal(bsp->resets, 1);
	assert_int_equal(bsp->reg[VM_REG_GUEST_RIP], f->result.entry);
	assert_int_equal(bsp->reg[VM_REG_GUEST_RAX], eax);
	assert_int_equal(bsp->reg[VM_REG_GUEST_RBX], info);
	assert_int_equal(bsp->reg[VM_REG_GUEST_CR0], 0x11); /* PE, ET */
	assert_int_equal(bsp->reg[VM_REG_GUEST_CR4], 0);
	assert_int_equal(bsp->reg[VM_REG_GUEST_EFER], 0);
	assert_int_equal(bsp->reg[VM_REG_GUEST_RFLAGS], 2);
	assert_int_equal(bsp->desc[VM_REG_GUEST_CS].access, 0xc09b);
	assert_int_equal(bsp->desc[VM_REG_GUEST_CS].base, 0);
	assert_int_equal(bsp->desc[VM_REG_GUEST_CS].limit, UINT32_MAX);
	for (size_t i = 0; i < ARRAY_SIZE(data); i++) {
		assert_int_equal(bsp->desc[data[i]].access, 0xc093);
		assert_int_equal(bsp->desc[data[i]].base, 0);
		assert_int_equal(bsp->desc[data[i]].limit, UINT32_MAX);
	}
	assert_int_equal(bsp->desc[VM_REG_GUEST_TR].access, 0x8b);
	assert_int_equal(bsp->desc[VM_REG_GUEST_TR].limit, 0x67);
	/* The selectors name just these in the GDT. */
	assert_int_equal(load_le64(f->vm.low + gdt + bsp->reg[VM_REG_GUEST_CS]),
			 0x00cf9b000000ffff);
	assert_int_equal(load_le64(f->vm.low + gdt + bsp->reg[VM_REG_GUEST_DS]),
			 0x00cf93000000ffff);
	assert_true(info + 4096 <= LOWMEM_CMDLINE);
}
