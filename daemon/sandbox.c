/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sandbox.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "daemon/sandbox_calls.h"
#include "daemon/sandbox_caps.h"
#include "daemon/sandbox_user.h"

/* One thing after the other; the filter is the last, as the others need calls that it refuses. */
static const struct step {
    const char *name; /* NULL: see name_step */
    int (*take)(struct err *err);
} steps[] = {
    {NULL, sandbox_caps_limit},
    {"no new privileges", NULL},
    {"seccomp", sandbox_calls_limit},
};

static int take_no_new_privs(struct err *err)
{
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? err_set(err, -errno, "no new privileges")
                                                      : 0;
}

/* It makes system calls of its own in our name, and ends where they fail. */
static bool is_under_valgrind(void)
{
    const char *preload = getenv("LD_PRELOAD");

    return preload && strstr(preload, "vgpreload");
}

/* What the step has come to, for people. */
static const char *name_step(const struct step *step)
{
    return step->name ? step->name : sandbox_caps_any() ? "few capabilities" : "no capabilities";
}

static void append(struct sandbox *sandbox, const char *before, const char *text)
{
    size_t used = strlen(sandbox->text);

    (void)snprintf(sandbox->text + used, sizeof(sandbox->text) - used, "%s%s", before, text);
}

static int take_steps(struct sandbox *sandbox, struct err *missing)
{
    for (unsigned i = 0; i < ARRAY_SIZE(steps); i++) {
        struct err err = {0};
        int ret = steps[i].take ? steps[i].take(&err) : take_no_new_privs(&err);

        if (ret == 0) {
            append(sandbox, sandbox->text[0] ? ", " : "", name_step(&steps[i]));
        } else if (missing->code == 0) {
            *missing = err;
        }
    }
    return missing->code;
}

static int become(struct sandbox *sandbox, const struct sandbox_user *user, struct err *err)
{
    if (!user || !user->is_given) {
        return 0;
    }
    append(sandbox, "user ", user->name);
    sandbox_caps_bound();
    return sandbox_user_become(user, err);
}

int sandbox_enter(struct sandbox *sandbox, enum sandbox_mode mode, const struct sandbox_user *user,
                  struct err *err)
{
    struct err missing = {0};
    int ret;

    sandbox->text[0] = '\0';
    ret = become(sandbox, user, err);
    if (ret < 0) {
        return ret;
    }
    if (mode == SANDBOX_OFF) {
        append(sandbox, sandbox->text[0] ? ", otherwise " : "", "off");
        return 0;
    }
    if (is_under_valgrind()) {
        append(sandbox, sandbox->text[0] ? ", otherwise " : "", "off: not under valgrind");
        return mode == SANDBOX_ON ? err_say(err, -ENOSYS, "sandbox: not under valgrind") : 0;
    }
    ret = take_steps(sandbox, &missing);
    if (ret < 0) {
        append(sandbox, "; not: ", missing.text);
    }
    return ret < 0 && mode == SANDBOX_ON ? err_say(err, ret, "sandbox: %s", missing.text) : 0;
}

bool sandbox_parse_mode(const char *text, enum sandbox_mode *mode)
{
    static const char *const names[] = {
        [SANDBOX_AUTO] = "auto",
        [SANDBOX_ON] = "on",
        [SANDBOX_OFF] = "off",
    };

    for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
        if (strcmp(text, names[i]) == 0) {
            *mode = (enum sandbox_mode)i;
            return true;
        }
    }
    return false;
}
