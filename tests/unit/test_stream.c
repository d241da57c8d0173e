/* SPDX-License-Identifier: BSD-3-Clause */
/* The fake streams keep core/stream.h too, and the registry of providers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/util.h"
#include "tests/unit/fake_stream.h"
#include "tests/unit/stream_end.h"

static void test_the_fake_keeps_the_same_promises(void **state)
{
	static const struct {
		size_t read_max, write_max, room;
	} cases[] = { { SIZE_MAX, SIZE_MAX, SIZE_MAX }, { 1, SIZE_MAX, SIZE_MAX },
		      { SIZE_MAX, 1, SIZE_MAX }, { SIZE_MAX, SIZE_MAX, 1 }, { 7, 5, 16 } };

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct fake_stream *f[2];
		struct end e[2];

		fake_stream_pair(&f[0], &f[1]);
		for (unsigned k = 0; k < 2; k++) {
			f[k]->read_max = cases[i].read_max;
			f[k]->write_max = cases[i].write_max;
			f[k]->room = cases[i].room;
			end_init(&e[k], &f[k]->s);
		}
		WAIT(e[0].writable && e[1].writable);
		end_exchange(&e[0], &e[1], 5000, 100);
		end_close(&e[0]);
		WAIT(e[1].readable);
		end_read(&e[1], 8);
		assert_true(e[1].eof && e[1].error == 0);
		end_close(&e[1]);
	}
}

static void test_the_fake_takes_held_bytes_when_it_releases_them(void **state)
{
	struct fake_stream *f[2];
	struct end e[2];
	uint8_t out[4] = "abcd", in[4];

	fake_stream_pair(&f[0], &f[1]);
	end_init(&e[0], &f[0]->s);
	end_init(&e[1], &f[1]->s);
	f[0]->hold = true;
	WAIT(e[0].writable && e[1].readable);
	e[1].in = in;
	e[1].in_len = 4;
	end_read(&e[1], 4);
	e[0].out = out;
	e[0].out_len = 4;
	end_write(&e[0], 4);
	assert_int_equal(f[0]->s.accepted, 4);
	assert_int_equal(f[0]->s.released, 0);
	end_rounds(10);
	assert_false(e[1].readable);
	out[1] = 'X';
	assert_int_equal(fake_stream_release(f[0], 3), 3);
	assert_int_equal(f[0]->s.released, 3);
	WAIT(e[1].readable && (e[0].told & STREAM_RELEASED));
	end_read(&e[1], 4);
	assert_memory_equal(in, "aXc", 3);
	fake_stream_hangup(f[0]);
	assert_int_equal(f[0]->s.released, 4);
	WAIT((e[0].told & STREAM_HANGUP) && (e[1].told & STREAM_HANGUP));
	end_read(&e[1], 4);
	assert_int_equal(e[1].error, -ECONNRESET);
	end_close(&e[0]);
	end_close(&e[1]);
}

struct server {
	struct stream_listener l;
	struct end end;
	unsigned count;
};

static void server_accept(struct stream_listener *l, struct stream *s)
{
	struct server *sv = container_of(l, struct server, l);

	sv->count++;
	end_init(&sv->end, s);
	assert_int_equal(stream_attach(s), 0);
}

static void test_providers_are_asked_one_after_another(void **state)
{
	struct server sv;
	struct net_addr addr;
	struct fake_stream *f;
	struct end client;

	fake_provider_start();
	/* The fake came later and takes every address. */
	sv = (struct server){ .l.accept = server_accept };
	assert_int_equal(addr_parse("192.0.2.1", false, &sv.l.addr), 0);
	sv.l.addr.port = 4420;
	addr = sv.l.addr;
	assert_int_equal(stream_listen(&sv.l), 0);
	f = fake_connect(&addr);
	assert_non_null(f);
	end_init(&client, &f->s);
	assert_int_equal(sv.count, 1);
	WAIT(client.writable && sv.end.writable);
	end_exchange(&client, &sv.end, 1000, 100);
	end_close(&client);
	end_close(&sv.end);
	stream_unlisten(&sv.l);
	assert_null(fake_connect(&addr));
	fake_provider_stop();
	assert_int_equal(stream_listen(&sv.l), -EADDRNOTAVAIL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		stream_test(test_the_fake_keeps_the_same_promises),
		stream_test(test_the_fake_takes_held_bytes_when_it_releases_them),
		stream_test(test_providers_are_asked_one_after_another),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
