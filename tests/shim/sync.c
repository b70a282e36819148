/* A disk that is slow to write a folder. As long as the file that $SHIM_SYNC names is there, no sync of a folder ends. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int fsync(int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    const char *hold = getenv("SHIM_SYNC");
    struct stat status;
    if (hold && fstat(fd, &status) == 0 && S_ISDIR(status.st_mode))
        while (access(hold, F_OK) == 0)
            usleep(1000);
    return real(fd);
}
