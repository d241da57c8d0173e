/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Decoding of what a target sends: ICResp, CapsuleResp, C2HData, R2T, C2HTermReq (NVMe/TCP 1.0c
 * 3.6). Fields are checked in the order in which they lie, so that the lowest one in error is the
 * one that H2CTermReq names. Total: every sequence of bytes has an answer.
 */
#include "drivers/remote/pdu.h"

#include <string.h>

#include "core/base/crc32c.h"
#include "core/base/util.h"

bool remote_fault_set(struct remote_fault *fault, enum nvme_tcp_fes fes, uint32_t fei,
		      const char *what)
{
	fault->fes = fes;
	fault->fei = fei;
	fault->what = what;
	return false;
}

#define BAD_FIELD(fault, type, field) \
	remote_fault_set(fault, NVME_TCP_FES_HEADER_FIELD, offsetof(struct type, field), \
			 "bad " #field)

/* What each PDU that a target may send looks like; hlen 0: no such PDU. */
static const struct {
	uint8_t hlen, flags;
	bool digests;                   /* takes part in digests */
	bool data;                      /* carries data, and PDO tells where */
} shapes[] = {
	[NVME_TCP_IC_RESP] = { sizeof(struct nvme_tcp_ic_resp), 0, false, false },
	[NVME_TCP_C2H_TERM] = { sizeof(struct nvme_tcp_term), 0, false, false },
	[NVME_TCP_RSP] = { sizeof(struct nvme_tcp_rsp), NVME_TCP_HDGST, true, false },
	[NVME_TCP_C2H_DATA] = { sizeof(struct nvme_tcp_data), NVME_TCP_HDGST | NVME_TCP_DDGST |
				NVME_TCP_LAST | NVME_TCP_SUCCESS, true, true },
	[NVME_TCP_R2T] = { sizeof(struct nvme_tcp_r2t), NVME_TCP_HDGST, true, false },
};

/* C2HData: header, pad, at least one byte of data, digest. */
static bool data_place(const struct remote_framing *framing, const struct nvme_tcp_ch *ch,
		       struct remote_pdu *pdu, struct remote_fault *fault)
{
	uint32_t plen = le32_get(ch->plen), tail = framing->ddgst ? NVME_TCP_DIGEST_BYTES : 0;

	if (!(ch->flags & NVME_TCP_DDGST) != !framing->ddgst)
		return BAD_FIELD(fault, nvme_tcp_ch, flags);
	/* SUCCESS goes with the last of the data only: 3.6.2.8 */
	if ((ch->flags & NVME_TCP_SUCCESS) && !(ch->flags & NVME_TCP_LAST))
		return BAD_FIELD(fault, nvme_tcp_ch, flags);
	/* HPDA is 0: data starts on four bytes */
	if (ch->pdo < pdu->header_len || ch->pdo % 4)
		return BAD_FIELD(fault, nvme_tcp_ch, pdo);
	if (plen <= ch->pdo + tail)
		return BAD_FIELD(fault, nvme_tcp_ch, plen);
	pdu->ddgst = framing->ddgst;
	pdu->pad_len = ch->pdo - pdu->header_len;
	pdu->data_len = plen - ch->pdo - tail;
	return true;
}

bool remote_ch_decode(const struct remote_framing *framing, const uint8_t *bytes,
		      struct remote_pdu *pdu, struct remote_fault *fault)
{
	struct nvme_tcp_ch ch;
	uint8_t digests = 0;

	memcpy(&ch, bytes, sizeof(ch));
	pdu->type = ch.type;
	pdu->flags = ch.flags;
	pdu->pad_len = 0;
	pdu->ddgst = false;
	pdu->data_len = 0;
	if (unlikely(ch.type >= ARRAY_SIZE(shapes) || shapes[ch.type].hlen == 0))
		return BAD_FIELD(fault, nvme_tcp_ch, type);
	/* ICResp comes first and once: 3.1 */
	if (unlikely((ch.type == NVME_TCP_IC_RESP) == framing->initialized &&
		     ch.type != NVME_TCP_C2H_TERM))
		return remote_fault_set(fault, NVME_TCP_FES_SEQUENCE, 0, "PDU out of sequence");
	if (shapes[ch.type].digests) {
		digests = framing->hdgst ? NVME_TCP_HDGST : 0;
		if (unlikely((ch.flags & NVME_TCP_HDGST) != digests ||
			     (ch.flags & ~shapes[ch.type].flags)))
			return BAD_FIELD(fault, nvme_tcp_ch, flags);
	}
	if (unlikely(ch.hlen != shapes[ch.type].hlen)) {
		/* 3.5.2: a termination request is not answered by another */
		if (ch.type == NVME_TCP_C2H_TERM)
			return remote_fault_set(fault, 0, 0, "malformed C2HTermReq");
		return BAD_FIELD(fault, nvme_tcp_ch, hlen);
	}
	pdu->header_len = ch.hlen + (digests ? NVME_TCP_DIGEST_BYTES : 0);
	if (shapes[ch.type].data)
		return data_place(framing, &ch, pdu, fault);
	if (ch.type == NVME_TCP_C2H_TERM)
		return true;
	if (le32_get(ch.plen) != pdu->header_len)
		return BAD_FIELD(fault, nvme_tcp_ch, plen);
	return true;
}

static bool ic_resp_decode(const struct remote_framing *framing, const uint8_t *header,
			   struct remote_fault *fault)
{
	struct nvme_tcp_ic_resp resp;
	uint32_t maxh2cdata;

	memcpy(&resp, header, sizeof(resp));
	maxh2cdata = le32_get(resp.maxh2cdata);
	if (le16_get(resp.pfv) != NVME_TCP_PFV)
		return remote_fault_set(fault, NVME_TCP_FES_UNSUPPORTED,
					offsetof(struct nvme_tcp_ic_resp, pfv),
					"unknown PDU format version");
	if (resp.cpda > NVME_TCP_PDA_MAX)
		return BAD_FIELD(fault, nvme_tcp_ic_resp, cpda);
	/* a digest is used when both sides want it: 3.6.2.3 */
	if ((resp.dgst & ~(NVME_TCP_DGST_HEADER | NVME_TCP_DGST_DATA)) ||
	    ((resp.dgst & NVME_TCP_DGST_HEADER) && !framing->hdgst) ||
	    ((resp.dgst & NVME_TCP_DGST_DATA) && !framing->ddgst))
		return BAD_FIELD(fault, nvme_tcp_ic_resp, dgst);
	if (maxh2cdata < NVME_TCP_MAXH2CDATA_MIN || maxh2cdata % 4)
		return BAD_FIELD(fault, nvme_tcp_ic_resp, maxh2cdata);
	return true;
}

static bool data_decode(const uint8_t *header, const struct remote_pdu *pdu,
			struct remote_fault *fault)
{
	struct nvme_tcp_data data;

	memcpy(&data, header, sizeof(data));
	if (unlikely(le32_get(data.datal) != pdu->data_len))
		return BAD_FIELD(fault, nvme_tcp_data, datal);
	return true;
}

static bool r2t_decode(const uint8_t *header, struct remote_fault *fault)
{
	struct nvme_tcp_r2t r2t;

	memcpy(&r2t, header, sizeof(r2t));
	if (le32_get(r2t.r2tl) == 0)
		return BAD_FIELD(fault, nvme_tcp_r2t, r2tl);
	return true;
}

bool remote_header_decode(const struct remote_framing *framing, const uint8_t *header,
			  const struct remote_pdu *pdu, struct remote_fault *fault)
{
	if (framing->hdgst && shapes[pdu->type].digests) {
		unsigned hlen = pdu->header_len - NVME_TCP_DIGEST_BYTES;
		le32 received;

		memcpy(&received, header + hlen, sizeof(received));
		if (unlikely(le32_get(received) != crc32c(header, hlen)))
			return remote_fault_set(fault, NVME_TCP_FES_HEADER_DIGEST,
						le32_get(received), "wrong header digest");
	}
	switch (pdu->type) {
	case NVME_TCP_C2H_DATA:
		return data_decode(header, pdu, fault);
	case NVME_TCP_RSP:
		return true;
	case NVME_TCP_R2T:
		return r2t_decode(header, fault);
	case NVME_TCP_IC_RESP:
		return ic_resp_decode(framing, header, fault);
	default:                        /* C2HTermReq: the peer gives up, so do we */
		return remote_fault_set(fault, 0, 0, "the target terminates the connection");
	}
}
