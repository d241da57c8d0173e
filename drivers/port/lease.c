/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A DHCP lease: the task that moves the messages of drivers/port/dhcp.c through a UDP socket bound
 * to its interface, and sets the address and default route that they bring.
 *
 * The socket needs no raw packets: bound to the device it can broadcast from 0.0.0.0, and asking
 * servers for broadcast answers (which the kernel takes in without an address) it gets them.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/endian.h"
#include "core/base/log.h"
#include "core/base/util.h"
#include "core/clock.h"
#include "drivers/port/port.h"

enum { CARRIER_POLL_US = 100 * 1000, PACKETS_PER_WAKE = 16 };

struct list leases = LIST_INIT(leases);

static struct net_addr net_addr_from(uint32_t ip, uint8_t prefix_len)
{
	struct net_addr addr = { .family = 4, .prefix_len = prefix_len };
	be32 be = be32_make(ip);

	memcpy(addr.ip, &be, sizeof(be));
	return addr;
}

static int lease_open(struct lease *l)
{
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons(DHCP_CLIENT_PORT) };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1, rc = 0;

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, l->port, (socklen_t)strlen(l->port)) ||
	    setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &on, sizeof(on)) ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
	    bind(fd, (struct sockaddr *)&any, sizeof(any)))
		rc = -errno;
	l->src.fd = fd;
	if (rc == 0)
		rc = fd_source_add(&l->src, EPOLLIN);
	if (rc)
		close(fd);
	return rc;
}

static void lease_readable(struct fd_source *src, uint32_t events)
{
	event_signal(&container_of(src, struct lease, src)->wake);
}

/* ---- what the states ask for ---- */

static void lease_lose(struct lease *l)
{
	char text[ADDR_TEXT_BYTES];

	if (!l->bound)
		return;
	l->bound = false;
	addr_format(&l->addr, text);
	log_warn("port %s: %s is not ours any more", l->port, text);
	/* the kernel drops the routes that need it */
	address_set(l->index, &l->addr, false);
}

static void lease_bind(struct lease *l)
{
	const struct dhcp_lease *d = &l->dhcp.lease;
	struct net_addr all = { .family = 4 }, server = net_addr_from(d->server, 32);
	char text[ADDR_TEXT_BYTES], from[ADDR_TEXT_BYTES];
	int rc;

	l->bound = true;
	l->addr = net_addr_from(d->address, d->prefix_len);
	addr_format(&l->addr, text);
	addr_format(&server, from);
	log_info("port %s: %s/%u by DHCP from %s for %u s", l->port, text, d->prefix_len, from,
		 d->lease_s);
	rc = address_set(l->index, &l->addr, true);
	if (rc)
		log_error("port %s: cannot set %s: %s", l->port, text, strerror(-rc));
	l->via = (struct net_addr){ 0 };
	if (d->router == 0)
		return;
	l->via = net_addr_from(d->router, 32);
	rc = route_set(&all, &l->via, true);
	addr_format(&l->via, text);
	if (rc)
		log_error("port %s: cannot set default route via %s: %s", l->port, text,
			  strerror(-rc));
}

static void lease_send(struct lease *l)
{
	uint8_t msg[DHCP_MSG_BYTES];
	uint32_t to;
	size_t len = dhcp_message(&l->dhcp, clock_now_us(), msg, &to);
	struct sockaddr_in peer = {
		.sin_family = AF_INET, .sin_port = htons(DHCP_SERVER_PORT),
		.sin_addr.s_addr = htonl(to),
	};

	/* what is lost is sent again */
	if (sendto(l->src.fd, msg, len, 0, (struct sockaddr *)&peer, sizeof(peer)) < 0)
		log_debug("port %s: cannot send a DHCP message: %s", l->port, strerror(errno));
}

static void lease_do(struct lease *l, unsigned actions)
{
	if (actions & DHCP_DO_LOSE)
		lease_lose(l);
	if (actions & DHCP_DO_BIND)
		lease_bind(l);
	if (actions & DHCP_DO_SEND)
		lease_send(l);
}

/* ---- the task ---- */

static bool lease_carrier(struct lease *l)
{
	struct port port;

	return port_find(l->port, &port) == 0 && port.carrier;
}

static void lease_receive(struct lease *l)
{
	uint8_t msg[1500];
	ssize_t n;

	for (int i = 0; i < PACKETS_PER_WAKE; i++) {
		n = recv(l->src.fd, msg, sizeof(msg), 0);
		if (n < 0)
			return;
		lease_do(l, dhcp_input(&l->dhcp, clock_now_us(), msg, (size_t)n));
	}
}

static void lease_run(void *arg)
{
	struct lease *l = arg;
	struct port port;
	int rc;

	task_describe("DHCP on %s", l->port);
	while (!l->stop && !lease_carrier(l))
		task_wait_timeout(&l->wake, CARRIER_POLL_US);
	rc = l->stop ? -ECANCELED : port_find(l->port, &port);
	if (rc == 0)
		rc = lease_open(l);
	if (rc) {
		if (rc != -ECANCELED)
			log_error("port %s: no DHCP: %s", l->port, strerror(-rc));
		event_signal(&l->ended);
		return;
	}
	lease_do(l, dhcp_start(&l->dhcp, port.mac, clock_now_us()));
	while (!l->stop) {
		uint64_t now_us = clock_now_us();

		if (l->dhcp.deadline_us > now_us)
			task_wait_timeout(&l->wake, l->dhcp.deadline_us - now_us);
		event_clear(&l->wake);
		lease_receive(l);
		lease_do(l, dhcp_timeout(&l->dhcp, clock_now_us()));
	}
	fd_source_remove(&l->src);
	close(l->src.fd);
	event_signal(&l->ended);
}

struct lease *lease_find(const char *port)
{
	struct lease *l;

	list_for_each(l, &leases, link) {
		if (strcmp(l->port, port) == 0)
			return l;
	}
	return NULL;
}

int lease_start(const struct port *port)
{
	struct lease *l;

	if (lease_find(port->name))
		return -EEXIST;
	l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	memcpy(l->port, port->name, sizeof(l->port));
	l->index = port->index;
	l->src.event = lease_readable;
	event_init(&l->wake);
	event_init(&l->ended);
	if (!task_start("dhcp", lease_run, l)) {
		free(l);
		return -ENOMEM;
	}
	list_push(&leases, &l->link);
	return 0;
}

static void lease_end(struct lease *l)
{
	l->stop = true;
	event_signal(&l->wake);
	task_wait(&l->ended);
	list_del(&l->link);
	free(l);
}

int lease_stop(const char *port)
{
	struct lease *l = lease_find(port);

	if (!l)
		return -ENOENT;
	lease_lose(l);
	lease_end(l);
	return 0;
}

void lease_fini(void)
{
	struct lease *l;

	/* the addresses stay: whoever starts next takes them off or has them again */
	while ((l = list_first_entry(&leases, struct lease, link)))
		lease_end(l);
}
