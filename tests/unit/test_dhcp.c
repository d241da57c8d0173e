/* SPDX-License-Identifier: BSD-3-Clause */
/* The DHCP client against a server made here, under a simulated clock. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/clock.h"
#include "drivers/port/dhcp.h"

enum { SERVER = 0x0a000202, ROUTER = 0x0a000203, CLIENT = 0x0a00020f, OTHER = 0x0a000210 };

static const uint8_t mac[6] = { 0x52, 0x54, 0, 0x12, 0x34, 0x56 };

struct packet {
	uint8_t bytes[DHCP_MSG_BYTES];
	size_t len;
};

static void put32(struct packet *p, size_t at, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p->bytes[at + (size_t)i] = (uint8_t)(v >> (24 - 8 * i));
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void option(struct packet *p, uint8_t code, const void *data, uint8_t len)
{
	p->bytes[p->len++] = code;
	p->bytes[p->len++] = len;
	memcpy(p->bytes + p->len, data, len);
	p->len += len;
}

static void option32(struct packet *p, uint8_t code, uint32_t v)
{
	p->bytes[p->len++] = code;
	p->bytes[p->len++] = 4;
	put32(p, p->len, v);
	p->len += 4;
}

/* An answer without END, so that a test can add to it. */
static struct packet answer(const struct dhcp *d, uint8_t type, uint32_t address, uint32_t lease_s)
{
	struct packet p = { .len = 240 };

	p.bytes[0] = 2;
	p.bytes[1] = 1;
	p.bytes[2] = 6;
	put32(&p, 4, d->xid);
	put32(&p, 16, address);
	memcpy(p.bytes + 28, mac, 6);
	put32(&p, 236, 0x63825363);
	option(&p, 53, &type, 1);
	option32(&p, 54, SERVER);
	if (type == DHCP_NAK)
		return p;
	option32(&p, 51, lease_s);
	option32(&p, 1, 0xffffff00);
	option32(&p, 3, ROUTER);
	return p;
}

static unsigned give(struct dhcp *d, uint64_t now_us, struct packet p)
{
	p.bytes[p.len++] = 255;
	return dhcp_input(d, now_us, p.bytes, p.len);
}

/* The value of option CODE of the client's message; NULL. */
static const uint8_t *asked(const struct dhcp *d, uint64_t now_us, uint8_t code, uint32_t *to)
{
	static uint8_t msg[DHCP_MSG_BYTES];
	size_t len = dhcp_message(d, now_us, msg, to);

	assert_in_range(len, 300, DHCP_MSG_BYTES);
	for (size_t at = 240; at + 1 < len && msg[at] != 255; at += 2u + msg[at + 1]) {
		if (msg[at] == code)
			return msg + at + 2;
	}
	return NULL;
}

static void bind_client(struct dhcp *d, uint64_t now_us, uint32_t lease_s)
{
	assert_int_equal(dhcp_start(d, mac, now_us), DHCP_DO_SEND);
	assert_int_equal(give(d, now_us, answer(d, DHCP_OFFER, CLIENT, lease_s)), DHCP_DO_SEND);
	assert_int_equal(d->state, DHCP_REQUESTING);
	assert_int_equal(give(d, now_us, answer(d, DHCP_ACK, CLIENT, lease_s)), DHCP_DO_BIND);
	assert_int_equal(d->state, DHCP_BOUND);
}

static void test_four_messages_give_a_lease(void **state)
{
	struct dhcp d;
	uint32_t to;

	clock_simulate(1);
	dhcp_start(&d, mac, 5);
	assert_int_equal(*asked(&d, 5, 53, &to), DHCP_DISCOVER);
	assert_int_equal(to, 0xffffffff);
	assert_null(asked(&d, 5, 50, &to));
	give(&d, 5, answer(&d, DHCP_OFFER, CLIENT, 1000));
	assert_int_equal(*asked(&d, 5, 53, &to), DHCP_REQUEST);
	assert_int_equal(to, 0xffffffff);
	assert_int_equal(get32(asked(&d, 5, 50, &to)), CLIENT);
	assert_int_equal(get32(asked(&d, 5, 54, &to)), SERVER);
	assert_int_equal(give(&d, 5, answer(&d, DHCP_ACK, CLIENT, 1000)), DHCP_DO_BIND);
	assert_int_equal(d.lease.address, CLIENT);
	assert_int_equal(d.lease.prefix_len, 24);
	assert_int_equal(d.lease.router, ROUTER);
	assert_int_equal(d.lease.t1_us, 5 + 500000000);
	assert_int_equal(d.lease.t2_us, 5 + 875000000);
	assert_int_equal(d.lease.end_us, 5 + 1000000000);
}

static void test_silence_is_asked_again_ever_more_slowly(void **state)
{
	static const unsigned nominal_s[] = { 1, 2, 4, 8, 16, 16, 16 };
	uint64_t now_us = 0;
	struct dhcp d;

	clock_simulate(7);
	dhcp_start(&d, mac, now_us);
	for (size_t i = 0; i < 7; i++) {
		uint64_t wait_us = d.deadline_us - now_us, nominal_us = nominal_s[i] * 1000000u;

		assert_in_range(wait_us, nominal_us * 3 / 4, nominal_us * 5 / 4);
		assert_int_equal(dhcp_timeout(&d, d.deadline_us - 1), 0);
		now_us = d.deadline_us;
		assert_int_equal(dhcp_timeout(&d, now_us), DHCP_DO_SEND);
		assert_int_equal(d.state, DHCP_SELECTING);
	}
}

static void test_an_offer_that_is_not_confirmed_is_given_up(void **state)
{
	struct dhcp d;
	uint32_t xid;

	clock_simulate(2);
	dhcp_start(&d, mac, 0);
	give(&d, 0, answer(&d, DHCP_OFFER, CLIENT, 1000));
	xid = d.xid;
	for (int i = 0; i < 3; i++) {
		assert_int_equal(dhcp_timeout(&d, d.deadline_us), DHCP_DO_SEND);
		assert_int_equal(d.state, DHCP_REQUESTING);
	}
	assert_int_equal(dhcp_timeout(&d, d.deadline_us), DHCP_DO_SEND);
	assert_int_equal(d.state, DHCP_SELECTING);
	assert_int_not_equal(d.xid, xid);
}

static void test_a_refused_request_starts_over(void **state)
{
	struct dhcp d;

	clock_simulate(2);
	dhcp_start(&d, mac, 0);
	give(&d, 0, answer(&d, DHCP_OFFER, CLIENT, 1000));
	assert_int_equal(give(&d, 0, answer(&d, DHCP_NAK, 0, 0)), DHCP_DO_SEND);
	assert_int_equal(d.state, DHCP_SELECTING);
}

static void test_a_lease_is_renewed_with_its_server_and_then_with_anybody(void **state)
{
	struct dhcp d;
	uint32_t to;

	clock_simulate(3);
	bind_client(&d, 0, 1000);
	assert_int_equal(d.deadline_us, 500000000);
	assert_int_equal(dhcp_timeout(&d, d.deadline_us), DHCP_DO_SEND);
	assert_int_equal(d.state, DHCP_RENEWING);
	assert_int_equal(*asked(&d, d.deadline_us, 53, &to), DHCP_REQUEST);
	assert_int_equal(to, SERVER);
	assert_null(asked(&d, d.deadline_us, 54, &to));
	assert_int_equal(d.deadline_us, 500000000 + 187500000);
	while (d.state == DHCP_RENEWING)
		assert_int_equal(dhcp_timeout(&d, d.deadline_us), DHCP_DO_SEND);
	assert_int_equal(d.state, DHCP_REBINDING);
	asked(&d, d.deadline_us, 53, &to);
	assert_int_equal(to, 0xffffffff);
	assert_int_equal(give(&d, 900000000, answer(&d, DHCP_ACK, CLIENT, 1000)), 0);
	assert_int_equal(d.state, DHCP_BOUND);
	assert_int_equal(d.lease.end_us, 1900000000);
}

static void test_a_lease_that_ends_is_lost_and_asked_for_again(void **state)
{
	struct dhcp d;
	unsigned todo = 0, sent = 0;

	clock_simulate(4);
	bind_client(&d, 0, 1000);
	while (!(todo & DHCP_DO_LOSE)) {
		todo = dhcp_timeout(&d, d.deadline_us);
		sent++;
		assert_true(sent < 20);
	}
	assert_int_equal(todo, DHCP_DO_LOSE | DHCP_DO_SEND);
	assert_int_equal(d.state, DHCP_SELECTING);
}

static void test_a_renewal_refused_loses_the_address(void **state)
{
	struct dhcp d;

	clock_simulate(4);
	bind_client(&d, 0, 1000);
	dhcp_timeout(&d, d.deadline_us);
	assert_int_equal(give(&d, 500000001, answer(&d, DHCP_NAK, 0, 0)),
			 DHCP_DO_LOSE | DHCP_DO_SEND);
}

static void test_another_address_at_renewal_replaces_the_old_one(void **state)
{
	struct dhcp d;

	clock_simulate(4);
	bind_client(&d, 0, 1000);
	dhcp_timeout(&d, d.deadline_us);
	assert_int_equal(give(&d, 500000001, answer(&d, DHCP_ACK, OTHER, 1000)),
			 DHCP_DO_LOSE | DHCP_DO_BIND);
	assert_int_equal(d.lease.address, OTHER);
}

static void test_answers_to_others_are_not_ours(void **state)
{
	struct packet p;
	struct dhcp d;

	clock_simulate(5);
	dhcp_start(&d, mac, 0);
	p = answer(&d, DHCP_OFFER, CLIENT, 1000);
	p.bytes[7] ^= 1;
	assert_int_equal(give(&d, 0, p), 0);
	p = answer(&d, DHCP_OFFER, CLIENT, 1000);
	p.bytes[33] ^= 1;
	assert_int_equal(give(&d, 0, p), 0);
	assert_int_equal(give(&d, 0, answer(&d, DHCP_ACK, CLIENT, 1000)), 0);
	assert_int_equal(d.state, DHCP_SELECTING);
}

static void expect_bad(struct packet p)
{
	struct dhcp_reply r;

	assert_int_equal(dhcp_decode(p.bytes, p.len, &r), -EBADMSG);
}

static void test_malformed_messages_are_refused(void **state)
{
	static const uint8_t bytes[4] = { 0 };
	const uint8_t overload = 4;
	struct dhcp d = { .xid = 9 };
	const struct packet good = answer(&d, DHCP_ACK, CLIENT, 1000);
	struct dhcp_reply r;
	struct packet p;

	assert_int_equal(dhcp_decode(good.bytes, good.len, &r), 0);
	for (size_t len = 0; len < good.len; len++) {
		/* a cut between two options can leave a whole message, never a wrong one */
		if (dhcp_decode(good.bytes, len, &r) == 0) {
			assert_true(r.lease_s == 1000 && r.server == SERVER);
			assert_true(len >= 240 + 3 + 6 + 6);
		}
	}
	p = good;
	option(&p, 51, bytes, 3);
	expect_bad(p);
	p = good;
	option(&p, 3, bytes, 0);
	expect_bad(p);
	p = good;
	option(&p, 52, &overload, 1);
	expect_bad(p);
	p = good;
	option32(&p, 1, 0xff00ff00);
	expect_bad(p);
	expect_bad(answer(&d, DHCP_ACK, CLIENT, 0));
	expect_bad(answer(&d, DHCP_ACK, 0xffffffff, 1000));
	expect_bad(answer(&d, DHCP_ACK, 0x7f000001, 1000));
	expect_bad(answer(&d, DHCP_ACK, 0xe0000001, 1000));
	expect_bad(answer(&d, DHCP_ACK, 0, 1000));
	expect_bad(answer(&d, DHCP_DISCOVER, CLIENT, 1000));
	p = good;
	p.bytes[0] = 1;
	expect_bad(p);
	p = good;
	p.bytes[239] ^= 1;
	expect_bad(p);
}

static void test_options_overloaded_into_file_and_sname_are_read(void **state)
{
	const uint8_t both = 3;
	struct dhcp d = { .xid = 9 };
	struct packet p = answer(&d, DHCP_ACK, CLIENT, 1000);
	struct dhcp_reply r;

	option(&p, 52, &both, 1);
	memcpy(p.bytes + 108, (uint8_t[]){ 58, 4, 0, 0, 0, 100, 255 }, 7);
	memcpy(p.bytes + 44, (uint8_t[]){ 59, 4, 0, 0, 0, 200, 255 }, 7);
	assert_int_equal(dhcp_decode(p.bytes, p.len, &r), 0);
	assert_int_equal(r.t1_s, 100);
	assert_int_equal(r.t2_s, 200);
	p.bytes[108 + 1] = 200;
	expect_bad(p);
}

static void test_senseless_times_are_replaced(void **state)
{
	struct dhcp d;
	struct packet p;

	clock_simulate(6);
	dhcp_start(&d, mac, 0);
	give(&d, 0, answer(&d, DHCP_OFFER, CLIENT, 1));
	p = answer(&d, DHCP_ACK, CLIENT, 1);
	option32(&p, 58, 0xffffffff);
	option32(&p, 59, 0xfffffff0);
	assert_int_equal(give(&d, 0, p), DHCP_DO_BIND);
	assert_int_equal(d.lease.end_us, 10000000);
	assert_true(d.lease.t1_us < d.lease.t2_us && d.lease.t2_us < d.lease.end_us);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_four_messages_give_a_lease),
		cmocka_unit_test(test_silence_is_asked_again_ever_more_slowly),
		cmocka_unit_test(test_an_offer_that_is_not_confirmed_is_given_up),
		cmocka_unit_test(test_a_refused_request_starts_over),
		cmocka_unit_test(test_a_lease_is_renewed_with_its_server_and_then_with_anybody),
		cmocka_unit_test(test_a_lease_that_ends_is_lost_and_asked_for_again),
		cmocka_unit_test(test_a_renewal_refused_loses_the_address),
		cmocka_unit_test(test_another_address_at_renewal_replaces_the_old_one),
		cmocka_unit_test(test_answers_to_others_are_not_ours),
		cmocka_unit_test(test_malformed_messages_are_refused),
		cmocka_unit_test(test_options_overloaded_into_file_and_sname_are_read),
		cmocka_unit_test(test_senseless_times_are_replaced),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
