/* Asking the manager, out of Lua, and handing its answers back. Runs in every process that has a
 * manager: zygote, worker, managed process. */
#include "script/script_internal.h"

#include "base/check.h"

void script_set_request(struct script *script, script_request_function *request, void *context)
{
	script->request = request;
	script->request_context = context;
}

int script_request(struct script_state *state, int32_t id, const char *block, size_t size)
{
	const struct script *script = (const struct script *)(const void *)state;

	if (script->request == NULL)
		return SCRIPT_NOT_HERE;
	return script->request(
		script->request_context, id, (struct slice){.data = block, .size = size});
}

void script_answer_event(struct script *script, struct script_event *event)
{
	script_enter(script);
	lua_pushnumber(script->lua, (lua_Number)event->serial);
	lua_pushlstring(
		script->lua, event->text.size == 0 ? "" : event->text.data, event->text.size);
	(void)script_call(script, SCRIPT_ANSWER, 2, 0);
	script_leave(script);
	buffer_free(&event->text);
}

void script_answer(struct script *script, int32_t id, struct slice block)
{
	struct script_event event = {.kind = SCRIPT_EVENT_ANSWER, .serial = (uint64_t)id};

	CHECK(buffer_add(&event.text, block.data, block.size) == 0);
	if (script->depth == 0)
		script_answer_event(script, &event);
	else
		script_event_add(script, event);
}
