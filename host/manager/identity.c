/* Users and groups. No state of its own. In the manager, and between fork and exec in its children.
 */
#include "manager/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/openat2.h>
#include <pwd.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/check.h"

/* --- looking up ------------------------------------------------------------------------------- */

/* A decimal user or group number; (uid_t)-1 means "none" to the kernel and is no number of one. */
static int parse_number(const char *text, uint32_t *ret_number)
{
	char *end;
	unsigned long long number;

	if (text[0] < '0' || text[0] > '9')
		return -1;
	errno = 0;
	number = strtoull(text, &end, 10);
	if (*end != '\0' || errno != 0 || number >= UINT32_MAX)
		return -1;
	*ret_number = (uint32_t)number;
	return 0;
}

static int find_group(struct identity *identity, const char *name, struct error *error)
{
	const struct group *group = getgrnam(name);

	if (group != NULL) {
		identity->gid = group->gr_gid;
		return 0;
	}
	if (parse_number(name, &identity->gid) == 0)
		return 0;
	return error_set(error, ENOENT, "there is no group '%s'", name);
}

static int find_user(struct identity *identity, const char *name, bool has_group,
	const struct passwd **ret_entry, struct error *error)
{
	const struct passwd *entry = getpwnam(name);

	if (entry == NULL && parse_number(name, &identity->uid) != 0)
		return error_set(error, ENOENT, "there is no user '%s'", name);
	if (entry == NULL)
		entry = getpwuid(identity->uid);
	*ret_entry = entry;
	if (entry == NULL && !has_group)
		return error_set(error, ENOENT,
			"user %s has no entry that names a group: set group too", name);
	if (entry != NULL) {
		identity->uid = entry->pw_uid;
		identity->gid = entry->pw_gid;
	}
	return 0;
}

static int find_groups(struct identity *identity, const struct passwd *entry, struct error *error)
{
	int count = IDENTITY_GROUPS_MAX;

	identity->groups[0] = identity->gid;
	identity->group_count = 1;
	if (entry == NULL)
		return 0;
	if (getgrouplist(entry->pw_name, identity->gid, identity->groups, &count) < 0)
		return error_set(error, E2BIG, "user %s is in more than %d groups", entry->pw_name,
			IDENTITY_GROUPS_MAX);
	identity->group_count = (size_t)count;
	return 0;
}

static int check_right(
	const struct identity *identity, const char *user, const char *group, struct error *error)
{
	if (!identity->other || geteuid() == 0)
		return 0;
	return error_set(error, EPERM,
		"cannot become %s %s: only root can, and this runs as user %u",
		user != NULL ? "user" : "group", user != NULL ? user : group, (unsigned)geteuid());
}

int identity_find(
	struct identity *ret_identity, const char *user, const char *group, struct error *error)
{
	struct identity identity = {.uid = geteuid(), .gid = getegid()};
	const struct passwd *entry = NULL;

	*ret_identity = identity;
	if (user == NULL && group == NULL)
		return 0;
	if ((user != NULL && find_user(&identity, user, group != NULL, &entry, error) != 0) ||
		(group != NULL && find_group(&identity, group, error) != 0) ||
		find_groups(&identity, entry, error) != 0)
		return -1;
	identity.other = identity.uid != geteuid() || identity.gid != getegid();
	if (check_right(&identity, user, group, error) != 0)
		return -1;
	if (entry != NULL && identity.other) {
		(void)setenv("HOME", entry->pw_dir, 1);
		(void)setenv("USER", entry->pw_name, 1);
		(void)setenv("LOGNAME", entry->pw_name, 1);
	}
	*ret_identity = identity;
	return 0;
}

/* --- becoming --------------------------------------------------------------------------------- */

int identity_assume(const struct identity *identity)
{
	if (!identity->other)
		return 0;
	if (setgroups(identity->group_count, identity->groups) != 0 ||
		setresgid(identity->gid, identity->gid, identity->gid) != 0)
		return -1;
	return setresuid(identity->uid, identity->uid, identity->uid);
}

/* A change of user has the kernel forget both: whether we may be looked at, and PR_SET_PDEATHSIG.
 */
static void restore_process(const struct identity_stay *stay)
{
	(void)prctl(PR_SET_DUMPABLE, 1);
	(void)prctl(PR_SET_PDEATHSIG, stay->death_signal);
}

int identity_enter(const struct identity *identity, struct identity_stay *stay)
{
	if (!identity->other)
		return 0;
	(void)prctl(PR_GET_PDEATHSIG, &stay->death_signal);
	stay->group_count = getgroups(IDENTITY_GROUPS_MAX, stay->groups);
	if (stay->group_count < 0 || setgroups(identity->group_count, identity->groups) != 0)
		return -1;
	if (setegid(identity->gid) == 0 && seteuid(identity->uid) == 0)
		return 0;
	identity_leave(identity, stay);
	errno = EPERM;
	return -1;
}

void identity_leave(const struct identity *identity, const struct identity_stay *stay)
{
	const int saved = errno;

	if (!identity->other)
		return;
	CHECK(seteuid(getuid()) == 0);
	CHECK(setegid(getgid()) == 0);
	CHECK(setgroups((size_t)stay->group_count, stay->groups) == 0);
	restore_process(stay);
	errno = saved;
}

/* --- files ------------------------------------------------------------------------------------ */

void identity_own(const struct identity *identity, int fd)
{
	if (identity->other)
		(void)fchown(fd, identity->uid, identity->gid);
}

static int open_without_links(const char *path, int flags, mode_t mode)
{
	const struct open_how how = {.flags = (uint64_t)flags,
		.mode = flags & O_CREAT ? mode : 0,
		.resolve = RESOLVE_NO_SYMLINKS};

	return (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how);
}

static int open_as_manager(
	const struct identity *identity, const char *path, int flags, mode_t mode)
{
	int fd = -1;

	if (flags & O_CREAT) {
		fd = open_without_links(path, flags | O_EXCL, mode);
		if (fd >= 0)
			identity_own(identity, fd);
		else if (errno != EEXIST)
			return -1;
	}
	return fd >= 0 ? fd : open_without_links(path, flags & ~O_CREAT, 0);
}

int identity_open(const struct identity *identity, const char *path, int flags, mode_t mode)
{
	struct identity_stay stay;
	int fd;

	if (!identity->other)
		return open(path, flags, mode);
	if (identity_enter(identity, &stay) != 0)
		return -1;
	fd = open(path, flags, mode);
	identity_leave(identity, &stay);
	if (fd >= 0 || errno != EACCES)
		return fd;
	return open_as_manager(identity, path, flags, mode);
}
