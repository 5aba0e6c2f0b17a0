/* Marks the functions of http_abi.h, which Lua finds in the program by name. */
#ifndef PERIGEE_HTTP_EXPORT_H
#define PERIGEE_HTTP_EXPORT_H

#define HTTP_EXPORT __attribute__((visibility("default")))

#endif
