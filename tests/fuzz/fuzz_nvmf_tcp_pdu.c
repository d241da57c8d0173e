/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A host that sends anything. The decoder is total: any eight bytes are a PDU whose parts add up to
 * its length, or a fault that the transport specification has; so is any whole header, and any SGL.
 * The first byte chooses what was agreed on at ICReq, the rest is the stream.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "targets/nvmf/tcp.h"

static void fault_check(const struct nvmf_tcp_fault *fault)
{
	if (fault->fes > NVME_TCP_FES_UNSUPPORTED)
		abort();
	if ((fault->fes == NVME_TCP_FES_HEADER_FIELD || fault->fes == NVME_TCP_FES_UNSUPPORTED) &&
	    fault->fei >= 128)
		abort();
}

static void cmd_check(const struct nvmf_tcp_framing *framing, const struct nvmf_tcp_pdu *pdu,
		      const uint8_t *header)
{
	static struct nvmf_tcp_req tr;

	memcpy(&tr.req.sqe, header + offsetof(struct nvme_tcp_cmd, sqe), sizeof(tr.req.sqe));
	nvmf_tcp_sgl_decode(framing, pdu, &tr);
	if (tr.in_capsule && tr.req.sgl_status == 0 && tr.req.sgl_len > pdu->data_len)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct nvmf_tcp_framing framing = { .in_capsule_max = 8192, .maxh2cdata = 65536 };

	if (size < 1)
		return 0;
	framing.initialized = data[0] & 1;
	framing.hdgst = data[0] & 2;
	framing.ddgst = data[0] & 4;
	data++;
	size--;
	while (size >= sizeof(struct nvme_tcp_ch)) {
		struct nvmf_tcp_fault fault = { .fes = 0xffff };
		struct nvmf_tcp_pdu pdu;
		uint64_t len;

		if (!nvmf_tcp_ch_decode(&framing, data, &pdu, &fault)) {
			fault_check(&fault);
			return 0;
		}
		len = (uint64_t)pdu.header_len + pdu.pad_len + pdu.data_len + (pdu.ddgst ? 4 : 0);
		if (pdu.header_len > NVMF_TCP_HEADER_MAX || len > UINT32_MAX)
			abort();
		if (size < pdu.header_len)
			return 0;
		if (!nvmf_tcp_header_decode(&framing, data, &pdu, &fault)) {
			fault_check(&fault);
			return 0;
		}
		if (pdu.type == NVME_TCP_CMD)
			cmd_check(&framing, &pdu, data);
		framing.initialized = true;
		if (size < len)
			return 0;
		data += len;
		size -= len;
	}
	return 0;
}
