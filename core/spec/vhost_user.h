/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The vhost-user protocol: messages over a UNIX socket between a virtual machine monitor (the front
 * end) and us (the back end). Integers are the machine's own, which here is little-endian; file
 * descriptors come as ancillary data.
 */
#ifndef SPEC_VHOST_USER_H
#define SPEC_VHOST_USER_H

#include <assert.h>

#include "core/base/endian.h"

enum vhost_user_request {
	VHOST_USER_GET_FEATURES = 1,
	VHOST_USER_SET_FEATURES = 2,
	VHOST_USER_SET_OWNER = 3,
	VHOST_USER_RESET_OWNER = 4,
	VHOST_USER_SET_MEM_TABLE = 5,
	VHOST_USER_SET_LOG_BASE = 6,
	VHOST_USER_SET_LOG_FD = 7,
	VHOST_USER_SET_VRING_NUM = 8,
	VHOST_USER_SET_VRING_ADDR = 9,
	VHOST_USER_SET_VRING_BASE = 10,
	VHOST_USER_GET_VRING_BASE = 11,
	VHOST_USER_SET_VRING_KICK = 12,
	VHOST_USER_SET_VRING_CALL = 13,
	VHOST_USER_SET_VRING_ERR = 14,
	VHOST_USER_GET_PROTOCOL_FEATURES = 15,
	VHOST_USER_SET_PROTOCOL_FEATURES = 16,
	VHOST_USER_GET_QUEUE_NUM = 17,
	VHOST_USER_SET_VRING_ENABLE = 18,
	VHOST_USER_SET_BACKEND_REQ_FD = 21,
	VHOST_USER_GET_CONFIG = 24,
	VHOST_USER_SET_CONFIG = 25,
	VHOST_USER_GET_INFLIGHT_FD = 31,
	VHOST_USER_SET_INFLIGHT_FD = 32,
	VHOST_USER_RESET_DEVICE = 34,
	VHOST_USER_GET_MAX_MEM_SLOTS = 36,
	VHOST_USER_ADD_MEM_REG = 37,
	VHOST_USER_REM_MEM_REG = 38,
	VHOST_USER_SET_STATUS = 39,
	VHOST_USER_GET_STATUS = 40,
	VHOST_USER_REQUEST_COUNT,
};

/* To the front end, over the channel of SET_BACKEND_REQ_FD. */
enum vhost_user_backend_request {
	VHOST_USER_BACKEND_CONFIG_CHANGE = 2,
};

enum vhost_user_flag {
	VHOST_USER_VERSION = 1,
	VHOST_USER_VERSION_MASK = 3,
	VHOST_USER_REPLY = 1 << 2,
	VHOST_USER_NEED_REPLY = 1 << 3,
};

/* Bits of the protocol features. */
enum vhost_user_protocol {
	VHOST_USER_PROTOCOL_MQ = 0,
	VHOST_USER_PROTOCOL_LOG_SHMFD = 1,
	VHOST_USER_PROTOCOL_REPLY_ACK = 3,
	VHOST_USER_PROTOCOL_BACKEND_REQ = 5,
	VHOST_USER_PROTOCOL_CONFIG = 9,
	VHOST_USER_PROTOCOL_INFLIGHT_SHMFD = 12,
	VHOST_USER_PROTOCOL_RESET_DEVICE = 13,
	VHOST_USER_PROTOCOL_CONFIGURE_MEM_SLOTS = 15,
};

enum {
	VHOST_USER_FDS_MAX = 8,
	VHOST_USER_REGIONS_MAX = 8,             /* of one SET_MEM_TABLE */
	VHOST_USER_CONFIG_MAX = 256,
	VHOST_USER_VRING_INDEX_MASK = 0xff,
	VHOST_USER_VRING_NO_FD = 0x100,
	VHOST_USER_VRING_LOG = 1,               /* flag of SET_VRING_ADDR */
	VHOST_USER_PAGE_SHIFT = 12,             /* of the dirty log */
};

struct vhost_user_header {
	le32 request;
	le32 flags;
	le32 size;                              /* of the payload */
};

struct vhost_user_region {
	le64 guest_addr;
	le64 size;
	le64 user_addr;                         /* in the front end's own address space */
	le64 mmap_offset;
};

struct vhost_user_memory {
	le32 count;
	le32 padding;
	struct vhost_user_region region[VHOST_USER_REGIONS_MAX];
};

struct vhost_user_single_region {
	le64 padding;
	struct vhost_user_region region;
};

struct vhost_user_vring_state {
	le32 index;
	le32 num;
};

struct vhost_user_vring_addr {
	le32 index;
	le32 flags;
	le64 desc, used, avail;                 /* the front end's addresses */
	le64 log;                               /* guest address of the used ring */
};

struct vhost_user_log {
	le64 mmap_size;
	le64 mmap_offset;
};

struct vhost_user_config {
	le32 offset;
	le32 size;
	le32 flags;
	uint8_t region[VHOST_USER_CONFIG_MAX];
};

struct vhost_user_inflight {
	le64 mmap_size;
	le64 mmap_offset;
	le16 num_queues;
	le16 queue_size;
};
static_assert(sizeof(struct vhost_user_header) == 12, "vhost_user_header");
static_assert(sizeof(struct vhost_user_region) == 32, "vhost_user_region");
static_assert(sizeof(struct vhost_user_vring_addr) == 40, "vhost_user_vring_addr");

enum { VHOST_USER_INFLIGHT_BYTES = 20, VHOST_USER_CONFIG_HEADER_BYTES = 12 };

/* The longest payload that we take. */
union vhost_user_payload {
	le64 u64;
	struct vhost_user_memory memory;
	struct vhost_user_single_region single;
	struct vhost_user_vring_state state;
	struct vhost_user_vring_addr addr;
	struct vhost_user_log log;
	struct vhost_user_config config;
	struct vhost_user_inflight inflight;
};

/* ---- in-flight memory: one region for all queues, kept by the front end across our death ---- */

struct vhost_user_inflight_desc {
	uint8_t inflight;
	uint8_t padding[5];
	le16 next;
	le64 counter;
};

struct vhost_user_split {
	le64 features;
	le16 version;
	le16 desc_num;
	le16 last_batch_head;
	le16 used_idx;
	struct vhost_user_inflight_desc desc[];
};

/* Of packed rings. */
struct vhost_user_inflight_desc_packed {
	uint8_t inflight;
	uint8_t padding;
	le16 next;
	le16 last;
	le16 num;
	le64 counter;
	le16 id;
	le16 flags;
	le32 len;
	le64 addr;
};

struct vhost_user_packed {
	le64 features;
	le16 version;
	le16 desc_num;
	le16 free_head;
	le16 old_free_head;
	le16 used_idx;
	le16 old_used_idx;
	uint8_t used_wrap_counter;
	uint8_t old_used_wrap_counter;
	uint8_t padding[7];
	struct vhost_user_inflight_desc_packed desc[];
};

#endif
