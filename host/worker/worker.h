/* A worker: serves HTTP with the application that its zygote loaded. */
#ifndef PERIGEE_WORKER_WORKER_H
#define PERIGEE_WORKER_WORKER_H

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/slice.h"
#include "script/script.h"
#include "shm/slots.h"
#include "wire/message.h"

struct tls_context;

/* What a worker calls that is all there is, see single.h. */
struct worker_single {
	void (*on_loop)(uv_loop_t *loop);    /* it is made, and runs next */
	void (*on_failed)(struct slice why); /* it cannot start; does not return */
	void (*on_stopped)(void); /* after_server_stop is over; the end is the callee's */
};

/* What a worker is born with. All descriptors are its own. */
struct worker_birth {
	uint32_t slot;
	uint32_t generation;
	struct shm_seat *seat;
	unsigned seat_number; /* of that seat */
	struct slice plan;    /* a checked record block: the settings */
	int control;          /* its channel to the manager */
	int feed;             /* memfd of what is published, and its bell */
	int bell;
	const struct worker_single *single; /* NULL where there is a manager */
	int listeners[WIRE_BIND_MAX];
	size_t listener_count;
	struct tls_context *tls; /* or NULL */
	struct slice terms; /* of a managed process that serves, a checked record block; or none */
};

/* Runs the worker to its end in a freshly forked process, and exits. */
_Noreturn void worker_main(struct script *script, const struct worker_birth *birth);

#endif
