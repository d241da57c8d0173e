/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/util.h"
#include "drivers/nvme/nvme.h"
#include "tests/unit/fake_nvme.h"

enum { PAGE = 4096, LIST_MAX = 8, ARENA = 64 * PAGE };

static uint8_t *arena;
static le64 *list;

/* Whether the walker finds exactly the bytes of IOV, in order. */
static void assert_same(const struct iovec *iov, unsigned count, const struct nvme_sqe *sqe)
{
	struct fake_segment seg[FAKE_SEGMENTS];
	size_t len = 0, at = 0;
	int n, s = 0;

	for (unsigned i = 0; i < count; i++)
		len += iov[i].iov_len;
	n = fake_nvme_walk(sqe, len, seg);
	assert_true(n > 0);
	for (unsigned i = 0; i < count; i++) {
		for (size_t k = 0; k < iov[i].iov_len;) {
			size_t take;

			assert_true(s < n);
			assert_ptr_equal(seg[s].p + at, (uint8_t *)iov[i].iov_base + k);
			take = MIN(seg[s].len - at, iov[i].iov_len - k);
			k += take;
			at += take;
			if (at == seg[s].len) {
				s++;
				at = 0;
			}
		}
	}
	assert_int_equal(s, n);
}

static int build(const struct iovec *iov, unsigned count, struct nvme_sqe *sqe, bool va)
{
	memset(sqe, 0, sizeof(*sqe));
	memset(list, 0xee, LIST_MAX * sizeof(*list));
	return nvme_prp_build(iov, count, PAGE, va, list, LIST_MAX, (uintptr_t)list, sqe);
}

static void test_one_element_every_offset_and_length(void **state)
{
	struct nvme_sqe sqe;

	for (size_t offset = 0; offset < PAGE; offset += 4) {
		for (size_t len = 4; len <= LIST_MAX * PAGE; len += len < 64 ? 4 : 508) {
			struct iovec iov = { arena + offset, len };

			assert_int_equal(build(&iov, 1, &sqe, len & 8), 0);
			assert_same(&iov, 1, &sqe);
		}
	}
}

/* Three elements: the first may start, the last may end, inside a page; the middle is pages. */
static void test_rows_of_elements(void **state)
{
	struct nvme_sqe sqe;

	for (size_t head = 4; head <= PAGE; head += 204) {
		for (size_t tail = 4; tail <= PAGE; tail += 204) {
			for (size_t pages = 0; pages <= 3; pages++) {
				struct iovec iov[3] = {
					{ arena + 9 * PAGE - head, head },
					{ arena + 30 * PAGE, pages * PAGE },
					{ arena + 20 * PAGE, tail },
				};

				if (pages == 0) {
					iov[1] = iov[2];
					assert_int_equal(build(iov, 2, &sqe, true), 0);
					assert_same(iov, 2, &sqe);
				} else {
					assert_int_equal(build(iov, 3, &sqe, true), 0);
					assert_same(iov, 3, &sqe);
				}
			}
		}
	}
}

static void test_what_has_no_prp_shape_is_refused(void **state)
{
	struct nvme_sqe sqe;
	struct iovec odd = { arena + 2, 512 };
	struct iovec gap_after[2] = { { arena, 512 }, { arena + PAGE, 512 } };
	struct iovec gap_before[2] = { { arena, PAGE }, { arena + PAGE + 4, 512 } };
	struct iovec large = { arena, (LIST_MAX + 2) * PAGE };
	struct iovec largest = { arena + 4, (LIST_MAX + 1) * PAGE - 4 };

	assert_int_equal(build(&odd, 1, &sqe, true), -EINVAL);
	assert_int_equal(build(gap_after, 2, &sqe, true), -EINVAL);
	assert_int_equal(build(gap_before, 2, &sqe, true), -EINVAL);
	assert_int_equal(build(&large, 1, &sqe, true), -E2BIG);
	assert_int_equal(build(&largest, 1, &sqe, true), 0);
	assert_same(&largest, 1, &sqe);
}

static void test_sgl(void **state)
{
	struct nvme_sgl descriptors[3];
	struct iovec iov[4];
	struct nvme_sqe sqe;

	for (unsigned i = 0; i < ARRAY_SIZE(iov); i++)
		iov[i] = (struct iovec){ arena + i * 5000 + 1, 777 };
	for (unsigned count = 1; count <= 3; count++) {
		memset(&sqe, 0, sizeof(sqe));
		assert_int_equal(nvme_sgl_build(iov, count, descriptors, 3, (uintptr_t)descriptors,
						&sqe), 0);
		assert_same(iov, count, &sqe);
	}
	assert_int_equal(nvme_sgl_build(iov, 4, descriptors, 3, (uintptr_t)descriptors, &sqe),
			 -E2BIG);
}

static int arena_setup(void **state)
{
	arena = aligned_alloc(PAGE, ARENA);
	list = aligned_alloc(LIST_MAX * sizeof(*list), LIST_MAX * sizeof(*list));
	return arena && list ? 0 : -1;
}

static int arena_teardown(void **state)
{
	free(arena);
	free(list);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_element_every_offset_and_length),
		cmocka_unit_test(test_rows_of_elements),
		cmocka_unit_test(test_what_has_no_prp_shape_is_refused),
		cmocka_unit_test(test_sgl),
	};

	return cmocka_run_group_tests(tests, arena_setup, arena_teardown);
}
