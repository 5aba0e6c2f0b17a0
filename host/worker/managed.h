/* A managed process: runs one function of the application, with the whole runtime around it. */
#ifndef PERIGEE_WORKER_MANAGED_H
#define PERIGEE_WORKER_MANAGED_H

#include <stdint.h>

#include "base/slice.h"
#include "script/script.h"

/* What it is born with. */
struct managed_birth {
	uint32_t generation;
	struct slice terms; /* a checked record block, see manager/managed_terms.h */
	struct slice plan;  /* another: the settings */
	int control;        /* its channel to the manager */
	int feed;           /* where it publishes: memfd, eventfd, its own ring there */
	int bell;
	unsigned seat;
};

/* Runs the process to its end, freshly forked, and exits. */
_Noreturn void managed_main(struct script *script, const struct managed_birth *birth);

#endif
