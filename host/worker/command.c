/* The command: one Lua state that reads the command line. Runs in the process the user started. */
#include "worker/command.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include <uv.h>

#include "base/fd.h"
#include "script/script.h"

static int write_settings(const struct buffer *settings, struct error *error)
{
	int fd = memfd_create("perigee-settings", MFD_CLOEXEC);

	if (fd < 0)
		return error_set_errno(error, "cannot make room for the settings");
	if (write(fd, settings->data, settings->size) != (ssize_t)settings->size) {
		(void)error_set_errno(error, "cannot keep the settings");
		fd_close(&fd);
	}
	return fd;
}

int command_main(int argc, char **argv, int *ret_settings)
{
	struct script *script;
	struct buffer settings = {0};
	struct error error;
	uv_loop_t loop;
	int status;

	if (uv_loop_init(&loop) != 0) {
		(void)fputs("perigee: cannot make the event loop\n", stderr);
		return EXIT_FAILURE;
	}
	if (script_open(&script, &loop, &error) != 0) {
		(void)fprintf(stderr, "perigee: %s\n", error.text);
		return EXIT_FAILURE;
	}
	status = script_command(script, argc, argv, &settings);
	if (status < 0) {
		*ret_settings = write_settings(&settings, &error);
		if (*ret_settings < 0) {
			(void)fprintf(stderr, "perigee: %s\n", error.text);
			status = EXIT_FAILURE;
		}
	}
	buffer_free(&settings);
	(void)fflush(NULL);
	return status;
}
