/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * NVMe/TCP, private to targets/nvmf/tcp*.c: PDUs on a byte stream (transport specification 1.0).
 *
 * Each reactor has a group: the connections that live there, a few receive buffers they share, and
 * one poller. A round sends what was answered since the last one, one writev per connection, and
 * then receives. A connection keeps a receive buffer only while bytes in it wait for memory or a
 * free request; that is when it is not read from. Data that came in a capsule is written from where
 * it was received: its request keeps the buffer, too.
 */
#ifndef NVMF_TCP_H
#define NVMF_TCP_H

#include "core/spec/nvme_tcp.h"
#include "targets/nvmf/nvmf.h"

enum {
	NVMF_TCP_HEADER_MAX = 128 + NVME_TCP_DIGEST_BYTES,      /* ICReq is the longest header */
	NVMF_TCP_RX_BYTES = 64 * 1024,  /* of a receive buffer */
	NVMF_TCP_RX_COUNT = 16,         /* receive buffers of a reactor */
	NVMF_TCP_RX_FREE_MIN = NVMF_TCP_RX_COUNT / 2,   /* when fewer are free, data is copied */
	NVMF_TCP_HOT_TRIES = 64,        /* reads in vain before epoll is relied on */
	NVMF_TCP_HOT_CONNS = 4,         /* hot connections of a reactor */
	NVMF_TCP_TX_IOVS = 256,         /* pieces waiting to be sent, per connection */
	NVMF_TCP_TX_RECORDS = 256,      /* PDUs waiting to be released, power of two */
	NVMF_TCP_TX_BYTES = 8192,       /* headers waiting to be released, power of two */
	NVMF_TCP_SLOTS_EXTRA = 8,       /* requests whose answers are still being sent */
	NVMF_TCP_LINGER_MS = 2000,      /* for the peer to take our last bytes */
	NVMF_TCP_SCAN_MS = 250,         /* how often timeouts are looked for */
	NVMF_TCP_MOVE_MS = 1000,        /* to come to rest before a move */
	/* what one R2T asks for, of hosts that answer several at a time */
	NVMF_TCP_R2T_BYTES = 256 * 1024,
	NVMF_TCP_R2TS = BUF_REQUEST_MAX / NVMF_TCP_R2T_BYTES,
	NVMF_TCP_TTAG_BITS = 11,        /* of a TTAG: the request; above: which R2T of it */
};

struct nvmf_tcp_conn;
struct nvmf_tcp_group;

/* ---- decoding ---- */

/* What the two sides have agreed on, and so what a PDU must look like. */
struct nvmf_tcp_framing {
	bool initialized;               /* ICReq has been answered */
	bool hdgst, ddgst;
	uint8_t c2h_pdo;                /* where the data of C2HData begins: HPDA */
	uint32_t in_capsule_max;
	uint32_t maxh2cdata;
	uint32_t maxr2t;                /* 0-based: R2Ts of a command that may be open at a time */
};

/* A PDU as its common header says. */
struct nvmf_tcp_pdu {
	uint8_t type, flags;
	uint8_t header_len;             /* with digest */
	uint8_t pad_len;                /* from there to the data */
	bool ddgst;                     /* a digest follows the data */
	uint32_t data_len;
};

/* Why a connection must end. fes 0: without a word. */
struct nvmf_tcp_fault {
	uint16_t fes;                   /* enum nvme_tcp_fes */
	uint32_t fei;
};

/* ---- shares of memory: tcp_share.c ---- */

/* Reads and writes of small, medium and large buffers. */
enum nvmf_tcp_share_kind { NVMF_TCP_SHARES = 2 * BUF_CLASS_COUNT, NVMF_TCP_SHARE_NONE };

/* A reactor's. */
struct nvmf_tcp_share {
	uint32_t max, used;             /* bytes */
	struct list wait;               /* connections with requests that wait: part->link */
};

/* A connection's. */
struct nvmf_tcp_part {
	uint32_t used;
	struct list wait;               /* requests */
	struct list link;               /* share->wait */
};

/* ---- requests ---- */

enum nvmf_tcp_phase {
	NVMF_TCP_IDLE,
	NVMF_TCP_WAIT_BUF,              /* for memory: buf_wait */
	NVMF_TCP_WAIT_SHARE,            /* for its connection's share of memory: part->wait */
	NVMF_TCP_WAIT_DATA,             /* R2T sent, H2CData comes */
	NVMF_TCP_WAIT_TX,               /* for room to answer: conn->tx_wait */
	NVMF_TCP_PARKED,                /* not started, until a move is over: conn->parked */
};

struct nvmf_tcp_req {
	/* what every request needs is beside req, whose end most do not reach */
	struct nvmf_tcp_req *next;      /* conn->free */
	uint16_t ttag;
	uint8_t phase;                  /* enum nvmf_tcp_phase */
	bool in_capsule;
	bool digest_bad;
	uint8_t share;                  /* enum nvmf_tcp_share_kind that it is counted in */
	uint32_t taken;                 /* bytes of it */
	struct nvmf_req req;
	struct list link;               /* part->wait, conn->tx_wait or parked */
	struct buf_wait wait;
	uint8_t r2ts, r2ts_sent, r2ts_done;     /* in all; whose data may come; has come */
	uint32_t r2t_bytes;             /* of each but the last */
	uint32_t r2t_got[NVMF_TCP_R2TS];        /* bytes of H2CData received */
};

/* ---- connections ---- */

enum nvmf_tcp_state {
	NVMF_TCP_IC,                    /* ICReq is awaited */
	NVMF_TCP_LIVE,
	NVMF_TCP_LINGER,                /* last bytes go out; what comes in is dropped */
	NVMF_TCP_CLOSING,               /* the stream closes, requests end */
	NVMF_TCP_GONE,                  /* reactor 0 has been told */
};

/* See tcp_move.c. */
enum nvmf_tcp_move {
	NVMF_TCP_STAY,
	NVMF_TCP_CONNECTED,             /* leaves reactor 0 at the end of this visit */
	NVMF_TCP_DRAIN,                 /* comes to rest: group->moving */
	NVMF_TCP_QUIET,                 /* nothing is in flight, reactor 0 decides */
};

enum nvmf_tcp_rx_state {
	NVMF_TCP_RX_HEADER,             /* nothing of the next PDU consumed */
	NVMF_TCP_RX_PDU,                /* header in pieces, collected in conn->header */
	NVMF_TCP_RX_SLOT,               /* a complete header, but no free request */
	NVMF_TCP_RX_BUF,                /* in-capsule data, but no memory */
	NVMF_TCP_RX_DATA,
	NVMF_TCP_RX_DIGEST,
};

/* Bytes sent up to END belong to this PDU: when they are released so are its header and request. */
struct nvmf_tcp_record {
	uint64_t end;
	uint32_t header_end;            /* tx.header_head then */
	struct nvmf_tcp_req *tr;        /* NULL: none */
};

struct nvmf_tcp_tx {
	struct iovec iov[NVMF_TCP_TX_IOVS];     /* from head to tail: to be sent */
	unsigned iov_head, iov_tail;
	uint32_t header_head, header_tail;      /* running positions in headers[] */
	uint32_t record_head, record_tail;      /* running positions in records[] */
	uint64_t queued;                        /* bytes since the start */
	struct nvmf_tcp_record records[NVMF_TCP_TX_RECORDS];
	_Alignas(8) uint8_t headers[NVMF_TCP_TX_BYTES];
};

struct nvmf_tcp_conn {
	struct nvmf_queue queue;
	struct nvmf_tcp_group *group;
	struct stream *stream;          /* NULL once closed */
	enum nvmf_tcp_state state;
	struct nvmf_tcp_framing framing;
	struct list link;               /* group->conns */
	struct list ready;              /* group->ready: has bytes, or may go on */
	struct list sending;            /* group->sending */

	/* receiving */
	enum nvmf_tcp_rx_state rx;
	bool readable;
	unsigned hot_tries;             /* left, see tcp_read.c */
	uint8_t *rx_buf;                /* one of the group's, or NULL */
	const uint8_t *in;              /* bytes received and not looked at, in rx_buf */
	size_t in_len;
	struct nvmf_tcp_pdu pdu;
	uint8_t header[NVMF_TCP_HEADER_MAX];
	unsigned header_have;
	struct nvmf_tcp_req *rx_tr;     /* whose data comes; NULL: dropped */
	unsigned rx_r2t;                /* for which R2T of it */
	unsigned rx_iov;                /* where the next byte goes */
	size_t rx_iov_off;
	uint32_t rx_pad, rx_left, rx_store;     /* bytes to skip, of data, of these to keep */
	uint32_t rx_crc;
	uint8_t rx_digest[NVME_TCP_DIGEST_BYTES];
	unsigned rx_digest_have;
	struct buf_wait rx_wait;

	/* sending */
	bool tx_blocked;                /* until STREAM_WRITABLE */
	bool shut;                      /* our side is ended */
	struct list tx_wait;            /* requests done, no room in tx */
	struct nvmf_tcp_tx tx;

	/* requests */
	struct nvmf_tcp_req *free;
	struct nvmf_tcp_req *reqs;      /* &first before Connect */
	unsigned req_count;
	struct nvmf_tcp_req first;
	struct nvmf_tcp_part parts[NVMF_TCP_SHARES];

	/* time */
	uint64_t deadline_us;           /* Connect or linger must be over; 0: none */
	uint64_t pdus;                  /* received */
	unsigned r2t_open;              /* R2Ts whose data is not all here */
	uint64_t h2c_bytes, h2c_ends;   /* H2CData received, and writes that it completed */
	/* what moves as long as a peer is not stuck: see nvmf_tcp_scan */
	struct nvmf_tcp_pace {
		uint64_t since_us;      /* of the last progress, or when there was nothing to do */
		uint64_t mark;          /* where it was then */
	} pdu_pace, tx_pace, h2c_pace;

	/* between reactors */
	enum nvmf_tcp_move move;
	struct list moving;             /* group->moving */
	uint64_t move_end_us;
	struct list parked;             /* requests that start when the move is over */
	uint8_t *carry;                 /* bytes received and not looked at, on the way, or NULL */
	size_t carry_len;
	struct msg move_msg, close_msg, gone_msg;

	/* reactor 0's */
	unsigned out;                   /* messages that have not come back */
	bool gone;                      /* gone_msg came; freed when all are back */
	bool leaving;                   /* told to leave: its reactor is not certain */
	bool close_asked, close_held;   /* close_msg was sent; waits for the end of leaving */
	char close_why[NVMF_WHY_BYTES];
	unsigned move_to;
	struct list all;                /* list of all connections */
};

struct nvmf_tcp_group {
	struct poller poller;
	unsigned index;
	struct list conns, ready, sending, moving;
	unsigned conn_count;
	unsigned ready_count, ready_next;       /* connections of this round and of the next */
	struct timer scan;
	struct nvmf_tcp_share shares[NVMF_TCP_SHARES];
	uint8_t *rx_free[NVMF_TCP_RX_COUNT];
	unsigned rx_free_count;
	uint16_t rx_users[NVMF_TCP_RX_COUNT];   /* the connection and the requests that keep it */
	uint8_t *rx_memory;
};

extern const struct nvmf_queue_ops nvmf_tcp_queue_ops;

static inline struct nvmf_tcp_conn *nvmf_tcp_conn_of(struct nvmf_queue *queue)
{
	return container_of(queue, struct nvmf_tcp_conn, queue);
}

static inline struct nvmf_tcp_req *nvmf_tcp_req_of(struct nvmf_req *req)
{
	return container_of(req, struct nvmf_tcp_req, req);
}

/* tcp.c */
struct nvmf_tcp_group *nvmf_tcp_group_at(unsigned reactor);
/* Has something to receive or to go on with. */
void nvmf_tcp_ready(struct nvmf_tcp_conn *conn);

/* tcp_pdu.c: total, no side effects */
/* 8 bytes of common header. False: *fault. */
bool nvmf_tcp_ch_decode(const struct nvmf_tcp_framing *framing, const uint8_t *ch,
			struct nvmf_tcp_pdu *pdu, struct nvmf_tcp_fault *fault);
/* pdu->header_len bytes of header: its digest, and its fields as far as they stand alone. */
bool nvmf_tcp_header_decode(const struct nvmf_tcp_framing *framing, const uint8_t *header,
			    const struct nvmf_tcp_pdu *pdu, struct nvmf_tcp_fault *fault);
/* Length, status and kind of a command's SGL. */
void nvmf_tcp_sgl_decode(const struct nvmf_tcp_framing *framing, const struct nvmf_tcp_pdu *pdu,
			 struct nvmf_tcp_req *tr);

/* tcp_recv.c */
enum nvmf_tcp_step {
	NVMF_TCP_STEP_AGAIN,
	NVMF_TCP_STEP_MORE,             /* bytes are missing */
	NVMF_TCP_STEP_WAIT,             /* a slot or memory is, or the connection ends */
};

enum nvmf_tcp_step nvmf_tcp_recv_step(struct nvmf_tcp_conn *conn);
/*
 * LEN bytes of the awaited data: copied from SRC, or, when that is NULL, already where they belong.
 */
void nvmf_tcp_recv_store(struct nvmf_tcp_conn *conn, const uint8_t *src, size_t len);

/* A command that is decoded and whose data is not in its capsule: starts it. */
void nvmf_tcp_cmd_run(struct nvmf_tcp_conn *conn, struct nvmf_tcp_req *tr);

/* tcp_read.c */
/* Receives within a budget; returns work done. */
int nvmf_tcp_recv(struct nvmf_tcp_conn *conn);
/* Gives the receive buffer back. */
void nvmf_tcp_rx_drop(struct nvmf_tcp_conn *conn);
/* Whether DATA lies in a receive buffer. */
bool nvmf_tcp_rx_holds(const struct nvmf_tcp_group *group, const void *data);
/* One user more or less of the buffer that DATA lies in. */
void nvmf_tcp_rx_keep(struct nvmf_tcp_group *group, const void *data);
void nvmf_tcp_rx_release(struct nvmf_tcp_group *group, const void *data);

/* tcp_req.c */
/* NULL: all are in use. */
struct nvmf_tcp_req *nvmf_tcp_req_get(struct nvmf_tcp_conn *conn);
/* Back to the free ones, with its memory. */
void nvmf_tcp_req_put(struct nvmf_tcp_conn *conn, struct nvmf_tcp_req *tr);
/* Gives its memory back. */
void nvmf_tcp_req_drop(struct nvmf_tcp_conn *conn, struct nvmf_tcp_req *tr);
int nvmf_tcp_req_alloc(struct nvmf_tcp_conn *conn, unsigned count);
/* A command whose data does not come in its capsule: gets memory, runs it or asks for its data. */
void nvmf_tcp_req_go(struct nvmf_tcp_conn *conn, struct nvmf_tcp_req *tr);
/* TR has its share: gets memory. */
void nvmf_tcp_req_fill(struct nvmf_tcp_conn *conn, struct nvmf_tcp_req *tr);
/* All data of TR is here. */
void nvmf_tcp_req_ready(struct nvmf_tcp_conn *conn, struct nvmf_tcp_req *tr);
/* The connection ends: gives up what TR waits for. Executing ones go on. */
void nvmf_tcp_req_abandon(struct nvmf_tcp_conn *conn, struct nvmf_tcp_req *tr);

/* tcp_share.c */
void nvmf_tcp_shares_init(struct nvmf_tcp_group *group);
void nvmf_tcp_parts_init(struct nvmf_tcp_conn *conn);
/* Memory for TR's data is within its connection's share; false: it waits for that. */
bool nvmf_tcp_share_take(struct nvmf_tcp_conn *conn, struct nvmf_tcp_req *tr);
void nvmf_tcp_share_return(struct nvmf_tcp_conn *conn, struct nvmf_tcp_req *tr);
/* The connection ends: leaves every line. */
void nvmf_tcp_share_leave(struct nvmf_tcp_conn *conn);

/* tcp_send.c */
void nvmf_tcp_respond(struct nvmf_req *req);
void nvmf_tcp_send_ic_resp(struct nvmf_tcp_conn *conn);
/* HEADER: what is at fault, LEN bytes of it. */
void nvmf_tcp_send_term(struct nvmf_tcp_conn *conn, const struct nvmf_tcp_fault *fault,
			const uint8_t *header, size_t len);
/* Asks for data of TR: for as much as the host wants to hear of at a time, when there is room. */
void nvmf_tcp_send_r2t(struct nvmf_tcp_conn *conn, struct nvmf_tcp_req *tr);
/* Bytes that R2T number N of TR asks for. */
uint32_t nvmf_tcp_r2t_len(const struct nvmf_tcp_req *tr, unsigned n);
/* One writev; returns work done. */
int nvmf_tcp_send_step(struct nvmf_tcp_conn *conn);
/* Bytes were released: gives back what they held. */
void nvmf_tcp_released(struct nvmf_tcp_conn *conn);
/* The stream is closed: forgets all that was to be sent. */
void nvmf_tcp_tx_drop(struct nvmf_tcp_conn *conn);
void nvmf_tcp_tx_init(struct nvmf_tcp_conn *conn);

/* tcp_conn.c */
/* The port goes; connections that came in there stay. */
void nvmf_tcp_port_forget(struct nvmf_port *port);
/* In a task on reactor 0: closes every connection and waits until they are gone. */
void nvmf_tcp_close_all(void);
/* On reactor 0. Takes STREAM, detached. */
void nvmf_tcp_accept(struct stream_listener *listener, struct stream *stream);
__attribute__((format(printf, 2, 3)))
void nvmf_tcp_close(struct nvmf_tcp_conn *conn, const char *fmt, ...);
/* Nothing more is received; closes when all is sent and the peer has closed, or soon after. */
void nvmf_tcp_linger(struct nvmf_tcp_conn *conn);
/* Sends C2HTermReq, unless fes is 0, and closes. */
void nvmf_tcp_fatal(struct nvmf_tcp_conn *conn, const struct nvmf_tcp_fault *fault,
		    const uint8_t *header, size_t len);
/* A request has ended: perhaps it was the last one that held a closing connection. */
void nvmf_tcp_check_gone(struct nvmf_tcp_conn *conn);
/* On reactor 0: sends the close that waited until it is certain where CONN lives, if one did. */
void nvmf_tcp_close_held(struct nvmf_tcp_conn *conn);
/* On reactor 0: a message that it had sent is back. May free CONN. */
void nvmf_tcp_back(struct nvmf_tcp_conn *conn);
/* Timeouts of one connection; NOW in us. */
void nvmf_tcp_scan(struct nvmf_tcp_conn *conn, uint64_t now);

/* tcp_move.c */
/* The connection begins, or goes on, on the calling reactor. */
void nvmf_tcp_join(struct nvmf_tcp_conn *conn);
/* nvmf_queue_ops: */
void nvmf_tcp_move(struct nvmf_queue *queue, unsigned reactor);
void nvmf_tcp_shift(struct nvmf_queue *queue, unsigned reactor);
/* After Connect, between receiving and the next round. */
void nvmf_tcp_move_connected(struct nvmf_tcp_conn *conn);
/* One of group->moving, once a round. */
void nvmf_tcp_move_step(struct nvmf_tcp_conn *conn);
/* No PDU is to be begun now. */
bool nvmf_tcp_move_holds(const struct nvmf_tcp_conn *conn);
/* Whether TR, decoded, is not to be started before the move is over. */
bool nvmf_tcp_move_parks(struct nvmf_tcp_conn *conn, struct nvmf_tcp_req *tr);
/* The connection ends. */
void nvmf_tcp_move_abort(struct nvmf_tcp_conn *conn);

#endif
