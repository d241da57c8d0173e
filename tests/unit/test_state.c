/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The saved configuration over a device that loses power: at every operation, with the writes since
 * the last sync kept, lost or torn in any combination, the old text or the new one comes back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "boot/state.h"
#include "core/base/util.h"

enum { DEV_BYTES = 64 * 1024, SECTOR = 512, PENDING_MAX = 512 };

struct fake {
	struct state_dev dev;
	unsigned char durable[DEV_BYTES], cache[DEV_BYTES];
	/* sectors written since the last sync */
	uint32_t pending[PENDING_MAX];
	unsigned pending_count;
	unsigned ops, die_at;           /* die_at: this operation does not happen any more */
	int fail_read_of;               /* copy whose reads fail, -1: none */
	uint64_t seed;
};

static struct fake *fake_of(struct state_dev *dev)
{
	return container_of(dev, struct fake, dev);
}

static bool dies(struct fake *f)
{
	return f->die_at && ++f->ops >= f->die_at;
}

static int fake_read(struct state_dev *dev, uint64_t offset, void *buf, size_t len)
{
	struct fake *f = fake_of(dev);

	assert_true(offset % STATE_BLOCK_BYTES == 0 && len % STATE_BLOCK_BYTES == 0);
	assert_true(offset + len <= DEV_BYTES);
	if (f->fail_read_of == (int)(offset / (DEV_BYTES / 2)))
		return -EIO;
	memcpy(buf, f->cache + offset, len);
	return 0;
}

static int fake_write(struct state_dev *dev, uint64_t offset, const void *buf, size_t len)
{
	struct fake *f = fake_of(dev);

	assert_true(offset % STATE_BLOCK_BYTES == 0 && len % STATE_BLOCK_BYTES == 0);
	assert_true(offset + len <= DEV_BYTES);
	if (dies(f))
		return -EIO;
	memcpy(f->cache + offset, buf, len);
	for (size_t i = 0; i < len; i += SECTOR) {
		assert_true(f->pending_count < PENDING_MAX);
		f->pending[f->pending_count++] = (uint32_t)(offset + i);
	}
	return 0;
}

static int fake_sync(struct state_dev *dev)
{
	struct fake *f = fake_of(dev);

	if (dies(f))
		return -EIO;
	memcpy(f->durable, f->cache, DEV_BYTES);
	f->pending_count = 0;
	return 0;
}

/* Power comes back: of the writes that were not synced each sector is there or not, by chance. */
static void power_cycle(struct fake *f)
{
	for (unsigned i = 0; i < f->pending_count; i++) {
		f->seed = f->seed * 6364136223846793005u + 1442695040888963407u;
		if (f->seed >> 63)
			memcpy(f->durable + f->pending[i], f->cache + f->pending[i], SECTOR);
	}
	memcpy(f->cache, f->durable, DEV_BYTES);
	f->pending_count = 0;
	f->die_at = f->ops = 0;
}

static struct fake *fake_make(void)
{
	struct fake *f = calloc(1, sizeof(*f));

	f->dev = (struct state_dev){ .bytes = DEV_BYTES, .read = fake_read, .write = fake_write,
				     .sync = fake_sync };
	f->fail_read_of = -1;
	f->seed = 1;
	return f;
}

static char *text_make(char c, size_t len)
{
	char *t = malloc(len + 1);

	memset(t, c, len);
	t[len] = '\0';
	return t;
}

static void expect_text(struct fake *f, const char *text)
{
	char *got;

	assert_int_equal(state_dev_load(&f->dev, &got), 0);
	if (!text)
		assert_null(got);
	else
		assert_string_equal(got, text);
	free(got);
}

static void test_a_blank_device_has_nothing_saved(void **state)
{
	struct fake *f = fake_make();

	expect_text(f, NULL);
	free(f);
}

static void test_what_is_saved_is_loaded_and_the_one_before_is_kept(void **state)
{
	struct fake *f = fake_make();

	assert_int_equal(state_dev_save(&f->dev, "one\n"), 0);
	expect_text(f, "one\n");
	assert_int_equal(state_dev_save(&f->dev, "two\n"), 0);
	expect_text(f, "two\n");
	for (unsigned i = 0; i < DEV_BYTES - 4; i++)
		if (memcmp(f->cache + i, "two\n", 4) == 0)
			f->cache[i] ^= 1;
	expect_text(f, "one\n");
	assert_int_equal(state_dev_save(&f->dev, ""), 0);
	expect_text(f, NULL);
	free(f);
}

static void test_every_changed_bit_is_found(void **state)
{
	struct fake *f = fake_make();
	char *got;

	assert_int_equal(state_dev_save(&f->dev, "some text"), 0);
	for (unsigned bit = 0; bit < 8 * (sizeof(struct state_head)); bit++) {
		f->cache[bit / 8] ^= (unsigned char)(1 << bit % 8);
		assert_int_equal(state_dev_load(&f->dev, &got), -EBADMSG);
		f->cache[bit / 8] ^= (unsigned char)(1 << bit % 8);
	}
	for (unsigned bit = 0; bit < 8 * 9; bit++) {
		f->cache[STATE_BLOCK_BYTES + bit / 8] ^= (unsigned char)(1 << bit % 8);
		assert_int_equal(state_dev_load(&f->dev, &got), -EBADMSG);
		f->cache[STATE_BLOCK_BYTES + bit / 8] ^= (unsigned char)(1 << bit % 8);
	}
	expect_text(f, "some text");
	free(f);
}

static void test_garbage_is_damage_not_a_configuration(void **state)
{
	struct fake *f = fake_make();
	char *got;

	memset(f->cache, 0xa5, DEV_BYTES);
	assert_int_equal(state_dev_load(&f->dev, &got), -EBADMSG);
	assert_int_equal(state_dev_save(&f->dev, "repaired"), 0);
	expect_text(f, "repaired");
	free(f);
}

static void test_limits(void **state)
{
	struct fake *f = fake_make();
	size_t most = DEV_BYTES / 2 - STATE_BLOCK_BYTES;
	char *text = text_make('x', most + 1);

	assert_int_equal(state_dev_save(&f->dev, text), -EFBIG);
	text[most] = '\0';
	assert_int_equal(state_dev_save(&f->dev, text), 0);
	expect_text(f, text);
	free(text);
	f->dev.bytes = STATE_BLOCK_BYTES;
	assert_int_equal(state_dev_load(&f->dev, &text), -ENOSPC);
	assert_int_equal(state_dev_save(&f->dev, "x"), -EFBIG);
	free(f);
}

static void test_one_unreadable_copy_is_survived(void **state)
{
	for (int broken = 0; broken < 2; broken++) {
		struct fake *f = fake_make();
		char *got;
		int rc;

		assert_int_equal(state_dev_save(&f->dev, "one"), 0);
		assert_int_equal(state_dev_save(&f->dev, "two"), 0);
		f->fail_read_of = broken;
		rc = state_dev_load(&f->dev, &got);
		assert_int_equal(rc, 0);
		assert_string_equal(got, broken == 0 ? "two" : "one");
		free(got);
		free(f);
	}
}

/* Dies at operation DIE_AT of a save of NEW over OLD, and looks what is left. False: it lived. */
static bool cut(unsigned die_at, unsigned saves_before, uint64_t seed)
{
	struct fake *f = fake_make();
	char *old = text_make('o', 9000), *new = text_make('n', 13000), *got;
	bool lived;
	int rc;

	for (unsigned i = 0; i < saves_before; i++)
		assert_int_equal(state_dev_save(&f->dev, old), 0);
	f->seed = seed;
	f->ops = 0;
	f->die_at = die_at;
	rc = state_dev_save(&f->dev, new);
	lived = rc == 0;
	power_cycle(f);
	rc = state_dev_load(&f->dev, &got);
	assert_int_equal(rc, 0);
	if (lived)
		assert_string_equal(got, new);
	else if (got)
		assert_true(strcmp(got, new) == 0 || strcmp(got, old) == 0);
	else
		assert_int_equal(saves_before, 0);
	free(got);
	/* and what is left can be saved over */
	assert_int_equal(state_dev_save(&f->dev, "after"), 0);
	power_cycle(f);
	expect_text(f, "after");
	free(old);
	free(new);
	free(f);
	return !lived;
}

static void test_a_power_cut_leaves_the_old_or_the_new(void **state)
{
	for (unsigned saves = 0; saves < 4; saves++)
		for (unsigned seed = 1; seed <= 50; seed++) {
			unsigned at = 1;

			while (cut(at, saves, seed * 7919))
				at++;
			assert_int_equal(at, 5);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_blank_device_has_nothing_saved),
		cmocka_unit_test(test_what_is_saved_is_loaded_and_the_one_before_is_kept),
		cmocka_unit_test(test_every_changed_bit_is_found),
		cmocka_unit_test(test_garbage_is_damage_not_a_configuration),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_one_unreadable_copy_is_survived),
		cmocka_unit_test(test_a_power_cut_leaves_the_old_or_the_new),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
