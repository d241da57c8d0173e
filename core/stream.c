/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The stream providers. Of several, the one that has the address serves it: each is asked, the
 * latest registered first, until one does not answer that the address or the way is not its own.
 * Registered by modules on reactor 0.
 */
#include "core/stream.h"

#include <errno.h>

static struct list providers = LIST_INIT(providers);

void stream_provider_register(struct stream_provider *p)
{
	list_push_front(&providers, &p->link);
}

void stream_provider_unregister(struct stream_provider *p)
{
	list_del(&p->link);
}

static bool not_mine(int rc)
{
	return rc == -EADDRNOTAVAIL || rc == -ENETUNREACH || rc == -EHOSTUNREACH ||
	       rc == -EAFNOSUPPORT;
}

int stream_listen(struct stream_listener *l)
{
	struct stream_provider *p;
	int rc = -EADDRNOTAVAIL;

	list_for_each(p, &providers, link) {
		l->provider = p;
		rc = p->listen(l);
		if (!not_mine(rc))
			break;
	}
	if (rc < 0)
		l->provider = NULL;
	return rc;
}

void stream_unlisten(struct stream_listener *l)
{
	l->provider->unlisten(l);
	l->provider = NULL;
}

int stream_connect(const struct net_addr *peer, uint64_t timeout_us, struct stream **s)
{
	struct stream_provider *p;
	int rc = -ENETUNREACH;

	list_for_each(p, &providers, link) {
		rc = p->connect(peer, timeout_us, s);
		if (!not_mine(rc))
			break;
	}
	return rc;
}
