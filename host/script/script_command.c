/*
 * The command line: what the user typed, read by perigee.cli. Runs in the command only.
 */
#include "script/script_internal.h"

#include "base/check.h"

struct command {
	int argc;
	char **argv;
	struct script *script;
	struct buffer *settings;
	int status;
};

/* Calls perigee.cli.main(arguments), which returns a status, or nil and a block. May longjmp. */
static int command_protected(lua_State *lua)
{
	struct command *command = lua_touserdata(lua, 1);
	size_t size;
	const char *block;

	lua_rawgeti(lua, LUA_REGISTRYINDEX, command->script->functions[SCRIPT_TRACE]);
	lua_getglobal(lua, "require");
	lua_pushliteral(lua, "perigee.cli");
	lua_call(lua, 1, 1);
	lua_getfield(lua, -1, "main");
	lua_createtable(lua, command->argc, 0);
	for (int i = 1; i < command->argc; i++) {
		lua_pushstring(lua, command->argv[i]);
		lua_rawseti(lua, -2, i);
	}
	if (lua_pcall(lua, 1, 2, 2) != 0)
		return lua_error(lua);
	if (!lua_isnil(lua, -2)) {
		command->status = (int)lua_tointeger(lua, -2);
		return 0;
	}
	block = luaL_checklstring(lua, -1, &size);
	if (buffer_add(command->settings, block, size) != 0)
		return luaL_error(lua, "out of memory");
	command->status = -1;
	return 0;
}

int script_command(struct script *script, int argc, char **argv, struct buffer *settings)
{
	struct command command = {
		.argc = argc, .argv = argv, .script = script, .settings = settings, .status = 1};

	script_enter(script);
	if (lua_cpcall(script->lua, command_protected, &command) != 0) {
		const char *text = lua_tostring(script->lua, -1);

		script_log("perigee: ", text != NULL ? text : "(no message)");
		lua_pop(script->lua, 1);
		command.status = 1;
	}
	script_leave(script);
	return command.status;
}
