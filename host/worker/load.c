/* Loading the application. In the zygote, or in the one process of --single-process. */
#include "worker/load.h"

#include <string.h>

#include "wire/record.h"

static int refuse(struct buffer *plan, const struct error *error)
{
	plan->size = 0;
	(void)buffer_add(plan, error->text, strlen(error->text));
	return -1;
}

int load_application(struct script *script, int settings, struct buffer *ret_plan)
{
	struct buffer given = {0};
	struct error error;
	int result;

	if (record_load(&given, settings, &error) != 0)
		return refuse(ret_plan, &error);
	result = script_run(script, "perigee.boot", "load", (struct slice){given.data, given.size},
		0, ret_plan);
	buffer_free(&given);
	if (result != 0)
		return -1;
	if (script_check_loop(script, &error) != 0 ||
		record_check((struct slice){ret_plan->data, ret_plan->size}, &error) != 0)
		return refuse(ret_plan, &error);
	return 0;
}
