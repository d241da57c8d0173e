/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a target may send: the first byte is what was agreed on, the rest a stream of PDUs. Whatever
 * decodes lies inside of what its lengths say, and whatever does not has a reason.
 */
#include <stdint.h>
#include <string.h>

#include "core/base/crc32c.h"
#include "core/base/panic.h"
#include "core/base/util.h"
#include "drivers/remote/pdu.h"

enum { IC = 1 << 0, HDGST = 1 << 1, DDGST = 1 << 2, SEAL = 1 << 3 };

/* Makes the header digest right, so that what lies behind it is reached too. */
static void seal(uint8_t *header, const struct remote_pdu *pdu)
{
	unsigned hlen = pdu->header_len - NVME_TCP_DIGEST_BYTES;
	le32 crc = le32_make(crc32c(header, hlen));

	memcpy(header + hlen, &crc, sizeof(crc));
}

static void fault_check(const struct remote_fault *fault)
{
	ASSERT(fault->what && fault->fes <= NVME_TCP_FES_UNSUPPORTED);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct remote_framing framing;
	uint8_t header[REMOTE_HEADER_MAX];
	struct remote_fault fault = { 0 };
	struct remote_pdu pdu;
	uint8_t how;

	if (size == 0)
		return 0;
	how = *data++;
	size--;
	framing = (struct remote_framing){
		.initialized = how & IC, .hdgst = how & HDGST, .ddgst = how & DDGST,
	};
	while (size >= sizeof(struct nvme_tcp_ch)) {
		uint64_t rest;

		if (!remote_ch_decode(&framing, data, &pdu, &fault)) {
			fault_check(&fault);
			return 0;
		}
		ASSERT(pdu.header_len >= sizeof(struct nvme_tcp_ch) + 16 &&
		       pdu.header_len <= REMOTE_HEADER_MAX);
		if (size < pdu.header_len)
			return 0;
		memcpy(header, data, pdu.header_len);
		if ((how & SEAL) && framing.hdgst && pdu.type != NVME_TCP_IC_RESP)
			seal(header, &pdu);
		if (!remote_header_decode(&framing, header, &pdu, &fault)) {
			fault_check(&fault);
			return 0;
		}
		ASSERT(pdu.type != NVME_TCP_C2H_TERM);
		ASSERT((pdu.data_len > 0) == (pdu.type == NVME_TCP_C2H_DATA));
		ASSERT(!pdu.ddgst || framing.ddgst);
		if (pdu.type == NVME_TCP_IC_RESP)
			framing.initialized = true;
		rest = (uint64_t)pdu.header_len + pdu.pad_len + pdu.data_len +
		       (pdu.ddgst ? NVME_TCP_DIGEST_BYTES : 0);
		if (rest > size)
			return 0;
		data += rest;
		size -= rest;
	}
	return 0;
}
