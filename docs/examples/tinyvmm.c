// SPDX-License-Identifier: BSD-2-Clause
/*
 * A whole virtual machine monitor on libvmmapi. Its guest is a few bytes of
 * real-mode code; its board, a port that prints, a port that counts and one
 * word of device memory. Build it against an installed library:
 *	cc -o tinyvmm tinyvmm.c $(pkg-config --cflags --libs libvmmapi)
 */
#include <stdio.h>
#include <string.h>
#include <vmmapi.h>

#define MEMORY     (16 << 20)
#define CODE_GPA   0x1000 /* where the code lies, and IP begins */
#define TEXT_GPA   0x2000
#define PORT_PRINT 0xe9
#define PORT_COUNT 0xea
#define DEVICE_GPA MEMORY /* behind all RAM */

static const unsigned char code[] = {
    0xba, 0xe9, 0x00,       /* mov $PORT_PRINT, %dx */
    0xbe, 0x00, 0x20,       /* mov $TEXT_GPA, %si */
    0xac,                   /* 1: lodsb */
    0xee,                   /* out %al, %dx */
    0x84, 0xc0,             /* test %al, %al */
    0x75, 0xfa,             /* jnz 1b */
    0xe4, 0xea,             /* in $PORT_COUNT, %al */
    0x26, 0xa3, 0x04, 0x00, /* mov %ax, %es:4 */
    0x26, 0xa1, 0x04, 0x00, /* mov %es:4, %ax */
    0x04, '0',              /* add $'0', %al */
    0xee,                   /* out %al, %dx */
    0xfa,                   /* cli */
    0xf4,                   /* hlt: for ever, so that the VM stops */
};
static const char text[] = "Hello, world\n";

static unsigned long long device_word;

static int put(struct vmctx *vm, vm_paddr_t gpa, const void *data, size_t size)
{
	void *to = vm_mem_write_begin(vm, gpa, size);

	if (to == NULL)
		return -1;
	memcpy(to, data, size);
	vm_mem_write_end(vm, gpa, size);
	return 0;
}

static int set_up(struct vmctx *vm, struct vcpu *cpu)
{
	/* Real mode from address 0 on; ES is the device. */
	if (vm_setup_memory(vm, MEMORY, VM_MMAP_ALL) != 0 ||
	    put(vm, CODE_GPA, code, sizeof(code)) != 0 ||
	    put(vm, TEXT_GPA, text, sizeof(text)) != 0 ||
	    vm_set_desc(cpu, VM_REG_GUEST_CS, 0, 0xffff, 0x9b) != 0 ||
	    vm_set_register(cpu, VM_REG_GUEST_CS, 0) != 0 ||
	    vm_set_desc(cpu, VM_REG_GUEST_ES, DEVICE_GPA, 0xffff, 0x93) != 0 ||
	    vm_set_register(cpu, VM_REG_GUEST_RIP, CODE_GPA) != 0)
		return -1;
	return vm_activate_cpu(cpu);
}

/* 0: go on. What asks for an answer finds it in the exit. */
static int handle(struct vm_exit *exit)
{
	switch (exit->exitcode) {
	case VM_EXITCODE_INOUT:
		if (exit->u.inout.in)
			exit->u.inout.eax =
			    exit->u.inout.port == PORT_COUNT ? 7 : 0xff;
		else if (exit->u.inout.port == PORT_PRINT)
			putchar((int)(exit->u.inout.eax & 0xff));
		return 0;
	case VM_EXITCODE_INST_EMUL:
		if (exit->u.inst_emul.write)
			device_word = exit->u.inst_emul.data;
		else
			exit->u.inst_emul.data = device_word;
		return 0;
	case VM_EXITCODE_SUSPENDED:
		printf("\nstopped, reason %d\n", exit->u.suspended.how);
		return 1;
	default: /* VM_EXITCODE_REQIDLE and its like: just run on */
		return 0;
	}
}

int main(void)
{
	struct vmctx *vm =
	    vm_openf("tinyvmm", VMMAPI_OPEN_CREATE | VMMAPI_OPEN_REINIT);
	struct vcpu *cpu = vm != NULL ? vm_vcpu_open(vm, 0) : NULL;
	struct vm_exit exit = {.exitcode = VM_EXITCODE_BOGUS};
	struct vm_run run = {.vm_exit = &exit};
	int error = cpu != NULL ? set_up(vm, cpu) : -1;

	while (error == 0 && (error = vm_run(cpu, &run)) == 0)
		if (handle(&exit) != 0)
			break;
	if (error != 0)
		fprintf(stderr, "tinyvmm: %s\n", vm_error_text());
	if (cpu != NULL)
		vm_vcpu_close(cpu);
	if (vm != NULL)
		vm_destroy(vm);
	return error != 0;
}
