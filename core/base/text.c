/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/base/text.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/base.h"

/* How long a character of UTF-8 is that begins with `first`, 0: none does. */
static size_t length_of(uint8_t first)
{
    if (first < 0x80) {
        return 1;
    }
    if (first < 0xc2 || first > 0xf4) {
        return 0;
    }
    return first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

/* Of this length there are none below, and none of the halves of UTF-16. */
static bool is_character(uint32_t code, size_t len)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};

    return code >= least[len] && code <= 0x10ffff && !(code >= 0xd800 && code <= 0xdfff);
}

/* The character at `text`.  Returns its length, 0: it is no UTF-8. */
static size_t decode_character(const char *text, size_t len, uint32_t *code)
{
    uint8_t first = (uint8_t)text[0];
    size_t need = length_of(first);

    if (need == 0 || need > len) {
        return 0;
    }
    *code = need == 1 ? first : first & (0x7fu >> need);
    for (size_t i = 1; i < need; i++) {
        uint8_t next = (uint8_t)text[i];

        if ((next & 0xc0) != 0x80) {
            return 0;
        }
        *code = *code << 6 | (next & 0x3fu);
    }
    return is_character(*code, need) ? need : 0;
}

static bool is_harmful(uint32_t code)
{
    return code < 0x20 || (code >= 0x7f && code <= 0x9f) || /* C0, DEL, C1 */
           code == 0x2028 || code == 0x2029 ||              /* separators */
           (code >= 0x202a && code <= 0x202e) ||            /* embeddings and overrides */
           (code >= 0x2066 && code <= 0x2069);              /* isolates */
}

/* The next character as it is to be shown.  Returns how many bytes of `text` it is. */
static size_t show_next(char shown[8], const char *text, size_t len)
{
    uint32_t code = 0;
    size_t used = decode_character(text, len, &code);

    if (used == 0 || (used == 1 && is_harmful(code))) {
        (void)snprintf(shown, 8, "\\x%02x", (uint8_t)text[0]);
        return 1;
    }
    if (is_harmful(code)) {
        (void)snprintf(shown, 8, "\\u%04x", (uint16_t)code);
    } else {
        memcpy(shown, text, used);
        shown[used] = '\0';
    }
    return used;
}

size_t text_escape(char *out, size_t size, const char *text, size_t len)
{
    size_t used = 0;
    size_t at = 0;

    while (at < len && text[at] != '\0') {
        char shown[8];
        size_t shown_len;

        at += show_next(shown, text + at, len - at);
        shown_len = strlen(shown);
        if (used + shown_len >= size) {
            break;
        }
        memcpy(out + used, shown, shown_len);
        used += shown_len;
    }
    out[used] = '\0';
    return used;
}

const char *text_safe(const char *text, char *out, size_t size)
{
    (void)text_escape(out, size, text, strlen(text));
    return out;
}

/* What no shell looks at. */
static bool is_plain(const char *path)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                "_@%+=:,./-";

    return path[0] != '\0' && path[strspn(path, plain)] == '\0';
}

/* Is all of it UTF-8, and nothing that a terminal acts on unless that `may_be_harmful`? */
static bool is_text(const char *text, bool may_be_harmful)
{
    size_t left = strlen(text);

    while (left > 0) {
        uint32_t code = 0;
        size_t used = decode_character(text, left, &code);

        if (used == 0 || (!may_be_harmful && is_harmful(code))) {
            return false;
        }
        text += used;
        left -= used;
    }
    return true;
}

/* One byte as it stands between the quotes of $'...'. */
static size_t escape_byte(char out[5], char byte)
{
    bool is_special = byte == '\'' || byte == '\\';

    if (byte < ' ' || byte > '~') {
        return (size_t)snprintf(out, 5, "\\x%02x", (uint8_t)byte);
    }
    return (size_t)snprintf(out, 5, "%s%c", is_special ? "\\" : "", byte);
}

/* One byte as it stands between two quotes: one of these is out, a quote, and in again. */
static size_t quote_byte(char out[5], char byte)
{
    return byte == '\'' ? (size_t)snprintf(out, 5, "'\\''") : (size_t)snprintf(out, 5, "%c", byte);
}

const char *text_quote(const char *path, char out[TEXT_QUOTED_BYTES])
{
    bool is_escaped = !is_text(path, false);
    const char *begin = is_escaped ? "$'" : is_plain(path) ? "" : "'";
    const char *end = *begin ? "'" : "";
    size_t used = (size_t)snprintf(out, TEXT_QUOTED_BYTES, "%s", begin);

    for (; *path; path++) {
        char word[5];
        size_t len = is_escaped ? escape_byte(word, *path) : quote_byte(word, *path);

        if (used + len + strlen(end) >= TEXT_QUOTED_BYTES) {
            (void)snprintf(out, TEXT_QUOTED_BYTES, "PATH");
            return out;
        }
        memcpy(out + used, word, len);
        used += len;
    }
    (void)snprintf(out + used, TEXT_QUOTED_BYTES - used, "%s", end);
    return out;
}

bool text_is_utf8(const char *text)
{
    return is_text(text, true);
}

bool text_is_id(const char *text, uint32_t *id)
{
    char *end;
    unsigned long long number = strtoull(text, &end, 10);

    if (text[0] < '0' || text[0] > '9' || *end != '\0' || number >= UINT32_MAX) {
        return false;
    }
    *id = (uint32_t)number;
    return true;
}
