/* JSON into Lua values, with a codec's reader. Runs where Lua does. */
#include <lauxlib.h>

#include "base/check.h"
#include "script/json_codec.h"

#define STACK_PER_LEVEL 4 /* a name, a container, and what is being made */
#define NOT_AN_ARRAY    (-1)
#define NAMES_FORESEEN  4 /* members an object has room for at first */
#define VALUES_FORESEEN 4 /* elements an array has room for at first */

/* What a decode call carries along. */
struct decoding {
	lua_State *lua;
	struct json_reader *reader;
	enum json_integers integers;
	int counts[JSON_DEPTH_MOST + 1]; /* by depth: elements so far, or NOT_AN_ARRAY */
};

/* Pushes an integer beyond 2^53. Returns 0, or -1 when it is refused. May longjmp. */
static int push_integer(struct decoding *decoding)
{
	lua_State *lua = decoding->lua;
	int64_t integer = decoding->reader->integer;

	switch (decoding->integers) {
	case JSON_INTEGERS_REFUSED:
		decoding->reader->problem = "an integer is beyond 2^53";
		return -1;
	case JSON_INTEGERS_ROUNDED:
		lua_pushnumber(lua, (lua_Number)integer);
		return 0;
	case JSON_INTEGERS_INT64:
		break;
	}
	lua_pushvalue(lua, lua_upvalueindex(JSON_UPVALUE_INT64_OF));
	lua_pushnumber(lua, (lua_Number)(int32_t)(integer >> 32));
	lua_pushnumber(lua, (lua_Number)(uint32_t)integer);
	lua_call(lua, 2, 1);
	return 0;
}

/* Opens a container. May longjmp. */
static void push_container(struct decoding *decoding, enum json_token token)
{
	lua_State *lua = decoding->lua;

	luaL_checkstack(lua, STACK_PER_LEVEL, "JSON is nested too deeply");
	if (token == JSON_OBJECT) {
		lua_createtable(lua, 0, NAMES_FORESEEN);
		decoding->counts[decoding->reader->depth] = NOT_AN_ARRAY;
		return;
	}
	lua_createtable(lua, VALUES_FORESEEN, 0);
	lua_pushvalue(lua, lua_upvalueindex(JSON_UPVALUE_ARRAY));
	lua_setmetatable(lua, -2);
	decoding->counts[decoding->reader->depth] = 0;
}

/* Puts the complete value on top of the stack into its container, if it has one. */
static void attach(struct decoding *decoding)
{
	int *count = &decoding->counts[decoding->reader->depth];

	if (decoding->reader->depth == 0)
		return;
	if (*count == NOT_AN_ARRAY)
		lua_rawset(decoding->lua, -3);
	else
		lua_rawseti(decoding->lua, -2, ++*count);
}

/* Does what a token says. Returns whether a value is complete; 0 likewise after an error. */
static int take(struct decoding *decoding, enum json_token token)
{
	lua_State *lua = decoding->lua;
	struct json_reader *reader = decoding->reader;

	switch (token) {
	case JSON_NAME:
		lua_pushlstring(lua, reader->text.data, reader->text.size);
		return 0;
	case JSON_STRING:
		lua_pushlstring(lua, reader->text.data, reader->text.size);
		return 1;
	case JSON_NUMBER:
		lua_pushnumber(lua, reader->number);
		return 1;
	case JSON_INTEGER:
		return push_integer(decoding) == 0;
	case JSON_TRUE:
	case JSON_FALSE:
		lua_pushboolean(lua, token == JSON_TRUE);
		return 1;
	case JSON_NULL:
		lua_pushlightuserdata(lua, NULL);
		return 1;
	case JSON_OBJECT:
	case JSON_ARRAY:
		push_container(decoding, token);
		return 0;
	case JSON_OBJECT_END:
	case JSON_ARRAY_END:
		return 1;
	case JSON_END:
	case JSON_ERROR:
		break;
	}
	CHECK(!"no such token");
	return 0;
}

static int push_problem(lua_State *lua, const struct json_reader *reader)
{
	size_t line;
	size_t column;

	json_reader_place(reader, &line, &column);
	lua_pushnil(lua);
	lua_pushstring(lua, reader->problem);
	lua_pushnumber(lua, (lua_Number)line);
	lua_pushnumber(lua, (lua_Number)column);
	return 4;
}

int json_decode(lua_State *lua)
{
	struct json_codec *codec = json_codec_take(lua);
	struct decoding decoding;
	enum json_token token;
	size_t size;
	const char *text = luaL_checklstring(lua, 1, &size);
	int results;

	decoding.lua = lua;
	decoding.reader = &codec->reader;
	decoding.integers = (enum json_integers)luaL_checkinteger(lua, 3);
	json_reader_begin(decoding.reader, text, size, (uint32_t)luaL_checkinteger(lua, 2));
	while ((token = json_reader_next(decoding.reader)) > JSON_END)
		if (take(&decoding, token))
			attach(&decoding);
	results = token == JSON_END ? 1 : push_problem(lua, decoding.reader);
	json_codec_give(codec);
	return results;
}
