/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Namespaces come, change and go: the controller's active list against the disks that exist. What
 * cannot be served is named in the log and left alone. Base 2.0c 5.17.2.2.
 */
#include <errno.h>
#include <string.h>

#include "core/base/log.h"
#include "core/base/util.h"
#include "drivers/nvme/nvme.h"

enum { VER_1_1 = 0x00010100, VER_1_3 = 0x00010300 };

struct nvme_ns *nvme_scan_find(struct nvme_ctrl *c, uint32_t nsid)
{
	struct nvme_ns *ns;

	list_for_each(ns, &c->namespaces, link)
		if (ns->nsid == nsid)
			return ns;
	return NULL;
}

int nvme_scan_identify(struct nvme_ctrl *c, uint32_t nsid, struct nvme_ns_info *info,
		       const char **why)
{
	union {
		struct nvme_id_ns ns;
		uint8_t descs[NVME_DATA_BYTES];
	} id;
	int rc = nvme_admin_identify(c, NVME_CNS_NS, nsid, 0, &id);

	*why = "Identify failed";
	if (rc < 0)
		return rc;
	rc = nvme_ns_decode(&id.ns, c->awupf, info, why);
	if (rc < 0 || c->info.ver < VER_1_3)
		return rc;
	if (nvme_admin_identify(c, NVME_CNS_NS_DESCS, nsid, 0, &id) == 0)
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

static void disk_changed(struct nvme_ns *ns, const struct nvme_ns_info *info)
{
	if (!is_same_disk(&ns->info, info)) {
		log_warn("%s: is another disk now", ns->bdev.name);
		nvme_disk_leave(ns);
		return;
	}
	if (ns->info.block_count == info->block_count)
		return;
	log_info("%s: %llu blocks now", ns->bdev.name, (unsigned long long)info->block_count);
	ns->info.block_count = info->block_count;
	bdev_resize(&ns->bdev, info->block_count);
}

/* -errno when the controller did not answer; what is wrong with one namespace is no error. */
static int ns_update(struct nvme_ctrl *c, uint32_t nsid)
{
	struct nvme_ns *ns = nvme_scan_find(c, nsid);
	struct nvme_ns_info info;
	const char *why;
	int rc;

	if (ns && ns->leaving) {
		ns->seen = true;
		return 0;
	}
	if (nsid == c->formatting)
		return 0;
	rc = nvme_scan_identify(c, nsid, &info, &why);
	if (rc == -ETIMEDOUT || rc == -ECANCELED || rc == -ENODEV)
		return rc;
	if (rc == -ENOENT)
		return 0;
	if (rc < 0) {
		log_warn("%s namespace %u is not served: %s", c->name, nsid, why);
		return 0;
	}
	if (ns) {
		ns->seen = true;
		disk_changed(ns, &info);
		return 0;
	}
	if (c->ns_count >= NVME_NS_MAX) {
		log_warn("%s namespace %u is not served: more than %u", c->name, nsid, NVME_NS_MAX);
		return 0;
	}
	rc = nvme_disk_create(c, nsid, &info);
	if (rc < 0)
		log_error("%sn%u: not registered (%s)", c->name, nsid, strerror(-rc));
	return 0;
}

/* Before NVMe 1.1 there is no list: every NSID is asked about. */
static int scan_all(struct nvme_ctrl *c)
{
	int rc = 0;

	for (uint32_t nsid = 1; rc == 0 && nsid <= MIN(c->info.nn, (uint32_t)NVME_NS_MAX); nsid++)
		rc = ns_update(c, nsid);
	return rc;
}

static int scan_list(struct nvme_ctrl *c)
{
	uint32_t nsids[NVME_NS_LIST_MAX], after = 0;
	le32 list[NVME_NS_LIST_MAX];
	unsigned total = 0;

	for (;;) {
		int n, rc = nvme_admin_identify(c, NVME_CNS_NS_LIST, after, 0, list);

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

int nvme_scan(struct nvme_ctrl *c)
{
	struct nvme_ns *ns;
	int rc;

	list_for_each(ns, &c->namespaces, link)
		ns->seen = false;
	rc = c->info.ver >= VER_1_1 ? scan_list(c) : -EOPNOTSUPP;
	if (rc == -EOPNOTSUPP)
		rc = scan_all(c);
	if (rc < 0)
		return rc;
	list_for_each(ns, &c->namespaces, link) {
		if (ns->seen || ns->leaving)
			continue;
		log_warn("%s: the namespace is not there any more", ns->bdev.name);
		nvme_disk_leave(ns);
	}
	return 0;
}
