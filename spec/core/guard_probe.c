/* A small object under a guard, for guard_spec.lua: numbers whose sum never changes. */
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "shm/guard.h"
#include "shm/wait.h"

#define WORDS 8

struct probe {
	struct shm_guard guard;
	uint64_t words[WORDS];
	struct shm_waiters waiters;
};

struct probe *probe_new(void);
void probe_move(struct probe *probe, unsigned from, unsigned to, uint64_t amount);
void probe_move_twice(struct probe *probe, unsigned from, unsigned to, uint64_t amount);
void probe_refuse(struct probe *probe, unsigned from, unsigned to, uint64_t amount);
uint64_t probe_word(struct probe *probe, unsigned index);
uint64_t probe_sum_locked(struct probe *probe);
int64_t probe_sum_unlocked(struct probe *probe);
uint64_t probe_undone(const struct probe *probe);
struct shm_waiters *probe_waiters(struct probe *probe);

struct probe *probe_new(void)
{
	struct probe *probe = mmap(
		NULL, sizeof *probe, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	shm_guard_init(&probe->guard);
	for (int i = 0; i < WORDS; i++)
		probe->words[i] = 100;
	return probe;
}

static void change(struct probe *probe, unsigned from, unsigned to, uint64_t amount)
{
	shm_guard_set(&probe->guard, &probe->words[from], probe->words[from] - amount);
	shm_guard_set(&probe->guard, &probe->words[to], probe->words[to] + amount);
}

void probe_move(struct probe *probe, unsigned from, unsigned to, uint64_t amount)
{
	shm_guard_enter(&probe->guard, "probe.move");
	change(probe, from, to, amount);
	shm_guard_leave(&probe->guard);
}

void probe_move_twice(struct probe *probe, unsigned from, unsigned to, uint64_t amount)
{
	shm_guard_enter(&probe->guard, "probe.twice");
	change(probe, from, to, amount);
	shm_guard_commit(&probe->guard);
	change(probe, from, to, amount);
	shm_guard_leave(&probe->guard);
}

void probe_refuse(struct probe *probe, unsigned from, unsigned to, uint64_t amount)
{
	shm_guard_enter(&probe->guard, "probe.refuse");
	change(probe, from, to, amount);
	shm_guard_abort(&probe->guard);
}

uint64_t probe_word(struct probe *probe, unsigned index)
{
	uint64_t word;

	shm_guard_enter(&probe->guard, "probe.word");
	word = probe->words[index];
	shm_guard_leave(&probe->guard);
	return word;
}

uint64_t probe_sum_locked(struct probe *probe)
{
	uint64_t sum = 0;

	shm_guard_enter(&probe->guard, "probe.sum");
	for (int i = 0; i < WORDS; i++)
		sum += probe->words[i];
	shm_guard_leave(&probe->guard);
	return sum;
}

/* -1: a change is under way. */
int64_t probe_sum_unlocked(struct probe *probe)
{
	uint64_t sequence;
	int64_t sum;

	do {
		if (!shm_guard_look(&probe->guard, &sequence))
			return -1;
		sum = 0;
		for (int i = 0; i < WORDS; i++)
			sum += (int64_t)__atomic_load_n(&probe->words[i], __ATOMIC_RELAXED);
	} while (!shm_guard_seen(&probe->guard, sequence));
	return sum;
}

uint64_t probe_undone(const struct probe *probe)
{
	return probe->guard.undone;
}

struct shm_waiters *probe_waiters(struct probe *probe)
{
	return &probe->waiters;
}
