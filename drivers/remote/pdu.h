/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * NVMe/TCP PDUs as a host receives them (transport specification 1.0): any bytes give either a PDU
 * that is right as far as it stands alone, or what is wrong with it. No I/O, no state.
 */
#ifndef REMOTE_PDU_H
#define REMOTE_PDU_H

#include <stdbool.h>
#include <stdint.h>

#include "core/spec/nvme_tcp.h"

enum {
	REMOTE_HEADER_MAX = sizeof(struct nvme_tcp_ic_resp),    /* the longest */
};

/* What the two sides have agreed on. */
struct remote_framing {
	bool initialized;               /* ICResp has come */
	bool hdgst, ddgst;              /* before ICResp: what was asked for */
};

/* A PDU as its common header says. */
struct remote_pdu {
	uint8_t type, flags;
	uint8_t header_len;             /* with digest */
	uint8_t pad_len;                /* from there to the data */
	bool ddgst;                     /* a digest follows the data */
	uint32_t data_len;
};

/* Why a connection must end. fes 0: without H2CTermReq. */
struct remote_fault {
	uint16_t fes;                   /* enum nvme_tcp_fes */
	uint32_t fei;
	const char *what;               /* for the log */
};

/* 8 bytes of common header. False: *fault. */
bool remote_ch_decode(const struct remote_framing *framing, const uint8_t *ch,
		      struct remote_pdu *pdu, struct remote_fault *fault);
/* pdu->header_len bytes of header: its digest, and its fields as far as they stand alone. */
bool remote_header_decode(const struct remote_framing *framing, const uint8_t *header,
			  const struct remote_pdu *pdu, struct remote_fault *fault);
bool remote_fault_set(struct remote_fault *fault, enum nvme_tcp_fes fes, uint32_t fei,
		      const char *what);

#endif
