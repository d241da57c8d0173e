/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The stream provider over kernel sockets. boot needs init and fini; users see core/stream.h.
 *
 * sock.c         addresses, options, the provider
 * sock_stream.c  a connection
 * sock_listen.c  a listening address
 */
#ifndef DRIVERS_SOCK_SOCK_H
#define DRIVERS_SOCK_SOCK_H

#include <sys/socket.h>

#include "core/addr.h"
#include "core/stream.h"

/* sock.c */
int sock_init(void);
void sock_fini(void);
socklen_t sock_addr_to(const struct net_addr *addr, struct sockaddr_storage *ss);
void sock_addr_from(struct net_addr *addr, const struct sockaddr_storage *ss);

/* sock_stream.c */
/* A detached stream of a connected non-blocking socket, which is its now. NULL: no memory. */
struct stream *sock_stream_create(int fd);
/* In a task. The provider's connect. */
int sock_stream_connect(const struct net_addr *peer, uint64_t timeout_us, struct stream **s);

/* sock_listen.c: the provider's */
int sock_listen(struct stream_listener *l);
void sock_unlisten(struct stream_listener *l);

#endif
