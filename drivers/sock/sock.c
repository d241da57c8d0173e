/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Kernel sockets as a stream provider. Any address that the kernel has is ours; others are refused
 * by bind and connect with EADDRNOTAVAIL or ENETUNREACH, so that another provider is asked.
 */
#include "drivers/sock/sock.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

static struct stream_provider provider = {
	.name = "sock",
	.listen = sock_listen,
	.unlisten = sock_unlisten,
	.connect = sock_stream_connect,
};

socklen_t sock_addr_to(const struct net_addr *addr, struct sockaddr_storage *ss)
{
	memset(ss, 0, sizeof(*ss));
	if (addr->family == 4) {
		struct sockaddr_in *in = (struct sockaddr_in *)ss;

		in->sin_family = AF_INET;
		in->sin_port = htons(addr->port);
		memcpy(&in->sin_addr, addr->ip, sizeof(in->sin_addr));
		return sizeof(*in);
	} else {
		struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ss;

		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons(addr->port);
		in6->sin6_scope_id = addr->scope;
		memcpy(&in6->sin6_addr, addr->ip, sizeof(in6->sin6_addr));
		return sizeof(*in6);
	}
}

void sock_addr_from(struct net_addr *addr, const struct sockaddr_storage *ss)
{
	memset(addr, 0, sizeof(*addr));
	if (ss->ss_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)ss;

		addr->family = 4;
		addr->prefix_len = 32;
		addr->port = ntohs(in->sin_port);
		memcpy(addr->ip, &in->sin_addr, sizeof(in->sin_addr));
	} else if (ss->ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)ss;

		addr->family = 6;
		addr->prefix_len = 128;
		addr->port = ntohs(in6->sin6_port);
		addr->scope = in6->sin6_scope_id;
		memcpy(addr->ip, &in6->sin6_addr, sizeof(in6->sin6_addr));
	}
}

int sock_init(void)
{
	stream_provider_register(&provider);
	return 0;
}

void sock_fini(void)
{
	stream_provider_unregister(&provider);
}
