/*
 * What a process is confined to: its user, its directory, its resource limits, its environment.
 * Applied by a process to itself, between its start and the code it runs for somebody else.
 */
#ifndef PERIGEE_BASE_CONFINE_H
#define PERIGEE_BASE_CONFINE_H

#include "base/error.h"

/* Sets a resource limit: "nofile=1024" or "nofile=1024:4096", soft and hard, each a number or
 * "unlimited". Returns 0, or -1 with *error. */
int confine_limit(const char *limit, struct error *error);

/* Becomes `user`, with its groups: for good. Returns 0, or -1 with *error. */
int confine_user(const char *user, struct error *error);

/* Changes to a directory. Returns 0, or -1 with *error. */
int confine_directory(const char *path, struct error *error);

/* Sets a variable of the environment, "NAME=value", or takes one away, "NAME". Returns 0, or -1
 * with *error. */
int confine_variable(const char *variable, struct error *error);

#endif
