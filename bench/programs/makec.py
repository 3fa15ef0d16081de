# SPDX-License-Identifier: BSD-2-Clause
"""Prints a C file of COUNT functions (280: some 5,000 lines) that a compiler has work with: small
functions with loops, switches, structs, floating point and calls."""

import random
import sys

rng = random.Random(5)
print("#include <stddef.h>\n#include <stdint.h>\n#include <string.h>")
print("struct item { struct item *next; uint32_t key, value; double w; };")
for n in range(int(sys.argv[1])):
    a, b, c = (rng.randrange(3, 60) for _ in range(3))
    call = f"f{rng.randrange(n)}(p, x - 1)" if n else "x"
    print(f"""
uint64_t f{n}(struct item *p, uint64_t x)
{{
	uint64_t sum = x * {a};

	for (; p != NULL && x > {b}; p = p->next) {{
		switch ((p->key ^ x) % 7) {{
		case 0: sum += p->value << {a % 31}; break;
		case 1: sum ^= {call}; break;
		case 2: sum -= (uint64_t)(p->w * {b}.5); break;
		case 3: p->w = p->w / (1.0 + (double)(sum & {c})); break;
		case {4 + n % 3}: memcpy(&p->w, &sum, sizeof(sum)); break;
		}}
		x = (x >> 1) + p->key % {c};
	}}
	return sum;
}}""")
