/*
 * One ring of the feed (host/shm/feed.c): a writer that overwrites what is oldest and may be killed
 * between any two stores, its successor in the same seat, and a reader.
 *
 * A record is one or two cells, which all hold its number; two of them that are odd have two. What
 * the reader takes for a message is one that was published there, whole.
 */
#define RING     3 /* cells */
#define MESSAGES 4 /* of each writer */
#define PLACES   20

byte cells[RING];
byte published = 0, reserved = 0, numbers = 0; /* struct ring_head */
byte made[PLACES];                             /* the number of the record published at a place */
bool alive = true;                             /* the first writer */

#define size_of(number) (1 + (number) % 2)

inline write() {
	number = numbers + 1;
	numbers = number;
	at = published;
	if
	:: reserved < at + size_of(number) -> reserved = at + size_of(number)
	:: else
	fi;
	i = 0;
	do
	:: i < size_of(number) -> cells[(at + i) % RING] = number; i++
	:: else -> break
	od;
	atomic { made[at] = number; published = at + size_of(number) }
}

active proctype writer() provided (alive)
{
	byte number, at, i, turns = 0;

	do
	:: turns < MESSAGES -> write(); turns++
	:: else -> break
	od;
	alive = false
}

active proctype killer()
{
	alive = false
}

/* The seat is given away when its process is gone. */
active proctype successor()
{
	byte number, at, i, turns = 0;

	!alive;
	do
	:: turns < MESSAGES -> write(); turns++
	:: else -> break
	od
}

active proctype reader()
{
	byte at = 0, end, number, size, i, reads = 0;
	bool torn;

	do
	:: reads < 4 ->
		end = published;
		if
		:: at == end
		:: else ->
			torn = false;
			if
			:: reserved - at > RING -> torn = true
			:: else ->
				number = cells[at % RING];
				size = size_of(number);
				if
				:: size > end - at -> torn = true
				:: else
				fi;
				i = 1;
				do
				:: !torn && i < size ->
					if
					:: cells[(at + i) % RING] != number -> torn = true
					:: else
					fi;
					i++
				:: else -> break
				od;
				/* the C does not compare: what it has copied is good unless it was overtaken */
				if
				:: reserved - at > RING -> skip
				:: else -> assert(!torn && number == made[at])
				fi;
				if
				:: reserved - at > RING -> torn = true
				:: else
				fi
			fi;
			if
			:: torn -> at = end
			:: else -> at = at + size
			fi
		fi;
		reads++
	:: else -> break
	od
}
