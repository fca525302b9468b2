/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "cmd/vm/console.h"

/* A terminal, of which the launcher has the slave's end. */
struct terminal {
    int master;
    int slave;
};

static void terminal_open(struct terminal *terminal)
{
    terminal->master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(terminal->master >= 0);
    assert_int_equal(grantpt(terminal->master), 0);
    assert_int_equal(unlockpt(terminal->master), 0);
    terminal->slave = open(ptsname(terminal->master), O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(terminal->slave >= 0);
}

static void terminal_close(struct terminal *terminal)
{
    close(terminal->slave);
    close(terminal->master);
}

static bool is_raw(const struct terminal *terminal)
{
    struct termios state;

    assert_int_equal(tcgetattr(terminal->slave, &state), 0);
    return !(state.c_lflag & ICANON) && !(state.c_lflag & ECHO);
}

/* Between the test and its launcher: the terminal is changed, and the signal may be raised. */
struct steps {
    int ready[2];
    int go[2];
};

static void launch(const struct terminal *terminal, int number, const struct steps *steps)
{
    const struct rlimit no_core = {0};
    struct console console;
    struct err err = {0};
    char byte;

    (void)setrlimit(RLIMIT_CORE, &no_core);
    (void)signal(number, SIG_DFL);
    if (dup2(terminal->slave, STDIN_FILENO) < 0 || console_open(&console, "stdio", &err) < 0 ||
        write(steps->ready[1], "", 1) != 1 || read(steps->go[0], &byte, 1) != 1) {
        _exit(EXIT_FAILURE);
    }
    /* Its own signal: valgrind gives up at some that come from outside. */
    (void)raise(number);
    _exit(EXIT_SUCCESS);
}

/* Returns how the launcher ended. */
static int end_by(struct terminal *terminal, int number)
{
    struct steps steps;
    char byte;
    int status;
    pid_t pid;

    assert_int_equal(pipe(steps.ready), 0);
    assert_int_equal(pipe(steps.go), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        launch(terminal, number, &steps);
    }
    close(steps.ready[1]);
    close(steps.go[0]);
    assert_int_equal(read(steps.ready[0], &byte, 1), 1);
    assert_true(is_raw(terminal));
    assert_int_equal(write(steps.go[1], "", 1), 1);
    close(steps.ready[0]);
    close(steps.go[1]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void terminal_is_put_back_whatever_signal_ends_it(void **state)
{
    static const int numbers[] = {SIGHUP,    SIGINT,  SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2,
                                  SIGALRM,   SIGPIPE, SIGXCPU, SIGXFSZ, SIGPWR,  SIGIO,
                                  SIGVTALRM, SIGPROF, SIGSYS,  SIGTRAP, SIGABRT, SIGSEGV};

    for (unsigned i = 0; i <= ARRAY_SIZE(numbers); i++) {
        int number = i < ARRAY_SIZE(numbers) ? numbers[i] : SIGRTMIN;
        struct terminal terminal;
        int status;

        terminal_open(&terminal);
        assert_false(is_raw(&terminal));
        status = end_by(&terminal, number);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), number);
        assert_false(is_raw(&terminal));
        terminal_close(&terminal);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(terminal_is_put_back_whatever_signal_ends_it),
    };

    return unit_run(tests);
}
