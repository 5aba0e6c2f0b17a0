/* The title of a process, as ps(1) shows it. */
#ifndef PERIGEE_WORKER_TITLE_H
#define PERIGEE_WORKER_TITLE_H

/* Remembers where the arguments are; before any other use of them ends. */
void title_init(int argc, char **argv);

/* Writes "perigee: …" over them, cut to their room, and a short name for the thread. */
__attribute__((format(printf, 1, 2))) void title_set(const char *format, ...);

#endif
