// SPDX-License-Identifier: BSD-2-Clause
/*
 * What FreeBSD's bhyvectl has and this one cannot: fields of structures that
 * VT-x and AMD-V keep, PCI passthrough. Each is known by name, so that a
 * script's line says what is missing.
 */
#include <errno.h>
#include <stdio.h>

#include "base/bits.h"
#include "bhyvectl/bhyvectl.h"

enum reason { VMCS, VMCB, NESTED_PAGING, BITMAPS, PASSTHROUGH };

static const char *const reasons[] = {
    [VMCS] = "a field of VT-x's VMCS, which no engine here keeps",
    [VMCB] = "a field of AMD-V's VMCB, which no engine here keeps",
    [NESTED_PAGING] = "there are no nested page tables to show",
    [BITMAPS] = "no engine here has intercept bitmaps to show",
    [PASSTHROUGH] = "PCI passthrough is not built",
};

static int refuse(struct session *s, const struct action *action,
		  const char *value)
{
	s->refusal = reasons[action->which];
	s->refused = action->option;
	errno = ENOTSUP;
	return -1;
}

#define NO(option, reason)                                                     \
	{                                                                      \
		"get-" option, NULL, refuse, reason, false                     \
	}
#define NO_SET(option, reason)                                                 \
	{                                                                      \
		"set-" option, "VALUE", refuse, reason, false                  \
	}

const struct action refused_actions[] = {
    NO("eptp", NESTED_PAGING),
    NO("exception-bitmap", BITMAPS),
    NO("io-bitmap", BITMAPS),
    NO("io-bitmap-address", BITMAPS),
    NO("msr-bitmap", BITMAPS),
    NO("msr-bitmap-address", BITMAPS),
    NO("exit-reason", VMCS),
    NO("vmcs-pinbased-ctls", VMCS),
    NO("vmcs-procbased-ctls", VMCS),
    NO("vmcs-procbased-ctls2", VMCS),
    NO("vmcs-entry-interruption-info", VMCS),
    NO("vmcs-exception-bitmap", VMCS),
    NO("vmcs-guest-physical-address", VMCS),
    NO("vmcs-guest-linear-address", VMCS),
    NO("vmcs-host-pat", VMCS),
    NO("vmcs-host-cr0", VMCS),
    NO("vmcs-host-cr3", VMCS),
    NO("vmcs-host-cr4", VMCS),
    NO("vmcs-host-rip", VMCS),
    NO("vmcs-host-rsp", VMCS),
    NO("vmcs-cr0-mask", VMCS),
    NO("vmcs-cr0-shadow", VMCS),
    NO("vmcs-cr4-mask", VMCS),
    NO("vmcs-cr4-shadow", VMCS),
    NO("vmcs-cr3-targets", VMCS),
    NO("vmcs-apic-access-address", VMCS),
    NO("vmcs-virtual-apic-address", VMCS),
    NO("vmcs-tpr-threshold", VMCS),
    NO("vmcs-vpid", VMCS),
    NO("vmcs-instruction-error", VMCS),
    NO("vmcs-exit-ctls", VMCS),
    NO("vmcs-entry-ctls", VMCS),
    NO("vmcs-link", VMCS),
    NO("vmcs-exit-qualification", VMCS),
    NO("vmcs-exit-interruption-info", VMCS),
    NO("vmcs-exit-interruption-error", VMCS),
    NO("vmcs-exit-inst-length", VMCS),
    NO("vmcs-interruptibility", VMCS),
    NO_SET("vmcs-exception-bitmap", VMCS),
    NO_SET("vmcs-entry-interruption-info", VMCS),
    NO("vmcb-intercepts", VMCB),
    NO("vmcb-asid", VMCB),
    NO("vmcb-exit-details", VMCB),
    NO("vmcb-tlb-ctrl", VMCB),
    NO("vmcb-virq", VMCB),
    NO("avic-apic-bar", VMCB),
    NO("avic-backing-page", VMCB),
    NO("avic-table", VMCB),
    {"unassign-pptdev", "BUS/SLOT/FUNC", refuse, PASSTHROUGH, false},
};
const size_t refused_action_count = ARRAY_SIZE(refused_actions);
