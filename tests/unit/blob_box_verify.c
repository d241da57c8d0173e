/* SPDX-License-Identifier: BSD-3-Clause */
/* Whether a store is what the model says: now, or as a crash may have left it. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/blob_box.h"

/* What is wrong, written to TEXT; false, for `return wrong(…)`. */
struct verdict {
	char *text;
	size_t bytes;
};

__attribute__((format(printf, 2, 3)))
static bool wrong(const struct verdict *verdict, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(verdict->text, verdict->bytes, fmt, ap);
	va_end(ap);
	return false;
}

/* ---- which volumes there are ---- */

static unsigned volumes_in(const struct store *s)
{
	unsigned count = 0;

	for (const struct blob *b = blob_next(s, NULL); b; b = blob_next(s, b))
		count += b != s->super_blob;
	return count;
}

static bool volume_is(const struct blob_box *box, const struct box_state *state,
		      const struct box_volume *v, const struct verdict *verdict)
{
	char path[128], name[BS_VOLUME_NAME_BYTES];
	const char *parent = v->parent < 0 ? "" : state->volume[v->parent].name;
	struct volume_info info;
	struct blob *b;

	snprintf(path, sizeof(path), "%s/%s", box->store->name, v->name);
	b = volume_find(path);
	if (!b)
		return wrong(verdict, "%s: is not there", v->name);
	volume_info(b, &info, name);
	if (info.damage)
		return wrong(verdict, "%s: damaged: %s", v->name, info.damage);
	if (info.size_bytes != (uint64_t)v->clusters * BOX_CLUSTER)
		return wrong(verdict, "%s: is of %" PRIu64 " bytes, not of %u clusters", v->name,
			     info.size_bytes, v->clusters);
	if (strcmp(info.parent, parent) != 0)
		return wrong(verdict, "%s: its parent is '%s', not '%s'", v->name, info.parent,
			     parent);
	if (info.readonly != (v->snapshot || v->readonly))
		return wrong(verdict, "%s: read-only is %d", v->name, info.readonly);
	if (info.clones != box_clones(state, v))
		return wrong(verdict, "%s: has %u clones, not %u", v->name, info.clones,
			     box_clones(state, v));
	return true;
}

static bool volumes_are(const struct blob_box *box, const struct box_state *state,
			const struct verdict *verdict)
{
	unsigned count = 0;

	for (unsigned i = 0; i < BOX_VOLUMES; i++) {
		const struct box_volume *v = &state->volume[i];

		if (!v->used)
			continue;
		count++;
		if (!volume_is(box, state, v, verdict))
			return false;
	}
	if (volumes_in(box->store) != count)
		return wrong(verdict, "%u volumes, not %u", volumes_in(box->store), count);
	return true;
}

/* ---- what they hold ---- */

void box_verify(struct blob_box *box)
{
	char text[200];
	struct verdict verdict = { text, sizeof(text) };

	if (!volumes_are(box, &box->now, &verdict))
		box_fail(box, "%s", text);
	for (unsigned i = 0; i < BOX_VOLUMES; i++) {
		const struct box_volume *v = &box->now.volume[i];
		unsigned blocks = v->clusters * BOX_CLUSTER_BLOCKS;

		if (!v->used)
			continue;
		box_read(box, v, 0, blocks);
		for (unsigned lba = 0; lba < blocks; lba++) {
			uint32_t stamp = box_block_stamp(&box_memory[lba * BOX_WORDS], lba);

			if (stamp != v->latest[lba])
				box_fail(box, "%s: block %u holds %" PRIx32 ", not %" PRIx32,
					 v->name, lba, stamp, v->latest[lba]);
		}
	}
}

/* LATER: the same volume when the operation that was interrupted has been done, or NULL. */
static bool block_may_be(const struct box_volume *v, const struct box_volume *later,
			 uint32_t newest, unsigned lba, uint32_t stamp)
{
	if (stamp == BOX_GARBAGE)
		return false;
	if (stamp == v->settled[lba])
		return true;
	if (stamp == 0)
		return v->zeroed[lba] || (later && later->latest[lba] == 0);
	return stamp > v->since[lba] && stamp <= newest;
}

static bool holds(struct blob_box *box, const struct box_volume *v, const struct box_volume *later,
		  uint32_t newest, const struct verdict *verdict)
{
	unsigned blocks = v->clusters * BOX_CLUSTER_BLOCKS;

	box_read(box, v, 0, blocks);
	for (unsigned lba = 0; lba < blocks; lba++) {
		uint32_t stamp = box_block_stamp(&box_memory[lba * BOX_WORDS], lba);

		if (!block_may_be(v, later, newest, lba, stamp))
			return wrong(verdict, "%s: block %u holds %" PRIx32 "; latest %" PRIx32
				     ", settled %" PRIx32 " at %" PRIx32 ", newest %" PRIx32,
				     v->name, lba, stamp, v->latest[lba], v->settled[lba],
				     v->since[lba], newest);
	}
	return true;
}

bool box_may_be(struct blob_box *box, const struct box_state *state,
		const struct box_state *later, char *why, size_t why_bytes)
{
	struct verdict verdict = { why, why_bytes };

	if (!volumes_are(box, state, &verdict))
		return false;
	for (unsigned i = 0; i < BOX_VOLUMES; i++) {
		const struct box_volume *v = &state->volume[i], *then = &later->volume[i];

		if (v->used && !holds(box, v, then->used ? then : NULL, later->stamp, &verdict))
			return false;
	}
	return true;
}

void box_adopt(struct blob_box *box, const struct box_state *state)
{
	box->now = *state;
	/* beyond those that its volumes have */
	box->names = 1000;
	for (unsigned i = 0; i < BOX_VOLUMES; i++) {
		struct box_volume *v = &box->now.volume[i];
		unsigned blocks = v->used ? v->clusters * BOX_CLUSTER_BLOCKS : 0;

		if (v->used)
			box_read(box, v, 0, blocks);
		for (unsigned lba = 0; lba < blocks; lba++)
			v->latest[lba] = box_block_stamp(&box_memory[lba * BOX_WORDS], lba);
	}
}

/* ---- space ---- */

void box_check(struct blob_box *box)
{
	struct check_report report;
	struct store_figures f;
	struct why why = { "" };
	uint64_t own = super_md_clusters(&box->store->super);
	const struct finding *finding;
	int rc;

	check_report_init(&report);
	rc = store_check(box->store, false, &report, &why);
	box_ok(box, rc, &why, "check");
	list_for_each(finding, &report.findings, link)
		box_fail(box, "check: %s: %s", finding_kind_name(finding->kind), finding->text);
	check_report_fini(&report);
	for (const struct blob *b = blob_next(box->store, NULL); b; b = blob_next(box->store, b))
		own += blob_map_mapped(b->map);
	store_figures(box->store, &f);
	if (f.clusters - f.clusters_free != own)
		box_fail(box, "%" PRIu64 " clusters are in use, volumes own %" PRIu64,
			 f.clusters - f.clusters_free, own);
}
