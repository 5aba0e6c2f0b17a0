/*
 * Fault points as Lua arms them, through LuaJIT's FFI, in specs.
 *
 * Plain declarations only: no directive but this guard, which the build strips.
 */
#ifndef PERIGEE_SHM_FAULT_ABI_H
#define PERIGEE_SHM_FAULT_ABI_H

/* From now on this process is killed at step `step`, from 1, of the critical section `name`
 * ("dict.set"); "" for none. Returns 0, or -1 in a build without fault points (shm_last_error). */
int shm_fault_arm(const char *name, unsigned step);

#endif
