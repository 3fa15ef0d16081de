// SPDX-License-Identifier: BSD-2-Clause
/*
 * gbench: the yardstick for CPU engines. The same static binary runs on the
 * host and in a guest.
 *
 *   gbench [seconds-per-line] [line]
 *
 * prints GB-BEGIN <monotonic seconds>, then "GB <line> <ns> ns/op" for each
 * line, then GB-END <seconds>. A line is a setup (not timed) and a run of n
 * operations (timed); n grows until the run lasts long enough. Build:
 *	gcc -O2 -fno-inline-functions -fno-if-conversion -static gbench.c -lm
 */
#define _GNU_SOURCE
#include <math.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile uint64_t sink;
static void *area; /* what a line's setup leaves for its run */

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static uint64_t next_random(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return *state = x;
}

static void *pages(size_t bytes, int prot)
{
	void *p = mmap(NULL, bytes, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	return p;
}

/* A random cyclic permutation of count indices. */
static uint32_t *cycle(size_t count)
{
	uint32_t *p = pages(count * sizeof(*p), PROT_READ | PROT_WRITE);
	uint64_t seed = 1234567;

	for (size_t i = 0; i < count; i++)
		p[i] = (uint32_t)i;
	for (size_t i = count - 1; i > 0; i--) {
		size_t j = next_random(&seed) % i;
		uint32_t x = p[i];
		p[i] = p[j];
		p[j] = x;
	}
	return p;
}

/* -- compute ------------------------------------------------------------- */

static void run_alu(uint64_t n)
{
	uint64_t a = 1, b = 2, c = 3;

	for (uint64_t i = 0; i < n; i++) {
		a += b ^ i;
		b = (b << 7) | (b >> 57);
		c ^= a * b;
		a -= c >> 3;
	}
	sink = a + b + c;
}

static int compare_int(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;

	return x < y ? -1 : x > y;
}

enum { SORT_COUNT = 20000 };

static void setup_qsort(void)
{
	int *v = pages(2 * SORT_COUNT * sizeof(*v), PROT_READ | PROT_WRITE);
	uint64_t seed = 88172645463325252u;

	for (int i = 0; i < SORT_COUNT; i++)
		v[i] = (int)next_random(&seed);
	area = v;
}

static void run_qsort(uint64_t n)
{
	int *v = area, *copy = v + SORT_COUNT;

	for (uint64_t k = 0; k < n; k++) {
		memcpy(copy, v, SORT_COUNT * sizeof(*v));
		qsort(copy, SORT_COUNT, sizeof(*v), compare_int);
		sink = (uint64_t)copy[500];
	}
}

struct crc_area {
	uint32_t table[256];
	unsigned char data[65536];
};

static void setup_crc32(void)
{
	struct crc_area *a = pages(sizeof(*a), PROT_READ | PROT_WRITE);

	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;
		for (int k = 0; k < 8; k++)
			c = c & 1 ? 0xedb88320u ^ (c >> 1) : c >> 1;
		a->table[i] = c;
	}
	for (size_t i = 0; i < sizeof(a->data); i++)
		a->data[i] = (unsigned char)(i * 7);
	area = a;
}

static void run_crc32(uint64_t n)
{
	const struct crc_area *a = area;
	uint32_t c = ~0u;

	for (uint64_t k = 0; k < n; k++)
		for (size_t i = 0; i < sizeof(a->data); i++)
			c = a->table[(c ^ a->data[i]) & 255] ^ (c >> 8);
	sink = c;
}

static void setup_chase(void)
{
	area = cycle(1 << 20); /* 4 MiB */
}

static void run_chase(uint64_t n)
{
	const uint32_t *p = area;
	uint32_t q = 0;

	for (uint64_t i = 0; i < n; i++)
		q = p[q];
	sink = q;
}

static __attribute__((noinline, noclone)) uint64_t ackermann(uint64_t m,
							     uint64_t n)
{
	if (m == 0)
		return n + 1;
	if (n == 0)
		return ackermann(m - 1, 1);
	return ackermann(m - 1, ackermann(m, n - 1));
}

static void run_call(uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		sink = ackermann(2, 20 + (i & 1));
}

typedef uint64_t (*step_fn)(uint64_t);
static __attribute__((noinline)) uint64_t step0(uint64_t x)
{
	return x + 1;
}
static __attribute__((noinline)) uint64_t step1(uint64_t x)
{
	return x * 3;
}
static __attribute__((noinline)) uint64_t step2(uint64_t x)
{
	return x ^ 77;
}
static __attribute__((noinline)) uint64_t step3(uint64_t x)
{
	return x >> 1;
}

static void run_indirect(uint64_t n)
{
	static step_fn volatile step[4] = {step0, step1, step2, step3};
	uint64_t x = 1, seed = 99;

	for (uint64_t i = 0; i < n; i++)
		x = step[next_random(&seed) & 3](x);
	sink = x;
}

/* A bytecode machine: unpredictable switch, loads and stores through a small
 * stack. */
static void setup_switch(void)
{
	unsigned char *code = pages(4096, PROT_READ | PROT_WRITE);
	uint64_t seed = 4242;

	for (int i = 0; i < 4096; i++)
		code[i] = (unsigned char)(next_random(&seed) % 7);
	area = code;
}

static void run_switch(uint64_t n)
{
	const volatile unsigned char *code = area;
	uint64_t stack[16] = {1, 2, 3, 4, 5, 6, 7, 8}, acc = 1;
	unsigned sp = 8;

	for (uint64_t i = 0; i < n; i++) {
		switch (code[i & 4095]) {
		case 0:
			acc += stack[sp & 15];
			break;
		case 1:
			stack[sp++ & 15] = acc;
			break;
		case 2:
			acc ^= stack[--sp & 15];
			break;
		case 3:
			acc = (acc << 3) - acc;
			break;
		case 4:
			if (acc & 1)
				acc += i;
			else
				acc -= sp;
			break;
		case 5:
			stack[acc & 15] += 7;
			break;
		default:
			acc = ~acc;
			break;
		}
	}
	sink = acc;
}

/* 65,536 functions of 32 bytes, 2 MiB of text, called in random order:
 * translation reach, not translation quality. */
enum { BIG_COUNT = 65536, BIG_SIZE = 32 };

struct big_area {
	unsigned char *text;
	uint32_t *order;
};

static void setup_bigcode(void)
{
	static struct big_area a;

	a.text = pages((size_t)BIG_COUNT * BIG_SIZE,
		       PROT_READ | PROT_WRITE | PROT_EXEC);
	a.order = cycle(BIG_COUNT);
	for (uint32_t i = 0; i < BIG_COUNT; i++) {
		unsigned char *f = a.text + (size_t)i * BIG_SIZE;
		memcpy(f, "\x48\x89\xf8\x48\x05",
		       5); /* mov rax,rdi; add rax,imm32 */
		memcpy(f + 5, &i, 4);
		memcpy(f + 9, "\xa8\x01\x74\x03\x48\xff\xc0\xc3",
		       8); /* test al,1; jz +3; inc rax; ret */
	}
	area = &a;
}

static void run_bigcode(uint64_t n)
{
	const struct big_area *a = area;
	uint64_t x = 0;
	uint32_t q = 0;

	for (uint64_t i = 0; i < n; i++) {
		x = ((step_fn)(void *)(a->text + (size_t)q * BIG_SIZE))(x);
		q = a->order[q];
	}
	sink = x;
}

enum { DIM = 160 };

static void setup_matmul(void)
{
	double(*m)[DIM][DIM] = pages(3 * sizeof(*m), PROT_READ | PROT_WRITE);

	for (int i = 0; i < DIM; i++)
		for (int j = 0; j < DIM; j++) {
			m[0][i][j] = i + j;
			m[1][i][j] = i - j;
		}
	area = m;
}

static void run_matmul(uint64_t n)
{
	double(*m)[DIM][DIM] = area;

	for (uint64_t k = 0; k < n; k++)
		for (int i = 0; i < DIM; i++)
			for (int j = 0; j < DIM; j++) {
				double x = 0;
				for (int l = 0; l < DIM; l++)
					x += m[0][i][l] * m[1][l][j];
				m[2][i][j] = x;
			}
	sink = (uint64_t)m[2][3][4];
}

static void run_fpsqrt(uint64_t n)
{
	double x = 0.5;

	for (uint64_t i = 0; i < n; i++)
		x = sqrt(x * 1.0001 + 0.3) / (1.0 + x * 0.25) + 0.1;
	sink = (uint64_t)(x * 1000);
}

static void setup_avx2(void)
{
	float *p = pages(3 * 32768, PROT_READ | PROT_WRITE);

	if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
		p = NULL;
	for (int i = 0; p != NULL && i < 3 * 8192; i++)
		p[i] = (float)i;
	area = p;
}

typedef float v8 __attribute__((vector_size(32)));

static __attribute__((target("avx2,fma"))) void run_avx2(uint64_t n)
{
	v8 *a = area, *b = a + 1024, *c = b + 1024;

	for (uint64_t k = 0; k < n; k++)
		for (int i = 0; i < 1024; i++)
			c[i] = c[i] * 0.5f + a[i] * b[i];
	sink = (uint64_t)((float *)c)[7];
}

static void setup_memcpy(void)
{
	area = pages(2 << 20, PROT_READ | PROT_WRITE);
	memset(area, 1, 2 << 20);
}

static void run_memcpy(uint64_t n)
{
	char *a = area, *b = a + (1 << 20);

	for (uint64_t i = 0; i < n; i++) {
		memcpy(a, b, 1 << 20);
		b[i & 4095] = (char)i;
	}
	sink = (uint64_t)a[5];
}

static void run_atomic(uint64_t n)
{
	static uint64_t counter;
	uint64_t expected = 0;

	for (uint64_t i = 0; i < n; i++) {
		__atomic_fetch_add(&counter, 1, __ATOMIC_SEQ_CST);
		__atomic_compare_exchange_n(&counter, &expected, i, 0,
					    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	}
	sink = counter;
}

/* -- kernel -------------------------------------------------------------- */

static void run_syscall(uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		syscall(SYS_getppid);
}

static void run_fault(uint64_t n)
{
	for (uint64_t done = 0; done < n; done += 256) {
		char *p = pages(256 * 4096, PROT_READ | PROT_WRITE);
		for (int k = 0; k < 256; k++)
			p[k * 4096] = 1;
		munmap(p, 256 * 4096);
	}
}

static void run_fork(uint64_t n)
{
	for (uint64_t i = 0; i < n; i++) {
		pid_t p = fork();
		if (p == 0)
			_exit(0);
		waitpid(p, NULL, 0);
	}
}

static void run_pipe(uint64_t n)
{
	int there[2], back[2];
	char c = 0;
	pid_t p;

	if (pipe(there) || pipe(back) || (p = fork()) < 0) {
		perror("pipe");
		exit(1);
	}
	if (p == 0)
		for (;;)
			if (read(there[0], &c, 1) != 1 ||
			    write(back[1], &c, 1) != 1)
				_exit(0);
	for (uint64_t i = 0; i < n; i++)
		if (write(there[1], &c, 1) != 1 || read(back[0], &c, 1) != 1)
			exit(1);
	kill(p, SIGKILL);
	waitpid(p, NULL, 0);
	for (int i = 0; i < 2; i++) {
		close(there[i]);
		close(back[i]);
	}
}

static void setup_smc(void)
{
	area = pages(4096, PROT_READ | PROT_WRITE | PROT_EXEC);
	memcpy(area, "\xb8\0\0\0\0\xc3", 6); /* mov eax,imm32; ret */
}

static void run_smc(uint64_t n)
{
	unsigned char *p = area;

	for (uint64_t i = 0; i < n; i++) {
		uint32_t v = (uint32_t)i;
		memcpy(p + 1, &v, 4);
		__asm__ volatile("" ::: "memory");
		sink += (uint64_t)((int (*)(void))(void *)p)();
	}
}

static const struct line {
	const char *name;
	void (*setup)(void);
	void (*run)(uint64_t n);
	uint64_t start; /* operations of the first try */
} lines[] = {
    {"alu", NULL, run_alu, 100000},
    {"qsort", setup_qsort, run_qsort, 1},
    {"crc32", setup_crc32, run_crc32, 1},
    {"chase", setup_chase, run_chase, 10000},
    {"call", NULL, run_call, 10},
    {"indirect", NULL, run_indirect, 10000},
    {"switch", setup_switch, run_switch, 10000},
    {"bigcode", setup_bigcode, run_bigcode, 65536},
    {"matmul", setup_matmul, run_matmul, 1},
    {"fpsqrt", NULL, run_fpsqrt, 10000},
    {"avx2", setup_avx2, run_avx2, 10},
    {"memcpy", setup_memcpy, run_memcpy, 4},
    {"atomic", NULL, run_atomic, 10000},
    {"syscall", NULL, run_syscall, 1000},
    {"fault", NULL, run_fault, 256},
    {"fork", NULL, run_fork, 10},
    {"pipe", NULL, run_pipe, 100},
    {"smc", setup_smc, run_smc, 100},
};

int main(int argc, char **argv)
{
	double least = argc > 1 ? atof(argv[1]) : 0.3;

	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("GB-BEGIN %.3f\n", now());
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		const struct line *l = &lines[i];
		uint64_t n = l->start;
		double t;

		if (argc > 2 && strcmp(argv[2], l->name) != 0)
			continue;
		if (l->setup != NULL) {
			l->setup();
			if (area == NULL)
				continue; /* the CPU lacks it */
		}
		l->run(n); /* warm */
		for (;;) {
			t = now();
			l->run(n);
			t = now() - t;
			if (t >= least)
				break;
			n = t < least / 16 ? n * 8 : n * 2;
		}
		printf("GB %s %.3f ns/op\n", l->name, t * 1e9 / (double)n);
	}
	printf("GB-END %.3f\n", now());
	return 0;
}
