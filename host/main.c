/* perigee: argv → role. The only main(). */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/error.h"
#include "manager/main.h"
#include "manager/shepherd.h"
#include "wire/role.h"
#include "worker/command.h"
#include "worker/single.h"
#include "worker/title.h"
#include "worker/zygote.h"

/* The room of workers may not bind. */
static const struct single_sockets sockets = {.open = manager_alone_listen,
	.url = manager_alone_url,
	.app = manager_alone_app,
	.close = manager_alone_close};

static int run_command(int argc, char **argv)
{
	struct error error;
	int settings;
	int status;

	/* Init has no default action for a signal: what comes before the manager would be lost. */
	if (getpid() == 1)
		manager_hold_signals();
	status = command_main(argc, argv, &settings);
	if (status >= 0)
		return status;
	(void)manager_exec(settings, &error); /* returns only when it failed */
	(void)fprintf(stderr, "perigee: %s\n", error.text);
	return EXIT_FAILURE;
}

int main(int argc, char **argv)
{
	title_init(argc, argv);
	switch (wire_role_parse(argc, argv)) {
	case WIRE_ROLE_COMMAND:
		return run_command(argc, argv);
	case WIRE_ROLE_MANAGER:
		return manager_main(argc > 2 ? atoi(argv[2]) : -1, argc > 3 ? atoi(argv[3]) : -1);
	case WIRE_ROLE_SINGLE:
		return single_main(argc > 2 ? atoi(argv[2]) : -1, &sockets);
	case WIRE_ROLE_PROBE:
		return manager_probe(argc > 2 ? atoi(argv[2]) : -1);
	case WIRE_ROLE_ZYGOTE:
		return zygote_main();
	case WIRE_ROLE_SHEPHERD:
		return shepherd_main(argc, argv);
	default:
		(void)fprintf(stderr, "perigee: %s is not for the command line\n", argv[1]);
		return EXIT_FAILURE;
	}
}
