/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a drive says about itself: the first byte chooses the data structure, the rest is its
 * beginning. Whatever decodes must make sense.
 */
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "core/base/panic.h"
#include "core/base/util.h"
#include "drivers/nvme/nvme.h"

static union {
	uint8_t bytes[NVME_DATA_BYTES];
	struct nvme_id_ctrl ctrl;
	struct nvme_id_ctrl_nvm nvm;
	struct nvme_id_ns ns;
	le32 list[NVME_NS_LIST_MAX];
} data;

static void text_check(const char *text, size_t room)
{
	size_t len = strnlen(text, room);

	ASSERT(len < room);
	for (size_t i = 0; i < len; i++)
		ASSERT(text[i] >= ' ' && text[i] <= '~');
	ASSERT(len == 0 || (text[0] != ' ' && text[len - 1] != ' '));
}

static void ctrl_check(void)
{
	struct nvme_ctrl_info info;
	struct nvme_nvm_limits limits;
	const char *why = NULL;

	nvme_nvm_limits_decode(&data.nvm, 4096, &limits);
	ASSERT(limits.write_zeroes_bytes_max % 4096 == 0);
	if (nvme_ctrl_decode(&data.ctrl, 4096, &info, &why) < 0) {
		ASSERT(why);
		return;
	}
	text_check(info.serial, sizeof(info.serial));
	text_check(info.model, sizeof(info.model));
	text_check(info.firmware, sizeof(info.firmware));
	ASSERT(info.xfer_bytes_max % 4096 == 0);
	ASSERT(info.error_entries >= 1 && info.error_entries <= 256);
}

static void ns_check(void)
{
	struct nvme_ns_info info;
	const char *why = NULL;
	int rc = nvme_ns_decode(&data.ns, 0xffff, &info, &why), format;
	uint64_t bytes;

	for (unsigned shift = 9; shift <= 16; shift++) {
		format = nvme_format_find(&data.ns, 1u << shift);
		ASSERT(format < 0 || le16_get(data.ns.lbaf[format].ms) == 0);
	}
	if (rc < 0) {
		ASSERT(rc == -ENOENT || why);
		return;
	}
	ASSERT(IS_POWER_OF_2(info.block_bytes) && info.block_bytes >= 512);
	ASSERT(info.block_bytes <= 65536 && info.block_count > 0 && info.atomic_blocks > 0);
	ASSERT(!mul_overflows(info.block_count, (uint64_t)info.block_bytes, &bytes));
	ASSERT(bytes <= INT64_MAX);
}

static void list_check(uint32_t after)
{
	uint32_t nsids[NVME_NS_LIST_MAX];
	int n = nvme_ns_list_decode(data.list, after, nsids);

	for (int i = 0; i < n; i++) {
		ASSERT(nsids[i] > after);
		after = nsids[i];
	}
	ASSERT(n <= NVME_NS_LIST_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len)
{
	struct nvme_ns_info info = { .csi = 0 };

	if (len < 2)
		return 0;
	memset(&data, 0, sizeof(data));
	memcpy(&data, in + 1, MIN(len - 1, sizeof(data)));
	switch (in[0] % 4) {
	case 0:
		ctrl_check();
		break;
	case 1:
		ns_check();
		break;
	case 2:
		list_check(in[0] >> 2);
		break;
	default:
		/* exactly as long as the input: a read beyond is seen */
		nvme_ns_descs_decode(in + 1, len - 1, &info);
	}
	return 0;
}
