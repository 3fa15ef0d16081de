// SPDX-License-Identifier: BSD-2-Clause
/*
 * The tree of variables. An entry is a node (value NULL, children) or a value
 * (no children). Entries stand in a list in the order they were made, which
 * is the order of a walk and of a dump.
 */
#include "base/config.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MAX_DEPTH     16                 /* parts of a path */
#define MAX_NAME      255                /* bytes of one part */
#define MAX_ENTRIES   16384              /* of a tree: searches are linear */
#define MAX_FILE      (size_t)(1 * MiB)  /* bytes of a configuration file */
#define MAX_EXPANDED  (size_t)(64 * KiB) /* bytes of an expanded value */
#define MAX_EXPANSION 1024               /* references in one expansion */

/* A value as it was expanded once; somebody may still hold it. */
struct expansion {
	struct expansion *next;
	char text[];
};

struct config_node {
	struct config *config;
	struct config_node *parent;
	struct config_node *next; /* sibling */
	struct config_node *children;
	struct config_node **tail; /* end of children */
	char *value;               /* as it was set; NULL for a node */
	struct expansion *expanded;
	char name[];
};

struct config {
	struct config_node *root;
	unsigned int entries;
};

/* -- entries ------------------------------------------------------------- */

static struct config_node *entry_create(struct config *config,
					struct config_node *parent,
					const char *name, size_t length)
{
	struct config_node *entry;

	if (config->entries >= MAX_ENTRIES)
		return NULL;
	entry = calloc(1, sizeof(*entry) + length + 1);
	if (entry == NULL)
		return NULL;
	memcpy(entry->name, name, length);
	entry->config = config;
	entry->parent = parent;
	entry->tail = &entry->children;
	if (parent != NULL) {
		*parent->tail = entry;
		parent->tail = &entry->next;
	}
	config->entries++;
	return entry;
}

static void drop_expansions(struct config_node *entry)
{
	struct expansion *old;

	while ((old = entry->expanded) != NULL) {
		entry->expanded = old->next;
		free(old);
	}
}

/* Frees an entry that is in no list any more. */
static void entry_free(struct config_node *entry)
{
	struct config_node *child;

	while ((child = entry->children) != NULL) {
		entry->children = child->next;
		entry_free(child);
	}
	entry->config->entries--;
	drop_expansions(entry);
	free(entry->value);
	free(entry);
}

static void entry_unlink(struct config_node *entry)
{
	struct config_node **link = &entry->parent->children;

	while (*link != entry)
		link = &(*link)->next;
	*link = entry->next;
	if (entry->next == NULL)
		entry->parent->tail = link;
}

static struct config_node *child_named(const struct config_node *node,
				       const char *name, size_t length)
{
	struct config_node *child;

	for (child = node->children; child != NULL; child = child->next) {
		if (strncmp(child->name, name, length) == 0 &&
		    child->name[length] == '\0')
			return child;
	}
	return NULL;
}

struct config *config_create(void)
{
	struct config *config = calloc(1, sizeof(*config));

	if (config == NULL)
		return NULL;
	config->root = entry_create(config, NULL, "", 0);
	if (config->root == NULL) {
		free(config);
		return NULL;
	}
	return config;
}

void config_destroy(struct config *config)
{
	if (config == NULL)
		return;
	entry_free(config->root);
	free(config);
}

struct config_node *config_root(struct config *config)
{
	return config->root;
}

const char *config_node_name(const struct config_node *node)
{
	return node->name;
}

/* -- paths --------------------------------------------------------------- */

/* Printable, so that a dump can be read back as a file. */
static bool name_char(char c)
{
	return isgraph((unsigned char)c) && c != '=' && c != '#' && c != '%';
}

static bool path_valid(const char *path)
{
	unsigned int depth = 1;
	size_t length = 0;

	for (; *path != '\0'; path++) {
		if (*path == '.') {
			if (length == 0 || ++depth > MAX_DEPTH)
				return false;
			length = 0;
		} else if (!name_char(*path) || ++length > MAX_NAME) {
			return false;
		}
	}
	return length != 0;
}

/* The entry at path below from. With make, what is missing becomes nodes. */
static int lookup(struct config_node *from, const char *path, bool make,
		  struct config_node **out)
{
	struct config_node *entry = from, *child;

	if (!path_valid(path))
		return -EINVAL;
	for (;;) {
		size_t length = strcspn(path, ".");

		if (entry->value != NULL)
			return -ENOTDIR;
		child = child_named(entry, path, length);
		if (child == NULL && !make)
			return -ENOENT;
		if (child == NULL)
			child =
			    entry_create(entry->config, entry, path, length);
		if (child == NULL)
			return -ENOMEM;
		entry = child;
		if (path[length] == '\0')
			break;
		path += length + 1;
	}
	*out = entry;
	return 0;
}

struct config_node *config_find(struct config_node *from, const char *path)
{
	struct config_node *entry;

	if (lookup(from, path, false, &entry) != 0 || entry->value != NULL)
		return NULL;
	return entry;
}

struct config_node *config_make(struct config_node *from, const char *path)
{
	struct config_node *entry;

	if (lookup(from, path, true, &entry) != 0 || entry->value != NULL)
		return NULL;
	return entry;
}

/* -- setting ------------------------------------------------------------- */

/* Makes the node that will hold name's value; name becomes its last part. */
static int make_parent(struct config_node *from, const char **name,
		       struct config_node **out)
{
	const char *last = strrchr(*name, '.');
	char path[MAX_DEPTH * (MAX_NAME + 1)];
	int error;

	if (!path_valid(*name))
		return -EINVAL;
	if (last == NULL) {
		*out = from;
		return 0;
	}
	memcpy(path, *name, (size_t)(last - *name));
	path[last - *name] = '\0';
	error = lookup(from, path, true, out);
	*name = last + 1;
	return error;
}

int config_set_in(struct config_node *node, const char *name, const char *value)
{
	struct config_node *parent, *entry;
	char *copy;
	int error;

	/* A dump has one line a variable. */
	if (strpbrk(value, "\r\n") != NULL)
		return -EINVAL;
	error = make_parent(node, &name, &parent);
	if (error != 0)
		return error;
	if (parent->value != NULL)
		return -ENOTDIR;
	entry = child_named(parent, name, strlen(name));
	if (entry != NULL && entry->value == NULL)
		return -ENOTDIR;
	copy = strdup(value);
	if (copy == NULL)
		return -ENOMEM;
	if (entry == NULL)
		entry =
		    entry_create(parent->config, parent, name, strlen(name));
	if (entry == NULL) {
		free(copy);
		return -ENOMEM;
	}
	drop_expansions(entry);
	free(entry->value);
	entry->value = copy;
	return 0;
}

/*
 * Variables that have variables below them now, by the names that everybody
 * writes; bhyve_config(5) has monitor for monitor.enabled.
 */
static const char *canonical(const char *path)
{
	static const struct {
		const char *alias, *path;
	} aliases[] = {{"soft.jit", "soft.jit.mode"}};

	for (unsigned int n = 0; n < ARRAY_SIZE(aliases); n++)
		if (strcmp(path, aliases[n].alias) == 0)
			return aliases[n].path;
	return path;
}

int config_set(struct config *config, const char *path, const char *value)
{
	return config_set_in(config->root, canonical(path), value);
}

int config_unset(struct config *config, const char *path)
{
	struct config_node *entry;
	int error = lookup(config->root, path, false, &entry);

	if (error != 0)
		return error;
	entry_unlink(entry);
	entry_free(entry);
	return 0;
}

/* -- expansion ----------------------------------------------------------- */

/* One expansion under way. Length, references and depth are bounded, so that
   a hostile file's text cannot grow without end. */
struct expander {
	struct config *config;
	char *text;
	size_t used;
	unsigned int references;
	char *culprit; /* MAX_NAME + 1 bytes: the reference that failed */
};

static int emit(struct expander *to, const char *text, size_t length)
{
	if (length >= MAX_EXPANDED - to->used)
		return -E2BIG;
	memcpy(to->text + to->used, text, length);
	to->used += length;
	return 0;
}

static int expand(struct expander *to, const char *raw, unsigned int depth);

static int expand_reference(struct expander *to, const char *name,
			    size_t length, unsigned int depth)
{
	struct config_node *entry;
	char path[MAX_NAME + 1];

	snprintf(path, sizeof(path), "%.*s", (int)MIN(length, MAX_NAME), name);
	memcpy(to->culprit, path, sizeof(path));
	if (length > MAX_NAME)
		return -ENOENT;
	if (depth >= MAX_DEPTH || ++to->references > MAX_EXPANSION)
		return -ELOOP;
	if (lookup(to->config->root, path, false, &entry) != 0 ||
	    entry->value == NULL)
		return -ENOENT;
	return expand(to, entry->value, depth + 1);
}

static int expand(struct expander *to, const char *raw, unsigned int depth)
{
	int error = 0;

	while (*raw != '\0' && error == 0) {
		size_t plain = strcspn(raw, "%");
		const char *end;

		if (plain > 0) {
			error = emit(to, raw, plain);
			raw += plain;
		} else if (raw[1] == '(' && (end = strchr(raw, ')')) != NULL) {
			error = expand_reference(
			    to, raw + 2, (size_t)(end - raw - 2), depth);
			raw = end + 1;
		} else {
			/* "%%", or a sign that stands for itself. */
			error = emit(to, "%", 1);
			raw += raw[1] == '%' ? 2 : 1;
		}
	}
	return error;
}

/* Adds entry's expanded value to those it keeps. */
static int expand_entry(struct config_node *entry, char culprit[MAX_NAME + 1])
{
	struct expander to = {.config = entry->config, .culprit = culprit};
	struct expansion *kept;
	int error;

	culprit[0] = '\0';
	to.text = malloc(MAX_EXPANDED);
	if (to.text == NULL)
		return -ENOMEM;
	error = expand(&to, entry->value, 0);
	kept = entry->expanded;
	if (error == 0 && (kept == NULL || strlen(kept->text) != to.used ||
			   memcmp(kept->text, to.text, to.used) != 0)) {
		kept = calloc(1, sizeof(*kept) + to.used + 1);
		if (kept == NULL) {
			error = -ENOMEM;
		} else {
			memcpy(kept->text, to.text, to.used);
			kept->next = entry->expanded;
			entry->expanded = kept;
		}
	}
	free(to.text);
	return error;
}

const char *config_get_in(struct config_node *node, const char *name)
{
	char culprit[MAX_NAME + 1];
	struct config_node *entry;

	if (lookup(node, name, false, &entry) != 0 || entry->value == NULL)
		return NULL;
	/* What cannot be expanded stands for itself; config_check tells. */
	if (strchr(entry->value, '%') == NULL ||
	    expand_entry(entry, culprit) != 0)
		return entry->value;
	return entry->expanded->text;
}

const char *config_get(struct config *config, const char *path)
{
	return config_get_in(config->root, canonical(path));
}

/* -- what a value means -------------------------------------------------- */

int config_get_bool(struct config *config, const char *path, bool def,
		    bool *out, struct err *err)
{
	return config_get_bool_in(config_root(config), path, def, out, err);
}

int config_get_bool_in(struct config_node *node, const char *name, bool def,
		       bool *out, struct err *err)
{
	static const char *const words[2][4] = {
	    {"false", "off", "no", "0"},
	    {"true", "on", "yes", "1"},
	};
	const char *value = config_get_in(node, name);

	*out = def;
	if (value == NULL)
		return 0;
	for (unsigned int which = 0; which < 2; which++) {
		for (unsigned int i = 0; i < ARRAY_SIZE(words[0]); i++) {
			if (strcasecmp(value, words[which][i]) != 0)
				continue;
			*out = which == 1;
			return 0;
		}
	}
	return err_set(err, EINVAL,
		       "%s: \"%s\" is neither true nor false (true, on, yes, "
		       "1; false, off, no, 0)",
		       name, value);
}

/* A decimal or 0x number with K, M, G or T behind it. */
static int parse_number(const char *text, uint64_t *out)
{
	static const char suffixes[] = "kmgt";
	bool hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
	unsigned long long number;
	unsigned int shift = 0;
	const char *suffix;
	char *end;

	if (!isxdigit((unsigned char)text[hex ? 2 : 0]))
		return -EINVAL;
	errno = 0;
	number = strtoull(text, &end, hex ? 16 : 10);
	if (errno != 0 || end == text)
		return -EINVAL;
	if (*end != '\0') {
		suffix = strchr(suffixes, tolower((unsigned char)*end));
		if (suffix == NULL || end[1] != '\0')
			return -EINVAL;
		shift = 10 * (unsigned int)(suffix - suffixes + 1);
	}
	if (number > UINT64_MAX >> shift)
		return -ERANGE;
	*out = (uint64_t)number << shift;
	return 0;
}

int config_get_number(struct config *config, const char *path, uint64_t def,
		      uint64_t *out, struct err *err)
{
	const char *value = config_get(config, path);

	*out = def;
	if (value == NULL || parse_number(value, out) == 0)
		return 0;
	return err_set(err, EINVAL,
		       "%s: \"%s\" is no number (decimal or 0x, with K, M, G "
		       "or T behind it)",
		       path, value);
}

/* -- walking, checking, dumping ------------------------------------------ */

int config_walk(struct config_node *node,
		int (*fn)(void *arg, const char *name, const char *value,
			  struct config_node *child),
		void *arg)
{
	struct config_node *child, *next;
	int result;

	for (child = node->children; child != NULL; child = next) {
		next = child->next;
		if (child->value != NULL)
			result = fn(arg, child->name,
				    config_get_in(node, child->name), NULL);
		else
			result = fn(arg, child->name, NULL, child);
		if (result != 0)
			return result;
	}
	return 0;
}

/* The full path of an entry, into a buffer that holds any. */
static const char *entry_path(const struct config_node *entry,
			      char path[MAX_DEPTH * (MAX_NAME + 1)])
{
	size_t at = MAX_DEPTH * (MAX_NAME + 1) - 1;

	path[at] = '\0';
	for (; entry->parent != NULL; entry = entry->parent) {
		size_t length = strlen(entry->name);

		if (path[at] != '\0')
			path[--at] = '.';
		at -= length;
		memcpy(path + at, entry->name, length);
	}
	return path + at;
}

/* Calls fn for every value below node. */
static int each_value(struct config_node *node,
		      int (*fn)(void *arg, struct config_node *value),
		      void *arg)
{
	struct config_node *child;
	int result = 0;

	for (child = node->children; child != NULL && result == 0;
	     child = child->next) {
		if (child->value != NULL)
			result = fn(arg, child);
		else
			result = each_value(child, fn, arg);
	}
	return result;
}

static int check_value(void *arg, struct config_node *value)
{
	char path[MAX_DEPTH * (MAX_NAME + 1)];
	char culprit[MAX_NAME + 1];
	int error = 0;

	if (strchr(value->value, '%') != NULL)
		error = expand_entry(value, culprit);
	switch (error) {
	case 0:
		return 0;
	case -ENOENT:
		return err_set(arg, EINVAL,
			       "%s: %%(%s) names a variable that is not set",
			       entry_path(value, path), culprit);
	case -ELOOP:
		return err_set(
		    arg, EINVAL,
		    "%s: %%(%s) leads back to itself, or is too deep",
		    entry_path(value, path), culprit);
	default:
		return err_sys(arg, -error, "%s", entry_path(value, path));
	}
}

int config_check(struct config *config, struct err *err)
{
	return each_value(config->root, check_value, err);
}

static int dump_value(void *arg, struct config_node *value)
{
	char path[MAX_DEPTH * (MAX_NAME + 1)];

	fprintf(arg, "%s=%s\n", entry_path(value, path), value->value);
	return 0;
}

void config_dump(struct config *config, FILE *out)
{
	each_value(config->root, dump_value, out);
}

/* -- text ---------------------------------------------------------------- */

int config_parse_option(struct config *config, const char *text,
			struct err *err)
{
	char path[MAX_DEPTH * (MAX_NAME + 1)];
	size_t length = strcspn(text, "=");
	int error;

	if (text[length] == '\0')
		return err_set(err, EINVAL,
			       "\"%.80s\" has no '=': want variable=value",
			       text);
	if (length >= sizeof(path))
		return err_set(err, EINVAL, "\"%.80s...\" is too long a name",
			       text);
	memcpy(path, text, length);
	path[length] = '\0';
	error = config_set(config, path, text + length + 1);
	switch (error) {
	case 0:
		return 0;
	case -EINVAL:
		return err_set(err, EINVAL,
			       "\"%.80s\" is no variable: want name.name=value "
			       "on one line",
			       text);
	case -ENOTDIR:
		return err_set(err, EINVAL,
			       "%.80s: a variable cannot also be the start of "
			       "another one's name",
			       path);
	default:
		return err_sys(err, -error, "%.80s", path);
	}
}

/* Lines of text, which is changed. */
static int parse_lines(struct config *config, const char *file, char *text,
		       struct err *err)
{
	unsigned int number = 0;
	struct err why;
	char *line;
	int error;

	while ((line = strsep(&text, "\n")) != NULL) {
		number++;
		if (line[0] == '\0' || line[0] == '#')
			continue;
		error = config_parse_option(config, line, &why);
		if (error != 0)
			return err_set(err, -error, "%s line %u: %s", file,
				       number, why.text);
	}
	return 0;
}

int config_parse_file(struct config *config, const char *file, struct err *err)
{
	FILE *in = fopen(file, "re");
	size_t got;
	char *text;
	int error;

	if (in == NULL)
		return err_sys(err, errno, "configuration file %s", file);
	text = malloc(MAX_FILE + 1);
	if (text == NULL) {
		fclose(in);
		return err_sys(err, ENOMEM, "configuration file %s", file);
	}
	errno = 0;
	got = fread(text, 1, MAX_FILE + 1, in);
	if (ferror(in))
		error = err_sys(err, errno != 0 ? errno : EIO,
				"configuration file %s", file);
	else if (got > MAX_FILE)
		error =
		    err_set(err, EFBIG,
			    "configuration file %s: larger than 1 MiB", file);
	else if (memchr(text, '\0', got) != NULL)
		error = err_set(err, EINVAL,
				"configuration file %s: has a zero byte, so "
				"is no text",
				file);
	else {
		text[got] = '\0';
		error = parse_lines(config, file, text, err);
	}
	free(text);
	fclose(in);
	return error;
}
