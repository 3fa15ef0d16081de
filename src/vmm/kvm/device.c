// SPDX-License-Identifier: BSD-2-Clause
/* /dev/kvm: opened, and asked for what the engine needs. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/kvm/kvm.h"

#define DEVICE "/dev/kvm"

static const struct {
	int number;
	const char *name;
} needed[] = {
#define NEED(name)                                                             \
	{                                                                      \
		KVM_CAP_##name, #name                                          \
	}
    NEED(USER_MEMORY),     NEED(SET_TSS_ADDR),
    NEED(IMMEDIATE_EXIT),  NEED(SYNC_REGS),
    NEED(VCPU_EVENTS),     NEED(DEBUGREGS),
    NEED(XSAVE),           NEED(XCRS),
    NEED(SREGS2),          NEED(USER_NMI),
    NEED(X86_MSR_FILTER),  NEED(X86_USER_SPACE_MSR),
    NEED(VCPU_ATTRIBUTES), NEED(SET_GUEST_DEBUG),
    NEED(SPLIT_IRQCHIP),   NEED(SIGNAL_MSI),
    NEED(MP_STATE),        NEED(TSC_DEADLINE_TIMER),
#undef NEED
};

int kvm_failed(struct err *err, const char *who, const char *call, int error,
	       const char *remedy)
{
	return err_set(err, error, "%s: %s: %s%s%s", who, call, strerror(error),
		       remedy != NULL ? "; " : "",
		       remedy != NULL ? remedy : "");
}

/* Group kvm is of use when the device is its. */
static const char *permission_remedy(void)
{
	struct stat st;

	if (stat(DEVICE, &st) != 0 ||
	    (st.st_gid != 0 && (st.st_mode & 0060) == 0060))
		return "add yourself to group kvm";
	return "as root: chgrp kvm " DEVICE "; chmod g+rw " DEVICE
	       "; and add yourself to group kvm";
}

static int open_device(struct err *err)
{
	int fd = open(DEVICE, O_RDWR | O_CLOEXEC), error;

	if (fd >= 0)
		return fd;
	switch (errno) {
	case ENOENT:
	case ENODEV:
	case ENXIO:
		return err_set(err, errno,
			       "no " DEVICE
			       ": load the module kvm_intel or kvm_amd, and "
			       "switch virtualization on in the firmware");
	case EACCES:
		error = errno;
		return err_set(err, error, DEVICE ": %s; %s", strerror(error),
			       permission_remedy());
	case EPERM: /* the control group's rule for devices */
		return err_set(err, errno,
			       DEVICE ": %s; give the container the device "
				      "(--device " DEVICE ")",
			       strerror(errno));
	default:
		return err_sys(err, errno, DEVICE);
	}
}

static int check_version(int kvm, struct err *err)
{
	int version = ioctl(kvm, KVM_GET_API_VERSION, 0);

	if (version == KVM_API_VERSION)
		return 0;
	if (version < 0)
		return kvm_failed(err, DEVICE, "KVM_GET_API_VERSION", errno,
				  "is it KVM's device?");
	return err_set(err, ENOTSUP,
		       DEVICE ": API version %d, not %d; use another kernel",
		       version, KVM_API_VERSION);
}

static int check_capabilities(int kvm, struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(needed); i++)
		if (ioctl(kvm, KVM_CHECK_EXTENSION, needed[i].number) <= 0)
			return err_set(err, ENOTSUP,
				       DEVICE ": this kernel's KVM lacks "
					      "KVM_CAP_%s; Linux 5.16 or newer "
					      "has it",
				       needed[i].name);
	return 0;
}

int kvm_open(struct err *err)
{
	int fd = open_device(err);
	int error;

	if (fd < 0)
		return fd;
	error = check_version(fd, err);
	if (error == 0)
		error = check_capabilities(fd, err);
	if (error != 0) {
		close(fd);
		return error;
	}
	return fd;
}

int kvm_new_vm(int kvm, struct err *err)
{
	int fd;

	/* A signal may interrupt it, and says nothing about the VM. */
	do
		fd = ioctl(kvm, KVM_CREATE_VM, 0);
	while (fd < 0 && errno == EINTR);
	if (fd < 0)
		return kvm_failed(err, DEVICE, "KVM_CREATE_VM", errno,
				  errno == EBUSY
				      ? "another hypervisor has the CPU"
				      : "see the kernel's log");
	return fd;
}
