/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Virtio 1.2: virtqueues, split and packed (2.7, 2.8), the block device (5.2) and the SCSI host
 * (5.6). All of it is little-endian.
 */
#ifndef SPEC_VIRTIO_H
#define SPEC_VIRTIO_H

#include <assert.h>
#include <stddef.h>

#include "core/base/endian.h"

/* Feature bits, 6 and of the devices. */
enum virtio_feature {
	VIRTIO_BLK_F_SIZE_MAX = 1,
	VIRTIO_BLK_F_SEG_MAX = 2,
	VIRTIO_BLK_F_RO = 5,
	VIRTIO_BLK_F_BLK_SIZE = 6,
	VIRTIO_BLK_F_FLUSH = 9,
	VIRTIO_BLK_F_TOPOLOGY = 10,
	VIRTIO_BLK_F_CONFIG_WCE = 11,
	VIRTIO_BLK_F_MQ = 12,
	VIRTIO_BLK_F_DISCARD = 13,
	VIRTIO_BLK_F_WRITE_ZEROES = 14,
	VIRTIO_SCSI_F_INOUT = 0,
	VIRTIO_SCSI_F_HOTPLUG = 1,
	VIRTIO_SCSI_F_CHANGE = 2,
	VHOST_F_LOG_ALL = 26,
	VIRTIO_F_ANY_LAYOUT = 27,
	VIRTIO_F_INDIRECT_DESC = 28,
	VIRTIO_F_EVENT_IDX = 29,
	VHOST_USER_F_PROTOCOL_FEATURES = 30,
	VIRTIO_F_VERSION_1 = 32,
	VIRTIO_F_RING_PACKED = 34,
	VIRTIO_F_IN_ORDER = 35,
	VIRTIO_F_RING_RESET = 40,
};

enum virtq_desc_flag {
	VIRTQ_DESC_NEXT = 1 << 0,
	VIRTQ_DESC_WRITE = 1 << 1,
	VIRTQ_DESC_INDIRECT = 1 << 2,
	VIRTQ_DESC_AVAIL = 1 << 7,      /* packed */
	VIRTQ_DESC_USED = 1 << 15,      /* packed */
};

enum {
	VIRTQ_SIZE_MAX = 1024,          /* ours; virtio allows 32768 */
	VIRTQ_AVAIL_NO_INTERRUPT = 1,
	VIRTQ_USED_NO_NOTIFY = 1,
	VIRTQ_EVENT_ENABLE = 0,         /* packed event suppression, 2.8.14 */
	VIRTQ_EVENT_DISABLE = 1,
	VIRTQ_EVENT_DESC = 2,
	VIRTQ_EVENT_WRAP = 0x8000,
};

/* ---- split ---- */

struct virtq_desc {
	le64 addr;
	le32 len;
	le16 flags;
	le16 next;
};
static_assert(sizeof(struct virtq_desc) == 16, "virtq_desc");

struct virtq_avail {
	le16 flags;
	le16 idx;
	le16 ring[];                    /* and used_event after the last */
};

struct virtq_used_elem {
	le32 id;
	le32 len;
};

struct virtq_used {
	le16 flags;
	le16 idx;
	struct virtq_used_elem ring[];  /* and avail_event, le16, after the last */
};

/* ---- packed ---- */

struct virtq_packed_desc {
	le64 addr;
	le32 len;
	le16 id;
	le16 flags;
};
static_assert(sizeof(struct virtq_packed_desc) == 16, "virtq_packed_desc");

struct virtq_packed_event {
	le16 off_wrap;
	le16 flags;
};

/* ---- block device ---- */

enum virtio_blk_type {
	VIRTIO_BLK_T_IN = 0,
	VIRTIO_BLK_T_OUT = 1,
	VIRTIO_BLK_T_FLUSH = 4,
	VIRTIO_BLK_T_GET_ID = 8,
	VIRTIO_BLK_T_DISCARD = 11,
	VIRTIO_BLK_T_WRITE_ZEROES = 13,
};

enum virtio_blk_status {
	VIRTIO_BLK_S_OK = 0,
	VIRTIO_BLK_S_IOERR = 1,
	VIRTIO_BLK_S_UNSUPP = 2,
};

enum {
	VIRTIO_BLK_SECTOR_SHIFT = 9,
	VIRTIO_BLK_ID_BYTES = 20,
	VIRTIO_BLK_DWZ_UNMAP = 1,
};

struct virtio_blk_header {
	le32 type;
	le32 reserved;
	le64 sector;
};
static_assert(sizeof(struct virtio_blk_header) == 16, "virtio_blk_header");

struct virtio_blk_range {
	le64 sector;
	le32 num_sectors;
	le32 flags;
};
static_assert(sizeof(struct virtio_blk_range) == 16, "virtio_blk_range");

struct virtio_blk_config {
	le64 capacity;                  /* 512-byte sectors */
	le32 size_max;
	le32 seg_max;
	le16 cylinders;
	uint8_t heads, sectors;
	le32 blk_size;
	uint8_t physical_block_exp, alignment_offset;
	le16 min_io_size;
	le32 opt_io_size;
	uint8_t writeback, unused0;
	le16 num_queues;
	le32 max_discard_sectors;
	le32 max_discard_seg;
	le32 discard_sector_alignment;
	le32 max_write_zeroes_sectors;
	le32 max_write_zeroes_seg;
	uint8_t write_zeroes_may_unmap, unused1[3];
};
static_assert(offsetof(struct virtio_blk_config, num_queues) == 34, "virtio_blk_config");
static_assert(sizeof(struct virtio_blk_config) == 64, "virtio_blk_config");

/* ---- SCSI host ---- */

enum {
	VIRTIO_SCSI_CDB_BYTES = 32,
	VIRTIO_SCSI_SENSE_BYTES = 96,
	VIRTIO_SCSI_CONTROL_QUEUE = 0,
	VIRTIO_SCSI_EVENT_QUEUE = 1,
	VIRTIO_SCSI_REQUEST_QUEUE = 2,
};

enum virtio_scsi_response {
	VIRTIO_SCSI_S_OK = 0,
	VIRTIO_SCSI_S_OVERRUN = 1,
	VIRTIO_SCSI_S_ABORTED = 2,
	VIRTIO_SCSI_S_BAD_TARGET = 3,
	VIRTIO_SCSI_S_RESET = 4,
	VIRTIO_SCSI_S_BUSY = 5,
	VIRTIO_SCSI_S_FAILURE = 9,
	VIRTIO_SCSI_S_FUNCTION_SUCCEEDED = 10,
	VIRTIO_SCSI_S_FUNCTION_REJECTED = 11,
	VIRTIO_SCSI_S_INCORRECT_LUN = 12,
	VIRTIO_SCSI_S_FUNCTION_COMPLETE = 0,
};

struct virtio_scsi_config {
	le32 num_queues;
	le32 seg_max;
	le32 max_sectors;
	le32 cmd_per_lun;
	le32 event_info_size;
	le32 sense_size;
	le32 cdb_size;
	le16 max_channel;
	le16 max_target;
	le32 max_lun;
};
static_assert(sizeof(struct virtio_scsi_config) == 36, "virtio_scsi_config");

/* What the driver wrote: 51 bytes. */
struct virtio_scsi_request {
	uint8_t lun[8];
	uint8_t tag[8];
	uint8_t task_attr, prio, crn;
	uint8_t cdb[VIRTIO_SCSI_CDB_BYTES];
};
static_assert(sizeof(struct virtio_scsi_request) == 51, "virtio_scsi_request");

struct virtio_scsi_reply {
	le32 sense_len;
	le32 residual;
	le16 status_qualifier;
	uint8_t status, response;
	uint8_t sense[VIRTIO_SCSI_SENSE_BYTES];
};
static_assert(sizeof(struct virtio_scsi_reply) == 108, "virtio_scsi_reply");

enum virtio_scsi_control_type {
	VIRTIO_SCSI_T_TMF = 0,
	VIRTIO_SCSI_T_AN_QUERY = 1,
	VIRTIO_SCSI_T_AN_SUBSCRIBE = 2,
};

struct virtio_scsi_tmf {
	le32 type;
	le32 subtype;
	uint8_t lun[8];
	le64 tag;
};
static_assert(sizeof(struct virtio_scsi_tmf) == 24, "virtio_scsi_tmf");

struct virtio_scsi_an {
	le32 type;
	uint8_t lun[8];
	le32 event_requested;
};

enum virtio_scsi_event_type {
	VIRTIO_SCSI_T_EVENTS_MISSED = 0x80000000,
	VIRTIO_SCSI_T_NO_EVENT = 0,
	VIRTIO_SCSI_T_TRANSPORT_RESET = 1,
	VIRTIO_SCSI_T_PARAM_CHANGE = 3,
};

enum virtio_scsi_event_reason {
	VIRTIO_SCSI_EVT_RESET_HARD = 0,
	VIRTIO_SCSI_EVT_RESET_RESCAN = 1,
	VIRTIO_SCSI_EVT_RESET_REMOVED = 2,
};

struct virtio_scsi_event {
	le32 event;
	uint8_t lun[8];
	le32 reason;
};
static_assert(sizeof(struct virtio_scsi_event) == 16, "virtio_scsi_event");

#endif
