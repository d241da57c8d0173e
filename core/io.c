/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The completion list: what drivers finished and owners have not yet been told.
 *
 * Each thread has its own, a singly linked queue through io->link: io_complete() appends, the
 * reactor drains once a round. Draining takes what is there and no more, so that an owner whose
 * done() submits to a device that finishes at once cannot keep the round from ending. The time is
 * read once a drain, not once an io.
 */
#include "core/io.h"

#include <errno.h>
#include <stddef.h>

#include "core/base/panic.h"
#include "core/base/util.h"
#include "core/bdev_impl.h"
#include "core/clock.h"

struct completion_list {
	struct list *first, *last;
	uint64_t now_ticks;             /* of the drain that is under way */
};

static __thread struct completion_list completions;

static const char *const op_names[IO_OP_COUNT] = {
	[IO_READ] = "read",
	[IO_WRITE] = "write",
	[IO_FLUSH] = "flush",
	[IO_UNMAP] = "unmap",
	[IO_WRITE_ZEROES] = "write-zeroes",
	[IO_COMPARE] = "compare",
	[IO_VERIFY] = "verify",
	[IO_COMPARE_WRITE] = "compare-write",
	[IO_COPY] = "copy",
	[IO_ABORT] = "abort",
};

static const struct {
	const char *name;
	int rc;
} statuses[IO_STATUS_COUNT] = {
	[IO_OK] = { "ok", 0 },
	[IO_ERR_INVALID] = { "invalid request", -EINVAL },
	[IO_ERR_UNSUPPORTED] = { "unsupported", -EOPNOTSUPP },
	[IO_ERR_RANGE] = { "out of range", -ERANGE },
	[IO_ERR_READONLY] = { "read-only", -EROFS },
	[IO_ERR_MEDIA_READ] = { "unrecovered read error", -EIO },
	[IO_ERR_MEDIA_WRITE] = { "write fault", -EIO },
	[IO_ERR_MISCOMPARE] = { "miscompare", -EILSEQ },
	[IO_ERR_NOSPC] = { "no space", -ENOSPC },
	[IO_ERR_ABORTED] = { "aborted", -ECANCELED },
	[IO_ERR_TIMEOUT] = { "timeout", -ETIMEDOUT },
	[IO_ERR_GONE] = { "device gone", -ENODEV },
	[IO_ERR_NOMEM] = { "out of memory", -ENOMEM },
	[IO_ERR_DEVICE] = { "device error", -EIO },
};

const char *io_op_name(enum io_op op)
{
	return (unsigned)op < IO_OP_COUNT ? op_names[op] : "unknown";
}

const char *io_status_name(enum io_status status)
{
	return (unsigned)status < IO_STATUS_COUNT ? statuses[status].name : "unknown";
}

int io_status_errno(enum io_status status)
{
	return (unsigned)status < IO_STATUS_COUNT ? statuses[status].rc : -EIO;
}

enum io_status io_status_from_errno(int rc, enum io_op op)
{
	switch (-rc) {
	case 0:
		return IO_OK;
	case EINVAL:
		return IO_ERR_INVALID;
	case EOPNOTSUPP:
	case ENOSYS:
	case ENOTTY:
		return IO_ERR_UNSUPPORTED;
	case ERANGE:
	case EFBIG:
		return IO_ERR_RANGE;
	case EROFS:
	case EBADF:
	case EPERM:
	case EACCES:
		return IO_ERR_READONLY;
	case ENOSPC:
	case EDQUOT:
		return IO_ERR_NOSPC;
	case ECANCELED:
	case EINTR:
		return IO_ERR_ABORTED;
	case ETIMEDOUT:
	case ETIME:
		return IO_ERR_TIMEOUT;
	case ENODEV:
	case ENXIO:
	case ESHUTDOWN:
		return IO_ERR_GONE;
	case ENOMEM:
	case EAGAIN:
		return IO_ERR_NOMEM;
	case EILSEQ:
		return IO_ERR_MISCOMPARE;
	case EIO:
	case ENODATA:
		if (op == IO_READ || op == IO_COMPARE || op == IO_VERIFY)
			return IO_ERR_MEDIA_READ;
		return op == IO_WRITE ? IO_ERR_MEDIA_WRITE : IO_ERR_DEVICE;
	default:
		return IO_ERR_DEVICE;
	}
}

void io_complete(struct io *io, enum io_status status)
{
	struct completion_list *list = &completions;

	ASSERT_MSG(io->stage != IO_COMPLETING, "io %p: completed twice", (void *)io);
	io->stage = IO_COMPLETING;
	io->status = status;
	io->link.next = NULL;
	if (list->first)
		list->last->next = &io->link;
	else
		list->first = &io->link;
	list->last = &io->link;
}

/* To the owner. */
static inline void give_back(struct io *io, uint64_t now_ticks)
{
	list_init(&io->link);
	io->stage = IO_AT_OWNER;
	if (io->counted)
		bdev_account(io, now_ticks);
	io->done(io);
}

void io_complete_now(struct io *io, enum io_status status)
{
	ASSERT_MSG(io->stage != IO_COMPLETING, "io %p: completed twice", (void *)io);
	io->status = status;
	give_back(io, completions.now_ticks);
}

bool io_completions_pending(void)
{
	return completions.first != NULL;
}

unsigned io_run_completions(void)
{
	struct list *link = completions.first;
	uint64_t now;
	unsigned count = 0;

	if (!link)
		return 0;
	completions.first = NULL;
	now = completions.now_ticks = clock_ticks();
	do {
		struct io *io = list_entry(link, struct io, link);

		link = link->next;
		/* it has been away for as long as the disk took */
		if (link)
			__builtin_prefetch(list_entry(link, struct io, link));
		give_back(io, now);
		count++;
	} while (link);
	return count;
}
