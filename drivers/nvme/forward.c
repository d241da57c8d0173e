/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A drive may offer fewer queue pairs than there are reactors. A reactor without one collects the
 * io of a round and sends them to the owner of a queue as one batch; the owner sends those that
 * completed in one of its rounds back as one batch. A batch is a ring of the io's links without a
 * head, and the message is in the first io: nothing is allocated, and nothing has to come back
 * before the next batch can go.
 */
#include "core/base/util.h"
#include "drivers/nvme/nvme.h"

static struct io *io_of_msg(struct msg *msg)
{
	return container_of((uint64_t *)(void *)msg, struct io, scratch[0]);
}

static_assert(offsetof(struct nvme_io, msg) == 0, "a message is found back as scratch");

/* Makes LIST empty; its links become a ring, the first io is returned. */
static struct io *batch_make(struct list *list)
{
	struct list *first = list->next;

	list_del(list);
	return list_entry(first, struct io, link);
}

/* Takes the next io off the batch REST; NULL at its end. */
static struct io *batch_take(struct io **rest)
{
	struct io *io = *rest;

	if (!io)
		return NULL;
	*rest = list_linked(&io->link) ? list_entry(io->link.next, struct io, link) : NULL;
	list_del(&io->link);
	return io;
}

static void batch_arrived(struct msg *msg)
{
	struct io *io, *rest = io_of_msg(msg);
	const struct nvme_chan *chan = rest->chan->priv;
	struct nvme_queue *q = chan->forward->to;

	while ((io = batch_take(&rest)))
		nvme_queue_submit(q, io);
	/* what failed at once goes home even when the queue is not polled any more */
	nvme_lane_flush(q);
}

static int forward_poll(struct poller *p)
{
	struct nvme_forward *f = container_of(p, struct nvme_forward, poller);
	struct io *first;

	if (list_empty(&f->out))
		return 0;
	first = batch_make(&f->out);
	reactor_send(reactor_at(f->to->reactor), &nvme_io_of(first)->msg, batch_arrived);
	return 1;
}

static enum poller_arm forward_arm(struct poller *p)
{
	struct nvme_forward *f = container_of(p, struct nvme_forward, poller);

	return list_empty(&f->out) ? POLLER_ARMED : POLLER_BUSY;
}

void nvme_forward_open(struct nvme_forward *f, struct nvme_queue *to)
{
	f->to = to;
	list_init(&f->out);
	f->poller = (struct poller){ .name = "nvme forward", .poll = forward_poll,
				     .arm = forward_arm };
	poller_start(&f->poller);
}

void nvme_forward_close(struct nvme_forward *f)
{
	poller_stop(&f->poller);
}

void nvme_forward_submit(struct nvme_forward *f, struct io *io)
{
	list_push(&f->out, &io->link);
}

/* ---- the way back ---- */

static void batch_home(struct msg *msg)
{
	struct io *io, *rest = io_of_msg(msg);

	while ((io = batch_take(&rest)))
		io_complete(io, nvme_io_of(io)->status);
}

void nvme_forward_back(struct list *list, unsigned reactor)
{
	struct io *first = batch_make(list);

	reactor_send(reactor_at(reactor), &nvme_io_of(first)->msg, batch_home);
}
