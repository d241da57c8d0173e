/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The NVM command set (1.0): its table, and the commands with one range. Parse checks what the host
 * may have wrong and fills req->io; exec adds the data and submits on the queue's own reactor. The
 * block device checks ranges again, splits and emulates.
 *
 * Reservations are looked at last, when a command goes to the disk: what was accepted before a
 * change meets the state after it.
 */
#include "targets/nvmf/nvm.h"

#include "core/resv.h"
#include "targets/nvmf/nvmf.h"

/* ---- on the way to the disk ---- */

bool nvm_refused(const struct nvmf_req *req, unsigned access, uint16_t *status)
{
	const struct nvmf_ns *ns = req->ns;

	if (unlikely(!ns)) {
		*status = NVME_SC_INVALID_NS | NVME_STATUS_DNR;
		return true;
	}
	/* the controller outlives its queues, and its host is constant */
	if (unlikely(!resv_allows(ns->bdev, &req->queue->ctrl->resv_host, access))) {
		*status = NVME_SC_RESERVATION_CONFLICT | NVME_STATUS_DNR;
		return true;
	}
	return false;
}

void nvm_submit_io(struct nvmf_req *req, void (*done)(struct io *io))
{
	req->io.done = done;
	bdev_submit(bdev_chan(req->ns->bdev), &req->io);
}

static void nvm_done(struct io *io)
{
	struct nvmf_req *req = container_of(io, struct nvmf_req, io);

	nvmf_req_done(req, nvmf_status_of_io(io->status));
}

static inline void nvm_submit(struct nvmf_req *req, unsigned access)
{
	uint16_t status;

	if (unlikely(nvm_refused(req, access, &status))) {
		nvmf_req_done(req, status);
		return;
	}
	req->io.iov = req->iov;
	req->io.iov_count = req->iov_count;
	nvm_submit_io(req, nvm_done);
}

static void nvm_read_exec(struct nvmf_req *req)
{
	nvm_submit(req, RESV_READ);
}

static void nvm_write_exec(struct nvmf_req *req)
{
	nvm_submit(req, RESV_WRITE);
}

/* ---- parsing ---- */

/*
 * Namespace, range and flags of all commands with SLBA and NLB. No namespace has protection
 * information, so what the command says of it is ignored: NVM 1.0 3, figures 9 and 10.
 */
static inline uint16_t nvm_range_parse(struct nvmf_req *req, enum io_op op)
{
	struct nvmf_ns *ns;
	uint16_t status = nvmf_view_get(req->queue, le32_get(req->sqe.nsid), &ns);
	uint32_t cdw12 = le32_get(req->sqe.rw_cdw12);
	uint32_t blocks = (cdw12 & NVME_RW_NLB_MASK) + 1;
	uint64_t lba = le64_get(req->sqe.slba), count;

	if (unlikely(status))
		return status;
	count = ns->bdev->block_count;
	if (unlikely(lba >= count || blocks > count - lba))
		return NVME_SC_LBA_RANGE;
	req->ns = ns;
	req->io.op = (uint8_t)op;
	req->io.flags = cdw12 & NVME_RW_FUA ? IO_FUA : 0;
	req->io.lba = lba;
	req->io.lba_count = blocks;
	return 0;
}

static inline uint16_t nvm_data_parse(struct nvmf_req *req, enum io_op op)
{
	uint16_t status = nvm_range_parse(req, op);

	if (unlikely(status))
		return status;
	/* base 2.0c 5.17.2.1: past MDTS is Invalid Field in Command */
	if (unlikely(req->io.lba_count > req->ns->blocks_max))
		return NVME_SC_INVALID_FIELD;
	req->data_len = req->io.lba_count << req->ns->lba_shift;
	return 0;
}

static uint16_t nvm_read_parse(struct nvmf_req *req)
{
	return nvm_data_parse(req, IO_READ);
}

static uint16_t nvm_write_parse(struct nvmf_req *req)
{
	uint16_t status = nvm_data_parse(req, IO_WRITE);

	req->io.flags |= nvmf_write_flags(req->queue);
	return status;
}

static uint16_t nvm_compare_parse(struct nvmf_req *req)
{
	return nvm_data_parse(req, IO_COMPARE);
}

static uint16_t nvm_write_zeroes_parse(struct nvmf_req *req)
{
	uint16_t status = nvm_range_parse(req, IO_WRITE_ZEROES);

	if (status)
		return status;
	req->io.flags |= nvmf_write_flags(req->queue);
	if (!(le32_get(req->sqe.rw_cdw12) & NVME_RW_DEAC))
		req->io.flags |= IO_NO_UNMAP;
	return 0;
}

static uint16_t nvm_verify_parse(struct nvmf_req *req)
{
	return nvm_range_parse(req, IO_VERIFY);
}

uint16_t nvm_ns_parse(struct nvmf_req *req)
{
	return nvmf_view_get(req->queue, le32_get(req->sqe.nsid), &req->ns);
}

const struct nvmf_cmd nvmf_nvm_cmds[256] = {
	[NVME_NVM_FLUSH] = {
		.name = "flush", .parse = nvm_flush_parse, .exec = nvm_flush_exec,
	},
	[NVME_NVM_WRITE] = {
		.name = "write", .dir = NVMF_DIR_H2C, .effects = NVME_EFFECT_LBCC,
		.parse = nvm_write_parse, .exec = nvm_write_exec,
	},
	[NVME_NVM_READ] = {
		.name = "read", .dir = NVMF_DIR_C2H, .parse = nvm_read_parse,
		.exec = nvm_read_exec,
	},
	[NVME_NVM_COMPARE] = {
		.name = "compare", .dir = NVMF_DIR_H2C, .parse = nvm_compare_parse,
		.exec = nvm_read_exec,
	},
	[NVME_NVM_WRITE_ZEROES] = {
		.name = "write zeroes", .effects = NVME_EFFECT_LBCC,
		.parse = nvm_write_zeroes_parse, .exec = nvm_write_exec,
	},
	[NVME_NVM_DSM] = {
		.name = "dataset management", .dir = NVMF_DIR_H2C, .effects = NVME_EFFECT_LBCC,
		.parse = nvm_dsm_parse, .exec = nvm_dsm_exec,
	},
	[NVME_NVM_VERIFY] = {
		.name = "verify", .parse = nvm_verify_parse, .exec = nvm_read_exec,
	},
	[NVME_NVM_COPY] = {
		.name = "copy", .dir = NVMF_DIR_H2C, .effects = NVME_EFFECT_LBCC,
		.parse = nvm_copy_parse, .exec = nvm_copy_exec,
	},
	[NVME_NVM_RESV_REGISTER] = {
		.name = "reservation register", .dir = NVMF_DIR_H2C,
		.parse = nvmf_resv_register_parse, .exec = nvmf_resv_register_exec,
	},
	[NVME_NVM_RESV_REPORT] = {
		.name = "reservation report", .dir = NVMF_DIR_C2H,
		.parse = nvmf_resv_report_parse, .exec = nvmf_resv_report_exec,
	},
	[NVME_NVM_RESV_ACQUIRE] = {
		.name = "reservation acquire", .dir = NVMF_DIR_H2C,
		.parse = nvmf_resv_acquire_parse, .exec = nvmf_resv_acquire_exec,
	},
	[NVME_NVM_RESV_RELEASE] = {
		.name = "reservation release", .dir = NVMF_DIR_H2C,
		.parse = nvmf_resv_release_parse, .exec = nvmf_resv_release_exec,
	},
	[NVME_ADM_FABRICS] = {
		.name = "fabrics", .parse = nvmf_fabrics_parse, .exec = nvmf_fabrics_exec,
	},
};
