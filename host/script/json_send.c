/*
 * The module perigee.json_send: a table as an answer, without a Lua string in between.
 *
 *   open(array_mt, object_mt, int64_of, text_of, own_mt) → send; the arguments as
 * perigee.json_codec's send(value, pointer, serial, depth) → enum http_result; or nil, problem
 *     pointer is cdata, struct http_request *; the status is 200.
 *
 * Neither yields, and neither raises but for want of memory. Runs in workers.
 */
#include <lauxlib.h>

#include "http/http_abi.h"
#include "script/json_codec.h"
#include "script/script_internal.h"

static int send_value(lua_State *lua)
{
	struct json_codec *codec = json_codec_take(lua);
	struct http_request *const *pointer = lua_topointer(lua, 2);
	uint64_t serial = (uint64_t)luaL_checknumber(lua, 3);
	int results = 1;

	if (json_encode_value(lua, codec, 1, (uint32_t)luaL_checkinteger(lua, 4)) != 0) {
		lua_pushnil(lua);
		lua_insert(lua, -2);
		results = 2;
	} else {
		lua_pushinteger(lua, http_response_send(*pointer, serial, 200, HTTP_TYPE_JSON, NULL,
					     0, codec->text.data, codec->text.size));
	}
	json_codec_give(codec);
	return results;
}

static int send_open(lua_State *lua)
{
	lua_settop(lua, JSON_UPVALUES - 1);
	json_codec_closure(lua, send_value, 1);
	return 1;
}

int script_json_send_open(lua_State *lua)
{
	static const luaL_Reg functions[] = {{"open", send_open}, {NULL, NULL}};

	lua_newtable(lua);
	luaL_register(lua, NULL, functions);
	return 1;
}
