/* SPDX-License-Identifier: BSD-2-Clause */
/* A fault that cannot be delivered, nor #DF for it: shutdown (SDM vol. 3,
   6.15, #DF). The runner checks that the VM stopped so. */
#include "lib/guest.h"

void payload(void)
{
	idt_load(0);
	__asm__ volatile("ud2");
	check(false, "the payload runs on after a triple fault");
}
