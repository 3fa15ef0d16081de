/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The configuration: a tree of named nodes with string values, as
 * bhyve_config(5) has it. Options and files only set variables; devices read
 * them. Paths are dotted ("lpc.com1.path"); the last part may be a value or a
 * node, never both. Values may contain %(name) references, which are expanded
 * when read.
 */
#ifndef BASE_CONFIG_H
#define BASE_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"

struct config;      /* the whole tree */
struct config_node; /* one node of it */

struct config *config_create(void); /* NULL: -ENOMEM */
void config_destroy(struct config *config);
struct config_node *config_root(struct config *config);

/* A node by path below another; make: creates what is missing. NULL: not
   there, or a value is in the way, or no memory. */
struct config_node *config_find(struct config_node *from, const char *path);
struct config_node *config_make(struct config_node *from, const char *path);
const char *config_node_name(const struct config_node *node);

/* 0, -ENOTDIR (a value stands where a node should, or the reverse), -EINVAL
   (malformed path, or a line end in value), -ENOMEM. name may be a path. */
int config_set(struct config *config, const char *path, const char *value);
int config_set_in(struct config_node *node, const char *name,
		  const char *value);
int config_unset(struct config *config, const char *path);

/*
 * The expanded value, owned by the tree and valid until the next change of
 * the variable; NULL when it is not set. Not thread-safe: devices read their
 * configuration while they are made.
 */
const char *config_get(struct config *config, const char *path);
const char *config_get_in(struct config_node *node, const char *name);
/* def when not set; -EINVAL with a line in err for what is no boolean or
   number (decimal, 0x, suffixes K M G T). */
int config_get_bool(struct config *config, const char *path, bool def,
		    bool *out, struct err *err);
int config_get_bool_in(struct config_node *node, const char *name, bool def,
		       bool *out, struct err *err);
int config_get_number(struct config *config, const char *path, uint64_t def,
		      uint64_t *out, struct err *err);

/* Children of a node, in the order they were made: value is NULL for a node. 0
   stops nothing; another return value of fn ends the walk and is returned. */
int config_walk(struct config_node *node,
		int (*fn)(void *arg, const char *name, const char *value,
			  struct config_node *child),
		void *arg);

/* "path=value", as -o has it; and a file of such lines, as -k has it. */
int config_parse_option(struct config *config, const char *text,
			struct err *err);
int config_parse_file(struct config *config, const char *file, struct err *err);

/* 0, or -EINVAL with a line in err for the first value whose %(name) is not
   set or never ends. config_get gives such a value as it was set. */
int config_check(struct config *config, struct err *err);

/* All variables, one "path=value" a line, unexpanded, in order. */
void config_dump(struct config *config, FILE *out);

#endif
