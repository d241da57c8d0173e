/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pollers: a list that is walked once a round. The walk keeps its next link in the reactor and
 * every stop looks there, so that any poller may stop, and free, any other or itself meanwhile.
 */
#include "core/base/panic.h"
#include "core/runtime.h"

void poller_start(struct poller *p)
{
	struct reactor *r = reactor_current;
	struct list *before = &r->pollers;

	p->armed = false;
	p->rounds = p->work = 0;
	while (!p->late && before->prev != &r->pollers &&
	       list_entry(before->prev, struct poller, link)->late)
		before = before->prev;
	list_push(before, &p->link);
	r->poller_count++;
}

static void poller_disarm(struct poller *p)
{
	p->armed = false;
	if (p->disarm)
		p->disarm(p);
}

void poller_stop(struct poller *p)
{
	struct reactor *r = reactor_current;

	ASSERT_MSG(list_linked(&p->link), "poller %s: stopped twice", p->name);
	if (r->poller_next == &p->link)
		r->poller_next = p->link.next;
	if (r->poller_running == p)
		r->poller_running = NULL;
	if (r->deaf == p)
		r->deaf = NULL;
	list_del(&p->link);
	r->poller_count--;
	if (p->armed)
		poller_disarm(p);
}

/* The next poller of a walk that began with r->poller_next = r->pollers.next; NULL at the end. */
static struct poller *walk_next(struct reactor *r)
{
	struct list *link = r->poller_next;

	if (link == &r->pollers)
		return NULL;
	r->poller_next = link->next;
	return list_entry(link, struct poller, link);
}

int pollers_run(struct reactor *r)
{
	struct poller *p;
	int work = 0;

	r->poller_next = r->pollers.next;
	while ((p = walk_next(r))) {
		int done;

		p->rounds++;
		r->poller_running = p;
		done = p->poll(p);
		if (r->poller_running)
			p->work += (unsigned)done;
		work += done;
	}
	r->poller_running = NULL;
	return work;
}

/* Arms P if there is anything to arm; false when it keeps the reactor awake. */
static bool poller_arm(struct reactor *r, struct poller *p)
{
	if (!p->arm || p->armed)
		return true;
	switch (p->arm(p)) {
	case POLLER_ARMED:
		p->armed = true;
		return true;
	case POLLER_BUSY:
		return false;
	case POLLER_DEAF:
		r->deaf = p;
		return false;
	}
	return false;
}

bool pollers_arm(struct reactor *r)
{
	struct poller *p = r->deaf;

	/* most likely still deaf: then the others need not be armed in vain */
	r->deaf = NULL;
	if (p && !poller_arm(r, p))
		return false;
	r->poller_next = r->pollers.next;
	while ((p = walk_next(r)))
		if (!poller_arm(r, p))
			return false;
	return true;
}

void pollers_disarm(struct reactor *r)
{
	struct poller *p;

	r->poller_next = r->pollers.next;
	while ((p = walk_next(r)))
		if (p->armed)
			poller_disarm(p);
}
