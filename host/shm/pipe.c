/*
 * Shared pipes: a ring of bytes with one writer and one reader. Runs in every process that runs
 * Lua.
 *
 * The writer alone moves `tail`, the reader alone `head`, each after it has copied its bytes, so
 * that copying takes no lock and a process killed in the midst of it has not written, or read, at
 * all. Who is writer and reader, and where a stream ends, changes under the guard. A stream that
 * ended must be read to its end before another writer begins.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "shm/guard.h"
#include "shm/last_error.h"
#include "shm/member.h"
#include "shm/region.h"
#include "shm/wait.h"

#pragma GCC visibility push(default)
#include "shm/pipe_abi.h"
#pragma GCC visibility pop

#define SIZE_MOST ((uint64_t)1 << 30) /* bytes */

struct shm_pipe {
	struct shm_guard guard;
	uint64_t size;   /* constant */
	uint64_t writer; /* members; 0: nobody yet, or not any more */
	uint64_t reader;
	uint64_t end;     /* 0, or SHM_PIPE_END or SHM_PIPE_DIED: the stream ends at `tail` */
	uint64_t refused; /* 1: its reader closed it, and there is no other */

	uint64_t tail __attribute__((aligned(64))); /* bytes ever written */
	struct shm_waiters readers;

	uint64_t head __attribute__((aligned(64))); /* bytes ever read */
	struct shm_waiters writers;

	char ring[] __attribute__((aligned(64)));
};

struct shm_pipe *shm_pipe_open(const char *name, uint64_t size, int create)
{
	struct error error;
	struct shm_pipe *pipe = NULL;
	char shape[SHM_SHAPE_MAX];
	struct shm_want want = {
		.name = name, .kind = "pipe", .shape = shape, .size = sizeof *pipe + size};
	int is_new = 0;

	(void)snprintf(shape, sizeof shape, "%llu bytes", (unsigned long long)size);
	if (size > SIZE_MOST || (size == 0 && create))
		(void)error_set(&error, EINVAL,
			"shared pipe \"%.80s\": size must be 1 to %llu bytes, not %llu", name,
			(unsigned long long)SIZE_MOST, (unsigned long long)size);
	else if (create)
		pipe = shm_region_make(&want, &is_new, &error);
	else
		pipe = shm_region_find(name, "pipe", size != 0 ? shape : NULL, NULL, &error);
	if (pipe == NULL) {
		(void)shm_fail(-1, &error);
		return NULL;
	}
	if (is_new) {
		shm_guard_init(&pipe->guard);
		pipe->size = size;
		shm_region_publish(name);
	}
	return pipe;
}

static uint64_t load(const uint64_t *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static void set(struct shm_pipe *pipe, uint64_t *word, uint64_t value)
{
	if (*word != value)
		shm_guard_set(&pipe->guard, word, value);
}

/* Ends the stream of a writer that was found dead, unless somebody else has done so. */
static void end_dead(struct shm_pipe *pipe, shm_member dead)
{
	shm_guard_enter(&pipe->guard, "pipe.end");
	if (pipe->writer == dead) {
		set(pipe, &pipe->writer, 0);
		set(pipe, &pipe->end, SHM_PIPE_DIED);
	}
	shm_guard_leave(&pipe->guard);
	shm_waiters_wake_one(&pipe->readers);
}

/* What a process that died in the midst of a change left is not to be believed: has it undone. */
static void settle(struct shm_pipe *pipe)
{
	uint64_t sequence;

	if (shm_guard_look(&pipe->guard, &sequence))
		return;
	shm_guard_enter(&pipe->guard, "pipe.settle");
	shm_guard_leave(&pipe->guard);
}

/* One try at making this process the writer in place of `before`, who is dead or nobody. False when
 * there is another by now. */
static bool follow_writer(
	struct shm_pipe *pipe, shm_member before, shm_member self, int *ret_result)
{
	bool is_free;

	if (before != 0)
		end_dead(pipe, before);
	shm_guard_enter(&pipe->guard, "pipe.writer");
	is_free = pipe->writer == 0;
	*ret_result = pipe->end != 0 ? SHM_PIPE_LATER : SHM_PIPE_OK;
	if (is_free && *ret_result == SHM_PIPE_OK)
		set(pipe, &pipe->writer, self);
	shm_guard_leave(&pipe->guard);
	return is_free;
}

static int become_writer(struct shm_pipe *pipe, shm_member self)
{
	int result = SHM_PIPE_OK;
	shm_member writer = load(&pipe->writer);

	while (writer != self) {
		if (writer != 0 && shm_member_alive(writer))
			return SHM_PIPE_BUSY;
		if (follow_writer(pipe, writer, self, &result))
			return result;
		writer = load(&pipe->writer);
	}
	return SHM_PIPE_OK;
}

static int become_reader(struct shm_pipe *pipe, shm_member self)
{
	shm_member reader = load(&pipe->reader);

	while (reader != self) {
		if (reader != 0 && shm_member_alive(reader))
			return SHM_PIPE_BUSY;
		shm_guard_enter(&pipe->guard, "pipe.reader");
		if (pipe->reader == reader) {
			set(pipe, &pipe->reader, self);
			set(pipe, &pipe->refused, 0);
		}
		reader = pipe->reader;
		shm_guard_leave(&pipe->guard);
	}
	return SHM_PIPE_OK;
}

static bool is_refused(struct shm_pipe *pipe)
{
	if (load(&pipe->refused) == 0)
		return false;
	settle(pipe);
	return load(&pipe->refused) != 0;
}

int shm_pipe_write(struct shm_pipe *pipe, const char *data, uint64_t size, uint64_t *ret_done)
{
	struct error error;
	shm_member self = shm_member_self(&error);
	uint64_t tail;
	uint64_t place;
	uint64_t count;
	uint64_t first;
	int result;

	*ret_done = 0;
	if (self == 0)
		return shm_fail(SHM_PIPE_FAILED, &error);
	result = become_writer(pipe, self);
	if (result != SHM_PIPE_OK)
		return result;
	if (is_refused(pipe))
		return SHM_PIPE_CLOSED;
	tail = pipe->tail;
	count = pipe->size - (tail - load(&pipe->head));
	count = count < size ? count : size;
	if (count == 0)
		return size == 0 ? SHM_PIPE_OK : SHM_PIPE_LATER;
	place = tail % pipe->size;
	first = count < pipe->size - place ? count : pipe->size - place;
	shm_fault_begin("pipe.write");
	memcpy(pipe->ring + place, data, first);
	memcpy(pipe->ring, data + first, count - first);
	shm_fault_step();
	__atomic_store_n(&pipe->tail, tail + count, __ATOMIC_SEQ_CST);
	shm_fault_step();
	*ret_done = count;
	shm_waiters_wake_one(&pipe->readers);
	return SHM_PIPE_OK;
}

/* Nothing is there: why. OK means that there is something by now. */
static int why_empty(struct shm_pipe *pipe)
{
	shm_member writer;
	int result = SHM_PIPE_LATER;

	settle(pipe);
	writer = load(&pipe->writer);
	if (writer != 0 && !shm_member_alive(writer))
		end_dead(pipe, writer);
	if (load(&pipe->end) == 0)
		return SHM_PIPE_LATER;
	shm_guard_enter(&pipe->guard, "pipe.ended");
	if (pipe->tail != pipe->head) {
		result = SHM_PIPE_OK;
	} else if (pipe->end != 0) {
		result = (int)pipe->end;
		set(pipe, &pipe->end, 0);
	}
	shm_guard_leave(&pipe->guard);
	shm_waiters_wake_one(&pipe->writers);
	return result;
}

static void read_ring(struct shm_pipe *pipe, char *data, uint64_t head, uint64_t count)
{
	uint64_t place = head % pipe->size;
	uint64_t first = count < pipe->size - place ? count : pipe->size - place;

	shm_fault_begin("pipe.read");
	memcpy(data, pipe->ring + place, first);
	memcpy(data + first, pipe->ring, count - first);
	shm_fault_step();
	__atomic_store_n(&pipe->head, head + count, __ATOMIC_SEQ_CST);
	shm_fault_step();
}

int shm_pipe_read(struct shm_pipe *pipe, char *data, uint64_t room, uint64_t *ret_size)
{
	struct error error;
	shm_member self = shm_member_self(&error);
	uint64_t head;
	uint64_t count;
	int result;

	*ret_size = 0;
	if (self == 0)
		return shm_fail(SHM_PIPE_FAILED, &error);
	result = become_reader(pipe, self);
	while (result == SHM_PIPE_OK) {
		head = pipe->head;
		count = load(&pipe->tail) - head;
		if (count > 0) {
			*ret_size = count < room ? count : room;
			read_ring(pipe, data, head, *ret_size);
			shm_waiters_wake_one(&pipe->writers);
			return SHM_PIPE_OK;
		}
		result = why_empty(pipe);
	}
	return result;
}

int shm_pipe_close(struct shm_pipe *pipe)
{
	struct error error;
	shm_member self = shm_member_self(&error);

	if (self == 0)
		return shm_fail(SHM_PIPE_FAILED, &error);
	/* The head is never changed under the guard: what is undone later would be written over. */
	if (load(&pipe->reader) == self)
		__atomic_store_n(&pipe->head, load(&pipe->tail), __ATOMIC_SEQ_CST);
	shm_guard_enter(&pipe->guard, "pipe.close");
	if (pipe->writer == self) {
		set(pipe, &pipe->writer, 0);
		set(pipe, &pipe->end, SHM_PIPE_END);
	}
	if (pipe->reader == self) {
		set(pipe, &pipe->reader, 0);
		set(pipe, &pipe->refused, 1);
		set(pipe, &pipe->end, 0);
	}
	shm_guard_leave(&pipe->guard);
	shm_waiters_wake_all(&pipe->readers);
	shm_waiters_wake_all(&pipe->writers);
	return SHM_PIPE_OK;
}

void shm_pipe_stat(struct shm_pipe *pipe, struct shm_pipe_stat *stat)
{
	uint64_t head = load(&pipe->head);
	uint64_t tail = load(&pipe->tail);

	*stat = (struct shm_pipe_stat){.size = pipe->size,
		.used = tail - head,
		.written = tail,
		.writing = shm_member_alive(load(&pipe->writer)),
		.reading = shm_member_alive(load(&pipe->reader)),
		.undone = pipe->guard.undone};
}

struct shm_waiters *shm_pipe_readers(struct shm_pipe *pipe)
{
	return &pipe->readers;
}

struct shm_waiters *shm_pipe_writers(struct shm_pipe *pipe)
{
	return &pipe->writers;
}
