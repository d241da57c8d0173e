/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Netlink: requests are built in a fixed buffer, answers are walked with every length checked.
 * The kernel answers these requests inside the send call, so that a request is two system
 * calls that do not wait; each opens its own socket and shares nothing with another one.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/util.h"
#include "drivers/port/netlink.h"

enum { ANSWER_BYTES = 32 * 1024 };

static void *netlink_grow(struct netlink_msg *m, size_t len)
{
	size_t at = NLMSG_ALIGN(m->head.nlmsg_len);

	if (m->overflow || NLMSG_ALIGN(len) > sizeof(m->bytes) - at) {
		m->overflow = true;
		return NULL;
	}
	m->head.nlmsg_len = (uint32_t)(at + len);
	return m->bytes + at;
}

void netlink_begin(struct netlink_msg *m, uint16_t type, uint16_t flags, const void *body,
		   size_t len)
{
	void *at;

	memset(m, 0, sizeof(*m));
	m->head.nlmsg_len = NLMSG_HDRLEN;
	m->head.nlmsg_type = type;
	m->head.nlmsg_flags = NLM_F_REQUEST | flags;
	m->head.nlmsg_seq = 1;
	at = netlink_grow(m, len);
	if (at && len)
		memcpy(at, body, len);
}

void netlink_attr(struct netlink_msg *m, uint16_t type, const void *data, size_t len)
{
	struct rtattr *attr = netlink_grow(m, RTA_LENGTH(len));

	if (!attr)
		return;
	attr->rta_type = type;
	attr->rta_len = (unsigned short)RTA_LENGTH(len);
	if (len)
		memcpy(RTA_DATA(attr), data, len);
}

void netlink_attr_u32(struct netlink_msg *m, uint16_t type, uint32_t v)
{
	netlink_attr(m, type, &v, sizeof(v));
}

static int parse_attrs(const uint8_t *bytes, size_t len, const struct rtattr **attr, unsigned count)
{
	memset(attr, 0, count * sizeof(*attr));
	while (len >= sizeof(struct rtattr)) {
		const struct rtattr *a = (const struct rtattr *)bytes;
		size_t step;

		if (a->rta_len < sizeof(*a) || a->rta_len > len)
			return -EBADMSG;
		/* the two high bits of a type are flags */
		if ((a->rta_type & NLA_TYPE_MASK) < count)
			attr[a->rta_type & NLA_TYPE_MASK] = a;
		step = RTA_ALIGN(a->rta_len);
		if (step >= len)
			return 0;
		bytes += step;
		len -= step;
	}
	return 0;
}

int netlink_parse(const struct nlmsghdr *head, size_t body_len, const struct rtattr **attr,
	     unsigned count)
{
	size_t at = NLMSG_HDRLEN + NLMSG_ALIGN(body_len);

	if (head->nlmsg_len < at) {
		memset(attr, 0, count * sizeof(*attr));
		return -EBADMSG;
	}
	return parse_attrs((const uint8_t *)head + at, head->nlmsg_len - at, attr, count);
}

int netlink_nested(const struct rtattr *nest, const struct rtattr **attr, unsigned count)
{
	return parse_attrs(RTA_DATA(nest), nest->rta_len - RTA_LENGTH(0), attr, count);
}

const struct rtattr *netlink_next(const struct rtattr *nest, const struct rtattr *prev)
{
	const uint8_t *at = RTA_DATA(nest), *end = (const uint8_t *)nest + nest->rta_len;
	const struct rtattr *a;

	if (prev)
		at = (const uint8_t *)prev + RTA_ALIGN(prev->rta_len);
	a = (const struct rtattr *)at;
	if (at > end || (size_t)(end - at) < sizeof(*a) || a->rta_len < sizeof(*a) ||
	    a->rta_len > (size_t)(end - at))
		return NULL;
	return a;
}

const void *netlink_data(const struct rtattr *attr, size_t len)
{
	return attr && attr->rta_len == RTA_LENGTH(len) ? RTA_DATA(attr) : NULL;
}

static int netlink_send(const struct netlink_msg *m)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	int fd, rc;

	if (m->overflow)
		return -EMSGSIZE;
	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, m->protocol);
	if (fd < 0)
		return -errno;
	if (sendto(fd, m->bytes, m->head.nlmsg_len, 0, (struct sockaddr *)&kernel,
		   sizeof(kernel)) < 0) {
		rc = -errno;
		close(fd);
		return rc;
	}
	return fd;
}

static int netlink_error(const struct nlmsghdr *head)
{
	const struct nlmsgerr *e = NLMSG_DATA(head);

	return head->nlmsg_len < NLMSG_LENGTH(sizeof(*e)) ? -EBADMSG : e->error;
}

/* One datagram of the answer. 1: more follows; 0 or -errno: the answer has ended. */
static int netlink_answer(const uint8_t *bytes, size_t len,
		     void (*each)(const struct nlmsghdr *head, void *arg), void *arg)
{
	while (len >= sizeof(struct nlmsghdr)) {
		const struct nlmsghdr *head = (const struct nlmsghdr *)bytes;
		size_t n = head->nlmsg_len;

		if (n < sizeof(*head) || n > len)
			return -EBADMSG;
		if (head->nlmsg_type == NLMSG_ERROR)
			return netlink_error(head);
		if (head->nlmsg_type == NLMSG_DONE)
			return 0;
		if (each)
			each(head, arg);
		n = MIN(NLMSG_ALIGN(n), len);
		bytes += n;
		len -= n;
	}
	return 1;
}

static int netlink_receive(int fd, void (*each)(const struct nlmsghdr *head, void *arg), void *arg)
{
	static _Thread_local uint8_t answer[ANSWER_BYTES] __attribute__((aligned(8)));
	ssize_t n;
	int rc;

	do {
		n = recv(fd, answer, sizeof(answer), 0);
		rc = n < 0 ? -errno : netlink_answer(answer, (size_t)n, each, arg);
	} while (rc > 0 || rc == -EINTR);
	close(fd);
	return rc;
}

int netlink_request(struct netlink_msg *m)
{
	int fd;

	m->head.nlmsg_flags |= NLM_F_ACK;
	fd = netlink_send(m);
	return fd < 0 ? fd : netlink_receive(fd, NULL, NULL);
}

int netlink_dump(struct netlink_msg *m, void (*each)(const struct nlmsghdr *head, void *arg),
		 void *arg)
{
	int fd;

	m->head.nlmsg_flags |= NLM_F_DUMP;
	fd = netlink_send(m);
	return fd < 0 ? fd : netlink_receive(fd, each, arg);
}
