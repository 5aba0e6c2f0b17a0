/* Fault points: see fault.h. Runs in every process that uses shared objects, in debug builds. */
#include "shm/fault.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shm/last_error.h"

#pragma GCC visibility push(default)
#include "shm/fault_abi.h"
#pragma GCC visibility pop

#ifdef PERIGEE_FAULTS

#define NAME_MAX_SIZE 32 /* bytes of a section's name, the final NUL included */

static struct {
	bool read;                /* PERIGEE_FAULT was looked at */
	char name[NAME_MAX_SIZE]; /* "": nothing is armed */
	unsigned step;            /* which one kills, from 1 */
	const char *current;      /* the section that is running */
	unsigned count;           /* its steps so far */
} fault;

/* PERIGEE_FAULT=shm.NAME[.STEP]:kill */
static void read_environment(void)
{
	const char *text = getenv("PERIGEE_FAULT");
	char name[NAME_MAX_SIZE];
	unsigned step = 1;
	int end = 0;

	fault.read = true;
	if (text == NULL)
		return;
	if ((sscanf(text, "shm.%31[a-z_.]%u:kill%n", name, &step, &end) < 2 || end == 0) &&
		(sscanf(text, "shm.%31[a-z_.]:kill%n", name, &end) < 1 || end == 0)) {
		(void)fprintf(stderr,
			"warn: PERIGEE_FAULT=%s has no meaning: it is shm.NAME[.STEP]:kill\n",
			text);
		return;
	}
	if (name[strlen(name) - 1] == '.')
		name[strlen(name) - 1] = '\0';
	(void)shm_fault_arm(name, step);
}

void shm_fault_begin(const char *name)
{
	if (!fault.read)
		read_environment();
	fault.current = name;
	fault.count = 0;
	shm_fault_step();
}

void shm_fault_step(void)
{
	if (fault.current == NULL || fault.name[0] == '\0')
		return;
	fault.count++;
	if (fault.count == fault.step && strcmp(fault.current, fault.name) == 0)
		(void)kill(getpid(), SIGKILL);
}

int shm_fault_arm(const char *name, unsigned step)
{
	fault.read = true;
	(void)snprintf(fault.name, sizeof fault.name, "%s", name);
	fault.step = step;
	return 0;
}

#else

int shm_fault_arm(const char *name, unsigned step)
{
	struct error error;

	(void)name;
	(void)step;
	return shm_fail(
		error_set(&error, ENOTSUP, "this build of Perigee has no fault points"), &error);
}

#endif
