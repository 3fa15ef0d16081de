// SPDX-License-Identifier: BSD-2-Clause
/*
 * A program that exercises what guests' programs use: integer, x87, SSE and
 * AVX arithmetic, threads and atomics, signals, fork, pipes, mmap and
 * self-modifying code. It prints one line a subject; the same binary's output
 * on the host is what a guest's must equal. Built as 64- and as 32-bit.
 */
#include <immintrin.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static uint64_t hash(uint64_t h, const void *data, size_t len)
{
	const unsigned char *bytes = data;

	for (size_t i = 0; i < len; i++)
		h = (h ^ bytes[i]) * 0x100000001b3ull;
	return h;
}

static void integers(void)
{
	uint64_t a = 0x123456789abcdefull, h = 0xcbf29ce484222325ull;
	int64_t q;

	for (int i = 1; i < 20000; i++) {
		a = a * 6364136223846793005ull + 1442695040888963407ull;
		q = (int64_t)a / (i * 77 - 100000 - (i & 1));
		h = hash(h, &q, sizeof(q));
		h ^= (a >> (i & 63)) + (uint64_t)__builtin_popcountll(a);
		h += (uint64_t)__builtin_clzll(a | 1) * a % 1000003;
	}
	printf("integers %016llx\n", (unsigned long long)h);
}

static void floats(void)
{
	double d = 0.5;
	long double l = 1.25L;
	float f = 3.5f;
	uint64_t h = 1;

	for (int i = 1; i < 3000; i++) {
		d = sqrt(d * 1.37 + sin(d)) + 1.0 / i;
		l = l * 1.0000001L + sqrtl(l) / 3 - l / 7;
		f = f * 0.9f + (float)i / 3;
		h = hash(h, &d, sizeof(d));
		h = hash(h, &l, 10);
		h = hash(h, &f, sizeof(f));
	}
	printf("floats %016llx %.17g %.20Lg %.9g\n", (unsigned long long)h, d,
	       l, f);
}

typedef int v8si __attribute__((vector_size(32)));
typedef float v8sf __attribute__((vector_size(32)));

static __attribute__((target("avx2,fma"))) void avx2(void)
{
	static v8si a[64];
	static v8sf b[64];
	uint64_t h = 1;

	for (int round = 0; round < 50; round++)
		for (int i = 0; i < 64; i++) {
			a[i] = a[i] * 3 + i + (a[(i + 1) & 63] >> 2);
			b[i] = b[i] * 0.5f + (float)(i + round);
		}
	h = hash(h, a, sizeof(a));
	h = hash(h, b, sizeof(b));
	printf("avx2 %016llx\n", (unsigned long long)h);
}

/* Masks, broadcasts, gathers, and a compressing store across pages. */
static __attribute__((target("avx512f,avx512bw"))) void avx512(void)
{
	static int32_t a[4096] __attribute__((aligned(4096)));
	static int32_t b[4096];
	uint64_t h = 1;

	for (int round = 0; round < 50; round++)
		for (int i = 0; i + 16 <= 1100; i += 7) {
			__m512i v = _mm512_loadu_si512(a + i), w;
			__mmask16 k = _mm512_cmplt_epi32_mask(
			    _mm512_and_si512(v, _mm512_set1_epi32(7)),
			    _mm512_set1_epi32(5));

			w = _mm512_mask_i32gather_epi32(
			    v, k, _mm512_and_si512(v, _mm512_set1_epi32(1023)),
			    a, 4);
			w = _mm512_add_epi32(w, _mm512_set1_epi32(i + round));
			_mm512_mask_storeu_epi32(a + i, k, w);
			_mm512_mask_compressstoreu_epi32(b + i, k, w);
			_mm512_mask_storeu_epi8(b + i + 1, 0x123456789abcdefull,
						v);
		}
	h = hash(h, a, sizeof(a));
	h = hash(h, b, sizeof(b));
	printf("avx512 %016llx\n", (unsigned long long)h);
}

static int counter;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long long guarded;

static void *count(void *arg)
{
	for (int i = 0; i < 20000; i++) {
		__atomic_fetch_add(&counter, 1, __ATOMIC_SEQ_CST);
		pthread_mutex_lock(&lock);
		guarded += i;
		pthread_mutex_unlock(&lock);
	}
	return arg;
}

static void threads(void)
{
	pthread_t thread[4];

	for (int i = 0; i < 4; i++)
		pthread_create(&thread[i], NULL, count, NULL);
	for (int i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	printf("threads %d %lld\n", counter, guarded);
}

static sigjmp_buf env;
static volatile int caught;

static void handler(int sig, siginfo_t *info, void *context)
{
	(void)context;
	caught = sig * 1000 + info->si_code;
	siglongjmp(env, 1);
}

static void faults(void)
{
	struct sigaction action = {.sa_sigaction = handler,
				   .sa_flags = SA_SIGINFO | SA_NODEFER};
	volatile int zero = 0;
	char *page =
	    mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGFPE, &action, NULL);
	sigaction(SIGILL, &action, NULL);
	if (sigsetjmp(env, 1) == 0)
		*(volatile char *)page = 1;
	printf("fault %d", caught);
	if (sigsetjmp(env, 1) == 0)
		*(volatile char *)8 = 1;
	printf(" %d", caught);
	if (sigsetjmp(env, 1) == 0)
		zero = 5 / zero;
	printf(" %d", caught);
	if (sigsetjmp(env, 1) == 0)
		__asm__ volatile("ud2");
	printf(" %d\n", caught);
}

static void children(void)
{
	int status, fd[2];
	char text[16] = "";

	fflush(stdout);
	if (pipe(fd) != 0)
		return;
	if (fork() == 0) {
		if (write(fd[1], "hello", 6) != 6)
			_exit(1);
		_exit(7);
	}
	if (read(fd[0], text, sizeof(text)) != 6)
		strcpy(text, "?");
	wait(&status);
	printf("child %s %d\n", text, WEXITSTATUS(status));
}

static void selfmodifying(void)
{
	unsigned char *code =
	    mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
		 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned sum = 0;

	memcpy(code, "\xb8\0\0\0\0\xc3", 6); /* mov eax, imm32; ret */
	for (unsigned i = 0; i < 1000; i++) {
		memcpy(code + 1, &i, 4);
		__asm__ volatile("" ::: "memory");
		sum += ((unsigned (*)(void))(void *)code)();
	}
	printf("smc %u\n", sum);
}

int main(void)
{
	printf("bits %zu\n", sizeof(void *) * 8);
	integers();
	floats();
	if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
		avx2();
	if (__builtin_cpu_supports("avx512bw"))
		avx512();
	threads();
	faults();
	children();
	selfmodifying();
	printf("SELFCHECK-END\n");
	return 0;
}
