/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * vblkd: options, limits, log level; then daemon_run().
 */

#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cmd/common/argv.h"
#include "core/base/log.h"
#include "core/block/io_log.h"
#include "core/virtio/mem.h"
#include "core/base/porter.h"
#include "core/base/ringer.h"
#include "core/base/std_fds.h"
#include "core/base/text.h"
#include "daemon/broker.h"
#include "daemon/daemon.h"
#include "daemon/json_memory.h"
#include "daemon/limits.h"
#include "daemon/paths.h"
#include "daemon/sandbox.h"
#include "daemon/sandbox_user.h"
#include "daemon/protocol.h"
#include "daemon/signals.h"
#include "daemon/take_over.h"
#include "transports/vhost_user.h"
#include "daemon/socket_dir.h"

#define EXIT_USAGE 2

struct options {
    struct admission admission;
    char control[PATH_MAX];
    char socket_dir[PATH_MAX];
    char state_dir[PATH_MAX];
    enum log_level level;
    enum sandbox_mode sandbox;
    struct sandbox_user user;
    char image_dir[BROKER_DIRS_MAX][PATH_MAX];
    unsigned image_dirs;
    const char *take_over; /* control socket of the vblkd whose disks it takes over, or NULL */
};

/* One list for parsing and for --help, which has nothing of those for tests. */
static const struct {
    struct option option;
    const char *arg;
    const char *help;
} table[] = {
    {{"control", required_argument, NULL, 'c'}, "PATH", "control socket [/run/vblk/control.sock]"},
    {{"socket-dir", required_argument, NULL, 'd'},
     "DIR",
     "where disks' sockets are when add names none [/run/vblk]"},
    {{"state-dir", required_argument, NULL, 's'},
     "DIR",
     "where the disk table is kept [/var/lib/vblk]"},
    {{"allow-user", required_argument, NULL, 'u'},
     "LIST",
     "users who may use the control socket, NAME or NAME:read [root]"},
    {{"allow-group", required_argument, NULL, 'g'}, "LIST", "the same of groups [none]"},
    {{"log-level", required_argument, NULL, 'l'}, "LEVEL", "error, warn, info or debug [info]"},
    {{"sandbox", required_argument, NULL, 'x'},
     "MODE",
     "on, off, or auto: what this machine has of it [auto]"},
    {{"take-over", required_argument, NULL, 't'},
     "PATH",
     "have the disks of the vblkd that listens there"},
    {{"debug-no-recovery", no_argument, NULL, 'D'}, NULL, NULL},
    {{"user", required_argument, NULL, 'U'},
     "NAME",
     "serve guests as this user; a process of root's own opens images and makes sockets"},
    {{"group", required_argument, NULL, 'G'}, "NAME", "with this group [that of the user]"},
    {{"image-dir", required_argument, NULL, 'i'},
     "PATH",
     "with --user: images lie here alone; may be given more than once"},
    {{"version", no_argument, NULL, 'V'}, NULL, "print the version and end"},
    {{"help", no_argument, NULL, 'h'}, NULL, "print this and end"},
};

static void print_help(void)
{
    printf("Usage: vblkd [OPTION]...\n"
           "Serve virtio-blk disks to virtual machines over vhost-user; vblkctl steers it.\n\n");
    for (unsigned i = 0; i < ARRAY_SIZE(table); i++) {
        char left[40];

        if (!table[i].help) {
            continue;
        }
        (void)snprintf(left, sizeof(left), "--%s%s%s", table[i].option.name,
                       table[i].arg ? " " : "", table[i].arg ? table[i].arg : "");
        printf("  %-20s  %s\n", left, table[i].help);
    }
    printf("\nDefaults are those of root; for others $XDG_RUNTIME_DIR/vblk and "
           "$XDG_STATE_HOME/vblk\n(or ~/.local/state/vblk).  It runs in the foreground and "
           "logs to standard error.\n");
}

static int hint(void)
{
    log_plain("Try 'vblkd --help'.");
    return EXIT_USAGE;
}

static int set_path(char to[PATH_MAX], const char *value, const char *option)
{
    char cwd[PATH_MAX] = "";
    int len;

    if (value[0] == '\0') {
        log_plain("vblkd: --%s: is empty", option);
        return hint();
    }
    if (value[0] != '/' && !getcwd(cwd, sizeof(cwd))) {
        log_plain("vblkd: --%s: the working directory has no path", option);
        return hint();
    }
    len = value[0] == '/' ? snprintf(to, PATH_MAX, "%s", value)
                          : snprintf(to, PATH_MAX, "%s/%s", cwd, value);
    if (len >= PATH_MAX) {
        log_plain("vblkd: --%s: is too long for a path", option);
        return hint();
    }
    return 0;
}

static int set_allowed(struct options *options, const char *value, bool is_group)
{
    char shown[1024];
    struct err err = {0};

    if (admission_add(&options->admission, value, is_group, &err) == 0) {
        return 0;
    }
    log_plain("vblkd: --%s: %s", is_group ? "allow-group" : "allow-user",
              text_safe(err.text, shown, sizeof(shown)));
    return hint();
}

/* The kernel's name for it, as files will be looked at by that. */
static int add_image_dir(struct options *options, const char *value)
{
    if (options->image_dirs == BROKER_DIRS_MAX) {
        log_plain("vblkd: --image-dir: at most %u", BROKER_DIRS_MAX);
        return hint();
    }
    if (!realpath(value, options->image_dir[options->image_dirs])) {
        log_plain("vblkd: --image-dir: there is no %s", value);
        return EXIT_FAILURE;
    }
    options->image_dirs++;
    return 0;
}

static int read_user(struct options *options, int letter, const char *value)
{
    struct err err = {0};
    int ret = letter == 'U' ? sandbox_user_parse(&options->user, value, &err)
                            : sandbox_group_parse(&options->user, value, &err);

    if (ret < 0) {
        log_plain("vblkd: %s", err.text);
        return EXIT_USAGE;
    }
    return 0;
}

/* Returns an exit status, or -1 to go on. */
static int read_option(struct options *options, int letter, const char *value)
{
    int ret = 0;

    switch (letter) {
    case 'c':
        ret = set_path(options->control, value, "control");
        break;
    case 'd':
        ret = set_path(options->socket_dir, value, "socket-dir");
        break;
    case 's':
        ret = set_path(options->state_dir, value, "state-dir");
        break;
    case 'u':
        ret = set_allowed(options, value, false);
        break;
    case 'g':
        ret = set_allowed(options, value, true);
        break;
    case 'l':
        if (!log_parse_level(value, &options->level)) {
            log_plain("vblkd: --log-level: \"%s\" is none of error, warn, info, debug", value);
            return hint();
        }
        break;
    case 'U':
    case 'G':
        ret = read_user(options, letter, value);
        break;
    case 'i':
        ret = add_image_dir(options, value);
        break;
    case 'x':
        if (!sandbox_parse_mode(value, &options->sandbox)) {
            log_plain("vblkd: --sandbox: \"%s\" is none of on, off, auto", value);
            return hint();
        }
        break;
    case 't':
        options->take_over = value;
        break;
    case 'D':
        vhost_user_debug_no_recovery();
        break;
    case 'V':
        printf("vblkd %s\n", PACKAGE_VERSION);
        return EXIT_SUCCESS;
    default: /* argv_check has refused all others */
        print_help();
        return EXIT_SUCCESS;
    }
    return ret == 0 ? -1 : ret;
}

static int read_options(struct options *options, int argc, char **argv)
{
    struct option list[ARRAY_SIZE(table) + 1] = {{0}};
    struct err err = {0};
    unsigned count = 0;
    int letter;
    int ret = -1;

    for (unsigned i = 0; i < ARRAY_SIZE(table); i++) {
        list[i] = table[i].option;
    }
    if (argv_check(argc, argv, list, false, &err) < 0) {
        log_plain("vblkd: %s", err.text);
        return hint();
    }
    while (ret < 0 && (letter = getopt_long(argc, argv, "", list, NULL)) != -1) {
        ret = read_option(options, letter, optarg);
        count++;
    }
    if (ret < 0 && options->take_over && count > 1) {
        log_plain("vblkd: --take-over: all other options are as they were with the process that "
                  "has the disks, and none goes with it");
        return hint();
    }
    if (ret < 0 && optind < argc) {
        log_plain("vblkd: unexpected argument \"%s\"", argv[optind]);
        return hint();
    }
    return ret;
}

static int use_defaults(struct options *options)
{
    struct err err = {0};
    const char *names = "--control and --socket-dir";
    int ret = options->control[0] ? 0 : paths_control(options->control, &err);

    if (ret == 0 && !options->socket_dir[0]) {
        ret = paths_socket_dir(options->socket_dir, &err);
    }
    if (ret == 0 && !options->state_dir[0]) {
        names = "--state-dir";
        ret = paths_state_dir(options->state_dir, &err);
    }
    if (ret < 0) {
        log_plain("vblkd: %s; name a place by %s", err.text, names);
    }
    return ret;
}

/* Paths of sockets are told to clients and kept in the state file, both of them JSON. */
static int check_text(const struct options *options)
{
    char shown[1024];

    if (text_is_utf8(options->socket_dir)) {
        return 0;
    }
    log_plain("vblkd: --socket-dir: \"%s\" is not UTF-8",
              text_safe(options->socket_dir, shown, sizeof(shown)));
    return hint();
}

/* What root makes for the user, and who does what takes root from then on. */
static int start_broker(const struct options *options, struct err *err)
{
    static struct broker_rules rules;
    int ret = paths_make_dir(options->socket_dir, SOCKET_DIR_MODE, err);

    rules = (struct broker_rules){
        .uid = options->user.uid,
        .gid = options->user.gid,
        .socket_dir = options->socket_dir,
        .control_path = options->control,
        .state_dir = options->state_dir,
        .image_dirs = options->image_dirs,
    };
    for (unsigned i = 0; i < options->image_dirs; i++) {
        rules.image_dir[i] = options->image_dir[i];
    }
    if (ret == 0) {
        ret = paths_make_parent(options->control, SOCKET_DIR_MODE, err);
    }
    if (ret == 0) {
        ret = paths_make_dir(options->state_dir, 0700, err);
    }
    if (ret == 0) {
        ret = sandbox_user_give(&options->user, options->state_dir, err);
    }
    if (ret == 0) {
        ret = broker_rules_resolve(&rules, err);
    }
    return ret == 0 ? broker_start(&rules, options->sandbox != SANDBOX_OFF, err) : ret;
}

/* Returns an exit status, or -1 to go on. */
static int give_up_rights(const struct options *options, struct sandbox *sandbox)
{
    const struct sandbox_user *user = &options->user;
    struct err err = {0};
    int ret = sandbox_user_check(user, &err);

    if (ret == 0 && options->image_dirs > 0 && !user->is_given) {
        ret = err_say(&err, -EINVAL, "--image-dir goes with --user");
    }
    if (ret < 0) {
        log_plain("vblkd: %s", err.text);
        return hint();
    }
    if (user->is_given && start_broker(options, &err) < 0) {
        log_plain("vblkd: %s", err.text);
        return EXIT_FAILURE;
    }
    if (sandbox_enter(sandbox, options->sandbox, user, &err) < 0) {
        log_plain("vblkd: %s; or --sandbox auto for what there is of it", err.text);
        return EXIT_FAILURE;
    }
    return -1;
}

/* What was said by other options holds no more: all is as it was with the other one. */
static int take_over(const struct options *options, struct daemon_opts *opts)
{
    static struct take_over take;
    struct err err = {0};
    int ret;

    (void)setsid(); /* it is no job of whoever has started us; fails if it is none already */
    ret = take_over_begin(&take, options->take_over, PROTOCOL_UPGRADE_MS, opts, &err);
    if (ret < 0) {
        take_over_failed(&take, &err);
    }
    return ret;
}

int main(int argc, char **argv)
{
    static struct options options = {.level = LOG_LEVEL_INFO};
    struct daemon_opts opts = {
        .control_path = options.control,
        .socket_dir = options.socket_dir,
        .state_dir = options.state_dir,
    };
    static struct sandbox sandbox;
    struct err err = {0};
    int ret;

    if (std_fds_fill(&err) < 0) {
        log_plain("vblkd: %s", err.text);
        return EXIT_FAILURE;
    }
    ret = read_options(&options, argc, argv);
    if (ret >= 0) {
        return ret;
    }
    if (!options.take_over && use_defaults(&options) < 0) {
        return EXIT_USAGE;
    }
    opts.admission = options.admission;
    opts.level = options.level;
    opts.sandbox_mode = options.sandbox;
    opts.has_user = options.user.is_given;
    json_memory_install();
    ret = check_text(&options);
    if (ret != 0) {
        return ret;
    }
    limits_raise();
    (void)porter_init(); /* before all that opens files; what needs it says that it failed */
    if (options.take_over && take_over(&options, &opts) < 0) {
        return EXIT_FAILURE;
    }
    log_set_level(opts.level);
    signals_ignore();
    options.sandbox = opts.sandbox_mode;
    ret = give_up_rights(&options, &sandbox);
    if (ret >= 0) {
        return ret;
    }
    opts.sandbox = sandbox.text;
    if (log_start(&err) < 0) {
        log_error("daemon: %s", err.text);
        return EXIT_FAILURE;
    }
    limits_log();
    io_log_tell();
    log_info("daemon: sandbox: %s", sandbox.text);
    mem_guard_install();
    ringers_install();
    ret = daemon_run(&opts);
    (void)log_stop(LOG_STOP_MS); /* what nobody has read by then is lost */
    return ret;
}
