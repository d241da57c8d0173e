/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Namespaces come, change and go: the controller's active list against the paths that exist; and
 * how well each can be reached (ANA). What cannot be served is named in the log and left alone.
 * Base 2.0c 5.17.2.2, 5.16.1.13, 8.1.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/log.h"
#include "core/base/util.h"
#include "core/spec/nvme_log.h"
#include "drivers/remote/remote.h"

enum { ANA_LOG_BYTES = 64 * 1024, ANA_CHUNK_BYTES = 4096 };

static struct remote_path *path_find(struct remote_ctrl *c, uint32_t nsid)
{
	struct remote_path *path;

	list_for_each(path, &c->paths, link)
		if (path->nsid == nsid)
			return path;
	return NULL;
}

static int ns_identify(struct remote_ctrl *c, uint32_t nsid, struct nvme_ns_info *info,
		       uint32_t *ana_group, const char **why)
{
	union {
		struct nvme_id_ns ns;
		uint8_t descs[NVME_DATA_BYTES];
	} id;
	int rc = remote_identify(c, NVME_CNS_NS, nsid, 0, &id);

	*why = "Identify failed";
	if (rc < 0)
		return rc;
	rc = nvme_ns_decode(&id.ns, c->awupf, info, why);
	if (rc < 0)
		return rc;
	*ana_group = le32_get(id.ns.anagrpid);
	rc = remote_identify(c, NVME_CNS_NS_DESCS, nsid, 0, &id);
	if (rc == -ENOTCONN || rc == -ETIMEDOUT)
		return rc;
	if (rc == 0)
		nvme_ns_descs_decode(id.descs, sizeof(id.descs), info);
	if (info->csi != NVME_CSI_NVM) {
		*why = "it has another command set than NVM";
		return -ENOTSUP;
	}
	return 0;
}

/* Whether the disk can go on with NOW: only its size may be another. */
static bool is_same_disk(const struct nvme_ns_info *was, const struct nvme_ns_info *now)
{
	return was->block_bytes == now->block_bytes && was->readonly == now->readonly &&
	       memcmp(was->nguid, now->nguid, sizeof(was->nguid)) == 0 &&
	       memcmp(was->eui64, now->eui64, sizeof(was->eui64)) == 0 &&
	       uuid_equal(&was->uuid, &now->uuid);
}

static void path_changed(struct remote_path *path, const struct nvme_ns_info *info,
			 uint32_t ana_group)
{
	if (!is_same_disk(&path->disk->info, info)) {
		log_warn("%s: is another disk on %s now", path->disk->bdev.name,
			 path->ctrl->opt.name);
		path->stale = true;
		remote_disk_part(path);
		return;
	}
	path->ana_group = ana_group;
	remote_disk_resize(path->disk, info->block_count);
}

/* -errno when the controller did not answer; what is wrong with one namespace is no error. */
static int ns_update(struct remote_ctrl *c, uint32_t nsid)
{
	struct remote_path *path;
	struct nvme_ns_info info;
	uint32_t ana_group = 0;
	const char *why;
	int rc = ns_identify(c, nsid, &info, &ana_group, &why);

	if (rc == -ETIMEDOUT || rc == -ENOTCONN)
		return rc;
	if (rc == -ENOENT)
		return 0;
	if (rc < 0) {
		log_warn("%s namespace %u is not served: %s", c->opt.name, nsid, why);
		return 0;
	}
	path = path_find(c, nsid);
	if (path) {
		path->seen = true;
		if (!path->disk->leaving)
			path_changed(path, &info, ana_group);
		return 0;
	}
	if (c->path_count >= REMOTE_NS_MAX) {
		log_warn("%s namespace %u is not served: more than %u", c->opt.name, nsid,
			 REMOTE_NS_MAX);
		return 0;
	}
	remote_disk_join(c, nsid, &info, ana_group);
	return 0;
}

static int scan_list(struct remote_ctrl *c)
{
	uint32_t nsids[NVME_NS_LIST_MAX], after = 0;
	le32 list[NVME_NS_LIST_MAX];
	unsigned total = 0;

	for (;;) {
		struct nvme_sqe sqe = {
			.opc = NVME_ADM_IDENTIFY,
			.nsid = le32_make(after),
			.cdw10 = le32_make(NVME_CNS_NS_LIST),
		};
		int n, rc = remote_exec(c->admin, &sqe, REMOTE_IN, list, sizeof(list),
					REMOTE_CONNECT_MS, NULL);

		if (rc < 0)
			return rc;
		n = nvme_ns_list_decode(list, after, nsids);
		if (n < 0)
			return n;
		for (int i = 0; i < n && rc == 0; i++)
			rc = ns_update(c, nsids[i]);
		if (rc < 0)
			return rc;
		total += n;
		if (n < NVME_NS_LIST_MAX || total >= 4 * NVME_NS_LIST_MAX)
			return 0;
		after = nsids[n - 1];
	}
}

int remote_scan(struct remote_ctrl *c)
{
	struct remote_path *path;
	int rc;

	list_for_each(path, &c->paths, link)
		path->seen = false;
	rc = scan_list(c);
	if (rc < 0)
		return rc;
again:
	list_for_each(path, &c->paths, link) {
		if (path->seen || path->disk->leaving)
			continue;
		log_warn("%s: the namespace is not on %s any more", path->disk->bdev.name,
			 c->opt.name);
		path->seen = path->stale = true;
		/* it waits, and the list may be another then */
		remote_disk_part(path);
		goto again;
	}
	return 0;
}

/* ---- ANA ---- */

static void group_learn(struct remote_ctrl *c, uint32_t group, uint8_t state)
{
	struct remote_path *path;

	if (state < REMOTE_ANA_OPTIMIZED ||
	    (state > REMOTE_ANA_LOSS && state != REMOTE_ANA_CHANGE))
		state = REMOTE_ANA_CHANGE;
	list_for_each(path, &c->paths, link) {
		if (path->ana_group != group || path->ana == state)
			continue;
		log_info("%s: ANA state %u through %s", path->disk->bdev.name, state,
			 c->opt.name);
		path->ana = state;
	}
}

/* The descriptors of the page, each followed by its NSIDs. */
static void ana_decode(struct remote_ctrl *c, const uint8_t *page, size_t len)
{
	struct nvme_log_ana head;
	struct nvme_log_ana_group group;
	size_t at = sizeof(head);

	memcpy(&head, page, sizeof(head));
	for (unsigned i = 0; i < le16_get(head.ngrps) && at + sizeof(group) <= len; i++) {
		memcpy(&group, page + at, sizeof(group));
		group_learn(c, le32_get(group.grpid), group.state & 15);
		at += sizeof(group) + (size_t)le32_get(group.nnsids) * sizeof(le32);
	}
}

/* How long the page is, as far as its first HAVE bytes tell. */
static size_t ana_len(const uint8_t *page, size_t have)
{
	struct nvme_log_ana head;
	struct nvme_log_ana_group group;
	size_t at = sizeof(head);

	memcpy(&head, page, sizeof(head));
	for (unsigned i = 0; i < le16_get(head.ngrps); i++) {
		if (at + sizeof(group) > have)
			return at + sizeof(group);
		memcpy(&group, page + at, sizeof(group));
		at += sizeof(group) + (size_t)le32_get(group.nnsids) * sizeof(le32);
	}
	return at;
}

int remote_scan_ana(struct remote_ctrl *c)
{
	uint8_t *page = calloc(1, ANA_LOG_BYTES);
	size_t len = ANA_CHUNK_BYTES;
	int rc;

	if (!page)
		return -ENOMEM;
	rc = remote_log(c, NVME_LID_ANA, 0, page, ANA_CHUNK_BYTES);
	/* reading beyond the end of a page is an error */
	while (rc == 0 && len < MIN(ana_len(page, len), (size_t)ANA_LOG_BYTES)) {
		rc = remote_log(c, NVME_LID_ANA, len, page + len, ANA_CHUNK_BYTES);
		len += ANA_CHUNK_BYTES;
	}
	if (rc == 0)
		ana_decode(c, page, len);
	else
		log_warn("%s: the ANA log page cannot be read: %s", c->opt.name, strerror(-rc));
	free(page);
	/* the connection decides, not this page */
	return rc == -ENOTCONN || rc == -ETIMEDOUT ? rc : 0;
}
