/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `karst ctl`: the client of the console socket (console_frame.h). With a command it runs that one,
 * exit status 0, or 1 when the command failed or could not be asked. Without, at a terminal,
 * it is the prompt. The terminal is in raw mode while somebody types, and put back however this
 * ends.
 */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include "boot/boot.h"
#include "boot/console_frame.h"
#include "boot/options.h"
#include "core/base/util.h"
#include "core/cmd.h"

enum { CTL_OK, CTL_FAILED };

static const char ctl_usage[] =
	"usage: karst ctl [-s SOCKET] [-j] COMMAND...\n"
	"       karst ctl [-s SOCKET]\n"
	"\n"
	"  Runs a command in a running karst: exit status 0, or 1 when it failed or there is\n"
	"  no karst to ask. Without a command, at a terminal: the prompt (Ctrl-D leaves).\n"
	"\n"
	"  -s SOCKET  the socket that karst was started with\n"
	"  -j         prints JSON: {\"ok\":true,\"rows\":[...]} or {\"ok\":false,\"code\":...}\n"
	"\n"
	"  karst ctl help    lists the commands\n";

static struct {
	int fd;
	bool keyboard;
	struct termios old;
	bool raw;
	volatile sig_atomic_t resized;
	struct ctl_decoder decoder;
} ctl = { .fd = -1 };

/* ---- the terminal ---- */

static void terminal_restore(void)
{
	if (ctl.raw)
		tcsetattr(STDIN_FILENO, TCSANOW, &ctl.old);
	ctl.raw = false;
}

static void on_signal(int signo)
{
	terminal_restore();
	_exit(128 + signo);
}

static void on_resize(int signo)
{
	ctl.resized = 1;
}

static void terminal_raw(void)
{
	struct sigaction end = { .sa_handler = on_signal }, resize = { .sa_handler = on_resize };
	struct termios t;

	if (tcgetattr(STDIN_FILENO, &ctl.old) != 0)
		return;
	sigaction(SIGTERM, &end, NULL);
	sigaction(SIGHUP, &end, NULL);
	sigaction(SIGINT, &end, NULL);
	sigaction(SIGWINCH, &resize, NULL);
	atexit(terminal_restore);
	t = ctl.old;
	cfmakeraw(&t);
	t.c_oflag |= OPOST | ONLCR;
	ctl.raw = tcsetattr(STDIN_FILENO, TCSANOW, &t) == 0;
}

static struct ctl_size terminal_size(void)
{
	struct winsize w = { 0 };

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) != 0)
		memset(&w, 0, sizeof(w));
	return (struct ctl_size){ le16_make(w.ws_col), le16_make(w.ws_row) };
}

static bool has_colour(void)
{
	const char *term = getenv("TERM"), *no = getenv("NO_COLOR");

	return isatty(STDOUT_FILENO) && term && term[0] && strcmp(term, "dumb") != 0 &&
	       !(no && *no);
}

/* ---- the connection ---- */

static bool write_all(int fd, const void *data, size_t len)
{
	const char *p = data;

	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		p += n;
		len -= (size_t)n;
	}
	return true;
}

static bool frame_send(enum ctl_type type, const void *payload, size_t len)
{
	unsigned char frame[sizeof(struct ctl_head) + CTL_PAYLOAD_MAX];
	struct ctl_head head = ctl_head_make(type, len);

	memcpy(frame, &head, sizeof(head));
	memcpy(frame + sizeof(head), payload, len);
	return write_all(ctl.fd, frame, sizeof(head) + len);
}

static int connect_to(const char *path)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(sun.sun_path)) {
		fprintf(stderr, "karst ctl: %s: the path of a socket has at most %zu bytes\n", path,
			sizeof(sun.sun_path) - 1);
		return CTL_FAILED;
	}
	memcpy(sun.sun_path, path, strlen(path) + 1);
	ctl.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (ctl.fd >= 0 && connect(ctl.fd, (struct sockaddr *)&sun, sizeof(sun)) == 0)
		return CTL_OK;
	fprintf(stderr, "karst ctl: %s: %s; is karst running? name its socket with -s\n", path,
		strerror(errno));
	return CTL_FAILED;
}

static bool start_send(const char *line, bool json)
{
	unsigned char payload[sizeof(struct ctl_start) + CMD_LINE_BYTES];
	unsigned flags = (json ? CTL_JSON : 0) | (ctl.keyboard ? CTL_KEYBOARD : 0) |
		(!json && has_colour() ? CTL_COLOUR : 0);
	struct ctl_start start = {
		.magic = le32_make(CTL_MAGIC), .version = le16_make(CTL_VERSION),
		.flags = le16_make((uint16_t)flags),
	};
	size_t len = line ? strlen(line) : 0;

	if (ctl.keyboard)
		start.size = terminal_size();
	memcpy(payload, &start, sizeof(start));
	if (len > 0)
		memcpy(payload + sizeof(start), line, len);
	return frame_send(line ? CTL_RUN : CTL_ATTACH, payload, sizeof(start) + len);
}

/* ---- talking ---- */

/* -1: goes on; else the exit status. */
static int from_karst(void)
{
	char bytes[8192];
	const char *p = bytes;
	struct ctl_frame frame;
	ssize_t n = read(ctl.fd, bytes, sizeof(bytes));
	size_t len = (size_t)MAX(n, 0);
	le32 code;
	int rc;

	if (n < 0 && errno == EINTR)
		return -1;
	if (n <= 0) {
		terminal_restore();
		fprintf(stderr, "karst ctl: karst has ended\n");
		return CTL_FAILED;
	}
	while ((rc = ctl_decode(&ctl.decoder, &p, &len, &frame)) > 0) {
		if (frame.type == CTL_OUT && !write_all(STDOUT_FILENO, frame.payload, frame.len))
			return CTL_FAILED;
		if (frame.type != CTL_EXIT)
			continue;
		memcpy(&code, frame.payload, sizeof(code));
		return le32_get(code) == 0 ? CTL_OK : CTL_FAILED;
	}
	if (rc == 0)
		return -1;
	terminal_restore();
	fprintf(stderr, "karst ctl: this is no karst, or one of another version\n");
	return CTL_FAILED;
}

/* False: the keyboard is gone. */
static bool from_keyboard(void)
{
	char bytes[CTL_KEYS_MAX];
	ssize_t n = read(STDIN_FILENO, bytes, sizeof(bytes));

	if (n < 0 && errno == EINTR)
		return true;
	return n > 0 && frame_send(CTL_KEYS, bytes, (size_t)n);
}

static int talk(bool attached)
{
	struct pollfd pfd[2] = {
		{ .fd = ctl.fd, .events = POLLIN },
		{ .fd = ctl.keyboard ? STDIN_FILENO : -1, .events = POLLIN },
	};

	for (;;) {
		int status;

		if (ctl.resized) {
			struct ctl_size size = terminal_size();

			ctl.resized = 0;
			frame_send(CTL_SIZE, &size, sizeof(size));
		}
		if (poll(pfd, 2, -1) < 0 && errno != EINTR)
			return CTL_FAILED;
		if (pfd[0].revents) {
			pfd[0].revents = 0;
			status = from_karst();
			if (status >= 0)
				return status;
		}
		if (pfd[1].revents && !from_keyboard()) {
			if (attached)
				return CTL_OK;
			pfd[1].fd = -1;
		}
		pfd[1].revents = 0;
	}
}

/* ---- the command line ---- */

static bool has_blank(const char *text)
{
	return text[0] == '\0' || strpbrk(text, " \t\r\n\v\f") != NULL;
}

/*
 * The shell has taken its quotes away: a word with blanks gets ours again; key=two words as
 * key="two words". One word alone is taken as a line. False: too long.
 */
static bool line_build(char line[CMD_LINE_BYTES], int argc, char **argv)
{
	size_t n = 0;

	line[0] = '\0';
	for (int i = 0; i < argc; i++) {
		const char *word = argv[i], *eq = strchr(word, '=');
		char quoted[2 * CMD_LINE_BYTES];
		int rc;

		if (argc > 1 && has_blank(word)) {
			bool key = eq && strcspn(word, " \t\r\n\v\f\"") > (size_t)(eq - word);
			size_t head = key ? (size_t)(eq + 1 - word) : 0;

			if (head >= CMD_LINE_BYTES)
				return false;
			memcpy(quoted, word, head);
			cmd_quote(word + head, quoted + head, sizeof(quoted) - head);
			word = quoted;
		}
		rc = snprintf(line + n, CMD_LINE_BYTES - n, "%s%s", i ? " " : "", word);
		if (rc < 0 || (n += (size_t)rc) >= CMD_LINE_BYTES)
			return false;
	}
	return true;
}

int ctl_main(int argc, char **argv)
{
	char socket_path[108], line[CMD_LINE_BYTES];
	const char *path = options_default_socket(socket_path, sizeof(socket_path));
	bool json = false, attach;
	int c;

	while ((c = getopt(argc, argv, "+s:jh")) != -1) {
		if (c == 's') {
			path = optarg;
		} else if (c == 'j') {
			json = true;
		} else {
			fputs(ctl_usage, c == 'h' ? stdout : stderr);
			return c == 'h' ? CTL_OK : CTL_FAILED;
		}
	}
	attach = optind == argc;
	ctl.keyboard = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && !json;
	if (attach && !ctl.keyboard) {
		fputs(ctl_usage, stderr);
		return CTL_FAILED;
	}
	if (!line_build(line, argc - optind, argv + optind)) {
		fprintf(stderr, "karst ctl: a command has at most %d bytes\n", CMD_LINE_BYTES - 1);
		return CTL_FAILED;
	}
	if (connect_to(path) != CTL_OK)
		return CTL_FAILED;
	if (ctl.keyboard)
		terminal_raw();
	if (!start_send(attach ? NULL : line, json)) {
		fprintf(stderr, "karst ctl: %s: %s\n", path, strerror(errno));
		return CTL_FAILED;
	}
	return talk(attach);
}
