/* SPDX-License-Identifier: BSD-3-Clause */
/* See fake_rdma.h: work requests and completions. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/util.h"
#include "tests/unit/fake_rdma_priv.h"

static void complete(struct fake_conn *c, const struct work *w, uint32_t status, uint32_t len,
		     uint32_t key)
{
	struct done_note *note = calloc(1, sizeof(*note));

	assert_non_null(note);
	note->done = (struct rnic_done){
		.id = w->id, .status = status, .len = len, .qp = c->conn.qp, .invalidated = key,
		.flags = key ? RNIC_DONE_INVALIDATED : 0,
	};
	assert_true(c->cq->room > 0);
	c->cq->room--;
	list_push(&c->cq->notes, &note->link);
}

void fake_conn_flush(struct fake_conn *c)
{
	struct work *w;

	c->broken = true;
	if (fake_rdma.stuck || !c->has_queue)
		return;
	while ((w = list_pop_entry(&c->sends, struct work, link))) {
		complete(c, w, RNIC_FLUSHED, 0, 0);
		free(w);
	}
	while ((w = list_pop_entry(&c->recvs, struct work, link))) {
		complete(c, w, RNIC_FLUSHED, 0, 0);
		free(w);
	}
}

void fake_conn_break(struct fake_conn *c)
{
	struct fake_conn *both[] = { c, c->peer };

	for (unsigned i = 0; i < ARRAY_SIZE(both); i++) {
		if (!both[i])
			continue;
		fake_conn_flush(both[i]);
		if (both[i]->up && !both[i]->told) {
			both[i]->told = true;
			fake_conn_tell(both[i], (struct rnic_event){ .type = RNIC_DISCONNECTED });
		}
	}
}

static uint32_t parts_bytes(const struct work *w)
{
	uint32_t bytes = 0;

	for (int i = 0; i < w->parts; i++)
		bytes += w->sge[i].len;
	return bytes;
}

/* Between the parts of W and BYTES, LEN of them. */
static void parts_copy(const struct work *w, uint8_t *bytes, uint32_t len, bool gather)
{
	for (int i = 0; i < w->parts && len; i++) {
		uint32_t n = MIN(len, w->sge[i].len);
		void *at = (void *)(uintptr_t)w->sge[i].addr;

		assert_int_equal(w->sge[i].lkey, LKEY);
		memcpy(gather ? bytes : at, gather ? at : bytes, n);
		bytes += n;
		len -= n;
	}
}

/* False: the peer has no receive yet. STATUS is changed when it has one that is too short. */
static bool do_send(struct fake_conn *c, const struct work *w, uint32_t *status)
{
	struct fake_conn *p = c->peer;
	struct list *from = p->srq ? &p->srq->recvs : &p->recvs;
	uint32_t len = parts_bytes(w), key = 0;
	uint8_t *bytes;
	struct work *r;

	r = list_pop_entry(from, struct work, link);
	if (!r) {
		fake_rdma.starved++;
		return false;
	}
	if (p->srq)
		p->srq->posted--;
	bytes = malloc(len + 1);
	parts_copy(w, bytes, len, true);
	if (parts_bytes(r) < len) {
		free(bytes);
		complete(p, r, LENGTH_ERROR, 0, 0);
		free(r);
		*status = REMOTE_INVALID;
		return true;
	}
	parts_copy(r, bytes, len, false);
	free(bytes);
	if (w->op == RNIC_OP_SEND_INVALIDATE)
		key = w->invalidate;
	else if (p->invalidate)
		key = RKEY;
	p->invalidate = false;
	complete(p, r, RNIC_OK, len, key);
	free(r);
	fake_rdma.sends++;
	return true;
}

static bool do_rdma(struct fake_conn *c, const struct work *w)
{
	uint32_t len = parts_bytes(w);
	const struct rnic_domain *theirs = c->peer->domain;
	const struct rnic_region *region;

	region = rnic_region_of(theirs, (void *)(uintptr_t)w->remote_addr, len);
	if (!region || theirs->access != RNIC_REMOTE || w->rkey != region->rkey)
		return false;
	parts_copy(w, (uint8_t *)(uintptr_t)w->remote_addr, len, w->op == RNIC_OP_WRITE);
	*(w->op == RNIC_OP_WRITE ? &fake_rdma.writes : &fake_rdma.reads) += 1;
	return true;
}

/* One work request of C; whether there was one that could be done. */
bool fake_conn_step(struct fake_conn *c)
{
	struct work *w = list_first_entry(&c->sends, struct work, link);
	uint32_t status = RNIC_OK;

	if (!w || !c->peer || !c->up || c->broken || c->peer->broken || fake_rdma.stuck)
		return false;
	if (w->op == RNIC_OP_SEND || w->op == RNIC_OP_SEND_INVALIDATE) {
		if (fake_rdma.break_after && --fake_rdma.break_after == 0) {
			fake_conn_break(c);
			return true;
		}
		if (!do_send(c, w, &status))
			return false;
	} else if (!do_rdma(c, w)) {
		status = RNIC_REMOTE_ACCESS;
	}
	list_del(&w->link);
	if (status != RNIC_OK || (w->flags & RNIC_SIGNALED))
		complete(c, w, status, 0, 0);
	free(w);
	if (status != RNIC_OK)
		fake_conn_break(c);
	return true;
}

struct rnic_cq *rnic_cq_create(struct rnic_device *d, unsigned entries)
{
	struct rnic_cq *cq = calloc(1, sizeof(*cq));

	assert_true(entries <= d->cq_max);
	list_init(&cq->notes);
	cq->room = entries;
	fake_rdma.cqs++;
	return cq;
}

void rnic_cq_destroy(struct rnic_cq *cq)
{
	struct done_note *note;

	while ((note = list_pop_entry(&cq->notes, struct done_note, link)))
		free(note);
	free(cq);
	fake_rdma.cqs--;
}

int rnic_cq_poll(struct rnic_cq *cq, struct rnic_done *done, int max)
{
	struct done_note *note;
	int count = 0;

	while (count < max && (note = list_pop_entry(&cq->notes, struct done_note, link))) {
		done[count++] = note->done;
		cq->room++;
		free(note);
	}
	return count;
}

enum poller_arm rnic_cq_arm(struct rnic_cq *cq)
{
	return list_empty(&cq->notes) ? POLLER_ARMED : POLLER_BUSY;
}

void fake_work_free(struct list *list)
{
	struct work *w;

	while ((w = list_pop_entry(list, struct work, link)))
		free(w);
}

struct rnic_srq *rnic_srq_create(struct rnic_domain *domain, unsigned entries, unsigned sges)
{
	struct rnic_srq *srq = calloc(1, sizeof(*srq));

	list_init(&srq->recvs);
	srq->entries = entries;
	fake_rdma.srqs++;
	return srq;
}

void rnic_srq_destroy(struct rnic_srq *srq)
{
	fake_work_free(&srq->recvs);
	free(srq);
	fake_rdma.srqs--;
}

static struct work *work_make(uint64_t id, const struct rnic_sge *sge, int count)
{
	struct work *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	assert_in_range(count, 0, PARTS_MAX);
	w->id = id;
	w->parts = count;
	memcpy(w->sge, sge, (size_t)count * sizeof(*sge));
	return w;
}

static bool post_refused(const struct fake_conn *c)
{
	unsigned *fails = c->listener ? &fake_rdma.accepted_post_fails : &fake_rdma.post_fails;

	return *fails && --*fails == 0;
}

int rnic_srq_post(struct rnic_srq *srq, struct rnic_recv *first)
{
	for (; first; first = first->next) {
		assert_true(srq->posted++ < srq->entries);
		list_push(&srq->recvs, &work_make(first->id, first->sge, first->sge_count)->link);
	}
	return 0;
}

int rnic_post_recv(struct rnic_conn *conn, struct rnic_recv *first)
{
	struct fake_conn *c = fake_conn_of(conn);

	if (post_refused(c))
		return -EIO;
	for (; first; first = first->next)
		list_push(&c->recvs, &work_make(first->id, first->sge, first->sge_count)->link);
	if (c->broken)
		fake_conn_flush(c);
	return 0;
}

int rnic_post_send(struct rnic_conn *conn, struct rnic_send *first)
{
	struct fake_conn *c = fake_conn_of(conn);

	if (post_refused(c))
		return -EIO;
	for (; first; first = first->next) {
		struct work *w = work_make(first->id, first->sge, first->sge_count);

		w->op = first->op;
		w->flags = first->flags;
		w->rkey = first->rkey;
		w->invalidate = first->invalidate;
		w->remote_addr = first->remote_addr;
		list_push(&c->sends, &w->link);
	}
	if (c->broken)
		fake_conn_flush(c);
	return 0;
}
