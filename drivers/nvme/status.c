/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The edge between NVMe statuses and the house's: SCT and SC become an io_status or an -errno here
 * and nowhere else. Base 2.0c 3.3.3.2, NVM command set 1.0c 3.1.
 */
#include <errno.h>

#include "drivers/nvme/nvme.h"

enum io_status nvme_status_map(uint16_t status)
{
	switch (status & NVME_STATUS_CODE_MASK) {
	case NVME_SC_SUCCESS:
		return IO_OK;
	case NVME_SC_INVALID_OPCODE:
		return IO_ERR_UNSUPPORTED;
	case NVME_SC_INVALID_FIELD:
	case NVME_SC_PRP_OFFSET:
	case NVME_SC_INVALID_SGL_SEGMENT:
	case NVME_SC_INVALID_SGL_COUNT:
	case NVME_SC_DATA_SGL_LENGTH:
	case NVME_SC_SGL_TYPE:
	case NVME_SC_SGL_OFFSET:
	case NVME_SC_SGL_GRANULARITY:
	case NVME_SC_SIZE_LIMIT:
	case NVME_SC_CONFLICTING_ATTRIBUTES:
		return IO_ERR_INVALID;
	case NVME_SC_LBA_RANGE:
		return IO_ERR_RANGE;
	case NVME_SC_NS_WRITE_PROTECTED:
	case NVME_SC_READONLY_RANGE:
		return IO_ERR_READONLY;
	case NVME_SC_READ_ERROR:
	case NVME_SC_GUARD_CHECK:
	case NVME_SC_APPTAG_CHECK:
	case NVME_SC_REFTAG_CHECK:
	case NVME_SC_UNWRITTEN:
		return IO_ERR_MEDIA_READ;
	case NVME_SC_WRITE_FAULT:
		return IO_ERR_MEDIA_WRITE;
	case NVME_SC_COMPARE_FAILURE:
		return IO_ERR_MISCOMPARE;
	case NVME_SC_CAPACITY_EXCEEDED:
	case NVME_SC_NS_CAPACITY:
		return IO_ERR_NOSPC;
	case NVME_SC_ABORT_REQUESTED:
	case NVME_SC_ABORTED_SQ_DELETED:
	case NVME_SC_ABORTED_POWER_LOSS:
	case NVME_SC_ABORTED_PREEMPT:
	case NVME_SC_PATH_ABORTED_BY_HOST:
		return IO_ERR_ABORTED;
	case NVME_SC_INVALID_NS:
		return IO_ERR_GONE;
	default:
		return IO_ERR_DEVICE;
	}
}

bool nvme_status_retryable(uint16_t status)
{
	if (status & NVME_STATUS_DNR)
		return false;
	switch (status & NVME_STATUS_CODE_MASK) {
	case NVME_SC_INTERNAL:
	case NVME_SC_DATA_XFER_ERROR:
	case NVME_SC_ABORTED_POWER_LOSS:
	case NVME_SC_ABORT_REQUESTED:
	case NVME_SC_ABORTED_SQ_DELETED:
	case NVME_SC_INTERRUPTED:
	case NVME_SC_TRANSIENT_TRANSPORT:
	case NVME_SC_MEDIA_NOT_READY:
	case NVME_SC_NS_NOT_READY:
	case NVME_SC_PATH_INTERNAL:
	case NVME_SC_ANA_TRANSITION:
	case NVME_SC_PATH_CTRL:
		return true;
	default:
		return false;
	}
}

int nvme_status_errno(uint16_t status)
{
	switch (status & NVME_STATUS_CODE_MASK) {
	case NVME_SC_SUCCESS:
		return 0;
	case NVME_SC_INVALID_OPCODE:
	case NVME_SC_INVALID_FIELD:
	case NVME_SC_LOG_PAGE_INVALID:
	case NVME_SC_FEATURE_NOT_CHANGEABLE:
		return -EOPNOTSUPP;
	case NVME_SC_INVALID_NS:
		return -ENOENT;
	case NVME_SC_FORMAT_INVALID:
		return -EINVAL;
	case NVME_SC_FORMAT_IN_PROGRESS:
	case NVME_SC_SANITIZE_IN_PROGRESS:
	case NVME_SC_NS_NOT_READY:
	case NVME_SC_MEDIA_NOT_READY:
		return -EBUSY;
	case NVME_SC_NS_WRITE_PROTECTED:
		return -EROFS;
	default:
		return -EIO;
	}
}
