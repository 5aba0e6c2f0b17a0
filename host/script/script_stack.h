/*
 * Where Lua is, seen from outside: for a thread that finds its process stuck.
 *
 * LuaJIT keeps where it is in two ways. The interpreter keeps it in registers, so it is asked: a
 * hook, which it calls at its next instruction, on the thread that runs Lua. Compiled code calls no
 * hook and a C function returns to nobody, but both leave their frames in memory: those are walked,
 * with LuaJIT's own API, in a copy of the process (worker/snapshot.c), where nothing moves and
 * a crash harms nobody.
 */
#ifndef PERIGEE_SCRIPT_STACK_H
#define PERIGEE_SCRIPT_STACK_H

#include <stdbool.h>
#include <stdint.h>

struct script;

#define SCRIPT_STACK_TEXT 4096

/* Plain data: it lies in memory that a copy of the process shares. */
struct script_stack {
	char where[256];              /* "at app.lua:10: in function 'spin'", or why not known */
	char origin[128];             /* the outermost function of the user's: "app.lua:8" */
	char text[SCRIPT_STACK_TEXT]; /* "\tapp.lua:10: in function 'spin'\n…" or "" */
};

/* Whether Lua runs now, and the number of the entry into it. From any thread. */
bool script_stack_is_in_lua(const struct script *script, uint64_t *ret_entry);

/* The serial of the request whose code runs, 0 for none. From any thread. */
uint64_t script_stack_serving(const struct script *script);

/*
 * From any thread: asks the interpreter, and takes the answer. `ask` has it written to *stack;
 * `answered` says whether it is there; `end` withdraws the question and puts back the hook that
 * was there. Between `ask` and `end` the stack belongs to the interpreter.
 */
void script_stack_ask(struct script *script, struct script_stack *stack);
bool script_stack_answered(const struct script *script);
void script_stack_end(struct script *script);

/* In a copy of the process, of which nothing is left to run: walks the frames. Allocates nothing.
 */
void script_stack_walk(struct script *script, struct script_stack *stack);

#endif
