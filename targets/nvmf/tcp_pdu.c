/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Decoding of PDU headers: any bytes give either a PDU that is right as far as it stands alone, or
 * the fault that the transport specification names (1.0 3.5, 3.6). Fields are checked in the order
 * in which they lie, so that the lowest one in error is reported. No I/O, no state.
 */
#include "targets/nvmf/tcp.h"

#include <string.h>

#include "core/base/crc32c.h"

static bool fault_set(struct nvmf_tcp_fault *fault, enum nvme_tcp_fes fes, uint32_t fei)
{
	fault->fes = fes;
	fault->fei = fei;
	return false;
}

#define BAD_FIELD(fault, type, field) \
	fault_set(fault, NVME_TCP_FES_HEADER_FIELD, offsetof(struct type, field))

/* What each PDU that a host may send looks like; hlen 0: no such PDU. */
static const struct {
	uint8_t hlen, flags;
	bool digests;                   /* takes part in digests */
	bool data;                      /* may carry data, and PDO tells where */
} shapes[] = {
	[NVME_TCP_IC_REQ] = { sizeof(struct nvme_tcp_ic_req), 0, false, false },
	[NVME_TCP_H2C_TERM] = { sizeof(struct nvme_tcp_term), 0, false, false },
	[NVME_TCP_CMD] = { sizeof(struct nvme_tcp_cmd), NVME_TCP_HDGST | NVME_TCP_DDGST, true,
			   true },
	[NVME_TCP_H2C_DATA] = { sizeof(struct nvme_tcp_data),
				NVME_TCP_HDGST | NVME_TCP_DDGST | NVME_TCP_LAST, true, true },
};

static bool ch_data_decode(const struct nvmf_tcp_framing *framing, const struct nvme_tcp_ch *ch,
			   struct nvmf_tcp_pdu *pdu, struct nvmf_tcp_fault *fault)
{
	uint32_t plen = le32_get(ch->plen), tail;

	pdu->data_len = 0;
	pdu->pad_len = 0;
	pdu->ddgst = false;
	if (plen < pdu->header_len)
		return BAD_FIELD(fault, nvme_tcp_ch, plen);
	if (plen == pdu->header_len) {
		if (ch->pdo != 0 && ch->pdo != plen)
			return BAD_FIELD(fault, nvme_tcp_ch, pdo);
		return true;
	}
	if (framing->ddgst && !(ch->flags & NVME_TCP_DDGST))
		return BAD_FIELD(fault, nvme_tcp_ch, flags);
	/* CPDA is 0: data starts on four bytes */
	if (ch->pdo < pdu->header_len || ch->pdo > plen || ch->pdo % 4)
		return BAD_FIELD(fault, nvme_tcp_ch, pdo);
	pdu->ddgst = framing->ddgst;
	tail = pdu->ddgst ? NVME_TCP_DIGEST_BYTES : 0;
	if (plen - ch->pdo <= tail)
		return BAD_FIELD(fault, nvme_tcp_ch, plen);
	pdu->pad_len = ch->pdo - pdu->header_len;
	pdu->data_len = plen - ch->pdo - tail;
	return true;
}

bool nvmf_tcp_ch_decode(const struct nvmf_tcp_framing *framing, const uint8_t *bytes,
			struct nvmf_tcp_pdu *pdu, struct nvmf_tcp_fault *fault)
{
	struct nvme_tcp_ch ch;
	uint8_t digests = 0;

	memcpy(&ch, bytes, sizeof(ch));
	pdu->type = ch.type;
	pdu->flags = ch.flags;
	if (unlikely(ch.type >= ARRAY_SIZE(shapes) || shapes[ch.type].hlen == 0))
		return BAD_FIELD(fault, nvme_tcp_ch, type);
	/* ICReq comes first and once: 3.1 */
	if (unlikely((ch.type == NVME_TCP_IC_REQ) == framing->initialized &&
		     ch.type != NVME_TCP_H2C_TERM))
		return fault_set(fault, NVME_TCP_FES_SEQUENCE, 0);
	if (shapes[ch.type].digests) {
		digests = framing->hdgst ? NVME_TCP_HDGST : 0;
		/* a digest that was not agreed on; DDGSTF matters only with data */
		if (unlikely((ch.flags & NVME_TCP_HDGST) != digests ||
			     (ch.flags & ~shapes[ch.type].flags) ||
			     (ch.flags & NVME_TCP_DDGST && !framing->ddgst)))
			return BAD_FIELD(fault, nvme_tcp_ch, flags);
	}
	if (unlikely(ch.hlen != shapes[ch.type].hlen)) {
		/* 3.5.2: a termination request is not answered by another */
		if (ch.type == NVME_TCP_H2C_TERM)
			return fault_set(fault, 0, 0);
		return BAD_FIELD(fault, nvme_tcp_ch, hlen);
	}
	pdu->header_len = ch.hlen + (digests ? NVME_TCP_DIGEST_BYTES : 0);
	if (shapes[ch.type].data)
		return ch_data_decode(framing, &ch, pdu, fault);
	pdu->pad_len = 0;
	pdu->ddgst = false;
	pdu->data_len = le32_get(ch.plen) - ch.hlen;
	if (ch.type == NVME_TCP_H2C_TERM)
		return pdu->data_len <= NVME_TCP_TERM_DATA_MAX ? true : fault_set(fault, 0, 0);
	return pdu->data_len == 0 ? true : BAD_FIELD(fault, nvme_tcp_ch, plen);
}

static bool ic_req_decode(const uint8_t *header, struct nvmf_tcp_fault *fault)
{
	struct nvme_tcp_ic_req req;

	memcpy(&req, header, sizeof(req));
	if (le16_get(req.pfv) != NVME_TCP_PFV)
		return fault_set(fault, NVME_TCP_FES_UNSUPPORTED,
				 offsetof(struct nvme_tcp_ic_req, pfv));
	if (req.hpda > NVME_TCP_PDA_MAX)
		return BAD_FIELD(fault, nvme_tcp_ic_req, hpda);
	if (req.dgst & ~(NVME_TCP_DGST_HEADER | NVME_TCP_DGST_DATA))
		return BAD_FIELD(fault, nvme_tcp_ic_req, dgst);
	return true;
}

static bool h2c_data_decode(const struct nvmf_tcp_framing *framing, const uint8_t *header,
			    const struct nvmf_tcp_pdu *pdu, struct nvmf_tcp_fault *fault)
{
	struct nvme_tcp_data data;
	uint32_t datal;

	memcpy(&data, header, sizeof(data));
	datal = le32_get(data.datal);
	if (datal > framing->maxh2cdata)
		return fault_set(fault, NVME_TCP_FES_LIMIT, 0);
	if (datal == 0 || datal != pdu->data_len)
		return BAD_FIELD(fault, nvme_tcp_data, datal);
	return true;
}

bool nvmf_tcp_header_decode(const struct nvmf_tcp_framing *framing, const uint8_t *header,
			    const struct nvmf_tcp_pdu *pdu, struct nvmf_tcp_fault *fault)
{
	if (pdu->flags & NVME_TCP_HDGST && pdu->type != NVME_TCP_IC_REQ &&
	    pdu->type != NVME_TCP_H2C_TERM) {
		unsigned hlen = pdu->header_len - NVME_TCP_DIGEST_BYTES;
		le32 received;

		memcpy(&received, header + hlen, sizeof(received));
		if (unlikely(le32_get(received) != crc32c(header, hlen)))
			return fault_set(fault, NVME_TCP_FES_HEADER_DIGEST, le32_get(received));
	}
	switch (pdu->type) {
	case NVME_TCP_CMD:
		if (unlikely(pdu->data_len > framing->in_capsule_max))
			return fault_set(fault, NVME_TCP_FES_LIMIT, 0);
		return true;
	case NVME_TCP_H2C_DATA:
		return h2c_data_decode(framing, header, pdu, fault);
	case NVME_TCP_IC_REQ:
		return ic_req_decode(header, fault);
	default:                        /* H2CTermReq: the peer gives up, so do we */
		return fault_set(fault, 0, 0);
	}
}

/*
 * Two kinds of SGL exist here (transport 1.0 3.3.2): a Data Block with an offset into the capsule,
 * and a Transport Data Block, whose data goes by R2T and H2CData or C2HData.
 */
void nvmf_tcp_sgl_decode(const struct nvmf_tcp_framing *framing, const struct nvmf_tcp_pdu *pdu,
			 struct nvmf_tcp_req *tr)
{
	const struct nvme_sgl *sgl = &tr->req.sqe.sgl;

	tr->in_capsule = false;
	tr->req.sgl_len = le32_get(sgl->length);
	tr->req.sgl_status = 0;
	switch (sgl->id) {
	case NVME_SGL_TRANSPORT << 4 | NVME_SGL_TRANSPORT_SPECIFIC:
		return;
	case NVME_SGL_DATA << 4 | NVME_SGL_OFFSET:
		tr->in_capsule = true;
		/* bits 1:0 of the opcode: data to the host cannot be in the command */
		if ((tr->req.sqe.opc & 3) == 2)
			tr->req.sgl_status = NVME_SC_SGL_TYPE;
		else if (le64_get(sgl->addr) != 0)
			tr->req.sgl_status = NVME_SC_SGL_OFFSET;
		else if (tr->req.sgl_len > pdu->data_len ||
			 tr->req.sgl_len > framing->in_capsule_max)
			tr->req.sgl_status = NVME_SC_DATA_SGL_LENGTH;
		return;
	default:
		tr->req.sgl_status = NVME_SC_SGL_TYPE;
	}
}
