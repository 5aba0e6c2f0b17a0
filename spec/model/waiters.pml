/*
 * The handshake of who waits for an object and who changes it (host/shm/wait.h, wait.c and
 * lua/perigee/waiting.lua): things are put, one by one, and three processes wait for one each.
 *
 * Each has a bell of its own. One may stop waiting before it has got any, as a task does whose time is
 * over. With none of the processes dead, nobody stays parked while there is something to take.
 */
#define PROCESSES 3
#define THINGS    3

byte things = 0; /* in the object, under its guard */
byte bells = 0;  /* struct shm_waiters: bit i: somebody behind bell i waits */
bool rung[PROCESSES];
bool parked[PROCESSES];
byte put_all = 0;

/* shm_waiters_wake_one: any of them may have the next turn */
inline wake_one() {
	do
	:: bells == 0 -> break
	:: atomic { bells & 1 -> bells = bells & 6; rung[0] = true; break }
	:: atomic { bells & 2 -> bells = bells & 5; rung[1] = true; break }
	:: atomic { bells & 4 -> bells = bells & 3; rung[2] = true; break }
	od
}

/* shm_waiters_leave: our bell is taken out; when it was rung for us and we want no more, the next one
 * is woken in our place. */
inline stop_waiting(bell) {
	atomic {
		was_in = (bells & (1 << bell)) != 0;
		bells = bells & (7 - (1 << bell))
	}
	if
	:: !was_in -> wake_one()
	:: else
	fi
}

proctype waiter(byte me)
{
	bool got = false, was_in;

	do
	:: true ->
		bells = bells | (1 << me); /* shm_waiters_add: one fetch_or */
		atomic { /* the attempt, under the guard */
			if
			:: things > 0 -> things--; got = true
			:: else
			fi
		}
		if
		:: got -> break
		:: else
		fi;
		/* the timeout of one of them may be over */
		if
		:: me == 0 -> break
		:: true
		fi;
		parked[me] = true;
		atomic { rung[me] -> rung[me] = false; parked[me] = false }
	od;
#ifndef NO_PASSING
	stop_waiting(me)
#endif
}

proctype putter()
{
	do
	:: put_all < THINGS ->
		atomic { things++; put_all++ } /* the change, under the guard */
		wake_one()
	:: else -> break
	od
}

init {
	atomic { run waiter(0); run waiter(1); run waiter(2); run putter() }
	/* Nothing can move any more: then nobody waits for what is there. */
	timeout -> assert(things == 0 || !(parked[0] || parked[1] || parked[2]))
}
