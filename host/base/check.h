/*
 * Assertions that stay on in release builds.
 *
 * CHECK        cannot be false unless Perigee has a bug; the process aborts and says where.
 * UNREACHABLE  control cannot come here; the text says why.
 *
 * What the world can cause (a full disk, a bad message) is never checked this way: it is an error
 * value, see error.h.
 */
#ifndef PERIGEE_BASE_CHECK_H
#define PERIGEE_BASE_CHECK_H

#define CHECK(condition) ((condition) ? (void)0 : check_failed(__FILE__, __LINE__, #condition))

#define UNREACHABLE(why) check_failed(__FILE__, __LINE__, why)

_Noreturn void check_failed(const char *file, int line, const char *what);

#endif
