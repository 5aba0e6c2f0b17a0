/*
 * Content types: a table of what the web is made of, after the IANA registry. It is ours and not
 * /etc/mime.types, so that an app answers the same on every machine. No state; used by workers.
 */
#include "http/mime.h"

#include <stdlib.h>
#include <string.h>

#define TEXT(subtype) "text/" subtype "; charset=utf-8"

#define EXTENSION_SIZE 12 /* bytes; no extension in the table is longer */

struct mime {
	char extension[EXTENSION_SIZE];
	struct slice type;
};

/* In strcmp's order. */
static const struct mime table[] = {
	{"7z", SLICE("application/x-7z-compressed")},
	{"aac", SLICE("audio/aac")},
	{"apk", SLICE("application/vnd.android.package-archive")},
	{"apng", SLICE("image/apng")},
	{"atom", SLICE("application/atom+xml")},
	{"avi", SLICE("video/x-msvideo")},
	{"avif", SLICE("image/avif")},
	{"bin", SLICE("application/octet-stream")},
	{"bmp", SLICE("image/bmp")},
	{"bz2", SLICE("application/x-bzip2")},
	{"c", SLICE(TEXT("plain"))},
	{"cbor", SLICE("application/cbor")},
	{"cjs", SLICE(TEXT("javascript"))},
	{"conf", SLICE(TEXT("plain"))},
	{"css", SLICE(TEXT("css"))},
	{"csv", SLICE(TEXT("csv"))},
	{"deb", SLICE("application/vnd.debian.binary-package")},
	{"doc", SLICE("application/msword")},
	{"docx", SLICE("application/vnd.openxmlformats-officedocument.wordprocessingml.document")},
	{"eot", SLICE("application/vnd.ms-fontobject")},
	{"epub", SLICE("application/epub+zip")},
	{"flac", SLICE("audio/flac")},
	{"geojson", SLICE("application/geo+json")},
	{"gif", SLICE("image/gif")},
	{"glb", SLICE("model/gltf-binary")},
	{"gltf", SLICE("model/gltf+json")},
	{"gz", SLICE("application/gzip")},
	{"h", SLICE(TEXT("plain"))},
	{"heic", SLICE("image/heic")},
	{"htm", SLICE(TEXT("html"))},
	{"html", SLICE(TEXT("html"))},
	{"ico", SLICE("image/vnd.microsoft.icon")},
	{"ics", SLICE(TEXT("calendar"))},
	{"iso", SLICE("application/octet-stream")},
	{"jar", SLICE("application/java-archive")},
	{"jpeg", SLICE("image/jpeg")},
	{"jpg", SLICE("image/jpeg")},
	{"js", SLICE(TEXT("javascript"))},
	{"json", SLICE("application/json")},
	{"jsonl", SLICE("application/jsonl")},
	{"jsonld", SLICE("application/ld+json")},
	{"jxl", SLICE("image/jxl")},
	{"log", SLICE(TEXT("plain"))},
	{"lua", SLICE(TEXT("plain"))},
	{"m3u8", SLICE("application/vnd.apple.mpegurl")},
	{"m4a", SLICE("audio/mp4")},
	{"m4v", SLICE("video/mp4")},
	{"map", SLICE("application/json")},
	{"md", SLICE(TEXT("markdown"))},
	{"mid", SLICE("audio/midi")},
	{"mjs", SLICE(TEXT("javascript"))},
	{"mkv", SLICE("video/matroska")},
	{"mov", SLICE("video/quicktime")},
	{"mp3", SLICE("audio/mpeg")},
	{"mp4", SLICE("video/mp4")},
	{"mpd", SLICE("application/dash+xml")},
	{"mpeg", SLICE("video/mpeg")},
	{"mpg", SLICE("video/mpeg")},
	{"odp", SLICE("application/vnd.oasis.opendocument.presentation")},
	{"ods", SLICE("application/vnd.oasis.opendocument.spreadsheet")},
	{"odt", SLICE("application/vnd.oasis.opendocument.text")},
	{"oga", SLICE("audio/ogg")},
	{"ogg", SLICE("audio/ogg")},
	{"ogv", SLICE("video/ogg")},
	{"opus", SLICE("audio/ogg")},
	{"otf", SLICE("font/otf")},
	{"pdf", SLICE("application/pdf")},
	{"png", SLICE("image/png")},
	{"ppt", SLICE("application/vnd.ms-powerpoint")},
	{"pptx",
		SLICE("application/vnd.openxmlformats-officedocument.presentationml.presentation")},
	{"ps", SLICE("application/postscript")},
	{"rar", SLICE("application/vnd.rar")},
	{"rss", SLICE("application/rss+xml")},
	{"rtf", SLICE("application/rtf")},
	{"sh", SLICE(TEXT("plain"))},
	{"sql", SLICE("application/sql")},
	{"srt", SLICE(TEXT("plain"))},
	{"svg", SLICE("image/svg+xml")},
	{"svgz", SLICE("image/svg+xml")},
	{"tar", SLICE("application/x-tar")},
	{"tgz", SLICE("application/gzip")},
	{"tif", SLICE("image/tiff")},
	{"tiff", SLICE("image/tiff")},
	{"toml", SLICE("application/toml")},
	{"ts", SLICE("video/mp2t")},
	{"tsv", SLICE(TEXT("tab-separated-values"))},
	{"ttc", SLICE("font/collection")},
	{"ttf", SLICE("font/ttf")},
	{"txt", SLICE(TEXT("plain"))},
	{"vcf", SLICE(TEXT("vcard"))},
	{"vtt", SLICE(TEXT("vtt"))},
	{"wasm", SLICE("application/wasm")},
	{"wav", SLICE("audio/wav")},
	{"weba", SLICE("audio/webm")},
	{"webm", SLICE("video/webm")},
	{"webmanifest", SLICE("application/manifest+json")},
	{"webp", SLICE("image/webp")},
	{"woff", SLICE("font/woff")},
	{"woff2", SLICE("font/woff2")},
	{"xhtml", SLICE("application/xhtml+xml")},
	{"xls", SLICE("application/vnd.ms-excel")},
	{"xlsx", SLICE("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet")},
	{"xml", SLICE(TEXT("xml"))},
	{"xsl", SLICE("application/xslt+xml")},
	{"xz", SLICE("application/x-xz")},
	{"yaml", SLICE("application/yaml")},
	{"yml", SLICE("application/yaml")},
	{"zip", SLICE("application/zip")},
	{"zst", SLICE("application/zstd")},
};

static int compare(const void *extension, const void *entry)
{
	return strcmp(extension, ((const struct mime *)entry)->extension);
}

/* The lower-case extension; "" when the name has none or a longer one than any of the table. */
static void extension_of(struct slice path, char ret_extension[EXTENSION_SIZE])
{
	size_t start = path.size;
	size_t size;

	ret_extension[0] = '\0';
	while (start > 0 && path.data[start - 1] != '.' && path.data[start - 1] != '/')
		start--;
	size = path.size - start;
	if (start == 0 || path.data[start - 1] != '.' || size >= EXTENSION_SIZE)
		return;
	for (size_t i = 0; i < size; i++) {
		char c = path.data[start + i];

		ret_extension[i] = (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
	}
	ret_extension[size] = '\0';
}

struct slice http_mime_type(struct slice path)
{
	char extension[EXTENSION_SIZE];
	const struct mime *found;

	extension_of(path, extension);
	found = bsearch(extension, table, sizeof table / sizeof table[0], sizeof table[0], compare);
	return found == NULL ? SLICE("application/octet-stream") : found->type;
}
