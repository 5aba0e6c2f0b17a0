/*
 * What the files of the JSON binding share: a codec, which is userdata, and the upvalues of the
 * two functions that work with it.
 */
#ifndef PERIGEE_SCRIPT_JSON_CODEC_H
#define PERIGEE_SCRIPT_JSON_CODEC_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/slice.h"
#include "json/reader.h"

/* The memory of encode and decode, kept from call to call. */
struct json_codec {
	struct json_reader reader;
	struct buffer text; /* what was encoded last */
	const void *array;  /* addresses of the metatables, which the upvalues keep */
	const void *object;
	const void *own;
	bool busy; /* a call is using it; a finalizer may make another meanwhile */
};

/* Upvalues of decode, encode and of what else uses a codec. */
enum json_upvalue {
	JSON_UPVALUE_CODEC = 1, /* a struct json_codec */
	JSON_UPVALUE_ARRAY,     /* the metatable of arrays */
	JSON_UPVALUE_OBJECT,    /* the metatable of objects that may have numbers for names */
	JSON_UPVALUE_INT64_OF,  /* (high, low) → int64_t */
	JSON_UPVALUE_TEXT_OF, /* (cdata, or a table that says its own JSON) → text; or nil, problem
			       */
	JSON_UPVALUE_OWN,     /* the metatable of tables that say their own JSON */
	JSON_UPVALUES = JSON_UPVALUE_OWN
};

/* What decode does with integers beyond 2^53. */
enum json_integers {
	JSON_INTEGERS_INT64 = 0,
	JSON_INTEGERS_REFUSED = 1,
	JSON_INTEGERS_ROUNDED = 2
};

/* The codec of the running function, or a new one left on the stack when that is busy. */
struct json_codec *json_codec_take(lua_State *lua);

/* Ends the use of a codec. Memory beyond what most answers need is freed. */
void json_codec_give(struct json_codec *codec);

/* The Lua functions; see perigee.json_codec in json_codec.c. */
int json_decode(lua_State *lua);
int json_encode(lua_State *lua);

/*
 * Encodes the value at `index` into codec->text, from a function with JSON_UPVALUES. Returns 0, or
 * -1 with the problem pushed: "value.items[3] is NaN". May longjmp for want of memory.
 */
int json_encode_value(lua_State *lua, struct json_codec *codec, int index, uint32_t depth_most);

/* Opens the module: pushes a table with `open`, see json_codec.c. Found by name in the specs'
 * library. */
__attribute__((visibility("default"))) int luaopen_perigee_json_codec(lua_State *lua);

/* Pushes a closure of `function` with a codec of its own; `first` is where open's arguments are. */
void json_codec_closure(lua_State *lua, lua_CFunction function, int first);

#endif
