/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Answers of a disk's thread: at once, or to requests that wait for a drain, each with its
 * own deadline.  A request whose deadline passes is told how far the drain is; the drain
 * itself goes on.
 * Thread: the disk's.
 */

#include "daemon/plane.h"

/* Hand the request back to control with what is in `request->err` and fresh information. */
void plane_reply(struct plane *plane, struct plane_request *request);

/* Keep the request until plane_wait_end, or until its deadline. */
void plane_wait(struct plane *plane, struct plane_request *request);

/* Answer one that waits, with what is in it. */
void plane_wait_answer(struct plane *plane, struct plane_request *request);

/* Answer all that wait for `verb`; `code` 0: it is done.  The text follows the disk's name. */
void plane_wait_end(struct plane *plane, enum plane_verb verb, int code, const char *text);

/* uv_timer_cb of plane->timer. */
void plane_on_timer(uv_timer_t *timer);
