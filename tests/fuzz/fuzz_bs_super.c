/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A superblock: the input is its beginning, the checksum is made right so that the fields are
 * reached. What passes must have every area on the disk and encode to the same again.
 */
#include <stdint.h>
#include <string.h>

#include "blob/md.h"
#include "core/base/crc32c.h"
#include "core/base/panic.h"

enum { DISK_BYTES = 1 << 30 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bs_super raw = { 0 }, again;
	struct super super, other;
	struct why why = { "" };

	memcpy(&raw, data, size < MD_CRC_BYTES ? size : MD_CRC_BYTES);
	raw.crc = le32_un_make(crc32c(&raw, MD_CRC_BYTES));
	if (super_decode(&raw, DISK_BYTES, &super, &why) < 0) {
		ASSERT(why.text[0]);
		return 0;
	}
	ASSERT(super.size_bytes <= DISK_BYTES && super.cluster_bytes >= MD_PAGE_BYTES);
	ASSERT(super_md_clusters(&super) <= super_cluster_count(&super));
	ASSERT(((uint64_t)super.md_start + super.md_len) * MD_PAGE_BYTES <= super.size_bytes);
	ASSERT(!super.torn);
	again = raw;
	super_encode(&super, &again);
	ASSERT(super_decode(&again, DISK_BYTES, &other, &why) == 0);
	super_encode(&other, &raw);
	ASSERT(memcmp(&raw, &again, sizeof(raw)) == 0);
	return 0;
}
