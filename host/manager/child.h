/*
 * Child processes as the manager knows them: zygotes, workers, managed processes.
 *
 * A child's life is a state and an event: child.c has the table. Where it is (`state`) and why it
 * is to end (`fate`) are two things. A child is addressed by its record, its messages by the
 * record's number; its pid only goes through its pidfd, or to kill(2) for the whole group while
 * the unreaped leader keeps the number from being used again.
 */
#ifndef PERIGEE_MANAGER_CHILD_H
#define PERIGEE_MANAGER_CHILD_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

#include "base/buffer.h"
#include "base/list.h"
#include "manager/sink.h"
#include "wire/message.h"
#include "wire/role.h"

struct generation;
struct managed_instance;
struct manager;
struct place;
struct shm_seat;

enum child_state {
	CHILD_ORDERED,  /* a zygote was asked to fork it; its pid is not known yet */
	CHILD_STARTING, /* it runs and is not ready; start_timeout counts */
	CHILD_READY,    /* a worker accepts connections; a zygote has sent its plan */
	CHILD_DRAINING, /* it was asked to end; graceful_timeout counts */
	CHILD_ABORTING, /* it is stuck and got SIGABRT, for a core and a last word */
	CHILD_KILLING,  /* its group got SIGKILL */
	CHILD_GONE,     /* it is reaped; the record lives until its handles are closed */
	CHILD_STATE_COUNT
};

/* Why a child ends, when the manager knows before the kernel does. */
enum child_fate {
	CHILD_FATE_NONE,
	CHILD_FATE_DRAINED, /* it was asked to */
	CHILD_FATE_REFUSED, /* it said that it cannot start; `refusal` has the words */
	CHILD_FATE_LATE,    /* not ready within start_timeout */
	CHILD_FATE_STUCK,   /* no heartbeat for worker_timeout */
	CHILD_FATE_OVERDUE, /* not gone within graceful_timeout */
	CHILD_FATE_KILLED   /* it is not wanted any more */
};

/* What a child said before its zygote's word that it exists was read. */
enum child_early { CHILD_EARLY_NOTHING, CHILD_EARLY_READY, CHILD_EARLY_REFUSED };

struct child {
	struct list node; /* in manager->children until it is gone */
	struct manager *manager;
	struct generation *generation; /* counted in generation->children while not gone */
	enum wire_role role;
	enum child_state state;
	enum child_fate fate;
	enum child_early early;
	bool drain_early; /* a managed process is to drain as soon as its pid is known */
	uint64_t number;  /* unique in the manager's life; what fork messages carry */
	uint32_t slot;    /* a worker's; 0 for others */
	struct managed_instance *instance; /* a managed process's, while it is not gone; or NULL */
	uint64_t stop_timeout;             /* ms; 0: graceful_timeout */
	struct place *place;    /* what it is in; it outlives the process, not the record */
	unsigned seat;          /* in the slots table */
	struct shm_seat *beats; /* that seat, or NULL */
	bool has_successor;     /* its successor is on the way */
	bool retiring; /* drained because its slot goes: its accept queue is its own to empty */

	bool ended;       /* the kernel said so; what it said before may still be read */
	pid_t pid;        /* 0 while ordered */
	uint64_t started; /* clock_now() of the order or exec */
	int64_t start_at; /* the same by clock_wall() */
	uint64_t ready;   /* clock_now() of its ready message; 0 before */
	int pidfd;        /* -1 while ordered, and when it is gone */
	int spare; /* keeps a number free for pidfd, which must be had when its time comes; or -1 */
	int control;              /* our end of its channel; -1 when closed */
	siginfo_t status;         /* how it ended, once it is gone */
	pid_t command_pid;        /* shepherd: of what it looks after; 0 before it runs */
	int command_pidfd;        /* or -1 */
	siginfo_t command_status; /* how that ended, */
	bool command_ended;       /* when it has */
	bool explained;           /* the log says where it was stuck */
	bool oom;                 /* the kernel killed something for memory at that time */
	struct buffer refusal;    /* its own words on why it cannot start */

	uv_poll_t exit_poll; /* pidfd */
	uv_poll_t control_poll;
	uv_timer_t deadline; /* of the present state */
	struct sink_source out;
	struct sink_source err;
	unsigned handles; /* of the above that libuv still holds */
};

/* Execs a zygote for `generation`. NULL with *error when that failed. */
struct child *child_exec_zygote(
	struct manager *manager, struct generation *generation, struct error *error);

/* Orders the generation's zygote to fork a worker. NULL with *error when that cannot even be
 * asked; else what becomes of it is told by events. */
struct child *child_order_worker(
	struct manager *manager, struct generation *generation, uint32_t slot, struct error *error);

/* The same for a process of a function, and, without a zygote, of a command. */
struct child *child_order_managed(
	struct generation *generation, struct managed_instance *instance, struct error *error);
struct child *child_exec_command(
	struct generation *generation, struct managed_instance *instance, struct error *error);

/* A ready child as one program tells the next that takes the manager's place. */
struct child_seed {
	enum wire_role role;
	uint32_t slot;
	uint64_t number;
	pid_t pid;
	int control;
	int out;
	int err;
	unsigned seat;
	uint64_t started; /* clock_now() */
	uint64_t ready;
	uint32_t starts; /* in its place, until now */
};

/* Takes it up as what it was: `generation`'s zygote, or the worker that serves a slot. Returns 0,
 * or -1 with *error. */
int child_adopt(struct generation *generation, const struct child_seed *seed, struct error *error);

/* A message from the zygote about a fork it was ordered to do. */
void child_on_forked(struct child *child, pid_t pid);
void child_on_fork_failed(struct child *child, int code);

/* It said that it is ready, or, in words that are kept, that it cannot start. */
void child_on_ready(struct child *child);
void child_on_refused(struct child *child, const char *text, size_t size);

/*
 * Asks it to end: a zygote by running main_process_stop, a worker by draining, `how`, with its
 * idle connections to go through `heir` (owned by this call; -1: nowhere). A zygote or worker that
 * is not ready yet is killed instead.
 */
void child_drain(struct child *child, enum wire_drain how, int heir);

/* It is stuck: its watchdog says so, and where (logged); or, with size 0, both are silent. */
void child_on_stuck(struct child *child, const char *where, size_t size);

/* SIGKILL for its group. `fate` tells why, unless something did before. */
void child_kill(struct child *child, enum child_fate fate);

/* Reaps it if it has ended; called on SIGCHLD as well as through its pidfd. */
void child_check_exit(struct child *child);

/* Sends a message over its channel. Returns 0, or -1 with errno. */
int child_send(
	struct child *child, enum wire_type type, int32_t number, const int *fds, size_t count);

/* "worker 0 gen 3", "main gen 3" */
void child_label(const struct child *child, char label[SINK_LABEL_SIZE]);

/* The pid that people know it by: a command's, not its shepherd's. */
pid_t child_shown_pid(const struct child *child);

/* The obituary of a child that is gone: "worker 0 gen 3 pid 42 was killed by SIGSEGV …". */
void child_verdict(const struct child *child, char *text, size_t size);

/* How many processes the kernel has killed for memory, here or in our cgroup. */
uint64_t child_oom_count(void);

#endif
