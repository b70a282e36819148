/* A disk as a test wants it. The file that $SHIM_DISK names has a line for each path: to open a file whose path begins so,
 * or to sync one, has no end until the line is gone. The file is read at every such call, so a test may write it anew at
 * any time. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int (*open_file)(const char *, int, ...);
typedef int (*sync_file)(int);

static int hangs(const char *wanted) {
    const char *path = getenv("SHIM_DISK");
    FILE *file = path ? fopen(path, "re") : NULL;
    if (!file)
        return 0;
    char line[4096];
    int found = 0;
    while (!found && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        found = line[0] && strncmp(wanted, line, strlen(line)) == 0;
    }
    fclose(file);
    return found;
}

static void wait_for(const char *path) {
    while (hangs(path))
        usleep(20000);
}

int open64(const char *path, int flags, ...) {
    static open_file real;
    if (!real)
        real = (open_file)dlsym(RTLD_NEXT, "open64");
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    wait_for(path);
    return real(path, flags, mode);
}

int fsync(int file) {
    static sync_file real;
    if (!real)
        real = (sync_file)dlsym(RTLD_NEXT, "fsync");
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length > 0) {
        path[length] = 0;
        wait_for(path);
    }
    return real(file);
}
