/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * A main for builds without libFuzzer: runs the fuzz target once for each file that is named,
 * and for each file of a directory that is.  Without arguments, fuzz_NAME takes the directory
 * $srcdir/tests/fuzz/corpus/NAME.  TAP, so that `make check` replays the corpora.
 */

#include <dirent.h>
#include <err.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define INPUT_MAX (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned number;

static void run_file(const char *path)
{
    /* Exactly as long as the input, so that a sanitizer sees reads past its end. */
    uint8_t *data = malloc(INPUT_MAX);
    FILE *file = fopen(path, "rb");
    size_t size;

    if (!data || !file) {
        err(EXIT_FAILURE, "%s", path);
    }
    size = fread(data, 1, INPUT_MAX, file);
    fclose(file);
    data = realloc(data, size + 1);
    LLVMFuzzerTestOneInput(data, size);
    free(data);
    printf("ok %u - %s\n", ++number, path);
    fflush(stdout);
}

static void run_path(const char *path)
{
    struct stat st;
    struct dirent *entry;
    char name[4096];
    DIR *dir;

    if (stat(path, &st) < 0) {
        err(EXIT_FAILURE, "%s", path);
    }
    if (!S_ISDIR(st.st_mode)) {
        run_file(path);
        return;
    }
    dir = opendir(path);
    while (dir && (entry = readdir(dir))) {
        if (entry->d_name[0] != '.') {
            snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
            run_file(name);
        }
    }
    closedir(dir);
}

static void run_own_corpus(const char *program)
{
    const char *srcdir = getenv("srcdir");
    const char *name = strrchr(program, '/');
    char path[4096];

    name = name ? name + 1 : program;
    name += strncmp(name, "fuzz_", 5) == 0 ? 5 : 0;
    snprintf(path, sizeof(path), "%s/tests/fuzz/corpus/%s", srcdir ? srcdir : ".", name);
    run_path(path);
}

int main(int argc, char **argv)
{
    if (argc == 1) {
        run_own_corpus(argv[0]);
    }
    for (int i = 1; i < argc; i++) {
        run_path(argv[i]);
    }
    printf("1..%u\n", number);
    return EXIT_SUCCESS;
}
