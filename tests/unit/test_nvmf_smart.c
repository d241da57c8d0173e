/* SPDX-License-Identifier: BSD-3-Clause */
/* The SMART / Health log page: traffic, what drives say of themselves, one namespace or all. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "core/spec/nvme_log.h"
#include "targets/nvmf/nvmf.h"
#include "tests/unit/nvmf_box.h"

static struct tbox_conn admin, io;
static struct fake_bdev *second;
static struct nvme_log_smart smart;

static void second_add(void *arg)
{
	struct bdev shape = {
		.name = "second", .block_bytes = 4096, .block_count = 16, .serial = "S2",
		.ops_supported = 1 << IO_READ | 1 << IO_WRITE,
	};
	uint32_t nsid = 7;

	second = fake_create(&shape, FAKE_INSTANT, 2);
	assert_int_equal(nvmf_ns_add(nvmf_subsystem_find(TBOX_NQN), "second", &nsid, NULL), 0);
}

static void second_remove(void *arg)
{
	assert_int_equal(nvmf_ns_remove(nvmf_subsystem_find(TBOX_NQN), 7), 0);
	fake_remove(second);
}

static void up(void)
{
	tbox_host(&admin, &io, 0);
	loop_task(second_add, NULL);
	tbox_disk->health_rc = second->health_rc = 0;
	tbox_disk->health = (struct bdev_health){
		.spare = 90, .spare_threshold = 5, .used = 3, .temperature_k = 310,
		.sensor_k = { 311, 0 }, .power_cycles = 4, .power_on_hours = 1000,
		.unsafe_shutdowns = 1, .media_errors = 2,
	};
	second->health = (struct bdev_health){
		.warnings = BDEV_WARN_RELIABILITY, .spare = 50, .spare_threshold = 20, .used = 101,
		.temperature_k = 300, .sensor_k = { 299, 305 }, .power_cycles = 9,
		.power_on_hours = 10, .unsafe_shutdowns = 2, .media_errors = 5,
	};
}

static void down(void)
{
	tbox_hangup(&io);
	tbox_hangup(&admin);
	loop_task(second_remove, NULL);
}

static uint16_t read_page(uint32_t nsid)
{
	uint32_t numd = sizeof(smart) / 4 - 1;
	struct nvme_sqe sqe = tbox_sqe(NVME_ADM_GET_LOG_PAGE, nsid, NVME_LID_SMART | numd << 16, 0);
	struct tbox_end end;
	uint16_t cid;

	sqe.sgl.length = le32_make(sizeof(smart));
	sqe.sgl.id = 0x5a;
	cid = tbox_cmd(&admin, &sqe, NULL, 0);
	loop_drain();
	/* the drives take their time */
	loop_advance(1000);
	loop_advance(1000);
	end = tbox_wait(&admin, cid, NULL, 0, &smart, sizeof(smart));
	return end.status;
}

static uint64_t number(const uint8_t field[16])
{
	le64 low;

	memcpy(&low, field, sizeof(low));
	return le64_get(low);
}

static void test_of_all_drives_the_worst_counts(void **state)
{
	up();
	assert_int_equal(read_page(0xffffffff), 0);
	assert_int_equal(smart.critical_warning, NVME_SMART_RELIABILITY);
	assert_int_equal(smart.available_spare, 50);
	assert_int_equal(smart.available_spare_threshold, 20);
	assert_int_equal(smart.percentage_used, 101);
	assert_int_equal(le16_un_get(smart.composite_temperature), 310);
	assert_int_equal(le16_get(smart.temperature_sensor[0]), 311);
	assert_int_equal(le16_get(smart.temperature_sensor[1]), 305);
	assert_int_equal(number(smart.power_cycles), 9);
	assert_int_equal(number(smart.power_on_hours), 1000);
	assert_int_equal(number(smart.unsafe_shutdowns), 3);
	assert_int_equal(number(smart.media_errors), 7);
	down();
}

static void test_of_one_namespace(void **state)
{
	static uint8_t data[4096];
	struct nvme_sqe w = tbox_rw(NVME_NVM_WRITE, 0, 1);

	up();
	w.nsid = le32_make(7);
	assert_int_equal(tbox_run(&io, &w, data, 4096, true, NULL, 0).status, 0);
	assert_int_equal(read_page(7), 0);
	assert_int_equal(smart.percentage_used, 101);
	assert_int_equal(number(smart.host_write_commands), 1);
	assert_int_equal(number(smart.data_units_written), 1);
	assert_int_equal(read_page(1), 0);
	assert_int_equal(smart.percentage_used, 3);
	assert_int_equal(smart.critical_warning, 0);
	assert_int_equal(number(smart.host_write_commands), 0);
	assert_int_equal(read_page(2), NVME_SC_INVALID_NS | NVME_STATUS_DNR);
	down();
}

static void test_a_drive_that_does_not_answer_is_left_out(void **state)
{
	up();
	second->health_rc = -ETIMEDOUT;
	assert_int_equal(read_page(0), 0);
	assert_int_equal(smart.percentage_used, 3);
	assert_int_equal(smart.available_spare, 90);
	down();
}

static void test_the_hosts_thresholds_warn(void **state)
{
	struct nvme_sqe sqe = tbox_sqe(NVME_ADM_SET_FEATURES, 0, NVME_FEAT_TEMPERATURE, 310);

	up();
	assert_int_equal(tbox_run(&admin, &sqe, NULL, 0, false, NULL, 0).status, 0);
	assert_int_equal(read_page(1), 0);
	assert_int_equal(smart.critical_warning, NVME_SMART_TEMPERATURE);
	sqe.cdw11 = le32_make(311);
	assert_int_equal(tbox_run(&admin, &sqe, NULL, 0, false, NULL, 0).status, 0);
	assert_int_equal(read_page(1), 0);
	assert_int_equal(smart.critical_warning, 0);
	down();
}

static uint16_t set_feature_begin(uint8_t fid, uint32_t cdw11)
{
	struct nvme_sqe sqe = tbox_sqe(NVME_ADM_SET_FEATURES, 0, fid, cdw11);
	uint16_t cid = tbox_cmd(&admin, &sqe, NULL, 0);

	loop_drain();
	/* the drives take their time */
	loop_advance(1000);
	loop_advance(1000);
	return cid;
}

static void set_feature(uint8_t fid, uint32_t cdw11)
{
	uint16_t cid = set_feature_begin(fid, cdw11);

	assert_int_equal(tbox_wait(&admin, cid, NULL, 0, NULL, 0).status, 0);
}

static uint16_t event_ask(void)
{
	struct nvme_sqe sqe = tbox_sqe(NVME_ADM_ASYNC_EVENT, 0, 0, 0);

	return tbox_cmd(&admin, &sqe, NULL, 0);
}

static uint32_t event_of(uint16_t cid)
{
	return tbox_wait(&admin, cid, NULL, 0, NULL, 0).dw0;
}

/* The event that setting a feature brings. */
static uint32_t feature_tells(uint8_t fid, uint32_t cdw11)
{
	uint16_t event = event_ask(), cid = set_feature_begin(fid, cdw11);
	uint32_t dw0 = event_of(event);

	assert_int_equal(tbox_wait(&admin, cid, NULL, 0, NULL, 0).status, 0);
	return dw0;
}

static void drive_warns(void *arg)
{
	struct bdev_health health = { .spare = 90, .temperature_k = 320 };

	bdev_health_tell(&tbox_disk->bdev, &health);
}

/* To those who want it, once until the page is read: when that changes, and by the drive. */
static void test_warnings_are_told(void **state)
{
	const uint32_t wanted = NVME_SMART_RELIABILITY | NVME_SMART_TEMPERATURE;
	const uint32_t reliability = 0x020001, temperature = 0x020101;
	struct tbox_pdu pdu;
	uint16_t cid;

	up();
	assert_int_equal(feature_tells(NVME_FEAT_AEC, wanted), reliability);
	assert_int_equal(feature_tells(NVME_FEAT_TEMPERATURE, 310), temperature);
	/* both were told */
	cid = event_ask();
	set_feature(NVME_FEAT_TEMPERATURE, 309);
	loop_task(drive_warns, NULL);
	assert_false(tbox_recv(&admin, &pdu));
	/* read, and over */
	set_feature(NVME_FEAT_TEMPERATURE, 315);
	assert_int_equal(read_page(0xffffffff), 0);
	assert_int_equal(smart.critical_warning, NVME_SMART_RELIABILITY);
	loop_task(drive_warns, NULL);
	assert_int_equal(event_of(cid), temperature);
	/* not wanted */
	assert_int_equal(read_page(0xffffffff), 0);
	set_feature(NVME_FEAT_AEC, 0);
	event_ask();
	loop_task(drive_warns, NULL);
	assert_false(tbox_recv(&admin, &pdu));
	down();
}

static void test_the_namespace_goes_while_its_drive_is_asked(void **state)
{
	struct nvme_sqe sqe = tbox_sqe(NVME_ADM_GET_LOG_PAGE, 7, NVME_LID_SMART | 127 << 16, 0);
	uint16_t cid;

	up();
	sqe.sgl.length = le32_make(sizeof(smart));
	sqe.sgl.id = 0x5a;
	cid = tbox_cmd(&admin, &sqe, NULL, 0);
	loop_drain();
	assert_int_equal(second->healths, 1);
	loop_task(second_remove, NULL);
	assert_int_equal(tbox_wait(&admin, cid, NULL, 0, &smart, sizeof(smart)).status, 0);
	assert_int_equal(smart.percentage_used, 101);
	tbox_hangup(&io);
	tbox_hangup(&admin);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		tbox_test(test_of_all_drives_the_worst_counts),
		tbox_test(test_of_one_namespace),
		tbox_test(test_a_drive_that_does_not_answer_is_left_out),
		tbox_test(test_the_hosts_thresholds_warn),
		tbox_test(test_warnings_are_told),
		tbox_test(test_the_namespace_goes_while_its_drive_is_asked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
