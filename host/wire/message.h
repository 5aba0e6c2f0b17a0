/*
 * What the manager and its children say to each other.
 *
 * Each child has one SOCK_SEQPACKET channel to the manager; one packet is one message: this
 * header, then `size` bytes of text or records, with descriptors beside it where stated. Both ends
 * run the same build (the manager execs itself), so structs cross as they are; `version` catches
 * a binary that was replaced under a running manager.
 */
#ifndef PERIGEE_WIRE_MESSAGE_H
#define PERIGEE_WIRE_MESSAGE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "wire/record.h"

#define WIRE_VERSION    2
#define WIRE_TEXT_LIMIT (RECORD_BLOCK_LIMIT)
#define WIRE_BIND_MAX   16 /* listening addresses of one manager */

enum wire_type {
	/* zygote → manager */
	WIRE_PLAN = 1,    /* body: the plan, a record block: every setting, resolved */
	WIRE_LOAD_FAILED, /* body: the error as the user shall read it; the zygote exits next */
	WIRE_FORKED,      /* child, pid: the fork ordered as `child` was done */
	WIRE_FORK_FAILED, /* child, number: its errno */
	WIRE_HOOK_FAILED, /* body: main_process_ready raised; the generation goes on without it */

	/* manager → zygote */
	WIRE_FORK, /* role, slot, generation, child; fds: control, stdout, stderr, listeners … */
	WIRE_ALL_READY, /* every slot of the generation is served: run main_process_ready */
	WIRE_STOP,      /* no process of the generation is left: run main_process_stop and exit */

	/* worker → manager */
	WIRE_READY,        /* before_server_start is done, and connections could be accepted */
	WIRE_START_FAILED, /* body: why; the worker exits next */
	WIRE_LEAVING,      /* replace this worker, then drain it: SIGTERM came to it alone, or
			    * (body: why) it is used up */
	WIRE_HEIR_LOST,    /* the heir given with WIRE_DRAIN is gone: another, please */
	WIRE_STUCK,        /* body: its loop does not come round, what it does instead */

	/* manager → worker */
	WIRE_SERVE, /* accept connections; one that was not told to may be killed without loss */
	WIRE_DRAIN, /* number: enum wire_drain; fd: where idle connections go, if there is an heir
		     */
	WIRE_HEIR,  /* fd: an heir in place of a lost one; none: there is nobody left */
	WIRE_ADOPT, /* fd: idle connections arrive here, until its end */

	/* any child → manager, and back */
	WIRE_REQUEST, /* number: the asker's own for it; body: a record block, `op` and what it
			 needs */
	WIRE_ANSWER,  /* number: of the request; body: a record block, see WIRE_KEY_OK and below */
	WIRE_TYPE_END
};

/*
 * The records of an answer. It is sent once, when what was asked for has happened or has failed;
 * `message` says what a person should know of it.
 */
#define WIRE_KEY_OK      "ok"      /* "1" or "0" */
#define WIRE_KEY_MESSAGE "message" /* may be missing when ok */
#define WIRE_KEY_CODE    "code"    /* of a failure: one word */
#define WIRE_KEY_NAME    "name"    /* with the code ENOENT: the names there are, one a record */

enum wire_drain {
	WIRE_DRAIN_REPLACED =
		1,          /* a successor accepts on the same sockets: stop accepting at once */
	WIRE_DRAIN_RETIRED, /* the slot is going: empty its accept queues first, for a moment */
	WIRE_DRAIN_SHUTDOWN /* the host stops: empty the queues, close what is idle */
};

struct wire_message {
	uint16_t version; /* WIRE_VERSION */
	uint16_t type;    /* enum wire_type */
	uint16_t role;    /* enum wire_role */
	uint16_t slot;
	uint32_t generation;
	uint32_t size;  /* bytes of body after this header */
	uint64_t child; /* the manager's number for the child; never reused */
	int32_t pid;
	int32_t number; /* by type */
};

/*
 * Sends header and body as one packet. Fills in version and size. `flags` as sendmsg(2).
 * Returns 0, or -1 with errno (EMSGSIZE: body over WIRE_TEXT_LIMIT).
 */
int wire_send(int socket, struct wire_message *message, const void *body, size_t size,
	const int *fds, size_t count, int flags);

/*
 * Receives one packet into *message and *body, whose content is replaced and ends with a NUL
 * beyond its size. *count is the room in fds, then the number received (the caller's to close).
 * Returns 1, 0 at the peer's end, or -1 with errno; EPROTO for what is not a message of ours, and
 * for one of another WIRE_VERSION (message->version tells).
 */
int wire_receive(int socket, struct wire_message *message, struct buffer *body, int *fds,
	size_t *count, int flags);

#endif
