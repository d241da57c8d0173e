/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * STATX_DIOALIGN by the system call itself: C libraries do not all know these fields, and their
 * headers do not go together with the kernel's, which is why this is a file of its own.
 */
#include <fcntl.h>
#include <linux/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/base/util.h"
#include "drivers/uring/uring.h"

uint32_t uring_dio_align(int fd)
{
	struct statx sx = { 0 };

	if (syscall(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &sx) < 0 ||
	    !(sx.stx_mask & STATX_DIOALIGN))
		return 0;
	return MAX(sx.stx_dio_mem_align, sx.stx_dio_offset_align);
}
