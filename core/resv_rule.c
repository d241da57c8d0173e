/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The rules of reservations: what each verb makes of a state, as functions from one immutable state
 * to the next. NVMe base 2.0c 8.19 and its commands in 7.2 to 7.5; SPC agrees in all of it. Nothing
 * here waits, publishes or is kept.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/resv_impl.h"

static bool type_is_all(unsigned type)
{
	return type == RESV_WRITE_EXCLUSIVE_ALL || type == RESV_EXCLUSIVE_ACCESS_ALL;
}

/* The types under which other hosts than the holder have rights that end with it. */
static bool type_is_shared(unsigned type)
{
	return type > RESV_EXCLUSIVE_ACCESS;
}

static bool type_valid(unsigned type)
{
	return type > RESV_NONE && type < RESV_TYPE_COUNT;
}

/* ---- states ---- */

struct resv_state *resv_state_new(const struct uuid *disk, unsigned count)
{
	struct resv_state *state = calloc(1, sizeof(*state) + count * sizeof(state->reg[0]));

	if (state)
		state->disk = *disk;
	return state;
}

void resv_state_seal(struct resv_state *state)
{
	static const struct {
		uint8_t everybody, registrants;
	} open[RESV_TYPE_COUNT] = {
		[RESV_NONE] = { RESV_READ | RESV_WRITE, RESV_READ | RESV_WRITE },
		[RESV_WRITE_EXCLUSIVE] = { RESV_READ, RESV_READ },
		[RESV_EXCLUSIVE_ACCESS] = { 0, 0 },
		[RESV_WRITE_EXCLUSIVE_REGISTRANTS] = { RESV_READ, RESV_READ | RESV_WRITE },
		[RESV_EXCLUSIVE_ACCESS_REGISTRANTS] = { 0, RESV_READ | RESV_WRITE },
		[RESV_WRITE_EXCLUSIVE_ALL] = { RESV_READ, RESV_READ | RESV_WRITE },
		[RESV_EXCLUSIVE_ACCESS_ALL] = { 0, RESV_READ | RESV_WRITE },
	};

	state->everybody = open[state->type].everybody;
	state->registrants = open[state->type].registrants;
	memset(state->slot, 0, sizeof(state->slot));
	for (unsigned i = 0; i < state->count; i++) {
		unsigned at = state->reg[i].host.hash % RESV_SLOTS;

		while (state->slot[at])
			at = (at + 1) % RESV_SLOTS;
		state->slot[at] = (uint16_t)(i + 1);
	}
}

int resv_registrant(const struct resv_state *state, const struct resv_host *host)
{
	for (unsigned at = host->hash % RESV_SLOTS; state->slot[at]; at = (at + 1) % RESV_SLOTS) {
		int index = state->slot[at] - 1;

		if (resv_host_equal(&state->reg[index].host, host))
			return index;
	}
	return -1;
}

bool resv_is_holder(const struct resv_state *state, int index)
{
	if (index < 0 || state->type == RESV_NONE)
		return false;
	return type_is_all(state->type) || state->holder == index;
}

/* ---- changes ---- */

/*
 * The next state begins as the old one without the registrants whose registration is marked as
 * gone; a reservation that was held by one of them ends.
 */
static int change_begin(struct resv_change *change, const struct resv_state *old, const bool *gone)
{
	struct resv_state *next = resv_state_new(&old->disk, old->count + 1u);

	if (!next)
		return -ENOMEM;
	next->generation = old->generation;
	next->type = old->type;
	next->ptpl = old->ptpl;
	for (unsigned i = 0; i < old->count; i++) {
		if (gone && gone[i]) {
			if (old->holder == i && !type_is_all(old->type))
				next->type = RESV_NONE;
			continue;
		}
		if (old->holder == i)
			next->holder = next->count;
		next->reg[next->count++] = old->reg[i];
	}
	if (next->count == 0)
		next->type = RESV_NONE;
	change->next = next;
	return 0;
}

/* EVENT to every registrant but SELF that has none yet. */
static void change_tell(struct resv_change *change, const struct resv_state *old, int self,
			enum resv_event event)
{
	for (int i = 0; i < old->count; i++)
		if (i != self && !change->event[i])
			change->event[i] = (uint8_t)event;
}

static void change_ptpl(struct resv_state *next, enum resv_ptpl ptpl)
{
	if (ptpl != RESV_PTPL_KEEP)
		next->ptpl = ptpl == RESV_PTPL_SET;
}

/* ---- the verbs; SELF is the host's index or -1 ---- */

static int rule_register(const struct resv_state *old, const struct resv_request *req, int self,
			 struct resv_change *change)
{
	struct resv_state *next;
	int rc;

	if (req->new_key == 0)
		return -EINVAL;
	if (self >= 0 && old->reg[self].key != req->new_key)
		return -EBUSY;
	if (self < 0 && old->count == RESV_REGISTRANTS_MAX)
		return -ENOSPC;
	rc = change_begin(change, old, NULL);
	if (rc)
		return rc;
	next = change->next;
	next->generation++;
	change_ptpl(next, req->ptpl);
	if (self < 0)
		next->reg[next->count++] = (struct resv_registrant){ *req->host, req->new_key };
	return 0;
}

static int rule_unregister(const struct resv_state *old, const struct resv_request *req, int self,
			   struct resv_change *change)
{
	bool gone[RESV_REGISTRANTS_MAX] = { false };
	int rc;

	gone[self] = true;
	rc = change_begin(change, old, gone);
	if (rc)
		return rc;
	change->next->generation++;
	change_ptpl(change->next, req->ptpl);
	if (type_is_shared(old->type) && change->next->type == RESV_NONE)
		change_tell(change, old, self, RESV_RELEASED);
	return 0;
}

static int rule_replace(const struct resv_state *old, const struct resv_request *req, int self,
			struct resv_change *change)
{
	int rc;

	if (self < 0)
		return req->ignore_key ? rule_register(old, req, self, change) : -EBUSY;
	if (req->new_key == 0)
		return -EINVAL;
	rc = change_begin(change, old, NULL);
	if (rc)
		return rc;
	change->next->generation++;
	change_ptpl(change->next, req->ptpl);
	change->next->reg[self].key = req->new_key;
	return 0;
}

static int rule_acquire(const struct resv_state *old, const struct resv_request *req, int self,
			struct resv_change *change)
{
	int rc;

	if (!type_valid(req->type))
		return -EINVAL;
	if (old->type != RESV_NONE)
		return resv_is_holder(old, self) && old->type == req->type ? 0 : -EBUSY;
	rc = change_begin(change, old, NULL);
	if (rc)
		return rc;
	change->next->type = (uint8_t)req->type;
	change->next->holder = (uint16_t)self;
	return 0;
}

/*
 * base 2.0c 8.19.7. Whoever has other_key loses its registration, but never the host that asks. It
 * takes the reservation over when other_key is the holder's, or 0 with an all-registrants type.
 */
static int rule_preempt(const struct resv_state *old, const struct resv_request *req, int self,
			struct resv_change *change)
{
	bool gone[RESV_REGISTRANTS_MAX] = { false };
	bool held = old->type != RESV_NONE, all = type_is_all(old->type);
	bool everybody = all && req->other_key == 0, takes, found = false;
	struct resv_state *next;
	int rc;

	if (!type_valid(req->type) || (req->other_key == 0 && !all))
		return -EINVAL;
	takes = held && (all ? everybody : old->reg[old->holder].key == req->other_key);
	for (int i = 0; i < old->count; i++) {
		if (!everybody && old->reg[i].key != req->other_key)
			continue;
		found = true;
		if (i == self)
			continue;
		gone[i] = true;
		change->event[i] = RESV_REGISTRATION_PREEMPTED;
	}
	if (!found && !everybody)
		return -EBUSY;
	rc = change_begin(change, old, gone);
	if (rc)
		return rc;
	next = change->next;
	next->generation++;
	if (!takes)
		return 0;
	next->type = (uint8_t)req->type;
	next->holder = (uint16_t)self;
	for (int i = 0; i < self; i++)
		next->holder -= gone[i];
	if (type_is_shared(old->type) && old->type != next->type)
		change_tell(change, old, self, RESV_RELEASED);
	return 0;
}

static int rule_release(const struct resv_state *old, const struct resv_request *req, int self,
			struct resv_change *change)
{
	int rc;

	if (old->type == RESV_NONE || !resv_is_holder(old, self))
		return 0;
	if (old->type != req->type)
		return -EINVAL;
	rc = change_begin(change, old, NULL);
	if (rc)
		return rc;
	change->next->type = RESV_NONE;
	if (type_is_shared(old->type))
		change_tell(change, old, self, RESV_RELEASED);
	return 0;
}

static int rule_clear(const struct resv_state *old, const struct resv_request *req, int self,
		      struct resv_change *change)
{
	bool gone[RESV_REGISTRANTS_MAX];
	int rc;

	(void)req;
	memset(gone, true, sizeof(gone));
	rc = change_begin(change, old, gone);
	if (rc)
		return rc;
	change->next->generation++;
	change_tell(change, old, self, RESV_PREEMPTED);
	return 0;
}

static int rule_persist(const struct resv_state *old, const struct resv_request *req, int self,
			struct resv_change *change)
{
	int rc = change_begin(change, old, NULL);

	(void)self;
	if (rc == 0)
		change_ptpl(change->next, req->ptpl);
	return rc;
}

static const struct {
	bool registered;                /* needs a registration, and its key */
	int (*rule)(const struct resv_state *old, const struct resv_request *req, int self,
		    struct resv_change *change);
} rules[] = {
	[RESV_REGISTER] = { false, rule_register },
	[RESV_UNREGISTER] = { true, rule_unregister },
	[RESV_REPLACE] = { false, rule_replace },
	[RESV_ACQUIRE] = { true, rule_acquire },
	[RESV_PREEMPT] = { true, rule_preempt },
	[RESV_PREEMPT_ABORT] = { true, rule_preempt },
	[RESV_RELEASE] = { true, rule_release },
	[RESV_CLEAR] = { true, rule_clear },
	[RESV_EVICT] = { false, rule_clear },
	[RESV_PERSIST] = { false, rule_persist },
};

int resv_rule_apply(const struct resv_state *old, const struct resv_request *req,
		    struct resv_change *change)
{
	int self = req->host ? resv_registrant(old, req->host) : -1, rc;
	bool wrong_key = self >= 0 && !req->ignore_key && old->reg[self].key != req->key;

	memset(change, 0, sizeof(*change));
	if (rules[req->verb].registered && (self < 0 || wrong_key))
		return -EBUSY;
	if (req->verb == RESV_REPLACE && wrong_key)
		return -EBUSY;
	rc = rules[req->verb].rule(old, req, self, change);
	if (rc == 0 && change->next)
		resv_state_seal(change->next);
	return rc;
}
