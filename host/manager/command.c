/* Commands and their shepherds, the manager's side. Owned by the manager. */
#include "manager/command.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "manager/manager.h"
#include "manager/reaper.h"
#include "manager/spawn.h"
#include "wire/record.h"

#define LINE_MAX_SIZE 2048 /* bytes of one line of a shepherd's */

/* --- starting --------------------------------------------------------------------------------- */

/* The words for the shepherd, in `text` one behind the other, each with its NUL. */
static int add_word(struct buffer *text, const char *prefix, const char *value)
{
	return buffer_add(text, prefix, strlen(prefix)) != 0 ||
			       buffer_add(text, value, strlen(value) + 1) != 0
		       ? -1
		       : 0;
}

static int add_words(struct buffer *text, struct slice block, const char *key, const char *prefix)
{
	const char *found;
	const char *value;
	size_t offset = 0;

	while (record_next(block, &offset, &found, &value)) {
		if (strcmp(found, key) == 0 && add_word(text, prefix, value) != 0)
			return -1;
	}
	return 0;
}

/* A NULL-terminated list of the words in `text`. NULL when memory is out. */
static char **list_words(const struct buffer *text)
{
	size_t count = 0;
	char **words;

	for (size_t i = 0; i < text->size; i++)
		count += text->data[i] == '\0';
	words = calloc(count + 1, sizeof *words);
	for (size_t i = 0, at = 0; words != NULL && i < count; i++) {
		words[i] = text->data + at;
		at += strlen(text->data + at) + 1;
	}
	return words;
}

pid_t command_exec(
	const struct managed_instance *instance, int control, int out, int err, struct error *error)
{
	const struct buffer *terms = &instance->managed->terms.block;
	struct slice block = {terms->data, terms->size};
	struct buffer text = {0};
	char **words = NULL;
	pid_t pid;

	/* In the order that shepherd.h wants. */
	if (add_words(&text, block, "limit", "--limit=") == 0 &&
		add_words(&text, block, "env", "--env=") == 0 &&
		add_words(&text, block, "cwd", "--cwd=") == 0 &&
		add_words(&text, block, "user", "--user=") == 0 && add_word(&text, "", "--") == 0 &&
		add_words(&text, block, "argv", "") == 0)
		words = list_words(&text);
	if (words != NULL)
		pid = spawn_exec_shepherd(
			words, &instance->managed->manager->identity, control, out, err, error);
	else
		pid = error_set(error, ENOMEM, "no memory for a command's arguments");
	free(words);
	buffer_free(&text);
	return pid;
}

/* --- listening -------------------------------------------------------------------------------- */

static void on_started(struct child *child, pid_t pid)
{
	child->command_pid = pid;
	child->command_pidfd = pidfd_open(pid, 0);
	child_on_ready(child);
}

static void on_line(struct child *child, const char *line)
{
	int first = 0;
	int second = 0;
	int text = 0;

	if (sscanf(line, "started %d", &first) == 1) {
		on_started(child, first);
	} else if (sscanf(line, "exited %d %d", &first, &second) == 2) {
		child->command_status.si_code = second != 0 ? CLD_KILLED : CLD_EXITED;
		child->command_status.si_status = second != 0 ? second : first;
		child->command_ended = true;
	} else if (sscanf(line, "failed %*s %n", &text) >= 0 && text != 0) {
		child_on_refused(child, line + text, strcspn(line + text, "\n"));
	}
}

void command_read(struct child *child)
{
	char line[LINE_MAX_SIZE];

	while (child->control >= 0) {
		ssize_t received = recv(child->control, line, sizeof line - 1, MSG_DONTWAIT);

		if (received < 0)
			return; /* nothing yet; or the end, which its pidfd tells better */
		if (received == 0) {
			(void)uv_poll_stop(&child->control_poll);
			return;
		}
		line[received] = '\0';
		on_line(child, line);
	}
}

/* --- ending ----------------------------------------------------------------------------------- */

void command_signal(const struct child *child, int number)
{
	const unsigned char byte = (unsigned char)number;

	(void)send(child->control, &byte, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

void command_stop(const struct child *child)
{
	if (child->instance != NULL)
		command_signal(child, child->instance->managed->terms.stop_signal);
}

void command_on_gone(struct child *child)
{
	if (child->command_ended) {
		child->status.si_code = child->command_status.si_code;
		child->status.si_status = child->command_status.si_status;
	} else if (child->command_pidfd >= 0 &&
		   pidfd_send_signal(child->command_pidfd, SIGKILL, NULL, 0) == 0) {
		/* Its shepherd was killed. It is ours now, and unreaped, so the number is its
		 * group's. */
		(void)kill(-child->command_pid, SIGKILL);
	}
	/* Only what has left the session too may live, until the host stops. */
	if (!child->command_ended)
		reaper_kill_session(child->pid);
	fd_close(&child->command_pidfd);
}
