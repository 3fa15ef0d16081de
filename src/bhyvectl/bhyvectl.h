/* SPDX-License-Identifier: BSD-2-Clause */
/* bhyvectl's parts: rows of options, and what they work on. */
#ifndef BHYVECTL_H
#define BHYVECTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <vmmapi.h>

struct session {
	const char *name;
	struct vmctx *ctx;
	struct vcpu *vcpu;
	int cpu;
	/* options that belong to others; NULL: not given */
	const char *desc_base, *desc_limit, *desc_access;
	const char *capname, *nvram_offset;
	bool json;
	/* why an action was refused, and its option; NULL: the library knows */
	const char *refusal, *refused;
};

/*
 * An option that does something. Rows are carried out in the order of the
 * tables, whatever the order on the command line. run returns 0, or -1 with
 * errno; EX_USAGE (64) after it printed what is wrong with the arguments.
 */
struct action {
	const char *option;
	const char *value; /* the name of its argument, NULL: it has none */
	int (*run)(struct session *s, const struct action *action,
		   const char *value);
	int which;  /* a register, a way to stop... for run */
	bool alone; /* excludes others of the kind: create, destroy... */
};

extern const struct action register_sets[], register_gets[];
extern const size_t register_set_count, register_get_count;
extern const struct action vm_actions[];
extern const size_t vm_action_count;

/* What is there only to be refused by name; not in the usage. */
extern const struct action refused_actions[];
extern const size_t refused_action_count;

/* Rows that have a file of their own. */
int get_stats(struct session *s, const struct action *action,
	      const char *value);
int run_vcpu(struct session *s, const struct action *action, const char *value);

/* For --get-all. */
int print_all_registers(struct session *s);

/* A whole number in C's notation: 0, or EX_USAGE with a line on stderr. */
int parse_number(const char *what, const char *text, uint64_t max,
		 uint64_t *value);

#endif
