/* sd_notify(3), without the library. Owned by the manager. */
#include "manager/notify.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/fd.h"

/* --- saying ----------------------------------------------------------------------------------- */

void notify_flush(struct notify *notify)
{
	ssize_t sent;

	if (notify->socket < 0 || notify->pending == 0)
		return;
	sent = sendto(notify->socket, notify->text, notify->pending, MSG_DONTWAIT | MSG_NOSIGNAL,
		(const struct sockaddr *)&notify->address, notify->address_size);
	/* Its reader is behind: later. Whatever else is wrong, nobody hears us. */
	if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS))
		return;
	notify->pending = 0;
}

/* Adds a whole line, or nothing of it. */
__attribute__((format(printf, 2, 3))) static void add(
	struct notify *notify, const char *format, ...)
{
	const size_t room = sizeof notify->text - notify->pending;
	va_list arguments;
	int size;

	if (notify->socket < 0)
		return;
	va_start(arguments, format);
	size = vsnprintf(notify->text + notify->pending, room, format, arguments);
	va_end(arguments);
	if (size > 0 && (size_t)size < room)
		notify->pending += (size_t)size;
}

void notify_status(struct notify *notify, const char *format, ...)
{
	char text[512];
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	text[strcspn(text, "\n")] = '\0';
	add(notify, "STATUS=%s\n", text);
	notify_flush(notify);
}

void notify_ready(struct notify *notify)
{
	if (notify->ready)
		return;
	notify->ready = true;
	add(notify, "READY=1\nMAINPID=%d\n", (int)getpid());
	notify_flush(notify);
}

void notify_reloading(struct notify *notify)
{
	struct timespec now;

	if (!notify->ready)
		return; /* it still starts, or says so already */
	notify->ready = false;
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	add(notify, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64 "\n",
		(uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000);
	notify_flush(notify);
}

void notify_stopping(struct notify *notify)
{
	add(notify, "STOPPING=1\nSTATUS=stopping\n");
	notify_flush(notify);
}

/* --- the watchdog ----------------------------------------------------------------------------- */

static void on_heartbeat(uv_timer_t *timer)
{
	struct notify *notify = timer->data;

	if (!notify->alive(notify->context))
		return;
	add(notify, "WATCHDOG=1\n");
	notify_flush(notify);
}

void notify_watch(
	struct notify *notify, uv_loop_t *loop, bool (*alive)(void *context), void *context)
{
	uint64_t period = notify->watchdog / 2 > 0 ? notify->watchdog / 2 : 1;

	if (notify->socket < 0 || notify->watchdog == 0)
		return;
	notify->alive = alive;
	notify->context = context;
	CHECK(uv_timer_init(loop, &notify->heartbeat) == 0);
	notify->heartbeat.data = notify;
	CHECK(uv_timer_start(&notify->heartbeat, on_heartbeat, period, period) == 0);
}

/* WATCHDOG_USEC, unless WATCHDOG_PID says that it is for another process. */
static uint64_t read_watchdog(void)
{
	const char *interval = getenv("WATCHDOG_USEC");
	const char *pid = getenv("WATCHDOG_PID");

	if (interval == NULL || (pid != NULL && strtol(pid, NULL, 10) != (long)getpid()))
		return 0;
	return strtoull(interval, NULL, 10) / 1000;
}

/* --- the beginning ---------------------------------------------------------------------------- */

/* "/path", or "@name" for one in the abstract namespace. */
static int read_address(struct notify *notify, const char *name)
{
	const size_t size = strlen(name);
	char *path = notify->address.sun_path;

	if ((name[0] != '/' && name[0] != '@') || size < 2 ||
		size >= sizeof notify->address.sun_path)
		return -1;
	notify->address.sun_family = AF_UNIX;
	memcpy(path, name, size + 1);
	if (name[0] == '@')
		path[0] = '\0'; /* such a name has no end but its size */
	notify->address_size =
		(socklen_t)(offsetof(struct sockaddr_un, sun_path) + size + (name[0] == '/'));
	return 0;
}

int notify_open(struct notify *notify, struct error *error)
{
	const char *name = getenv("NOTIFY_SOCKET");

	*notify = (struct notify){.socket = -1};
	if (name == NULL || name[0] == '\0')
		return 0;
	if (read_address(notify, name) != 0)
		return error_set(error, EINVAL,
			"NOTIFY_SOCKET is \"%s\", which is neither a path nor @name", name);
	notify->socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (notify->socket < 0)
		return error_set_errno(error, "cannot make a socket for NOTIFY_SOCKET");
	notify->watchdog = read_watchdog();
	notify_take_back();
	return 0;
}

void notify_pass_on(struct notify *notify)
{
	char name[sizeof notify->address.sun_path + 1];
	char interval[24];

	if (notify->socket < 0)
		return;
	notify_flush(notify);
	(void)snprintf(name, sizeof name, "%s%s", notify->address.sun_path[0] == '\0' ? "@" : "",
		notify->address.sun_path + (notify->address.sun_path[0] == '\0'));
	(void)setenv("NOTIFY_SOCKET", name, 1);
	(void)snprintf(interval, sizeof interval, "%" PRIu64, notify->watchdog * 1000);
	if (notify->watchdog != 0)
		(void)setenv("WATCHDOG_USEC", interval, 1);
}

void notify_take_back(void)
{
	(void)unsetenv("NOTIFY_SOCKET");
	(void)unsetenv("WATCHDOG_USEC");
	(void)unsetenv("WATCHDOG_PID");
}
