/* SPDX-License-Identifier: BSD-3-Clause */
/* core/stream.h over kernel sockets on the loopback interface, 127.0.0.1 and ::1. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <stdlib.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/panic.h"
#include "core/base/util.h"
#include "core/task.h"
#include "tests/unit/stream_end.h"

enum { TIMEOUT_US = 5 * 1000 * 1000 };

struct server {
	struct stream_listener l;
	struct end end[8];
	unsigned count;
	bool stop_when_called;
};

static void server_accept(struct stream_listener *l, struct stream *s)
{
	struct server *sv = container_of(l, struct server, l);

	end_init(&sv->end[sv->count++], s);
	assert_int_equal(stream_attach(s), 0);
	if (sv->stop_when_called)
		stream_unlisten(l);
}

static void server_start(struct server *sv, const char *ip)
{
	*sv = (struct server){ .l.accept = server_accept };
	assert_int_equal(addr_parse(ip, false, &sv->l.addr), 0);
	assert_int_equal(stream_listen(&sv->l), 0);
	assert_int_not_equal(sv->l.addr.port, 0);
}

struct connect {
	struct net_addr addr;
	uint64_t timeout_us;
	struct end *end;
	int rc;
	bool ended;
};

static void connect_task(void *arg)
{
	struct connect *c = arg;
	struct stream *s;

	c->rc = stream_connect(&c->addr, c->timeout_us, &s);
	if (c->rc == 0)
		end_init(c->end, s);
	c->ended = true;
}

static int connect_to(const struct net_addr *addr, uint64_t timeout_us, struct end *end)
{
	struct connect c = { .addr = *addr, .timeout_us = timeout_us, .end = end };

	assert_non_null(task_start("connect", connect_task, &c));
	WAIT(c.ended);
	return c.rc;
}

static void pair_open(struct server *sv, const char *ip, struct end *client)
{
	server_start(sv, ip);
	assert_int_equal(connect_to(&sv->l.addr, TIMEOUT_US, client), 0);
	WAIT(sv->count == 1);
	assert_true(addr_equal(&client->s->peer, &sv->l.addr));
	assert_true(addr_equal(&sv->end[0].s->local, &sv->l.addr));
	assert_true(addr_equal(&sv->end[0].s->peer, &client->s->local));
}

static void test_sockets_carry_bytes_both_ways(void **state)
{
	static const char *const ips[] = { "127.0.0.1", "::1" };

	for (unsigned i = 0; i < ARRAY_SIZE(ips); i++) {
		struct server sv;
		struct end client;

		pair_open(&sv, ips[i], &client);
		WAIT(client.writable && client.readable);
		WAIT(sv.end[0].writable && sv.end[0].readable);
		/* More than the kernel buffers: both ends meet back-pressure. */
		end_exchange(&client, &sv.end[0], 24 << 20, 1 << 20);
		end_exchange(&client, &sv.end[0], 3000, 1);
		end_close(&client);
		end_close(&sv.end[0]);
		stream_unlisten(&sv.l);
	}
}

static void test_a_shutdown_ends_one_direction(void **state)
{
	struct server sv;
	struct end client, *s = &sv.end[0];
	uint8_t buf[8];

	pair_open(&sv, "127.0.0.1", &client);
	WAIT(client.writable && s->readable);
	client.out = (const uint8_t *)"bye";
	client.out_len = 3;
	end_write(&client, 3);
	assert_int_equal(stream_shutdown(client.s), 0);
	s->in = buf;
	s->in_len = sizeof(buf);
	for (unsigned i = 0; !s->eof; i++) {
		assert_true(i < ROUNDS_MAX);
		end_read(s, 8);
		reactor_round();
	}
	assert_int_equal(s->in_at, 3);
	assert_int_equal(s->error, 0);
	assert_false(s->told & STREAM_HANGUP);
	/* The other direction still works. */
	s->out = (const uint8_t *)"ok";
	s->out_len = 2;
	end_write(s, 2);
	client.in = buf;
	client.in_len = sizeof(buf);
	client.readable = true;
	for (unsigned i = 0; client.in_at < 2; i++) {
		assert_true(i < ROUNDS_MAX);
		end_read(&client, 8);
		reactor_round();
	}
	end_close(&client);
	end_close(s);
	stream_unlisten(&sv.l);
}

static void test_a_reset_is_a_hangup(void **state)
{
	struct server sv;
	struct end client, *s = &sv.end[0];
	uint8_t buf[8];

	pair_open(&sv, "127.0.0.1", &client);
	WAIT(client.writable && s->readable);
	s->in = buf;
	s->in_len = sizeof(buf);
	end_read(s, 8);
	/* Unread bytes at the closing end make the kernel send a reset. */
	s->out = end_pattern(100);
	s->out_len = 100;
	end_write(s, 100);
	end_rounds(100);
	end_close(&client);
	WAIT(s->told & STREAM_HANGUP);
	end_read(s, 8);
	assert_true(s->eof && s->error < 0);
	free((void *)s->out);
	end_close(s);
	stream_unlisten(&sv.l);
}

static void test_a_detached_stream_is_silent_and_told_anew_when_attached(void **state)
{
	struct server sv;
	struct end client, *s = &sv.end[0];
	uint8_t buf[8];

	pair_open(&sv, "127.0.0.1", &client);
	WAIT(client.writable && s->readable && s->writable);
	s->in = buf;
	s->in_len = sizeof(buf);
	end_read(s, 8);
	assert_int_equal(stream_detach(s->s), 0);
	s->told = 0;
	client.out = (const uint8_t *)"hello";
	client.out_len = 5;
	end_write(&client, 5);
	end_rounds(1000);
	assert_int_equal(s->told, 0);
	assert_int_equal(stream_attach(s->s), 0);
	WAIT(s->told);
	assert_int_equal(s->told, STREAM_READABLE | STREAM_WRITABLE);
	for (unsigned i = 0; s->in_at < 5; i++) {
		assert_true(i < ROUNDS_MAX);
		end_read(s, 8);
		reactor_round();
	}
	assert_memory_equal(buf, "hello", 5);
	end_close(s);
	end_close(&client);
	stream_unlisten(&sv.l);
}

static void test_listening_fails_by_name(void **state)
{
	struct server a, b;

	server_start(&a, "127.0.0.1");
	b = (struct server){ .l.accept = server_accept, .l.addr = a.l.addr };
	assert_int_equal(stream_listen(&b.l), -EADDRINUSE);
	assert_int_equal(addr_parse("192.0.2.1", false, &b.l.addr), 0);
	assert_int_equal(stream_listen(&b.l), -EADDRNOTAVAIL);
	stream_unlisten(&a.l);
	b.l.addr = a.l.addr;
	assert_int_equal(stream_listen(&b.l), 0);
	stream_unlisten(&b.l);
}

static void test_a_connection_that_is_refused_or_not_answered(void **state)
{
	struct server sv;
	struct end client;
	struct net_addr gone;

	server_start(&sv, "127.0.0.1");
	gone = sv.l.addr;
	stream_unlisten(&sv.l);
	assert_int_equal(connect_to(&gone, TIMEOUT_US, &client), -ECONNREFUSED);
}

static void test_a_listener_may_stop_while_it_accepts(void **state)
{
	struct server sv;
	struct end client;

	server_start(&sv, "127.0.0.1");
	sv.stop_when_called = true;
	assert_int_equal(connect_to(&sv.l.addr, TIMEOUT_US, &client), 0);
	WAIT(sv.count == 1);
	end_rounds(100);
	end_close(&client);
	end_close(&sv.end[0]);
}

static void test_out_of_descriptors_drops_connections_and_goes_on(void **state)
{
	struct rlimit old, low;
	struct server sv;
	struct end client[2];
	int fds[64], count = 0, probe;

	server_start(&sv, "127.0.0.1");
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	probe = dup(0);
	low = (struct rlimit){ .rlim_cur = probe + 2, .rlim_max = old.rlim_max };
	close(probe);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	/* One is left, for the client's end. */
	while ((fds[count] = dup(0)) >= 0)
		count++;
	close(fds[--count]);
	assert_int_equal(connect_to(&sv.l.addr, TIMEOUT_US, &client[0]), 0);
	WAIT(client[0].told & (STREAM_READABLE | STREAM_HANGUP));
	client[0].in_len = 0;
	for (unsigned i = 0; !client[0].eof; i++) {
		assert_true(i < ROUNDS_MAX);
		end_read(&client[0], 8);
		reactor_round();
	}
	assert_int_equal(sv.count, 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	while (count > 0)
		close(fds[--count]);
	assert_int_equal(connect_to(&sv.l.addr, TIMEOUT_US, &client[1]), 0);
	WAIT(sv.count == 1);
	end_close(&client[0]);
	end_close(&client[1]);
	end_close(&sv.end[0]);
	stream_unlisten(&sv.l);
}

/* ---- memory of a guest that cuts it away ---- */

enum { CUT_BYTES = 2 * 4096 };

static char *cut_memory;

static bool zeroes_give(struct panic_fault *f, int sig, void *addr)
{
	return sig == SIGBUS &&
	       mmap(cut_memory, CUT_BYTES, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED;
}

static void memory_cut(void)
{
	int fd = memfd_create("guest", MFD_CLOEXEC);

	assert_int_equal(ftruncate(fd, CUT_BYTES), 0);
	cut_memory = mmap(NULL, CUT_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(cut_memory, MAP_FAILED);
	memset(cut_memory, 'x', CUT_BYTES);
	assert_int_equal(ftruncate(fd, 0), 0);
	close(fd);
}

static void test_memory_that_was_cut_away_ends_no_connection(void **state)
{
	static struct panic_fault fault = { .handle = zeroes_give };
	static char before[10] = "before", got[sizeof(before) + CUT_BYTES];
	struct iovec iov[2] = { { before, sizeof(before) } }, in = { got, sizeof(got) };
	struct server sv;
	struct end client;
	ssize_t n;

	panic_init();
	panic_fault_add(&fault);
	pair_open(&sv, "127.0.0.1", &client);
	WAIT(client.writable);
	memory_cut();
	iov[1] = (struct iovec){ cut_memory, CUT_BYTES };
	assert_int_equal(stream_writev(client.s, iov, 2), sizeof(got));
	WAIT((n = stream_readv(sv.end[0].s, &in, 1)) != -EAGAIN);
	assert_int_equal(n, sizeof(got));
	assert_string_equal(got, "before");
	assert_int_equal(got[sizeof(before)], 0);
	munmap(cut_memory, CUT_BYTES);
	/* and into it */
	memory_cut();
	iov[1] = (struct iovec){ cut_memory, CUT_BYTES };
	in = (struct iovec){ got, sizeof(got) };
	memset(got, 'y', sizeof(got));
	assert_int_equal(stream_writev(client.s, &in, 1), sizeof(got));
	WAIT((n = stream_readv(sv.end[0].s, iov, 2)) != -EAGAIN);
	assert_int_equal(n, sizeof(got));
	assert_int_equal(cut_memory[CUT_BYTES - 1], 'y');
	munmap(cut_memory, CUT_BYTES);
	end_close(&client);
	end_close(&sv.end[0]);
	stream_unlisten(&sv.l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		stream_test(test_sockets_carry_bytes_both_ways),
		stream_test(test_a_shutdown_ends_one_direction),
		stream_test(test_a_reset_is_a_hangup),
		stream_test(test_a_detached_stream_is_silent_and_told_anew_when_attached),
		stream_test(test_listening_fails_by_name),
		stream_test(test_a_connection_that_is_refused_or_not_answered),
		stream_test(test_a_listener_may_stop_while_it_accepts),
		stream_test(test_out_of_descriptors_drops_connections_and_goes_on),
		stream_test(test_memory_that_was_cut_away_ends_no_connection),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
