/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A load generator for measuring: one thread, one connection, a fixed number of requests of one
 * size, a fixed depth. What it does depends on nothing but its arguments, so that two runs that
 * differ in their length differ in the server's work by exactly the requests between.
 *
 *   nvme_tcp_load nvme HOST PORT NQN read|write DEPTH COUNT [lockstep]
 *   nvme_tcp_load echo HOST PORT REQUEST_BYTES ANSWER_BYTES DEPTH COUNT
 *   nvme_tcp_load echo-server HOST REQUEST_BYTES ANSWER_BYTES
 *
 * With lockstep the next DEPTH requests go out together, once all before are answered: the server's
 * work then depends on chance even less. Without, each answer is followed by the next request.
 *
 * The echo server answers messages of one size with messages of another over bare sockets and does
 * nothing else: with the sizes of NVMe/TCP's PDUs it is the limit of the same machine. It prints
 * its port and serves one connection after another. The others print one line, key=value.
 *
 * Nobody here sleeps: who finds nothing to receive tries again, as Karst does under load. With
 * fewer cores than processes that would keep the others from running: the environment variable
 * LOAD_SLEEPS makes receiving block.
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "core/base/util.h"
#include "core/spec/nvme_tcp.h"
#include "core/spec/nvmf.h"

enum {
	IO_BYTES = 4096,
	DEPTH_MAX = 128,
	RECEIVE_BYTES = 1024 * 1024,
	REQUEST_BYTES_MAX = 256 * 1024, /* of the bare echo */
	SPAN_BYTES = 16 * 1024 * 1024,  /* of the namespace that is used */
	SQ_ENTRIES = DEPTH_MAX + 1,
	BLOCK_BYTES = 512,
};

/* A stream of requests over one connection. */
struct load {
	int fd;
	unsigned depth;
	unsigned long count, sent, done;
	bool lockstep;
	/* nvme */
	bool write;
	uint16_t free_cid[DEPTH_MAX];
	unsigned free_count;
	/* echo: sizes */
	struct {
		size_t request, answer;
	} message;
	/* requests of one send, and what has come and is not yet whole */
	uint8_t *out, *in;
	size_t out_len, in_len;
	void (*put)(struct load *l);
	/* Bytes taken from the front of IN, 0 when it holds no whole message; counts DONE. */
	size_t (*take)(struct load *l, const uint8_t *p, size_t len);
};

__attribute__((noreturn, format(printf, 1, 2)))
static void die(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	fputs("nvme_tcp_load: ", stderr);
	vfprintf(stderr, fmt, args);
	fputc('\n', stderr);
	va_end(args);
	exit(1);
}

static unsigned long number(const char *text, unsigned long min, unsigned long max)
{
	char *end;
	unsigned long v = strtoul(text, &end, 10);

	if (*text == '\0' || *end || v < min || v > max)
		die("%s: a number from %lu to %lu is wanted", text, min, max);
	return v;
}

/* ---- sockets ---- */

static int receive_flags = MSG_DONTWAIT;

/* As recv, but tries until something comes. */
static ssize_t receive_some(int fd, void *data, size_t len)
{
	ssize_t n;

	do
		n = recv(fd, data, len, receive_flags);
	while (n < 0 && (errno == EAGAIN || errno == EINTR));
	return n;
}

static void no_delay(int fd)
{
	int on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

static int dial(const char *host, const char *port)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *ai;
	int fd, rc = getaddrinfo(host, port, &hints, &ai);

	if (rc)
		die("%s: %s", host, gai_strerror(rc));
	fd = socket(ai->ai_family, SOCK_STREAM, 0);
	if (fd < 0 || connect(fd, ai->ai_addr, ai->ai_addrlen))
		die("%s port %s: %s", host, port, strerror(errno));
	freeaddrinfo(ai);
	no_delay(fd);
	return fd;
}

static void send_all(int fd, const void *data, size_t len)
{
	const uint8_t *p = data;

	while (len > 0) {
		ssize_t n = send(fd, p, len, MSG_NOSIGNAL);

		if (n < 0)
			die("send: %s", strerror(errno));
		p += n;
		len -= (size_t)n;
	}
}

static void receive_all(int fd, void *data, size_t len)
{
	uint8_t *p = data;

	while (len > 0) {
		ssize_t n = recv(fd, p, len, 0);

		if (n <= 0)
			die("receive: %s", n == 0 ? "the peer has closed" : strerror(errno));
		p += n;
		len -= (size_t)n;
	}
}

/* ---- the loop that all loads share ---- */

static double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void load_run(struct load *l)
{
	while (l->done < l->count) {
		bool more = !l->lockstep || l->sent == l->done;
		size_t at = 0, n;
		ssize_t got;

		l->out_len = 0;
		while (more && l->sent < l->count && l->sent - l->done < l->depth) {
			l->put(l);
			l->sent++;
		}
		send_all(l->fd, l->out, l->out_len);
		got = receive_some(l->fd, l->in + l->in_len, RECEIVE_BYTES - l->in_len);
		if (got <= 0)
			die("receive after %lu: %s", l->done,
			    got == 0 ? "the peer has closed" : strerror(errno));
		l->in_len += (size_t)got;
		while ((n = l->take(l, l->in + at, l->in_len - at)))
			at += n;
		memmove(l->in, l->in + at, l->in_len - at);
		l->in_len -= at;
	}
}

static void load_measure(struct load *l)
{
	double start_s, took_s;

	l->out = malloc((size_t)DEPTH_MAX * REQUEST_BYTES_MAX);
	l->in = malloc(RECEIVE_BYTES);
	if (!l->out || !l->in)
		die("out of memory");
	/* memory that was never written is one page of zeroes, which is copied faster than data */
	memset(l->out, 0, (size_t)DEPTH_MAX * REQUEST_BYTES_MAX);
	start_s = now_s();
	load_run(l);
	took_s = now_s() - start_s;
	printf("ops=%lu seconds=%.6f iops=%.0f\n", l->done, took_s, (double)l->done / took_s);
	close(l->fd);
}

/* ---- NVMe/TCP ---- */

static struct nvme_tcp_rsp fabrics(int fd, const void *sqe, const void *data, size_t len)
{
	struct {
		struct nvme_tcp_cmd cmd;
		uint8_t data[1024];
	} pdu = {
		.cmd.ch = {
			.type = NVME_TCP_CMD, .hlen = sizeof(pdu.cmd),
			.pdo = len ? sizeof(pdu.cmd) : 0,
			.plen = le32_make((uint32_t)(sizeof(pdu.cmd) + len)),
		},
	};
	struct nvme_tcp_rsp rsp;

	memcpy(&pdu.cmd.sqe, sqe, sizeof(pdu.cmd.sqe));
	if (len)
		memcpy(pdu.data, data, len);
	send_all(fd, &pdu, sizeof(pdu.cmd) + len);
	receive_all(fd, &rsp, sizeof(rsp));
	if (rsp.ch.type != NVME_TCP_RSP)
		die("answer to a Fabrics command is PDU type %u", rsp.ch.type);
	if (nvme_cqe_status(&rsp.cqe))
		die("Fabrics command fails with status 0x%x", nvme_cqe_status(&rsp.cqe));
	return rsp;
}

static uint32_t property_get(int fd, uint32_t offset)
{
	struct nvmf_property_sqe sqe = {
		.opc = NVME_ADM_FABRICS, .flags = NVME_PSDT_SGL, .fctype = NVMF_PROPERTY_GET,
		.ofst = le32_make(offset),
	};

	return le32_get(fabrics(fd, &sqe, NULL, 0).cqe.dw0);
}

static void property_set(int fd, uint32_t offset, uint32_t value)
{
	struct nvmf_property_sqe sqe = {
		.opc = NVME_ADM_FABRICS, .flags = NVME_PSDT_SGL, .fctype = NVMF_PROPERTY_SET,
		.ofst = le32_make(offset), .value = le64_make(value),
	};

	fabrics(fd, &sqe, NULL, 0);
}

/* A connected queue; the controller's id goes in and out. */
static int queue_connect(const char *host, const char *port, const char *nqn, uint16_t qid,
			 uint16_t *cntlid)
{
	struct nvme_tcp_ic_req req = {
		.ch = { .type = NVME_TCP_IC_REQ, .hlen = sizeof(req),
			.plen = le32_make(sizeof(req)) },
	};
	struct nvmf_connect_sqe sqe = {
		.opc = NVME_ADM_FABRICS, .flags = NVME_PSDT_SGL, .fctype = NVMF_CONNECT,
		.sgl = { .length = le32_make(sizeof(struct nvmf_connect_data)),
			 .id = NVME_SGL_DATA << 4 | NVME_SGL_OFFSET },
		.qid = le16_make(qid), .sqsize = le16_make(qid ? SQ_ENTRIES - 2 : 31),
	};
	struct nvmf_connect_data data = { .hostid = { 0xbe, 1 }, .cntlid = le16_make(*cntlid) };
	struct nvme_tcp_ic_resp resp;
	int fd = dial(host, port);

	snprintf(data.subnqn, sizeof(data.subnqn), "%s", nqn);
	snprintf(data.hostnqn, sizeof(data.hostnqn), "nqn.2014-08.org.nvmexpress:uuid:"
		 "be000000-0000-4000-8000-000000000001");
	send_all(fd, &req, sizeof(req));
	receive_all(fd, &resp, sizeof(resp));
	if (resp.ch.type != NVME_TCP_IC_RESP)
		die("answer to ICReq is PDU type %u", resp.ch.type);
	*cntlid = (uint16_t)le32_get(fabrics(fd, &sqe, &data, sizeof(data)).cqe.dw0);
	return fd;
}

static void nvme_put(struct load *l)
{
	size_t data_bytes = l->write ? IO_BYTES : 0;
	uint32_t blocks = IO_BYTES / BLOCK_BYTES;
	struct nvme_tcp_cmd cmd = {
		.ch = {
			.type = NVME_TCP_CMD, .hlen = sizeof(cmd),
			.pdo = l->write ? sizeof(cmd) : 0,
			.plen = le32_make((uint32_t)(sizeof(cmd) + data_bytes)),
		},
		.sqe = {
			.opc = l->write ? NVME_NVM_WRITE : NVME_NVM_READ, .flags = NVME_PSDT_SGL,
			.cid = le16_make(l->free_cid[--l->free_count]), .nsid = le32_make(1),
			.sgl = { .length = le32_make(IO_BYTES),
				 .id = l->write ? NVME_SGL_DATA << 4 | NVME_SGL_OFFSET :
				       NVME_SGL_TRANSPORT << 4 | NVME_SGL_TRANSPORT_SPECIFIC },
			/* a walk with a stride that reaches every slot */
			.slba = le64_make(l->sent * 1031 % (SPAN_BYTES / IO_BYTES) * blocks),
			.rw_cdw12 = le32_make(blocks - 1),
		},
	};

	memcpy(l->out + l->out_len, &cmd, sizeof(cmd));
	l->out_len += sizeof(cmd) + data_bytes;
}

static void nvme_finish(struct load *l, uint16_t cid)
{
	if (l->free_count == l->depth)
		die("more answers than requests");
	l->free_cid[l->free_count++] = cid;
	l->done++;
}

static size_t nvme_take(struct load *l, const uint8_t *p, size_t len)
{
	struct nvme_tcp_data data;
	struct nvme_tcp_rsp rsp;
	struct nvme_tcp_ch ch;
	size_t plen;

	if (len < sizeof(ch))
		return 0;
	memcpy(&ch, p, sizeof(ch));
	plen = le32_get(ch.plen);
	if (plen < sizeof(rsp) || plen > RECEIVE_BYTES / 2)
		die("PDU of %zu bytes", plen);
	if (len < plen)
		return 0;
	if (ch.type == NVME_TCP_C2H_DATA) {
		memcpy(&data, p, sizeof(data));
		if (ch.flags & NVME_TCP_SUCCESS)
			nvme_finish(l, le16_get(data.cccid));
		return plen;
	}
	if (ch.type != NVME_TCP_RSP)
		die("PDU type %u is not expected", ch.type);
	memcpy(&rsp, p, sizeof(rsp));
	if (nvme_cqe_status(&rsp.cqe))
		die("request fails with status 0x%x", nvme_cqe_status(&rsp.cqe));
	nvme_finish(l, le16_get(rsp.cqe.cid));
	return plen;
}

static void run_nvme(char **argv, int argc)
{
	uint16_t cntlid = NVMF_CNTLID_DYNAMIC;
	struct load l = {
		.write = strcmp(argv[3], "write") == 0,
		.depth = (unsigned)number(argv[4], 1, DEPTH_MAX),
		.count = number(argv[5], 1, 1ul << 40),
		.lockstep = argc > 6 && strcmp(argv[6], "lockstep") == 0,
		.put = nvme_put, .take = nvme_take,
	};
	int admin = queue_connect(argv[0], argv[1], argv[2], 0, &cntlid);

	property_set(admin, NVME_REG_CC, NVME_CC_EN | 6 << NVME_CC_IOSQES_SHIFT |
		     4 << NVME_CC_IOCQES_SHIFT);
	while (!(property_get(admin, NVME_REG_CSTS) & NVME_CSTS_RDY))
		;
	l.fd = queue_connect(argv[0], argv[1], argv[2], 1, &cntlid);
	while (l.free_count < l.depth) {
		l.free_cid[l.free_count] = (uint16_t)l.free_count;
		l.free_count++;
	}
	load_measure(&l);
	close(admin);
}

/* ---- bare echo ---- */

static void echo_put(struct load *l)
{
	l->out_len += l->message.request;
}

static size_t echo_take(struct load *l, const uint8_t *p, size_t len)
{
	if (len < l->message.answer)
		return 0;
	l->done++;
	return l->message.answer;
}

static void run_echo(char **argv)
{
	struct load l = {
		.fd = dial(argv[0], argv[1]),
		.message.request = number(argv[2], 1, REQUEST_BYTES_MAX),
		.message.answer = number(argv[3], 1, RECEIVE_BYTES / 2),
		.depth = (unsigned)number(argv[4], 1, DEPTH_MAX),
		.count = number(argv[5], 1, 1ul << 40),
		.put = echo_put, .take = echo_take,
	};

	load_measure(&l);
}

/* Answers whole requests with one send for all that came at once. */
static void echo_serve(int fd, size_t request, size_t answer)
{
	uint8_t *in = malloc(RECEIVE_BYTES), *out = calloc(DEPTH_MAX, answer);
	size_t have = 0, whole;
	ssize_t n;

	if (!in || !out)
		die("out of memory");
	memset(out, 0xa5, DEPTH_MAX * answer);
	while ((n = receive_some(fd, in, RECEIVE_BYTES)) > 0) {
		have += (size_t)n;
		whole = MIN(have / request, (size_t)DEPTH_MAX);
		have -= whole * request;
		send_all(fd, out, whole * answer);
	}
	free(in);
	free(out);
}

static void run_echo_server(char **argv)
{
	size_t request = number(argv[1], 1, RECEIVE_BYTES);
	size_t answer = number(argv[2], 1, RECEIVE_BYTES);
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE }, *ai;
	struct sockaddr_in6 bound;
	socklen_t len = sizeof(bound);
	int fd, rc = getaddrinfo(argv[0], "0", &hints, &ai);

	if (rc)
		die("%s: %s", argv[0], gai_strerror(rc));
	fd = socket(ai->ai_family, SOCK_STREAM, 0);
	if (fd < 0 || bind(fd, ai->ai_addr, ai->ai_addrlen) || listen(fd, 8) ||
	    getsockname(fd, (struct sockaddr *)&bound, &len))
		die("%s: %s", argv[0], strerror(errno));
	freeaddrinfo(ai);
	/* the port is in the same place for both families */
	printf("port=%u\n", ntohs(bound.sin6_port));
	fflush(stdout);
	for (;;) {
		int peer = accept(fd, NULL, NULL);

		if (peer < 0)
			die("accept: %s", strerror(errno));
		no_delay(peer);
		echo_serve(peer, request, answer);
		close(peer);
	}
}

int main(int argc, char **argv)
{
	if (getenv("LOAD_SLEEPS"))
		receive_flags = 0;
	if (argc >= 8 && argc <= 9 && strcmp(argv[1], "nvme") == 0)
		run_nvme(argv + 2, argc - 2);
	else if (argc == 8 && strcmp(argv[1], "echo") == 0)
		run_echo(argv + 2);
	else if (argc == 5 && strcmp(argv[1], "echo-server") == 0)
		run_echo_server(argv + 2);
	else
		die("usage: nvme HOST PORT NQN read|write DEPTH COUNT [lockstep] | echo HOST "
		    "PORT REQUEST_BYTES ANSWER_BYTES DEPTH COUNT | echo-server HOST "
		    "REQUEST_BYTES ANSWER_BYTES");
	return 0;
}
