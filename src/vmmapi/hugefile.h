/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A file of memory that the host gives in huge pages as far as it has some. A
 * memfd has them only where the administrator says so (shmem_enabled, which
 * is "never" by default), so the file is on a tmpfs of its own, which nobody
 * sees and which goes with the last who has the file open.
 */
#ifndef VMMAPI_HUGEFILE_H
#define VMMAPI_HUGEFILE_H

/*
 * The open file, empty, with the user's id and mode 0600; /proc shows it by
 * the name (no slash). Or -errno: this host does not let us.
 */
int hugefile_create(const char *name);

#endif
