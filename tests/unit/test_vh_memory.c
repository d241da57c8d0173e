/* SPDX-License-Identifier: BSD-3-Clause */
/* Guest memory: tables of regions, addresses, and files that are cut while they are used. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/panic.h"
#include "targets/vhost/vhost.h"
#include "tests/unit/loop.h"

enum { PAGE = 4096 };

static struct vh_session *session;
static unsigned cuts;

static void cut(void)
{
	cuts++;
}

static int setup(void **state)
{
	loop_setup(NULL);
	session = calloc(1, sizeof(*session));
	cuts = 0;
	return vh_fault_init(cut);
}

static int teardown(void **state)
{
	assert_int_equal(vh_fault_watched(), 0);
	assert_int_equal(session->mapped, 0);
	vh_fault_fini();
	free(session);
	return loop_teardown(NULL);
}

#define memory_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static int file_of(off_t bytes)
{
	int fd = memfd_create("guest", MFD_CLOEXEC);

	assert_true(fd >= 0 && ftruncate(fd, bytes) == 0);
	return fd;
}

static struct vhost_user_region wire(uint64_t guest, uint64_t size, uint64_t user, uint64_t offset)
{
	return (struct vhost_user_region){ le64_make(guest), le64_make(size), le64_make(user),
					   le64_make(offset) };
}

/* ---- tables ---- */

static void test_a_region_lies_in_its_file_and_wraps_nowhere(void **state)
{
	static const struct {
		uint64_t guest, size, user, offset;
		int rc;
	} cases[] = {
		{ 0, 4 * PAGE, 0, 0, 0 },
		{ 0, 1, 0, 4 * PAGE - 1, 0 },
		{ PAGE, PAGE, PAGE, PAGE, 0 },
		{ UINT64_MAX - PAGE, PAGE, 0, 0, 0 },
		{ 0, 0, 0, 0, -EINVAL },
		{ 0, 4 * PAGE + 1, 0, 0, -EINVAL },
		{ 0, PAGE, 0, 3 * PAGE + 1, -EINVAL },
		{ 0, PAGE, 0, UINT64_MAX - 100, -EINVAL },
		{ UINT64_MAX - PAGE + 1, PAGE, 0, 0, -EINVAL },
		{ 0, PAGE, UINT64_MAX - PAGE + 1, 0, -EINVAL },
		{ 0, UINT64_MAX, 0, 1, -EINVAL },
	};
	int fd = file_of(4 * PAGE);

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct vhost_user_region region = wire(cases[i].guest, cases[i].size,
						       cases[i].user, cases[i].offset);
		struct vh_memory *memory = NULL;

		assert_int_equal(vh_memory_create(NULL, &region, &fd, 1, session, &memory),
				 cases[i].rc);
		vh_memory_free(memory);
	}
	close(fd);
}

static void test_what_is_no_memory_is_not_mapped(void **state)
{
	struct vhost_user_region region = wire(0, PAGE, 0, 0);
	struct vh_memory *memory = NULL;
	int pipes[2];

	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(vh_memory_create(NULL, &region, pipes, 1, session, &memory), -EINVAL);
	close(pipes[0]);
	close(pipes[1]);
	/* a descriptor that was closed meanwhile */
	assert_true(vh_memory_create(NULL, &region, pipes, 1, session, &memory) < 0);
}

static void test_regions_never_overlap_in_the_guest(void **state)
{
	static const uint64_t bad[] = { 0x10000, 0x10fff, 0xf001, 0x11fff };
	struct vhost_user_region regions[2] = { wire(0x10000, 2 * PAGE, 0, 0) };
	int fd = file_of(2 * PAGE), fds[2] = { fd, fd };
	struct vh_memory *memory;

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		regions[1] = wire(bad[i], PAGE, 0x100000, 0);
		assert_int_equal(vh_memory_create(NULL, regions, fds, 2, session, &memory),
				 -EINVAL);
	}
	regions[1] = wire(0x12000, PAGE, 0x100000, 0);
	assert_int_equal(vh_memory_create(NULL, regions, fds, 2, session, &memory), 0);
	vh_memory_free(memory);
	close(fd);
}

static void test_address_space_of_a_session_is_bounded(void **state)
{
	uint64_t third = VH_MAPPED_MAX / 8 * 3;
	int fd = file_of((off_t)third), fds[3] = { fd, fd, fd };
	struct vhost_user_region regions[3] = {
		wire(0, third, 0, 0), wire(third, third, third, 0), wire(2 * third, third, 0, 0),
	};
	struct vh_memory *memory;

	assert_int_equal(vh_memory_create(NULL, regions, fds, 3, session, &memory), -E2BIG);
	assert_int_equal(session->mapped, 0);
	assert_int_equal(vh_memory_create(NULL, regions, fds, 2, session, &memory), 0);
	vh_memory_free(memory);
	close(fd);
}

static void test_as_many_regions_as_are_offered_and_no_more(void **state)
{
	int fd = file_of(PAGE);
	struct vh_memory *memory = NULL;

	for (unsigned i = 0; i <= VH_REGIONS_MAX; i++) {
		struct vhost_user_region region = wire(i * PAGE, PAGE, i * PAGE, 0);
		struct vh_memory *next = NULL;
		int rc = vh_memory_change(memory, &region, fd, session, &next);

		assert_int_equal(rc, i < VH_REGIONS_MAX ? 0 : -ENOSPC);
		if (rc)
			break;
		vh_memory_free(memory);
		memory = next;
	}
	assert_int_equal(memory->count, VH_REGIONS_MAX);
	assert_int_equal(vh_fault_watched(), VH_REGIONS_MAX);
	vh_memory_free(memory);
	close(fd);
}

static void test_regions_that_stay_are_not_mapped_again(void **state)
{
	int fd = file_of(2 * PAGE), other = file_of(2 * PAGE), fds[2] = { fd, other };
	struct vhost_user_region regions[2] = { wire(0, PAGE, 0, 0), wire(PAGE, PAGE, PAGE, PAGE) };
	struct vh_memory *memory, *next;
	char *host;

	assert_int_equal(vh_memory_create(NULL, regions, fds, 1, session, &memory), 0);
	host = memory->region[0]->host;
	assert_int_equal(vh_memory_create(memory, regions, fds, 2, session, &next), 0);
	vh_memory_free(memory);
	assert_ptr_equal(next->region[0]->host, host);
	memory = next;
	/* the same addresses in another file are other memory */
	fds[0] = other;
	assert_int_equal(vh_memory_create(memory, regions, fds, 1, session, &next), 0);
	assert_ptr_not_equal(next->region[0]->host, host);
	vh_memory_free(memory);
	/* what is not there is not removed */
	assert_int_equal(vh_memory_change(next, &regions[1], -1, session, &memory), -ENOENT);
	assert_int_equal(vh_memory_change(next, &regions[0], -1, session, &memory), 0);
	assert_int_equal(memory->count, 0);
	vh_memory_free(next);
	vh_memory_free(memory);
	close(fd);
	close(other);
}

/* ---- addresses ---- */

static void test_addresses_are_followed_from_region_to_region(void **state)
{
	int fd = file_of(4 * PAGE), fds[3] = { fd, fd, fd };
	/* neighbours that are not so in the file, and a hole */
	struct vhost_user_region regions[3] = {
		wire(PAGE, PAGE, 0x30000, 2 * PAGE), wire(0, PAGE, 0x10000, 0),
		wire(4 * PAGE, PAGE, 0x20000, PAGE),
	};
	struct vh_memory *memory;
	struct iovec iov[4];
	uint64_t guest;

	assert_int_equal(vh_memory_create(NULL, regions, fds, 3, session, &memory), 0);
	assert_int_equal(vh_memory_translate(memory, 0, 2 * PAGE, iov, 4), 2);
	assert_int_equal(iov[0].iov_len + iov[1].iov_len, 2 * PAGE);
	assert_ptr_equal(iov[1].iov_base, memory->region[1]->host);
	assert_int_equal(vh_memory_translate(memory, PAGE - 1, 2, iov, 4), 2);
	assert_int_equal(iov[0].iov_len, 1);
	/* no room, a hole, the end, nothing, all there is */
	assert_int_equal(vh_memory_translate(memory, PAGE - 1, 2, iov, 1), 0);
	assert_int_equal(vh_memory_translate(memory, 2 * PAGE - 1, 2, iov, 4), 0);
	assert_int_equal(vh_memory_translate(memory, 5 * PAGE - 1, 2, iov, 4), 0);
	assert_int_equal(vh_memory_translate(memory, 5 * PAGE, 1, iov, 4), 0);
	assert_int_equal(vh_memory_translate(memory, 0, 0, iov, 4), 0);
	assert_int_equal(vh_memory_translate(memory, 0, UINT32_MAX, iov, 4), 0);
	assert_int_equal(vh_memory_translate(memory, UINT64_MAX, 1, iov, 4), 0);
	/* a ring lies in one region */
	assert_non_null(vh_memory_guest(memory, 0, PAGE));
	assert_null(vh_memory_guest(memory, 1, PAGE));
	assert_null(vh_memory_guest(memory, 0, UINT64_MAX));
	assert_null(vh_memory_guest(memory, 2 * PAGE, 1));
	assert_ptr_equal(vh_memory_user(memory, 0x30010, PAGE - 0x10, &guest),
			 memory->region[1]->host + 0x10);
	assert_int_equal(guest, PAGE + 0x10);
	assert_null(vh_memory_user(memory, 0x30010, PAGE, &guest));
	assert_null(vh_memory_user(memory, 0x30010, UINT64_MAX, &guest));
	assert_null(vh_memory_user(memory, UINT64_MAX, 2, &guest));
	vh_memory_free(memory);
	close(fd);
}

static void test_memory_that_wraps_to_its_beginning_is_none(void **state)
{
	int fd = file_of(2 * PAGE), fds[2] = { fd, fd };
	struct vhost_user_region regions[2] = {
		wire(0, PAGE, 0, 0), wire(UINT64_MAX - PAGE, PAGE, PAGE, PAGE),
	};
	struct vh_memory *memory;
	struct iovec iov[4];

	assert_int_equal(vh_memory_create(NULL, regions, fds, 2, session, &memory), 0);
	assert_int_equal(vh_memory_translate(memory, UINT64_MAX - 2, 2, iov, 4), 1);
	assert_int_equal(vh_memory_translate(memory, UINT64_MAX - 2, 3, iov, 4), 0);
	vh_memory_free(memory);
	close(fd);
}

/* ---- the dirty log ---- */

static void test_the_log_marks_pages_and_ends_where_it_ends(void **state)
{
	struct vhost_user_log base = { le64_make(2), le64_make(10) };
	int fd = file_of(PAGE), same = file_of(5);
	uint8_t *bits = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	assert_int_equal(vh_log_set(session, &base, same), -EINVAL);
	assert_int_equal(vh_log_set(session, &base, fd), 0);
	vh_log_guest(&session->log, 3 * PAGE + 5, 1);
	vh_log_guest(&session->log, 8 * PAGE - 1, 2);
	vh_log_guest(&session->log, 5 * PAGE, 0);
	vh_log_guest(&session->log, 15 * PAGE, 100 * PAGE);
	vh_log_guest(&session->log, 1ull << 60, PAGE);
	assert_int_equal(bits[10], 1 << 3 | 1 << 7);
	assert_int_equal(bits[11], 1 << 0 | 1 << 7);
	assert_int_equal(bits[9] | bits[12], 0);
	vh_log_clear(&session->log);
	munmap(bits, PAGE);
	close(fd);
	close(same);
}

/* ---- files that are cut: each test takes SIGBUS from cmocka, which takes it back ---- */

static void test_memory_that_was_cut_reads_as_zeroes_and_marks_its_session(void **state)
{
	struct vh_session *other = calloc(1, sizeof(*other));
	struct vh_map map, whole;
	int fd = file_of(8 * PAGE), second = file_of(PAGE);
	volatile char *at;

	panic_init();
	assert_int_equal(vh_map_open(&map, session, fd, PAGE + 5, 6 * PAGE), 0);
	assert_int_equal(vh_map_open(&whole, other, second, 0, PAGE), 0);
	at = map.at;
	at[0] = 'x';
	assert_int_equal(ftruncate(fd, 2 * PAGE), 0);
	assert_int_equal(at[5 * PAGE], 0);
	assert_true(atomic_load(&session->cut));
	/* it is memory now, wherever it is touched and however often */
	for (unsigned i = 0; i < 6 * PAGE; i++)
		at[i] = (char)i;
	assert_int_equal(at[7], 7);
	((volatile char *)whole.at)[0] = 1;
	assert_false(atomic_load(&other->cut));
	loop_drain();
	assert_true(cuts >= 1);
	vh_map_close(&map);
	vh_map_close(&whole);
	free(other);
	close(fd);
	close(second);
}

static void test_a_log_that_was_cut_is_no_end_of_the_process(void **state)
{
	struct vhost_user_log base = { le64_make(PAGE), le64_make(0) };
	int fd = file_of(PAGE);

	panic_init();
	assert_int_equal(vh_log_set(session, &base, fd), 0);
	assert_int_equal(ftruncate(fd, 0), 0);
	vh_log_guest(&session->log, 0, PAGE);
	assert_true(atomic_load(&session->cut));
	vh_log_clear(&session->log);
	close(fd);
}

/* A page of which there are none left faults as one that was cut. */
static void test_huge_pages_that_are_not_there_end_the_session_only(void **state)
{
	enum { HUGE_BYTES = 2 << 20 };
	int fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB);
	volatile char *at;
	int slot;

	panic_init();
	assert_return_code(fd, errno);
	assert_int_equal(ftruncate(fd, 2 * HUGE_BYTES), 0);
	at = mmap(NULL, 2 * HUGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	assert_ptr_not_equal(at, MAP_FAILED);
	assert_int_equal(ftruncate(fd, 0), 0);
	slot = vh_fault_watch((void *)at, 2 * HUGE_BYTES, &session->cut);
	at[HUGE_BYTES + 12345] = 1;
	assert_true(atomic_load(&session->cut));
	assert_int_equal(at[HUGE_BYTES + 12345], 1);
	vh_fault_unwatch(slot);
	munmap((void *)at, 2 * HUGE_BYTES);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		memory_test(test_a_region_lies_in_its_file_and_wraps_nowhere),
		memory_test(test_what_is_no_memory_is_not_mapped),
		memory_test(test_regions_never_overlap_in_the_guest),
		memory_test(test_address_space_of_a_session_is_bounded),
		memory_test(test_as_many_regions_as_are_offered_and_no_more),
		memory_test(test_regions_that_stay_are_not_mapped_again),
		memory_test(test_addresses_are_followed_from_region_to_region),
		memory_test(test_memory_that_wraps_to_its_beginning_is_none),
		memory_test(test_the_log_marks_pages_and_ends_where_it_ends),
		memory_test(test_memory_that_was_cut_reads_as_zeroes_and_marks_its_session),
		memory_test(test_a_log_that_was_cut_is_no_end_of_the_process),
		memory_test(test_huge_pages_that_are_not_there_end_the_session_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
