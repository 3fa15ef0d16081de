// SPDX-License-Identifier: BSD-2-Clause
#include "lines.h"

void *memset(void *to, int c, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((volatile uint8_t *)to)[i] = (uint8_t)c;
	return to;
}

void *memcpy(void *to, const void *from, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((volatile uint8_t *)to)[i] = ((const uint8_t *)from)[i];
	return to;
}

void line_add(struct line *l, const char *text)
{
	while (*text != '\0' && l->used < sizeof(l->text) - 1)
		l->text[l->used++] = *text++;
	l->text[l->used] = '\0';
}

void line_hex(struct line *l, const char *name, uint64_t v)
{
	char digits[17];
	unsigned n = 16;

	digits[16] = '\0';
	do
		digits[--n] = "0123456789abcdef"[v & 15];
	while ((v >>= 4) != 0);
	line_add(l, name);
	line_add(l, " 0x");
	line_add(l, digits + n);
}

void say(const char *text)
{
	outl(PORT_LINE, (uint32_t)(uintptr_t)text);
}

static void say_result(bool ok, const char *name, const char *skipped)
{
	struct line l = {.used = 0};

	line_add(&l, ok ? "ok - " : "not ok - ");
	line_add(&l, name);
	if (skipped != NULL)
		line_add(&l, " # SKIP ");
	line_add(&l, skipped != NULL ? skipped : "");
	say(l.text);
}

bool check_at(const char *file, int line, bool ok, const char *name)
{
	struct line l = {.used = 0};

	say_result(ok, name, NULL);
	if (ok)
		return true;
	line_add(&l, "# ");
	line_add(&l, file);
	line_hex(&l, " line", (uint64_t)line);
	say(l.text);
	return false;
}

bool check_eq_at(const char *file, int line, uint64_t got, uint64_t want,
		 const char *name)
{
	struct line l = {.used = 0};

	if (check_at(file, line, got == want, name))
		return true;
	line_hex(&l, "# got", got);
	line_hex(&l, ", want", want);
	say(l.text);
	return false;
}

void skip(const char *name, const char *why)
{
	say_result(true, name, why);
}
