/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * PERSISTENT RESERVE IN and OUT (SPC-4 5.13, 6.15, 6.16) over core/resv.h, which knows the rules
 * and is shared with NVMe: a reservation of either keeps the other out. The commands run in a task
 * on reactor 0; their data is taken and given on the task's own reactor.
 */
#include "targets/scsi/scsi.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/panic.h"

enum {
	PRO_LIST_BYTES = 24,
	PRO_FLAGS_BYTE = 20,
	PRO_APTPL = 0x01, PRO_ALL_TG_PT = 0x04, PRO_SPEC_I_PT = 0x08,
	STATUS_HEADER_BYTES = 24,
	TRANSPORT_ID_OTHER = 0x0f,      /* of a host that is none of SCSI's */
	REPLY_BYTES = 8 + RESV_REGISTRANTS_MAX * (STATUS_HEADER_BYTES + RESV_ID_BYTES + 2),
};

/* SPC-4 table 62, by NVMe's numbers, which core/resv.h has. */
static const uint8_t scsi_type[RESV_TYPE_COUNT] = { 0, 1, 3, 5, 6, 7, 8 };

static enum resv_type type_of(uint8_t scsi)
{
	for (unsigned i = 1; i < RESV_TYPE_COUNT; i++) {
		if (scsi_type[i] == scsi)
			return i;
	}
	return RESV_NONE;
}

/* A command on its way to reactor 0 and back. */
struct persist {
	struct msg msg;
	struct scsi_task *task;
	unsigned reactor;
	uint64_t key, sa_key;
	uint8_t flags;
	/* the answer: how the task ends */
	int rc;                         /* -EBUSY: conflict … */
	bool bad_release;
	size_t len;
	uint8_t reply[];
};

bool scsi_persistent_allows(const struct scsi_task *task)
{
	unsigned access = task->cmd->flags & SCSI_CMD_PR_READ ? RESV_READ : RESV_WRITE;

	return resv_allows(task->lu->bdev, &task->lu->port->initiator, access);
}

/* ---- the end, on the task's reactor ---- */

static void persist_finish(struct persist *p)
{
	struct scsi_task *task = p->task;

	if (p->bad_release)
		scsi_fail(task, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_INVALID_RELEASE);
	else if (p->rc == -EBUSY)
		scsi_status(task, SCSI_RESERVATION_CONFLICT);
	else if (p->rc == -ENOSPC)
		scsi_fail(task, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_REGISTRATION_RESOURCES);
	else if (p->rc == -EOPNOTSUPP)
		scsi_fail_parameter(task, PRO_FLAGS_BYTE);
	else if (p->rc == -EINVAL)
		scsi_fail_parameter(task, 8);
	else if (p->rc)
		scsi_fail(task, SCSI_KEY_HARDWARE_ERROR, SCSI_ASC_INTERNAL_FAILURE);
	else if (task->cdb[0] == SCSI_PERSISTENT_RESERVE_IN)
		scsi_reply(task, p->reply, p->len, scsi_be(task->cdb + 7, 2));
	else
		scsi_good(task);
	free(p);
}

static void persist_back(struct msg *msg)
{
	persist_finish(container_of(msg, struct persist, msg));
}

/* ---- OUT, in a task on reactor 0 ---- */

/* What REGISTER asks for, by who is registered. False: nothing, p->rc is the answer. */
static bool register_verb(struct persist *p, bool registered, uint64_t now,
			  struct resv_request *req)
{
	req->ignore_key = (p->task->cdb[1] & 0x1f) == SCSI_PRO_REGISTER_IGNORE;
	req->key = p->key;
	req->new_key = p->sa_key;
	req->ptpl = p->flags & PRO_APTPL ? RESV_PTPL_SET : RESV_PTPL_CLEAR;
	if (!req->ignore_key && p->key != (registered ? now : 0)) {
		p->rc = -EBUSY;
		return false;
	}
	if (!registered && p->sa_key == 0) {
		p->rc = 0;
		return false;
	}
	if (p->sa_key == 0)
		req->verb = RESV_UNREGISTER;
	else
		req->verb = registered ? RESV_REPLACE : RESV_REGISTER;
	return true;
}

static bool out_verb(struct persist *p, const struct resv_state *state, struct resv_request *req)
{
	int index = state ? resv_registrant(state, req->host) : -1;
	uint64_t now = index >= 0 ? state->reg[index].key : 0;
	uint8_t sa = p->task->cdb[1] & 0x1f;

	if (sa == SCSI_PRO_REGISTER || sa == SCSI_PRO_REGISTER_IGNORE)
		return register_verb(p, index >= 0, now, req);
	/* SPC-4 5.13.8: everything else is for registrants that know their key */
	if (index < 0 || now != p->key) {
		p->rc = -EBUSY;
		return false;
	}
	req->key = p->key;
	req->other_key = p->sa_key;
	switch (sa) {
	case SCSI_PRO_RESERVE:
		req->verb = RESV_ACQUIRE;
		break;
	case SCSI_PRO_RELEASE:
		/* SPC-4 5.13.11.2 */
		if (state->type == RESV_NONE || !resv_is_holder(state, index))
			return false;
		p->bad_release = state->type != req->type;
		req->verb = RESV_RELEASE;
		return !p->bad_release;
	case SCSI_PRO_CLEAR:
		req->verb = RESV_CLEAR;
		break;
	case SCSI_PRO_PREEMPT:
		req->verb = RESV_PREEMPT;
		break;
	default:
		req->verb = RESV_PREEMPT_ABORT;
		break;
	}
	return true;
}

static void persist_out(struct persist *p)
{
	struct scsi_task *task = p->task;
	struct resv_request req = {
		.disk = task->lu->bdev->uuid,
		.host = &task->lu->port->initiator,
		.type = type_of(task->cdb[2] & 0x0f),
	};

	if (out_verb(p, resv_find(&req.disk), &req))
		p->rc = resv_run(&req);
}

/* ---- IN, in a task on reactor 0 ---- */

static void in_keys(struct persist *p, const struct resv_state *state)
{
	unsigned count = state ? state->count : 0;

	for (unsigned i = 0; i < count; i++)
		scsi_be_put(p->reply + 8 + 8 * i, 8, state->reg[i].key);
	scsi_be_put(p->reply + 4, 4, 8 * count);
	p->len = 8 + 8 * count;
}

static void in_reservation(struct persist *p, const struct resv_state *state)
{
	uint8_t *data = p->reply;

	p->len = 8;
	if (!state || state->type == RESV_NONE)
		return;
	/* SPC-4 6.15.3: with every registrant a holder the key is 0 */
	if (state->type != RESV_WRITE_EXCLUSIVE_ALL && state->type != RESV_EXCLUSIVE_ACCESS_ALL)
		scsi_be_put(data + 8, 8, state->reg[state->holder].key);
	data[21] = scsi_type[state->type];
	data[7] = 16;
	p->len = 24;
}

/* SPC-4 6.15.4 */
static void in_capabilities(struct persist *p, const struct resv_state *state)
{
	uint8_t *data = p->reply;

	data[1] = 8;
	data[2] = resv_ptpl_offered() ? 0x01 : 0x00;            /* PTPL_C */
	data[3] = 0x80 | (state && state->ptpl ? 0x01 : 0);     /* TMV, PTPL_A */
	data[4] = 0xea;         /* all registrants, registrants only, exclusive */
	data[5] = 0x01;
	p->len = 8;
}

static size_t put_transport_id(uint8_t *p, const struct resv_host *host)
{
	if (host->kind == RESV_HOST_SCSI) {
		memcpy(p, host->id, host->len);
		return ALIGN_UP(host->len, 4);
	}
	p[0] = TRANSPORT_ID_OTHER;
	memcpy(p + 8, host->id, MIN(host->len, SCSI_TRANSPORT_ID_BYTES - 8));
	return SCSI_TRANSPORT_ID_BYTES;
}

/* SPC-4 6.15.5 */
static void in_full_status(struct persist *p, const struct resv_state *state)
{
	size_t at = 8;

	for (unsigned i = 0; state && i < state->count; i++) {
		uint8_t *data = p->reply + at;
		size_t len = put_transport_id(data + STATUS_HEADER_BYTES, &state->reg[i].host);

		scsi_be_put(data, 8, state->reg[i].key);
		if (state->type != RESV_NONE && resv_is_holder(state, (int)i)) {
			data[12] = 0x01;                        /* R_HOLDER */
			data[13] = scsi_type[state->type];
		}
		scsi_be_put(data + 18, 2, 1);
		scsi_be_put(data + 20, 4, len);
		at += STATUS_HEADER_BYTES + len;
	}
	scsi_be_put(p->reply + 4, 4, at - 8);
	p->len = at;
}

static void persist_in(struct persist *p)
{
	const struct resv_state *state = resv_find(&p->task->lu->bdev->uuid);

	switch (p->task->cdb[1] & 0x1f) {
	case SCSI_PRI_READ_KEYS:
		in_keys(p, state);
		break;
	case SCSI_PRI_READ_RESERVATION:
		in_reservation(p, state);
		break;
	case SCSI_PRI_REPORT_CAPABILITIES:
		in_capabilities(p, state);
		return;
	default:
		in_full_status(p, state);
		break;
	}
	scsi_be_put(p->reply, 4, state ? state->generation : 0);
}

/* ---- the way there ---- */

static void persist_task(void *arg)
{
	struct persist *p = arg;

	if (p->task->cdb[0] == SCSI_PERSISTENT_RESERVE_IN)
		persist_in(p);
	else
		persist_out(p);
	reactor_send(reactor_at(p->reactor), &p->msg, persist_back);
}

static void persist_arrived(struct msg *msg)
{
	struct persist *p = container_of(msg, struct persist, msg);

	if (task_start("scsi reservation", persist_task, p))
		return;
	p->rc = -ENOMEM;
	reactor_send(reactor_at(p->reactor), &p->msg, persist_back);
}

static void persist_send(struct scsi_task *task, struct persist *p)
{
	p->task = task;
	p->reactor = reactor_index();
	reactor_send(reactor_at(0), &p->msg, persist_arrived);
}

void scsi_persistent_in(struct scsi_task *task)
{
	struct persist *p = calloc(1, sizeof(*p) + REPLY_BYTES);

	if (p)
		persist_send(task, p);
	else
		scsi_fail(task, SCSI_KEY_HARDWARE_ERROR, SCSI_ASC_INTERNAL_FAILURE);
}

void scsi_persistent_out(struct scsi_task *task)
{
	uint8_t sa = task->cdb[1] & 0x1f, list[PRO_LIST_BYTES], refused;
	bool typed = sa == SCSI_PRO_RESERVE || sa == SCSI_PRO_RELEASE || sa == SCSI_PRO_PREEMPT ||
		     sa == SCSI_PRO_PREEMPT_ABORT;
	struct persist *p;

	/* scope: logical unit; SPC-4 table 61 */
	if (typed && (task->cdb[2] >> 4 || type_of(task->cdb[2] & 0x0f) == RESV_NONE)) {
		scsi_fail_cdb(task, 2, task->cdb[2] >> 4 ? 7 : 3);
		return;
	}
	if (scsi_be(task->cdb + 5, 4) != sizeof(list)) {
		scsi_fail(task, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_PARAMETER_LIST_LENGTH);
		return;
	}
	if (!scsi_fetch(task, 0, list, sizeof(list))) {
		scsi_overrun(task);
		return;
	}
	task->moved = sizeof(list);
	/* SPC-4 6.16.3: neither is offered; ALL_TG_PT means nothing but to a registration */
	refused = PRO_SPEC_I_PT | (sa == SCSI_PRO_REGISTER || sa == SCSI_PRO_REGISTER_IGNORE ?
				   PRO_ALL_TG_PT : 0);
	if (list[PRO_FLAGS_BYTE] & refused) {
		scsi_fail_parameter(task, PRO_FLAGS_BYTE);
		return;
	}
	p = calloc(1, sizeof(*p));
	if (!p) {
		scsi_fail(task, SCSI_KEY_HARDWARE_ERROR, SCSI_ASC_INTERNAL_FAILURE);
		return;
	}
	p->key = scsi_be(list, 8);
	p->sa_key = scsi_be(list + 8, 8);
	p->flags = list[PRO_FLAGS_BYTE];
	persist_send(task, p);
}

/* ---- what other hosts did ---- */

static bool concerns(const struct scsi_lu *lu, const struct uuid *disk,
		     const struct resv_host *host)
{
	return uuid_equal(&lu->bdev->uuid, disk) && resv_host_equal(&lu->port->initiator, host);
}

static void persist_event(struct resv_watch *watch, const struct uuid *disk,
			  const struct resv_host *host, enum resv_event event)
{
	static const enum scsi_attention ua[] = {
		[RESV_REGISTRATION_PREEMPTED] = SCSI_UA_REGISTRATIONS_PREEMPTED,
		[RESV_RELEASED] = SCSI_UA_RESERVATIONS_RELEASED,
		[RESV_PREEMPTED] = SCSI_UA_RESERVATIONS_PREEMPTED,
	};

	for (struct scsi_lu *lu = scsi_lu_next(NULL); lu; lu = scsi_lu_next(lu)) {
		if (concerns(lu, disk, host))
			scsi_lu_attention(lu, ua[event]);
	}
}

/* Units may go while one is waited for: the walk begins anew after each, past those it had. */
static void persist_abort(struct resv_watch *watch, const struct uuid *disk,
			  const struct resv_host *const *hosts, unsigned count)
{
	static uint64_t rounds;
	uint64_t round = ++rounds;
	struct scsi_lu *lu = scsi_lu_next(NULL);

	while (lu) {
		bool meant = false;

		for (unsigned i = 0; i < count; i++)
			meant |= concerns(lu, disk, hosts[i]);
		if (!meant || lu->abort_round == round) {
			lu = scsi_lu_next(lu);
			continue;
		}
		lu->abort_round = round;
		scsi_transfers_abort(lu);
		lu = scsi_lu_next(NULL);
	}
}

static struct resv_watch watch = { .event = persist_event, .abort = persist_abort };

void scsi_persistent_setup(void)
{
	resv_watch_start(&watch);
}
