/* SPDX-License-Identifier: BSD-3-Clause */
/* The last lines of a session, in a ring; the same line twice in a row is kept once. */
#include "boot/console.h"

#include <stdlib.h>
#include <string.h>

void history_add(struct history *h, const char *text)
{
	const char *last = history_at(h, 1);
	char **slot = &h->line[h->count % HISTORY_LINES];
	char *copy;

	if (text[0] == '\0' || (last && strcmp(last, text) == 0))
		return;
	copy = strdup(text);
	if (!copy)
		return;
	free(*slot);
	*slot = copy;
	h->count++;
}

const char *history_at(const struct history *h, unsigned back)
{
	if (back == 0 || back > h->count || back > HISTORY_LINES)
		return NULL;
	return h->line[(h->count - back) % HISTORY_LINES];
}

unsigned history_find(const struct history *h, unsigned back, const char *pattern)
{
	const char *text;

	while ((text = history_at(h, ++back)))
		if (strstr(text, pattern))
			return back;
	return 0;
}

void history_free(struct history *h)
{
	for (unsigned i = 0; i < HISTORY_LINES; i++)
		free(h->line[i]);
	*h = (struct history){ 0 };
}
