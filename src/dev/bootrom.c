// SPDX-License-Identifier: BSD-2-Clause
#include "dev/bootrom.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bits.h"
#include "dev/mmio.h"

#define PAGE      4096ull
#define ROOM_END  (4 * GiB)
#define ROOM_SIZE (16 * MiB) /* of the ROM and the variables below it */

/* JEDEC JEP137, command set 0001h, as much as bhyve's firmware uses. */
#define CMD_WRITE_BYTE   0x10
#define CMD_CLEAR_STATUS 0x50
#define CMD_READ_STATUS  0x70
#define CMD_READ_ARRAY   0xff
#define STATUS_FAILED    0x10 /* SR.4: a byte could not be written */

struct flash_state {
	uint8_t command;
	uint8_t status;
};

struct bootrom {
	struct board *board;
	pthread_mutex_t lock;
	int fd; /* of the variables; -1: there are none */
	uint8_t *vars;
	uint64_t vars_size;
	struct io_range flash;
	struct flash_state s;
};

/* -- flash ----------------------------------------------------------------- */

static uint64_t flash_read(void *arg, uint64_t offset, unsigned int bytes)
{
	struct bootrom *rom = arg;
	uint64_t value = 0;

	pthread_mutex_lock(&rom->lock);
	if (rom->s.command == CMD_READ_STATUS)
		value = rom->s.status;
	else
		memcpy(&value, rom->vars + offset, bytes);
	pthread_mutex_unlock(&rom->lock);
	return value;
}

/* What the file does not take, the guest is not shown either. */
static void write_byte(struct bootrom *rom, uint64_t offset, uint8_t byte)
{
	if (pwrite(rom->fd, &byte, 1, (off_t)offset) == 1)
		rom->vars[offset] = byte;
	else
		rom->s.status |= STATUS_FAILED;
}

static void flash_write(void *arg, uint64_t offset, unsigned int bytes,
			uint64_t value)
{
	struct bootrom *rom = arg;

	(void)bytes;
	pthread_mutex_lock(&rom->lock);
	if (rom->s.command == CMD_WRITE_BYTE) {
		write_byte(rom, offset, (uint8_t)value);
		rom->s.command = CMD_READ_ARRAY;
	} else {
		rom->s.command = (uint8_t)value;
		if (rom->s.command == CMD_CLEAR_STATUS)
			rom->s.status = 0;
	}
	pthread_mutex_unlock(&rom->lock);
}

/* -- files ----------------------------------------------------------------- */

/* Its file descriptor, or -errno; not one to wait for, as a pipe is. */
static int open_file(const char *what, const char *path, int flags,
		     uint64_t *size, struct err *err)
{
	struct stat st;
	int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return err_sys(err, errno, "Error opening %s \"%.200s\"", what,
			       path);
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
		close(fd);
		return err_set(err, EINVAL, "%s \"%.200s\" is no file", what,
			       path);
	}
	*size = (uint64_t)st.st_size;
	return fd;
}

static int read_file(int fd, const char *path, uint8_t *to, uint64_t size,
		     struct err *err)
{
	for (uint64_t done = 0; done < size;) {
		ssize_t part = pread(fd, to + done, size - done, (off_t)done);

		if (part < 0 && errno == EINTR)
			continue;
		if (part < 0)
			return err_sys(err, errno, "reading \"%.200s\"", path);
		if (part == 0)
			return err_set(err, EIO, "\"%.200s\" became shorter",
				       path);
		done += (uint64_t)part;
	}
	return 0;
}

/* -- ROM ------------------------------------------------------------------- */

static int check_rom_size(uint64_t size, struct err *err)
{
	if (size == 0 || size > ROOM_SIZE)
		return err_set(err, EINVAL, "ROM size %llu is invalid",
			       (unsigned long long)size);
	if (size % PAGE != 0)
		return err_set(err, EINVAL,
			       "ROM size %llu is not a multiple of the page "
			       "size",
			       (unsigned long long)size);
	return 0;
}

/* Its last byte is the one below 4 GiB. */
static int map_rom(struct board *board, int fd, const char *path, uint64_t size,
		   struct err *err)
{
	uint8_t *to;
	int error = check_rom_size(size, err);

	if (error != 0)
		return error;
	to = vm_create_devmem(board->ctx, VM_BOOTROM, "bootrom", size);
	if (to == MAP_FAILED)
		return err_set(err, errno, "bootrom: %s", vm_error_text());
	error = read_file(fd, path, to, size, err);
	if (error != 0)
		return error;
	if (vm_mmap_memseg(board->ctx, ROOM_END - size, VM_BOOTROM, 0, size,
			   PROT_READ | PROT_EXEC) != 0)
		return err_set(err, errno, "bootrom: %s", vm_error_text());
	return 0;
}

static int load_rom(struct board *board, const char *path, uint64_t *size,
		    struct err *err)
{
	int fd = open_file("bootrom", path, O_RDONLY, size, err);
	int error;

	if (fd < 0)
		return fd;
	error = map_rom(board, fd, path, *size, err);
	close(fd);
	return error;
}

/* -- variables ------------------------------------------------------------- */

static int check_vars_size(uint64_t rom_size, uint64_t size, struct err *err)
{
	if (size < PAGE || size > ROOM_SIZE)
		return err_set(err, EINVAL,
			       "Invalid bootrom variable size %llu",
			       (unsigned long long)size);
	if (rom_size + size > ROOM_SIZE)
		return err_set(err, EINVAL,
			       "Invalid bootrom and variable aggregate size "
			       "%llu",
			       (unsigned long long)(rom_size + size));
	return 0;
}

static int load_vars(struct bootrom *rom, const char *path, uint64_t rom_size,
		     struct err *err)
{
	int error;

	rom->fd = open_file("bootrom variable file", path, O_RDWR,
			    &rom->vars_size, err);
	if (rom->fd < 0)
		return rom->fd;
	error = check_vars_size(rom_size, rom->vars_size, err);
	if (error != 0)
		return error;
	rom->vars = malloc(rom->vars_size);
	if (rom->vars == NULL)
		return err_sys(err, ENOMEM, "bootrom variables");
	error = read_file(rom->fd, path, rom->vars, rom->vars_size, err);
	if (error != 0)
		return error;
	rom->flash =
	    (struct io_range){"bootrom variables", rom->vars_size, 8,
			      flash_read,          flash_write,    rom};
	return mmio_add(rom->board->mmio, &rom->flash,
			ROOM_END - rom_size - rom->vars_size, err);
}

/* -- life ------------------------------------------------------------------ */

static const char *either(struct config *config, const char *path,
			  const char *alias)
{
	const char *value = config_get(config, path);

	return value != NULL ? value : config_get(config, alias);
}

const char *board_bootrom(struct config *config)
{
	return either(config, "bootrom", "lpc.bootrom");
}

int bootrom_create(struct board *board, struct bootrom **out, struct err *err)
{
	const char *path = board_bootrom(board->config);
	const char *vars = either(board->config, "bootvars", "lpc.bootvars");
	struct bootrom *rom;
	uint64_t size;
	int error;

	if (path == NULL && vars != NULL)
		return err_set(err, EINVAL, "bootvars: needs a bootrom");
	if (path == NULL)
		return 0;
	rom = calloc(1, sizeof(*rom));
	if (rom == NULL)
		return err_sys(err, ENOMEM, "bootrom");
	rom->board = board;
	rom->fd = -1;
	rom->s.command = CMD_READ_ARRAY;
	pthread_mutex_init(&rom->lock, NULL);
	error = load_rom(board, path, &size, err);
	if (error == 0 && vars != NULL)
		error = load_vars(rom, vars, size, err);
	if (error != 0) {
		bootrom_destroy(rom);
		return error;
	}
	*out = rom;
	return 0;
}

void bootrom_destroy(struct bootrom *rom)
{
	if (rom == NULL)
		return;
	mmio_remove(rom->board->mmio, &rom->flash);
	if (rom->fd >= 0)
		close(rom->fd);
	pthread_mutex_destroy(&rom->lock);
	free(rom->vars);
	free(rom);
}

/* -- saved state ----------------------------------------------------------- */

static const struct state_field fields[] = {
    STATE_SCALAR(struct flash_state, command),
    STATE_SCALAR(struct flash_state, status),
};

static const struct state_class flash_class = {
    .name = "bootrom",
    .version = 1,
    .fields = fields,
    .field_count = ARRAY_SIZE(fields),
};

int bootrom_save(struct bootrom *rom, struct state_writer *writer)
{
	int error;

	if (rom == NULL)
		return 0;
	pthread_mutex_lock(&rom->lock);
	error = state_save(&flash_class, 0, &rom->s, writer);
	pthread_mutex_unlock(&rom->lock);
	return error;
}

int bootrom_load(struct bootrom *rom, struct state_reader *reader,
		 struct err *err)
{
	int error;

	if (rom == NULL)
		return 0;
	pthread_mutex_lock(&rom->lock);
	error = state_load(&flash_class, 0, &rom->s, reader, err);
	pthread_mutex_unlock(&rom->lock);
	return error;
}
