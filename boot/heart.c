/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The heartbeat that init watches: a counter in a shared page that goes up once every reactor has
 * ended a round since it last did. A reactor that is stuck, reactor 0 with this timer included,
 * stops it; init then kills this process and starts another, and does not feed the watchdog.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <unistd.h>

#include "boot/heart.h"
#include "boot/life.h"
#include "core/base/log.h"
#include "core/reactor.h"

static struct {
	struct life_page *page;
	struct timer timer;
	uint64_t seen[REACTOR_MAX];
	bool alive[REACTOR_MAX];
} heart;

static void heart_beat(struct timer *t)
{
	unsigned alive = 0;

	for (unsigned i = 0; i < reactor_count(); i++) {
		struct reactor_stats stats;

		reactor_stats(reactor_at(i), &stats);
		if (stats.heartbeat != heart.seen[i])
			heart.alive[i] = true;
		heart.seen[i] = stats.heartbeat;
		alive += heart.alive[i];
	}
	if (alive == reactor_count()) {
		heart.page->beats++;
		for (unsigned i = 0; i < reactor_count(); i++)
			heart.alive[i] = false;
	}
	timer_arm(t, LIFE_BEAT_MS * 1000);
}

int heart_start(void)
{
	int fd = open(LIFE_PAGE_PATH, O_RDWR | O_CLOEXEC), rc;
	void *page;

	if (fd < 0) {
		rc = -errno;
		log_error("boot: %s: cannot open (%d); init will take this karst for dead",
			  LIFE_PAGE_PATH, rc);
		return rc;
	}
	page = mmap(NULL, sizeof(*heart.page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	rc = page == MAP_FAILED ? -errno : 0;
	close(fd);
	if (rc) {
		log_error("boot: %s: cannot map (%d)", LIFE_PAGE_PATH, rc);
		return rc;
	}
	heart.page = page;
	/* the first one at once: from now on init expects the next */
	heart.page->beats++;
	timer_setup(&heart.timer, heart_beat);
	heart_beat(&heart.timer);
	return 0;
}
