/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/crc32c.h"
#include "core/base/util.h"

static uint32_t by_table(const void *buf, size_t len)
{
	return crc32c_final(crc32c_update_table((uint32_t)CRC32C_INIT, buf, len));
}

/* RFC 3720 B.4, and the check value of the catalogue of CRCs. */
static void test_known_vectors(void **state)
{
	static const uint8_t read_pdu[48] = {
		0x01, 0xc0, [16] = 0x14, [22] = 0x04, [27] = 0x14, [31] = 0x18,
		[32] = 0x28, [40] = 0x02,
	};
	uint8_t zeroes[32] = { 0 }, ones[32], up[32], down[32];

	memset(ones, 0xff, sizeof(ones));
	for (unsigned i = 0; i < 32; i++) {
		up[i] = (uint8_t)i;
		down[i] = (uint8_t)(31 - i);
	}
	const struct { const void *buf; size_t len; uint32_t crc; } vectors[] = {
		{ "", 0, 0 },
		{ "a", 1, 0xc1d04330 },
		{ "123456789", 9, 0xe3069283 },
		{ zeroes, 32, 0x8a9136aa },
		{ ones, 32, 0x62a8ab43 },
		{ up, 32, 0x46dd794e },
		{ down, 32, 0x113fdb5c },
		{ read_pdu, 48, 0xd9963a56 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(vectors); i++) {
		assert_int_equal(crc32c(vectors[i].buf, vectors[i].len), vectors[i].crc);
		assert_int_equal(by_table(vectors[i].buf, vectors[i].len), vectors[i].crc);
	}
}

static uint8_t noise[16 * 1024 + 8];

static int noise_setup(void **state)
{
	uint32_t x = 12345;

	for (size_t i = 0; i < sizeof(noise); i++) {
		x = x * 1664525 + 1013904223;
		noise[i] = (uint8_t)(x >> 24);
	}
	return 0;
}

/* All lengths around the lanes' lengths, at every alignment. */
static void test_hardware_equals_table(void **state)
{
	for (size_t len = 0; len < 9000; len += len < 1200 ? 1 : 37)
		for (size_t at = 0; at < 8; at++)
			assert_int_equal(crc32c(noise + at, len), by_table(noise + at, len));
	for (size_t len = 3 * 1360 - 9; len < 3 * 1360 + 9; len++)
		assert_int_equal(crc32c(noise + 1, len), by_table(noise + 1, len));
	assert_int_equal(crc32c(noise, sizeof(noise)), by_table(noise, sizeof(noise)));
}

static void test_pieces_equal_the_whole(void **state)
{
	uint32_t whole = crc32c(noise, 10000);

	for (size_t cut = 0; cut <= 10000; cut += 91) {
		uint32_t crc = crc32c_update((uint32_t)CRC32C_INIT, noise, cut);

		crc = crc32c_update(crc, noise + cut, 10000 - cut);
		assert_int_equal(crc32c_final(crc), whole);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known_vectors),
		cmocka_unit_test(test_hardware_equals_table),
		cmocka_unit_test(test_pieces_equal_the_whole),
	};

	return cmocka_run_group_tests(tests, noise_setup, NULL);
}
