// SPDX-License-Identifier: BSD-2-Clause
#include "board_fixture.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "dev/board_priv.h"

int machine_start(struct machine *m, const char *const *variables,
		  struct err *err)
{
	memset(m, 0, sizeof(*m));
	m->vm.lowmem = 1 * GiB;
	m->config = config_create();
	if (m->config == NULL || loop_create(&m->loop, err) != 0)
		abort();
	for (; *variables != NULL; variables++) {
		if (config_parse_option(m->config, *variables, err) != 0)
			abort();
	}
	return board_create(&m->vm, m->config, m->loop, &m->board, err);
}

void machine_end(struct machine *m)
{
	board_destroy(m->board);
	loop_destroy(m->loop);
	config_destroy(m->config);
	free(m->vm.rom);
}

static void stop_loop(void *arg, uint32_t events)
{
	(void)events;
	loop_stop(arg);
}

void loop_step(struct machine *m)
{
	int fd = eventfd(1, EFD_CLOEXEC);
	struct loop_source *stop;

	if (fd < 0)
		abort();
	stop = loop_add(m->loop, fd, EPOLLIN, stop_loop, m->loop);
	if (stop == NULL || loop_run(m->loop) != 0)
		abort();
	loop_remove(stop);
	close(fd);
}

void save_board(struct machine *m, struct state_writer *writer)
{
	board_pause(m->board);
	if (board_save(m->board, writer) != 0)
		abort();
	board_resume(m->board);
}

int load_board(struct machine *m, const struct state_writer *from,
	       struct err *err)
{
	struct state_reader reader = {from->data, from->size, 0};
	int error;

	board_pause(m->board);
	error = board_load(m->board, &reader, err);
	board_resume(m->board);
	if (error == 0 && reader.position != reader.size)
		abort();
	return error;
}

uint32_t in(struct machine *m, uint16_t port, unsigned int bytes)
{
	struct vm_inout io = {
	    .port = port, .bytes = (uint8_t)bytes, .in = true};

	board_inout(m->board, NULL, &io);
	return io.eax;
}

void out(struct machine *m, uint16_t port, unsigned int bytes, uint32_t value)
{
	struct vm_inout io = {
	    .port = port, .bytes = (uint8_t)bytes, .eax = value};

	board_inout(m->board, NULL, &io);
}

uint64_t load(struct machine *m, uint64_t gpa, unsigned int bytes)
{
	struct vm_inst_emul access = {.gpa = gpa, .bytes = (uint8_t)bytes};

	board_mmio(m->board, NULL, &access);
	return access.data;
}

void store(struct machine *m, uint64_t gpa, unsigned int bytes, uint64_t value)
{
	struct vm_inst_emul access = {
	    .gpa = gpa, .bytes = (uint8_t)bytes, .write = true, .data = value};

	board_mmio(m->board, NULL, &access);
}

static void address(struct machine *m, unsigned int slot, unsigned int offset)
{
	out(m, 0xcf8, 4, 0x80000000u | slot << 11 | (offset & 0xfc));
}

uint32_t cfg_in(struct machine *m, unsigned int slot, unsigned int offset,
		unsigned int bytes)
{
	address(m, slot, offset);
	return in(m, (uint16_t)(0xcfc + (offset & 3)), bytes);
}

void cfg_out(struct machine *m, unsigned int slot, unsigned int offset,
	     unsigned int bytes, uint32_t value)
{
	address(m, slot, offset);
	out(m, (uint16_t)(0xcfc + (offset & 3)), bytes, value);
}
