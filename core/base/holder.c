/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/base/holder.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "core/base/base.h"
#include "core/base/names.h"
#include "core/base/text.h"

/* Source: Linux, include/linux/sched.h; proc_pid_stat(5), "flags". */
#define FLAG_EXITING 0x4u

#define KILL_BIT ((uint64_t)1 << (SIGKILL - 1))

/* "/proc/PID/task/PID", with room for a name below it. */
#define PROC_BYTES 48
#define PROC_NAME_BYTES (PROC_BYTES + 32)

/* What is looked for.  Lines of locks have other numbers of devices than some file systems tell. */
struct sought {
    char inode[32]; /* ":12 ", as it stands in a line of a lock */
    struct stat st;
    const struct lock_span *span;
    int own_fd;
    int found_fd; /* the one that has it, in its process */
};

static size_t read_text(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, text, size - 1);

    if (fd >= 0) {
        close(fd);
    }
    text[len > 0 ? len : 0] = '\0';
    return len > 0 ? (size_t)len : 0;
}

/* ---- each entry of a directory of numbers ---- */

typedef bool look_at(void *arg, const char *dir, const char *name);

/* Returns true as soon as one has been found; `count` is told how many were looked at. */
static bool find_among(const char *dir, look_at *look, void *arg, unsigned *count)
{
    DIR *entries = opendir(dir);
    struct dirent *entry;
    bool is_found = false;

    *count = 0;
    while (entries && !is_found && (entry = readdir(entries))) { /* NOLINT: a DIR of our own */
        if (strtol(entry->d_name, NULL, 10) > 0 || strcmp(entry->d_name, "0") == 0) {
            ++*count;
            is_found = look(arg, dir, entry->d_name);
        }
    }
    if (entries) {
        closedir(entries);
    }
    return is_found;
}

/* ---- its locks ---- */

/* Behind the inode a line has the first and the last byte, or "EOF". */
static bool is_in_span(const struct lock_span *span, const char *bytes)
{
    char *end;
    long long first = strtoll(bytes, &end, 10);
    long long last = strtoll(end, &end, 10);

    if (strncmp(end, " EOF", 4) == 0) {
        last = INT64_MAX;
    }
    return span->len == 0 || (first < span->first + span->len && last >= span->first);
}

/* Source: proc_pid_fdinfo(5), "lock". */
static bool has_lock(const struct sought *sought, const char *path)
{
    char text[4096];
    const char *line = read_text(path, text, sizeof(text)) > 0 ? strstr(text, "lock:") : NULL;
    const size_t len = strlen(sought->inode);

    if (!line) {
        return false;
    }
    for (line = strstr(line, sought->inode); line; line = strstr(line + len, sought->inode)) {
        if (is_in_span(sought->span, line + len)) {
            return true;
        }
    }
    return false;
}

/* A file of another file system may have the same number.  No server is asked, which may hang. */
static bool is_it(const struct sought *sought, const char *path)
{
    struct statx st;

    return statx(AT_FDCWD, path, AT_STATX_DONT_SYNC, STATX_INO, &st) == 0 &&
           makedev(st.stx_dev_major, st.stx_dev_minor) == sought->st.st_dev &&
           st.stx_ino == sought->st.st_ino;
}

static bool is_fd_with_lock(void *arg, const char *dir, const char *name)
{
    struct sought *sought = arg;
    char path[PROC_NAME_BYTES];
    int dir_len = (int)(strlen(dir) - strlen("info"));

    (void)snprintf(path, sizeof(path), "%s/%.16s", dir, name);
    if (!has_lock(sought, path)) {
        return false;
    }
    (void)snprintf(path, sizeof(path), "%.*s/%.16s", dir_len, dir, name);
    sought->found_fd = (int)strtol(name, NULL, 10);
    return is_it(sought, path);
}

static bool is_other_fd_with_lock(void *arg, const char *dir, const char *name)
{
    const struct sought *sought = arg;

    return strtol(name, NULL, 10) != sought->own_fd && is_fd_with_lock(arg, dir, name);
}

static bool is_thread_with_lock(void *arg, const char *dir, const char *name)
{
    char path[PROC_NAME_BYTES];
    unsigned count;

    (void)snprintf(path, sizeof(path), "%s/%.16s/fdinfo", dir, name);
    return find_among(path, is_fd_with_lock, arg, &count);
}

/* A thread that has gone shows no files, and the first of those that are left shows all. */
static bool is_process_with_lock(void *arg, const char *dir, const char *name)
{
    bool is_own = strtol(name, NULL, 10) == (long)getpid();
    char path[PROC_NAME_BYTES];
    unsigned count;

    (void)snprintf(path, sizeof(path), "%s/%.16s/fdinfo", dir, name);
    if (find_among(path, is_own ? is_other_fd_with_lock : is_fd_with_lock, arg, &count)) {
        return true;
    }
    (void)snprintf(path, sizeof(path), "%s/%.16s/task", dir, name);
    return count == 0 && !is_own && find_among(path, is_thread_with_lock, arg, &count);
}

/* ---- is it dying? ---- */

static bool is_mask_with_kill(const char *status, const char *name)
{
    const char *line = strstr(status, name);

    return line && (strtoull(line + strlen(name), NULL, 16) & KILL_BIT) != 0;
}

/* Source: proc_pid_stat(5): (3) state to (9) flags, behind the name, which may have anything. */
static bool is_exiting(const char *stat)
{
    const char *end = strrchr(stat, ')');
    unsigned flags;
    char state;

    return end && sscanf(end + 1, " %c %*d %*d %*d %*d %*d %u", &state, &flags) == 2 && /* NOLINT */
           (state == 'Z' || state == 'X' || (flags & FLAG_EXITING));
}

/* One that waits in the kernel, and cannot be interrupted there, has the signal before it. */
static bool is_thread_alive(void *arg, const char *dir, const char *name)
{
    char path[PROC_NAME_BYTES];
    char text[4096];

    (void)arg;
    (void)snprintf(path, sizeof(path), "%s/%.16s/stat", dir, name);
    if (read_text(path, text, sizeof(text)) == 0 || is_exiting(text)) {
        return false;
    }
    (void)snprintf(path, sizeof(path), "%s/%.16s/status", dir, name);
    return read_text(path, text, sizeof(text)) > 0 && !is_mask_with_kill(text, "SigPnd:") &&
           !is_mask_with_kill(text, "ShdPnd:");
}

static bool is_dying(pid_t pid)
{
    char path[PROC_BYTES];
    unsigned count;

    (void)snprintf(path, sizeof(path), "/proc/%ld/task", (long)pid);
    return !find_among(path, is_thread_alive, NULL, &count);
}

/* ---- who ---- */

static void name_program(struct holder *holder)
{
    char path[PROC_BYTES];
    char name[32];
    size_t len;

    (void)snprintf(path, sizeof(path), "/proc/%ld/comm", (long)holder->pid);
    len = read_text(path, name, sizeof(name));
    if (len > 0 && name[len - 1] == '\n') {
        len--;
    }
    (void)text_escape(holder->program, sizeof(holder->program), name, len);
}

struct search {
    struct sought sought;
    pid_t pid;
    pid_t but; /* is not looked at; 0: all are */
};

static bool is_holder(void *arg, const char *dir, const char *name)
{
    struct search *search = arg;

    search->pid = (pid_t)strtol(name, NULL, 10);
    return search->pid > 0 && search->pid != search->but &&
           is_process_with_lock(&search->sought, dir, name);
}

/* Returns false when the file cannot be looked at. */
static bool begin_search(struct search *search)
{
    struct sought *sought = &search->sought;

    if (fstat(sought->own_fd, &sought->st) < 0) {
        return false;
    }
    (void)snprintf(sought->inode, sizeof(sought->inode), ":%llu ",
                   (unsigned long long)sought->st.st_ino);
    return true;
}

static bool is_own_process(struct search *search)
{
    char name[32];

    (void)snprintf(name, sizeof(name), "%ld", (long)getpid());
    return is_holder(search, "/proc", name);
}

static void tell_holder(const struct search *search, struct holder *holder)
{
    *holder = (struct holder){
        .pid = search->pid, .fd = search->sought.found_fd, .is_dying = is_dying(search->pid)};
    name_program(holder);
}

/* Of others' files the kernel tells those alone who have a right to them. */
static bool ask_for_other(int fd, const struct lock_span *span, struct holder *holder)
{
    const struct names_question question = {
        .op = NAMES_HOLDER, .first = span->first, .len = span->len};
    struct names_answer answer;

    names_put(&question, fd, &answer);
    if (answer.ret != (int)sizeof(*holder)) {
        return false;
    }
    memcpy(holder, answer.text, sizeof(*holder));
    holder->program[sizeof(holder->program) - 1] = '\0';
    return true;
}

bool holder_find_other(pid_t asker, int fd, const struct lock_span *span, struct holder *holder)
{
    struct search search = {.sought = {.own_fd = fd, .span = span}, .but = asker};
    unsigned count;

    if (!begin_search(&search) || !find_among("/proc", is_holder, &search, &count)) {
        return false;
    }
    tell_holder(&search, holder);
    return true;
}

bool holder_find(int fd, const struct lock_span *span, struct holder *holder)
{
    struct search search = {.sought = {.own_fd = fd, .span = span}};

    if (!begin_search(&search)) {
        return false;
    }
    if (is_own_process(&search)) {
        tell_holder(&search, holder);
        return true;
    }
    return names_are_asked() ? ask_for_other(fd, span, holder)
                             : holder_find_other(getpid(), fd, span, holder);
}

void holder_say(const struct holder *holder, char text[HOLDER_BYTES])
{
    (void)snprintf(text, HOLDER_BYTES, "%s (pid %ld)",
                   holder->program[0] ? holder->program : "a process", (long)holder->pid);
}
