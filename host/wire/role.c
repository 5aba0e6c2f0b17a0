/* Names of the process roles. Constant data; in every process. */
#include "wire/role.h"

#include <string.h>

const char *const wire_role_names[WIRE_ROLE_COUNT] = {
	[WIRE_ROLE_COMMAND] = "command",
	[WIRE_ROLE_MANAGER] = "manager",
	[WIRE_ROLE_GUARDIAN] = "guardian",
	[WIRE_ROLE_ZYGOTE] = "zygote",
	[WIRE_ROLE_WORKER] = "worker",
	[WIRE_ROLE_SHEPHERD] = "shepherd",
	[WIRE_ROLE_SINGLE] = "single",
	[WIRE_ROLE_MANAGED] = "managed",
	[WIRE_ROLE_PROBE] = "probe",
};

int wire_role_parse(int argc, char **argv)
{
	if (argc < 2 || argv[1][0] != '@')
		return WIRE_ROLE_COMMAND;
	for (int role = 0; role < WIRE_ROLE_COUNT; role++) {
		if (strcmp(argv[1] + 1, wire_role_names[role]) == 0)
			return role;
	}
	return -1;
}
