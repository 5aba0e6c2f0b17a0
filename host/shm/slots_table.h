/* The layout of the slots table, for slots.c, which writes it, and slots_read.c. */
#ifndef PERIGEE_SHM_SLOTS_TABLE_H
#define PERIGEE_SHM_SLOTS_TABLE_H

#include "shm/slots.h"

#define SHM_PAGE 4096 /* what mprotect(2) goes by */

/* What the manager knows of one seat's process. */
struct shm_known {
	uint32_t sequence; /* odd while `process` is written */
	struct shm_process process;
};

struct shm_slots {
	/* Only the manager writes it; a page of its own begins behind it. */
	struct {
		uint32_t used;            /* seats above were never taken */
		uint32_t totals_sequence; /* odd while a seat's counters go to the totals */
		uint64_t totals[SHM_COUNTERS];
		struct shm_known seats[SHM_SEATS_MAX];
	} known __attribute__((aligned(SHM_PAGE)));
	struct shm_seat seats[SHM_SEATS_MAX] __attribute__((aligned(SHM_PAGE)));
};

/* The table as this process has mapped it, or NULL. */
struct shm_slots *shm_slots_mapped(void);

#endif
