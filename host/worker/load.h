/* Loading the application: its files and the main_process_start listeners. In the zygote, or alone.
 */
#ifndef PERIGEE_WORKER_LOAD_H
#define PERIGEE_WORKER_LOAD_H

#include "base/buffer.h"
#include "script/script.h"

/*
 * Runs `perigee.boot`.load with the settings that the memfd `settings` holds. Returns 0 with the
 * plan in *ret_plan, a checked record block, or -1 with the error in it as the user shall read it.
 */
int load_application(struct script *script, int settings, struct buffer *ret_plan);

#endif
