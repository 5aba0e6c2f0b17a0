/* Messages that are held: see queue_held.h. Runs in every process that runs Lua. */
#include "shm/queue_held.h"

#include "base/clock.h"
#include "base/error.h"
#include "shm/last_error.h"

#pragma GCC visibility push(default)
#include "shm/queue_abi.h"
#pragma GCC visibility pop

#define RETURNED_AT_ONCE 16 /* messages of a dead process that are put back in one go */

static struct shm_queue_holder *holder_of(struct shm_queue *queue, shm_member member)
{
	return &queue->holders[shm_member_index(member)];
}

static void mark(struct shm_queue *queue, unsigned index, bool holds)
{
	uint64_t *word = &queue->holding[index / 64];
	uint64_t bit = (uint64_t)1 << index % 64;

	shm_store_set(queue, word, holds ? *word | bit : *word & ~bit);
}

bool shm_held_room(const struct shm_queue *queue, shm_member member)
{
	const struct shm_queue_holder *holder = &queue->holders[shm_member_index(member)];

	return holder->count == 0 || holder->member == member;
}

uint64_t shm_held_by_others(const struct shm_queue *queue, shm_member member)
{
	const struct shm_queue_holder *holder = &queue->holders[shm_member_index(member)];

	return queue->taken - (member != 0 && holder->member == member ? holder->count : 0);
}

void shm_held_add(struct shm_queue *queue, shm_member member, uint64_t number)
{
	struct shm_queue_holder *holder = holder_of(queue, member);
	struct shm_cell *message = shm_store_cell(queue, number);

	shm_store_set(queue, &message->owner, member);
	shm_store_set(queue, &message->deliveries, message->deliveries + 1);
	shm_store_set(queue, &message->before, 0);
	shm_store_set(queue, &message->after, holder->first);
	if (holder->first != 0)
		shm_store_set(queue, &shm_store_cell(queue, holder->first)->before, number);
	else
		shm_store_set(queue, &holder->last, number);
	shm_store_set(queue, &holder->first, number);
	shm_store_set(queue, &holder->count, holder->count + 1);
	shm_store_set(queue, &holder->member, member);
	mark(queue, shm_member_index(member), true);
	shm_store_set(queue, &queue->taken, queue->taken + 1);
}

/* Takes a message out of its holder's list. */
static void let_go(struct shm_queue *queue, struct shm_queue_holder *holder, uint64_t number)
{
	struct shm_cell *message = shm_store_cell(queue, number);

	if (message->before != 0)
		shm_store_set(
			queue, &shm_store_cell(queue, message->before)->after, message->after);
	else
		shm_store_set(queue, &holder->first, message->after);
	if (message->after != 0)
		shm_store_set(
			queue, &shm_store_cell(queue, message->after)->before, message->before);
	else
		shm_store_set(queue, &holder->last, message->before);
	shm_store_set(queue, &message->owner, 0);
	shm_store_set(queue, &holder->count, holder->count - 1);
	if (holder->count == 0)
		mark(queue, (unsigned)(holder - queue->holders), false);
	shm_store_set(queue, &queue->taken, queue->taken - 1);
}

static void put_back(struct shm_queue *queue, struct shm_queue_holder *holder, uint64_t number)
{
	let_go(queue, holder, number);
	shm_store_push(queue, number);
	shm_store_set(queue, &queue->returned, queue->returned + 1);
}

/* A few of what a dead member held, the eldest first, so that they are in order also for one who
 * takes in between. Returns how many. */
static uint64_t put_back_some(
	struct shm_queue *queue, struct shm_queue_holder *holder, shm_member dead)
{
	uint64_t count = 0;

	shm_guard_enter(&queue->guard, "queue.return");
	while (count < RETURNED_AT_ONCE && holder->member == dead && holder->count > 0) {
		put_back(queue, holder, holder->last);
		shm_guard_commit(&queue->guard);
		count++;
	}
	shm_guard_leave(&queue->guard);
	for (uint64_t i = 0; i < count; i++)
		shm_waiters_wake_one(&queue->getters);
	return count;
}

static bool reclaim_of(struct shm_queue *queue, struct shm_queue_holder *holder)
{
	shm_member member = __atomic_load_n(&holder->member, __ATOMIC_RELAXED);
	bool found = false;

	if (shm_member_alive(member))
		return false;
	while (put_back_some(queue, holder, member) > 0)
		found = true;
	return found;
}

bool shm_held_due(struct shm_queue *queue)
{
	uint64_t now;
	uint64_t looked;

	if (__atomic_load_n(&queue->taken, __ATOMIC_RELAXED) == 0)
		return false;
	now = clock_now();
	looked = __atomic_load_n(&queue->looked, __ATOMIC_RELAXED);
	return now - looked >= SHM_WAIT_AGAIN &&
	       __atomic_compare_exchange_n(
		       &queue->looked, &looked, now, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

bool shm_held_reclaim(struct shm_queue *queue)
{
	bool found = false;

	for (unsigned i = 0; i < SHM_MEMBERS_MAX / 64; i++) {
		uint64_t set = __atomic_load_n(&queue->holding[i], __ATOMIC_RELAXED);

		for (; set != 0; set &= set - 1)
			found |= reclaim_of(
				queue, &queue->holders[i * 64 + (unsigned)__builtin_ctzll(set)]);
	}
	return found;
}

/* Whether this process holds that message; memory here is everybody's, so nothing is believed. */
static bool is_ours(struct shm_queue *queue, shm_member self, uint64_t id, uint64_t serial)
{
	const struct shm_cell *message;

	if (id - 1 >= queue->fresh || queue->taken == 0)
		return false;
	message = shm_store_cell(queue, id);
	return message->owner == self && message->serial == serial &&
	       holder_of(queue, self)->member == self;
}

static void acknowledge(struct shm_queue *queue, struct shm_queue_holder *holder, uint64_t number)
{
	struct shm_store_freed freed = {0};

	let_go(queue, holder, number);
	shm_store_free(queue, &freed, number);
	shm_store_freed(queue, &freed);
	shm_store_set(queue, &queue->done, queue->done + 1);
}

/* Has `end` done to a message that this process holds. */
static int finish(struct shm_queue *queue, uint64_t id, uint64_t serial,
	void (*end)(struct shm_queue *, struct shm_queue_holder *, uint64_t), const char *section)
{
	struct error error;
	shm_member self = shm_member_self(&error);
	bool ours;

	if (self == 0)
		return shm_fail(SHM_QUEUE_FAILED, &error);
	shm_guard_enter(&queue->guard, section);
	ours = is_ours(queue, self, id, serial);
	if (ours)
		end(queue, holder_of(queue, self), id);
	shm_guard_leave(&queue->guard);
	return ours ? SHM_QUEUE_OK : SHM_QUEUE_GONE;
}

int shm_queue_ack(struct shm_queue *queue, uint64_t id, uint64_t serial)
{
	int result = finish(queue, id, serial, acknowledge, "queue.ack");

	if (result != SHM_QUEUE_OK)
		return result;
	shm_waiters_wake_one(&queue->putters);
	/* Who takes from a closed queue waits for what others may give back. */
	if (__atomic_load_n(&queue->closed, __ATOMIC_RELAXED) != 0)
		shm_waiters_wake_all(&queue->getters);
	return result;
}

int shm_queue_nack(struct shm_queue *queue, uint64_t id, uint64_t serial)
{
	int result = finish(queue, id, serial, put_back, "queue.nack");

	if (result == SHM_QUEUE_OK)
		shm_waiters_wake_one(&queue->getters);
	return result;
}
