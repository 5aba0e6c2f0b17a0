/* Confining the calling process. No state of our own. Runs in a shepherd's child and in a managed
 * process, both with one thread. */
#include "base/confine.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define VARIABLE_NAME_MAX 256 /* bytes */

static const struct {
	const char *name;
	int resource;
} limits[] = {
	{"as", RLIMIT_AS},
	{"core", RLIMIT_CORE},
	{"cpu", RLIMIT_CPU},
	{"data", RLIMIT_DATA},
	{"fsize", RLIMIT_FSIZE},
	{"memlock", RLIMIT_MEMLOCK},
	{"nofile", RLIMIT_NOFILE},
	{"nproc", RLIMIT_NPROC},
	{"stack", RLIMIT_STACK},
};

static int find_limit(const char *name, size_t size)
{
	for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
		if (strlen(limits[i].name) == size && strncmp(limits[i].name, name, size) == 0)
			return limits[i].resource;
	}
	return -1;
}

/* Returns what is behind the number, or NULL when there is none. */
static const char *read_bound(const char *text, rlim_t *ret_bound)
{
	char *end;

	if (strncmp(text, "unlimited", 9) == 0) {
		*ret_bound = RLIM_INFINITY;
		return text + 9;
	}
	if (*text < '0' || *text > '9')
		return NULL;
	errno = 0;
	*ret_bound = strtoull(text, &end, 10);
	return errno == 0 ? end : NULL;
}

int confine_limit(const char *limit, struct error *error)
{
	size_t size = strcspn(limit, "=");
	int resource = find_limit(limit, size);
	struct rlimit bounds = {0};
	const char *rest =
		limit[size] == '=' ? read_bound(limit + size + 1, &bounds.rlim_cur) : NULL;

	bounds.rlim_max = bounds.rlim_cur;
	if (rest != NULL && *rest == ':')
		rest = read_bound(rest + 1, &bounds.rlim_max);
	if (resource < 0 || rest == NULL || *rest != '\0')
		return error_set(error, EINVAL, "'%s' is no resource limit", limit);
	if (setrlimit((__rlimit_resource_t)resource, &bounds) != 0)
		return error_set_errno(error, "cannot set the limit %s", limit);
	return 0;
}

int confine_user(const char *user, struct error *error)
{
	const struct passwd *entry;

	errno = 0;
	entry = getpwnam(user);
	if (entry == NULL)
		return error_set(error, errno != 0 ? errno : ENOENT, "there is no user '%s'", user);
	if (geteuid() == entry->pw_uid && getegid() == entry->pw_gid)
		return 0;
	if (setgid(entry->pw_gid) != 0 || initgroups(user, entry->pw_gid) != 0 ||
		setuid(entry->pw_uid) != 0)
		return error_set_errno(error, "cannot become the user '%s'", user);
	return 0;
}

int confine_directory(const char *path, struct error *error)
{
	if (chdir(path) != 0)
		return error_set_errno(error, "cannot go to %s", path);
	return 0;
}

int confine_variable(const char *variable, struct error *error)
{
	const char *equals = strchr(variable, '=');
	size_t size = equals != NULL ? (size_t)(equals - variable) : strlen(variable);
	char name[VARIABLE_NAME_MAX];
	int result;

	if (size == 0 || size >= sizeof name)
		return error_set(error, EINVAL, "'%s' is no variable of the environment", variable);
	memcpy(name, variable, size);
	name[size] = '\0';
	result = equals != NULL ? setenv(name, equals + 1, 1) : unsetenv(name);
	return result == 0 ? 0 : error_set_errno(error, "cannot set the variable %s", name);
}
