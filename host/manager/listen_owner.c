/* Who listens at an address, from /proc: the socket's inode, then the process that has it open. */
#include <dirent.h>
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
	struct dirent *entry;
	char wanted[64];
	char name[64];
	DIR *processes;
	int result = -1;

	if (inode == 0)
		inode = find_inode("/proc/net/tcp6", port);
	processes = inode == 0 ? NULL : opendir("/proc");
	if (processes == NULL)
		return -1;
	(void)snprintf(wanted, sizeof wanted, "socket:[%lu]", inode);
	while (result != 0 && (entry = readdir(processes)) != NULL) {
		if (strtol(entry->d_name, NULL, 10) <= 0 || !has_socket(entry->d_name, wanted))
			continue;
		read_name(entry->d_name, name, sizeof name);
		(void)snprintf(text, size, "%s (pid %.16s)", name, entry->d_name);
		result = 0;
	}
	(void)closedir(processes);
	return result;
}
