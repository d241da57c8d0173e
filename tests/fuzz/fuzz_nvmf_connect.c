/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Connect: a command and its data that are right, with bytes of the input laid over them, sent to
 * the whole target. The first byte says how:
 *
 *	bit 0  an I/O queue of a controller that is there, otherwise an admin queue
 *	bit 1  the data is sent on R2T, otherwise in the capsule
 *	bit 2  the same again on the same connection
 *
 * Then patches: u16 place (below 64 in the command, then in the data), u8 length, bytes. Whatever
 * comes of it, the answer is one response, another host can connect, and nothing is left over.
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/util.h"
#include "core/buf.h"
#include "targets/nvmf/tcp.h"
#include "tests/unit/nvmf_box.h"

enum { IO_QUEUE = 1 << 0, BY_R2T = 1 << 1, AGAIN = 1 << 2 };
enum { CID_AT = 2, SGL_AT = 24, SGL_BYTES = 16 };

static void must(bool right)
{
	if (!right)
		abort();
}

/* Places of the identifier and the SGL, which say how the data comes, stay as they are. */
static bool may_patch(size_t at)
{
	return at != 0 && at != 4 && at != CID_AT && at != CID_AT + 1 &&
	       (at < SGL_AT || at >= SGL_AT + SGL_BYTES);
}

static void patch(uint8_t *bytes, size_t room, const uint8_t *data, size_t size)
{
	while (size >= 3) {
		size_t at = data[0] | (size_t)data[1] << 8, len = MIN((size_t)data[2], size - 3);

		for (size_t i = 0; i < len && at + i < room; i++)
			if (may_patch(at + i))
				bytes[at + i] = data[3 + i];
		data += 3 + len;
		size -= 3 + len;
	}
}

static void ask(struct tbox_conn *c, uint8_t how, uint16_t cntlid, const uint8_t *data, size_t size)
{
	struct {
		struct nvme_sqe sqe;
		struct nvmf_connect_data data;
	} both = {
		.sqe = tbox_connect_sqe(how & IO_QUEUE ? 1 : 0, 31, 0),
		.data = tbox_connect_data(TBOX_NQN, cntlid),
	};

	patch((uint8_t *)&both, sizeof(both), data, size);
	/* ended: by a fault that has its own answer */
	must(tbox_run(c, &both.sqe, &both.data, sizeof(both.data), !(how & BY_R2T), NULL,
		      0).status != 0xffff || c->ended);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tbox_conn admin = { 0 }, c = { 0 };
	struct tbox_end end = { 0 };
	static bool started;

	if (size < 1)
		return 0;
	if (!started) {
		started = true;
		tbox_start();
		atexit(tbox_stop);
	}
	tbox_dial(&admin);
	tbox_ic(&admin, false, false);
	end = tbox_connect(&admin, TBOX_NQN, 0, 31, NVMF_CNTLID_DYNAMIC, 0);
	must(end.status == 0);
	tbox_enable(&admin);
	tbox_dial(&c);
	tbox_ic(&c, false, false);
	for (unsigned i = 0; i < (data[0] & AGAIN ? 2u : 1u) && !c.ended; i++)
		ask(&c, data[0], data[0] & IO_QUEUE ? (uint16_t)end.dw0 : NVMF_CNTLID_DYNAMIC,
		    data + 1, size - 1);
	tbox_hangup(&c);
	must(tbox_property_get(&admin, NVME_REG_CSTS, false) == NVME_CSTS_RDY);
	tbox_hangup(&admin);
	must(nvmf_target.conn_count == 0 && nvmf_target.ctrl_count == 0);
	return 0;
}
