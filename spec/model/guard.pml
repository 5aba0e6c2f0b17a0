/*
 * The guard (host/shm/guard.h, guard.c): two writers move 1 from one word to another, a reader reads
 * both without the lock, and a killer ends processes between any two stores.
 *
 * Names and the order of the stores are those of the C. See README.md for what this assumes.
 */
#define SUM   8
#define KILLS 2
#ifndef TURNS
#define TURNS 1 /* operations of each writer; with 2, some minutes */
#endif
#define FREE  0
#define DEAD  9 /* the robust mutex: its owner died */

byte owner = FREE;  /* of the mutex: _pid + 1 */
byte sequence = 0;
byte count = 0;
byte undo_place[2];
byte undo_old[2];
byte word[2] = { 4, 4 };

bool alive[6] = { true, true, true, true, true, true };
byte killed = 0;
byte done = 0; /* operations that were committed */
bool over[6];  /* processes that came to their end */

inline unlock() { owner = FREE }

/* shm_guard_enter, with undo(). */
inline enter() {
	atomic {
		if
		:: owner == FREE -> owner = _pid + 1; died = false
		:: owner == DEAD -> owner = _pid + 1; died = true
		fi
	}
	if
	:: died ->
		i = count;
		do
		:: i > 0 ->
			word[undo_place[i - 1]] = undo_old[i - 1];
			i--
		:: else -> break
		od;
		count = 0;
		if
		:: sequence % 2 == 1 -> sequence = sequence + 1
		:: else
		fi
	:: else
	fi;
	/* who has the lock finds everything as an operation leaves it */
	assert(count == 0 && sequence % 2 == 0 && word[0] + word[1] == SUM)
}

/* shm_guard_set */
inline set(place, value) {
	if
	:: count == 0 -> sequence = sequence + 1
	:: else
	fi;
	undo_place[count] = place;
	undo_old[count] = word[place];
	count = count + 1;
	word[place] = value
}

/* shm_guard_commit, shm_guard_leave */
inline leave() {
	if
	:: count != 0 ->
		atomic { count = 0; done++ }
		sequence = sequence + 1
	:: else
	fi;
	unlock()
}

active [2] proctype writer() provided (alive[_pid])
{
	byte i, turns = 0;
	bool died;

	do
	:: turns < TURNS ->
		enter();
		set(0, word[0] - 1);
		set(1, word[1] + 1);
		leave();
		turns++
	:: else -> break
	od;
	over[_pid] = true
}

/* shm_guard_look, shm_guard_seen */
active proctype reader() provided (alive[_pid])
{
	byte before, a, b, reads = 0;

	do
	:: reads < 1 ->
		before = sequence;
		if
		:: before % 2 == 0 ->
			a = word[0];
			b = word[1];
			if
			:: sequence == before -> assert(a + b == SUM)
			:: else
			fi
		:: else
		fi;
		reads++
	:: else -> break
	od
}

/* The kernel hands a dead process's mutex on in the same moment. */
active proctype killer()
{
	byte victim;

	do
	:: killed < KILLS ->
		if
		:: victim = 0
		:: victim = 1
		fi;
		atomic {
			if
			:: alive[victim] ->
				alive[victim] = false;
				killed++;
				if
				:: owner == victim + 1 -> owner = DEAD
				:: else
				fi
			:: else
			fi
		}
	:: break
	od
}

/* The next user, who may be killed no more: it always gets the lock, and what it finds is what was
 * committed, no more and no less. */
active proctype heir()
{
	byte i;
	bool died;

	enter();
	assert(word[0] == 4 - done && word[1] == 4 + done);
	leave();
	over[_pid] = true
}

/* Nothing can move any more: then nobody waits for the lock. */
active proctype watch()
{
	timeout -> assert((over[0] || !alive[0]) && (over[1] || !alive[1]) && over[4])
}
