/* SPDX-License-Identifier: BSD-3-Clause */
/* Operations, each done to the store and to the model. */
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/util.h"
#include "tests/unit/blob_box.h"

static void verify_blocks(const struct blob_box *box, const struct box_volume *v, unsigned lba,
			  unsigned count)
{
	box_read(box, v, lba, count);
	for (unsigned i = 0; i < count; i++) {
		uint32_t stamp = box_block_stamp(&box_memory[i * BOX_WORDS], lba + i);

		if (stamp != v->latest[lba + i])
			box_fail(box, "%s: block %u holds %" PRIx32 ", not %" PRIx32, v->name,
				 lba + i, stamp, v->latest[lba + i]);
	}
}

/* ---- the model's side of writes ---- */

static void block_written(struct box_volume *v, unsigned lba, uint32_t stamp)
{
	v->latest[lba] = stamp;
	if (stamp == 0)
		v->zeroed[lba] = true;
}

static void block_settle(struct blob_box *box, struct box_volume *v, unsigned lba)
{
	v->settled[lba] = v->latest[lba];
	v->since[lba] = box->now.stamp;
	v->zeroed[lba] = false;
}

static void settle_all(struct blob_box *box, struct box_volume *v)
{
	for (unsigned lba = 0; lba < v->clusters * BOX_CLUSTER_BLOCKS; lba++)
		block_settle(box, v, lba);
}

static void block_new(struct blob_box *box, struct box_volume *v, unsigned lba)
{
	v->latest[lba] = 0;
	block_settle(box, v, lba);
}

/* After a failure each block may be old or new: takes in which it is. */
static void adopt(struct blob_box *box, struct box_volume *v, unsigned lba, unsigned count,
		  uint32_t tried)
{
	box_read(box, v, lba, count);
	for (unsigned i = 0; i < count; i++) {
		uint32_t stamp = box_block_stamp(&box_memory[i * BOX_WORDS], lba + i);

		if (stamp != v->latest[lba + i] && stamp != tried)
			box_fail(box, "%s: block %u holds %" PRIx32 " after a write that failed",
				 v->name, lba + i, stamp);
		block_written(v, lba + i, stamp);
	}
}

/* ---- choosing ---- */

static struct box_volume *any(struct blob_box *box, bool (*fits)(const struct blob_box *box,
								 const struct box_volume *v))
{
	struct box_volume *found[BOX_VOLUMES];
	unsigned count = 0;

	for (unsigned i = 0; i < BOX_VOLUMES; i++)
		if (box->now.volume[i].used && fits(box, &box->now.volume[i]))
			found[count++] = &box->now.volume[i];
	return count ? found[box_below(box, count)] : NULL;
}

unsigned box_clones(const struct box_state *state, const struct box_volume *v)
{
	unsigned count = 0;

	for (unsigned i = 0; i < BOX_VOLUMES; i++)
		count += state->volume[i].used &&
			 state->volume[i].parent == (int)(v - state->volume);
	return count;
}

static bool is_any(const struct blob_box *box, const struct box_volume *v)
{
	return true;
}

static bool is_snapshot(const struct blob_box *box, const struct box_volume *v)
{
	return v->snapshot;
}

static bool is_volume(const struct blob_box *box, const struct box_volume *v)
{
	return !v->snapshot;
}

static bool is_writable(const struct blob_box *box, const struct box_volume *v)
{
	return !v->snapshot && !v->readonly;
}

static bool is_clone(const struct blob_box *box, const struct box_volume *v)
{
	return is_writable(box, v) && v->parent >= 0;
}

static struct box_volume *unused(struct blob_box *box)
{
	for (unsigned i = 0; i < BOX_VOLUMES; i++)
		if (!box->now.volume[i].used)
			return &box->now.volume[i];
	return NULL;
}

static void name_make(struct blob_box *box, char name[BOX_NAME_BYTES])
{
	snprintf(name, BOX_NAME_BYTES, "v%u", ++box->names);
}

static uint64_t clusters_free(const struct blob_box *box)
{
	struct store_figures f;

	store_figures(box->store, &f);
	return f.clusters_free;
}

/* An operation that needs at most NEED clusters: whether it was done, and right to fail if not. */
static bool had_room(struct blob_box *box, int rc, const struct why *why, uint64_t need,
		     uint64_t was_free)
{
	struct store_figures f;

	if (rc == 0)
		return true;
	store_figures(box->store, &f);
	if (rc != -ENOSPC || (was_free >= need && f.pages_free > 8))
		box_fail(box, "%s (%s), %" PRIu64 " clusters and %" PRIu64 " pages free",
			 strerror(-rc), why->text, was_free, f.pages_free);
	box->nospc++;
	if (clusters_free(box) != was_free)
		box_fail(box, "what failed kept %" PRIu64 " clusters",
			 was_free - clusters_free(box));
	return false;
}

/* ---- data ---- */

static unsigned range(struct blob_box *box, const struct box_volume *v, unsigned *lba)
{
	unsigned blocks = v->clusters * BOX_CLUSTER_BLOCKS, count;

	switch (box_below(box, 4)) {
	case 0:                         /* whole clusters */
		*lba = box_below(box, v->clusters) * BOX_CLUSTER_BLOCKS;
		count = (1 + box_below(box, 2)) * BOX_CLUSTER_BLOCKS;
		break;
	case 1:                         /* anything */
		*lba = box_below(box, blocks);
		count = 1 + box_below(box, 2 * BOX_CLUSTER_BLOCKS);
		break;
	default:                        /* a little */
		*lba = box_below(box, blocks);
		count = 1 + box_below(box, 9);
	}
	return MIN(count, blocks - *lba);
}

static bool do_write(struct blob_box *box, enum io_op op)
{
	struct box_volume *v = any(box, is_writable);
	unsigned lba, count, flags = 0;
	uint32_t stamp;
	enum io_status status;

	if (!v || v->clusters == 0)
		return false;
	count = range(box, v, &lba);
	if (op != IO_UNMAP && box_below(box, 4) == 0)
		flags = IO_FUA;
	stamp = op == IO_WRITE ? ++box->now.stamp : 0;
	snprintf(box->said, sizeof(box->said), "%s %s %u+%u%s, stamp %" PRIx32, io_op_name(op),
		 v->name, lba, count, flags ? " fua" : "", stamp);
	for (unsigned i = 0; i < count; i++)
		box_block_fill(&box_memory[i * BOX_WORDS], stamp, lba + i);
	status = box_request(box, v, op, flags, lba, count);
	if (status == IO_ERR_NOSPC) {
		box->nospc++;
		adopt(box, v, lba, count, stamp);
		return true;
	}
	if (status != IO_OK)
		box_fail(box, "%s", io_status_name(status));
	if (op == IO_UNMAP && !box_bdev(box, v)->unmap_zeroes) {
		adopt(box, v, lba, count, 0);
		return true;
	}
	for (unsigned i = 0; i < count; i++) {
		block_written(v, lba + i, stamp);
		if (flags & IO_FUA)
			block_settle(box, v, lba + i);
	}
	return true;
}

static bool do_read(struct blob_box *box)
{
	struct box_volume *v = any(box, is_any);
	unsigned lba, count;

	if (!v || v->clusters == 0)
		return false;
	count = range(box, v, &lba);
	snprintf(box->said, sizeof(box->said), "read %s %u+%u", v->name, lba, count);
	verify_blocks(box, v, lba, count);
	return true;
}

static bool do_flush(struct blob_box *box)
{
	struct box_volume *v = any(box, is_writable);
	enum io_status status;

	if (!v)
		return false;
	snprintf(box->said, sizeof(box->said), "flush %s", v->name);
	status = box_request(box, v, IO_FLUSH, 0, 0, 0);
	if (status != IO_OK)
		box_fail(box, "%s", io_status_name(status));
	settle_all(box, v);
	return true;
}

/* ---- metadata ---- */

static bool do_create(struct blob_box *box)
{
	struct box_volume *v = unused(box);
	uint64_t was_free = clusters_free(box);
	bool thin = box_below(box, 2);
	struct why why = { "" };
	struct blob *b;
	int rc;

	if (!v)
		return false;
	memset(v, 0, sizeof(*v));
	name_make(box, v->name);
	v->clusters = 1 + box_below(box, BOX_CLUSTERS);
	v->parent = -1;
	snprintf(box->said, sizeof(box->said), "create %s, %u clusters%s", v->name, v->clusters,
		 thin ? ", thin" : "");
	rc = volume_create(box->store, v->name, (uint64_t)v->clusters * BOX_CLUSTER -
			   box_below(box, BOX_CLUSTER), thin, NULL, &b, &why);
	if (!had_room(box, rc, &why, thin ? 0 : v->clusters, was_free))
		return true;
	v->used = true;
	for (unsigned lba = 0; lba < v->clusters * BOX_CLUSTER_BLOCKS; lba++)
		block_new(box, v, lba);
	return true;
}

static bool do_delete(struct blob_box *box)
{
	struct box_volume *v = any(box, is_any);
	uint64_t was_free = clusters_free(box);
	struct why why = { "" };
	unsigned clones;
	int rc;

	if (!v)
		return false;
	clones = box_clones(&box->now, v);
	snprintf(box->said, sizeof(box->said), "delete %s with %u clones", v->name, clones);
	rc = volume_delete(box_blob(box, v), &why);
	if (clones > 1) {
		if (rc != -EBUSY)
			box_fail(box, "%s (%s)", strerror(-rc), why.text);
		box->refused[BOX_DELETE]++;
		return true;
	}
	/* where a snapshot is shorter than its clone and its parent, the clone gets clusters */
	if (!had_room(box, rc, &why, clones ? BOX_CLUSTERS : 0, was_free))
		return true;
	for (unsigned i = 0; i < BOX_VOLUMES; i++) {
		struct box_volume *clone = &box->now.volume[i];

		if (clone->used && clone->parent == (int)(v - box->now.volume))
			clone->parent = v->parent;
	}
	v->used = false;
	return true;
}

/* What has been cut off and comes again is new, or what the parent has there. */
static void regrown(struct blob_box *box, struct box_volume *v, unsigned from)
{
	unsigned end = v->clusters * BOX_CLUSTER_BLOCKS;

	for (unsigned lba = from; lba < end; lba++)
		block_new(box, v, lba);
	if (v->parent < 0 || from >= end)
		return;
	box_read(box, v, from, end - from);
	for (unsigned lba = from; lba < end; lba++) {
		const struct box_volume *parent = &box->now.volume[v->parent];
		uint32_t stamp = box_block_stamp(&box_memory[(lba - from) * BOX_WORDS], lba);
		bool has = lba < parent->clusters * BOX_CLUSTER_BLOCKS;

		if (stamp == 0)
			continue;
		if (!has || stamp != parent->latest[lba])
			box_fail(box, "%s: block %u that is new holds %" PRIx32, v->name, lba,
				 stamp);
		v->latest[lba] = parent->latest[lba];
		v->settled[lba] = parent->settled[lba];
		v->since[lba] = parent->since[lba];
		v->zeroed[lba] = parent->zeroed[lba];
	}
}

static bool do_resize(struct blob_box *box)
{
	struct box_volume *v = any(box, is_writable);
	uint64_t was_free = clusters_free(box);
	unsigned was, want;
	struct why why = { "" };
	int rc;

	if (!v)
		return false;
	was = v->clusters;
	want = 1 + box_below(box, BOX_CLUSTERS);
	snprintf(box->said, sizeof(box->said), "resize %s from %u to %u", v->name, was, want);
	rc = volume_resize(box_blob(box, v), (uint64_t)want * BOX_CLUSTER, &why);
	if (!had_room(box, rc, &why, want > was ? want - was : 0, was_free))
		return true;
	v->clusters = want;
	regrown(box, v, was * BOX_CLUSTER_BLOCKS);
	return true;
}

static bool do_rename(struct blob_box *box)
{
	struct box_volume *v = any(box, is_volume);
	struct why why = { "" };
	char name[BOX_NAME_BYTES];

	if (!v)
		return false;
	name_make(box, name);
	snprintf(box->said, sizeof(box->said), "rename %s to %s", v->name, name);
	box_ok(box, volume_rename(box_blob(box, v), name, &why), &why, "rename");
	memcpy(v->name, name, sizeof(name));
	return true;
}

static bool do_snapshot(struct blob_box *box)
{
	struct box_volume *v = any(box, is_writable), *snap = unused(box);
	uint64_t was_free = clusters_free(box);
	struct why why = { "" };
	struct blob *b;
	char name[BOX_NAME_BYTES];
	int rc;

	if (!v || !snap)
		return false;
	name_make(box, name);
	snprintf(box->said, sizeof(box->said), "snapshot %s as %s", v->name, name);
	rc = volume_snapshot(box_blob(box, v), name, &b, &why);
	if (!had_room(box, rc, &why, 0, was_free))
		return true;
	*snap = *v;
	snap->snapshot = true;
	memcpy(snap->name, name, sizeof(name));
	v->parent = (int)(snap - box->now.volume);
	return true;
}

static bool do_clone(struct blob_box *box)
{
	struct box_volume *snap = any(box, is_snapshot), *v = unused(box);
	uint64_t was_free = clusters_free(box);
	struct why why = { "" };
	struct blob *b;
	char name[BOX_NAME_BYTES];
	int rc;

	if (!v || !snap)
		return false;
	name_make(box, name);
	snprintf(box->said, sizeof(box->said), "clone %s as %s", snap->name, name);
	rc = volume_clone(box_blob(box, snap), name, &b, &why);
	if (!had_room(box, rc, &why, 0, was_free))
		return true;
	*v = *snap;
	v->snapshot = v->readonly = false;
	memcpy(v->name, name, sizeof(name));
	v->parent = (int)(snap - box->now.volume);
	return true;
}

static bool do_inflate(struct blob_box *box)
{
	struct box_volume *v = any(box, is_writable);
	uint64_t was_free = clusters_free(box);
	struct why why = { "" };
	int rc;

	if (!v)
		return false;
	snprintf(box->said, sizeof(box->said), "inflate %s", v->name);
	rc = volume_inflate(box_blob(box, v), &why);
	if (had_room(box, rc, &why, v->clusters, was_free))
		v->parent = -1;
	return true;
}

static bool do_decouple(struct blob_box *box)
{
	struct box_volume *v = any(box, is_clone);
	uint64_t was_free = clusters_free(box);
	struct why why = { "" };
	int rc;

	if (!v)
		return false;
	snprintf(box->said, sizeof(box->said), "decouple %s", v->name);
	rc = volume_decouple(box_blob(box, v), &why);
	if (had_room(box, rc, &why, v->clusters, was_free))
		v->parent = box->now.volume[v->parent].parent;
	return true;
}

static bool do_readonly(struct blob_box *box)
{
	struct box_volume *v = any(box, is_volume);
	struct why why = { "" };

	if (!v)
		return false;
	snprintf(box->said, sizeof(box->said), "readonly %s %s", v->name,
		 v->readonly ? "off" : "on");
	box_ok(box, volume_readonly_set(box_blob(box, v), !v->readonly, &why), &why, "readonly");
	v->readonly = !v->readonly;
	return true;
}

bool box_do(struct blob_box *box, enum box_op op)
{
	bool did = false;

	switch (op) {
	case BOX_WRITE: did = do_write(box, IO_WRITE); break;
	case BOX_READ: did = do_read(box); break;
	case BOX_ZERO: did = do_write(box, IO_WRITE_ZEROES); break;
	case BOX_UNMAP: did = do_write(box, IO_UNMAP); break;
	case BOX_FLUSH: did = do_flush(box); break;
	case BOX_CREATE: did = do_create(box); break;
	case BOX_DELETE: did = do_delete(box); break;
	case BOX_RESIZE: did = do_resize(box); break;
	case BOX_RENAME: did = do_rename(box); break;
	case BOX_SNAPSHOT: did = do_snapshot(box); break;
	case BOX_CLONE: did = do_clone(box); break;
	case BOX_INFLATE: did = do_inflate(box); break;
	case BOX_DECOUPLE: did = do_decouple(box); break;
	case BOX_READONLY: did = do_readonly(box); break;
	case BOX_OPS: break;
	}
	box->done[op] += did;
	if (did && box->told)
		print_message("%s\n", box->said);
	return did;
}
