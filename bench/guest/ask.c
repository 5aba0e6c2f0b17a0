/*
 * Asks a server on 127.0.0.1 over and over, for bench/instructions: so many rounds in which every
 * connection sends a GET and then every connection waits for its answer.
 *
 *   ask PORT CONNECTIONS ROUNDS PATH
 *
 * Statically linked, because the guest it runs in has few libraries. Exit status 0 when every
 * answer was a 200 that came in one piece.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECTIONS_MAX 1024
#define CONNECT_TRIES   500
#define CONNECT_PAUSE   20000 /* µs between two tries */

static int connect_to(int port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	const int one = 1;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	for (int i = 0; i < CONNECT_TRIES; i++) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);

		if (connect(fd, (const struct sockaddr *)&address, sizeof address) == 0) {
			(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
			return fd;
		}
		(void)close(fd);
		(void)usleep(CONNECT_PAUSE);
	}
	return -1;
}

static int ask(const int *fds, int connections, const char *request, size_t size)
{
	static char answer[65536];

	for (int i = 0; i < connections; i++) {
		if (send(fds[i], request, size, 0) != (ssize_t)size)
			return -1;
	}
	for (int i = 0; i < connections; i++) {
		ssize_t received = recv(fds[i], answer, sizeof answer, 0);

		if (received < 12 || memcmp(answer, "HTTP/1.1 200", 12) != 0)
			return -1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	static int fds[CONNECTIONS_MAX];
	char request[1024];
	int port = argc == 5 ? atoi(argv[1]) : 0;
	int connections = argc == 5 ? atoi(argv[2]) : 0;
	int size;

	if (connections < 1 || connections > CONNECTIONS_MAX) {
		(void)fprintf(stderr, "usage: ask PORT CONNECTIONS ROUNDS PATH\n");
		return 2;
	}
	size = snprintf(
		request, sizeof request, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", argv[4]);
	for (int i = 0; i < connections; i++) {
		fds[i] = connect_to(port);
		if (fds[i] < 0) {
			(void)fprintf(stderr, "ask: no connection\n");
			return 1;
		}
	}
	for (int rounds = atoi(argv[3]); rounds > 0; rounds--) {
		if (ask(fds, connections, request, (size_t)size) != 0) {
			(void)fprintf(stderr, "ask: no 200\n");
			return 1;
		}
	}
	return 0;
}
