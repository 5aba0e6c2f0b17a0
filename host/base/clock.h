/* Time. Durations and deadlines are milliseconds of the monotonic clock unless a name says else. */
#ifndef PERIGEE_BASE_CLOCK_H
#define PERIGEE_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

/* CLOCK_MONOTONIC in milliseconds; the same clock in every process of this host. */
uint64_t clock_now(void);

/* Milliseconds since 1970, by the wall clock, which may be set. */
int64_t clock_wall(void);

#define CLOCK_STAMP_SIZE 24 /* "2026-11-22 02:15:11.123" and its NUL */

/* Writes the local wall-clock time to the millisecond. */
void clock_stamp(char stamp[CLOCK_STAMP_SIZE]);

/* Writes a duration for a person: "340 ms", "12.3 s", "4 min 10 s", "3 h 5 min", "2 d 4 h". */
void clock_duration(uint64_t milliseconds, char *text, size_t size);

#endif
