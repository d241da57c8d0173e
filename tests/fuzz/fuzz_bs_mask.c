/* SPDX-License-Identifier: BSD-3-Clause */
/* A mask: two bytes say how many bits there should be, the rest is the mask. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "blob/md.h"
#include "core/base/panic.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bits bits, again;
	uint64_t set = 0;
	uint8_t *copy;
	size_t len;

	if (size < 2)
		return 0;
	ASSERT(bits_init(&bits, (uint64_t)data[0] << 8 | data[1]) == 0);
	ASSERT(bits_init(&again, bits.count) == 0);
	len = sizeof(struct bs_mask) + (bits.count + 7) / 8;
	copy = malloc(len);
	ASSERT(copy);
	if (mask_decode(data + 2, size - 2, BS_MASK_CLUSTERS, &bits) == 0) {
		for (uint64_t i = bits_next_set(&bits, 0); i != BITS_NONE;
		     i = bits_next_set(&bits, i + 1)) {
			ASSERT(i < bits.count);
			set++;
		}
		ASSERT(set == bits.set_count);
		mask_encode(&bits, BS_MASK_CLUSTERS, copy, len);
		ASSERT(mask_decode(copy, len, BS_MASK_CLUSTERS, &again) == 0);
		ASSERT(again.set_count == set);
	}
	free(copy);
	bits_fini(&bits);
	bits_fini(&again);
	return 0;
}
