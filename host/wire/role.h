/*
 * The kinds of process Perigee is made of, and how an exec'd one is told which it is.
 *
 * The command line starts `perigee serve …`; every other exec of our binary has "@ROLE" as its
 * first argument and the descriptors below, at these numbers, and nothing else.
 */
#ifndef PERIGEE_WIRE_ROLE_H
#define PERIGEE_WIRE_ROLE_H

enum wire_role {
	WIRE_ROLE_COMMAND,  /* what the user started: reads the command line */
	WIRE_ROLE_MANAGER,  /* exec'd by the command, in its place and with its pid */
	WIRE_ROLE_GUARDIAN, /* forked by the manager before anything else */
	WIRE_ROLE_ZYGOTE,   /* exec'd by the manager, one per generation */
	WIRE_ROLE_WORKER,   /* forked by a zygote */
	WIRE_ROLE_SHEPHERD, /* exec'd by a worker or the manager, one for each command */
	WIRE_ROLE_SINGLE,   /* exec'd by the command: the whole application, without a manager */
	WIRE_ROLE_MANAGED,  /* forked by a zygote: a Lua function of the app's in its own process */
	WIRE_ROLE_PROBE,    /* exec'd by the manager before an upgrade: can it go on as this? */
	WIRE_ROLE_COUNT
};

/* Lower-case name for logs and argv, by role. */
extern const char *const wire_role_names[WIRE_ROLE_COUNT];

/* The role in argv[1] ("@manager"), WIRE_ROLE_COMMAND when there is none; -1 when unknown. */
int wire_role_parse(int argc, char **argv);

/* Descriptors that cross exec. */
#define WIRE_FD_SETTINGS                                                                           \
	3 /* manager, zygote: memfd with the settings the user gave, a record block */
#define WIRE_FD_CONTROL 4 /* zygote: SOCK_SEQPACKET to the manager, see message.h */
#define WIRE_FD_SLOTS   5 /* zygote: memfd with the slots table, see shm/slots.h */
#define WIRE_FD_REGION  6 /* zygote: memfd with the shared objects, see shm/region.h */
#define WIRE_FD_FEED    7 /* zygote: memfd with what workers publish, see shm/feed.h */
#define WIRE_FD_BELL    8 /* zygote: eventfd that says that there is something in it */
#define WIRE_FD_TAIL    9 /* zygote: memfd with the last of the log, see shm/tail.h */
/* zygote: the eventfds of shared objects, WIRE_BELLS of them, see shm/wait.h */
#define WIRE_FD_BELLS 10
#define WIRE_BELLS    32
#define WIRE_FD_END   (WIRE_FD_BELLS + WIRE_BELLS) /* one past the last */

#define WIRE_FD_SHEPHERD 3 /* shepherd: socket to who started it; it has none of the above */

/* Environment that Perigee reads. Settings are PERIGEE_<NAME>, see lua/perigee/settings.lua. */
#define WIRE_ENV_LUA_PATH                                                                          \
	"PERIGEE_LUA_PATH" /* directory that replaces the embedded Lua modules                     \
			    */

#endif
