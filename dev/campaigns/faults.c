// Preloaded below Python, SQLite and Arrow: lets the n-th system call on a folder fail, and writes down all of them.
// faults_arm begins; only paths that begin with the folder, and descriptors opened by them, count.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MOST 4096
static char root[MOST], failed[64];
static char ours[MOST];  // by descriptor
static long calls, failing;
static int number, sticky, book = -1;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

void faults_arm(const char *folder, long nth, int error, int from_then_on, int log) {
    snprintf(root, sizeof root, "%s", folder);
    memset(ours, 0, sizeof ours);
    calls = 0, failing = nth, number = error, sticky = from_then_on, book = log, failed[0] = 0;
}
long faults_disarm(void) { root[0] = 0; return calls; }
const char *faults_failed(void) { return failed; }

static int inside(const char *path) { return root[0] && path && !strncmp(path, root, strlen(root)); }
static int mine(int fd) { return root[0] && fd >= 0 && fd < MOST && ours[fd]; }
static int fails(const char *name) {
    if (!failing) { calls++; return 0; }
    if (++calls == failing || (sticky && calls > failing)) {
        if (!failed[0]) snprintf(failed, sizeof failed, "%s", name);
        errno = number;
        return 1;
    }
    return 0;
}
static void note(const void *data, size_t size, const char *form, ...) {
    char line[2 * MOST + 100];
    va_list more;
    if (book < 0) return;
    va_start(more, form);
    int length = vsnprintf(line, sizeof line, form, more);
    va_end(more);
    syscall(SYS_write, book, line, length);
    if (size) syscall(SYS_write, book, data, size);
}

#define OPEN(name)                                                                  \
    int name(const char *path, int flags, ...) {                                    \
        va_list more; va_start(more, flags); mode_t mode = va_arg(more, mode_t); va_end(more); \
        int in = inside(path);                                                      \
        if (in && fails("open")) return -1;                                         \
        int fd = REAL(name)(path, flags, mode);                                     \
        if (fd >= 0 && fd < MOST) ours[fd] = in;                                    \
        if (in && fd >= 0) note(0, 0, "open\t%d\t%d\t%s\n", fd, flags & (O_CREAT | O_TRUNC), path); \
        return fd;                                                                  \
    }
OPEN(open)
OPEN(open64)
int openat(int at, const char *path, int flags, ...) {
    va_list more; va_start(more, flags); mode_t mode = va_arg(more, mode_t); va_end(more);
    int in = inside(path);
    if (in && fails("open")) return -1;
    int fd = REAL(openat)(at, path, flags, mode);
    if (fd >= 0 && fd < MOST) ours[fd] = in;
    if (in && fd >= 0) note(0, 0, "open\t%d\t%d\t%s\n", fd, flags & (O_CREAT | O_TRUNC), path);
    return fd;
}
int close(int fd) {
    int in = mine(fd);
    if (fd >= 0 && fd < MOST) ours[fd] = 0;
    int done = syscall(SYS_close, fd);
    if (in) note(0, 0, "close\t%d\n", fd);
    if (in && fails("close")) return -1;
    return done;
}
ssize_t read(int fd, void *to, size_t size) {
    if (mine(fd) && fails("read")) return -1;
    return syscall(SYS_read, fd, to, size);
}
#define PREAD(name)                                                                 \
    ssize_t name(int fd, void *to, size_t size, __typeof__(lseek64(0, 0, 0)) at) {  \
        if (mine(fd) && fails("read")) return -1;                                   \
        return REAL(name)(fd, to, size, at);                                        \
    }
PREAD(pread)
PREAD(pread64)
ssize_t write(int fd, const void *from, size_t size) {
    if (!mine(fd)) return syscall(SYS_write, fd, from, size);
    if (fails("write")) return -1;
    off_t at = lseek(fd, 0, fcntl(fd, F_GETFL) & O_APPEND ? SEEK_END : SEEK_CUR);
    ssize_t done = syscall(SYS_write, fd, from, size);
    if (done > 0) note(from, done, "write\t%d\t%ld\t%zd\n", fd, (long)at, done);
    return done;
}
#define PWRITE(name)                                                                \
    ssize_t name(int fd, const void *from, size_t size, __typeof__(lseek64(0, 0, 0)) at) { \
        if (mine(fd) && fails("write")) return -1;                                  \
        ssize_t done = REAL(name)(fd, from, size, at);                              \
        if (mine(fd) && done > 0) note(from, done, "write\t%d\t%ld\t%zd\n", fd, (long)at, done); \
        return done;                                                                \
    }
PWRITE(pwrite)
PWRITE(pwrite64)
#define ON_DESCRIPTOR(name, what, parameters, arguments, form, ...)                 \
    int name parameters {                                                           \
        if (mine(fd) && fails(what)) return -1;                                     \
        int done = REAL(name) arguments;                                            \
        if (mine(fd) && !done) note(0, 0, form, __VA_ARGS__);                       \
        return done;                                                                \
    }
ON_DESCRIPTOR(fsync, "fsync", (int fd), (fd), "fsync\t%d\n", fd)
ON_DESCRIPTOR(fdatasync, "fsync", (int fd), (fd), "fsync\t%d\n", fd)
ON_DESCRIPTOR(ftruncate, "ftruncate", (int fd, off_t size), (fd, size), "truncate\t%d\t%ld\n", fd, (long)size)
ON_DESCRIPTOR(ftruncate64, "ftruncate", (int fd, off64_t size), (fd, size), "truncate\t%d\t%ld\n", fd, (long)size)
ON_DESCRIPTOR(flock, "flock", (int fd, int how), (fd, how), "%s", "")
ON_DESCRIPTOR(fchmod, "fchmod", (int fd, mode_t mode), (fd, mode), "%s", "")
ON_DESCRIPTOR(fchown, "fchown", (int fd, uid_t user, gid_t group), (fd, user, group), "%s", "")
#define FCNTL(name)                                                                 \
    int name(int fd, int what, ...) {                                               \
        va_list more; va_start(more, what); void *with = va_arg(more, void *); va_end(more); \
        if (mine(fd) && (what == F_SETLK || what == F_SETLKW) && fails("lock")) return -1; \
        return REAL(name)(fd, what, with);                                          \
    }
FCNTL(fcntl)
FCNTL(fcntl64)
#define ON_PATH(name, parameters, arguments, path)                                  \
    int name parameters {                                                           \
        int in = inside(path);                                                      \
        if (in && fails(#name)) return -1;                                          \
        int done = REAL(name) arguments;                                            \
        if (in && !done) note(0, 0, #name "\t%s\n", path);                          \
        return done;                                                                \
    }
ON_PATH(unlink, (const char *path), (path), path)
ON_PATH(rmdir, (const char *path), (path), path)
ON_PATH(mkdir, (const char *path, mode_t mode), (path, mode), path)
int rename(const char *from, const char *to) {
    int in = inside(from) || inside(to);
    if (in && fails("rename")) return -1;
    int done = REAL(rename)(from, to);
    if (in && !done) note(0, 0, "rename\t%s\t%s\n", from, to);
    return done;
}
