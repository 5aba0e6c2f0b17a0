/* Who listens at an address, from /proc: the socket's inode, then the process that has it open. */
#include <dirent.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "manager/listen.h"

#define TCP_STATE_LISTEN 10 /* 0A in /proc/net/tcp */

/* The inode of the socket listening at `port`, from one table; 0 when there is none. */
static unsigned long find_inode(const char *table, unsigned port)
{
	FILE *file = fopen(table, "re");
	char line[512];
	unsigned long found = 0;

	if (file == NULL)
		return 0;
	while (found == 0 && fgets(line, sizeof line, file) != NULL) {
		unsigned local_port;
		unsigned state;
		unsigned long inode;

		/* "sl local:port remote:port state queues timer retransmits uid timeout inode" */
		if (sscanf(line, " %*[^:]: %*[0-9A-F]:%x %*s %x %*s %*s %*s %*s %*s %lu",
			    &local_port, &state, &inode) == 3 &&
			local_port == port && state == TCP_STATE_LISTEN)
			found = inode;
	}
	(void)fclose(file);
	return found;
}

static int has_socket(const char *pid, const char *link_wanted)
{
	char path[64];
	char link[64];
	struct dirent *entry;
	DIR *directory;
	int found = 0;

	(void)snprintf(path, sizeof path, "/proc/%.16s/fd", pid);
	directory = opendir(path);
	if (directory == NULL)
		return 0;
	while (!found && (entry = readdir(directory)) != NULL) {
		ssize_t size = readlinkat(dirfd(directory), entry->d_name, link, sizeof link - 1);

		if (size < 0)
			continue;
		link[size] = '\0';
		found = strcmp(link, link_wanted) == 0;
	}
	(void)closedir(directory);
	return found;
}

/* When it started, in ticks since boot: field 22 of proc(5)'s stat, 20 behind the name. */
static unsigned long long read_start(const char *pid)
{
	char path[64];
	char line[1024];
	unsigned long long start = ULLONG_MAX;
	const char *behind;
	FILE *file;

	(void)snprintf(path, sizeof path, "/proc/%.16s/stat", pid);
	file = fopen(path, "re");
	if (file == NULL)
		return start;
	behind = fgets(line, sizeof line, file) != NULL ? strrchr(line, ')') : NULL;
	for (int field = 2; behind != NULL && field < 22; field++)
		behind = strchr(behind + 1, ' ');
	if (behind != NULL)
		start = strtoull(behind, NULL, 10);
	(void)fclose(file);
	return start;
}

static void read_name(const char *pid, char *name, size_t size)
{
	char path[64];
	FILE *file;

	(void)snprintf(name, size, "a process");
	(void)snprintf(path, sizeof path, "/proc/%.16s/comm", pid);
	file = fopen(path, "re");
	if (file == NULL)
		return;
	if (fgets(name, (int)size, file) != NULL)
		name[strcspn(name, "\n")] = '\0';
	(void)fclose(file);
}

int listen_owner(const struct sockaddr_storage *address, char *text, size_t size)
{
	/* The port is at the same place in both families' addresses. */
	const unsigned port = ntohs(((const struct sockaddr_in *)address)->sin_port);
	unsigned long inode = find_inode("/proc/net/tcp", port);
	unsigned long long oldest = ULLONG_MAX;
	struct dirent *entry;
	char wanted[64];
	char name[64];
	DIR *processes;

	if (inode == 0)
		inode = find_inode("/proc/net/tcp6", port);
	processes = inode == 0 ? NULL : opendir("/proc");
	if (processes == NULL)
		return -1;
	(void)snprintf(wanted, sizeof wanted, "socket:[%lu]", inode);
	/* Of a family that shares it, the eldest. */
	while ((entry = readdir(processes)) != NULL) {
		unsigned long long start;

		if (strtol(entry->d_name, NULL, 10) <= 0 || !has_socket(entry->d_name, wanted))
			continue;
		start = read_start(entry->d_name);
		if (start >= oldest)
			continue;
		oldest = start;
		read_name(entry->d_name, name, sizeof name);
		(void)snprintf(text, size, "%s (pid %.16s)", name, entry->d_name);
	}
	(void)closedir(processes);
	return oldest != ULLONG_MAX ? 0 : -1;
}
