/* Programs that do not begin, as on a disk that does not answer: as long as the file that $SHIM_PROGRAMS names is there,
 * execvp() waits, and makes a file of this name with ".hung" behind it. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

typedef int (*start_program)(const char *, char *const[]);

static start_program real;
static const char *path;
static char hung[4096];

__attribute__((constructor)) static void begin(void) {
    real = (start_program)dlsym(RTLD_NEXT, "execvp");
    path = getenv("SHIM_PROGRAMS");
    if (path)
        snprintf(hung, sizeof hung, "%s.hung", path);
}

int execvp(const char *file, char *const arguments[]) {
    if (path && access(path, F_OK) == 0) {
        close(open(hung, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
        while (access(path, F_OK) == 0)
            usleep(10000);
    }
    return real(file, arguments);
}
