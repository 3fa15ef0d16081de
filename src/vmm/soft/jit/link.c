// SPDX-License-Identifier: BSD-2-Clause
/*
 * From a block to another of its page: a direct jump, which waits as a detour
 * while the other one is not translated yet (hop.c: to other pages).
 */
#include "vmm/soft/jit/translate.h"

/* -- jumps to blocks that are not translated yet -------------------------- */

static uint32_t *link_slot(struct jit *jit, uint64_t key, uint64_t va)
{
	return &jit->link_hash[block_hash(key, va) >> (64 - JIT_LINK_BITS)];
}

void link_add(struct translation_unit *u, uint64_t key, uint8_t *place)
{
	struct jit *jit = u->c->jit;
	uint32_t *slot = link_slot(jit, key, u->b->va);

	if (jit->link_used == JIT_LINKS) {
		u->e.full = true;
		return;
	}
	jit->link[jit->link_used] = (struct jit_link){
	    .key = key,
	    .va = u->b->va,
	    .place = (uint32_t)(place - jit->code.write),
	    .next = *slot,
	};
	*slot = ++jit->link_used;
}

void links_resolve(struct translation_unit *u)
{
	struct jit *jit = u->c->jit;
	uint32_t *from = link_slot(jit, u->b->key, u->b->va);

	while (*from != 0) {
		struct jit_link *link = &jit->link[*from - 1];

		if (link->key == u->b->key && link->va == u->b->va) {
			emit_to(&u->e, jit->code.write + link->place, u->near);
			u->c->vcpu->stats[VM_STAT_JIT_LINKS]++;
			*from = link->next;
		} else {
			from = &link->next;
		}
	}
}

void link_forget(struct translation_unit *u, uint64_t rel, const uint8_t *place)
{
	struct jit *jit = u->c->jit;
	uint64_t key = (u->b->key & ~0xfffull) + rel;
	uint32_t at = (uint32_t)(place - jit->code.write);
	uint32_t *from = link_slot(jit, key, u->b->va);

	while (*from != 0) {
		struct jit_link *link = &jit->link[*from - 1];

		if (link->key == key && link->va == u->b->va &&
		    link->place - at < 16)
			*from = link->next;
		else
			from = &link->next;
	}
}

void links_take_back(struct jit *jit, uint32_t links)
{
	while (jit->link_used > links) {
		struct jit_link *link = &jit->link[--jit->link_used];

		*link_slot(jit, link->key, link->va) = link->next;
	}
}

/* -- from block to block -------------------------------------------------- */

/*
 * Inside the page the jump is direct, from the beginning or once the target
 * is translated; until then, and elsewhere, it is a detour.
 */
void chain(struct translation_unit *u, uint8_t *place, int64_t rel,
	   enum away away)
{
	uint64_t key = (u->b->key & ~0xfffull) + (uint64_t)rel;
	const struct block *to;

	if (!is_in_page(rel)) {
		detour_add(u, away, place, rel);
		return;
	}
	if (key == u->b->key) {
		emit_to(&u->e, place, u->loop);
		return;
	}
	to = block_lookup(u->c, key, u->b->va);
	if (to != NULL && to->code != NULL) {
		emit_to(&u->e, place, to_write(u->c->jit, to->near));
		return;
	}
	/* The detour for now; the link may overwrite where it leads. */
	detour_add(u, away == AWAY_CALLED ? AWAY_CALLED : AWAY_EXIT, place,
		   rel);
	link_add(u, key, place);
}

void chain_always(struct translation_unit *u, int64_t rel, enum away away)
{
	if (is_in_page(rel) || !hop_emit(u, rel))
		chain(u, emit_jmp(&u->e), rel, away);
}

static struct block *onward_block(const struct translation_unit *u, int64_t rel)
{
	const struct block *to;

	if (!is_in_page(rel) || u->room_onward == 0)
		return NULL;
	to = block_lookup(u->c, (u->b->key & ~0xfffull) + (uint64_t)rel,
			  u->b->va);
	if (to == NULL || to == u->b || !block_is_warm(to) ||
	    to->heat < u->c->jit->hot / 2)
		return NULL;
	return (struct block *)(uintptr_t)to;
}

bool can_be_onward(const struct translation_unit *u, int64_t rel)
{
	return onward_block(u, rel) != NULL;
}

void chain_onward(struct translation_unit *u, int64_t rel)
{
	u->onward = onward_block(u, rel);
	if (u->onward == NULL)
		chain_always(u, rel, AWAY_TARGET);
}
