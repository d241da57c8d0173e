/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reservation states as text, to be kept where the configuration is. The first line names the
 * format; a disk is one line and each of its registrants one more:
 *
 *   karst-reservations 1
 *   disk UUID generation N type T registrants N
 *   host KIND ID KEY [holder]
 *
 * ID and KEY are hexadecimal. What does not read back exactly is damage, and refused as a whole.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/resv_impl.h"

#define KEEP_FIRST "karst-reservations 1\n"

enum { KEEP_LINE_BYTES = 2 * RESV_ID_BYTES + 64 };

static void host_line(char *line, const struct resv_state *state, unsigned i)
{
	const struct resv_registrant *reg = &state->reg[i];
	bool holder = state->type != RESV_NONE && state->holder == i;
	int n = snprintf(line, KEEP_LINE_BYTES, "host %u ", reg->host.kind);

	for (unsigned at = 0; at < reg->host.len; at++)
		n += snprintf(line + n, 3, "%02x", reg->host.id[at]);
	snprintf(line + n, KEEP_LINE_BYTES - (size_t)n, " %016" PRIx64 "%s\n", reg->key,
		 holder ? " holder" : "");
}

static void state_lines(FILE *out, const struct resv_state *state)
{
	char uuid[UUID_TEXT_BYTES], line[KEEP_LINE_BYTES];

	uuid_format(&state->disk, uuid);
	fprintf(out, "disk %s generation %" PRIu32 " type %u registrants %u\n", uuid,
		state->generation, state->type, state->count);
	for (unsigned i = 0; i < state->count; i++) {
		host_line(line, state, i);
		fputs(line, out);
	}
}

char *resv_keep_format(const struct resv_state *const *list, unsigned count)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return NULL;
	fputs(KEEP_FIRST, out);
	for (unsigned i = 0; i < count; i++)
		if (list[i]->ptpl)
			state_lines(out, list[i]);
	if (ferror(out) | fclose(out)) {
		free(text);
		return NULL;
	}
	return text;
}

int resv_keep_begin(const char **text)
{
	size_t len = strlen(KEEP_FIRST);

	if (strncmp(*text, KEEP_FIRST, len) != 0)
		return -EBADMSG;
	*text += len;
	return 0;
}

/* The next line, without its end, in LINE; false: there is none, or it is too long. */
static bool line_next(const char **text, char line[KEEP_LINE_BYTES])
{
	const char *end = strchr(*text, '\n');
	size_t len;

	if (!end)
		return false;
	len = (size_t)(end - *text);
	if (len >= KEEP_LINE_BYTES)
		return false;
	memcpy(line, *text, len);
	line[len] = '\0';
	*text = end + 1;
	return true;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Bytes that HEX spells, at most RESV_ID_BYTES; 0: it does not. */
static size_t hex_bytes(const char *hex, uint8_t *bytes)
{
	size_t n = 0;

	for (; hex[0]; hex += 2, n++) {
		int high = hex_digit(hex[0]), low = high < 0 ? -1 : hex_digit(hex[1]);

		if (low < 0 || n == RESV_ID_BYTES)
			return 0;
		bytes[n] = (uint8_t)(high << 4 | low);
	}
	return n;
}

static bool host_parse(const char *line, struct resv_state *state)
{
	struct resv_registrant *reg = &state->reg[state->count];
	char id[2 * RESV_ID_BYTES + 1], again[KEEP_LINE_BYTES], holder[8] = "";
	uint8_t bytes[RESV_ID_BYTES];
	unsigned kind;
	size_t len;

	if (sscanf(line, "host %u %476s %" SCNx64 " %7s", &kind, id, &reg->key, holder) < 3)
		return false;
	len = hex_bytes(id, bytes);
	if (len == 0 || (kind != RESV_HOST_NVME && kind != RESV_HOST_SCSI))
		return false;
	resv_host_set(&reg->host, (enum resv_host_kind)kind, bytes, len);
	if (strcmp(holder, "holder") == 0)
		state->holder = state->count;
	host_line(again, state, state->count);
	again[strcspn(again, "\n")] = '\0';
	state->count++;
	return strcmp(again, line) == 0;
}

static bool hosts_parse(const char **text, struct resv_state *state, unsigned count)
{
	char line[KEEP_LINE_BYTES];

	state->holder = UINT16_MAX;
	while (state->count < count)
		if (!line_next(text, line) || !host_parse(line, state))
			return false;
	for (unsigned i = 0; i < count; i++)
		for (unsigned k = 0; k < i; k++)
			if (resv_host_equal(&state->reg[i].host, &state->reg[k].host))
				return false;
	return state->type == RESV_NONE || state->holder < count;
}

struct resv_state *resv_keep_parse(const char **text, int *rc)
{
	char line[KEEP_LINE_BYTES], name[UUID_TEXT_BYTES];
	unsigned generation, type, count;
	struct resv_state *state;
	struct uuid uuid;

	*rc = 0;
	if (!**text)
		return NULL;
	*rc = -EBADMSG;
	if (!line_next(text, line) ||
	    sscanf(line, "disk %36s generation %u type %u registrants %u", name, &generation, &type,
		   &count) != 4 ||
	    uuid_parse(name, &uuid) || type >= RESV_TYPE_COUNT || count > RESV_REGISTRANTS_MAX)
		return NULL;
	state = resv_state_new(&uuid, count);
	if (!state)
		return NULL;
	state->generation = generation;
	state->type = (uint8_t)type;
	state->ptpl = true;
	if (!hosts_parse(text, state, count)) {
		free(state);
		return NULL;
	}
	resv_state_seal(state);
	*rc = 0;
	return state;
}
