/* SPDX-License-Identifier: BSD-2-Clause */
/* A CPU without CMOV, to which a compiler for 64-bit code cannot do justice
   (SDM vol. 1, 5.1.1, 5.2.1). Run with --features -cmov. */
#include "lib32/guest32.h"

void payload(void)
{
	uint32_t a = 1, c = 0, d;

	__asm__ volatile("cpuid" : "+a"(a), "+c"(c), "=d"(d)::"ebx");
	check_eq(d >> 15 & 1, 0, "CPUID does not show CMOV");
	TRY("cmovc %%eax, %%eax", ::: "eax", "memory");
	fault_is(UD, 0, "CMOV: #UD");
	TRY("fninit", ::: "memory");
	fault_is(NO_FAULT, 0, "FNINIT");
	TRY(".byte 0xda, 0xc0", ::: "memory");
	fault_is(UD, 0, "FCMOVB: #UD");
	TRY(".byte 0xdb, 0xf0", ::: "memory", "cc");
	fault_is(UD, 0, "FCOMI: #UD");
	TRY(".byte 0xdb, 0xe2", ::: "memory");
	fault_is(NO_FAULT, 0, "FNCLEX");
	TRY("setc %%al", ::: "eax", "memory");
	fault_is(NO_FAULT, 0, "SETcc");
}
