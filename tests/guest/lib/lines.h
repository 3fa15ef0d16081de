/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What payloads of all modes share: ports, and the lines of TAP by which they
 * report to the VMM (ports.h).
 */
#ifndef GUEST_LINES_H
#define GUEST_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ports.h"

static inline void outb(uint16_t port, uint8_t v)
{
	__asm__ volatile("outb %0, %1" ::"a"(v), "Nd"(port) : "memory");
}
static inline void outw(uint16_t port, uint16_t v)
{
	__asm__ volatile("outw %0, %1" ::"a"(v), "Nd"(port) : "memory");
}
static inline void outl(uint16_t port, uint32_t v)
{
	__asm__ volatile("outl %0, %1" ::"a"(v), "Nd"(port) : "memory");
}
static inline uint8_t inb(uint16_t port)
{
	uint8_t v;
	__asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port) : "memory");
	return v;
}
static inline uint16_t inw(uint16_t port)
{
	uint16_t v;
	__asm__ volatile("inw %1, %0" : "=a"(v) : "Nd"(port) : "memory");
	return v;
}
static inline uint32_t inl(uint16_t port)
{
	uint32_t v;
	__asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port) : "memory");
	return v;
}

struct line {
	char text[LINE_MAX_BYTES];
	unsigned used;
};

void line_add(struct line *l, const char *text);
void line_hex(struct line *l, const char *name, uint64_t v); /* name 0xv */

void say(const char *text);
bool check_at(const char *file, int line, bool ok, const char *name);
bool check_eq_at(const char *file, int line, uint64_t got, uint64_t want,
		 const char *name);
void skip(const char *name, const char *why);

void *memset(void *to, int c, size_t n);
void *memcpy(void *to, const void *from, size_t n);

#endif
