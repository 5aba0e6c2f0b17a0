/*
 * Opening the Lua state of a process: its libraries, and Perigee's own modules, which are inside
 * the program. Runs in the command and in zygotes. Functions marked "may longjmp" run under a
 * protected call and own nothing that only they would free.
 */
#include <errno.h>
#include <luajit.h>
#include <luv/luv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "script/json_codec.h"
#include "script/script_internal.h"
#include "script/urlencoded.h"
#include "wire/role.h"

#define IDLE_COROUTINES_LIMIT 256     /* kept for the next requests; each is about 1.5 KiB */
#define LUA_FILE_LIMIT        1048576 /* bytes of one of our own modules, when read from a file */

LUALIB_API int luaopen_cjson(lua_State *lua);
LUALIB_API int luaopen_cjson_safe(lua_State *lua);

static const struct embedded_module *module_find(const char *name)
{
	for (size_t i = 0; i < embedded_module_count; i++) {
		if (strcmp(embedded_modules[i].name, name) == 0)
			return &embedded_modules[i];
	}
	return NULL;
}

/*
 * Loads directory/path under the chunk name "@path", as the embedded code has it. Pushes the
 * function and returns 1, or 0 when there is no such file. May longjmp.
 */
static int module_load_file(lua_State *lua, const char *directory, const char *path)
{
	const char *file_path = lua_pushfstring(lua, "%s/%s", directory, path);
	FILE *file = fopen(file_path, "rbe");
	char *code;
	size_t size;

	if (file == NULL)
		return 0;
	code = malloc(LUA_FILE_LIMIT);
	size = code == NULL ? 0 : fread(code, 1, LUA_FILE_LIMIT, file);
	(void)fclose(file);
	int status = luaL_loadbuffer(lua, code, size, lua_pushfstring(lua, "@%s", path));
	free(code);
	if (status != 0)
		lua_error(lua);
	return 1;
}

/* package.loaders entry for the modules inside the program. May longjmp. */
static int module_search(lua_State *lua)
{
	const struct embedded_module *module = module_find(luaL_checkstring(lua, 1));
	const char *directory = getenv(WIRE_ENV_LUA_PATH);

	if (module == NULL) {
		lua_pushfstring(lua, "\n\tno module '%s' in perigee", lua_tostring(lua, 1));
		return 1;
	}
	if (directory != NULL && module_load_file(lua, directory, module->path))
		return 1;
	if (luaL_loadbuffer(lua, (const char *)module->code, module->size,
		    lua_pushfstring(lua, "@%s", module->path)) != 0)
		return lua_error(lua);
	return 1;
}

static int abi_source(lua_State *lua)
{
	lua_pushstring(lua, embedded_abi);
	return 1;
}

static int version(lua_State *lua)
{
	lua_pushliteral(lua, PERIGEE_VERSION);
	return 1;
}

/* Puts module_search behind package.preload's loader. May longjmp. */
static void open_modules(lua_State *lua)
{
	lua_getglobal(lua, "table");
	lua_getfield(lua, -1, "insert");
	lua_getglobal(lua, "package");
	lua_getfield(lua, -1, "loaders");
	lua_remove(lua, -2);
	lua_pushinteger(lua, 2);
	lua_pushcfunction(lua, module_search);
	lua_call(lua, 3, 0);
	lua_pop(lua, 1);
}

/* Makes package.preload[name] = function. May longjmp. */
static void preload(lua_State *lua, const char *name, lua_CFunction function)
{
	lua_getglobal(lua, "package");
	lua_getfield(lua, -1, "preload");
	lua_pushcfunction(lua, function);
	lua_setfield(lua, -2, name);
	lua_pop(lua, 2);
}

/* luv, under the two names in use. May longjmp. */
static void open_luv(lua_State *lua, struct script *script)
{
	luv_set_loop(lua, script->loop);
	luv_set_callback(lua, script_callback);
	lua_getglobal(lua, "package");
	lua_getfield(lua, -1, "loaded");
	lua_pushcfunction(lua, luaopen_luv);
	lua_call(lua, 0, 1);
	lua_pushvalue(lua, -1);
	lua_setfield(lua, -3, "luv");
	lua_setfield(lua, -2, "uv");
	lua_pop(lua, 2);
}

/* Calls perigee.entry.open and keeps the functions it returns. May longjmp. */
static void open_entry(lua_State *lua, struct script *script)
{
	static const char *const names[SCRIPT_FUNCTIONS] = {
		[SCRIPT_START] = "start",
		[SCRIPT_SERVE] = "serve",
		[SCRIPT_FAILED] = "failed",
		[SCRIPT_BODY] = "body",
		[SCRIPT_CANCEL] = "cancel",
		[SCRIPT_WRITABLE] = "writable",
		[SCRIPT_WEBSOCKET] = "websocket",
		[SCRIPT_ANSWER] = "answer",
		[SCRIPT_TICK] = "tick",
		[SCRIPT_READY] = "ready",
		[SCRIPT_WHERE] = "where",
		[SCRIPT_CHANGED] = "changed",
		[SCRIPT_LEAKS] = "leaks",
		[SCRIPT_TRACE] = "trace",
	};

	lua_getglobal(lua, "require");
	lua_pushliteral(lua, "perigee.entry");
	lua_call(lua, 1, 1);
	lua_getfield(lua, -1, "open");
	lua_pushlightuserdata(lua, &script->state);
	lua_pushlightuserdata(lua, script);
	lua_pushcclosure(lua, script_thread_release, 1);
	lua_call(lua, 2, 1);
	for (int i = 0; i < SCRIPT_FUNCTIONS; i++) {
		lua_getfield(lua, -1, names[i]);
		luaL_checktype(lua, -1, LUA_TFUNCTION);
		script->functions[i] = luaL_ref(lua, LUA_REGISTRYINDEX);
	}
	lua_pop(lua, 2);
}

/* May longjmp. */
static int open_protected(lua_State *lua)
{
	struct script *script = lua_touserdata(lua, 1);

	luaL_openlibs(lua);
	script_bind(lua, script);
	preload(lua, "cjson", luaopen_cjson);
	preload(lua, "cjson.safe", luaopen_cjson_safe);
	preload(lua, "perigee.abi_source", abi_source);
	preload(lua, "perigee.json_codec", luaopen_perigee_json_codec);
	preload(lua, "perigee.json_send", script_json_send_open);
	preload(lua, "perigee.urlencoded_codec", luaopen_perigee_urlencoded_codec);
	preload(lua, "perigee.version", version);
	open_luv(lua, script);
	open_modules(lua);
	open_entry(lua, script);
	return 0;
}

int script_open(struct script **ret_script, uv_loop_t *loop, struct error *error)
{
	struct script *script = calloc(1, sizeof *script);

	if (script == NULL)
		return error_set(error, ENOMEM, "out of memory for a Lua state");
	script->loop = loop;
	script->state.idle_limit = IDLE_COROUTINES_LIMIT;
	script->free_slot = SCRIPT_NO_SLOT;
	list_init(&script->calls);
	script->lua = luaL_newstate();
	if (script->lua == NULL) {
		free(script);
		return error_set(error, ENOMEM, "out of memory for a Lua state");
	}
	allocator_open(&script->allocator, script->lua);
	if (lua_cpcall(script->lua, open_protected, script) != 0) {
		const char *text = lua_tostring(script->lua, -1);

		error_set(error, EINVAL, "cannot load Perigee's Lua modules: %s",
			text != NULL ? text : "(no message)");
		script_close(script);
		return -1;
	}
	script_stack_learn(script);
	*ret_script = script;
	return 0;
}
