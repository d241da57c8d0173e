/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reading: one readv fetches as much as fits into a receive buffer of the reactor, for the steps of
 * tcp_recv.c to take. When data of a request is awaited, the readv starts with the request's own
 * memory, so that large transfers are not copied. A connection keeps a receive buffer only while a
 * slot or memory is waited for; it is not read from until then.
 *
 * A read that gave less than it could have is not followed by another in the same visit: what came
 * is served first. A connection with few commands in flight stays hot: it is read from in each
 * round for a while, so that its next command is found by the read itself and not by epoll and then
 * a read.
 */
#include "targets/nvmf/tcp.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	RECV_READS = 4,                 /* readv calls of one visit */
	RECV_STEPS = 512,               /* of one visit */
	RECV_DIRECT_MIN = 2048,         /* below this, copying is cheaper than another iovec */
};

/* ---- receive buffers ---- */

static size_t rx_offset(const struct nvmf_tcp_group *group, const void *data)
{
	return (uintptr_t)data - (uintptr_t)group->rx_memory;
}

bool nvmf_tcp_rx_holds(const struct nvmf_tcp_group *group, const void *data)
{
	return rx_offset(group, data) < (size_t)NVMF_TCP_RX_COUNT * NVMF_TCP_RX_BYTES;
}

void nvmf_tcp_rx_keep(struct nvmf_tcp_group *group, const void *data)
{
	group->rx_users[rx_offset(group, data) / NVMF_TCP_RX_BYTES]++;
}

void nvmf_tcp_rx_release(struct nvmf_tcp_group *group, const void *data)
{
	size_t index = rx_offset(group, data) / NVMF_TCP_RX_BYTES;

	if (--group->rx_users[index] == 0)
		group->rx_free[group->rx_free_count++] =
			group->rx_memory + index * NVMF_TCP_RX_BYTES;
}

static bool rx_take(struct nvmf_tcp_conn *conn)
{
	struct nvmf_tcp_group *group = conn->group;

	if (group->rx_free_count == 0)
		return false;
	conn->rx_buf = group->rx_free[--group->rx_free_count];
	conn->in_len = 0;
	nvmf_tcp_rx_keep(group, conn->rx_buf);
	return true;
}

void nvmf_tcp_rx_drop(struct nvmf_tcp_conn *conn)
{
	conn->in_len = 0;
	if (conn->rx_buf) {
		nvmf_tcp_rx_release(conn->group, conn->rx_buf);
		conn->rx_buf = NULL;
	}
}

/* What is read next goes to the start of the buffer: not where the data of requests lies. */
static bool rx_renew(struct nvmf_tcp_conn *conn)
{
	const struct nvmf_tcp_group *group = conn->group;

	if (group->rx_users[rx_offset(group, conn->rx_buf) / NVMF_TCP_RX_BYTES] == 1)
		return true;
	nvmf_tcp_rx_drop(conn);
	return rx_take(conn);
}

/* ---- reading ---- */

/* The memory that awaited data goes to, then the receive buffer. Returns the iovecs. */
static int recv_iov(struct nvmf_tcp_conn *conn, struct iovec *iov, size_t *direct)
{
	size_t want = conn->rx_store;
	int count = 0;

	*direct = 0;
	if (conn->rx == NVMF_TCP_RX_DATA && conn->rx_pad == 0 && want >= RECV_DIRECT_MIN) {
		size_t off = conn->rx_iov_off;

		for (unsigned i = conn->rx_iov; want; i++) {
			const struct iovec *to = &conn->rx_tr->req.iov[i];
			size_t part = MIN(want, to->iov_len - off);

			iov[count].iov_base = (uint8_t *)to->iov_base + off;
			iov[count++].iov_len = part;
			*direct += part;
			want -= part;
			off = 0;
		}
	}
	iov[count].iov_base = conn->rx_buf;
	iov[count++].iov_len = NVMF_TCP_RX_BYTES;
	return count;
}

enum recv {
	RECV_NONE,                      /* nothing came, or the connection ends */
	RECV_HOT,                       /* nothing came, but something may soon */
	RECV_SOME,
	RECV_FULL,                      /* as much as was asked for: there is probably more */
};

static enum recv recv_read(struct nvmf_tcp_conn *conn)
{
	struct iovec iov[BUF_IOV_MAX + 1];
	size_t direct;
	int count = recv_iov(conn, iov, &direct);
	ssize_t n = stream_readv(conn->stream, iov, count);

	if (n == -EAGAIN) {
		if (conn->hot_tries == 0 || conn->group->ready_count > NVMF_TCP_HOT_CONNS) {
			conn->readable = false;
			return RECV_NONE;
		}
		conn->hot_tries--;
		return RECV_HOT;
	}
	if (n <= 0) {
		conn->readable = false;
		if (n == 0)
			nvmf_tcp_close(conn, "the host closed the connection");
		else
			nvmf_tcp_close(conn, "receiving: %s", strerror((int)-n));
		return RECV_NONE;
	}
	if ((size_t)n <= direct) {
		nvmf_tcp_recv_store(conn, NULL, (size_t)n);
		return (size_t)n == direct ? RECV_FULL : RECV_SOME;
	}
	if (direct)
		nvmf_tcp_recv_store(conn, NULL, direct);
	conn->in = conn->rx_buf;
	conn->in_len = (size_t)n - direct;
	return conn->in_len == NVMF_TCP_RX_BYTES ? RECV_FULL : RECV_SOME;
}

static bool recv_may(const struct nvmf_tcp_conn *conn)
{
	return conn->state <= NVMF_TCP_LINGER &&
	       likely(!conn->move || !nvmf_tcp_move_holds(conn));
}

/* Takes PDUs until bytes, a slot or memory are missing, or the budget is (NVMF_TCP_STEP_AGAIN). */
static enum nvmf_tcp_step recv_steps(struct nvmf_tcp_conn *conn, int *work)
{
	enum nvmf_tcp_step step = NVMF_TCP_STEP_AGAIN;

	while (conn->state < NVMF_TCP_LINGER && *work < RECV_STEPS) {
		if (unlikely(conn->move) && nvmf_tcp_move_holds(conn))
			return NVMF_TCP_STEP_WAIT;
		step = nvmf_tcp_recv_step(conn);
		if (step != NVMF_TCP_STEP_AGAIN)
			break;
		++*work;
	}
	if (conn->state == NVMF_TCP_LINGER) {
		conn->in_len = 0;
		step = NVMF_TCP_STEP_MORE;
	}
	return step;
}

/* Bytes that were received on the reactor where the connection was before. */
static void recv_carried(struct nvmf_tcp_conn *conn)
{
	memcpy(conn->rx_buf, conn->carry, conn->carry_len);
	conn->in = conn->rx_buf;
	conn->in_len = conn->carry_len;
	free(conn->carry);
	conn->carry = NULL;
}

int nvmf_tcp_recv(struct nvmf_tcp_conn *conn)
{
	enum recv got = RECV_FULL;
	enum nvmf_tcp_step step;
	uint64_t pdus;
	int work = 0;

	if (!conn->rx_buf) {
		if (!rx_take(conn)) {
			nvmf_tcp_ready(conn);
			return 0;
		}
		if (unlikely(conn->carry))
			recv_carried(conn);
	}
	step = NVMF_TCP_STEP_MORE;
	if (conn->in_len || conn->rx >= NVMF_TCP_RX_SLOT)
		step = recv_steps(conn, &work);
	for (int reads = 0; reads < RECV_READS && got == RECV_FULL; reads++) {
		if (!recv_may(conn) || step != NVMF_TCP_STEP_MORE || !conn->readable ||
		    !rx_renew(conn))
			break;
		got = recv_read(conn);
		work += got != RECV_NONE;
		if (got < RECV_SOME)
			break;
		pdus = conn->pdus;
		step = recv_steps(conn, &work);
		/* where many commands are in flight, batches are worth more than haste */
		conn->hot_tries = conn->pdus - pdus <= 2 ? NVMF_TCP_HOT_TRIES : 0;
	}
	if (conn->in_len == 0)
		nvmf_tcp_rx_drop(conn);
	if (recv_may(conn) && (step == NVMF_TCP_STEP_AGAIN ||
			       (step == NVMF_TCP_STEP_MORE && conn->readable)))
		nvmf_tcp_ready(conn);
	return work;
}
