/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Answers of a disk's thread: at once, or to requests that wait for a drain, each with its
 * own deadline.
 * Thread: the disk's.
 */

#include "daemon/plane.h"

/* Hand the request back to control with what is in `request->err` and fresh information. */
void plane_reply(struct plane *plane, struct plane_request *request);

/* Keep the request until plane_wait_end, or until its deadline; `late` is called with it then. */
void plane_wait(struct plane *plane, struct plane_request *request,
                void (*late)(struct plane *plane, struct plane_request *request));

/* Keep one for a look: `then` is called with it after that, or when the time has passed. */
void plane_wait_until(struct plane *plane, struct plane_request *request, uint64_t deadline_ns,
                      void (*then)(struct plane *plane, struct plane_request *request));

/*
 * Take back one that has `then`, and was asked before `begun_ns` or only asks for information;
 * NULL: there is none.
 */
struct plane_request *plane_wait_take_asker(struct plane *plane, uint64_t begun_ns);
bool plane_wait_has_asker(const struct plane *plane);

/* Call its `then`. */
void plane_wait_go_on(struct plane *plane, struct plane_request *request);

/* Whoever ends the daemon, or waits for an add that has failed, waits no longer than that. */
void plane_wait_hurry(struct plane *plane, uint64_t deadline_ns);

/* Answer one that waits, with what is in it. */
void plane_wait_answer(struct plane *plane, struct plane_request *request);

/* Answer all that wait for `verb`: it will not be done.  The text follows the disk's name. */
void plane_wait_refuse(struct plane *plane, enum plane_verb verb, const struct err *err);
void plane_wait_end(struct plane *plane, enum plane_verb verb, int code, const char *text);

/* Answer all that wait for `verb`: it is done, with an error when the image has lost something. */
void plane_wait_done(struct plane *plane, enum plane_verb verb);
