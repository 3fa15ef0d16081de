// SPDX-License-Identifier: BSD-2-Clause
/*
 * hotdma DISK: block n of the disk, of 4 KiB, holds a function that returns
 * n. Each is read by DMA (O_DIRECT) into the same executable page and run
 * until it is hot, by this CPU and, where there is one, by another: of what
 * was there before, no translation may be left when the read returns.
 */
#define _GNU_SOURCE /* O_DIRECT */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define BLOCKS 250 /* one byte tells them apart: none is seen half */
#define ROUNDS 20
#define HOT    200

typedef int code_fn(void);

static code_fn *page;
static atomic_int there = -1; /* read so far, of all rounds */
static atomic_int other_runs, other_bad;

/* What it returns must be what is there, or is just being read. */
static void *other(void *unused)
{
	for (;;) {
		int before = there, value, after, ok = 0;

		if (before < 0)
			continue;
		value = page();
		after = there + 1;
		for (int n = before; n <= after && n <= before + BLOCKS; n++)
			ok |= value == n % BLOCKS;
		other_bad += !ok;
		other_runs++;
	}
	return unused;
}

int main(int argc, char **argv)
{
	int fd = open(argc > 1 ? argv[1] : "", O_RDONLY | O_DIRECT), bad = 0;
	pthread_t thread;

	page =
	    (code_fn *)mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (fd < 0 || (void *)page == MAP_FAILED) {
		perror("hotdma");
		return 1;
	}
	if (sysconf(_SC_NPROCESSORS_ONLN) > 1)
		pthread_create(&thread, NULL, other, NULL);
	for (int n = 0; n < ROUNDS * BLOCKS; n++) {
		if (pread(fd, (void *)page, 4096, n % BLOCKS * 4096) != 4096) {
			perror("hotdma: read");
			return 1;
		}
		there = n;
		for (int k = 0; k < HOT; k++)
			bad += page() != n % BLOCKS;
	}
	printf("HOTDMA bad=%d other=%s other_bad=%d END\n", bad,
	       other_runs > 1000 ? "ran" : "none", other_bad);
	return 0;
}
