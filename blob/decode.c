/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pages of metadata into blobs. Nothing in a page is trusted but that its checksum was right:
 * lengths stay in the page, clusters on the disk, sizes within what 32 bits count; each kind of
 * descriptor comes as often as it may; runs and table exclude each other. What breaks a rule makes
 * the blob a damaged one (-EILSEQ, the first reason); the rest is read all the same, so that its
 * clusters are known and stay reserved.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "blob/md.h"
#include "core/base/bytes.h"
#include "core/base/panic.h"

enum { LOAD_CHUNK = 64 };

enum seen { SEEN_FLAGS = 1, SEEN_RUNS = 2, SEEN_TABLE = 4 };

/* A descriptor of this blob is being read. */
struct reading {
	struct blob *blob;
	const uint8_t *data;
	uint32_t len;
	struct why *why;
};

static uint32_t first_data_cluster(const struct store *s)
{
	return super_md_clusters(&s->super);
}

static bool cluster_range_good(const struct store *s, uint64_t first, uint64_t count)
{
	return first >= first_data_cluster(s) && count <= s->clusters.count &&
	       first <= s->clusters.count - count;
}

/* ---- flags and xattrs ---- */

static int flags_get(struct reading *r)
{
	const struct bs_flags *flags = (const void *)r->data;
	struct blob *b = r->blob;

	if (b->read.seen & SEEN_FLAGS)
		return why_fail(r->why, -EILSEQ, "flags come twice");
	if (r->len != sizeof(*flags))
		return why_fail(r->why, -EILSEQ, "flags of %u bytes", r->len);
	b->read.seen |= SEEN_FLAGS;
	b->invalid_flags = le64_un_get(flags->invalid_flags);
	b->data_ro_flags = le64_un_get(flags->data_ro_flags);
	b->md_ro_flags = le64_un_get(flags->md_ro_flags);
	return 0;
}

static int xattr_get(struct reading *r, bool internal)
{
	const struct bs_xattr *at = (const void *)r->data;
	char name[MD_DESC_BYTES];
	uint32_t name_len, value_len;
	int rc;

	if (r->len < sizeof(*at))
		return why_fail(r->why, -EILSEQ, "an xattr of %u bytes", r->len);
	name_len = le16_un_get(at->name_length);
	value_len = le16_un_get(at->value_length);
	if (name_len == 0 || sizeof(*at) + name_len + value_len != r->len)
		return why_fail(r->why, -EILSEQ, "an xattr whose lengths do not add up");
	memcpy(name, at + 1, name_len);
	name[name_len] = '\0';
	if (strlen(name) != name_len)
		return why_fail(r->why, -EILSEQ, "an xattr with a NUL in its name");
	if (blob_xattr_find(r->blob, internal, name))
		return why_fail(r->why, -EILSEQ, "xattr %.64s comes twice", name);
	/* The flag is the disk's to say, and checked at the end. */
	uint64_t flags = r->blob->invalid_flags;

	rc = blob_xattr_put(r->blob, internal, name, (const char *)(at + 1) + name_len, value_len);
	r->blob->invalid_flags = flags;
	return rc < 0 ? why_fail(r->why, rc, "an xattr: %s", strerror(-rc)) : 0;
}

/* ---- runs ---- */

/* Room for COUNT more clusters, in steps that double. */
static int runs_room(struct blob *b, uint64_t end)
{
	struct blob_map *map;

	if (end <= b->map->cluster_count)
		return 0;
	map = blob_map_resized(b->map, MIN(MAX(end, b->map->cluster_count * 2),
					   (uint64_t)UINT32_MAX));
	if (!map)
		return -ENOMEM;
	blob_map_free_shell(b->map);
	b->map = map;
	return 0;
}

static int run_get(struct reading *r, uint64_t first, uint64_t count)
{
	struct blob *b = r->blob;
	uint64_t end = b->read.at + count;

	if (count == 0)
		return why_fail(r->why, -EILSEQ, "a run of no clusters");
	if (end > UINT32_MAX)
		return why_fail(r->why, -EILSEQ, "more clusters than 32 bits can count");
	if (first && !cluster_range_good(b->store, first, count))
		return why_fail(r->why, -EILSEQ, "clusters %" PRIu64 " to %" PRIu64
				" are not on the disk, or the metadata's", first,
				first + count - 1);
	if (runs_room(b, end) < 0)
		return -ENOMEM;
	for (uint64_t i = 0; first && i < count; i++) {
		if (blob_map_reserve(b->map, b->read.at + i) < 0)
			return -ENOMEM;
		blob_map_set(b->map, b->read.at + i, (uint32_t)(first + i));
	}
	b->read.at = end;
	return 0;
}

static int runs_get(struct reading *r)
{
	const struct bs_run *run = (const void *)r->data;
	int rc = 0;

	if (r->blob->read.seen & SEEN_TABLE)
		return why_fail(r->why, -EILSEQ, "runs and an extent table");
	if (r->len % sizeof(*run))
		return why_fail(r->why, -EILSEQ, "runs of %u bytes", r->len);
	r->blob->read.seen |= SEEN_RUNS;
	for (uint32_t i = 0; rc == 0 && i < r->len / sizeof(*run); i++)
		rc = run_get(r, le32_un_get(run[i].cluster_idx), le32_un_get(run[i].length));
	return rc;
}

/* ---- the extent table ---- */

static int table_begin(struct reading *r, uint64_t count)
{
	struct blob *b = r->blob;
	struct blob_map *map;

	if (b->read.seen & SEEN_TABLE)
		return count == b->map->cluster_count ? 0 :
			why_fail(r->why, -EILSEQ, "an extent table of two sizes");
	if (count > UINT32_MAX)
		return why_fail(r->why, -EILSEQ, "more clusters than 32 bits can count");
	map = blob_map_create(count);
	if (!map)
		return -ENOMEM;
	blob_map_destroy(b->map);
	b->map = map;
	b->read.seen |= SEEN_TABLE;
	return 0;
}

static int entry_get(struct reading *r, uint32_t page, uint32_t count)
{
	struct blob *b = r->blob;

	if (count == 0 || count > b->map->extent_count - b->read.at)
		return why_fail(r->why, -EILSEQ, "an extent table of more extents than it has");
	if (page == 0) {
		b->read.at += count;
		return 0;
	}
	if (count != 1 || page >= b->store->super.md_len)
		return why_fail(r->why, -EILSEQ, "an extent table that names page %u", page);
	b->map->extent[b->read.at++].page = page;
	return 0;
}

static int table_get(struct reading *r)
{
	const le64_un *count = (const void *)r->data;
	const struct bs_table_entry *entry = (const void *)(count + 1);
	int rc;

	if (r->blob->read.seen & SEEN_RUNS)
		return why_fail(r->why, -EILSEQ, "runs and an extent table");
	if (r->len < sizeof(*count) || (r->len - sizeof(*count)) % sizeof(*entry))
		return why_fail(r->why, -EILSEQ, "an extent table of %u bytes", r->len);
	rc = table_begin(r, le64_un_get(*count));
	for (uint32_t i = 0; rc == 0 && i < (r->len - sizeof(*count)) / sizeof(*entry); i++)
		rc = entry_get(r, le32_un_get(entry[i].page_idx), le32_un_get(entry[i].num_pages));
	return rc;
}

/* ---- the chain ---- */

static int desc_get(struct reading *r, uint8_t type)
{
	switch (type) {
	case BS_DESC_PADDING:
		return 0;
	case BS_DESC_EXTENT_RLE:
		return runs_get(r);
	case BS_DESC_XATTR:
		return xattr_get(r, false);
	case BS_DESC_FLAGS:
		return flags_get(r);
	case BS_DESC_XATTR_INTERNAL:
		return xattr_get(r, true);
	case BS_DESC_EXTENT_TABLE:
		return table_get(r);
	case BS_DESC_EXTENT_PAGE:
		return why_fail(r->why, -EILSEQ, "an extent page in its chain");
	default:
		return why_fail(r->why, -EILSEQ, "a descriptor of type %u, not known here", type);
	}
}

/* The first error, and what follows it too. */
static int descs_get(struct blob *b, const struct bs_md_page *md, struct why *why)
{
	struct reading r = { .blob = b, .why = why };
	uint32_t at = 0;
	int rc = 0, first = 0;

	while (at + sizeof(struct bs_desc) <= MD_DESC_BYTES) {
		const struct bs_desc *desc = (const void *)(md->descriptors + at);

		r.len = le32_un_get(desc->length);
		if (desc->type == BS_DESC_PADDING && r.len == 0)
			break;
		at += sizeof(*desc);
		if (r.len > MD_DESC_BYTES - at)
			return first < 0 ? first : why_fail(why, -EILSEQ, "a descriptor that is "
							    "longer than its page");
		r.data = md->descriptors + at;
		at += r.len;
		rc = desc_get(&r, desc->type);
		if (rc == -ENOMEM)
			return rc;
		if (rc < 0 && first == 0) {
			first = rc;
			r.why = NULL;
		}
	}
	return first;
}

/* What only the whole chain can tell. */
static int whole_check(struct blob *b, struct why *why)
{
	const struct blob_xattr *x;
	struct blob_map *map;

	if (b->invalid_flags & ~(uint64_t)BS_INVALID_KNOWN)
		return why_fail(why, -EILSEQ, "flags that are not known here: 0x%" PRIx64,
				b->invalid_flags & ~(uint64_t)BS_INVALID_KNOWN);
	if (blob_has_table(b) != !!(b->read.seen & SEEN_TABLE) && b->map->cluster_count > 0)
		return why_fail(why, -EILSEQ, "flags and the form of its extents disagree");
	if (b->read.seen & SEEN_TABLE && b->read.at != b->map->extent_count)
		return why_fail(why, -EILSEQ, "an extent table with %" PRIu64 " of %u extents",
				b->read.at, b->map->extent_count);
	if (!(b->read.seen & SEEN_TABLE) && b->read.at != b->map->cluster_count) {
		map = blob_map_resized(b->map, b->read.at);
		if (!map)
			return -ENOMEM;
		blob_map_free_shell(b->map);
		b->map = map;
	}
	list_for_each(x, &b->xattrs, link)
		if (x->internal && !(b->invalid_flags & BS_INTERNAL_XATTR))
			return why_fail(why, -EILSEQ, "an internal xattr, and no flag for it");
	if (blob_is_thin(b))
		return 0;
	for (uint64_t c = 0; !blob_has_table(b) && c < b->map->cluster_count; c++)
		if (!blob_map_get(b->map, c))
			return why_fail(why, -EILSEQ, "cluster %" PRIu64 " is not allocated, and it"
					" is not thin", c);
	for (uint32_t e = 0; blob_has_table(b) && e < b->map->extent_count; e++)
		if (!b->map->extent[e].page)
			return why_fail(why, -EILSEQ, "extent %u is not allocated, and it is not"
					" thin", e);
	return 0;
}

static int chain_add(struct blob *b, uint32_t page)
{
	uint32_t *chain;

	if (b->read.sequence == 0)
		return 0;
	if (IS_POWER_OF_2(b->chain_count) || b->chain_count == 0) {
		chain = realloc(b->chain, MAX(b->chain_count * 2, 1u) * sizeof(*chain));
		if (!chain)
			return -ENOMEM;
		b->chain = chain;
	}
	b->chain[b->chain_count++] = page;
	return 0;
}

int blob_decode(struct blob *b, const struct bs_md_page *md, struct why *why)
{
	uint32_t page = b->read.wanted, next = le32_un_get(md->next);
	int rc;

	ASSERT(page != MD_PAGE_NONE);
	b->read.wanted = MD_PAGE_NONE;
	if (le64_un_get(md->id) != b->id)
		return why_fail(why, -EILSEQ, "page %u of its chain belongs to blob 0x%" PRIx64,
				page, le64_un_get(md->id));
	if (le32_un_get(md->sequence_num) != b->read.sequence)
		return why_fail(why, -EILSEQ, "page %u of its chain is number %u, not %u", page,
				le32_un_get(md->sequence_num), b->read.sequence);
	rc = chain_add(b, page);
	if (rc == 0)
		rc = descs_get(b, md, why);
	if (rc == -ENOMEM)
		return rc;
	if (next == MD_PAGE_NONE)
		return rc < 0 || b->damage ? rc : whole_check(b, why);
	if (next >= b->store->super.md_len)
		return rc < 0 ? rc : why_fail(why, -EILSEQ, "its chain goes on at page %u, past the"
					      " end", next);
	b->read.wanted = next;
	b->read.sequence++;
	return rc;
}

/* ---- extent pages ---- */

/*
 * Whether LOAD_CHUNK of them are all LOW or more, and below HIGH, which is at most 1 << 31: then a
 * difference that is less than 0 has its highest bit. Without a branch, for vectors.
 */
static bool chunk_good(const uint32_t *cluster, uint32_t low, uint32_t high)
{
	uint32_t less = 0;

	for (uint32_t i = 0; i < LOAD_CHUNK; i++)
		less |= (cluster[i] - low) | (high - 1 - cluster[i]);
	return !(less >> 31);
}

/* Takes those that are on the disk. Nobody reads the map: the blob is being loaded. */
static int clusters_get(struct blob *b, struct blob_extent *e, uint64_t first,
			const le32_un *cluster, uint32_t count, struct why *why)
{
	uint32_t low = first_data_cluster(b->store), i = 0;
	uint64_t high = b->store->clusters.count;
	int rc = 0;

	e->mapped = count;
	le32_un_load(e->cluster, cluster, count);
	memset(e->cluster + count, 0, (BS_EXTENT_CLUSTERS - count) * sizeof(*e->cluster));
	while (i + LOAD_CHUNK <= count && high <= 1u << 31 &&
	       chunk_good(e->cluster + i, low, (uint32_t)high))
		i += LOAD_CHUNK;
	for (; i < count; i++) {
		uint32_t at = e->cluster[i];

		if (at >= low && at < high)
			continue;
		e->cluster[i] = 0;
		e->mapped--;
		if (at != 0)
			rc = why_fail(why, -EILSEQ, "cluster %u is not on the disk, or the "
				      "metadata's", at);
		else if (!blob_is_thin(b))
			rc = why_fail(why, -EILSEQ, "cluster %" PRIu64 " is not allocated, and it "
				      "is not thin", first + i);
	}
	return rc;
}

int extent_decode(struct blob *b, uint32_t e, const struct bs_md_page *md, struct why *why)
{
	const struct bs_desc *desc = (const void *)md->descriptors;
	const le32_un *cluster = (const le32_un *)(desc + 1) + 1;
	uint64_t first = (uint64_t)e * BS_EXTENT_CLUSTERS;
	struct blob_extent *at = &b->map->extent[e];
	uint32_t len = le32_un_get(desc->length), count, said;
	uint32_t have = (uint32_t)MIN(b->map->cluster_count - first, BS_EXTENT_CLUSTERS);

	if (!page_is_extent(md, &said))
		return why_fail(why, -EILSEQ, "page %u is not an extent page",
				b->map->extent[e].page);
	count = len / (uint32_t)sizeof(*cluster) - 1;
	if (len % sizeof(*cluster) || count > BS_EXTENT_CLUSTERS ||
	    le32_un_get(cluster[-1]) != first)
		return why_fail(why, -EILSEQ, "extent page %u is of another place, or its length "
				"is wrong", b->map->extent[e].page);
	/* What lies past the blob's end is of a growth that was not completed. */
	if (count < have && !blob_is_thin(b))
		return why_fail(why, -EILSEQ, "extent page %u has %u of %u clusters",
				b->map->extent[e].page, count, have);
	count = MIN(count, have);
	if (count == 0)
		return 0;
	if (!at->cluster)
		at->cluster = malloc(BS_EXTENT_CLUSTERS * sizeof(*at->cluster));
	return at->cluster ? clusters_get(b, at, first, cluster, count, why) : -ENOMEM;
}
