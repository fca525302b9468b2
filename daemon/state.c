/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/file_lock.h"
#include "core/base/log.h"
#include "daemon/state_table.h"
#include "daemon/worker.h"

#define TABLE_NAME "disks.json"
#define TABLE_NEW_NAME "disks.json.new"

/* Far above what thousands of disks need: a file beyond it is none of ours. */
#define TABLE_BYTES_MAX (64u << 20)

struct state {
    struct worker writer;
    struct message end_message;
    void (*stopped)(void *arg);
    void *arg;
    int dir_fd;
    int lock_fd;
    bool is_writing; /* as far as control knows */
    char path[PATH_MAX + 16];
    char old_path[PATH_MAX + 32];
    char *old_text; /* owned: a table of an older version that is to be kept there, or NULL */
    char new_path[PATH_MAX + 16];
};

/* ---- reading ---- */

/* Returns the bytes read, fewer only at the end of the file, or -errno. */
static ssize_t read_all(int fd, char *text, size_t size)
{
    size_t used = 0;

    while (used < size) {
        ssize_t done = read(fd, text + used, size - used);

        if (done < 0 && errno != EINTR) {
            return -errno;
        }
        if (done == 0) {
            break;
        }
        used += done > 0 ? (size_t)done : 0;
    }
    return (ssize_t)used;
}

/*
 * Who goes back to the vblkd of before needs the table as that one can read it: it is kept when the
 * first of this version takes its place.
 */
static void note_old(struct state *state, const char *text)
{
    int version = state_table_version(text);

    if (version > 0 && version < STATE_VERSION) {
        (void)snprintf(state->old_path, sizeof(state->old_path), "%s.%d", state->path, version);
        free(state->old_text);
        state->old_text = strdup(text);
    }
}

/* Read and parse what `fd` has. */
static int read_table(struct state *state, int fd, struct disk_record **records, size_t *count,
                      struct err *err)
{
    struct stat st;
    char *text;
    ssize_t len;
    int ret;

    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > (off_t)TABLE_BYTES_MAX) {
        return state_table_refuse(state->path, err, "it is no file of a sensible size");
    }
    text = malloc((size_t)st.st_size + 1);
    if (!text) {
        return err_set(err, -ENOMEM, "%s", state->path);
    }
    len = read_all(fd, text, (size_t)st.st_size);
    if (len < 0) {
        ret = err_set(err, (int)len, "cannot read %s", state->path);
    } else {
        ret = state_table_parse(state->path, text, (size_t)len, records, count, err);
        text[len] = '\0';
        note_old(state, text);
    }
    free(text);
    return ret;
}

int state_read(struct state *state, struct disk_record **records, size_t *count, struct err *err)
{
    int fd = openat(state->dir_fd, TABLE_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    int ret;

    *records = NULL;
    *count = 0;
    if (fd < 0) {
        return errno == ENOENT ? 0 : err_set(err, -errno, "cannot open %s", state->path);
    }
    ret = read_table(state, fd, records, count, err);
    close(fd);
    return ret;
}

/* ---- writing: the writer's thread ---- */

static int write_all(int fd, const char *text, size_t len)
{
    while (len > 0) {
        ssize_t done = write(fd, text, len);

        if (done < 0 && errno != EINTR) {
            return -errno;
        }
        if (done > 0) {
            text += done;
            len -= (size_t)done;
        }
    }
    return 0;
}

/* Is that what the file has? */
static int read_back(int fd, const char *text, size_t len)
{
    char part[4096];

    for (size_t at = 0; at < len; at += sizeof(part)) {
        size_t want = min_of(len - at, sizeof(part));
        ssize_t got = pread(fd, part, want, (off_t)at);

        if (got < 0) {
            return -errno;
        }
        if ((size_t)got != want || memcmp(part, text + at, want) != 0) {
            return -EIO;
        }
    }
    return 0;
}

/* On stable storage before the rename, or a crash could leave the name with an empty file. */
static int write_new(const char *path, const char *text)
{
    /* Not openat: ThreadSanitizer does not know it, and takes a reused fd for a shared one. */
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    int ret;

    if (fd < 0) {
        return -errno;
    }
    ret = write_all(fd, text, strlen(text));
    if (ret == 0 && fsync(fd) < 0) {
        ret = -errno;
    }
    if (ret == 0) {
        ret = read_back(fd, text, strlen(text));
    }
    if (close(fd) < 0 && ret == 0) {
        ret = -errno;
    }
    return ret;
}

/* A file system that has no room for both keeps none: that is no reason to lose what changes. */
static void keep_old(struct state *state)
{
    if (!state->old_text) {
        return;
    }
    if (write_new(state->old_path, state->old_text) == 0) {
        log_info(
            "daemon: %s is of version %d from now on; a vblkd that does not know that finds %s",
            state->path, STATE_VERSION, state->old_path);
    }
    free(state->old_text);
    state->old_text = NULL;
}

static int replace_table(struct state *state, const char *text)
{
    int ret = write_new(state->new_path, text);

    if (ret == 0) {
        keep_old(state);
    }
    if (ret == 0 && rename(state->new_path, state->path) < 0) {
        ret = -errno;
    }
    if (ret < 0) {
        (void)unlink(state->new_path); /* on a full file system it is in the way of the next */
    }
    if (ret == 0 && fsync(state->dir_fd) < 0) {
        ret = -errno;
    }
    return ret;
}

static void run_saved(struct message *message)
{
    struct state_save *save = containerof(message, struct state_save, message);

    free(save->text);
    save->text = NULL;
    save->state->is_writing = false;
    save->done(save);
}

static void run_save(struct message *message)
{
    struct state_save *save = containerof(message, struct state_save, message);
    int ret = replace_table(save->state, save->text);

    save->err.code = 0;
    if (ret < 0) {
        (void)err_set(&save->err, ret, "cannot write %s", save->state->path);
    }
    message->run = run_saved;
    mailbox_send(save->state->writer.control, message);
}

static void run_end(struct message *message)
{
    struct state *state = containerof(message, struct state, end_message);

    worker_leave(&state->writer);
}

/* ---- the control thread's side ---- */

void state_save(struct state *state, char *text, struct state_save *save)
{
    save->state = state;
    save->text = text;
    state->is_writing = true;
    save->message.run = run_save;
    mailbox_send(&state->writer.mailbox, &save->message);
}

static void on_writer_ended(struct worker *worker)
{
    struct state *state = containerof(worker, struct state, writer);
    void (*stopped)(void *arg) = state->stopped;
    void *arg = state->arg;

    state_free(state);
    stopped(arg);
}

int state_start(struct state *state, struct mailbox *control, struct err *err)
{
    return worker_start(&state->writer, "state", control, on_writer_ended, err);
}

void state_stop(struct state *state, void (*stopped)(void *arg), void *arg)
{
    state->stopped = stopped;
    state->arg = arg;
    state->end_message.run = run_end;
    mailbox_send(&state->writer.mailbox, &state->end_message);
}

static void note_holder(int lock_fd)
{
    char pid[16];

    (void)snprintf(pid, sizeof(pid), "%d", (int)getpid());
    (void)!ftruncate(lock_fd, 0); /* what it says is for people; the locks are what counts */
    (void)!pwrite(lock_fd, pid, strlen(pid), 0);
}

static int refuse_dir(int lock_fd, const char *dir, struct err *err)
{
    char holder[16] = "";

    (void)!pread(lock_fd, holder, sizeof(holder) - 1, 0); /* for the message only */
    return err_say(err, -EADDRINUSE, "the state directory %s is in use by another vblkd%s%s", dir,
                   holder[0] ? ", process " : "", holder);
}

/*
 * Two locks: one on the directory, which cannot be deleted like a file while it holds the table,
 * and one on a file in it, for file systems that lock no directories (NFS).  Whoever comes next
 * must find both free.
 */
static int lock_dir(const char *dir, int dir_fd, int *lock_fd, struct err *err)
{
    int fd = openat(dir_fd, STATE_LOCK_NAME, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    int ret;

    if (fd < 0) {
        return err_set(err, -errno, "cannot open %s/" STATE_LOCK_NAME, dir);
    }
    ret = file_lock(fd);
    if (ret < 0) {
        ret = ret == -EWOULDBLOCK ? refuse_dir(fd, dir, err)
                                  : err_set(err, ret, "cannot lock %s", dir);
    } else if (file_lock(dir_fd) == -EWOULDBLOCK) {
        ret = refuse_dir(fd, dir, err);
    }
    if (ret < 0) {
        close(fd);
        return ret;
    }
    note_holder(fd);
    *lock_fd = fd;
    return 0;
}

static void name_files(struct state *state, const char *dir)
{
    (void)snprintf(state->path, sizeof(state->path), "%s/" TABLE_NAME, dir);
    (void)snprintf(state->new_path, sizeof(state->new_path), "%s/" TABLE_NEW_NAME, dir);
}

int state_open(struct state **out, const char *dir, struct err *err)
{
    int ret;
    struct state *state = calloc(1, sizeof(*state));

    if (!state) {
        return err_set(err, -ENOMEM, "state directory");
    }
    state->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (state->dir_fd < 0) {
        ret = err_set(err, -errno, "cannot open the state directory %s", dir);
        if (ret == -EACCES) {
            err_hint(err, "user %u has to be let through all directories above it", geteuid());
        }
        goto free_state;
    }
    name_files(state, dir);
    ret = lock_dir(dir, state->dir_fd, &state->lock_fd, err);
    if (ret < 0) {
        goto close_dir;
    }
    *out = state;
    return 0;

close_dir:
    close(state->dir_fd);
free_state:
    free(state);
    return ret;
}

void state_give(const struct state *state, int *dir_fd, int *lock_fd)
{
    *dir_fd = state->dir_fd;
    *lock_fd = state->lock_fd;
}

int state_take(struct state **out, const char *dir, int dir_fd, int lock_fd, struct err *err)
{
    struct state *state = calloc(1, sizeof(*state));

    if (!state) {
        return err_set(err, -ENOMEM, "state directory");
    }
    state->dir_fd = dir_fd;
    state->lock_fd = lock_fd;
    name_files(state, dir);
    *out = state;
    return 0;
}

void state_note_holder(const struct state *state)
{
    note_holder(state->lock_fd);
}

void state_free(struct state *state)
{
    free(state->old_text);
    close(state->lock_fd);
    close(state->dir_fd);
    free(state);
}

void state_let_go(const struct state *state)
{
    if (!state->is_writing) {
        (void)flock(state->dir_fd, LOCK_UN);
        (void)flock(state->lock_fd, LOCK_UN);
    }
}

const char *state_path(const struct state *state)
{
    return state->path;
}

int state_stat(const struct state *state, struct stat *st)
{
    return fstat(state->dir_fd, st) < 0 ? -errno : 0;
}
