// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/soft/window.h"

#include <sys/mman.h>

#include "base/reserve.h"
#include "vmm/mem.h"
#include "vmm/soft/access.h"
#include "vmm/soft/bytes.h"
#include "vmm/soft/engine.h"
#include "vmm/soft/jit/jit.h"
#include "vmm/soft/mmu.h"
#include "vmm/soft/smc.h"

#define LARGE_BITS  21
#define LARGE_BYTES (1ull << LARGE_BITS)

/* A piece, and on either side more than what a displacement of 32 bits and an
   index of 32 bits, times 8, reach. */
#define PIECE_BYTES   (1ull << WINDOW_SHIFT)
#define MARGIN_BYTES  (64 * GiB)
#define RESERVE_BYTES (PIECE_BYTES + 2 * MARGIN_BYTES)
#define PIECES        4

/* What all pieces of a VM may take of the process' 128 TiB. */
#define ADDRESSES_MAX (112ull << 40)

/* Pages of a table, and of all tables of a VM: each page may take two of the
   65,530 mappings that a process has (vm.max_map_count). */
#define PAGES_MAX 16384
#define ALL_MAX   24576
#define PAGE_HASH 16384

/* Pages of 4 KiB that are mapped at once, at most, beginning at a multiple. */
#define AROUND 16

/* A page of 4 KiB or 2 MiB. Numbers are a page's plus one; 0 ends a list. */
struct window_page {
	uint64_t va, gpa;
	uint16_t next_va, next_gpa; /* next_va: of the free ones, too */
	bool is_large, write;
};

struct window_piece {
	uint8_t *host; /* of its first byte; NULL: not reserved */
	uint64_t n;    /* of the addresses: which TiB */
	bool used;
};

struct window {
	struct window_piece piece[PIECES];
	unsigned count, made; /* pages that are; numbers ever given */
	uint16_t free;
	uint16_t by_va[PAGE_HASH], by_gpa[PAGE_HASH];
	struct window_page page[PAGES_MAX];
};

/* -- nothing ----------------------------------------------------------------
 */

static uint8_t *reserve(struct cpu *c)
{
	uint8_t *p;

	if (c->pieces_left == 0)
		return NULL;
	p = reserve_addresses(RESERVE_BYTES);
	if (p == NULL)
		return NULL;
	c->pieces_left--;
	return p + MARGIN_BYTES;
}

static void unreserve(struct cpu *c, uint8_t *host)
{
	if (host == NULL)
		return;
	munmap(host - MARGIN_BYTES, RESERVE_BYTES);
	c->pieces_left++;
}

/*
 * What is added to addresses of piece n. Of an address whose upper bits are
 * not those of the piece they are in the sum, too, and make it not canonical,
 * or the host kernel's: it faults as well.
 */
static uint64_t addend_of(const uint8_t *host, unsigned n)
{
	return (uint64_t)(uintptr_t)host - ((uint64_t)n << WINDOW_SHIFT);
}

void windows_create(struct cpu *c)
{
	c->pieces_left =
	    (unsigned)(ADDRESSES_MAX / RESERVE_BYTES / soft_vcpus(c->svm->vm));
	if (c->svm->jit_bytes != 0 && c->pieces_left > PIECES)
		c->window_nothing = reserve(c);
}

void windows_destroy(struct cpu *c)
{
	for (unsigned n = 0; n < TLB_TABLES; n++) {
		struct window *w = c->tlb_all[n] ? c->tlb_all[n]->pages : NULL;

		if (w == NULL)
			continue;
		for (unsigned k = 0; k < PIECES; k++)
			unreserve(c, w->piece[k].host);
		munmap(w, sizeof(*w));
	}
	unreserve(c, c->window_nothing);
}

/* All guess the first 4 GiB, whatever leads there. */
static void guesses_clear(struct tlb *t)
{
	zero_bytes(t->guess_tag, sizeof(t->guess_tag));
	fill_words(t->guess_addend, t->window[0], GUESSES);
}

void window_init(struct cpu *c, struct tlb *t)
{
	for (unsigned n = 0; n < WINDOW_PLACES; n++)
		t->window[n] = addend_of(c->window_nothing, n);
	t->low_32 = MASK(31, 0);
	fill_words(t->guess_left, SITE_PATIENCE, GUESSES);
	guesses_clear(t);
}

/* -- whose table has them -----------------------------------------------------
 */

bool window_possible(const struct cpu *c, const struct tlb *t)
{
	return t->is_user && t->targets_of & 1 && c->window_nothing != NULL &&
	       c->svm->vm->mem.fd >= 0 && c->jit->faults.is_watched;
}

/*
 * To fill windows costs a program some tens of milliseconds, which one that
 * ends soon would not win back: it has to run for that long first, without
 * having lost what it had in the TLB.
 */
#define KICKS 10

bool window_kick(struct cpu *c)
{
	struct tlb *t = c->tlb;

	if (t->has_windows || !window_possible(c, t) || ++t->kicks < KICKS)
		return false;
	t->has_windows = true;
	c->vcpu->stats[VM_STAT_WINDOW_SPACES]++;
	targets_clear(t);
	mmu_mode_changed(c);
	return true;
}

/* -- lists of pages -----------------------------------------------------------
 */

static uint64_t page_bytes(bool is_large)
{
	return is_large ? LARGE_BYTES : 4096;
}

static uint16_t *bucket(uint16_t hash[PAGE_HASH], uint64_t address)
{
	uint64_t page = address >> 12;

	return &hash[(page ^ page >> 9 ^ page >> 23) % PAGE_HASH];
}

static struct window_page *find(struct window *w, uint64_t va, bool is_large)
{
	uint64_t at = va & ~(page_bytes(is_large) - 1);
	unsigned n = *bucket(w->by_va, at);

	for (; n != 0; n = w->page[n - 1].next_va)
		if (w->page[n - 1].va == at &&
		    w->page[n - 1].is_large == is_large)
			return &w->page[n - 1];
	return NULL;
}

static struct window_page *find_any(struct window *w, uint64_t va)
{
	struct window_page *p = find(w, va, false);

	return p != NULL ? p : find(w, va, true);
}

/* NULL: there are as many as may be. */
static struct window_page *page_new(struct cpu *c, struct window *w)
{
	unsigned n = w->free;

	if (c->svm->window_pages >= ALL_MAX)
		return NULL;
	if (n != 0)
		w->free = w->page[n - 1].next_va;
	else if (w->made < PAGES_MAX)
		n = ++w->made;
	else
		return NULL;
	w->count++;
	c->svm->window_pages++;
	return &w->page[n - 1];
}

static void page_insert(struct window *w, struct window_page *p)
{
	uint16_t n = (uint16_t)(p - w->page + 1);
	uint16_t *va = bucket(w->by_va, p->va),
		 *gpa = bucket(w->by_gpa, p->gpa);

	p->next_va = *va;
	*va = n;
	p->next_gpa = *gpa;
	*gpa = n;
}

static void page_remove(struct cpu *c, struct window *w, struct window_page *p)
{
	uint16_t n = (uint16_t)(p - w->page + 1);
	uint16_t *va = bucket(w->by_va, p->va),
		 *gpa = bucket(w->by_gpa, p->gpa);

	while (*va != n)
		va = &w->page[*va - 1].next_va;
	*va = p->next_va;
	while (*gpa != n)
		gpa = &w->page[*gpa - 1].next_gpa;
	*gpa = p->next_gpa;
	p->next_va = w->free;
	w->free = n;
	w->count--;
	c->svm->window_pages--;
}

/* -- pieces -------------------------------------------------------------------
 */

/* Nothing is mapped over what is there. False: the host has no more mappings,
   and the page is still there. */
static bool blank(uint8_t *host, uint64_t bytes)
{
	return mmap(host, bytes, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1,
		    0) != MAP_FAILED;
}

static void piece_close(struct tlb *t, struct window_piece *piece)
{
	t->window[piece->n] = addend_of(t->cpu->window_nothing, piece->n);
	piece->used = false;
	if (t->pages->count == 0 || blank(piece->host, PIECE_BYTES))
		return;
	/* All of it can always go. */
	unreserve(t->cpu, piece->host);
	piece->host = NULL;
}

/* Addresses that another table has, the one that was given away longest ago
   first; it begins anew. */
static uint8_t *take_addresses(struct tlb *t)
{
	struct cpu *c = t->cpu;

	for (unsigned k = 0; k < TLB_USER_TABLES * PIECES; k++) {
		unsigned n = (c->tlb_victim + k / PIECES) % TLB_USER_TABLES;
		struct tlb *other = c->tlb_user[n];
		struct window_piece *piece;
		uint8_t *host;

		if (other == t || other->pages == NULL)
			continue;
		piece = &other->pages->piece[k % PIECES];
		if (piece->used)
			window_clear(other);
		host = piece->host;
		piece->host = NULL;
		if (host != NULL)
			return host;
	}
	return NULL;
}

/* The piece of va, opened if need be, or NULL. */
static struct window_piece *piece_of(struct tlb *t, uint64_t va)
{
	struct window_piece *piece = t->pages->piece, *spare = NULL;

	for (unsigned k = 0; k < PIECES; k++)
		if (piece[k].used && piece[k].n == va >> WINDOW_SHIFT)
			return &piece[k];
		else if (!piece[k].used &&
			 (spare == NULL || piece[k].host != NULL))
			spare = &piece[k];
	if (spare == NULL)
		return NULL;
	if (spare->host == NULL)
		spare->host = reserve(t->cpu);
	if (spare->host == NULL)
		spare->host = take_addresses(t);
	if (spare->host == NULL)
		return NULL;
	spare->n = va >> WINDOW_SHIFT;
	spare->used = true;
	t->window[spare->n] = addend_of(spare->host, spare->n);
	guesses_clear(t);
	return spare;
}

/* Of an address in a piece that is open. */
static uint8_t *host_of_va(const struct tlb *t, uint64_t va)
{
	return (uint8_t *)(uintptr_t)(va + t->window[va >> WINDOW_SHIFT]);
}

/* -- pages go -----------------------------------------------------------------
 */

void window_clear(struct tlb *t)
{
	struct window *w = t->pages;

	if (w == NULL)
		return;
	for (unsigned k = 0; k < PIECES; k++)
		if (w->piece[k].used)
			piece_close(t, &w->piece[k]);
	guesses_clear(t);
	if (w->made == 0)
		return;
	t->cpu->svm->window_pages -= w->count;
	w->count = w->made = 0;
	w->free = 0;
	zero_bytes(w->by_va, sizeof(w->by_va));
	zero_bytes(w->by_gpa, sizeof(w->by_gpa));
}

static void drop(struct tlb *t, struct window_page *p)
{
	uint64_t began = __builtin_ia32_rdtsc();

	if (blank(host_of_va(t, p->va), page_bytes(p->is_large)))
		page_remove(t->cpu, t->pages, p);
	else
		window_clear(t);
	faults_cost(t->cpu, __builtin_ia32_rdtsc() - began);
}

void window_drop(struct tlb *t, uint64_t va)
{
	struct window_page *p;

	while (t->pages != NULL && t->pages->count != 0 &&
	       (p = find_any(t->pages, va)) != NULL)
		drop(t, p);
}

static bool set_protection(struct tlb *t, struct window_page *p, bool write)
{
	if (mprotect(host_of_va(t, p->va), page_bytes(p->is_large),
		     write ? PROT_READ | PROT_WRITE : PROT_READ) != 0)
		return false;
	p->write = write;
	return true;
}

/* The pages of w that gpa is the first byte of may not be written to. */
static void protect(struct tlb *t, uint64_t gpa, bool is_large)
{
	struct window *w = t->pages;
	unsigned n = *bucket(w->by_gpa, gpa);

	while (n != 0) {
		struct window_page *p = &w->page[n - 1];

		n = p->next_gpa;
		if (p->gpa != gpa || p->is_large != is_large || !p->write ||
		    set_protection(t, p, false))
			continue;
		window_clear(t);
		return;
	}
}

void windows_protect(struct cpu *c, uint64_t gpa)
{
	for (unsigned n = 0; n < TLB_USER_TABLES; n++) {
		struct tlb *t = c->tlb_user[n];

		if (t->pages == NULL || t->pages->count == 0)
			continue;
		protect(t, PAGE_BASE(gpa), false);
		protect(t, gpa & ~(LARGE_BYTES - 1), true);
	}
}

/* -- pages come ---------------------------------------------------------------
 */

/* In no page is code that is known. */
static bool may_write_all(struct cpu *c, uint64_t gpa, uint64_t bytes)
{
	bool may = true;

	for (uint64_t at = gpa; at < gpa + bytes && may; at += 4096)
		may = smc_may_write(c, at);
	return may;
}

static bool map_file(struct cpu *c, uint8_t *host, uint64_t gpa, uint64_t bytes,
		     bool write)
{
	const struct vm_mem *mem = &c->svm->vm->mem;
	uint64_t offset =
	    gpa < MEM_HIGH_BASE ? gpa : gpa - MEM_HIGH_BASE + mem->low_size;

	if (mmap(host, bytes, write ? PROT_READ | PROT_WRITE : PROT_READ,
		 MAP_SHARED | MAP_FIXED | MAP_POPULATE, mem->fd,
		 (off_t)offset) == MAP_FAILED)
		return false;
	/* As mem.c has it. */
	madvise(host, bytes, MADV_DONTDUMP);
	return true;
}

static bool is_mappable(struct cpu *c, uint64_t gpa, unsigned page_bits,
			bool is_large)
{
	uint64_t bytes = page_bytes(is_large);

	if (is_large && (page_bits < LARGE_BITS || c->debug_data != 0))
		return false;
	return mem_is_ram(&c->svm->vm->mem, gpa & ~(bytes - 1), bytes);
}

/* What of a large page is mapped by itself. */
static void drop_parts(struct tlb *t, uint64_t va)
{
	uint64_t begin = va & ~(LARGE_BYTES - 1);

	for (uint64_t at = begin; at < begin + LARGE_BYTES; at += 4096)
		window_drop(t, at);
}

/* Pages that lie together, of one size. */
struct run {
	uint64_t va, gpa; /* of the first */
	unsigned pages;
	bool is_large, write;
};

/* False: there are as many as may be. */
static bool run_insert(struct cpu *c, struct window *w, const struct run *r)
{
	uint64_t bytes = page_bytes(r->is_large);

	for (unsigned n = 0; n < r->pages; n++) {
		struct window_page *p = page_new(c, w);

		if (p == NULL)
			return false;
		*p = (struct window_page){.va = r->va + n * bytes,
					  .gpa = r->gpa + n * bytes,
					  .is_large = r->is_large,
					  .write = r->write};
		page_insert(w, p);
	}
	return true;
}

static bool map(struct cpu *c, struct tlb *t, const struct run *r)
{
	uint64_t bytes = r->pages * page_bytes(r->is_large);
	uint64_t began = __builtin_ia32_rdtsc();

	if (piece_of(t, r->va) != NULL && run_insert(c, t->pages, r) &&
	    map_file(c, host_of_va(t, r->va), r->gpa, bytes, r->write)) {
		c->vcpu->stats[VM_STAT_WINDOW_PAGES] += r->pages;
		faults_cost(c, __builtin_ia32_rdtsc() - began);
		return true;
	}
	for (uint64_t at = r->va; at < r->va + bytes; at += 4096)
		window_drop(t, at);
	return false;
}

/* A large page as a whole, if nothing in it keeps it from being written to. */
static bool map_large(struct cpu *c, struct tlb *t, uint64_t va,
		      const struct translation *tr)
{
	struct run r = {.va = va & ~(LARGE_BYTES - 1),
			.gpa = tr->gpa & ~(LARGE_BYTES - 1),
			.pages = 1,
			.is_large = true,
			.write = tr->can_write};

	if (!is_mappable(c, tr->gpa, tr->page_bits, true) ||
	    (r.write && !may_write_all(c, r.gpa, LARGE_BYTES)))
		return false;
	drop_parts(t, va);
	return map(c, t, &r);
}

/* The page that lies n pages further than tr's, which is va's. What the TLB
   has as writable may be clean again by its entry: that says nothing of it. */
static bool may_join(struct cpu *c, struct tlb *t, uint64_t va,
		     const struct translation *tr, int n, bool write)
{
	uint64_t more = (uint64_t)n * 4096;

	return mmu_is_run(tr, va, n) &&
	       is_mappable(c, tr->gpa + more, 12, false) &&
	       find(t->pages, va + more, false) == NULL &&
	       (!write || (tr->can_write && smc_may_write(c, tr->gpa + more)));
}

/*
 * With those beside it, as far as they lie beside each other in RAM, too, and
 * have been accessed as this one is, or written to: each would fault soon.
 */
static bool map_small(struct cpu *c, struct tlb *t, uint64_t va,
		      const struct translation *tr)
{
	bool write = tlb_has(t, va, ACCESS_WRITE);
	int first = 0, end = 1, place = (int)(va >> 12 & (AROUND - 1));
	struct run r;

	if (!is_mappable(c, tr->gpa, tr->page_bits, false))
		return false;
	if (c->debug_data == 0) {
		while (place + first > 0 &&
		       may_join(c, t, va, tr, first - 1, write))
			first--;
		while (place + end < AROUND &&
		       may_join(c, t, va, tr, end, write))
			end++;
	}
	r = (struct run){.va = PAGE_BASE(va) + (uint64_t)first * 4096,
			 .gpa = PAGE_BASE(tr->gpa) + (uint64_t)first * 4096,
			 .pages = (unsigned)(end - first),
			 .write = write};
	return map(c, t, &r);
}

static struct window *window_of(struct tlb *t)
{
	struct window *w = t->pages;

	if (w != NULL)
		return w;
	w = mmap(NULL, sizeof(*w), PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	t->pages = w == MAP_FAILED ? NULL : w;
	return t->pages;
}

static bool is_full(const struct cpu *c, const struct window *w)
{
	return c->svm->window_pages >= ALL_MAX ||
	       (w->made == PAGES_MAX && w->free == 0);
}

bool window_map(struct cpu *c, struct tlb *t, uint64_t va, bool write,
		const struct translation *tr)
{
	struct window_page *p;
	uint64_t rest;

	if (!t->is_user || c->window_nothing == NULL || va >> 47 != 0 ||
	    c->svm->vm->mem.fd < 0 || window_of(t) == NULL)
		return false;
	if (is_full(c, t->pages)) {
		/* More are in use, or these are of the past. */
		if (faults_are_many(c))
			return false;
		window_clear(t);
	}
	p = find_any(t->pages, va);
	if (p != NULL) {
		rest = page_bytes(p->is_large) - 1;
		if (p->gpa == (tr->gpa & ~rest)) {
			if (p->write || !write)
				return false;
			if (may_write_all(c, p->gpa, rest + 1) &&
			    set_protection(t, p, true))
				return true;
		}
		drop(t, p);
	}
	return map_large(c, t, va, tr) || map_small(c, t, va, tr);
}

bool window_may_write(const struct tlb *t, uint64_t va)
{
	const struct window_page *p =
	    t->pages != NULL ? find_any(t->pages, va) : NULL;

	return p != NULL && p->write;
}

/* As if for reading: whoever is about to write there comes again, or has the D
   bit set already, as Linux does. Where many come to new memory, what does is
   about to go by the TLB. */
void window_answer(struct cpu *c, struct tlb *t)
{
	uint64_t va = PAGE_BASE(t->faulted);
	struct translation tr;

	t->faulted = 0;
	if (!faults_are_many(c) && mmu_refill(c, t, va, ACCESS_READ, &tr))
		window_map(c, t, va, false, &tr);
}
