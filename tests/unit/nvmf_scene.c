/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/nvmf_scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/util.h"
#include "core/config.h"
#include "targets/nvmf/nvmf.h"

static uint8_t data[65536];

/* ---- states ---- */

static void admin_dial(struct scene *s)
{
	tbox_dial(&s->admin);
	s->admin_up = true;
}

static void state_accepted(struct scene *s)
{
	admin_dial(s);
}

static void state_half_ic_req(struct scene *s)
{
	uint8_t half[60] = { NVME_TCP_IC_REQ, 0, 128, 0, 128 };

	admin_dial(s);
	tbox_send(&s->admin, half, sizeof(half));
	loop_drain();
}

static void state_initialized(struct scene *s)
{
	admin_dial(s);
	tbox_ic(&s->admin, true, true);
}

static void state_half_connect(struct scene *s)
{
	struct nvme_tcp_cmd cmd = {
		.ch = { .type = NVME_TCP_CMD, .hlen = 72, .pdo = 72,
			.plen = le32_make(72 + 1024) },
		.sqe = tbox_connect_sqe(0, 31, 0),
	};

	admin_dial(s);
	tbox_ic(&s->admin, false, false);
	cmd.sqe.sgl.length = le32_make(1024);
	cmd.sqe.sgl.id = 0x01;
	tbox_send(&s->admin, &cmd, sizeof(cmd));
	tbox_send(&s->admin, data, 500);
	loop_drain();
}

static void state_connect_refused(struct scene *s)
{
	admin_dial(s);
	tbox_ic(&s->admin, false, false);
	assert_int_not_equal(tbox_connect(&s->admin, "nqn.none", 0, 31, 0xffff, 0).status, 0);
}

static void state_connected(struct scene *s)
{
	struct tbox_end end;

	admin_dial(s);
	tbox_ic(&s->admin, false, false);
	end = tbox_connect(&s->admin, TBOX_NQN, 0, 31, 0xffff, 0);
	assert_int_equal(end.status, 0);
	s->cntlid = (uint16_t)end.dw0;
}

static void state_enabled(struct scene *s)
{
	state_connected(s);
	tbox_enable(&s->admin);
}

static void state_event_held(struct scene *s)
{
	struct nvme_sqe sqe = tbox_sqe(NVME_ADM_ASYNC_EVENT, 0, 0, 0);

	state_enabled(s);
	for (unsigned i = 0; i < NVMF_AER_MAX; i++)
		tbox_cmd(&s->admin, &sqe, NULL, 0);
	loop_drain();
}

static void state_io_idle(struct scene *s)
{
	s->cntlid = tbox_host(&s->admin, &s->io, 0);
	s->admin_up = s->io_up = true;
}

void state_read_at_the_disk(struct scene *s)
{
	struct nvme_sqe r = tbox_rw(NVME_NVM_READ, 0, 128);

	state_io_idle(s);
	tbox_disk->mode = FAKE_HELD;
	r.sgl.length = le32_make(65536);
	r.sgl.id = 0x5a;
	for (unsigned i = 0; i < 5; i++)
		tbox_cmd(&s->io, &r, NULL, 0);
	loop_drain();
	assert_int_equal(tbox_disk->held_count, 5);
}

static void state_write_waits_for_data(struct scene *s)
{
	struct nvme_sqe w = tbox_rw(NVME_NVM_WRITE, 0, 128);
	struct tbox_pdu pdu;

	state_io_idle(s);
	w.sgl.length = le32_make(65536);
	w.sgl.id = 0x5a;
	for (unsigned i = 0; i < 3; i++)
		tbox_cmd(&s->io, &w, NULL, 0);
	tbox_expect(&s->io, NVME_TCP_R2T, &pdu);
	tbox_h2c(&s->io, &pdu.r2t, data, 0, 4096, false);
	loop_drain();
}

/* A command with two R2Ts answered in part, others with none, and R2Ts that are still to come. */
static void state_several_r2ts_open(struct scene *s)
{
	struct nvme_sqe w = tbox_rw(NVME_NVM_WRITE, 0, 2048);
	struct tbox_pdu first, second;

	state_connected(s);
	tbox_enable(&s->admin);
	tbox_dial(&s->io);
	s->io_up = true;
	s->io.maxr2t = 1;
	tbox_ic(&s->io, false, false);
	assert_int_equal(tbox_connect(&s->io, TBOX_NQN, 1, 31, s->cntlid, 0).status, 0);
	w.sgl.length = le32_make(1 << 20);
	w.sgl.id = 0x5a;
	for (unsigned i = 0; i < 3; i++)
		tbox_cmd(&s->io, &w, NULL, 0);
	tbox_expect(&s->io, NVME_TCP_R2T, &first);
	tbox_expect(&s->io, NVME_TCP_R2T, &second);
	tbox_h2c_at(&s->io, &second.r2t, data, 256 * 1024, 4096, false);
	tbox_h2c(&s->io, &first.r2t, data, 0, 4096, false);
	loop_drain();
}

static void state_in_the_middle_of_data(struct scene *s)
{
	struct nvme_sqe w = tbox_rw(NVME_NVM_WRITE, 0, 128);
	struct tbox_pdu pdu;
	struct nvme_tcp_data h = {
		.ch = { .type = NVME_TCP_H2C_DATA, .flags = NVME_TCP_LAST, .hlen = 24, .pdo = 24,
			.plen = le32_make(24 + 65536) },
		.datal = le32_make(65536),
	};

	state_io_idle(s);
	w.sgl.length = le32_make(65536);
	w.sgl.id = 0x5a;
	h.cccid = le16_make(tbox_cmd(&s->io, &w, NULL, 0));
	tbox_expect(&s->io, NVME_TCP_R2T, &pdu);
	h.ttag = pdu.r2t.ttag;
	tbox_send(&s->io, &h, sizeof(h));
	tbox_send(&s->io, data, 30000);
	loop_drain();
}

static void state_in_the_middle_of_a_capsule(struct scene *s)
{
	struct nvme_tcp_cmd cmd = {
		.ch = { .type = NVME_TCP_CMD, .hlen = 72, .pdo = 72,
			.plen = le32_make(72 + 4096) },
		.sqe = tbox_rw(NVME_NVM_WRITE, 0, 8),
	};

	state_io_idle(s);
	cmd.sqe.sgl.length = le32_make(4096);
	cmd.sqe.sgl.id = 0x01;
	tbox_send(&s->io, &cmd, sizeof(cmd));
	tbox_send(&s->io, data, 1000);
	loop_drain();
}

void state_write_at_the_disk(struct scene *s)
{
	struct nvme_sqe w = tbox_rw(NVME_NVM_WRITE, 0, 8);

	state_io_idle(s);
	tbox_disk->mode = FAKE_HELD;
	w.sgl.length = le32_make(4096);
	w.sgl.id = 0x01;
	for (unsigned i = 0; i < 5; i++)
		tbox_cmd(&s->io, &w, data, 4096);
	loop_drain();
	assert_int_equal(tbox_disk->held_count, 5);
}

static void state_deallocating(struct scene *s)
{
	struct nvme_sqe dsm = tbox_sqe(NVME_NVM_DSM, 1, 1, NVME_DSM_AD);
	struct nvme_dsm_range ranges[2] = { { .nlb = le32_make(4) }, { .nlb = le32_make(4) } };

	state_io_idle(s);
	tbox_disk->mode = FAKE_HELD;
	dsm.sgl.length = le32_make(sizeof(ranges));
	dsm.sgl.id = 0x01;
	tbox_cmd(&s->io, &dsm, ranges, sizeof(ranges));
	loop_drain();
	assert_int_equal(tbox_disk->held_count, 1);
}

static void state_waits_for_memory(struct scene *s)
{
	struct nvme_sqe w = tbox_rw(NVME_NVM_WRITE, 0, 2048), r = tbox_rw(NVME_NVM_READ, 0, 2048);

	state_io_idle(s);
	tbox_disk->mode = FAKE_HELD;
	w.sgl.length = r.sgl.length = le32_make(1 << 20);
	w.sgl.id = r.sgl.id = 0x5a;
	for (unsigned i = 0; i < 15; i++) {
		tbox_cmd(&s->io, &w, NULL, 0);
		tbox_cmd(&s->io, &r, NULL, 0);
	}
	loop_drain();
}

static void state_answers_not_taken(struct scene *s)
{
	struct nvme_sqe r = tbox_rw(NVME_NVM_READ, 0, 128);

	state_io_idle(s);
	r.sgl.length = le32_make(65536);
	r.sgl.id = 0x5a;
	s->io.f->peer->room = 70000;
	for (unsigned i = 0; i < 31; i++)
		tbox_cmd(&s->io, &r, NULL, 0);
	loop_drain();
}

static void state_answers_not_released(struct scene *s)
{
	struct nvme_sqe r = tbox_rw(NVME_NVM_READ, 0, 128);

	state_io_idle(s);
	r.sgl.length = le32_make(65536);
	r.sgl.id = 0x5a;
	s->io.f->peer->hold = true;
	for (unsigned i = 0; i < 31; i++)
		tbox_cmd(&s->io, &r, NULL, 0);
	loop_drain();
}

static void state_disconnected_by_command(struct scene *s)
{
	struct nvmf_disconnect_sqe d = {
		.opc = NVME_ADM_FABRICS, .flags = NVME_PSDT_SGL, .fctype = NVMF_DISCONNECT,
	};
	struct nvme_sqe sqe;

	state_read_at_the_disk(s);
	memcpy(&sqe, &d, sizeof(sqe));
	assert_int_equal(tbox_run(&s->io, &sqe, NULL, 0, false, NULL, 0).status, 0);
}

static void state_terminated(struct scene *s)
{
	uint8_t wrong[8] = { 0x42, 0, 8, 0, 8 };

	state_write_at_the_disk(s);
	tbox_send(&s->io, wrong, sizeof(wrong));
	loop_drain();
}

/* ---- ways to end ---- */

static void end_io_hangup(struct scene *s)
{
	if (s->io_up)
		tbox_hangup(&s->io);
	s->io_up = false;
}

static void end_admin_hangup(struct scene *s)
{
	tbox_hangup(&s->admin);
	s->admin_up = false;
}

static void end_network(struct scene *s)
{
	if (s->io_up)
		fake_stream_hangup(s->io.f);
	fake_stream_hangup(s->admin.f);
}

static void end_operator(struct scene *s)
{
	for (struct nvmf_ctrl *ctrl = nvmf_ctrl_next(NULL); ctrl; ctrl = nvmf_ctrl_next(ctrl))
		if (ctrl->cntlid == s->cntlid)
			nvmf_ctrl_kill(ctrl, "test");
}

static void end_reset(struct scene *s)
{
	if (s->cntlid)
		tbox_property_send(&s->admin, NVME_REG_CC, 0);
}

static void end_shutdown(struct scene *s)
{
	if (s->cntlid)
		tbox_property_send(&s->admin, NVME_REG_CC,
				   NVME_CC_EN | NVME_SHN_NORMAL << NVME_CC_SHN_SHIFT);
}

static void end_garbage(struct scene *s)
{
	static const uint8_t garbage[256] = { 0xee, 0xee, 0xee };

	tbox_send(s->io_up ? &s->io : &s->admin, garbage, sizeof(garbage));
}

static void end_eof_after_garbage(struct scene *s)
{
	end_garbage(s);
	end_io_hangup(s);
}

void end_target_stops(struct scene *s)
{
	/* teardown does it, with everything as it is */
}

static void end_time(struct scene *s)
{
	for (unsigned i = 0; i < 2 * config.nvmf_connect_timeout_ms / 250; i++)
		loop_advance(250 * 1000);
}

#define ROW(x) { #x, x }

const struct scene_row scene_states[] = {
	ROW(state_accepted), ROW(state_half_ic_req), ROW(state_initialized),
	ROW(state_half_connect), ROW(state_connect_refused), ROW(state_connected),
	ROW(state_enabled), ROW(state_event_held), ROW(state_io_idle),
	ROW(state_read_at_the_disk), ROW(state_write_waits_for_data),
	ROW(state_in_the_middle_of_data), ROW(state_several_r2ts_open),
	ROW(state_in_the_middle_of_a_capsule),
	ROW(state_write_at_the_disk), ROW(state_deallocating), ROW(state_waits_for_memory),
	ROW(state_answers_not_taken), ROW(state_answers_not_released),
	ROW(state_disconnected_by_command), ROW(state_terminated),
	{ 0 },
};

const struct scene_row scene_ends[] = {
	ROW(end_io_hangup), ROW(end_admin_hangup), ROW(end_network), ROW(end_operator),
	ROW(end_reset), ROW(end_shutdown), ROW(end_garbage), ROW(end_eof_after_garbage),
	ROW(end_target_stops), ROW(end_time),
	{ 0 },
};
