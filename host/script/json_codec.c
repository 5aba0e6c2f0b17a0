/*
 * The module perigee.json_codec: JSON for Lua. lua/perigee/json.lua is its face.
 *
 *   open(array_mt, object_mt, int64_of, text_of, own_mt) → decode, encode
 *     The first two mark tables; int64_of(high, low) makes an int64_t of two 32-bit halves;
 *     text_of(value) gives the digits of a 64-bit integer and the JSON of a table with own_mt, or
 *     nil and the problem.
 *   decode(text, depth, integers) → value; or nil, problem, line, column
 *     integers is enum json_integers.
 *   encode(value, depth) → text; or nil, problem
 *   null                  what decode makes of null
 *
 * Neither yields, and neither raises but for want of memory. Runs where Lua does.
 */
#include "script/json_codec.h"

#include <lauxlib.h>

#define KEPT_TEXT 65536 /* bytes of encoded text for which memory is kept */

static const char type_name[] = "perigee.json_codec";

/* May longjmp. */
static struct json_codec *codec_push(lua_State *lua)
{
	struct json_codec *codec = lua_newuserdata(lua, sizeof *codec);

	*codec = (struct json_codec){0};
	luaL_getmetatable(lua, type_name);
	lua_setmetatable(lua, -2);
	return codec;
}

static int codec_collect(lua_State *lua)
{
	struct json_codec *codec = luaL_checkudata(lua, 1, type_name);

	json_reader_free(&codec->reader);
	buffer_free(&codec->text);
	return 0;
}

struct json_codec *json_codec_take(lua_State *lua)
{
	struct json_codec *codec = lua_touserdata(lua, lua_upvalueindex(JSON_UPVALUE_CODEC));

	if (codec->busy) {
		const struct json_codec *other = codec;

		codec = codec_push(lua);
		codec->array = other->array;
		codec->object = other->object;
		codec->own = other->own;
	}
	codec->busy = true;
	return codec;
}

void json_codec_give(struct json_codec *codec)
{
	codec->busy = false;
	if (codec->text.capacity > KEPT_TEXT)
		buffer_free(&codec->text);
	if (codec->reader.unescaped.capacity > KEPT_TEXT)
		buffer_free(&codec->reader.unescaped);
}

void json_codec_closure(lua_State *lua, lua_CFunction function, int first)
{
	struct json_codec *codec = codec_push(lua);

	codec->array = lua_topointer(lua, first + JSON_UPVALUE_ARRAY - 2);
	codec->object = lua_topointer(lua, first + JSON_UPVALUE_OBJECT - 2);
	codec->own = lua_topointer(lua, first + JSON_UPVALUE_OWN - 2);
	for (int i = 0; i < JSON_UPVALUES - 1; i++)
		lua_pushvalue(lua, first + i);
	lua_pushcclosure(lua, function, JSON_UPVALUES);
}

static int codec_open(lua_State *lua)
{
	lua_settop(lua, JSON_UPVALUES - 1);
	json_codec_closure(lua, json_decode, 1);
	json_codec_closure(lua, json_encode, 1);
	return 2;
}

int luaopen_perigee_json_codec(lua_State *lua)
{
	static const luaL_Reg functions[] = {{"open", codec_open}, {NULL, NULL}};

	luaL_newmetatable(lua, type_name);
	lua_pushcfunction(lua, codec_collect);
	lua_setfield(lua, -2, "__gc");
	lua_newtable(lua);
	luaL_register(lua, NULL, functions);
	lua_pushlightuserdata(lua, NULL);
	lua_setfield(lua, -2, "null");
	return 1;
}
