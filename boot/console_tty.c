/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The serial port of the appliance (or whatever /dev/console is): a session that is always there.
 * The terminal is in raw mode except that the kernel makes CR LF of LF; its old mode comes back at
 * the end. A port that breaks is opened again, a second later.
 */
#include "boot/console.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "core/base/util.h"

enum { REOPEN_US = 1000000 };

static struct {
	struct console_port port;
	struct console_fd fd;
	struct console_session *session;
	struct termios old;
	bool raw, wanted;
	struct timer reopen;
} tty;

/* ---- the session's port ---- */

static size_t tty_room(struct console_port *port)
{
	return console_fd_room(&tty.fd);
}

static void tty_write(struct console_port *port, const char *text, size_t len)
{
	console_fd_write(&tty.fd, text, len);
}

static void tty_pause(struct console_port *port, bool pause)
{
	console_fd_pause(&tty.fd, pause);
}

static void tty_ended(struct console_port *port, int status)
{
	tty.session = NULL;
}

/* ---- the descriptor ---- */

static void tty_shut(void)
{
	if (tty.session)
		session_hangup(tty.session);
	tty.session = NULL;
	if (tty.raw)
		tcsetattr(tty.fd.src.fd, TCSANOW, &tty.old);
	tty.raw = false;
	console_fd_close(&tty.fd);
}

static void tty_input(struct console_fd *f, const char *bytes, size_t len)
{
	if (tty.session)
		session_input(tty.session, bytes, len);
}

static void tty_drained(struct console_fd *f)
{
	if (tty.session)
		session_wake(tty.session);
}

static void tty_broken(struct console_fd *f, int rc)
{
	log_warn("console: serial port: %s; opening it again", strerror(-rc));
	tty_shut();
	if (tty.wanted)
		timer_arm(&tty.reopen, REOPEN_US);
}

static void tty_make_raw(int fd)
{
	struct termios t;

	if (tcgetattr(fd, &tty.old) != 0)
		return;
	t = tty.old;
	t.c_iflag &= ~(tcflag_t)(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON |
				 IXOFF);
	t.c_oflag |= OPOST | ONLCR;
	t.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | ISIG | IEXTEN);
	t.c_cflag |= CLOCAL | CREAD;
	t.c_cc[VMIN] = 1;
	t.c_cc[VTIME] = 0;
	tty.raw = tcsetattr(fd, TCSANOW, &t) == 0;
}

/*
 * A description of our own: O_NONBLOCK on the one that init has given would be on init's, too.
 */
static int tty_open(void)
{
	struct session_opts opts = { .kind = SESSION_SERIAL, .keys = true };
	struct winsize size;
	int fd = open("/dev/console", O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC), rc;

	if (fd < 0)
		return -errno;
	tty.port = (struct console_port){ tty_room, tty_write, tty_pause, tty_ended };
	tty.fd = (struct console_fd){ .input = tty_input, .drained = tty_drained,
				      .broken = tty_broken };
	rc = console_fd_open(&tty.fd, fd);
	if (rc != 0) {
		close(fd);
		return rc;
	}
	tty_make_raw(fd);
	/* a serial line knows nothing; a screen tells, and has colours */
	if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_row > 0) {
		opts.columns = size.ws_col;
		opts.rows = size.ws_row;
		opts.colour = true;
	}
	tty.session = session_start(&tty.port, &opts);
	if (!tty.session) {
		tty_shut();
		return -ENOMEM;
	}
	return 0;
}

static void tty_reopen(struct timer *t)
{
	if (tty_open() != 0)
		timer_arm(t, REOPEN_US);
}

int console_tty_open(void)
{
	int rc;

	tty.wanted = true;
	timer_setup(&tty.reopen, tty_reopen);
	rc = tty_open();
	if (rc != 0)
		log_error("console: /dev/console: %s; there is no serial console", strerror(-rc));
	return rc;
}

void console_tty_close(void)
{
	if (!tty.wanted)
		return;
	tty.wanted = false;
	timer_cancel(&tty.reopen);
	tty_shut();
}

bool console_tty_print(const char *text)
{
	if (!tty.session)
		return false;
	session_print(tty.session, text);
	return true;
}
