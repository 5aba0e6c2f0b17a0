/*
 * Asks a server on 127.0.0.1 at a given rate, whether it keeps up or not, and says how long the
 * answers took: for latency below saturation, which a client that waits for its answers cannot see.
 *
 *   pace PORT CONNECTIONS RATE SECONDS PATH
 *
 * Requests are due at random times (a Poisson process of RATE a second, the same one each time). A
 * request takes a connection that has none under way, or waits for one; its latency runs from when
 * it was due. The first fifth of the time is not counted. Prints "ANSWERS n RATE r P50 µs P99 µs
 * MOST µs". Uses all of its core, as to sleep would cost precision.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS_MAX 4096
#define ANSWER_SIZE     4096 /* bytes of the longest answer */
#define DUE_MAX         65536
#define EVENTS          256
#define PATIENCE        2000000000 /* ns after the last request for its answer */

struct connection {
	int fd;
	uint64_t due; /* ns; of the request under way */
	size_t size;  /* bytes of the answer so far */
	char answer[ANSWER_SIZE];
};

static struct connection connections[CONNECTIONS_MAX];
static struct connection *idle[CONNECTIONS_MAX];
static int idle_count, connection_count;
static uint64_t due[DUE_MAX]; /* a ring of requests that wait for a connection */
static size_t due_first, due_count;
static char request[512];
static size_t request_size;
static uint32_t *latencies; /* ns */
static size_t latency_count, latency_room;
static uint64_t random_state = 88172645463325252U;
static uint64_t counted_from;

static uint64_t now(void)
{
	struct timespec time;

	(void)clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000U + (uint64_t)time.tv_nsec;
}

_Noreturn static void fail(const char *what)
{
	(void)fprintf(stderr, "pace: %s%s%s\n", what, errno == 0 ? "" : ": ",
		errno == 0 ? "" : strerror(errno));
	exit(1);
}

/* From 0, exclusive, to 1. */
static double random_part(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return ((double)(random_state >> 11) + 1.0) / 9007199254740993.0;
}

static void open_connections(int port, int epoll)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	const int one = 1;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	for (int i = 0; i < connection_count; i++) {
		struct connection *connection = &connections[i];
		struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};

		connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (connect(connection->fd, (const struct sockaddr *)&address, sizeof address) != 0)
			fail("connect");
		(void)setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
		(void)fcntl(connection->fd, F_SETFL, O_NONBLOCK);
		if (epoll_ctl(epoll, EPOLL_CTL_ADD, connection->fd, &event) != 0)
			fail("epoll_ctl");
		idle[idle_count++] = connection;
	}
}

static void ask(uint64_t when)
{
	struct connection *connection = idle[--idle_count];

	connection->due = when;
	connection->size = 0;
	if (send(connection->fd, request, request_size, MSG_NOSIGNAL) != (ssize_t)request_size)
		fail("send");
}

/* A request is due: asks, or has it wait. */
static void begin(uint64_t when)
{
	if (idle_count != 0) {
		ask(when);
		return;
	}
	if (due_count == DUE_MAX) {
		errno = 0;
		fail("the server is too slow for this rate");
	}
	due[(due_first + due_count++) % DUE_MAX] = when;
}

static void end(struct connection *connection)
{
	uint64_t took = now() - connection->due;

	if (memcmp(connection->answer, "HTTP/1.1 200", 12) != 0) {
		errno = 0;
		fail("an answer is no 200");
	}
	if (connection->due >= counted_from && latency_count < latency_room)
		latencies[latency_count++] = took < UINT32_MAX ? (uint32_t)took : UINT32_MAX;
	idle[idle_count++] = connection;
	if (due_count != 0) {
		ask(due[due_first]);
		due_first = (due_first + 1) % DUE_MAX;
		due_count--;
	}
}

static int is_whole(struct connection *connection)
{
	const char *stop, *length;

	connection->answer[connection->size] = '\0';
	stop = strstr(connection->answer, "\r\n\r\n");
	length = strcasestr(connection->answer, "\r\ncontent-length:");
	if (stop == NULL || length == NULL || length > stop)
		return 0;
	return connection->size >=
	       (size_t)(stop + 4 - connection->answer) + strtoul(length + 17, NULL, 10);
}

static void take(struct connection *connection)
{
	ssize_t size = recv(connection->fd, connection->answer + connection->size,
		ANSWER_SIZE - 1 - connection->size, 0);

	if (size < 0 && errno == EAGAIN)
		return;
	if (size <= 0)
		fail("recv");
	connection->size += (size_t)size;
	if (is_whole(connection))
		end(connection);
}

static void run(int epoll, double rate, double seconds)
{
	struct epoll_event events[EVENTS];
	uint64_t start = now();
	uint64_t stop = start + (uint64_t)(seconds * 1e9);
	double next = (double)start;

	counted_from = start + (stop - start) / 5;
	for (;;) {
		uint64_t time = now();
		int count;

		while (next < (double)time && next < (double)stop) {
			begin((uint64_t)next);
			next -= log(random_part()) * 1e9 / rate;
		}
		if (next >= (double)stop && idle_count == connection_count && due_count == 0)
			return;
		if (time > stop + PATIENCE) {
			errno = 0;
			fail("answers are missing");
		}
		count = epoll_wait(epoll, events, EVENTS, 0);
		for (int i = 0; i < count; i++)
			take(events[i].data.ptr);
	}
}

static int compare(const void *left, const void *right)
{
	uint32_t a = *(const uint32_t *)left;
	uint32_t b = *(const uint32_t *)right;

	return (a > b) - (a < b);
}

static double quantile(double part)
{
	return latencies[(size_t)((double)(latency_count - 1) * part)] / 1000.0;
}

int main(int argc, char **argv)
{
	double rate = argc == 6 ? strtod(argv[3], NULL) : 0;
	double seconds = argc == 6 ? strtod(argv[4], NULL) : 0;
	int epoll = epoll_create1(EPOLL_CLOEXEC);

	connection_count = argc == 6 ? atoi(argv[2]) : 0;
	if (connection_count < 1 || connection_count > CONNECTIONS_MAX || rate < 1 ||
		seconds <= 0) {
		(void)fprintf(stderr, "usage: pace PORT CONNECTIONS RATE SECONDS PATH\n");
		return 2;
	}
	latency_room = (size_t)(rate * seconds * 1.2) + 1000;
	latencies = malloc(latency_room * sizeof *latencies);
	if (latencies == NULL || epoll < 0)
		fail("start");
	request_size = (size_t)snprintf(
		request, sizeof request, "GET %.400s HTTP/1.1\r\nHost: localhost\r\n\r\n", argv[5]);
	open_connections(atoi(argv[1]), epoll);
	run(epoll, rate, seconds);
	if (latency_count == 0)
		fail("nothing was measured");
	qsort(latencies, latency_count, sizeof *latencies, compare);
	(void)printf("ANSWERS %zu RATE %.0f P50 %.1f P99 %.1f MOST %.1f\n", latency_count,
		(double)latency_count / (seconds * 0.8), quantile(0.5), quantile(0.99),
		latencies[latency_count - 1] / 1000.0);
	return 0;
}
