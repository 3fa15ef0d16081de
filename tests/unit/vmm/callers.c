// SPDX-License-Identifier: BSD-2-Clause
/*
 * A caller of each function of vmmapi.h, linked with the shared library. The
 * types stand here once more, as FreeBSD's library has them: a change of the
 * header that would break a caller breaks this.
 */
#include <stdio.h>
#include <vmmapi.h>

/* X(name, type, arguments...) */
#define FUNCTIONS(X)                                                           \
	X(vm_create, int, const char *)                                        \
	X(vm_open, struct vmctx *, const char *)                               \
	X(vm_openf, struct vmctx *, const char *, int)                         \
	X(vm_close, void, struct vmctx *)                                      \
	X(vm_destroy, void, struct vmctx *)                                    \
	X(vm_limit_rights, int, struct vmctx *)                                \
	X(vm_reinit, int, struct vmctx *)                                      \
	X(vm_suspend, int, struct vmctx *, enum vm_suspend_how)                \
	X(vm_get_name, const char *, struct vmctx *)                           \
	X(vm_batch_begin, int, struct vmctx *)                                 \
	X(vm_batch_end, int, struct vmctx *)                                   \
	X(vm_memory_loss_fd, int, struct vmctx *)                              \
	X(vm_memory_lost, bool, struct vmctx *)                                \
	X(vm_error_text, const char *, void)                                   \
	X(vm_set_option, int, const char *, const char *)                      \
	X(vm_parse_memsize, int, const char *, size_t *)                       \
	X(vm_setup_memory, int, struct vmctx *, size_t, enum vm_mmap_style)    \
	X(vm_map_gpa, void *, struct vmctx *, vm_paddr_t, size_t)              \
	X(vm_rev_map_gpa, vm_paddr_t, struct vmctx *, void *)                  \
	X(vm_get_lowmem_limit, uint32_t, struct vmctx *)                       \
	X(vm_get_lowmem_size, size_t, struct vmctx *)                          \
	X(vm_get_highmem_base, vm_paddr_t, struct vmctx *)                     \
	X(vm_get_highmem_size, size_t, struct vmctx *)                         \
	X(vm_set_memflags, void, struct vmctx *, int)                          \
	X(vm_get_memflags, int, struct vmctx *)                                \
	X(vm_get_memseg, int, struct vmctx *, int, size_t *, char *, size_t)   \
	X(vm_mmap_getnext, int, struct vmctx *, vm_paddr_t *, int *, off_t *,  \
	  size_t *, int *, int *)                                              \
	X(vm_mem_write_begin, void *, struct vmctx *, vm_paddr_t, size_t)      \
	X(vm_mem_write_end, void, struct vmctx *, vm_paddr_t, size_t)          \
	X(vm_mem_dirty, void, struct vmctx *, vm_paddr_t, size_t)              \
	X(vm_mem_write, int, struct vmctx *, vm_paddr_t, const void *, size_t) \
	X(vm_gla2gpa, int, struct vcpu *, struct vm_guest_paging *, uint64_t,  \
	  int, uint64_t *, int *)                                              \
	X(vm_gla2gpa_nofault, int, struct vcpu *, struct vm_guest_paging *,    \
	  uint64_t, int, uint64_t *, int *)                                    \
	X(vm_copy_setup, int, struct vcpu *, struct vm_guest_paging *,         \
	  uint64_t, size_t, int, struct iovec *, int, int *)                   \
	X(vm_copyin, void, struct iovec *, void *, size_t)                     \
	X(vm_copyout, void, const void *, struct iovec *, size_t)              \
	X(vm_copy_teardown, void, struct iovec *, int)                         \
	X(vm_vcpu_open, struct vcpu *, struct vmctx *, int)                    \
	X(vm_vcpu_close, void, struct vcpu *)                                  \
	X(vcpu_id, int, struct vcpu *)                                         \
	X(vcpu_ctx, struct vmctx *, struct vcpu *)                             \
	X(vcpu_reset, int, struct vcpu *)                                      \
	X(vm_run, int, struct vcpu *, struct vm_run *)                         \
	X(vm_restart_instruction, int, struct vcpu *)                          \
	X(vm_activate_cpu, int, struct vcpu *)                                 \
	X(vm_suspend_cpu, int, struct vcpu *)                                  \
	X(vm_resume_cpu, int, struct vcpu *)                                   \
	X(vm_suspend_all_cpus, int, struct vmctx *)                            \
	X(vm_resume_all_cpus, int, struct vmctx *)                             \
	X(vm_active_cpus, int, struct vmctx *, cpuset_t *)                     \
	X(vm_suspended_cpus, int, struct vmctx *, cpuset_t *)                  \
	X(vm_debug_cpus, int, struct vmctx *, cpuset_t *)                      \
	X(vm_set_topology, int, struct vmctx *, uint16_t, uint16_t, uint16_t,  \
	  uint16_t)                                                            \
	X(vm_get_topology, int, struct vmctx *, uint16_t *, uint16_t *,        \
	  uint16_t *, uint16_t *)                                              \
	X(vm_set_register, int, struct vcpu *, int, uint64_t)                  \
	X(vm_get_register, int, struct vcpu *, int, uint64_t *)                \
	X(vm_set_register_set, int, struct vcpu *, unsigned int, const int *,  \
	  uint64_t *)                                                          \
	X(vm_get_register_set, int, struct vcpu *, unsigned int, const int *,  \
	  uint64_t *)                                                          \
	X(vm_set_desc, int, struct vcpu *, int, uint64_t, uint32_t, uint32_t)  \
	X(vm_get_desc, int, struct vcpu *, int, uint64_t *, uint32_t *,        \
	  uint32_t *)                                                          \
	X(vm_get_seg_desc, int, struct vcpu *, int, struct seg_desc *)         \
	X(vm_capability_name2type, int, const char *)                          \
	X(vm_capability_type2name, const char *, int)                          \
	X(vm_get_capability, int, struct vcpu *, enum vm_cap_type, int *)      \
	X(vm_set_capability, int, struct vcpu *, enum vm_cap_type, int)        \
	X(vm_get_x2apic_state, int, struct vcpu *, enum x2apic_state *)        \
	X(vm_set_x2apic_state, int, struct vcpu *, enum x2apic_state)          \
	X(vm_lapic_irq, int, struct vcpu *, int)                               \
	X(vm_lapic_local_irq, int, struct vcpu *, int)                         \
	X(vm_lapic_msi, int, struct vmctx *, uint64_t, uint64_t)               \
	X(vm_raise_msi, int, struct vmctx *, uint64_t, uint64_t, int, int,     \
	  int)                                                                 \
	X(vm_apicid2vcpu, int, struct vmctx *, int)                            \
	X(vm_ioapic_assert_irq, int, struct vmctx *, int)                      \
	X(vm_ioapic_deassert_irq, int, struct vmctx *, int)                    \
	X(vm_ioapic_pulse_irq, int, struct vmctx *, int)                       \
	X(vm_ioapic_pincount, int, struct vmctx *, int *)                      \
	X(vm_isa_assert_irq, int, struct vmctx *, int, int)                    \
	X(vm_isa_deassert_irq, int, struct vmctx *, int, int)                  \
	X(vm_isa_pulse_irq, int, struct vmctx *, int, int)                     \
	X(vm_isa_set_irq_trigger, int, struct vmctx *, int,                    \
	  enum vm_intr_trigger)                                                \
	X(vm_inject_nmi, int, struct vcpu *)                                   \
	X(vm_inject_exception, int, struct vcpu *, int, int, uint32_t, int)    \
	X(vm_set_intinfo, int, struct vcpu *, uint64_t)                        \
	X(vm_get_intinfo, int, struct vcpu *, uint64_t *, uint64_t *)          \
	X(vm_get_hpet_capabilities, int, struct vmctx *, uint32_t *)           \
	X(vm_rtc_write, int, struct vmctx *, int, uint8_t)                     \
	X(vm_rtc_read, int, struct vmctx *, int, uint8_t *)                    \
	X(vm_rtc_settime, int, struct vmctx *, time_t)                         \
	X(vm_rtc_gettime, int, struct vmctx *, time_t *)                       \
	X(vm_get_stats, uint64_t *, struct vcpu *, struct timeval *, int *)    \
	X(vm_get_stat_desc, const char *, struct vmctx *, int)                 \
	X(vm_get_guestmem_from_ctx, void, struct vmctx *, char **, size_t *,   \
	  size_t *)                                                            \
	X(vm_get_msr, int, struct vcpu *, uint32_t, uint64_t *)                \
	X(vm_get_tsc_offset, int, struct vcpu *, uint64_t *)                   \
	X(vm_setup_freebsd_registers, int, struct vcpu *, uint64_t, uint64_t,  \
	  uint64_t, uint64_t)                                                  \
	X(vm_setup_freebsd_registers_i386, int, struct vcpu *, uint32_t,       \
	  uint32_t, uint32_t)                                                  \
	X(vm_setup_freebsd_gdt, void, uint64_t *)                              \
	X(vm_get_device_fd, int, struct vmctx *)                               \
	X(vm_get_ioctls, const unsigned long *, size_t *)                      \
	X(vm_setup_memory_domains, int, struct vmctx *, enum vm_mmap_style,    \
	  struct vm_mem_domain *, int)                                         \
	X(vm_mmap_memseg, int, struct vmctx *, vm_paddr_t, int, off_t, size_t, \
	  int)                                                                 \
	X(vm_munmap_memseg, int, struct vmctx *, vm_paddr_t, size_t)           \
	X(vm_create_devmem, void *, struct vmctx *, int, const char *, size_t) \
	X(vm_get_gpa_pmap, int, struct vmctx *, uint64_t, uint64_t *, int *)   \
	X(vm_readwrite_kernemu_device, int, struct vcpu *, vm_paddr_t, bool,   \
	  int, uint64_t *)                                                     \
	X(vm_assign_pptdev, int, struct vmctx *, int, int, int)                \
	X(vm_unassign_pptdev, int, struct vmctx *, int, int, int)              \
	X(vm_map_pptdev_mmio, int, struct vmctx *, int, int, int, vm_paddr_t,  \
	  size_t, vm_paddr_t)                                                  \
	X(vm_unmap_pptdev_mmio, int, struct vmctx *, int, int, int,            \
	  vm_paddr_t, size_t)                                                  \
	X(vm_setup_pptdev_msi, int, struct vmctx *, int, int, int, uint64_t,   \
	  uint64_t, int)                                                       \
	X(vm_setup_pptdev_msix, int, struct vmctx *, int, int, int, int,       \
	  uint64_t, uint64_t, uint32_t)                                        \
	X(vm_disable_pptdev_msix, int, struct vmctx *, int, int, int)          \
	X(vm_snapshot_req, int, struct vmctx *, struct vm_snapshot_meta *)     \
	X(vm_restore_time, int, struct vmctx *)                                \
	X(vm_get_engine, const char *, struct vmctx *, const char **)          \
	X(vm_wait, int, struct vmctx *, uint64_t)                              \
	X(vm_ioeventfd, int, struct vmctx *, uint64_t, unsigned int, uint64_t, \
	  int, int)                                                            \
	X(vm_get_engine_info, int, int, struct vm_engine_info *)               \
	X(vm_clock_gettime, int, struct vmctx *, uint64_t *)

int main(void)
{
	const void *addresses[160];
	int count = 0, missing = 0;

#define X(name, type, ...)                                                     \
	do {                                                                   \
		type (*caller)(__VA_ARGS__) = name;                            \
		addresses[count++] = (const void *)(uintptr_t)caller;          \
	} while (0);
	FUNCTIONS(X)
#undef X
	for (int i = 0; i < count; i++)
		missing += addresses[i] == NULL;
	printf("%d functions, %d missing\n", count, missing);
	return missing != 0;
}
