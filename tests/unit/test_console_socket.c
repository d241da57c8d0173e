/* SPDX-License-Identifier: BSD-3-Clause */
/* The console's UNIX socket: commands, prompts, and clients that are slow, silent or wrong. */
#include "tests/unit/loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "boot/boot.h"
#include "boot/console.h"
#include "boot/console_frame.h"
#include "core/base/util.h"
#include "core/clock.h"

enum { SECOND = 1000000, ROUNDS = 50 };

static char path[64];

static int run_lines(struct cmd_ctx *ctx)
{
	for (uint64_t i = 1; i <= cmd_u64(ctx, "count", 1); i++)
		cmd_line(ctx, "line %llu", (unsigned long long)i);
	return 0;
}

static const struct cmd_arg count_args[] = {
	{ .name = "count", .type = CMD_U64, .keyed = true }, { 0 },
};

static const struct cmd table[] = {
	{ .noun = "try", .verb = "lines", .help = "x", .args = count_args, .run = run_lines },
	{ 0 },
};

static int setup(void **state)
{
	loop_setup(state);
	cmd_register(table);
	console_ready();
	snprintf(path, sizeof(path), "/tmp/test_console_socket.%d", (int)getpid());
	assert_int_equal(console_socket_open(path), 0);
	return 0;
}

static int teardown(void **state)
{
	console_socket_close();
	loop_drain();
	assert_int_equal(session_count(), 0);
	assert_int_equal(access(path, F_OK), -1);
	return loop_teardown(state);
}

/* ---- a client ---- */

/* Sockets tell the reactor in their own time: a few rounds, each a look at epoll. */
static void turn(void)
{
	for (unsigned i = 0; i < ROUNDS; i++)
		loop_drain();
}

static int dial(void)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	memcpy(sun.sun_path, path, strlen(path) + 1);
	assert_int_equal(connect(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	turn();
	return fd;
}

static void put(int fd, enum ctl_type type, const void *payload, size_t len)
{
	struct ctl_head head = ctl_head_make(type, len);
	unsigned char frame[sizeof(head) + CTL_PAYLOAD_MAX];

	memcpy(frame, &head, sizeof(head));
	memcpy(frame + sizeof(head), payload, len);
	assert_int_equal(write(fd, frame, sizeof(head) + len), sizeof(head) + len);
	turn();
}

static void put_start(int fd, enum ctl_type type, const char *line, unsigned flags)
{
	struct ctl_start start = { .magic = le32_make(CTL_MAGIC),
				   .version = le16_make(CTL_VERSION),
				   .flags = le16_make((uint16_t)flags) };
	char payload[256];

	memcpy(payload, &start, sizeof(start));
	memcpy(payload + sizeof(start), line, strlen(line));
	put(fd, type, payload, sizeof(start) + strlen(line));
}

struct answer {
	char *text;
	size_t len;
	int status;                     /* -1: no CTL_EXIT */
	bool closed;
};

/* Takes all that comes until the end or until nothing more comes. */
static struct answer get(int fd)
{
	struct ctl_decoder *d = calloc(1, sizeof(*d));
	struct answer a = { .text = calloc(1, 1), .status = -1 };
	char bytes[4096];
	unsigned idle = 0;

	while (idle < 3 && !a.closed) {
		ssize_t n = read(fd, bytes, sizeof(bytes));
		const char *p = bytes;
		size_t len = (size_t)MAX(n, 0);
		struct ctl_frame frame;

		a.closed = n == 0 || (n < 0 && errno != EAGAIN);
		idle = n > 0 ? 0 : idle + 1;
		while (n > 0 && ctl_decode(d, &p, &len, &frame) == 1) {
			if (frame.type == CTL_EXIT) {
				le32 code;

				memcpy(&code, frame.payload, sizeof(code));
				a.status = (int)le32_get(code);
				continue;
			}
			assert_int_equal(frame.type, CTL_OUT);
			a.text = realloc(a.text, a.len + frame.len + 1);
			memcpy(a.text + a.len, frame.payload, frame.len);
			a.len += frame.len;
			a.text[a.len] = '\0';
		}
		turn();
	}
	free(d);
	return a;
}

static void expect_answer(int fd, int status, const char *text)
{
	struct answer a = get(fd);

	if (!strstr(a.text, text))
		fail_msg("got \"%s\", expected \"%s\" in it", a.text, text);
	assert_int_equal(a.status, status);
	free(a.text);
}

static void expect_closed(int fd)
{
	struct answer a = get(fd);

	assert_true(a.closed);
	assert_int_equal(a.status, -1);
	free(a.text);
	close(fd);
}

/* ---- tests ---- */

static void test_the_socket_is_its_owners(void **state)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

static void test_one_command_and_its_status(void **state)
{
	int fd = dial();

	put_start(fd, CTL_RUN, "try lines count=3", 0);
	expect_answer(fd, 0, "line 1\nline 2\nline 3\n");
	close(fd);
	fd = dial();
	put_start(fd, CTL_RUN, "try lines count=x", CTL_JSON);
	expect_answer(fd, EINVAL, "{\"ok\":false,\"code\":\"EINVAL\"");
	close(fd);
}

static void test_long_output_arrives_whole(void **state)
{
	struct answer a;
	int fd = dial();

	put_start(fd, CTL_RUN, "try lines count=50000", 0);
	a = get(fd);
	assert_int_equal(a.status, 0);
	assert_non_null(strstr(a.text, "\nline 50000\n"));
	assert_null(strstr(a.text, "dropped"));
	free(a.text);
	close(fd);
}

static void test_a_prompt(void **state)
{
	struct ctl_size size = { le16_make(80), le16_make(4) };
	int fd = dial();

	put_start(fd, CTL_ATTACH, "", 0);
	expect_answer(fd, -1, "karst> ");
	put(fd, CTL_SIZE, &size, sizeof(size));
	put(fd, CTL_KEYS, "try lines count=9\r", 18);
	expect_answer(fd, -1, "line 3\n--More--");
	put(fd, CTL_KEYS, "q\x04", 2);
	expect_answer(fd, 0, "karst> ");
	close(fd);
}

/* More than a session keeps, at once: the client waits, nothing is lost. */
static void test_a_long_paste_arrives_whole(void **state)
{
	enum { FRAMES = 30, LINE_LEN = 512, LINES = CTL_KEYS_MAX / LINE_LEN };
	struct ctl_head head = ctl_head_make(CTL_KEYS, LINES * LINE_LEN);
	char keys[LINES * LINE_LEN];
	struct iovec iov[] = { { &head, sizeof(head) }, { keys, sizeof(keys) } };
	unsigned count = 0;
	struct answer a;
	int fd = dial();

	memset(keys, ' ', sizeof(keys));
	for (unsigned i = 0; i < LINES; i++) {
		memcpy(keys + i * LINE_LEN, "try lines", 9);
		keys[(i + 1) * LINE_LEN - 1] = '\r';
	}
	put_start(fd, CTL_ATTACH, "", 0);
	/* no turn of the reactor in between: as fast as a paste can be */
	for (unsigned i = 0; i < FRAMES; i++)
		assert_int_equal(writev(fd, iov, 2), (ssize_t)(sizeof(head) + sizeof(keys)));
	a = get(fd);
	for (const char *p = a.text; (p = strstr(p, "\nline 1\n")); p++)
		count++;
	free(a.text);
	assert_int_equal(count, FRAMES * LINES);
	close(fd);
}

static void test_other_protocols_are_closed(void **state)
{
	static const char *const wrong[] = {
		"GET / HTTP/1.1\r\n\r\n", "\0\0\0\0\0\0\0\0", "\xff\xff\xff\xff\xff\xff\xff\xff",
	};
	char start[12] = "";
	int fd;

	for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
		fd = dial();
		assert_int_equal(write(fd, wrong[i], 8), 8);
		turn();
		expect_closed(fd);
	}
	fd = dial();
	put(fd, CTL_KEYS, "x", 1);
	expect_closed(fd);
	fd = dial();
	put(fd, CTL_ATTACH, start, sizeof(start));
	expect_closed(fd);
	fd = dial();
	put_start(fd, CTL_ATTACH, "", 0);
	put_start(fd, CTL_ATTACH, "", 0);
	expect_closed(fd);
}

static void test_silent_and_stuck_clients_are_closed_and_others_served(void **state)
{
	int silent = dial(), stuck = dial(), fd;

	put_start(stuck, CTL_RUN, "try lines count=50000", 0);
	loop_advance((uint64_t)CTL_START_US + SECOND);
	turn();
	expect_closed(silent);
	fd = dial();
	put_start(fd, CTL_RUN, "try lines count=1", 0);
	expect_answer(fd, 0, "line 1\n");
	close(fd);
	assert_int_equal(session_count(), 1);
	loop_advance((uint64_t)CTL_STUCK_US);
	turn();
	assert_int_equal(session_count(), 0);
	close(stuck);
}

static void test_clients_that_go_away_leave_nothing(void **state)
{
	for (unsigned i = 0; i < 5; i++) {
		int fd = dial();

		if (i > 0)
			put_start(fd, CTL_ATTACH, "", 0);
		if (i > 1)
			put(fd, CTL_KEYS, "try lines count=5000\r", i > 2 ? 21 : 7);
		close(fd);
		turn();
		assert_int_equal(session_count(), 0);
	}
}

static void test_one_client_too_many_is_told(void **state)
{
	int fd[CONSOLE_CLIENTS_MAX], more;

	for (unsigned i = 0; i < CONSOLE_CLIENTS_MAX; i++) {
		fd[i] = dial();
		put_start(fd[i], CTL_ATTACH, "", 0);
	}
	more = dial();
	expect_answer(more, EAGAIN, "all connections are in use");
	close(more);
	close(fd[3]);
	turn();
	more = dial();
	put_start(more, CTL_RUN, "try lines count=1", 0);
	expect_answer(more, 0, "line 1\n");
	close(more);
	for (unsigned i = 0; i < CONSOLE_CLIENTS_MAX; i++)
		if (i != 3)
			close(fd[i]);
	turn();
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_the_socket_is_its_owners),
		T(test_one_command_and_its_status),
		T(test_long_output_arrives_whole),
		T(test_a_prompt),
		T(test_a_long_paste_arrives_whole),
		T(test_other_protocols_are_closed),
		T(test_silent_and_stuck_clients_are_closed_and_others_served),
		T(test_clients_that_go_away_leave_nothing),
		T(test_one_client_too_many_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
