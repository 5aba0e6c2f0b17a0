/* Reading declarations of managed processes. No state. Runs in the manager. */
#include "manager/managed_terms.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "wire/record.h"

#define DAY_MS (24ull * 3600 * 1000)
#define PREFIX "manage."

static int check_name(const char *name, struct error *error)
{
	static const char allowed[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";
	size_t size = name != NULL ? strspn(name, allowed) : 0;

	if (size == 0 || size > MANAGED_NAME_MAX || name[size] != '\0')
		return error_set(error, EINVAL,
			"a managed process's name is 1 to %d of A-Z a-z 0-9 _ . -",
			MANAGED_NAME_MAX);
	if (strcmp(name, "main") == 0 || strcmp(name, "all") == 0 ||
		strncmp(name, "worker-", 7) == 0)
		return error_set(error, EEXIST, "the name '%s' is Perigee's", name);
	return 0;
}

static int read_flags(struct managed_terms *terms, struct slice block, struct error *error)
{
	const struct {
		const char *key;
		bool *to;
	} flags[] = {
		{"transient", &terms->transient},
		{"restartable", &terms->restartable},
		{"tracked", &terms->tracked},
		{"auto_start", &terms->auto_start},
		{"notify", &terms->notify},
	};

	for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
		uint64_t value;

		if (record_number(block, flags[i].key, 0, 1, &value, error) != 0)
			return -1;
		*flags[i].to = value != 0;
	}
	return 0;
}

static int read_numbers(struct managed_terms *terms, struct slice block, struct error *error)
{
	uint64_t workers;
	uint64_t restarts;
	uint64_t number;

	if (record_number(block, "workers", 1, MANAGED_WORKERS_MAX, &workers, error) != 0 ||
		record_number(block, "max_restarts", 0, MANAGED_RESTARTS_MAX, &restarts, error) !=
			0 ||
		record_number(block, "within", 1, DAY_MS, &terms->within, error) != 0 ||
		record_number(block, "start_timeout", 0, DAY_MS, &terms->start_timeout, error) !=
			0 ||
		record_number(block, "stop_timeout", 0, DAY_MS, &terms->stop_timeout, error) != 0 ||
		record_number(block, "stop_signal", 1, NSIG - 1, &number, error) != 0)
		return -1;
	terms->workers = (uint32_t)workers;
	terms->max_restarts = (uint32_t)restarts;
	terms->stop_signal = (int)number;
	return 0;
}

static int read_policy(struct managed_terms *terms, struct slice block, struct error *error)
{
	const char *policy = record_find(block, "restart");

	if (policy == NULL)
		return error_set(error, ENOENT, "restart is missing");
	if (strcmp(policy, "always") == 0)
		terms->policy = MANAGED_RESTART_ALWAYS;
	else if (strcmp(policy, "on_failure") == 0)
		terms->policy = MANAGED_RESTART_ON_FAILURE;
	else if (strcmp(policy, "never") == 0)
		terms->policy = MANAGED_RESTART_NEVER;
	else
		return error_set(error, EINVAL, "restart cannot be '%s'", policy);
	return 0;
}

static int read_all(struct managed_terms *terms, struct error *error)
{
	struct slice block = {terms->block.data, terms->block.size};

	if (record_check(block, error) != 0)
		return -1;
	terms->name = record_find(block, "name");
	terms->function = record_find(block, "function");
	terms->listen = record_find(block, "listen");
	terms->is_secure = record_find(block, "tls") != NULL;
	if (check_name(terms->name, error) != 0 || read_flags(terms, block, error) != 0 ||
		read_numbers(terms, block, error) != 0 || read_policy(terms, block, error) != 0)
		return -1;
	if ((terms->function == NULL) == (record_find(block, "argv") == NULL))
		return error_set(
			error, EINVAL, "'%s' has to be a function or a command", terms->name);
	return 0;
}

int managed_terms_read(struct managed_terms *ret_terms, struct slice block, struct error *error)
{
	struct managed_terms terms = {0};

	if (block.size > MANAGED_TERMS_MAX)
		return error_set(error, E2BIG,
			"the arguments, the environment and the rest are more than %d bytes",
			MANAGED_TERMS_MAX);
	if (block.size == 0 || buffer_add(&terms.block, block.data, block.size) != 0)
		return error_set(error, EINVAL, "there are no terms");
	if (read_all(&terms, error) != 0) {
		buffer_free(&terms.block);
		return -1;
	}
	*ret_terms = terms;
	return 0;
}

void managed_terms_free(struct managed_terms *terms)
{
	buffer_free(&terms->block);
	*terms = (struct managed_terms){0};
}

int managed_terms_next(struct slice plan, size_t *offset, struct buffer *block)
{
	const char *key;
	const char *value;
	size_t next = *offset;

	while (record_next(plan, &next, &key, &value)) {
		bool begins = strcmp(key, "manage") == 0;
		bool belongs = strncmp(key, PREFIX, strlen(PREFIX)) == 0;

		if (begins && block->size != 0)
			return 1;
		if (begins && record_add(block, "name", value) != 0)
			return -1;
		if (belongs && block->size != 0 &&
			record_add(block, key + strlen(PREFIX), value) != 0)
			return -1;
		*offset = next;
	}
	return block->size != 0;
}
