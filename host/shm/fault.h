/*
 * Fault points: places inside critical sections where a debug build can be told to die.
 *
 * Each critical section has a name ("dict.set") and counts its steps: one when it begins, one
 * before each change of shared memory, one at its end. The build option PERIGEE_FAULTS compiles
 * them in; without it they are nothing.
 */
#ifndef PERIGEE_SHM_FAULT_H
#define PERIGEE_SHM_FAULT_H

#ifdef PERIGEE_FAULTS
/* The critical section `name` begins. */
void shm_fault_begin(const char *name);

/* Its next step: SIGKILL to this process, if that is what was asked for. */
void shm_fault_step(void);
#else
static inline void shm_fault_begin(const char *name)
{
	(void)name;
}

static inline void shm_fault_step(void)
{
}
#endif

#endif
