/* SPDX-License-Identifier: BSD-3-Clause */
/* One page of metadata: its checksum and what it says that it is. */
#include "blob/md.h"
#include "core/base/crc32c.h"

bool page_crc_good(const struct bs_md_page *md)
{
	return crc32c(md, MD_CRC_BYTES) == le32_un_get(md->crc);
}

void page_crc_set(struct bs_md_page *md)
{
	md->crc = le32_un_make(crc32c(md, MD_CRC_BYTES));
}

bool page_is_root(const struct bs_md_page *md, uint32_t page)
{
	return le64_un_get(md->id) == (BLOB_ID_BASE | page) && le32_un_get(md->sequence_num) == 0;
}

bool page_is_extent(const struct bs_md_page *md, uint32_t *e)
{
	const struct bs_desc *desc = (const struct bs_desc *)md->descriptors;
	const le32_un *start = (const le32_un *)(desc + 1);

	if (desc->type != BS_DESC_EXTENT_PAGE || le32_un_get(desc->length) < sizeof(*start) ||
	    le32_un_get(md->sequence_num) != 0 || le32_un_get(md->next) != MD_PAGE_NONE)
		return false;
	*e = le32_un_get(*start) / BS_EXTENT_CLUSTERS;
	return true;
}
