/* The only C++ file: dragonbox is a C++ header. No state, no exceptions. Runs where Lua does. */
#include "json/shortest.h"

#include <dragonbox/dragonbox.h>

uint64_t json_shortest(double number, int *exponent)
{
	auto decimal = jkj::dragonbox::to_decimal(number, jkj::dragonbox::policy::sign::ignore);

	*exponent = decimal.exponent;
	return decimal.significand;
}
