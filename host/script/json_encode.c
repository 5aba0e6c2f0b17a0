/* Lua values into JSON, in a codec's buffer. Runs where Lua does. */
#include <ctype.h>
#include <lauxlib.h>

#include "script/json_codec.h"
#include "json/writer.h"

#define TYPE_CDATA      10 /* LuaJIT's, which lua.h does not name */
#define STACK_PER_LEVEL 8  /* key and value, and what a problem's text takes */
#define NAME_SHOWN      40 /* bytes: longer names are quoted in a problem's text */

/* The way to the value at hand: one step for each container that is open, innermost first. */
struct step {
	struct step *up;
	int name;  /* where the member's name lies on the Lua stack; 0 in an array */
	int index; /* in an array: the element's, from 1 */
};

/* What an encode call carries along. */
struct encoding {
	lua_State *lua;
	struct buffer *text;
	struct step *step;
	const struct json_codec *codec;
	uint32_t depth; /* containers that may still be opened */
};

static int put_value(struct encoding *encoding);

/* ---- Problems ------------------------------------------------------------------------------ */

static bool is_plain_name(const char *name, size_t size)
{
	if (size == 0 || size > NAME_SHOWN || isdigit((unsigned char)name[0]))
		return false;
	for (size_t i = 0; i < size; i++)
		if (name[i] != '_' && !isalnum((unsigned char)name[i]))
			return false;
	return true;
}

/* Pushes ".name", "[3]" or "["odd name"]". What was encoded is given up for it. May longjmp. */
static void push_step(struct encoding *encoding, const struct step *step)
{
	lua_State *lua = encoding->lua;
	struct slice name;

	if (step->name == 0) {
		lua_pushfstring(lua, "[%d]", step->index);
		return;
	}
	if (lua_type(lua, step->name) == LUA_TNUMBER) {
		lua_pushfstring(lua, "[%f]", lua_tonumber(lua, step->name));
		return;
	}
	if (lua_type(lua, step->name) != LUA_TSTRING) {
		lua_pushfstring(lua, "[a %s]", luaL_typename(lua, step->name));
		return;
	}
	name.data = lua_tolstring(lua, step->name, &name.size);
	if (is_plain_name(name.data, name.size)) {
		lua_pushfstring(lua, ".%s", name.data);
		return;
	}
	encoding->text->size = 0;
	if (json_write_string(encoding->text, name) != JSON_WRITTEN) {
		lua_pushliteral(lua, "[a name that is no UTF-8]");
		return;
	}
	lua_pushliteral(lua, "[");
	lua_pushlstring(lua, encoding->text->data, encoding->text->size);
	lua_pushliteral(lua, "]");
	lua_concat(lua, 3);
}

static void push_way(struct encoding *encoding, const struct step *step)
{
	if (step == NULL) {
		lua_pushliteral(encoding->lua, "value");
		return;
	}
	push_way(encoding, step->up);
	push_step(encoding, step);
	lua_concat(encoding->lua, 2);
}

/* Pushes "value.items[3] " and what is wrong with it. Returns -1. May longjmp. */
static int fail(struct encoding *encoding, const char *problem)
{
	lua_State *lua = encoding->lua;

	luaL_checkstack(lua, STACK_PER_LEVEL, "no room for an error");
	push_way(encoding, encoding->step);
	lua_pushfstring(lua, " %s", problem);
	lua_concat(lua, 2);
	return -1;
}

static int fail_writing(struct encoding *encoding, enum json_written written)
{
	if (written == JSON_NO_UTF8)
		return fail(encoding, "is a string that is no UTF-8");
	if (written == JSON_NO_NUMBER)
		return fail(encoding, "is NaN or infinite");
	return fail(encoding, "does not fit in memory");
}

/* What a function of the writer returned. */
static inline int check(struct encoding *encoding, enum json_written written)
{
	return written == JSON_WRITTEN ? 0 : fail_writing(encoding, written);
}

/* ---- Single values ------------------------------------------------------------------------- */

static int put_bytes(struct encoding *encoding, const char *bytes, size_t size)
{
	if (buffer_add(encoding->text, bytes, size) != 0)
		return check(encoding, JSON_NO_MEMORY);
	return 0;
}

#define PUT(encoding, literal) put_bytes(encoding, literal, sizeof(literal) - 1)

static int put_byte(struct encoding *encoding, char byte)
{
	return check(encoding, json_write_byte(encoding->text, byte));
}

static int put_string(struct encoding *encoding, int index)
{
	struct slice text;

	text.data = lua_tolstring(encoding->lua, index, &text.size);
	return check(encoding, json_write_string(encoding->text, text));
}

/* A value that Lua has the text of: a 64-bit integer of LuaJIT's FFI, whose type the C API does not
 * know, or a table that says its own JSON. */
static int put_told(struct encoding *encoding)
{
	lua_State *lua = encoding->lua;
	const char *text;
	size_t size;
	int result;

	lua_pushvalue(lua, lua_upvalueindex(JSON_UPVALUE_TEXT_OF));
	lua_pushvalue(lua, -2);
	lua_call(lua, 1, 2);
	text = lua_tolstring(lua, -2, &size);
	if (text == NULL)
		return fail(encoding, lua_tostring(lua, -1));
	result = put_bytes(encoding, text, size);
	lua_pop(lua, 2);
	return result;
}

/* ---- Containers ---------------------------------------------------------------------------- */

enum shape { SHAPE_UNKNOWN, SHAPE_ARRAY, SHAPE_OBJECT, SHAPE_OWN };

static enum shape shape_marked(struct encoding *encoding)
{
	const void *metatable;

	if (!lua_getmetatable(encoding->lua, -1))
		return SHAPE_UNKNOWN;
	metatable = lua_topointer(encoding->lua, -1);
	lua_pop(encoding->lua, 1);
	if (metatable == encoding->codec->array)
		return SHAPE_ARRAY;
	if (metatable == encoding->codec->own)
		return SHAPE_OWN;
	return metatable == encoding->codec->object ? SHAPE_OBJECT : SHAPE_UNKNOWN;
}

/*
 * Whether the table on top has no members but those from 1 to `count`. Behind the array part of a
 * table lua_next sees the others, so one step shows it, but for a table that holds its elements
 * otherwise.
 */
static bool is_list(lua_State *lua, int count)
{
	int seen = 0;

	lua_pushinteger(lua, count);
	if (lua_next(lua, -2) == 0)
		return true;
	lua_pop(lua, 2);
	lua_pushnil(lua);
	while (lua_next(lua, -2) != 0) {
		lua_Number key = lua_type(lua, -2) == LUA_TNUMBER ? lua_tonumber(lua, -2) : 0;

		lua_pop(lua, 1);
		if (key < 1 || key > count || key != (lua_Number)(int)key) {
			lua_pop(lua, 1);
			return false;
		}
		seen++;
	}
	return seen == count;
}

static int put_array(struct encoding *encoding, int count)
{
	lua_State *lua = encoding->lua;
	struct step step = {.up = encoding->step};
	int result;

	if (count == 0)
		lua_pushnil(lua);
	if (count == 0 ? lua_next(lua, -2) != 0 : !is_list(lua, count))
		return fail(encoding, "has members besides its elements, or holes among them");
	encoding->step = &step;
	result = put_byte(encoding, '[');
	for (int i = 1; i <= count && result == 0; i++) {
		if (i != 1)
			result = put_byte(encoding, ',');
		step.index = i;
		lua_rawgeti(lua, -1, i);
		if (result == 0 && lua_isnil(lua, -1))
			result = fail(encoding, "is a hole in an array");
		if (result == 0)
			result = put_value(encoding);
		if (result == 0)
			lua_pop(lua, 1);
	}
	encoding->step = step.up;
	return result == 0 ? put_byte(encoding, ']') : result;
}

/* The name of the member whose key lies at `index`. */
static int put_name(struct encoding *encoding, int index, enum shape shape)
{
	lua_State *lua = encoding->lua;
	lua_Number number;

	if (lua_type(lua, index) == LUA_TSTRING)
		return put_string(encoding, index);
	if (lua_type(lua, index) != LUA_TNUMBER)
		return fail(encoding, "has a name that is neither string nor number");
	if (shape != SHAPE_OBJECT)
		return fail(encoding, "is a number among names, or in an array with holes");
	number = lua_tonumber(lua, index);
	if (number != (lua_Number)(int64_t)number)
		return fail(encoding, "is no whole number, which a name must be");
	if (put_byte(encoding, '"') != 0 ||
		check(encoding, json_write_number(encoding->text, number)) != 0)
		return -1;
	return put_byte(encoding, '"');
}

static int put_object(struct encoding *encoding, enum shape shape)
{
	lua_State *lua = encoding->lua;
	struct step step = {.up = encoding->step};
	char before = '{';
	int result = 0;

	step.name = lua_gettop(lua) + 1;
	encoding->step = &step;
	lua_pushnil(lua);
	while (result == 0 && lua_next(lua, -2) != 0) {
		result = put_byte(encoding, before);
		before = ',';
		if (result == 0)
			result = put_name(encoding, step.name, shape);
		if (result == 0)
			result = put_byte(encoding, ':');
		if (result == 0)
			result = put_value(encoding);
		if (result == 0)
			lua_pop(lua, 1);
	}
	encoding->step = step.up;
	if (result != 0)
		return result;
	return before == '{' ? PUT(encoding, "{}") : put_byte(encoding, '}');
}

static int put_table(struct encoding *encoding)
{
	lua_State *lua = encoding->lua;
	enum shape shape = shape_marked(encoding);
	size_t count = shape == SHAPE_OBJECT ? 0 : lua_objlen(lua, -1);
	int result;

	if (shape == SHAPE_OWN)
		return put_told(encoding);
	if (encoding->depth == 0)
		return fail(encoding, "is nested too deeply");
	luaL_checkstack(lua, STACK_PER_LEVEL, "a table is nested too deeply");
	encoding->depth--;
	if (shape == SHAPE_ARRAY || count != 0)
		result = put_array(encoding, (int)count);
	else
		result = put_object(encoding, shape);
	encoding->depth++;
	return result;
}

/* Adds the value on top of the stack. Returns 0 with the stack as it was, or -1 with the problem
 * pushed somewhere above. */
static int put_value(struct encoding *encoding)
{
	lua_State *lua = encoding->lua;

	switch (lua_type(lua, -1)) {
	case LUA_TNIL:
		return PUT(encoding, "null");
	case LUA_TBOOLEAN:
		return lua_toboolean(lua, -1) ? PUT(encoding, "true") : PUT(encoding, "false");
	case LUA_TNUMBER:
		return check(encoding, json_write_number(encoding->text, lua_tonumber(lua, -1)));
	case LUA_TSTRING:
		return put_string(encoding, -1);
	case LUA_TTABLE:
		return put_table(encoding);
	case LUA_TLIGHTUSERDATA:
		if (lua_touserdata(lua, -1) == NULL)
			return PUT(encoding, "null");
		return fail(encoding, "is userdata");
	case TYPE_CDATA:
		return put_told(encoding);
	default:
		lua_pushfstring(lua, "is a %s", luaL_typename(lua, -1));
		return fail(encoding, lua_tostring(lua, -1));
	}
}

int json_encode_value(lua_State *lua, struct json_codec *codec, int index, uint32_t depth_most)
{
	struct encoding encoding = {
		.lua = lua,
		.text = &codec->text,
		.codec = codec,
		.depth = depth_most,
	};

	codec->text.size = 0;
	lua_pushvalue(lua, index);
	return put_value(&encoding);
}

int json_encode(lua_State *lua)
{
	struct json_codec *codec = json_codec_take(lua);
	int results = 1;

	if (json_encode_value(lua, codec, 1, (uint32_t)luaL_checkinteger(lua, 2)) != 0) {
		lua_pushnil(lua);
		lua_insert(lua, -2);
		results = 2;
	} else {
		lua_pushlstring(lua, codec->text.data, codec->text.size);
	}
	json_codec_give(codec);
	return results;
}
