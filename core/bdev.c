/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bdevs: their names, users, channels and figures. The list belongs to reactor 0, where all of this
 * is called in tasks; channels are opened and closed by a task on each reactor.
 *
 * A bdev that is being registered is on the list so that its name is taken, but not live: nobody
 * finds it until all its channels are open. One that is being removed stays visible, and cannot be
 * opened.
 */
#include "core/bdev.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/log.h"
#include "core/base/panic.h"
#include "core/bdev_impl.h"
#include "core/buf.h"
#include "core/dma.h"
#include "core/resv.h"

static struct list bdevs = LIST_INIT(bdevs), watches = LIST_INIT(watches);
static char machine_id[BDEV_TEXT_BYTES];

/* ---- channels ---- */

/* One block of memory: the channel, core's part, the driver's part. */
static struct bdev_chan *chan_create(struct bdev *bdev)
{
	size_t ctl_at = ALIGN_UP(sizeof(struct bdev_chan), CACHE_LINE);
	size_t priv_at = ALIGN_UP(ctl_at + sizeof(struct bdev_chan_ctl), CACHE_LINE);
	size_t bytes = ALIGN_UP(priv_at + bdev->priv_bytes, CACHE_LINE);
	struct bdev_chan *chan = aligned_alloc(CACHE_LINE, bytes);
	struct bdev_chan_ctl *ctl;

	if (!chan)
		return NULL;
	memset(chan, 0, bytes);
	chan->bdev = bdev;
	chan->priv = (char *)chan + priv_at;
	chan->reactor = reactor_index();
	ctl = chan->ctl = (struct bdev_chan_ctl *)((char *)chan + ctl_at);
	ctl->chan = chan;
	list_init(&ctl->waiting);
	list_init(&ctl->starved);
	list_init(&ctl->aborts);
	list_init(&ctl->held);
	list_init(&ctl->claims);
	bdev_piece_init(ctl);
	return chan;
}

struct chan_open_call {
	struct bdev *bdev;
	int rc[REACTOR_MAX];
};

static void chan_open_task(void *arg)
{
	struct chan_open_call *call = arg;
	unsigned self = reactor_index();
	struct bdev_chan *chan = chan_create(call->bdev);

	call->rc[self] = -ENOMEM;
	if (!chan)
		return;
	call->rc[self] = call->bdev->ops->chan_open ? call->bdev->ops->chan_open(chan) : 0;
	if (call->rc[self] == 0)
		call->bdev->chan[self] = chan;
	else
		free(chan);
}

static void chan_close_task(void *arg)
{
	struct bdev *bdev = arg;
	struct bdev_chan *chan = bdev->chan[reactor_index()];

	if (!chan)
		return;
	ASSERT_MSG(chan->inflight == 0, "bdev %s: closed with %u io in flight on reactor %u",
		   bdev->name, chan->inflight, chan->reactor);
	/* The word that the lock is released may still be on its way to the last compare-write. */
	while (chan->ctl->lock_req.bdev)
		task_yield();
	if (bdev->ops->chan_close)
		bdev->ops->chan_close(chan);
	bdev->chan[chan->reactor] = NULL;
	free(chan);
}

static int chans_open(struct bdev *bdev)
{
	struct chan_open_call call = { .bdev = bdev };

	task_call_all(chan_open_task, &call);
	for (unsigned i = 0; i < reactor_count(); i++) {
		if (call.rc[i] == 0)
			continue;
		task_call_all(chan_close_task, bdev);
		return call.rc[i];
	}
	return 0;
}

/* ---- registration ---- */

static bool name_valid(const char *name)
{
	size_t len = strnlen(name, BDEV_NAME_BYTES);
	unsigned slashes = 0;

	if (len == 0 || len == BDEV_NAME_BYTES)
		return false;
	for (; *name; name++) {
		bool plain = (*name >= 'a' && *name <= 'z') || (*name >= 'A' && *name <= 'Z') ||
			     (*name >= '0' && *name <= '9') || strchr("-_.", *name);

		slashes += *name == '/';
		if (!plain && *name != '/')
			return false;
	}
	return slashes <= 1;
}

static const char *what_is_wrong(const struct bdev *bdev)
{
	if (!name_valid(bdev->name))
		return "its name is empty, too long, or not of letters, digits, - _ .";
	if (!IS_POWER_OF_2(bdev->block_bytes) || bdev->block_bytes < 512 ||
	    bdev->block_bytes > 65536)
		return "the block size is not a power of two between 512 and 65536";
	if (bdev->block_count == 0 || bdev->block_count > (1ULL << 63) / bdev->block_bytes)
		return "it has no blocks, or too many";
	if (bdev->limits.align_bytes && (!IS_POWER_OF_2(bdev->limits.align_bytes) ||
					 bdev->limits.align_bytes > DMA_PAGE_BYTES))
		return "its alignment is not a power of two up to 4096";
	if (bdev->limits.page_bytes && (!IS_POWER_OF_2(bdev->limits.page_bytes) ||
					bdev->limits.page_bytes > DMA_PAGE_BYTES))
		return "its page size is not a power of two up to 4096";
	if (bdev->limits.align_bytes > bdev->block_bytes)
		return "its alignment is larger than its block";
	if (bdev->limits.xfer_bytes_max && bdev->limits.xfer_bytes_max < bdev->block_bytes)
		return "its largest transfer is less than one block";
	if (bdev->volatile_cache && !(bdev->ops_supported & 1u << IO_FLUSH))
		return "it has a volatile cache and no flush";
	return NULL;
}

/*
 * Hosts take two namespaces with one UUID for the same: a disk without a serial number gets the
 * machine's identity into its.
 */
static void machine_id_read(void)
{
	static const char *const paths[] = { "/etc/machine-id", "/sys/class/dmi/id/product_uuid" };

	for (unsigned i = 0; i < ARRAY_SIZE(paths) && !machine_id[0]; i++) {
		FILE *f = fopen(paths[i], "re");

		if (!f)
			continue;
		if (!fgets(machine_id, sizeof(machine_id), f))
			machine_id[0] = '\0';
		machine_id[strcspn(machine_id, "\n")] = '\0';
		fclose(f);
	}
}

static void derive(struct bdev *bdev)
{
	char text[2 * BDEV_TEXT_BYTES + BDEV_NAME_BYTES] = "";
	size_t len;

	bdev->ops_supported |= 1u << IO_READ;
	bdev->block_shift = log2_floor(bdev->block_bytes);
	bdev->iov_max = bdev->limits.iov_count_max ? bdev->limits.iov_count_max : UINT16_MAX;
	bdev->xfer_max = bdev->limits.xfer_bytes_max ? bdev->limits.xfer_bytes_max : UINT32_MAX;
	bdev->xfer_max = ALIGN_DOWN(bdev->xfer_max, bdev->block_bytes);
	bdev->align_mask = bdev->limits.align_bytes ? bdev->limits.align_bytes - 1 : 0;
	bdev->page_mask = bdev->limits.page_bytes ? bdev->limits.page_bytes - 1 : 0;
	bdev->straight_ops = 1 << IO_READ;
	if (!bdev->readonly)
		bdev->straight_ops |= bdev->ops_supported & 1 << IO_WRITE;
	bdev->pieces_flags = bdev->volatile_cache && !bdev->fua ? IO_FUA : 0;
	if (bdev->dma_only)
		bdev->pieces_flags |= IO_FOREIGN;
	if (bdev->atomic_blocks == 0)
		bdev->atomic_blocks = 1;
	if (!uuid_is_nil(&bdev->uuid))
		return;
	/* Each part with its NUL: "a" "bc" and "ab" "c" are two. */
	snprintf(text, sizeof(text), "%s", bdev->serial[0] ? bdev->serial : machine_id);
	len = strlen(text) + 1;
	len += snprintf(text + len, sizeof(text) - len, "%s", bdev->name) + 1;
	bdev->uuid = uuid_from_name(bdev->driver, text, len);
}

static struct bdev *find_any(const char *name)
{
	struct bdev *bdev;

	list_for_each(bdev, &bdevs, link) {
		if (strcmp(bdev->name, name) == 0)
			return bdev;
	}
	return NULL;
}

int bdev_register(struct bdev *bdev)
{
	const char *wrong = what_is_wrong(bdev);
	struct bdev_watch *watch;
	int rc;

	if (wrong) {
		log_error("bdev %.*s: %s", BDEV_NAME_BYTES, bdev->name, wrong);
		return -EINVAL;
	}
	if (find_any(bdev->name))
		return -EEXIST;
	bdev->ctl = calloc(1, sizeof(*bdev->ctl));
	if (!bdev->ctl)
		return -ENOMEM;
	bdev_lock_init(&bdev->ctl->lock);
	event_init(&bdev->ctl->closed);
	event_init(&bdev->ctl->resized);
	event_signal(&bdev->ctl->resized);
	list_init(&bdev->users);
	bdev->removing = bdev->exclusive = false;
	memset(bdev->chan, 0, sizeof(bdev->chan));
	derive(bdev);
	resv_attach(bdev);
	list_push(&bdevs, &bdev->link);
	rc = chans_open(bdev);
	if (rc < 0) {
		list_del(&bdev->link);
		free(bdev->ctl);
		bdev->ctl = NULL;
		return rc;
	}
	bdev->ctl->live = true;
	list_for_each(watch, &watches, link)
		watch->arrived(watch, bdev);
	return 0;
}

/* ---- removal ---- */

static void chan_shut_task(void *arg)
{
	struct bdev *bdev = arg;

	bdev_chan_shut(bdev_chan(bdev));
}

static void users_tell(struct bdev *bdev, enum bdev_event event)
{
	struct list untold = LIST_INIT(untold);
	struct bdev_user *user;

	/* A user may close, itself or others, in its event. */
	list_splice(&untold, &bdev->users);
	while ((user = list_pop_entry(&untold, struct bdev_user, link))) {
		list_push(&bdev->users, &user->link);
		if (user->event)
			user->event(user, event);
	}
}

void bdev_unregister(struct bdev *bdev)
{
	struct bdev_ctl *ctl = bdev->ctl;

	if (bdev->removing)
		return;
	bdev->removing = true;
	task_call_all(chan_shut_task, bdev);
	users_tell(bdev, BDEV_REMOVED);
	while (!list_empty(&bdev->users)) {
		event_clear(&ctl->closed);
		task_wait(&ctl->closed);
	}
	task_wait(&ctl->resized);
	task_wait(&ctl->lock.idle);
	task_call_all(chan_close_task, bdev);
	list_del(&bdev->link);
	bdev->ctl = NULL;
	free(ctl);
	if (bdev->ops->destroy)
		bdev->ops->destroy(bdev);
}

/* ---- resizing ---- */

struct resize_call {
	struct bdev_lock_req req;
	struct event granted, released;
};

static void resize_granted(struct bdev_lock_req *req)
{
	event_signal(&container_of(req, struct resize_call, req)->granted);
}

static void resize_released(struct bdev_lock_req *req)
{
	event_signal(&container_of(req, struct resize_call, req)->released);
}

/* Returns when every write into the range that was under way has ended. */
static void writers_wait(struct bdev *bdev, uint64_t lba, uint64_t lba_count)
{
	struct resize_call call = {
		.req = { .bdev = bdev, .lba = lba, .lba_count = lba_count,
			 .granted = resize_granted, .released = resize_released },
	};

	event_init(&call.granted);
	event_init(&call.released);
	bdev_lock_acquire(&call.req);
	task_wait(&call.granted);
	bdev_lock_release(&call.req);
	task_wait(&call.released);
}

void bdev_resize(struct bdev *bdev, uint64_t block_count)
{
	uint64_t old = bdev->block_count;

	if (block_count == old || bdev->removing)
		return;
	event_clear(&bdev->ctl->resized);
	__atomic_store_n(&bdev->block_count, block_count, __ATOMIC_RELAXED);
	if (block_count < old)
		writers_wait(bdev, block_count, old - block_count);
	users_tell(bdev, BDEV_RESIZED);
	event_signal(&bdev->ctl->resized);
}

void bdev_space_set(struct bdev *bdev, bool low)
{
	if (low == bdev->space_low || bdev->removing)
		return;
	bdev->space_low = low;
	users_tell(bdev, BDEV_THRESHOLD);
}

void bdev_health_tell(struct bdev *bdev, const struct bdev_health *health)
{
	if (bdev->removing)
		return;
	bdev->told = *health;
	users_tell(bdev, BDEV_HEALTH);
}

/* ---- users ---- */

void bdev_watch_start(struct bdev_watch *watch)
{
	list_push(&watches, &watch->link);
}

void bdev_watch_stop(struct bdev_watch *watch)
{
	list_del(&watch->link);
}

struct bdev *bdev_next(const struct bdev *prev)
{
	const struct list *link = prev ? &prev->link : &bdevs;

	for (link = link->next; link != &bdevs; link = link->next) {
		struct bdev *bdev = list_entry(link, struct bdev, link);

		if (bdev->ctl->live)
			return bdev;
	}
	return NULL;
}

struct bdev *bdev_find(const char *name)
{
	static const char serial[] = "serial:";
	bool by_serial = strncmp(name, serial, sizeof(serial) - 1) == 0;

	for (struct bdev *bdev = bdev_next(NULL); bdev; bdev = bdev_next(bdev)) {
		if (by_serial ? strcmp(bdev->serial, name + sizeof(serial) - 1) == 0 :
				strcmp(bdev->name, name) == 0)
			return bdev;
	}
	return NULL;
}

int bdev_open(const char *name, struct bdev_user *user)
{
	struct bdev *bdev = bdev_find(name);

	if (!bdev)
		return -ENOENT;
	if (bdev->removing)
		return -ENODEV;
	if (bdev->exclusive || (user->exclusive && !list_empty(&bdev->users)))
		return -EBUSY;
	if (user->write && bdev->readonly)
		return -EROFS;
	user->bdev = bdev;
	bdev->exclusive = user->exclusive;
	list_push(&bdev->users, &user->link);
	return 0;
}

void bdev_close(struct bdev_user *user)
{
	struct bdev *bdev = user->bdev;

	list_del(&user->link);
	user->bdev = NULL;
	bdev->exclusive = false;
	if (bdev->removing && list_empty(&bdev->users))
		event_signal(&bdev->ctl->closed);
}

bool bdev_supports(const struct bdev *bdev, enum io_op op)
{
	bool native = bdev->ops_supported & 1u << op;
	bool write = bdev->ops_supported & 1u << IO_WRITE;

	if ((unsigned)op >= IO_OP_COUNT || (bdev->readonly && bdev_op_rules[op].writes))
		return false;
	switch (op) {
	case IO_WRITE:
	case IO_UNMAP:
		return native;
	case IO_WRITE_ZEROES:
	case IO_COMPARE_WRITE:
	case IO_COPY:
		return native || write;
	default:
		return true;
	}
}

/* ---- figures ---- */

void bdev_stats(const struct bdev *bdev, struct stat_io *sum)
{
	memset(sum, 0, sizeof(*sum));
	for (unsigned i = 0; i < reactor_count(); i++) {
		if (bdev->chan[i])
			stat_io_merge(sum, &bdev->chan[i]->stats);
	}
}

static void stats_clear_task(void *arg)
{
	struct bdev *bdev = arg;
	struct bdev_chan *chan = bdev_chan(bdev);

	if (chan)
		memset(&chan->stats, 0, sizeof(chan->stats));
}

void bdev_stats_clear(struct bdev *bdev)
{
	task_call_all(stats_clear_task, bdev);
}

int bdev_init(void)
{
	machine_id_read();
	return bdev_bounce_init();
}

void bdev_fini(void)
{
	bdev_bounce_fini();
}
