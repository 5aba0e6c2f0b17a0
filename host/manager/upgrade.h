/*
 * Another binary in the manager's place: SIGUSR2.
 *
 * The manager execs the program that is at its path by now, in its own place: the pid stays, the
 * children stay its children, and what must not be lost crosses as descriptors and a record block,
 * see upgrade_state.h. The new image takes up the old generation as it is and
 * then loads the code anew, which replaces main process and workers as any reload does. Managed
 * processes are stopped before, and started anew by it.
 *
 * Nothing is begun that could not be finished: the new program is first run on the side with
 * the very state, and says whether it can take it. And it waits for a quiet moment: every slot
 * served by the current generation, nothing being loaded, nobody waiting for an answer.
 */
#ifndef PERIGEE_MANAGER_UPGRADE_H
#define PERIGEE_MANAGER_UPGRADE_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/error.h"

struct manager;

struct upgrade {
	struct manager *manager;
	bool wanted;
	bool held;       /* signals are, as the exec is next */
	bool can;        /* the other program has said so */
	bool paused;     /* managed processes are, as the new program starts its own */
	uint64_t since;  /* clock_now() of the request */
	int state;       /* memfd that the other program looks at; or -1 */
	int plan;        /* memfd that the state names; or -1 */
	int answer;      /* pipe with what it says; or -1 */
	uv_poll_t *poll; /* of that; malloc'ed, or NULL */
	uv_timer_t timer;
};

void upgrade_init(struct upgrade *upgrade, struct manager *manager);

/* Asks for it, for a reason that the log names. What becomes of it is told there, and to control.
 */
void upgrade_request(struct upgrade *upgrade, const char *why);

/* Looks whether its time has come; for the tick. */
void upgrade_try(struct upgrade *upgrade);

/* The manager ends: forgets it. */
void upgrade_end(struct upgrade *upgrade);

/* In the program that is asked, a role of its own: prints "ok", or why not. Returns the exit
 * status. */
int upgrade_probe(int state);

#endif
