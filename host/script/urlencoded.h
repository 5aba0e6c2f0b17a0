/* The module perigee.urlencoded_codec; see urlencoded.c. */
#ifndef PERIGEE_SCRIPT_URLENCODED_H
#define PERIGEE_SCRIPT_URLENCODED_H

#include <lua.h>
#include <stdbool.h>

/* Pushes the module. Found by name in the specs' library. */
__attribute__((visibility("default"))) int luaopen_perigee_urlencoded_codec(lua_State *lua);

#endif
