/* Calls on files that fail or hang as a test wants. The file that $SHIM_DISK names begins with a `struct control`, which
 * the test and all processes share. While `on` is set, each call on a file below a folder of the tests is noted in
 * $SHIM_DISK.calls, in a line with the function and the file's name, and one of the calls fails, or hangs until
 * `let_go` is set. At any time, calls that open or sync a file below the path in `hung` hang. */

#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/un.h>
#include <unistd.h>

struct control {
    volatile int32_t on;
    /* The error number of the call that is struck; 0: that call hangs. */
    volatile int32_t error;
    /* The call to strike among those whose line is `wanted`, counted from 1; 0: none. */
    volatile int32_t number;
    volatile int32_t seen;
    volatile int32_t is_hit;
    volatile int32_t let_go;
    /* The line of the call to strike, in the form in which calls are noted. */
    char wanted[232];
    /* The path below which calls hang; empty: none. */
    volatile char hung[256];
};

static struct control *control;
static char calls[256];
static const char folders[] = "/palantir-";

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("SHIM_DISK");
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0)
        return;
    snprintf(calls, sizeof calls, "%s.calls", path);
    void *mapped = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (mapped != MAP_FAILED)
        control = mapped;
}

static void note(const char *line) {
    int file = syscall(SYS_openat, AT_FDCWD, calls, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0)
        return;
    syscall(SYS_write, file, line, strlen(line));
    syscall(SYS_close, file);
}

static void pause_briefly(void) {
    syscall(SYS_nanosleep, &(struct timespec){.tv_nsec = 50000000}, NULL);
}

static int is_hung(const char *function, const char *path) {
    const char *hung = (const char *)control->hung;
    return *hung && strncmp(path, hung, strlen(hung)) == 0 &&
           (!strcmp(function, "open") || !strcmp(function, "create") || !strcmp(function, "fsync"));
}

/* The error that the call is to return; 0: the call is passed on to the C library. */
static int fate(const char *function, const char *path) {
    while (control && path && is_hung(function, path))
        pause_briefly();
    const char *folder = control && control->on && path ? strstr(path, folders) : NULL;
    if (!folder)
        return 0;
    const char *name = strrchr(folder + 1, '/');
    char line[232];
    if (snprintf(line, sizeof line, "%s %s\n", function, name ? name + 1 : ".") >= (int)sizeof line)
        return 0;
    note(line);
    if (strcmp(line, control->wanted) != 0 || __sync_add_and_fetch(&control->seen, 1) != control->number)
        return 0;
    control->is_hit = 1;
    while (!control->error && !control->let_go)
        pause_briefly();
    return control->error;
}

static int fate_of_fd(const char *function, int fd) {
    char link[32], path[256];
    if (!control || !(control->on || *control->hung))
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = syscall(SYS_readlink, link, path, sizeof path - 1);
    if (length <= 0)
        return 0;
    path[length] = 0;
    return fate(function, path);
}

static int fate_of_path(const char *function, const char *path) {
    static const char descriptors[] = "/proc/self/fd/";
    if (path && strncmp(path, descriptors, sizeof descriptors - 1) == 0)
        return fate_of_fd(function, atoi(path + sizeof descriptors - 1));
    return fate(function, path);
}

static int fate_of_socket(const char *function, const struct sockaddr *addr) {
    return addr && addr->sa_family == AF_UNIX ? fate(function, ((const struct sockaddr_un *)addr)->sun_path) : 0;
}

/* Replaces a function of the C library: returns the error of `fate`, or calls the function. */
#define BEFORE(result, failed, name, fate, parameters, arguments)          \
    result name parameters {                                               \
        static result(*real) parameters;                                   \
        if (!real)                                                         \
            real = (result(*) parameters)dlsym(RTLD_NEXT, #name);          \
        int error = fate;                                                  \
        if (error) {                                                       \
            errno = error;                                                 \
            return failed;                                                 \
        }                                                                  \
        return real arguments;                                             \
    }

typedef struct statx statx_found;

BEFORE(ssize_t, -1, read, fate_of_fd("read", fd), (int fd, void *to, size_t size), (fd, to, size))
BEFORE(ssize_t, -1, write, fate_of_fd("write", fd), (int fd, const void *from, size_t size), (fd, from, size))
BEFORE(int, -1, fsync, fate_of_fd("fsync", fd), (int fd), (fd))
BEFORE(int, -1, fdatasync, fate_of_fd("fsync", fd), (int fd), (fd))
BEFORE(int, -1, fchmod, fate_of_fd("chmod", fd), (int fd, mode_t mode), (fd, mode))
BEFORE(int, -1, fchown, fate_of_fd("chown", fd), (int fd, uid_t user, gid_t group), (fd, user, group))
BEFORE(int, -1, flock, fate_of_fd("flock", fd), (int fd, int how), (fd, how))
BEFORE(int, -1, rename, fate("rename", from), (const char *from, const char *to), (from, to))
BEFORE(int, -1, unlink, fate("unlink", path), (const char *path), (path))
BEFORE(int, -1, chmod, fate_of_path("chmod", path), (const char *path, mode_t mode), (path, mode))
BEFORE(int, -1, chown, fate_of_path("chown", path), (const char *path, uid_t user, gid_t group), (path, user, group))
BEFORE(int, -1, lchown, fate("chown", path), (const char *path, uid_t user, gid_t group), (path, user, group))
BEFORE(int, -1, mkdir, fate("mkdir", path), (const char *path, mode_t mode), (path, mode))
BEFORE(DIR *, NULL, opendir, fate("opendir", path), (const char *path), (path))
BEFORE(char *, NULL, realpath, fate("realpath", path), (const char *path, char *to), (path, to))
BEFORE(ssize_t, -1, readlink, fate("readlink", path), (const char *path, char *to, size_t size), (path, to, size))
BEFORE(int, -1, statx, *path ? fate("stat", path) : fate_of_fd("stat", fd),
       (int fd, const char *path, int flags, unsigned mask, statx_found *to), (fd, path, flags, mask, to))
BEFORE(int, -1, connect, fate_of_socket("connect", addr), (int fd, const struct sockaddr *addr, socklen_t size),
       (fd, addr, size))
BEFORE(int, -1, bind, fate_of_socket("bind", addr), (int fd, const struct sockaddr *addr, socklen_t size),
       (fd, addr, size))

int open64(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;
    va_end(more);
    int error = fate(flags & O_CREAT ? "create" : "open", path);
    if (error) {
        errno = error;
        return -1;
    }
    return syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}
