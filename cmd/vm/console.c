/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/vm/console.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include "core/base/log.h"

#define ESCAPE 0x01 /* Ctrl-A */

/* The terminal as we found it; for the signal handler, so there is only one. */
static struct termios saved;
static atomic_bool is_changed;

/* At once: output that nobody takes, of a terminal that was stopped, is not waited for. */
void console_restore(void)
{
    if (atomic_exchange(&is_changed, false)) {
        (void)tcflush(STDIN_FILENO, TCIFLUSH);
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &saved);
    }
}

/* Both calls may be made here (POSIX.1, 2.4.3); the signal then takes its course. */
static void on_crash(int signal)
{
    console_restore();
    (void)raise(signal);
}

static void catch_crash(int number)
{
    struct sigaction action = {.sa_handler = SIG_DFL};

    (void)sigaction(number, NULL, &action);
    if (action.sa_handler != SIG_IGN) { /* what is ignored stays so */
        action =
            (struct sigaction){.sa_handler = on_crash, .sa_flags = (int)SA_RESETHAND | SA_NODEFER};
        (void)sigaction(number, &action, NULL);
    }
}

/*
 * All that end the process when they are not caught.
 * Source: Linux man-pages, signal(7), "Standard signals".
 */
static void catch_crashes(void)
{
    static const int signals[] = {SIGHUP,  SIGINT,    SIGQUIT,   SIGILL,  SIGTRAP, SIGABRT,
                                  SIGBUS,  SIGFPE,    SIGUSR1,   SIGSEGV, SIGUSR2, SIGPIPE,
                                  SIGALRM, SIGTERM,   SIGSTKFLT, SIGXCPU, SIGXFSZ, SIGPROF,
                                  SIGIO,   SIGVTALRM, SIGPWR,    SIGSYS};

    for (unsigned i = 0; i < ARRAY_SIZE(signals); i++) {
        catch_crash(signals[i]);
    }
    for (int number = SIGRTMIN; number <= SIGRTMAX; number++) {
        catch_crash(number);
    }
    (void)atexit(console_restore);
}

/* Every key goes to the guest, also Ctrl-C; output keeps its line feeds as they are set. */
static int change_terminal(struct err *err)
{
    struct termios raw;

    if (tcgetattr(STDIN_FILENO, &saved) < 0) {
        return err_set(err, -errno, "cannot read the terminal's state");
    }
    raw = saved;
    cfmakeraw(&raw);
    raw.c_oflag = saved.c_oflag;
    catch_crashes();
    is_changed = true;
    if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &raw) < 0) {
        return err_set(err, -errno, "cannot set the terminal");
    }
    return 0;
}

static int open_stdio(struct console *console, struct err *err)
{
    console->in_fd = STDIN_FILENO;
    console->out_fd = STDOUT_FILENO;
    console->is_terminal = isatty(STDIN_FILENO) == 1;
    return console->is_terminal ? change_terminal(err) : 0;
}

static int open_pty(struct console *console, struct err *err)
{
    int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    char name[64];
    struct termios raw;
    int code;

    if (fd < 0) {
        return err_set(err, -errno, "cannot get a pseudo terminal");
    }
    if (grantpt(fd) < 0 || unlockpt(fd) < 0 || ptsname_r(fd, name, sizeof(name)) != 0 ||
        tcgetattr(fd, &raw) < 0) {
        code = err_set(err, -errno, "cannot set up a pseudo terminal");
        close(fd);
        return code;
    }
    cfmakeraw(&raw); /* no echo of what the guest sends */
    (void)tcsetattr(fd, TCSANOW, &raw);
    log_plain("vblkvm: console on %s", name);
    console->in_fd = console->out_fd = console->owned_fd = fd;
    console->drops_output = true;
    return 0;
}

static int open_path(struct console *console, const char *path, struct err *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_NOCTTY | O_CLOEXEC | O_NONBLOCK, 0600);

    if (fd < 0) {
        return err_set(err, -errno, "cannot open %s", path);
    }
    (void)fcntl(fd, F_SETFL, O_APPEND); /* only a modem line is not waited for */
    console->out_fd = console->owned_fd = fd;
    console->in_fd = isatty(fd) == 1 ? fd : -1;
    return 0;
}

int console_open(struct console *console, const char *where, struct err *err)
{
    *console = (struct console){.in_fd = -1, .out_fd = -1, .owned_fd = -1};
    if (strcmp(where, "stdio") == 0) {
        return open_stdio(console, err);
    }
    return strcmp(where, "pty") == 0 ? open_pty(console, err) : open_path(console, where, err);
}

void console_close(struct console *console)
{
    console_restore();
    if (console->owned_fd >= 0) {
        close(console->owned_fd);
    }
}

/* Output that nobody can take is lost, as on a cable that is not plugged in. */
void console_write(const struct console *console, uint8_t byte)
{
    while (write(console->out_fd, &byte, 1) < 0 && errno == EINTR) {
    }
}

/* Ctrl-A X ends, Ctrl-A Ctrl-A is one Ctrl-A, Ctrl-A and anything else is that. */
static int take_escapes(struct console *console, uint8_t *bytes, unsigned count)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < count; i++) {
        bool is_escaped = console->has_escape;

        console->has_escape = bytes[i] == ESCAPE && !is_escaped;
        if (is_escaped && (bytes[i] == 'x' || bytes[i] == 'X')) {
            return -ECANCELED;
        }
        if (!console->has_escape) {
            bytes[kept++] = bytes[i];
        }
    }
    return (int)kept;
}

int console_read(struct console *console, uint8_t *bytes, unsigned room)
{
    ssize_t count = read(console->in_fd, bytes, room);

    if (count < 0 && (errno == EAGAIN || errno == EINTR)) {
        return 0;
    }
    if (count < 0 && errno == EIO && console->drops_output) {
        return 0; /* nobody has the pseudo terminal open */
    }
    if (count <= 0) {
        return -EPIPE;
    }
    return console->is_terminal ? take_escapes(console, bytes, (unsigned)count) : (int)count;
}
