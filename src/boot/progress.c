// SPDX-License-Identifier: BSD-2-Clause
#include "boot/boot.h"

#include <stdio.h>
#include <unistd.h>

#define SECOND_NS 1000000000ull

static bool is_due(const struct boot_progress_line *line,
		   const struct boot_progress *progress)
{
	if (progress->done)
		return line->shown;
	if (progress->ns < SECOND_NS)
		return false;
	return !line->shown || progress->ns - line->last_ns >= SECOND_NS / 10;
}

void boot_progress_print(void *arg, const struct boot_progress *progress)
{
	struct boot_progress_line *line = arg;
	unsigned long long percent = 100;
	bool terminal = isatty(STDERR_FILENO) == 1;

	if (!is_due(line, progress))
		return;
	/* Without a terminal: one line at the start and one at the end. */
	if (!terminal && line->shown && !progress->done)
		return;
	if (progress->total_in != 0)
		percent = progress->bytes_in * 100 / progress->total_in;
	fprintf(stderr, "%s%s: %s, %llu %%, %llu MiB, %.1f s%s",
		terminal ? "\r" : "", progress->file, progress->action, percent,
		(unsigned long long)(progress->bytes_out >> 20),
		(double)progress->ns / (double)SECOND_NS,
		terminal && !progress->done ? "" : "\n");
	fflush(stderr);
	line->shown = !progress->done;
	line->last_ns = progress->ns;
}
