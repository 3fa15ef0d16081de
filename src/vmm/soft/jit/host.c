// SPDX-License-Identifier: BSD-2-Clause
/* Can this host run translated code? */
#include <cpuid.h>

#include "vmm/soft/jit/jit.h"

/*
 * BMI2, with a PEXT that is no microcode: AMD's is, before Zen 3 (family
 * 19h), and takes hundreds of cycles.
 */
bool jit_host_can(void)
{
	uint32_t eax, ebx, ecx, edx, family;

	__cpuid(0, eax, ebx, ecx, edx);
	if (eax < 7)
		return false;
	bool amd = ebx == signature_AMD_ebx || ebx == 0x6f677948; /* Hygon */

	__cpuid(1, eax, ebx, ecx, edx);
	family =
	    (eax >> 8 & 15) + ((eax >> 8 & 15) == 15 ? eax >> 20 & 255 : 0);
	__cpuid_count(7, 0, eax, ebx, ecx, edx);
	return (ebx & bit_BMI2) && !(amd && family < 0x19);
}
