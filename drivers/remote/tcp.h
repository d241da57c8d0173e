/* SPDX-License-Identifier: BSD-3-Clause */
/* NVMe/TCP: what the files of this transport show each other. */
#ifndef REMOTE_TCP_H
#define REMOTE_TCP_H

#include "drivers/remote/remote.h"

/* ---- send.c ---- */

/* Room for a PDU with COUNT elements of data. */
bool remote_tx_room(struct remote_queue *q, unsigned count);
/* The command of SLOT, whose data goes along when it is in_capsule. There is room. */
void remote_tx_command(struct remote_queue *q, struct remote_slot *slot, struct nvme_sqe *sqe);
/* Bytes were released, or there is room: goes on with what is pending. */
void remote_tx_pending(struct remote_queue *q);
/* Sends data that R2Ts have asked for, as far as possible. */
void remote_tx_data(struct remote_queue *q, struct remote_slot *slot);
void remote_tx_ic_req(struct remote_queue *q);
/* Where the data of a PDU begins that has a header of END bytes, digest included: CPDA. */
uint32_t remote_data_start(const struct remote_queue *q, uint32_t end);
void remote_tx_term(struct remote_queue *q, const struct remote_fault *fault,
		    const uint8_t *header, size_t len);
/* One writev; work done. */
int remote_tx_step(struct remote_queue *q);

/* ---- recv.c ---- */

/* Receives within a budget; work done. */
int remote_recv(struct remote_queue *q);

/* ---- tcp.c ---- */

/* The target broke the rules: H2CTermReq, if there is one for it, then remote_conn_fail. */
void remote_conn_fault(struct remote_queue *q, const struct remote_fault *fault,
		       const uint8_t *header, size_t len);

#endif
