/*
 * The shortest decimal that reads as a given double: a C face for a C++ header. No state.
 */
#ifndef PERIGEE_JSON_SHORTEST_H
#define PERIGEE_JSON_SHORTEST_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* number = digits × 10^*exponent, for a finite number above 0; digits does not end in 0. Returns
 * the digits. */
uint64_t json_shortest(double number, int *exponent);

#ifdef __cplusplus
}
#endif

#endif
