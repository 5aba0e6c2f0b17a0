/*
 * The tail: the last of the log, for whoever wants to read it without the log's file.
 *
 * One memfd with a ring. The manager writes, and waits for nobody; readers keep their own places
 * and read again from what is left when they were overtaken. Manager: makes and writes it. Zygote:
 * passes it on. The processes forked from it read.
 */
#ifndef PERIGEE_SHM_TAIL_H
#define PERIGEE_SHM_TAIL_H

#include <stddef.h>

#include "base/error.h"
#include "shm/tail_abi.h"

#define SHM_TAIL_RING (256 * 1024) /* bytes that are kept, a power of two */

struct shm_tail; /* as mapped by the manager */

/* A new tail. Returns its memfd, or -1 with *error. */
int shm_tail_create(struct error *error);

/* Manager: maps it to be written. NULL with *error. It lasts as long as the process. */
struct shm_tail *shm_tail_open(int fd, struct error *error);

/* Manager: writes behind what there is. */
void shm_tail_write(struct shm_tail *tail, const char *text, size_t size);

/* Readers: tells this process where its tail is; it is mapped at first use. */
void shm_tail_use(int fd);

#endif
