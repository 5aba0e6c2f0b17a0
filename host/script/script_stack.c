/* Where Lua is: see script_stack.h. In workers; what it has to know is learned in the zygote. */
#include "script/script_stack.h"

#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "script/script_internal.h"
#include "shm/word.h"

#define FRAMES_MAX  200  /* levels looked at */
#define TRACES_MAX  8192 /* compiled traces whose place is kept; LuaJIT's default limit is below */
#define PLACE_SIZE  64
#define GLOBAL_SPAN 4096 /* bytes behind the main thread's struct that are searched */
#define STATE_SPAN  128  /* bytes of a thread's struct that are searched */
#define VMSTATE_C   (-2) /* ~LJ_VMST_C: a C function runs */

static char trace_places[TRACES_MAX][PLACE_SIZE]; /* by number: "app.lua:10"; see perigee.traces */

/*
 * What LuaJIT's API does not tell, found by looking for what it does tell: see script_stack_learn.
 * All zero while it is not known.
 */
static struct {
	size_t base;               /* of a thread's L->base, bytes from its beginning */
	lua_State *const *current; /* the thread that runs */
	void *const *trace_base;   /* L->base of the trace that runs, or NULL */
	const int32_t *vmstate;    /* a trace's number, or what else runs, below 0 */
} known;

static struct {
	struct script_stack *stack;
	lua_Hook hook; /* what was there before */
	int mask;
	int count;
	uint32_t answered; /* a shared word, as a flag */
} question;

/* ── Frames to text ──────────────────────────────────────────────────────────────────────── */

static bool is_ours(const lua_Debug *frame)
{
	return strncmp(frame->source, "@perigee/", 9) == 0 ||
	       strstr(frame->source, "lua/perigee/") != NULL;
}

static void describe_function(const lua_Debug *frame, char *text, size_t size)
{
	if (*frame->namewhat != '\0' && frame->name != NULL)
		(void)snprintf(text, size, "in function '%s'", frame->name);
	else if (*frame->what == 'm')
		(void)snprintf(text, size, "in main chunk");
	else if (*frame->what == 'C')
		(void)snprintf(text, size, "in a function");
	else
		(void)snprintf(
			text, size, "in function <%s:%d>", frame->short_src, frame->linedefined);
}

/* `place` in place of the line that the frame would tell; NULL: the frame's own. */
static void describe_frame(const lua_Debug *frame, const char *place, char *text, size_t size)
{
	char function[128];

	describe_function(frame, function, sizeof function);
	if (*frame->what == 'C')
		(void)snprintf(text, size, "[C]: %s", function);
	else if (place != NULL)
		(void)snprintf(text, size, "%s: %s", place, function);
	else if (frame->currentline > 0)
		(void)snprintf(
			text, size, "%s:%d: %s", frame->short_src, frame->currentline, function);
	else
		(void)snprintf(text, size, "%s: %s", frame->short_src, function);
}

static void add_line(struct script_stack *stack, const char *line)
{
	size_t used = strlen(stack->text);

	if (used + strlen(line) + 3 < sizeof stack->text)
		(void)snprintf(stack->text + used, sizeof stack->text - used, "\t%s\n", line);
}

/* The frames of a thread, without Perigee's own unless there are no others. */
static void write_frames(
	lua_State *lua, const char *place, bool with_ours, struct script_stack *stack)
{
	lua_Debug frame;
	char line[256];
	char callee[128] = "";

	for (int level = 0; level < FRAMES_MAX && lua_getstack(lua, level, &frame) == 1; level++) {
		if (lua_getinfo(lua, "nSl", &frame) != 1)
			break;
		if (!with_ours && *frame.what != 'C' && is_ours(&frame))
			continue;
		describe_frame(&frame, level == 0 ? place : NULL, line, sizeof line);
		add_line(stack, line);
		if (*frame.what == 'C') {
			if (stack->where[0] == '\0' && frame.name != NULL)
				(void)snprintf(callee, sizeof callee, ", in the C function '%s'",
					frame.name);
			continue;
		}
		if (stack->where[0] == '\0')
			(void)snprintf(
				stack->where, sizeof stack->where, "at %.*s%s", 120, line, callee);
		(void)snprintf(stack->origin, sizeof stack->origin, "%s:%d", frame.short_src,
			frame.linedefined);
	}
}

static void write_thread(lua_State *lua, const char *place, struct script_stack *stack)
{
	stack->where[0] = stack->origin[0] = stack->text[0] = '\0';
	write_frames(lua, place, false, stack);
	if (stack->where[0] != '\0')
		return;
	stack->text[0] = '\0';
	write_frames(lua, place, true, stack);
	if (stack->where[0] == '\0')
		(void)snprintf(stack->where, sizeof stack->where, "in Lua, without a frame");
}

/* ── Asking the interpreter ──────────────────────────────────────────────────────────────── */

static void on_hook(lua_State *lua, lua_Debug *event)
{
	(void)event;
	if (shm_word_read32(&question.answered) != 0 || question.stack == NULL)
		return;
	write_thread(lua, NULL, question.stack);
	(void)lua_sethook(lua, question.hook, question.mask, question.count);
	shm_word_write32(&question.answered, 1);
}

/* From another thread than Lua's: as LuaJIT's own profiler does where it has a thread for its clock
 * (lj_profile.c), with the interpreter's dispatch changed under it. */
void script_stack_ask(struct script *script, struct script_stack *stack)
{
	question.stack = stack;
	question.hook = lua_gethook(script->lua);
	question.mask = lua_gethookmask(script->lua);
	question.count = lua_gethookcount(script->lua);
	shm_word_write32(&question.answered, 0);
	(void)lua_sethook(
		script->lua, on_hook, LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE | LUA_MASKCOUNT, 1);
}

bool script_stack_answered(const struct script *script)
{
	(void)script;
	return shm_word_read32(&question.answered) != 0;
}

void script_stack_end(struct script *script)
{
	if (!script_stack_answered(script))
		(void)lua_sethook(script->lua, question.hook, question.mask, question.count);
}

/* ── Walking a copy ──────────────────────────────────────────────────────────────────────── */

void script_stack_walk(struct script *script, struct script_stack *stack)
{
	const char *place = NULL;
	lua_State *lua;

	if (script->depth == 0) {
		(void)snprintf(stack->where, sizeof stack->where, "not in Lua");
		return;
	}
	if (known.current == NULL) {
		(void)snprintf(stack->where, sizeof stack->where, "somewhere in Lua");
		return;
	}
	lua = *known.current;
	if (*known.trace_base != NULL) {
		/* Compiled code leaves the thread's own base as it was when it was entered. */
		memcpy((char *)lua + known.base, known.trace_base, sizeof(void *));
		if (*known.vmstate > 0 && *known.vmstate < TRACES_MAX &&
			trace_places[*known.vmstate][0] != '\0')
			place = trace_places[*known.vmstate];
	}
	write_thread(lua, place, stack);
}

bool script_stack_is_in_lua(const struct script *script, uint64_t *ret_entry)
{
	*ret_entry = shm_word_read(&script->entries);
	return shm_word_read32(&script->depth) != 0;
}

uint64_t script_stack_serving(const struct script *script)
{
	return shm_word_read(&script->state.serving);
}

void script_trace_note(uint32_t number, const char *place)
{
	if (number < TRACES_MAX)
		(void)snprintf(trace_places[number], PLACE_SIZE, "%s", place);
}

/* ── Learning ────────────────────────────────────────────────────────────────────────────── */

/* Reads memory that may not be there. */
static bool peek(const void *from, void *to, size_t size)
{
	struct iovec local = {.iov_base = to, .iov_len = size};
	struct iovec remote = {.iov_base = (void *)(size_t)from, .iov_len = size};

	return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == (ssize_t)size;
}

static const double mark = 0x1.8bad0c0ffeep+300; /* a slot holds a number as it is */

/* Where in its struct a running thread keeps the address of its first argument. */
static size_t find_base(lua_State *lua)
{
	size_t found = 0;

	for (size_t at = 0; at < STATE_SPAN; at += sizeof(void *)) {
		const void *slot;
		double value;

		if (!peek((char *)lua + at, &slot, sizeof slot) ||
			!peek(slot, &value, sizeof value))
			continue;
		if (value != mark)
			continue;
		if (found != 0)
			return 0;
		found = at;
	}
	return found;
}

static int on_panic(lua_State *lua)
{
	(void)lua;
	return 0;
}

/* The first word with this value from `from` on, in what lies behind the main thread's struct. */
static char *find_word(const struct script *script, char *from, const void *value)
{
	for (char *at = from; at < (char *)script->lua + GLOBAL_SPAN; at += sizeof value) {
		const void *word;

		if (peek(at, &word, sizeof word) && word == value)
			return at;
	}
	return NULL;
}

/* vmstate lies before mainthref; other words may have the same value as that. */
static const int32_t *find_vmstate(const struct script *script)
{
	char *at = (char *)script->lua + STATE_SPAN;

	while ((at = find_word(script, at, script->lua)) != NULL) {
		const int32_t *vmstate = (const int32_t *)(const void *)(at - 8);

		if (*vmstate == VMSTATE_C)
			return vmstate;
		at += sizeof(void *);
	}
	return NULL;
}

/*
 * Runs in a thread of its own, with the mark as its argument. lj_obj.h, global_State: … vmstate,
 * mainthref, … panic, two instructions of 4 bytes, cur_L, jit_base. panic can be set, mainthref
 * and cur_L are known, so each is found by its value, and what lies beside them by that.
 */
static int learn(lua_State *lua)
{
	struct script *script = lua_touserdata(lua, 2);
	size_t base = find_base(lua);
	lua_CFunction before = lua_atpanic(lua, on_panic);
	char *panic = find_word(script, (char *)script->lua, (const void *)(size_t)on_panic);
	const int32_t *vmstate = find_vmstate(script);

	(void)lua_atpanic(lua, before);
	if (base == 0 || panic == NULL || vmstate == NULL || (const char *)vmstate > panic)
		return 0;
	if (*(lua_State **)(void *)(panic + 16) != lua || *(void **)(void *)(panic + 24) != NULL)
		return 0;
	known.base = base;
	known.current = (lua_State *const *)(void *)(panic + 16);
	known.trace_base = (void *const *)(void *)(panic + 24);
	known.vmstate = vmstate;
	lua_pushboolean(lua, 1);
	return 1;
}

/* May longjmp. */
static int learn_protected(lua_State *lua)
{
	bool twice = true;

	/* In two threads: the second one shows that it was no accident. */
	for (int i = 0; i < 2; i++) {
		lua_State *thread = lua_newthread(lua);

		lua_pushcfunction(thread, learn);
		lua_pushnumber(thread, mark);
		lua_pushlightuserdata(thread, lua_touserdata(lua, 1));
		twice = lua_resume(thread, 2) == 0 && lua_toboolean(thread, -1) && twice;
	}
	if (!twice)
		memset(&known, 0, sizeof known);
	return 0;
}

void script_stack_learn(struct script *script)
{
	if (lua_cpcall(script->lua, learn_protected, script) != 0)
		lua_pop(script->lua, 1);
}
