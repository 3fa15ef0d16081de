/* SPDX-License-Identifier: BSD-2-Clause */
/* A board of a configuration over a fake VM, and a guest's accesses to it. */
#ifndef BOARD_FIXTURE_H
#define BOARD_FIXTURE_H

#include "backend/loop.h"
#include "base/state.h"
#include "dev/board.h"
#include "fake_vm.h"

struct machine {
	struct vmctx vm;
	struct config *config;
	struct loop *loop;
	struct board *board;
};

/* variables: "path=value" lines, NULL at the end. 0 or board_create's error;
   machine_end is needed after both. */
int machine_start(struct machine *m, const char *const *variables,
		  struct err *err);
void machine_end(struct machine *m);
/* Serves what the event loop has to do now. */
void loop_step(struct machine *m);
/* As for a snapshot: pause, save, resume; pause, load, resume. */
void save_board(struct machine *m, struct state_writer *writer);
int load_board(struct machine *m, const struct state_writer *from,
	       struct err *err);

uint32_t in(struct machine *m, uint16_t port, unsigned int bytes);
void out(struct machine *m, uint16_t port, unsigned int bytes, uint32_t value);
uint64_t load(struct machine *m, uint64_t gpa, unsigned int bytes);
void store(struct machine *m, uint64_t gpa, unsigned int bytes, uint64_t value);
/* Configuration space by the ports. */
uint32_t cfg_in(struct machine *m, unsigned int slot, unsigned int offset,
		unsigned int bytes);
void cfg_out(struct machine *m, unsigned int slot, unsigned int offset,
	     unsigned int bytes, uint32_t value);

#endif
