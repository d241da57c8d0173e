/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Each state × close: a connection is brought into a state, then ended in each way; afterwards
 * everything has been given back (the box's teardown looks), and another host goes on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/util.h"
#include "core/config.h"
#include "targets/nvmf/module.h"
#include "targets/nvmf/nvmf.h"
#include "tests/unit/nvmf_scene.h"

/* Another host, before and after. */
static void bystander(struct tbox_conn *admin, struct tbox_conn *io)
{
	struct nvme_sqe zeroes = tbox_rw(NVME_NVM_WRITE_ZEROES, 512, 1);

	assert_int_equal(tbox_run(io, &zeroes, NULL, 0, false, NULL, 0).status, 0);
	assert_int_equal(tbox_property_get(admin, NVME_REG_CSTS, false), NVME_CSTS_RDY);
}

static void test_each_state_ends_in_each_way(void **state)
{
	for (const struct scene_row *start = scene_states; start->fn; start++) {
		for (const struct scene_row *end = scene_ends; end->fn; end++) {
			struct scene s = { 0 };
			struct tbox_conn admin, io;

			print_message("%s × %s\n", start->name, end->name);
			tbox_start();
			tbox_host(&admin, &io, 0);
			start->fn(&s);
			end->fn(&s);
			loop_drain();
			/* what is at the disk ends after its connection */
			tbox_disk->mode = FAKE_INSTANT;
			fake_release_all(tbox_disk);
			if (end->fn == end_target_stops) {
				tbox_shut();
			} else {
				loop_drain();
				bystander(&admin, &io);
			}
			if (s.io_up)
				tbox_hangup(&s.io);
			if (s.admin_up)
				tbox_hangup(&s.admin);
			if (end->fn != end_target_stops) {
				assert_int_equal(nvmf_target.conn_count, 2);
				assert_int_equal(nvmf_target.ctrl_count, 1);
			}
			tbox_hangup(&io);
			tbox_hangup(&admin);
			tbox_stop();
		}
	}
}

/* The controller goes only when nothing of it is at the disk any more. */
static void test_reset_waits_for_io_in_flight(void **state)
{
	struct scene s = { 0 };

	state_read_at_the_disk(&s);
	assert_int_equal(tbox_property_set(&s.admin, NVME_REG_CC, 0), 0);
	assert_int_equal(tbox_property_get(&s.admin, NVME_REG_CSTS, false), NVME_CSTS_RDY);
	fake_release(tbox_disk, 4);
	assert_int_equal(tbox_property_get(&s.admin, NVME_REG_CSTS, false), NVME_CSTS_RDY);
	fake_release(tbox_disk, 1);
	loop_drain();
	assert_int_equal(tbox_property_get(&s.admin, NVME_REG_CSTS, false), 0);
	tbox_hangup(&s.io);
	/* and comes back */
	tbox_enable(&s.admin);
	tbox_dial(&s.io);
	tbox_ic(&s.io, false, false);
	assert_int_equal(tbox_connect(&s.io, TBOX_NQN, 1, 31, s.cntlid, 0).status, 0);
	tbox_hangup(&s.io);
	tbox_hangup(&s.admin);
}

static void test_shutdown_completes_when_io_has_ended(void **state)
{
	struct scene s = { 0 };
	uint32_t occurring = NVME_SHST_OCCURRING << NVME_CSTS_SHST_SHIFT;
	uint32_t complete = NVME_SHST_COMPLETE << NVME_CSTS_SHST_SHIFT;

	state_write_at_the_disk(&s);
	assert_int_equal(tbox_property_set(&s.admin, NVME_REG_CC, NVME_CC_EN |
					   NVME_SHN_NORMAL << NVME_CC_SHN_SHIFT), 0);
	assert_int_equal(tbox_property_get(&s.admin, NVME_REG_CSTS, false),
			 NVME_CSTS_RDY | occurring);
	fake_release_all(tbox_disk);
	loop_drain();
	assert_int_equal(tbox_property_get(&s.admin, NVME_REG_CSTS, false),
			 NVME_CSTS_RDY | complete);
	tbox_hangup(&s.io);
	tbox_hangup(&s.admin);
}

static void test_lost_admin_connection_closes_the_io_queues(void **state)
{
	struct scene s = { 0 };

	state_read_at_the_disk(&s);
	tbox_hangup(&s.admin);
	tbox_expect_end(&s.io, 0, 0);
	assert_int_equal(nvmf_target.ctrl_count, 1);
	fake_release_all(tbox_disk);
	loop_drain();
	assert_int_equal(nvmf_target.ctrl_count, 0);
	tbox_hangup(&s.io);
}

static void test_last_bytes_reach_a_peer_that_is_slow_to_read(void **state)
{
	struct tbox_conn c;
	uint8_t wrong[8] = { 0x42, 0, 8, 0, 8 };

	tbox_dial(&c);
	tbox_ic(&c, false, false);
	c.f->peer->write_max = 10;
	tbox_send(&c, wrong, sizeof(wrong));
	tbox_expect_end(&c, NVME_TCP_FES_HEADER_FIELD, 0);
	/* the connection waits for our side, but not for ever */
	assert_int_equal(nvmf_target.conn_count, 1);
	for (unsigned i = 0; i < 12; i++)
		loop_advance(250 * 1000);
	assert_int_equal(nvmf_target.conn_count, 0);
	tbox_hangup(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_state_ends_in_each_way),
		tbox_test(test_reset_waits_for_io_in_flight),
		tbox_test(test_shutdown_completes_when_io_has_ended),
		tbox_test(test_lost_admin_connection_closes_the_io_queues),
		tbox_test(test_last_bytes_reach_a_peer_that_is_slow_to_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
