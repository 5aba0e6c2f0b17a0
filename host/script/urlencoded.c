/*
 * The module perigee.urlencoded_codec: percent-escapes, and application/x-www-form-urlencoded.
 * lua/perigee/urlencoded.lua is its face and says what these do.
 *
 *   decode(text, plus) → text
 *   first_values(text) → { name = value }
 *   values(text, name) → { value, … }
 *   all_values(text, most) → { name = { value, … } }, number of pairs
 *
 * In C because loops over the bytes of a query would end LuaJIT's traces again and again. None
 * yields, and none raises but for want of memory. Runs where Lua does.
 */
#include "script/urlencoded.h"

#include <lauxlib.h>
#include <string.h>

#include "base/slice.h"

#define ROOM_MOST 64 /* names that a table gets room for at once; more of them have it grow */

/* One pair at a time out of "a=1&b=2". */
struct pairs {
	const char *at;
	const char *end;
	struct slice name;
	struct slice value; /* empty when there is no "=" */
};

/* ---- Escapes ------------------------------------------------------------------------------- */

/* The value of a hexadecimal digit; -1 when it is none. */
static int digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool is_escape(const char *at, const char *end)
{
	return end - at >= 3 && digit_of(at[1]) >= 0 && digit_of(at[2]) >= 0;
}

static const char *find_special(const char *at, const char *end, bool plus)
{
	while (at < end && *at != '%' && !(plus && *at == '+'))
		at++;
	return at;
}

/* May longjmp. */
static void push_decoded(lua_State *lua, struct slice text, bool plus)
{
	const char *run = text.data;
	const char *end = text.data + text.size;
	const char *at = find_special(run, end, plus);
	luaL_Buffer buffer;

	if (at == end) {
		lua_pushlstring(lua, text.data, text.size);
		return;
	}
	luaL_buffinit(lua, &buffer);
	for (; at < end; at = find_special(at, end, plus)) {
		char byte = ' ';

		if (*at == '%' && !is_escape(at, end)) {
			at++;
			continue;
		}
		luaL_addlstring(&buffer, run, (size_t)(at - run));
		if (*at == '%') {
			byte = (char)(digit_of(at[1]) << 4 | digit_of(at[2]));
			at += 2;
		}
		luaL_addchar(&buffer, byte); /* NOLINT(bugprone-branch-clone): its own */
		run = ++at;
	}
	luaL_addlstring(&buffer, run, (size_t)(end - run));
	luaL_pushresult(&buffer);
}

static int decode(lua_State *lua)
{
	struct slice text;

	text.data = luaL_checklstring(lua, 1, &text.size);
	push_decoded(lua, text, lua_toboolean(lua, 2) != 0);
	return 1;
}

/* ---- Pairs --------------------------------------------------------------------------------- */

static struct pairs pairs_of(lua_State *lua, int index)
{
	struct pairs pairs = {0};
	size_t size;

	pairs.at = luaL_checklstring(lua, index, &size);
	pairs.end = pairs.at + size;
	return pairs;
}

/* Goes to the next pair; false at the end. Nothing between two "&" is no pair. */
static bool next_pair(struct pairs *pairs)
{
	const char *stop;
	const char *equals;

	while (pairs->at < pairs->end && *pairs->at == '&')
		pairs->at++;
	if (pairs->at == pairs->end)
		return false;
	stop = memchr(pairs->at, '&', (size_t)(pairs->end - pairs->at));
	if (stop == NULL)
		stop = pairs->end;
	equals = memchr(pairs->at, '=', (size_t)(stop - pairs->at));
	pairs->name.data = pairs->at;
	pairs->name.size = (size_t)((equals == NULL ? stop : equals) - pairs->at);
	pairs->value.data = equals == NULL ? stop : equals + 1;
	pairs->value.size = (size_t)(stop - pairs->value.data);
	pairs->at = stop;
	return true;
}

/* How many pairs there may be, up to ROOM_MOST. */
static int room_for(struct pairs pairs)
{
	int count = 0;

	while (count < ROOM_MOST && next_pair(&pairs))
		count++;
	return count;
}

static int first_values(lua_State *lua)
{
	struct pairs pairs = pairs_of(lua, 1);

	lua_createtable(lua, 0, room_for(pairs));
	while (next_pair(&pairs)) {
		push_decoded(lua, pairs.name, true);
		lua_pushvalue(lua, -1);
		lua_rawget(lua, -3);
		if (!lua_isnil(lua, -1)) {
			lua_pop(lua, 2);
			continue;
		}
		lua_pop(lua, 1);
		push_decoded(lua, pairs.value, true);
		lua_rawset(lua, -3);
	}
	return 1;
}

static int values(lua_State *lua)
{
	struct pairs pairs = pairs_of(lua, 1);
	int count = 0;

	luaL_checktype(lua, 2, LUA_TSTRING);
	lua_newtable(lua);
	while (next_pair(&pairs)) {
		bool same;

		push_decoded(lua, pairs.name, true);
		same = lua_rawequal(lua, -1, 2) != 0;
		lua_pop(lua, 1);
		if (!same)
			continue;
		push_decoded(lua, pairs.value, true);
		lua_rawseti(lua, -2, ++count);
	}
	return 1;
}

/* Pushes the list of the name on top of the stack, out of the table below it; takes the name. */
static void push_list(lua_State *lua)
{
	lua_pushvalue(lua, -1);
	lua_rawget(lua, -3);
	if (!lua_isnil(lua, -1)) {
		lua_remove(lua, -2);
		return;
	}
	lua_pop(lua, 1);
	lua_createtable(lua, 1, 0);
	lua_pushvalue(lua, -1);
	lua_insert(lua, -3);
	lua_rawset(lua, -4);
}

static int all_values(lua_State *lua)
{
	struct pairs pairs = pairs_of(lua, 1);
	lua_Integer most = luaL_checkinteger(lua, 2);
	lua_Integer count = 0;

	lua_createtable(lua, 0, room_for(pairs));
	while (count <= most && next_pair(&pairs)) {
		push_decoded(lua, pairs.name, true);
		push_list(lua);
		push_decoded(lua, pairs.value, true);
		lua_rawseti(lua, -2, (int)lua_objlen(lua, -2) + 1);
		lua_pop(lua, 1);
		count++;
	}
	lua_pushinteger(lua, count);
	return 2;
}

int luaopen_perigee_urlencoded_codec(lua_State *lua)
{
	static const luaL_Reg functions[] = {{"decode", decode}, {"first_values", first_values},
		{"values", values}, {"all_values", all_values}, {NULL, NULL}};

	lua_newtable(lua);
	luaL_register(lua, NULL, functions);
	return 1;
}
