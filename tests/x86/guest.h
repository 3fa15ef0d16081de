/* SPDX-License-Identifier: BSD-2-Clause */
/* The soft engine's vCPU at CPL 3, its memory this process'. */
#ifndef X86_GUEST_H
#define X86_GUEST_H

#include <stdbool.h>
#include <stddef.h>

#include "host.h"

/* Guest RAM ends here; physical addresses are the host's. */
#define GUEST_RAM_END 0x20000000u

struct guest;

enum guest_mode {
	GUEST_TIER0,
	GUEST_TIER1, /* from the first run */
	GUEST_VERIFY /* soft.jit=verify, likewise */
};

/* The guests' memory, where gpa and host address are the same. */
bool guest_memory(uint64_t gpa, uint64_t bytes, int prot);
/* In 64-bit mode; NULL: no memory. */
struct guest *guest_create(enum guest_mode mode);
/* In the mode's segments, and at its CPL; else than in long mode with PAE
   paging. */
struct guest *guest_create_legacy(enum guest_mode mode,
				  const struct code_mode *code, bool long_mode);
/* Another vCPU of the same VM, in 64-bit mode: the code is the same, data and
   stack are TEST_OFF_2 behind the first one's. Destroyed before it. */
struct guest *guest_create_beside(struct guest *beside);
void guest_destroy(struct guest *guest);
/* TEST_ROM, in all guests; the host has nothing there. */
void guest_map_rom(void);
/* As a far jump: it is in the mode's segments. */
void guest_set_code(struct guest *guest, const struct code_mode *code);
/* Blocks that were translated so far. */
uint64_t guest_translated(const struct guest *guest);
/* What it knows of the code, or of the code on another page: not any more. */
void guest_forget(struct guest *guest);
void guest_forget_page(struct guest *guest, uint64_t gpa);
/* How blocks that are made from now on get to memory: by the TLB, or, those
   that take much of the time, by pages that they remember; by windows, which
   those guess. */
enum guest_probes {
	PROBES_TLB,
	PROBES_SITES,
	PROBES_WINDOWS,
	PROBES_GUESSES,
	PROBES
};
void guest_probes(struct guest *guest, enum guest_probes probes);
/* Vector state, as struct vcpu_state has it; CR4 and XCR0 allow all of it. */
void guest_set_vectors(struct guest *guest, const void *image);
void guest_vectors(struct guest *guest, void *image);
/* Bytes in its code cache become others; false: they are not there. */
bool guest_patch(struct guest *guest, const uint8_t *from, const uint8_t *to,
		 size_t len);
/* As a device does, from any thread: eight bytes at a multiple of eight. */
void guest_dma(struct guest *guest, uint64_t va, uint64_t value);
/* Its tables lead from a page of the tests' 2 MiB to a physical one. */
void guest_map(struct guest *guest, uint64_t va, uint64_t gpa);
/* The same, as by INVLPG. The epoch that it begins is the last: numbers begin
   anew. */
void guest_map_in_last_epoch(struct guest *guest, uint64_t va, uint64_t gpa);
/* Did the last run end where code or data are not in RAM? */
bool guest_left_ram(const struct guest *guest);
/* Instructions that translated code has had tier 0 run. */
uint64_t guest_interpreted(const struct guest *guest);
/* So often, what its code accesses by windows was not there. */
uint64_t guest_window_faults(const struct guest *guest);
/* The page of probes without one, which no guest knows. */
uint64_t guest_secret_page(const struct guest *guest);
/* Do the addends of such probes lead from all of the page, and an operand
   over its end, to memory of no use? */
bool guest_secret_is_nowhere(const struct guest *guest);
/* Of soft.jit=verify; NULL: none. */
const char *guest_failure(struct guest *guest);
/* Is that host address in its translated code? Where C enters it. */
bool guest_is_translated(const struct guest *guest, uint64_t host);
uint64_t guest_entry(const struct guest *guest);
/* INT3 there, and at another place perhaps; until the end of both. */
void guest_break(struct guest *guest, uint64_t host);
void guest_break_end(struct guest *guest);
/* Back to its main loop, from a signal handler; stop: guest_run ends. */
void guest_kick(struct guest *guest, bool stop);
bool guest_was_stopped(struct guest *guest);
/* As host_run. */
void guest_run(struct guest *guest, const uint64_t gpr[16], uint64_t rflags,
	       uint64_t rip, struct outcome *out);

#endif
