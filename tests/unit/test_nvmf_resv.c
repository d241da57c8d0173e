/* SPDX-License-Identifier: BSD-3-Clause */
/* Reservations as NVMe hosts see them: commands, conflicts, notifications, features. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/util.h"
#include "core/resv.h"
#include "core/spec/nvme_identify.h"
#include "core/spec/nvme_log.h"
#include "core/spec/nvme_resv.h"
#include "targets/nvmf/nvmf.h"
#include "tests/unit/nvmf_box.h"

#define DNR NVME_STATUS_DNR
#define CONFLICT (NVME_SC_RESERVATION_CONFLICT | NVME_STATUS_DNR)

enum { HOSTS = 3 };

static struct tbox_conn admin[HOSTS], io[HOSTS];
static uint8_t page[8192];

static void up(unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		tbox_host_number = (uint8_t)i;
		tbox_host(&admin[i], &io[i], 0);
	}
}

static void down(unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		tbox_hangup(&io[i]);
		tbox_hangup(&admin[i]);
	}
}

static uint16_t command(unsigned host, uint8_t opc, uint32_t cdw10, uint64_t key, uint64_t key2)
{
	struct nvme_sqe sqe = tbox_sqe(opc, 1, cdw10, 0);
	le64 data[2] = { le64_make(key), le64_make(key2) };

	return tbox_run(&io[host], &sqe, data, opc == NVME_NVM_RESV_RELEASE ? 8 : 16, true, NULL,
			0).status;
}

static uint16_t reg(unsigned host, uint32_t cdw10, uint64_t crkey, uint64_t nrkey)
{
	return command(host, NVME_NVM_RESV_REGISTER, cdw10, crkey, nrkey);
}

static uint16_t acquire(unsigned host, unsigned action, unsigned rtype, uint64_t crkey,
			uint64_t prkey)
{
	return command(host, NVME_NVM_RESV_ACQUIRE, action | rtype << NVME_RESV_RTYPE_SHIFT,
		       crkey, prkey);
}

static uint16_t release(unsigned host, unsigned action, unsigned rtype, uint64_t crkey)
{
	return command(host, NVME_NVM_RESV_RELEASE, action | rtype << NVME_RESV_RTYPE_SHIFT,
		       crkey, 0);
}

static uint16_t report(unsigned host, uint32_t len, uint32_t cdw11)
{
	struct nvme_sqe sqe = tbox_sqe(NVME_NVM_RESV_REPORT, 1, len / 4 - 1, cdw11);

	memset(page, 0xaa, sizeof(page));
	return tbox_run(&io[host], &sqe, NULL, 0, false, page, len).status;
}

static uint16_t rw(unsigned host, uint8_t opc)
{
	static uint8_t data[TBOX_BLOCK_BYTES];
	struct nvme_sqe sqe = tbox_rw(opc, 0, 1);
	bool in = opc == NVME_NVM_READ;

	return tbox_run(&io[host], &sqe, data, in ? 0 : sizeof(data), true, data,
			in ? sizeof(data) : 0).status;
}

/* A command whose data is SRC, of LEN bytes. */
static uint16_t other(unsigned host, uint8_t opc, uint32_t cdw10, uint32_t cdw11, uint32_t cdw12,
		      const void *src, size_t len)
{
	struct nvme_sqe sqe = tbox_sqe(opc, 1, cdw10, cdw11);

	sqe.cdw12 = le32_make(cdw12);
	return tbox_run(&io[host], &sqe, src, len, true, NULL, 0).status;
}

static void may(unsigned host, bool read, bool write)
{
	static const struct nvme_dsm_range dsm = { .nlb = { 1 } };
	static const struct nvme_copy_range copy = { .slba = { 8 } };
	uint16_t r = read ? 0 : CONFLICT, w = write ? 0 : CONFLICT;

	assert_int_equal(rw(host, NVME_NVM_READ), r);
	assert_int_equal(rw(host, NVME_NVM_COMPARE), r);
	assert_int_equal(other(host, NVME_NVM_VERIFY, 0, 0, 0, NULL, 0), r);
	assert_int_equal(rw(host, NVME_NVM_WRITE), w);
	assert_int_equal(other(host, NVME_NVM_WRITE_ZEROES, 0, 0, 0, NULL, 0), w);
	assert_int_equal(other(host, NVME_NVM_FLUSH, 0, 0, 0, NULL, 0), w);
	assert_int_equal(other(host, NVME_NVM_DSM, 0, NVME_DSM_AD, 0, &dsm, sizeof(dsm)), w);
	assert_int_equal(other(host, NVME_NVM_COPY, 16, 0, 0, &copy, sizeof(copy)), w);
}

static struct tbox_end get_log(unsigned host, bool retain)
{
	struct nvme_sqe sqe = tbox_sqe(NVME_ADM_GET_LOG_PAGE, 0, NVME_LID_RESERVATION |
				       (retain ? NVME_LOG_RAE : 0) | 15 << 16, 0);

	return tbox_run(&admin[host], &sqe, NULL, 0, false, page, 64);
}

static void note_is(unsigned host, uint8_t type, uint64_t count, uint8_t available)
{
	struct nvme_log_resv note;

	assert_int_equal(get_log(host, false).status, 0);
	memcpy(&note, page, sizeof(note));
	assert_int_equal(note.type, type);
	assert_int_equal(le64_get(note.count), count);
	assert_int_equal(note.available, available);
	assert_int_equal(le32_get(note.nsid), type ? 1 : 0);
}

static struct tbox_end feature(unsigned host, uint8_t opc, uint32_t nsid, uint32_t cdw10,
			       uint32_t cdw11)
{
	struct nvme_sqe sqe = tbox_sqe(opc, nsid, cdw10, cdw11);

	return tbox_run(&admin[host], &sqe, NULL, 0, false, NULL, 0);
}

/* ---- tests ---- */

static void test_every_command_meets_every_type(void **state)
{
	/* of the holder, of a registrant, of another: reads, writes */
	static const bool rights[][6] = {
		[NVME_RTYPE_WRITE_EXCLUSIVE] = { 1, 1, 1, 0, 1, 0 },
		[NVME_RTYPE_EXCLUSIVE_ACCESS] = { 1, 1, 0, 0, 0, 0 },
		[NVME_RTYPE_WRITE_EXCLUSIVE_REGISTRANTS] = { 1, 1, 1, 1, 1, 0 },
		[NVME_RTYPE_EXCLUSIVE_ACCESS_REGISTRANTS] = { 1, 1, 1, 1, 0, 0 },
		[NVME_RTYPE_WRITE_EXCLUSIVE_ALL] = { 1, 1, 1, 1, 1, 0 },
		[NVME_RTYPE_EXCLUSIVE_ACCESS_ALL] = { 1, 1, 1, 1, 0, 0 },
	};

	up(3);
	assert_int_equal(reg(0, 0, 0, 10), 0);
	assert_int_equal(reg(1, 0, 0, 11), 0);
	for (unsigned type = 1; type < ARRAY_SIZE(rights); type++) {
		assert_int_equal(acquire(0, NVME_RACQA_ACQUIRE, type, 10, 0), 0);
		for (unsigned host = 0; host < 3; host++)
			may(host, rights[type][2 * host], rights[type][2 * host + 1]);
		assert_int_equal(release(0, NVME_RRELA_RELEASE, type, 10), 0);
	}
	may(2, true, true);
	down(3);
}

static void test_fused_pairs_meet_them_too(void **state)
{
	struct nvme_sqe c = tbox_rw(NVME_NVM_COMPARE, 0, 1), w = tbox_rw(NVME_NVM_WRITE, 0, 1);
	static uint8_t data[512];
	uint16_t a, b;

	up(2);
	assert_int_equal(reg(0, 0, 0, 10), 0);
	assert_int_equal(acquire(0, NVME_RACQA_ACQUIRE, NVME_RTYPE_WRITE_EXCLUSIVE, 10, 0), 0);
	c.flags |= NVME_FUSE_FIRST;
	w.flags |= NVME_FUSE_SECOND;
	c.sgl.length = w.sgl.length = le32_make(512);
	c.sgl.id = w.sgl.id = 0x01;
	a = tbox_cmd(&io[1], &c, data, 512);
	b = tbox_cmd(&io[1], &w, data, 512);
	assert_int_equal(tbox_wait(&io[1], a, NULL, 0, NULL, 0).status, CONFLICT);
	assert_int_equal(tbox_wait(&io[1], b, NULL, 0, NULL, 0).status,
			 NVME_SC_ABORTED_FAILED_FUSED);
	down(2);
}

static void test_a_report_says_who_is_registered(void **state)
{
	struct nvme_resv_status_ext head;
	struct nvme_resv_ctrl_ext ctrl;

	up(2);
	assert_int_equal(reg(0, 0, 0, 10), 0);
	assert_int_equal(reg(1, 0, 0, 11), 0);
	assert_int_equal(acquire(1, NVME_RACQA_ACQUIRE, NVME_RTYPE_EXCLUSIVE_ACCESS, 11, 0), 0);
	assert_int_equal(report(0, 4096, NVME_RESV_EDS), 0);
	memcpy(&head, page, sizeof(head));
	assert_int_equal(le32_un_get(head.status.gen), 2);
	assert_int_equal(head.status.rtype, NVME_RTYPE_EXCLUSIVE_ACCESS);
	assert_int_equal(le16_un_get(head.status.regctl), 2);
	assert_int_equal(head.status.ptpls, 0);
	memcpy(&ctrl, page + 64 + 64, sizeof(ctrl));
	assert_int_equal(le16_get(ctrl.cntlid), 0xffff);
	assert_int_equal(ctrl.rcsts, 1);
	assert_int_equal(le64_get(ctrl.rkey), 11);
	assert_int_equal(ctrl.hostid[15], 1);
	/* as much of it as is asked for, and 128-bit identifiers only */
	assert_int_equal(report(0, 68, NVME_RESV_EDS), 0);
	assert_int_equal(page[68], 0xaa);
	assert_int_equal(report(0, 4096, 0), NVME_SC_HOSTID_FORMAT | DNR);
	down(2);
}

static void test_a_host_stays_registered_when_it_reconnects(void **state)
{
	up(2);
	assert_int_equal(reg(0, 0, 0, 10), 0);
	assert_int_equal(acquire(0, NVME_RACQA_ACQUIRE, NVME_RTYPE_EXCLUSIVE_ACCESS, 10, 0), 0);
	down(2);
	up(2);
	may(0, true, true);
	may(1, false, false);
	down(2);
}

static void test_preempted_hosts_are_told(void **state)
{
	struct nvme_sqe aer = tbox_sqe(NVME_ADM_ASYNC_EVENT, 0, 0, 0);
	struct tbox_end end;
	uint16_t cid;

	up(2);
	assert_int_equal(reg(0, 0, 0, 10), 0);
	assert_int_equal(reg(1, 0, 0, 11), 0);
	note_is(0, NVME_RESV_NOTE_NONE, 0, 0);
	cid = tbox_cmd(&admin[0], &aer, NULL, 0);
	assert_int_equal(acquire(0, NVME_RACQA_ACQUIRE, NVME_RTYPE_WRITE_EXCLUSIVE, 10, 0), 0);
	assert_int_equal(acquire(1, NVME_RACQA_PREEMPT, NVME_RTYPE_WRITE_EXCLUSIVE, 11, 10), 0);
	end = tbox_wait(&admin[0], cid, NULL, 0, NULL, 0);
	assert_int_equal(end.status, 0);
	assert_int_equal(end.dw0, NVME_AER_IO_SET | NVME_LID_RESERVATION << NVME_AER_LID_SHIFT);
	assert_int_equal(get_log(0, true).status, 0);
	note_is(0, NVME_RESV_NOTE_REGISTRATION_PREEMPTED, 1, 0);
	note_is(0, NVME_RESV_NOTE_NONE, 0, 0);
	note_is(1, NVME_RESV_NOTE_NONE, 0, 0);
	may(0, true, false);
	may(1, true, true);
	/* one event for several notifications, and another while some are left */
	assert_int_equal(reg(0, 0, 0, 10), 0);
	assert_int_equal(release(1, NVME_RRELA_CLEAR, 0, 11), 0);
	assert_int_equal(reg(0, 0, 0, 10), 0);
	assert_int_equal(reg(1, 0, 0, 11), 0);
	assert_int_equal(release(1, NVME_RRELA_CLEAR, 0, 11), 0);
	cid = tbox_cmd(&admin[0], &aer, NULL, 0);
	assert_int_equal(tbox_wait(&admin[0], cid, NULL, 0, NULL, 0).status, 0);
	cid = tbox_cmd(&admin[0], &aer, NULL, 0);
	loop_drain();
	note_is(0, NVME_RESV_NOTE_PREEMPTED, 2, 1);
	assert_int_equal(tbox_wait(&admin[0], cid, NULL, 0, NULL, 0).status, 0);
	note_is(0, NVME_RESV_NOTE_PREEMPTED, 3, 0);
	down(2);
}

static void test_the_mask_keeps_notifications_away(void **state)
{
	up(2);
	assert_int_equal(feature(0, NVME_ADM_SET_FEATURES, 1, NVME_FEAT_RESV_MASK,
				 NVME_RESV_MASK_RESPRE).status, 0);
	assert_int_equal(feature(0, NVME_ADM_GET_FEATURES, 1, NVME_FEAT_RESV_MASK, 0).dw0,
			 NVME_RESV_MASK_RESPRE);
	assert_int_equal(reg(0, 0, 0, 10), 0);
	assert_int_equal(reg(1, 0, 0, 11), 0);
	assert_int_equal(release(1, NVME_RRELA_CLEAR, 0, 11), 0);
	note_is(0, NVME_RESV_NOTE_NONE, 0, 0);
	assert_int_equal(feature(0, NVME_ADM_SET_FEATURES, 0xffffffff, NVME_FEAT_RESV_MASK,
				 0).status, 0);
	assert_int_equal(feature(0, NVME_ADM_GET_FEATURES, 1, NVME_FEAT_RESV_MASK, 0).dw0, 0);
	/* wrong ones */
	assert_int_equal(feature(0, NVME_ADM_SET_FEATURES, 2, NVME_FEAT_RESV_MASK, 0).status,
			 NVME_SC_INVALID_NS | DNR);
	assert_int_equal(feature(0, NVME_ADM_SET_FEATURES, 1, NVME_FEAT_RESV_MASK, 1).status,
			 NVME_SC_INVALID_FIELD | DNR);
	assert_int_equal(feature(0, NVME_ADM_GET_FEATURES, 0xffffffff, NVME_FEAT_RESV_MASK,
				 0).status, NVME_SC_INVALID_FIELD | DNR);
	assert_int_equal(feature(0, NVME_ADM_GET_FEATURES, 0, NVME_FEAT_RESV_MASK, 0).status,
			 NVME_SC_INVALID_NS | DNR);
	/* 255 are kept, the rest is counted */
	for (unsigned i = 0; i < 300; i++) {
		assert_int_equal(reg(0, 0, 0, 10), 0);
		assert_int_equal(reg(1, 0, 0, 11), 0);
		assert_int_equal(release(1, NVME_RRELA_CLEAR, 0, 11), 0);
	}
	note_is(0, NVME_RESV_NOTE_PREEMPTED, 1, 254);
	down(2);
}

/* ---- preempt and abort ---- */

static void test_preempt_and_abort_ends_what_is_at_the_disk(void **state)
{
	struct nvme_sqe w = tbox_rw(NVME_NVM_WRITE, 0, 1), p;
	le64 keys[2] = { le64_make(11), le64_make(10) };
	static uint8_t data[512];
	uint16_t a, b;

	up(2);
	assert_int_equal(reg(0, 0, 0, 10), 0);
	assert_int_equal(reg(1, 0, 0, 11), 0);
	assert_int_equal(acquire(0, NVME_RACQA_ACQUIRE, NVME_RTYPE_WRITE_EXCLUSIVE_REGISTRANTS, 10,
				 0), 0);
	tbox_disk->mode = FAKE_HELD;
	w.sgl.length = le32_make(512);
	w.sgl.id = 0x01;
	a = tbox_cmd(&io[0], &w, data, 512);
	loop_drain();
	assert_int_equal(tbox_disk->held_count, 1);
	p = tbox_sqe(NVME_NVM_RESV_ACQUIRE, 1, NVME_RACQA_PREEMPT_ABORT |
		     NVME_RTYPE_WRITE_EXCLUSIVE << NVME_RESV_RTYPE_SHIFT, 0);
	p.sgl.length = le32_make(16);
	p.sgl.id = 0x01;
	b = tbox_cmd(&io[1], &p, keys, 16);
	loop_drain();
	/* the disk was asked, and does not care: the command has to wait */
	assert_int_equal(tbox_disk->aborts, 1);
	assert_int_equal(tbox_wait(&io[1], b, NULL, 0, NULL, 0).status, 0xffff);
	tbox_disk->obeys = true;
	fake_release_one(tbox_disk, list_first_entry(&tbox_disk->held, struct io, link),
			 IO_ERR_ABORTED);
	assert_int_equal(tbox_wait(&io[0], a, NULL, 0, NULL, 0).status, NVME_SC_ABORTED_PREEMPT);
	loop_advance(2000);
	assert_int_equal(tbox_wait(&io[1], b, NULL, 0, NULL, 0).status, 0);
	tbox_disk->mode = FAKE_INSTANT;
	may(0, true, false);
	down(2);
}

/* ---- PTPL ---- */

static char *kept;

static int store_load(char **text)
{
	*text = kept ? strdup(kept) : NULL;
	return 0;
}

static int store_save(const char *text)
{
	free(kept);
	kept = strdup(text);
	return 0;
}

static const struct resv_store store = { store_load, store_save };

static void store_open(void *arg)
{
	assert_int_equal(resv_init(arg), 0);
}

static uint8_t rescap(void)
{
	struct nvme_sqe sqe = tbox_sqe(NVME_ADM_IDENTIFY, 1, NVME_CNS_NS, 0);
	struct nvme_id_ns id;

	assert_int_equal(tbox_run(&admin[0], &sqe, NULL, 0, false, page, 4096).status, 0);
	memcpy(&id, page, sizeof(id));
	return id.rescap;
}

static void test_persistence_needs_a_place(void **state)
{
	const uint32_t set = (uint32_t)NVME_CPTPL_SET << NVME_RESV_CPTPL_SHIFT;

	up(1);
	assert_int_equal(rescap(), NVME_RESCAP_TYPES | NVME_RESCAP_IEKEY);
	assert_int_equal(reg(0, set, 0, 10), NVME_SC_INVALID_FIELD | DNR);
	assert_int_equal(feature(0, NVME_ADM_SET_FEATURES, 1, NVME_FEAT_RESV_PERSIST, 1).status,
			 NVME_SC_INVALID_FIELD | DNR);
	resv_fini();
	loop_task(store_open, (void *)&store);
	assert_int_equal(rescap(), 0xff);
	assert_int_equal(reg(0, set, 0, 10), 0);
	assert_non_null(strstr(kept, "host 1 "));
	assert_int_equal(feature(0, NVME_ADM_GET_FEATURES, 1, NVME_FEAT_RESV_PERSIST, 0).dw0, 1);
	assert_int_equal(feature(0, NVME_ADM_SET_FEATURES, 1, NVME_FEAT_RESV_PERSIST, 0).status, 0);
	assert_null(strstr(kept, "host"));
	assert_int_equal(feature(0, NVME_ADM_SET_FEATURES, 0xffffffff, NVME_FEAT_RESV_PERSIST,
				 1).status, 0);
	assert_non_null(strstr(kept, "host 1 "));
	assert_int_equal(feature(0, NVME_ADM_SET_FEATURES, 3, NVME_FEAT_RESV_PERSIST, 1).status,
			 NVME_SC_INVALID_NS | DNR);
	assert_int_equal(feature(0, NVME_ADM_SET_FEATURES, 1, NVME_FEAT_RESV_PERSIST, 2).status,
			 NVME_SC_INVALID_FIELD | DNR);
	down(1);
	free(kept);
	kept = NULL;
}

/* ---- what is wrong ---- */

static void test_wrong_fields(void **state)
{
	static const struct {
		uint8_t opc;
		uint32_t nsid, cdw10, cdw11, len;
		uint16_t status;
	} rows[] = {
		{ NVME_NVM_RESV_REGISTER, 2, 0, 0, 16, NVME_SC_INVALID_NS },
		{ NVME_NVM_RESV_REGISTER, 0xffffffff, 0, 0, 16, NVME_SC_INVALID_NS },
		{ NVME_NVM_RESV_REGISTER, 1, 3, 0, 16, NVME_SC_INVALID_FIELD },
		{ NVME_NVM_RESV_REGISTER, 1, 1u << 30, 0, 16, NVME_SC_INVALID_FIELD },
		{ NVME_NVM_RESV_REGISTER, 1, 1 << 8, 0, 16, NVME_SC_INVALID_FIELD },
		{ NVME_NVM_RESV_REGISTER, 1, 0, 0, 15, NVME_SC_DATA_SGL_LENGTH },
		{ NVME_NVM_RESV_ACQUIRE, 1, 3, 0, 16, NVME_SC_INVALID_FIELD },
		{ NVME_NVM_RESV_ACQUIRE, 1, 1 << 16, 0, 16, NVME_SC_INVALID_FIELD },
		{ NVME_NVM_RESV_ACQUIRE, 1, 0, 0, 8, NVME_SC_DATA_SGL_LENGTH },
		{ NVME_NVM_RESV_RELEASE, 1, 2, 0, 8, NVME_SC_INVALID_FIELD },
		{ NVME_NVM_RESV_RELEASE, 1, 0, 0, 7, NVME_SC_DATA_SGL_LENGTH },
		{ NVME_NVM_RESV_REPORT, 2, 15, 1, 64, NVME_SC_INVALID_NS },
		{ NVME_NVM_RESV_REPORT, 1, 15, 3, 64, NVME_SC_INVALID_FIELD },
		{ NVME_NVM_RESV_REPORT, 1, 0xffffffff, 1, 64, NVME_SC_INVALID_FIELD },
		{ NVME_NVM_RESV_REPORT, 1, 0x3fffffff, 1, 64, NVME_SC_INVALID_FIELD },
		{ NVME_NVM_RESV_REPORT, 1, 16, 1, 64, NVME_SC_DATA_SGL_LENGTH },
	};

	up(1);
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		struct nvme_sqe sqe = tbox_sqe(rows[i].opc, rows[i].nsid, rows[i].cdw10,
					       rows[i].cdw11);

		assert_int_equal(tbox_run(&io[0], &sqe, page, rows[i].len, false, NULL, 0).status,
				 rows[i].status | DNR);
	}
	/* keys and types */
	assert_int_equal(reg(0, 0, 0, 0), NVME_SC_INVALID_FIELD | DNR);
	assert_int_equal(reg(0, NVME_RREGA_UNREGISTER, 10, 0), CONFLICT);
	assert_int_equal(reg(0, 0, 0, 10), 0);
	assert_int_equal(reg(0, 0, 0, 11), CONFLICT);
	assert_int_equal(reg(0, NVME_RREGA_REPLACE, 11, 12), CONFLICT);
	assert_int_equal(reg(0, NVME_RREGA_REPLACE | NVME_RESV_IEKEY, 11, 12), 0);
	assert_int_equal(acquire(0, NVME_RACQA_ACQUIRE, 0, 12, 0), NVME_SC_INVALID_FIELD | DNR);
	assert_int_equal(acquire(0, NVME_RACQA_ACQUIRE, 7, 12, 0), NVME_SC_INVALID_FIELD | DNR);
	assert_int_equal(acquire(0, NVME_RACQA_ACQUIRE, 1, 11, 0), CONFLICT);
	assert_int_equal(acquire(0, NVME_RACQA_PREEMPT, 1, 12, 99), CONFLICT);
	assert_int_equal(acquire(0, NVME_RACQA_ACQUIRE, 1, 12, 0), 0);
	assert_int_equal(release(0, NVME_RRELA_RELEASE, 2, 12), NVME_SC_INVALID_FIELD | DNR);
	assert_int_equal(release(0, NVME_RRELA_RELEASE, 1, 11), CONFLICT);
	down(1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		tbox_test(test_every_command_meets_every_type),
		tbox_test(test_fused_pairs_meet_them_too),
		tbox_test(test_a_report_says_who_is_registered),
		tbox_test(test_a_host_stays_registered_when_it_reconnects),
		tbox_test(test_preempted_hosts_are_told),
		tbox_test(test_the_mask_keeps_notifications_away),
		tbox_test(test_preempt_and_abort_ends_what_is_at_the_disk),
		tbox_test(test_persistence_needs_a_place),
		tbox_test(test_wrong_fields),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
