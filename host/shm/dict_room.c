/*
 * Room in a dict that is full: what has expired goes first, then, if the dict evicts, what was not
 * used lately. Runs in every process that uses shared objects.
 *
 * Eviction goes round the buckets of a shard like the hand of a clock: an entry with a mark loses
 * it, one without is evicted. All this is done in pieces, and the guard let go of in between.
 */
#include "shm/dict_table.h"

#include "shm/dict_list.h"

#define PIECE     64  /* buckets looked at, or elements freed, before the guard is let go of */
#define WORK      512 /* cells freed before that */
#define TRIES_MAX 100 /* of others taking the room that was made for us */

/* One walk of the hand. */
struct clearing {
	struct shm_dict *dict;
	struct dict_shard *shard;
	uint64_t now;
	uint32_t wanted;  /* free cells of the shard to stop at */
	uint32_t work;    /* cells freed by this piece */
	bool evict;       /* also what has not expired */
	uint64_t soonest; /* of what expires and stays */
};

/* Whether an entry is to go. */
static bool is_over(struct clearing *clearing, uint32_t index, const struct dict_cell *cell)
{
	uint64_t expires = cell->as.entry.expires;
	unsigned char *mark = dict_mark(clearing->dict, index);

	if (expires != 0 && expires <= clearing->now) {
		clearing->shard->expired++;
		return true;
	}
	if (clearing->evict && __atomic_load_n(mark, __ATOMIC_RELAXED) == 0) {
		clearing->shard->evicted++;
		return true;
	}
	if (clearing->evict)
		__atomic_store_n(mark, 0, __ATOMIC_RELAXED);
	if (expires != 0 && expires < clearing->soonest)
		clearing->soonest = expires;
	return false;
}

static void clear_bucket(struct clearing *clearing, uint64_t *bucket)
{
	struct dict_spot spot = {.from = bucket};

	while ((spot.index = dict_low(*spot.from)) != 0) {
		spot.cell = dict_cell(clearing->dict, spot.index);
		if (is_over(clearing, spot.index, spot.cell)) {
			clearing->work += dict_entry_cells(spot.cell);
			dict_entry_remove(clearing->dict, clearing->shard, &spot);
			shm_guard_commit(&clearing->shard->guard);
		} else {
			spot.from = &spot.cell->as.entry.chain;
		}
	}
}

static bool is_enough(const struct clearing *clearing)
{
	return dict_cells_free_count(clearing->shard) >= clearing->wanted;
}

/* Goes over a piece of the buckets. Returns how many. */
static uint64_t clear_piece(struct clearing *clearing)
{
	struct dict_shard *shard = clearing->shard;
	uint64_t first = (uint64_t)(shard - clearing->dict->shard) * clearing->dict->buckets;
	uint64_t done = 0;

	shm_guard_enter(&shard->guard, "dict.clear");
	clearing->work = 0;
	while (done < PIECE && clearing->work < WORK && !is_enough(clearing)) {
		clear_bucket(clearing, dict_bucket(clearing->dict, first + shard->hand));
		shard->hand = (shard->hand + 1) % clearing->dict->buckets;
		done++;
	}
	shm_guard_leave(&shard->guard);
	dict_graves_clear(clearing->dict, shard);
	return done;
}

/* Frees expired entries until there are enough cells. Going all the way round, it learns when that
 * is worth its while again; entries that are made meanwhile are seen to by `newcomers`. */
static void sweep(struct clearing *clearing)
{
	struct dict_shard *shard = clearing->shard;
	uint64_t number;
	uint64_t done = 0;

	if (dict_load(&shard->soonest) > clearing->now)
		return;
	shm_guard_enter(&shard->guard, "dict.sweep");
	number = ++shard->sweep;
	shard->newcomers = UINT64_MAX;
	shm_guard_leave(&shard->guard);
	while (done < clearing->dict->buckets && !is_enough(clearing))
		done += clear_piece(clearing);
	if (done < clearing->dict->buckets)
		return;
	shm_guard_enter(&shard->guard, "dict.swept");
	if (shard->sweep == number)
		shard->soonest =
			clearing->soonest < shard->newcomers ? clearing->soonest : shard->newcomers;
	shm_guard_leave(&shard->guard);
}

/* Up to two rounds: the first may do no more than take the marks. */
static void evict(struct clearing *clearing)
{
	uint64_t most = 2 * clearing->dict->buckets;

	for (uint64_t done = 0; done < most && !is_enough(clearing);)
		done += clear_piece(clearing);
}

static void give(struct shm_dict *dict, struct dict_shard *shard)
{
	if (dict_cells_free_count(shard) == 0 &&
		dict_load(&shard->gift_sent) == dict_high(dict_load(&shard->gift_size)))
		return;
	shm_guard_enter(&shard->guard, "dict.gather");
	dict_cells_give(dict, shard, 0);
	shm_guard_leave(&shard->guard);
}

/* Has every shard bring its free cells, and what expires, to the pool, until there is enough. */
static bool gather(struct dict_use *use, uint32_t count)
{
	struct shm_dict *dict = use->dict;
	uint64_t self = (uint64_t)(use->shard - dict->shard);

	for (uint64_t i = 0; i < dict->shards; i++) {
		struct dict_shard *shard = &dict->shard[(self + i) & (dict->shards - 1)];
		struct clearing clearing = {.dict = dict,
			.shard = shard,
			.now = dict_now(use),
			.wanted = count,
			.soonest = UINT64_MAX};

		dict_graves_clear(dict, shard);
		sweep(&clearing);
		give(dict, shard);
		if (dict_pool_free(dict) >= count)
			return true;
	}
	return false;
}

/* Of this shard and another, which is the next each time, the one that uses more cells. */
static struct dict_shard *fuller(struct dict_use *use)
{
	struct shm_dict *dict = use->dict;
	uint64_t turn = __atomic_add_fetch(&dict->turn, 1, __ATOMIC_RELAXED);
	struct dict_shard *other = &dict->shard[turn & (dict->shards - 1)];

	return dict_high(dict_load(&other->load)) > dict_high(dict_load(&use->shard->load))
		       ? other
		       : use->shard;
}

bool dict_room_make(struct dict_use *use, uint32_t count, unsigned *tries)
{
	struct clearing clearing = {
		.dict = use->dict, .wanted = count, .evict = true, .soonest = UINT64_MAX};

	if (++*tries > TRIES_MAX)
		return false;
	use->now = 0; /* time has passed */
	clearing.now = dict_now(use);
	if (!use->dict->evicts)
		return gather(use, count);
	clearing.shard = fuller(use);
	evict(&clearing);
	if (clearing.shard == use->shard && is_enough(&clearing))
		return true;
	give(use->dict, clearing.shard);
	return dict_pool_free(use->dict) >= count || *tries < use->dict->shards ||
	       gather(use, count);
}

/* ---- Removed lists ------------------------------------------------------------------------- */

/* Frees some of the first removed list, or the last of it. */
static void clear_grave(struct shm_dict *dict, struct dict_shard *shard)
{
	uint32_t index = dict_low(shard->grave);
	struct dict_cell *cell = dict_cell(dict, index);
	uint32_t count = dict_entry_cells(cell);

	for (int i = 0; i < PIECE && cell->as.entry.length != 0; i++) {
		dict_list_drop(dict, shard, cell, true);
		shm_guard_commit(&shard->guard);
	}
	if (cell->as.entry.length != 0)
		return;
	shm_guard_set(&shard->guard, &shard->grave, dict_low(cell->as.entry.chain));
	dict_cells_free(dict, shard, index, count);
	shm_guard_set(&shard->guard, &shard->load,
		dict_pair(dict_low(shard->load), (uint64_t)dict_high(shard->load) - count));
}

void dict_graves_clear(struct shm_dict *dict, struct dict_shard *shard)
{
	while (dict_load(&shard->grave) != 0) {
		shm_guard_enter(&shard->guard, "dict.bury");
		if (shard->grave != 0)
			clear_grave(dict, shard);
		dict_cells_share(dict, shard);
		shm_guard_leave(&shard->guard);
	}
}
