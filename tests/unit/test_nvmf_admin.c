/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Admin commands: Identify, features, log pages, events, keep alive, properties; and that what is
 * promised is what the command tables have.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/util.h"
#include "core/buf.h"
#include "core/config.h"
#include "core/spec/nvme_identify.h"
#include "core/spec/nvme_log.h"
#include "targets/nvmf/nvmf.h"
#include "tests/unit/nvmf_box.h"

#define DNR NVME_STATUS_DNR

static struct tbox_conn admin, io;
static uint8_t page[65536];

static uint16_t identify(uint32_t cns, uint32_t nsid, uint32_t cdw11)
{
	struct nvme_sqe sqe = tbox_sqe(NVME_ADM_IDENTIFY, nsid, cns, cdw11);
	struct tbox_end end = tbox_run(&admin, &sqe, NULL, 0, false, page, 4096);

	if (end.status == 0)
		assert_int_equal(end.got, 4096);
	return end.status;
}

static uint16_t get_log(uint8_t lid, uint32_t len, uint64_t offset, bool retain)
{
	uint32_t numd = len / 4 - 1;
	struct nvme_sqe sqe = tbox_sqe(NVME_ADM_GET_LOG_PAGE, 0,
				       lid | (retain ? NVME_LOG_RAE : 0) | numd << 16, numd >> 16);

	sqe.cdw12 = le32_make((uint32_t)offset);
	sqe.cdw13 = le32_make((uint32_t)(offset >> 32));
	return tbox_run(&admin, &sqe, NULL, 0, false, page, len).status;
}

static struct tbox_end feature(uint8_t opc, uint32_t cdw10, uint32_t cdw11)
{
	struct nvme_sqe sqe = tbox_sqe(opc, 0, cdw10, cdw11);

	return tbox_run(&admin, &sqe, NULL, 0, false, NULL, 0);
}

static void up(void)
{
	tbox_host(&admin, &io, 0);
}

static void down(void)
{
	tbox_hangup(&io);
	tbox_hangup(&admin);
}

static void test_identify_promises_what_the_tables_have(void **state)
{
	struct nvme_id_ctrl id;
	const struct nvme_log_effects *effects;

	up();
	assert_int_equal(identify(NVME_CNS_CTRL, 0, 0), 0);
	memcpy(&id, page, sizeof(id));
	assert_int_equal(le32_get(id.ver), NVME_VS_2_0_0);
	assert_string_equal(id.subnqn, TBOX_NQN);
	assert_int_equal(id.cntrltype, NVME_CNTRLTYPE_IO);
	assert_int_equal(1u << (12 + id.mdts), BUF_REQUEST_MAX);
	assert_int_equal(le32_get(id.ioccsz), (64 + config.nvmf_in_capsule_bytes) / 16);
	assert_memory_equal(id.mn, "Karst ", 6);
	assert_true(le16_get(id.oncs) & NVME_ONCS_COMPARE);
	assert_true(le16_get(id.oncs) & NVME_ONCS_DSM);
	assert_true(le16_get(id.oncs) & NVME_ONCS_WRITE_ZEROES);
	assert_true(le16_get(id.oncs) & NVME_ONCS_RESERVATIONS);
	assert_true(le16_get(id.oncs) & NVME_ONCS_VERIFY);
	assert_true(le16_get(id.oncs) & NVME_ONCS_COPY);
	assert_false(le16_get(id.oncs) & NVME_ONCS_WRITE_UNCORRECTABLE);
	assert_int_equal(le16_get(id.fuses), NVME_FUSES_COMPARE_WRITE);
	assert_int_equal(le16_get(id.cdfs), NVME_OCFS_FORMAT0);
	assert_int_equal(get_log(NVME_LID_EFFECTS, 4096, 0, false), 0);
	effects = (const void *)page;
	for (unsigned opc = 0; opc < 256; opc++) {
		assert_int_equal(le32_get(effects->acs[opc]) & NVME_EFFECT_CSUPP,
				 nvmf_admin_cmds[opc].exec != NULL);
		assert_int_equal(le32_get(effects->iocs[opc]) & NVME_EFFECT_CSUPP,
				 nvmf_nvm_cmds[opc].exec != NULL);
	}
	down();
}

/* base 2.0c 3.3.3: bits 1:0 of an opcode say where data goes; a parse may only take data away */
static void test_command_tables_are_well_formed(void **state)
{
	static const struct nvmf_cmd *const sets[] = {
		nvmf_admin_cmds, nvmf_discovery_cmds, nvmf_nvm_cmds,
	};

	for (unsigned s = 0; s < ARRAY_SIZE(sets); s++) {
		for (unsigned opc = 0; opc < 256; opc++) {
			const struct nvmf_cmd *cmd = &sets[s][opc];

			if (!cmd->exec) {
				assert_null(cmd->parse);
				continue;
			}
			assert_non_null(cmd->name);
			if (cmd->dir == NVMF_DIR_NONE || opc == NVME_ADM_FABRICS)
				continue;
			assert_int_equal(opc & 3, cmd->dir == NVMF_DIR_C2H ? 2 : 1);
			assert_non_null(cmd->parse);
		}
	}
}

static void test_identify_namespaces(void **state)
{
	struct nvme_id_ns ns;
	const le32 *list = (const void *)page;

	up();
	assert_int_equal(identify(NVME_CNS_NS, 1, 0), 0);
	memcpy(&ns, page, sizeof(ns));
	assert_int_equal(le64_get(ns.nsze), TBOX_BLOCKS);
	assert_int_equal(ns.lbaf[0].lbads, 9);
	assert_int_equal(ns.nmic, NVME_NMIC_SHARED);
	assert_int_equal(ns.dlfeat & NVME_DLFEAT_MASK, NVME_DLFEAT_ZEROES);
	assert_int_equal(identify(NVME_CNS_NS, 2, 0), 0);
	memset(&ns, 0, sizeof(ns));
	assert_memory_equal(page, &ns, sizeof(ns));
	assert_int_equal(identify(NVME_CNS_NS, 0, 0), NVME_SC_INVALID_NS | DNR);
	assert_int_equal(identify(NVME_CNS_NS, 0xffffffff, 0), NVME_SC_INVALID_NS | DNR);
	assert_int_equal(identify(NVME_CNS_NS_LIST, 0, 0), 0);
	assert_int_equal(le32_get(list[0]), 1);
	assert_int_equal(le32_get(list[1]), 0);
	assert_int_equal(identify(NVME_CNS_NS_LIST, 1, 0), 0);
	assert_int_equal(le32_get(list[0]), 0);
	assert_int_equal(identify(NVME_CNS_NS_LIST, 0xfffffffe, 0), NVME_SC_INVALID_NS | DNR);
	assert_int_equal(identify(NVME_CNS_NS_DESCS, 1, 0), 0);
	assert_int_equal(page[0], NVME_NIDT_UUID);
	assert_int_equal(page[1], 16);
	assert_int_equal(page[20], NVME_NIDT_CSI);
	assert_int_equal(identify(NVME_CNS_NS_DESCS, 2, 0), NVME_SC_INVALID_NS | DNR);
	assert_int_equal(identify(NVME_CNS_IOCS_CTRL, 0, NVME_CSI_NVM << 24), 0);
	assert_int_equal(identify(NVME_CNS_IOCS_CTRL, 0, NVME_CSI_ZNS << 24),
			 NVME_SC_INVALID_FIELD | DNR);
	assert_int_equal(identify(NVME_CNS_NS_INDEPENDENT, 1, 0), 0);
	assert_int_equal(page[14], 1);
	/* command sets: NVM alone; of this controller, or of whichever answers */
	assert_int_equal(identify(NVME_CNS_IOCS | 0xffffu << NVME_IDENTIFY_CNTID_SHIFT, 0, 0), 0);
	assert_int_equal(page[0], 1);
	for (unsigned i = 1; i < 4096; i++)
		assert_int_equal(page[i], 0);
	assert_int_equal(identify(NVME_CNS_IOCS | 1u << NVME_IDENTIFY_CNTID_SHIFT, 0, 0), 0);
	assert_int_equal(identify(NVME_CNS_IOCS, 0, 0), 0);
	assert_int_equal(identify(NVME_CNS_IOCS | 77u << NVME_IDENTIFY_CNTID_SHIFT, 0, 0),
			 NVME_SC_INVALID_FIELD | DNR);
	assert_int_equal(identify(0x55, 0, 0), NVME_SC_INVALID_FIELD | DNR);
	assert_int_equal(identify(0xff, 0, 0), NVME_SC_INVALID_FIELD | DNR);
	down();
}

static void test_features(void **state)
{
	static const uint8_t fids[] = { NVME_FEAT_ARBITRATION, NVME_FEAT_TEMPERATURE,
					NVME_FEAT_ERROR_RECOVERY, NVME_FEAT_WRITE_ATOMICITY };
	static const uint8_t unknown[] = { 0x00, NVME_FEAT_INT_COALESCING, NVME_FEAT_APST, 0xff };

	up();
	/* thresholds nobody has set are their defaults: over, and under */
	for (unsigned sel = 0; sel < 3; sel++) {
		uint32_t cdw10 = NVME_FEAT_TEMPERATURE | sel << 8;

		assert_int_equal(feature(NVME_ADM_GET_FEATURES, cdw10, 0).dw0, 0xffff);
		assert_int_equal(feature(NVME_ADM_GET_FEATURES, cdw10, 1 << 20).dw0, 0);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(fids); i++) {
		assert_int_equal(feature(NVME_ADM_SET_FEATURES, fids[i], 1).status, 0);
		assert_int_equal(feature(NVME_ADM_GET_FEATURES, fids[i], 0).dw0, 1);
		assert_int_equal(feature(NVME_ADM_GET_FEATURES, fids[i] | 3 << 8, 0).dw0,
				 fids[i] == NVME_FEAT_ERROR_RECOVERY ? 6 : 4);
		assert_int_equal(feature(NVME_ADM_SET_FEATURES, fids[i] | 1u << 31, 1).status,
				 NVME_SC_FEATURE_NOT_SAVEABLE | DNR);
		assert_int_equal(feature(NVME_ADM_GET_FEATURES, fids[i] | 4 << 8, 0).status,
				 NVME_SC_INVALID_FIELD | DNR);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(unknown); i++) {
		assert_int_equal(feature(NVME_ADM_SET_FEATURES, unknown[i], 0).status,
				 NVME_SC_INVALID_FIELD | DNR);
		assert_int_equal(feature(NVME_ADM_GET_FEATURES, unknown[i], 0).status,
				 NVME_SC_INVALID_FIELD | DNR);
	}
	assert_int_equal(feature(NVME_ADM_SET_FEATURES, NVME_FEAT_QUEUES, 0).status,
			 NVME_SC_SEQUENCE_ERROR | DNR);
	tbox_hangup(&io);
	loop_drain();
	assert_int_equal(feature(NVME_ADM_SET_FEATURES, NVME_FEAT_QUEUES, 0xffff).status,
			 NVME_SC_INVALID_FIELD | DNR);
	assert_int_equal(feature(NVME_ADM_SET_FEATURES, NVME_FEAT_QUEUES, 3 << 16 | 7).dw0,
			 3 << 16 | 3);
	assert_int_equal(feature(NVME_ADM_SET_FEATURES, NVME_FEAT_QUEUES, 0xfffefffe).dw0,
			 (config.nvmf_queues_max - 1) * 0x10001);
	tbox_hangup(&admin);
}

static void test_features_with_data(void **state)
{
	struct nvme_sqe set = tbox_sqe(NVME_ADM_SET_FEATURES, 0, NVME_FEAT_HOST_BEHAVIOR, 0);
	struct nvme_sqe get = tbox_sqe(NVME_ADM_GET_FEATURES, 0, NVME_FEAT_HOST_BEHAVIOR, 0);
	struct nvme_sqe id = tbox_sqe(NVME_ADM_GET_FEATURES, 0, NVME_FEAT_HOSTID,
				      NVME_FEAT_HOSTID_EXHID);
	uint8_t behavior[512] = { 1, 2, 3 };

	up();
	assert_int_equal(tbox_run(&admin, &set, behavior, 512, true, NULL, 0).status, 0);
	assert_int_equal(tbox_run(&admin, &get, NULL, 0, false, page, 512).status, 0);
	assert_memory_equal(page, behavior, 512);
	assert_int_equal(tbox_run(&admin, &id, NULL, 0, false, page, 16).status, 0);
	assert_int_equal(page[0], 1);
	assert_int_equal(page[2], 3);
	id.cdw11 = le32_make(0);
	assert_int_equal(tbox_run(&admin, &id, NULL, 0, false, page, 16).status,
			 NVME_SC_INVALID_FIELD | DNR);
	down();
}

static void ns_remove(void *arg)
{
	*(int *)arg = nvmf_ns_remove(nvmf_subsystem_find(TBOX_NQN), 1);
}

static void ns_add(void *arg)
{
	uint32_t nsid = 5;

	*(int *)arg = nvmf_ns_add(nvmf_subsystem_find(TBOX_NQN), "box", &nsid, NULL);
}

static void test_namespace_changes_are_told_once_until_read(void **state)
{
	struct nvme_sqe aer = tbox_sqe(NVME_ADM_ASYNC_EVENT, 0, 0, 0);
	uint16_t first, second;
	struct tbox_pdu pdu;
	int rc = 1;

	up();
	assert_int_equal(feature(NVME_ADM_SET_FEATURES, NVME_FEAT_AEC,
				 NVME_OAES_NS_CHANGED).status, 0);
	first = tbox_cmd(&admin, &aer, NULL, 0);
	second = tbox_cmd(&admin, &aer, NULL, 0);
	loop_task(ns_remove, &rc);
	assert_int_equal(rc, 0);
	loop_task(ns_add, &rc);
	assert_int_equal(rc, 0);
	assert_int_equal(tbox_wait(&admin, second, NULL, 0, NULL, 0).dw0, 0x040002);
	assert_false(tbox_recv(&admin, &pdu));
	/* retained: still masked */
	get_log(NVME_LID_CHANGED_NS, 4096, 0, true);
	assert_int_equal(page[0], 1);
	assert_int_equal(page[4], 5);
	assert_int_equal(get_log(NVME_LID_CHANGED_NS, 4096, 0, false), 0);
	assert_int_equal(page[0], 1);
	assert_int_equal(get_log(NVME_LID_CHANGED_NS, 4096, 0, false), 0);
	assert_int_equal(page[0], 0);
	nvmf_event_ns_changed(nvmf_subsystem_find(TBOX_NQN), 5);
	assert_int_equal(tbox_wait(&admin, first, NULL, 0, NULL, 0).dw0, 0x040002);
	down();
}

static void space_runs_out(void *arg)
{
	bdev_space_set(&tbox_disk->bdev, *(bool *)arg);
}

static void test_a_pool_that_fills_up_is_told_and_in_the_health_log(void **state)
{
	struct nvme_sqe aer = tbox_sqe(NVME_ADM_ASYNC_EVENT, 0, 0, 0);
	bool low = true, enough = false;
	struct tbox_pdu pdu;
	uint16_t first;

	up();
	assert_int_equal(feature(NVME_ADM_SET_FEATURES, NVME_FEAT_AEC, NVME_SMART_SPARE).status,
			 0);
	first = tbox_cmd(&admin, &aer, NULL, 0);
	assert_int_equal(get_log(NVME_LID_SMART, 512, 0, false), 0);
	assert_int_equal(page[0], 0);
	assert_true(page[3] > page[4]);
	loop_task(space_runs_out, &low);
	assert_int_equal(tbox_wait(&admin, first, NULL, 0, NULL, 0).dw0, 0x020201);
	assert_int_equal(get_log(NVME_LID_SMART, 512, 0, false), 0);
	assert_int_equal(page[0], NVME_SMART_SPARE);
	assert_true(page[3] < page[4]);
	tbox_cmd(&admin, &aer, NULL, 0);
	loop_task(space_runs_out, &enough);
	assert_false(tbox_recv(&admin, &pdu));
	assert_int_equal(get_log(NVME_LID_SMART, 512, 0, false), 0);
	assert_int_equal(page[0], 0);
	down();
}

static void test_event_requests_have_a_limit_and_can_be_aborted(void **state)
{
	struct nvme_sqe aer = tbox_sqe(NVME_ADM_ASYNC_EVENT, 0, 0, 0), abort;
	uint16_t cid[NVMF_AER_MAX];
	struct tbox_pdu pdu;

	up();
	for (unsigned i = 0; i < NVMF_AER_MAX; i++)
		cid[i] = tbox_cmd(&admin, &aer, NULL, 0);
	assert_int_equal(tbox_run(&admin, &aer, NULL, 0, false, NULL, 0).status,
			 NVME_SC_AER_LIMIT | DNR);
	abort = tbox_sqe(NVME_ADM_ABORT, 0, (uint32_t)cid[2] << 16, 0);
	tbox_cmd(&admin, &abort, NULL, 0);
	tbox_expect(&admin, NVME_TCP_RSP, &pdu);
	assert_int_equal(le16_get(pdu.rsp.cqe.cid), cid[2]);
	assert_int_equal(nvme_cqe_status(&pdu.rsp.cqe), NVME_SC_ABORT_REQUESTED);
	tbox_expect(&admin, NVME_TCP_RSP, &pdu);
	assert_int_equal(le32_get(pdu.rsp.cqe.dw0), 0);
	assert_int_equal(tbox_run(&admin, &abort, NULL, 0, false, NULL, 0).dw0, 1);
	down();
}

static void seconds(unsigned ms)
{
	for (unsigned i = 0; i < ms / 50; i++)
		loop_advance(50 * 1000);
}

static void test_keep_alive(void **state)
{
	struct nvme_sqe alive = tbox_sqe(NVME_ADM_KEEP_ALIVE, 0, 0, 0);
	struct nvme_sqe flush = tbox_sqe(NVME_NVM_FLUSH, 1, 0, 0);

	tbox_host(&admin, &io, 1000);
	for (unsigned i = 0; i < 5; i++) {
		seconds(900);
		assert_int_equal(tbox_run(&admin, &alive, NULL, 0, false, NULL, 0).status, 0);
	}
	/* any command counts */
	for (unsigned i = 0; i < 5; i++) {
		seconds(900);
		assert_int_equal(tbox_run(&io, &flush, NULL, 0, false, NULL, 0).status, 0);
	}
	seconds(900);
	assert_int_equal(nvmf_target.ctrl_count, 1);
	seconds(600);
	assert_int_equal(nvmf_target.ctrl_count, 0);
	tbox_expect_end(&admin, 0, 0);
	tbox_expect_end(&io, 0, 0);
	down();
}

static void test_keep_alive_timeout_is_rounded_and_can_be_changed(void **state)
{
	up();
	assert_int_equal(feature(NVME_ADM_GET_FEATURES, NVME_FEAT_KATO, 0).dw0, 0);
	seconds(60000);
	assert_int_equal(feature(NVME_ADM_SET_FEATURES, NVME_FEAT_KATO, 250).status, 0);
	assert_int_equal(feature(NVME_ADM_GET_FEATURES, NVME_FEAT_KATO, 0).dw0, 300);
	seconds(250);
	assert_int_equal(nvmf_target.ctrl_count, 1);
	seconds(350);
	assert_int_equal(nvmf_target.ctrl_count, 0);
	down();
}

static void test_properties_and_commands_before_enable(void **state)
{
	struct nvme_sqe sqe = tbox_sqe(NVME_ADM_IDENTIFY, 0, NVME_CNS_CTRL, 0);
	uint64_t cap;

	tbox_dial(&admin);
	tbox_ic(&admin, false, false);
	assert_int_equal(tbox_connect(&admin, TBOX_NQN, 0, 31, 0xffff, 0).status, 0);
	cap = tbox_property_get(&admin, NVME_REG_CAP, true);
	assert_int_equal(nvme_cap_mqes(cap), config.nvmf_queue_depth_max - 1);
	assert_int_equal(nvme_cap_css(cap), NVME_CAP_CSS_NVM | NVME_CAP_CSS_CSI);
	assert_int_equal(tbox_property_get(&admin, NVME_REG_VS, false), NVME_VS_2_0_0);
	assert_int_equal(tbox_property_get(&admin, NVME_REG_CSTS, false), 0);
	assert_int_equal(tbox_run(&admin, &sqe, NULL, 0, false, page, 4096).status,
			 NVME_SC_SEQUENCE_ERROR | DNR);
	/* a type of Fabrics command that there is not */
	sqe = tbox_sqe(NVME_ADM_FABRICS, NVMF_AUTH_SEND, 0, 0);
	assert_int_equal(tbox_run(&admin, &sqe, NULL, 0, false, NULL, 0).status,
			 NVME_SC_INVALID_FIELD | DNR);
	sqe = tbox_sqe(NVME_ADM_IDENTIFY, 0, NVME_CNS_CTRL, 0);
	/* wrong entry sizes */
	assert_int_equal(tbox_property_set(&admin, NVME_REG_CC, NVME_CC_EN), 0);
	assert_int_equal(tbox_property_get(&admin, NVME_REG_CSTS, false), NVME_CSTS_CFS);
	assert_int_equal(tbox_property_set(&admin, NVME_REG_CC, 0), 0);
	tbox_enable(&admin);
	assert_int_equal(tbox_run(&admin, &sqe, NULL, 0, false, page, 4096).status, 0);
	assert_int_equal(tbox_property_set(&admin, NVME_REG_CSTS, 0),
			 NVME_SC_INVALID_FIELD | DNR);
	tbox_hangup(&admin);
}

static void test_unknown_admin_commands(void **state)
{
	up();
	for (unsigned opc = 0; opc < 256; opc++) {
		struct nvme_sqe sqe = tbox_sqe((uint8_t)opc, 0, 0, 0);

		if (nvmf_admin_cmds[opc].exec)
			continue;
		assert_int_equal(tbox_run(&admin, &sqe, NULL, 0, false, page, 4096).status,
				 NVME_SC_INVALID_OPCODE | DNR);
	}
	down();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		tbox_test(test_identify_promises_what_the_tables_have),
		cmocka_unit_test(test_command_tables_are_well_formed),
		tbox_test(test_identify_namespaces),
		tbox_test(test_features),
		tbox_test(test_features_with_data),
		tbox_test(test_namespace_changes_are_told_once_until_read),
		tbox_test(test_a_pool_that_fills_up_is_told_and_in_the_health_log),
		tbox_test(test_event_requests_have_a_limit_and_can_be_aborted),
		tbox_test(test_keep_alive),
		tbox_test(test_keep_alive_timeout_is_rounded_and_can_be_changed),
		tbox_test(test_properties_and_commands_before_enable),
		tbox_test(test_unknown_admin_commands),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
