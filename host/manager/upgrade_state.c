/* The manager's state as a record block. In the manager, before and after the exec. */
#include "manager/upgrade_state.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "manager/manager.h"
#include "wire/record.h"

#define NUMBERS_MAX 16 /* in one record */

/* Every record but "address" and "pid_file", which are text: its name, how many numbers it has,
 * which are descriptors. */
static const struct {
	const char *key;
	size_t numbers;
	uint32_t fds; /* bit i: number i is one */
	bool many;    /* any number of such records; others come once */
} records[] = {
	{"version", 2, 0, false},   /* UPGRADE_VERSION, WIRE_VERSION */
	{"memory", 6, 0x3f, false}, /* settings, region, slots, feed, bell, tail */
	{"shared_bell", 1, 0x1, true}, {"guardian", 2, 0x2, false}, /* pid, pipe */
	{"pid_file_fd", 1, 0x1, true},
	{"counts", 4, 0, false},       /* workers, sockets' slots, last child, last generation */
	{"generation", 2, 0x2, false}, /* number, memfd of its plan */
	{"socket", 3, 0x4, true},      /* address, slot, descriptor */
	{"child", 11, 0x70, true},     /* see struct child_seed */
};

#define RECORD_KINDS (sizeof records / sizeof records[0])

/* --- writing ---------------------------------------------------------------------------------- */

static void add(struct buffer *block, const char *key, size_t count, ...)
{
	char text[NUMBERS_MAX * 21];
	size_t used = 0;
	va_list arguments;

	va_start(arguments, count);
	for (size_t i = 0; i < count; i++)
		used += (size_t)snprintf(text + used, sizeof text - used, "%s%" PRId64,
			i == 0 ? "" : " ", va_arg(arguments, int64_t));
	va_end(arguments);
	(void)record_add(block, key, text);
}

#define N(number) ((int64_t)(number))

static int memfd_of(const struct buffer *content, struct error *error)
{
	int fd = memfd_create("perigee-upgrade", MFD_CLOEXEC);

	if (fd < 0 || write(fd, content->data, content->size) != (ssize_t)content->size) {
		(void)error_set_errno(error, "cannot keep the state of the manager");
		fd_close(&fd);
	}
	return fd;
}

static void add_memory(struct buffer *block, const struct manager *manager)
{
	add(block, "version", 2, N(UPGRADE_VERSION), N(WIRE_VERSION));
	add(block, "memory", 6, N(manager->settings_fd), N(manager->region_fd),
		N(manager->slots_fd), N(manager->feed_fd), N(manager->bell_fd),
		N(manager->tail_fd));
	for (size_t i = 0; i < SHM_BELLS; i++)
		add(block, "shared_bell", 1, N(manager->bells[i]));
	add(block, "guardian", 2, N(manager->guardian.pid), N(manager->guardian.pipe));
	if (manager->pid_file.path != NULL) {
		add(block, "pid_file_fd", 1, N(manager->pid_file.fd));
		(void)record_add(block, "pid_file", manager->pid_file.path);
	}
	add(block, "counts", 4, N(manager->workers), N(manager->listen.open),
		N(manager->last_child), N(manager->last_generation));
}

static void add_sockets(struct buffer *block, const struct listen_set *set)
{
	for (size_t i = 0; i < set->count; i++) {
		const struct listen_address *address = &set->addresses[i];
		char text[LISTEN_URL_SIZE + 8];

		(void)snprintf(text, sizeof text, "%d %d %s", address->per_slot, address->is_secure,
			address->bind);
		(void)record_add(block, "address", text);
		for (size_t slot = 0; slot < MANAGER_WORKERS_MAX; slot++) {
			if (set->addresses[i].sockets[slot] >= 0)
				add(block, "socket", 3, N(i), N(slot),
					N(set->addresses[i].sockets[slot]));
		}
	}
}

static void add_children(struct buffer *block, const struct manager *manager)
{
	LIST_EACH(node, &manager->children)
	{
		const struct child *child = LIST_ENTRY(node, struct child, node);

		if (child != manager->current->zygote && child->role != WIRE_ROLE_WORKER)
			continue; /* it is gone before the exec, see upgrade.c */
		add(block, "child", 11, N(child->role), N(child->slot), N(child->number),
			N(child->pid), N(child->control), N(child->out.fd), N(child->err.fd),
			N(child->seat), N(child->started), N(child->ready),
			N(child->place->starts));
	}
}

int upgrade_state_write(struct manager *manager, int *ret_plan, struct error *error)
{
	struct buffer block = {0};
	int plan = memfd_of(&manager->current->settings.block, error);
	int fd;

	*ret_plan = -1;
	if (plan < 0)
		return -1;
	add_memory(&block, manager);
	add(&block, "generation", 2, N(manager->current->number), N(plan));
	add_sockets(&block, &manager->listen);
	add_children(&block, manager);
	fd = memfd_of(&block, error);
	buffer_free(&block);
	if (fd < 0)
		fd_close(&plan);
	*ret_plan = plan;
	return fd;
}

/* --- reading ---------------------------------------------------------------------------------- */

static size_t kind_of(const char *key)
{
	size_t kind = 0;

	while (kind < RECORD_KINDS && strcmp(records[kind].key, key) != 0)
		kind++;
	return kind;
}

/* Exactly as many numbers as the kind has. Returns 0, or -1. */
static int parse(const char *text, size_t count, int64_t numbers[NUMBERS_MAX])
{
	char *end;

	for (size_t i = 0; i < count; i++) {
		errno = 0;
		numbers[i] = strtoll(text, &end, 10);
		if (end == text || errno != 0 || *end != (i + 1 < count ? ' ' : '\0'))
			return -1;
		text = end;
	}
	return 0;
}

/* Calls `each` with the numbers of every record of `key`, until it returns another value than 0. */
static int each_record(const struct buffer *block, const char *key,
	int (*each)(void *context, const int64_t *numbers), void *context)
{
	const struct slice all = {block->data, block->size};
	int64_t numbers[NUMBERS_MAX] = {0};
	const char *name;
	const char *value;
	size_t offset = 0;
	int result = 0;

	while (result == 0 && record_next(all, &offset, &name, &value)) {
		if (strcmp(name, key) == 0 &&
			parse(value, records[kind_of(key)].numbers, numbers) == 0)
			result = each(context, numbers);
	}
	return result;
}

static int check_version(const char *value, struct error *error)
{
	int64_t numbers[NUMBERS_MAX] = {0};

	if (parse(value, 2, numbers) != 0 || numbers[0] != UPGRADE_VERSION)
		return error_set(error, EPROTO,
			"its manager (perigee %s) takes the state of version %d only",
			PERIGEE_VERSION, UPGRADE_VERSION);
	if (numbers[1] != WIRE_VERSION)
		return error_set(error, EPROTO,
			"its manager (perigee %s) cannot talk to the running workers",
			PERIGEE_VERSION);
	return 0;
}

static int check_record(const char *key, const char *value, unsigned *seen, struct error *error)
{
	const size_t kind = kind_of(key);
	int64_t numbers[NUMBERS_MAX] = {0};

	if (strcmp(key, "pid_file") == 0 || strcmp(key, "address") == 0)
		return 0;
	if (kind == RECORD_KINDS || parse(value, records[kind].numbers, numbers) != 0)
		return error_set(error, EPROTO, "the state's record %s is not known", key);
	if (!records[kind].many && (*seen & 1u << kind) != 0)
		return error_set(error, EPROTO, "the state's record %s comes twice", key);
	*seen |= 1u << kind;
	return 0;
}

int upgrade_state_read(struct buffer *ret_block, int fd, struct error *error)
{
	const char *key;
	const char *value;
	unsigned seen = 0;
	size_t offset = 0;

	if (record_load(ret_block, fd, error) != 0)
		return -1;
	const struct slice block = {ret_block->data, ret_block->size};

	value = record_find(block, "version");
	if (check_version(value != NULL ? value : "", error) != 0)
		return -1;
	while (record_next(block, &offset, &key, &value)) {
		if (check_record(key, value, &seen, error) != 0)
			return -1;
	}
	for (size_t kind = 0; kind < RECORD_KINDS; kind++) {
		if (!records[kind].many && (seen & 1u << kind) == 0)
			return error_set(error, EPROTO, "the state's record %s is missing",
				records[kind].key);
	}
	return 0;
}

void upgrade_state_keep(const struct buffer *block, bool keep)
{
	const struct slice all = {block->data, block->size};
	int64_t numbers[NUMBERS_MAX] = {0};
	const char *key;
	const char *value;
	size_t offset = 0;

	while (record_next(all, &offset, &key, &value)) {
		const size_t kind = kind_of(key);

		if (kind == RECORD_KINDS || parse(value, records[kind].numbers, numbers) != 0)
			continue;
		for (size_t i = 0; i < records[kind].numbers; i++) {
			if ((records[kind].fds >> i & 1) != 0 && numbers[i] >= 0)
				(void)fd_set_cloexec((int)numbers[i], !keep);
		}
	}
}

/* --- the new image ---------------------------------------------------------------------------- */

static int take_memory(void *context, const int64_t *numbers)
{
	struct manager *manager = context;

	manager->region_fd = (int)numbers[1];
	manager->slots_fd = (int)numbers[2];
	manager->feed_fd = (int)numbers[3];
	manager->bell_fd = (int)numbers[4];
	manager->tail_fd = (int)numbers[5];
	return 0;
}

static int take_guardian(void *context, const int64_t *numbers)
{
	struct manager *manager = context;

	manager->guardian = (struct guardian){.pid = (pid_t)numbers[0], .pipe = (int)numbers[1]};
	return 0;
}

static int take_counts(void *context, const int64_t *numbers)
{
	struct manager *manager = context;

	if (numbers[0] < 1 || numbers[0] > MANAGER_WORKERS_MAX || numbers[1] < numbers[0] ||
		numbers[1] > MANAGER_WORKERS_MAX)
		return -1;
	manager->workers = (uint32_t)numbers[0];
	manager->listen.open = (uint32_t)numbers[1];
	manager->last_child = (uint64_t)numbers[2];
	manager->last_generation = (uint32_t)numbers[3];
	return 0;
}

static int take_pid_file(void *context, const int64_t *numbers)
{
	((struct manager *)context)->pid_file.fd = (int)numbers[0];
	return 0;
}

/* Where the next of the bells goes. */
struct bells {
	int *next;
	size_t left;
};

static int take_bell(void *context, const int64_t *numbers)
{
	struct bells *bells = context;

	if (bells->left == 0)
		return -1;
	bells->left--;
	*bells->next++ = (int)numbers[0];
	return 0;
}

int upgrade_state_adopt(struct manager *manager, const struct buffer *block, struct error *error)
{
	struct bells bells = {manager->bells, SHM_BELLS};
	const char *pid_file = record_find((struct slice){block->data, block->size}, "pid_file");

	upgrade_state_keep(block, false);
	if (each_record(block, "memory", take_memory, manager) != 0 ||
		each_record(block, "guardian", take_guardian, manager) != 0 ||
		each_record(block, "counts", take_counts, manager) != 0 ||
		each_record(block, "pid_file_fd", take_pid_file, manager) != 0 ||
		each_record(block, "shared_bell", take_bell, &bells) != 0 || bells.left != 0)
		return error_set(error, EPROTO, "the state of the manager before makes no sense");
	if (pid_file != NULL)
		manager->pid_file.path = strdup(pid_file);
	manager->slots_table = shm_slots_map(manager->slots_fd, error);
	return manager->slots_table != NULL ? 0 : -1;
}

/* What the callbacks for children need beside the record. */
struct adoption {
	struct manager *manager;
	struct error *error;
};

static int take_generation(void *context, const int64_t *numbers)
{
	const struct adoption *adoption = context;
	int plan = (int)numbers[1];

	adoption->manager->current =
		generation_adopt(adoption->manager, (uint32_t)numbers[0], plan, adoption->error);
	fd_close(&plan);
	return adoption->manager->current != NULL ? 0 : -1;
}

static int take_socket(void *context, const int64_t *numbers)
{
	const struct adoption *adoption = context;

	return listen_adopt(&adoption->manager->listen, (uint64_t)numbers[0], (uint64_t)numbers[1],
		(int)numbers[2]);
}

static int take_child(void *context, const int64_t *numbers)
{
	const struct adoption *adoption = context;
	const struct child_seed seed = {.role = (enum wire_role)numbers[0],
		.slot = (uint32_t)numbers[1],
		.number = (uint64_t)numbers[2],
		.pid = (pid_t)numbers[3],
		.control = (int)numbers[4],
		.out = (int)numbers[5],
		.err = (int)numbers[6],
		.seat = (unsigned)numbers[7],
		.started = (uint64_t)numbers[8],
		.ready = (uint64_t)numbers[9],
		.starts = (uint32_t)numbers[10]};

	return child_adopt(adoption->manager->current, &seed, adoption->error);
}

/* The rows of processes that had ended before, whose places are not known any more. */
static void forget_others(struct manager *manager)
{
	for (unsigned seat = 0; seat < SHM_SEATS_MAX; seat++) {
		if (!manager->seats_taken[seat])
			shm_slots_write(manager->slots_table, seat, &(struct shm_process){0});
	}
}

/* "1 0 tcp:127.0.0.1:8000" */
static int take_addresses(struct manager *manager, const struct buffer *block)
{
	const char *key;
	const char *value;
	size_t offset = 0;

	while (record_next((struct slice){block->data, block->size}, &offset, &key, &value)) {
		if (strcmp(key, "address") != 0)
			continue;
		if (strlen(value) < 5 || listen_adopt_address(&manager->listen, value[0] == '1',
						 value[2] == '1', value + 4) != 0)
			return -1;
	}
	return 0;
}

int upgrade_state_adopt_children(
	struct manager *manager, const struct buffer *block, struct error *error)
{
	struct adoption adoption = {manager, error};

	if (each_record(block, "generation", take_generation, &adoption) != 0)
		return -1;
	if (take_addresses(manager, block) != 0 ||
		each_record(block, "socket", take_socket, &adoption) != 0 ||
		listen_adopted(&manager->listen, &manager->current->settings, &manager->identity,
			manager->workers) != 0)
		return error_set(error, EPROTO, "the listening sockets make no sense");
	manager->listening = true;
	if (each_record(block, "child", take_child, &adoption) != 0)
		return -1;
	forget_others(manager);
	return 0;
}
