/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The SMART / Health log page (base 2.0c 5.16.1.3), of one namespace or of all that the host sees.
 *
 * Traffic is what our disks have counted. The state of health is the drives' own, asked for when
 * the page is read, in a task; of several drives the worst counts, events and errors add up. A
 * namespace stays while its drive is asked, because the request is at it.
 *
 * A warning is told by an event, to hosts that want it, once until it is over: when a drive warns
 * by itself, and when a host changes its thresholds or what it wants. Hosts see the end of a
 * warning, as we do, when the page is read.
 */
#include <string.h>

#include "core/bdev.h"
#include "targets/nvmf/abort.h"
#include "targets/nvmf/nvmf.h"

enum { UNIT = 512 * 1000, SPARE_FULL = 100, SPARE_THRESHOLD = 10, TEMPERATURE_NONE = 0xffff };

struct smart_sum {
	uint64_t read_bytes, write_bytes, reads, writes, errors;
	struct bdev_health health;
	bool told;                      /* a drive has said how it is */
	bool space_low;
};

/* The serial number is the drive's: one that has several namespaces is asked once. */
static bool drive_counted(const struct nvmf_view *view, uint32_t index)
{
	const struct bdev *bdev = view->slots[index].ns->bdev;

	for (uint32_t i = 0; bdev->serial[0] && i < index; i++)
		if (view->slots[i].ns && strcmp(view->slots[i].ns->bdev->serial, bdev->serial) == 0)
			return true;
	return false;
}

static void health_add(struct bdev_health *sum, const struct bdev_health *h)
{
	sum->warnings |= h->warnings;
	sum->spare = MIN(sum->spare, h->spare);
	sum->spare_threshold = MAX(sum->spare_threshold, h->spare_threshold);
	sum->used = MAX(sum->used, h->used);
	sum->temperature_k = MAX(sum->temperature_k, h->temperature_k);
	for (unsigned i = 0; i < BDEV_SENSORS; i++)
		sum->sensor_k[i] = MAX(sum->sensor_k[i], h->sensor_k[i]);
	sum->busy_minutes = MAX(sum->busy_minutes, h->busy_minutes);
	sum->power_cycles = MAX(sum->power_cycles, h->power_cycles);
	sum->power_on_hours = MAX(sum->power_on_hours, h->power_on_hours);
	sum->warm_minutes = MAX(sum->warm_minutes, h->warm_minutes);
	sum->hot_minutes = MAX(sum->hot_minutes, h->hot_minutes);
	sum->unsafe_shutdowns += h->unsafe_shutdowns;
	sum->media_errors += h->media_errors;
}

static void smart_add(struct smart_sum *sum, struct bdev *bdev, bool ask)
{
	struct bdev_health health = { 0 };
	struct stat_io stats;

	memset(&stats, 0, sizeof(stats));
	bdev_stats(bdev, &stats);
	sum->read_bytes += stats.cls[STAT_READ].bytes;
	sum->reads += stats.cls[STAT_READ].ops;
	sum->write_bytes += stats.cls[STAT_WRITE].bytes;
	sum->writes += stats.cls[STAT_WRITE].ops;
	sum->space_low |= bdev->space_low;
	if (!ask)
		return;
	if (bdev->ops->health && bdev->ops->health(bdev, &health) == 0) {
		health_add(&sum->health, &health);
		sum->told = true;
		return;
	}
	sum->errors += stats.cls[STAT_READ].errors + stats.cls[STAT_WRITE].errors;
}

static void smart_number(uint8_t field[16], uint64_t v)
{
	le64 low = le64_make(v);

	memcpy(field, &low, sizeof(low));
}

/* The host's own thresholds: feature 04h. */
static bool temperature_warns(const struct nvmf_ctrl *ctrl, uint16_t temperature_k)
{
	return temperature_k && (temperature_k <= ctrl->temperature[1] ||
				 (ctrl->temperature[0] != TEMPERATURE_NONE &&
				  temperature_k >= ctrl->temperature[0]));
}

static uint8_t smart_warnings(const struct nvmf_ctrl *ctrl, const struct bdev_health *h,
			      bool space_low)
{
	return h->warnings | (space_low ? NVME_SMART_SPARE : 0) |
	       (temperature_warns(ctrl, h->temperature_k) ? NVME_SMART_TEMPERATURE : 0);
}

static void smart_emit(struct nvmf_req *req, const struct smart_sum *sum)
{
	const struct nvmf_ctrl *ctrl = req->queue->ctrl;
	const struct bdev_health *h = &sum->health;
	uint8_t threshold = h->spare_threshold;
	struct nvme_log_smart smart;

	memset(&smart, 0, sizeof(smart));
	smart.critical_warning = smart_warnings(ctrl, h, sum->space_low);
	smart.composite_temperature = le16_un_make(h->temperature_k);
	/* spare is also the space that thin volumes still can take */
	if (sum->space_low || !sum->told)
		threshold = MAX(threshold, SPARE_THRESHOLD);
	smart.available_spare_threshold = threshold;
	smart.available_spare = sum->space_low ? MIN(h->spare, threshold - 1) : h->spare;
	smart.percentage_used = h->used;
	smart_number(smart.data_units_read, div_round_up(sum->read_bytes, UNIT));
	smart_number(smart.data_units_written, div_round_up(sum->write_bytes, UNIT));
	smart_number(smart.host_read_commands, sum->reads);
	smart_number(smart.host_write_commands, sum->writes);
	smart_number(smart.controller_busy_time, h->busy_minutes);
	smart_number(smart.power_cycles, h->power_cycles);
	smart_number(smart.power_on_hours, h->power_on_hours);
	smart_number(smart.unsafe_shutdowns, h->unsafe_shutdowns);
	smart_number(smart.media_errors, h->media_errors + sum->errors);
	smart_number(smart.error_log_entries, ctrl->error_count);
	smart.warning_temperature_time = le32_make(h->warm_minutes);
	smart.critical_temperature_time = le32_make(h->hot_minutes);
	for (unsigned i = 0; i < BDEV_SENSORS; i++)
		smart.temperature_sensor[i] = le16_make(h->sensor_k[i]);
	nvmf_req_clear(req);
	nvmf_req_emit(req, nvmf_log_offset(req), 0, &smart, sizeof(smart));
}

/* ---- events ---- */

static const struct {
	uint8_t warnings;
	enum nvmf_event event;
} alarms[] = {
	{ NVME_SMART_SPARE, NVMF_EVENT_SPARE },
	{ NVME_SMART_TEMPERATURE, NVMF_EVENT_TEMPERATURE },
	{ NVME_SMART_RELIABILITY | NVME_SMART_READONLY | NVME_SMART_BACKUP_FAILED,
	  NVMF_EVENT_RELIABILITY },
};

static void smart_tell(struct nvmf_ctrl *ctrl, uint8_t warnings)
{
	uint8_t news = warnings & ~ctrl->smart_told & ctrl->aec;

	ctrl->smart_told |= warnings;
	for (unsigned i = 0; i < ARRAY_SIZE(alarms); i++)
		if (news & alarms[i].warnings)
			nvmf_event_raise(ctrl, alarms[i].event);
}

void nvmf_smart_warn(const struct nvmf_ns *ns)
{
	const struct bdev *bdev = ns->bdev;
	struct nvmf_ctrl *ctrl;

	list_for_each(ctrl, &ns->subsys->ctrls, link)
		if (nvmf_view_find(ctrl, ns->nsid))
			smart_tell(ctrl, smart_warnings(ctrl, &bdev->told, bdev->space_low));
}

/* ---- commands ---- */

/* In a task; namespaces may come and go while a drive is asked. NSID 0: all. */
static void smart_sum(struct nvmf_req *req, uint32_t nsid, struct smart_sum *sum)
{
	struct nvmf_ctrl *ctrl = req->queue->ctrl;

	*sum = (struct smart_sum){ .health.spare = SPARE_FULL };
	for (uint32_t i = 0; i < nvmf_view(ctrl)->nn; i++) {
		const struct nvmf_view *view = nvmf_view(ctrl);

		req->ns = view->slots[i].ns;
		if (!req->ns || (nsid && i + 1 != nsid))
			continue;
		smart_add(sum, req->ns->bdev, nsid || !drive_counted(view, i));
	}
}

static uint16_t smart_run(struct nvmf_req *req)
{
	struct nvmf_ctrl *ctrl = req->queue->ctrl;
	uint32_t nsid = le32_get(req->sqe.nsid);
	struct smart_sum sum;

	/* what happens from here on may not be in the page */
	if (!(le32_get(req->sqe.cdw10) & NVME_LOG_RAE))
		for (unsigned i = 0; i < ARRAY_SIZE(alarms); i++)
			nvmf_event_read(ctrl, alarms[i].event);
	smart_sum(req, nsid == (uint32_t)NVME_NSID_ALL ? 0 : nsid, &sum);
	if (nsid == 0 || nsid == (uint32_t)NVME_NSID_ALL)
		ctrl->smart_told = smart_warnings(ctrl, &sum.health, sum.space_low);
	smart_emit(req, &sum);
	return 0;
}

uint16_t nvmf_smart_parse(struct nvmf_req *req)
{
	uint32_t nsid = le32_get(req->sqe.nsid);

	if (nsid == 0 || nsid == (uint32_t)NVME_NSID_ALL)
		return 0;
	return nvmf_view_find(req->queue->ctrl, nsid) ? 0 : NVME_SC_INVALID_NS;
}

void nvmf_smart_exec(struct nvmf_req *req)
{
	nvmf_req_call(req, smart_run);
}

static uint16_t smart_look_run(struct nvmf_req *req)
{
	bool threshold = (uint8_t)le32_get(req->sqe.cdw10) == NVME_FEAT_TEMPERATURE;
	struct nvmf_ctrl *ctrl = req->queue->ctrl;
	struct smart_sum sum;

	smart_sum(req, 0, &sum);
	ctrl->smart_told &= threshold ? (uint8_t)~NVME_SMART_TEMPERATURE : 0;
	smart_tell(ctrl, smart_warnings(ctrl, &sum.health, sum.space_low));
	return 0;
}

void nvmf_smart_look(struct nvmf_req *req)
{
	nvmf_req_call(req, smart_look_run);
}
