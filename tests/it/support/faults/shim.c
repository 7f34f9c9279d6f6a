/* Faults for a program that was not told of them: an LD_PRELOAD library that makes chosen calls on chosen paths fail.
 *
 * The test writes a control file, which the shim maps: see ../faults.rs, whose constants and offsets are the same. Without
 * a rule for a call, the call costs one atomic load more. The shim calls the kernel itself and needs no library for it,
 * so it works from the first instruction on, before the allocator and the dynamic linker are done.
 *
 * What it cannot see: calls that a program makes without libc, and calls that libc makes for itself (fopen, realpath). */

#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#if !defined(__LP64__)
#error "off_t must have 64 bits"
#endif

/* The library is built without the headers' renaming of calls to their 64-bit twins: it defines both. */
#define EXPORT __attribute__((visibility("default")))

enum call { READ, PREAD, WRITE, PWRITE, FSYNC, FDATASYNC, OPEN, RENAME, UNLINK, TRUNCATE, LINK, MKDIR, STATVFS, STAT, RMDIR, THREAD };
enum action { FAIL, PRETEND, DELAY, SHORT, KILL, READ_ONLY, FREE_BYTES, GARBLE, FREE_INODES };

#define BANKS 16
#define RULES 32

struct rule {
    uint32_t calls;       /* one bit per call */
    uint32_t action;
    int64_t value;        /* errno, milliseconds, bytes … */
    uint64_t from, to;    /* bytes of the file */
    int64_t after;        /* calls that pass before it bites; counted down */
    int64_t times;        /* calls that it bites; counted down */
    uint64_t hits;        /* calls that it has bitten */
    char pattern[456];
};
struct bank { struct rule rules[RULES]; };
struct control {
    uint64_t state;       /* number of the bank in the low byte, one bit per call above it */
    int64_t clock_nanos;  /* added to CLOCK_REALTIME */
    uint64_t reserved[62];
    struct bank banks[BANKS];
};
_Static_assert(sizeof(struct rule) == 512 && offsetof(struct control, banks) == 512, "the layout of ../faults.rs");

static struct control *control;
static int (*real_statvfs)(const char *, struct statvfs *);
static int (*real_fstatvfs)(int, struct statvfs *);
static DIR *(*real_opendir)(const char *);
static int (*real_clock_gettime)(clockid_t, struct timespec *);
static int (*real_pthread_create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("FAULTS_CONTROL");
    if (path) {
        int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
        void *at = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (at == MAP_FAILED) {
            static const char said[] = "faults: the control file cannot be mapped\n";
            (void)!syscall(SYS_write, 2, said, sizeof said - 1);
            syscall(SYS_exit_group, 99);
        }
        syscall(SYS_close, fd);
        *(void **)&real_statvfs = dlsym(RTLD_NEXT, "statvfs");
        *(void **)&real_fstatvfs = dlsym(RTLD_NEXT, "fstatvfs");
        *(void **)&real_opendir = dlsym(RTLD_NEXT, "opendir");
        *(void **)&real_clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
        *(void **)&real_pthread_create = dlsym(RTLD_NEXT, "pthread_create");
        __atomic_store_n(&control, at, __ATOMIC_RELEASE);
    }
}

/* The bank in force, if one of its rules is for `call`. */
static struct bank *rules_for(enum call call) {
    struct control *found = __atomic_load_n(&control, __ATOMIC_ACQUIRE);
    uint64_t state = found ? __atomic_load_n(&found->state, __ATOMIC_ACQUIRE) : 0;
    return state >> (8 + call) & 1 ? &found->banks[(state & 0xff) % BANKS] : NULL;
}

static int path_of_fd(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, path, PATH_MAX - 1);
    if (length <= 0 || path[0] != '/') return 0;
    path[length] = 0;
    static const char gone[] = " (deleted)";
    size_t suffix = sizeof gone - 1;
    if ((size_t)length > suffix && strcmp(path + length - suffix, gone) == 0) path[length - suffix] = 0;
    return 1;
}

/* The absolute path of what a call names. */
static void path_at(int dir, const char *name, char *path) {
    char base[PATH_MAX] = "";
    if (name && name[0] != '/') {
        if (dir != AT_FDCWD) (void)!path_of_fd(dir, base);
        else if (syscall(SYS_getcwd, base, sizeof base) < 0) base[0] = 0;
    }
    const char *rest = name ? name : "";
    if (*rest == 0 || *rest == '/') snprintf(path, PATH_MAX, "%s%s", base, rest);
    else snprintf(path, PATH_MAX, "%s/%s", base, rest);
}

/* The first rule that bites. `other` is a second name of the call, or NULL. `*from` and `*to` are the bytes that the call
 * is about; a call that begins before the rule's bytes is cut to end there, as a disk does it. */
static struct rule *bites(struct bank *bank, enum call call, const char *path, const char *other, uint64_t from, uint64_t *to) {
    for (int i = 0; i < RULES; i++) {
        struct rule *rule = &bank->rules[i];
        if (rule->pattern[0] == 0) break;
        if (!(rule->calls >> call & 1)) continue;
        if (fnmatch(rule->pattern, path, 0) != 0 && !(other && fnmatch(rule->pattern, other, 0) == 0)) continue;
        if (to && rule->to && (from >= rule->to || *to <= rule->from)) continue;
        if (to && rule->to && from < rule->from && rule->action == FAIL && call <= PREAD) {
            *to = rule->from;
            continue;
        }
        if (__atomic_load_n(&rule->after, __ATOMIC_RELAXED) > 0 && __atomic_fetch_sub(&rule->after, 1, __ATOMIC_RELAXED) > 0) continue;
        if (__atomic_fetch_sub(&rule->times, 1, __ATOMIC_RELAXED) <= 0) {
            __atomic_fetch_add(&rule->times, 1, __ATOMIC_RELAXED);
            continue;
        }
        __atomic_fetch_add(&rule->hits, 1, __ATOMIC_RELAXED);
        if (rule->action == KILL) syscall(SYS_kill, syscall(SYS_getpid), SIGKILL);
        if (rule->action == DELAY) {
            struct timespec time = {rule->value / 1000, rule->value % 1000 * 1000000};
            syscall(SYS_nanosleep, &time, NULL);
            continue;
        }
        return rule;
    }
    return NULL;
}

/* Whether the call ends here, with `*result`. */
static int ends(struct rule *rule, long pretended, long *result) {
    if (!rule) return 0;
    if (rule->action == PRETEND) { *result = pretended; return 1; }
    if (rule->action != FAIL) return 0;
    errno = (int)rule->value;
    *result = -1;
    return 1;
}

static int named(enum call call, int dir, const char *name, int other_dir, const char *other, long *result) {
    struct bank *bank = rules_for(call);
    if (!bank) return 0;
    char path[PATH_MAX], second[PATH_MAX];
    path_at(dir, name, path);
    if (other) path_at(other_dir, other, second);
    return ends(bites(bank, call, path, other ? second : NULL, 0, NULL), 0, result);
}

static int opened(enum call call, int fd, long *result) {
    struct bank *bank = rules_for(call);
    char path[PATH_MAX];
    if (!bank || !path_of_fd(fd, path)) return 0;
    return ends(bites(bank, call, path, NULL, 0, NULL), 0, result);
}

static size_t length_of(const struct iovec *parts, int count) {
    size_t length = 0;
    for (int i = 0; i < count; i++) length += parts[i].iov_len;
    return length;
}

/* `parts`, cut to `length` bytes; answers how many parts are left. */
static int cut(const struct iovec *parts, int count, size_t length, struct iovec *into) {
    int kept = 0;
    while (kept < count && kept < IOV_MAX && length > 0) {
        into[kept] = parts[kept];
        if (into[kept].iov_len > length) into[kept].iov_len = length;
        length -= into[kept++].iov_len;
    }
    return kept;
}

static long transfer(enum call call, int fd, const struct iovec *parts, int count, off_t offset, int flags) {
    return call == READ    ? syscall(SYS_readv, fd, parts, count)
           : call == WRITE ? syscall(SYS_writev, fd, parts, count)
           : call == PREAD ? syscall(SYS_preadv2, fd, parts, count, offset, 0L, flags)
                           : syscall(SYS_pwritev2, fd, parts, count, offset, 0L, flags);
}

/* A read or a write for which there is a rule. */
static long moved(struct bank *bank, enum call call, int fd, const struct iovec *parts, int count, off_t offset, int flags) {
    char path[PATH_MAX];
    if (!path_of_fd(fd, path)) return transfer(call, fd, parts, count, offset, flags);
    off_t from = offset;
    if (call == READ || call == WRITE) {
        from = syscall(SYS_lseek, fd, 0L, SEEK_CUR);
        struct stat stat;
        if (call == WRITE && syscall(SYS_fcntl, fd, F_GETFL) & O_APPEND && fstat(fd, &stat) == 0) from = stat.st_size;
        if (from < 0) from = 0;
    }
    size_t length = length_of(parts, count);
    uint64_t to = from + length;
    struct rule *rule = bites(bank, call, path, NULL, from, &to);
    long result;
    if (ends(rule, (long)length, &result)) return result;
    size_t left = to - from;
    if (rule && rule->action == SHORT && left > (size_t)rule->value) left = rule->value;
    struct iovec fewer[64];
    if (left < length) {
        if (count > 64) count = 64;
        count = cut(parts, count, left, fewer);
        parts = fewer;
    }
    result = transfer(call, fd, parts, count, offset, flags);
    if (result > 0 && rule && rule->action == GARBLE) {
        off_t at = from;
        for (int i = 0; i < count && at < from + result; i++)
            for (size_t byte = 0; byte < parts[i].iov_len && at < from + result; byte++, at++)
                if (!rule->to || ((uint64_t)at >= rule->from && (uint64_t)at < rule->to)) ((char *)parts[i].iov_base)[byte] ^= 0x5a;
    }
    return result;
}

EXPORT ssize_t read(int fd, void *buffer, size_t size) {
    struct bank *bank = rules_for(READ);
    struct iovec part = {buffer, size};
    return bank ? moved(bank, READ, fd, &part, 1, 0, 0) : syscall(SYS_read, fd, buffer, size);
}
EXPORT ssize_t readv(int fd, const struct iovec *parts, int count) {
    struct bank *bank = rules_for(READ);
    return bank ? moved(bank, READ, fd, parts, count, 0, 0) : syscall(SYS_readv, fd, parts, count);
}
EXPORT ssize_t pread(int fd, void *buffer, size_t size, off_t offset) {
    struct bank *bank = rules_for(PREAD);
    struct iovec part = {buffer, size};
    return bank ? moved(bank, PREAD, fd, &part, 1, offset, 0) : syscall(SYS_pread64, fd, buffer, size, offset);
}
EXPORT ssize_t preadv2(int fd, const struct iovec *parts, int count, off_t offset, int flags) {
    struct bank *bank = rules_for(PREAD);
    return bank ? moved(bank, PREAD, fd, parts, count, offset, flags) : transfer(PREAD, fd, parts, count, offset, flags);
}
EXPORT ssize_t preadv(int fd, const struct iovec *parts, int count, off_t offset) { return preadv2(fd, parts, count, offset, 0); }
EXPORT ssize_t write(int fd, const void *buffer, size_t size) {
    struct bank *bank = rules_for(WRITE);
    struct iovec part = {(void *)buffer, size};
    return bank ? moved(bank, WRITE, fd, &part, 1, 0, 0) : syscall(SYS_write, fd, buffer, size);
}
EXPORT ssize_t writev(int fd, const struct iovec *parts, int count) {
    struct bank *bank = rules_for(WRITE);
    return bank ? moved(bank, WRITE, fd, parts, count, 0, 0) : syscall(SYS_writev, fd, parts, count);
}
EXPORT ssize_t pwrite(int fd, const void *buffer, size_t size, off_t offset) {
    struct bank *bank = rules_for(PWRITE);
    struct iovec part = {(void *)buffer, size};
    return bank ? moved(bank, PWRITE, fd, &part, 1, offset, 0) : syscall(SYS_pwrite64, fd, buffer, size, offset);
}
EXPORT ssize_t pwritev2(int fd, const struct iovec *parts, int count, off_t offset, int flags) {
    struct bank *bank = rules_for(PWRITE);
    return bank ? moved(bank, PWRITE, fd, parts, count, offset, flags) : transfer(PWRITE, fd, parts, count, offset, flags);
}
EXPORT ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) { return pwritev2(fd, parts, count, offset, 0); }
EXPORT ssize_t pread64(int fd, void *buffer, size_t size, off_t offset) { return pread(fd, buffer, size, offset); }
EXPORT ssize_t preadv64(int fd, const struct iovec *parts, int count, off_t offset) { return preadv(fd, parts, count, offset); }
EXPORT ssize_t preadv64v2(int fd, const struct iovec *parts, int count, off_t offset, int flags) { return preadv2(fd, parts, count, offset, flags); }
EXPORT ssize_t pwrite64(int fd, const void *buffer, size_t size, off_t offset) { return pwrite(fd, buffer, size, offset); }
EXPORT ssize_t pwritev64(int fd, const struct iovec *parts, int count, off_t offset) { return pwritev(fd, parts, count, offset); }
EXPORT ssize_t pwritev64v2(int fd, const struct iovec *parts, int count, off_t offset, int flags) { return pwritev2(fd, parts, count, offset, flags); }

EXPORT int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument) {
    struct bank *bank = rules_for(THREAD);
    long result;
    if (bank && ends(bites(bank, THREAD, "thread", NULL, 0, NULL), 0, &result)) return errno;
    if (!real_pthread_create) *(void **)&real_pthread_create = dlsym(RTLD_NEXT, "pthread_create");
    return real_pthread_create(thread, attributes, run, argument);
}

EXPORT int fsync(int fd) {
    long result;
    return (int)(opened(FSYNC, fd, &result) ? result : syscall(SYS_fsync, fd));
}
EXPORT int fdatasync(int fd) {
    long result;
    return (int)(opened(FDATASYNC, fd, &result) ? result : syscall(SYS_fdatasync, fd));
}
EXPORT int ftruncate(int fd, off_t size) {
    long result;
    return (int)(opened(TRUNCATE, fd, &result) ? result : syscall(SYS_ftruncate, fd, size));
}
EXPORT int ftruncate64(int fd, off_t size) { return ftruncate(fd, size); }

static int open_at(int dir, const char *name, int flags, mode_t mode) {
    long result;
    return (int)(named(OPEN, dir, name, 0, NULL, &result) ? result : syscall(SYS_openat, dir, name, flags, mode));
}
#define MODE(last) \
    mode_t mode = 0; \
    if (flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE) { \
        va_list rest; \
        va_start(rest, last); \
        mode = va_arg(rest, mode_t); \
        va_end(rest); \
    }
EXPORT int open(const char *name, int flags, ...) { MODE(flags) return open_at(AT_FDCWD, name, flags, mode); }
EXPORT int open64(const char *name, int flags, ...) { MODE(flags) return open_at(AT_FDCWD, name, flags, mode); }
EXPORT int openat(int dir, const char *name, int flags, ...) { MODE(flags) return open_at(dir, name, flags, mode); }
EXPORT int openat64(int dir, const char *name, int flags, ...) { MODE(flags) return open_at(dir, name, flags, mode); }
EXPORT int creat(const char *name, mode_t mode) { return open_at(AT_FDCWD, name, O_CREAT | O_WRONLY | O_TRUNC, mode); }
EXPORT DIR *opendir(const char *name) {
    long result;
    if (named(OPEN, AT_FDCWD, name, 0, NULL, &result) || !real_opendir) return NULL;
    return real_opendir(name);
}

EXPORT int renameat2(int dir, const char *from, int other_dir, const char *to, unsigned flags) {
    long result;
    return (int)(named(RENAME, dir, from, other_dir, to, &result) ? result : syscall(SYS_renameat2, dir, from, other_dir, to, flags));
}
EXPORT int renameat(int dir, const char *from, int other_dir, const char *to) { return renameat2(dir, from, other_dir, to, 0); }
EXPORT int rename(const char *from, const char *to) { return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0); }
EXPORT int linkat(int dir, const char *from, int other_dir, const char *to, int flags) {
    long result;
    return (int)(named(LINK, dir, from, other_dir, to, &result) ? result : syscall(SYS_linkat, dir, from, other_dir, to, flags));
}
EXPORT int link(const char *from, const char *to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }
EXPORT int unlinkat(int dir, const char *name, int flags) {
    long result;
    return (int)(named(flags & AT_REMOVEDIR ? RMDIR : UNLINK, dir, name, 0, NULL, &result) ? result : syscall(SYS_unlinkat, dir, name, flags));
}
EXPORT int unlink(const char *name) { return unlinkat(AT_FDCWD, name, 0); }
EXPORT int rmdir(const char *name) { return unlinkat(AT_FDCWD, name, AT_REMOVEDIR); }
EXPORT int mkdirat(int dir, const char *name, mode_t mode) {
    long result;
    return (int)(named(MKDIR, dir, name, 0, NULL, &result) ? result : syscall(SYS_mkdirat, dir, name, mode));
}
EXPORT int mkdir(const char *name, mode_t mode) { return mkdirat(AT_FDCWD, name, mode); }
EXPORT int statx(int dir, const char *restrict name, int flags, unsigned mask, struct statx *restrict found) {
    long result;
    if (*name ? named(STAT, dir, name, 0, NULL, &result) : opened(STAT, dir, &result)) return (int)result;
    return (int)syscall(SYS_statx, dir, name, flags, mask, found);
}

static int changed(struct rule *rule, struct statvfs *found) {
    if (!rule) return 0;
    if (rule->action == READ_ONLY) found->f_flag |= ST_RDONLY;
    if (rule->action == FREE_BYTES) found->f_bavail = found->f_bfree = (fsblkcnt_t)rule->value / found->f_frsize;
    if (rule->action == FREE_INODES) found->f_favail = found->f_ffree = (fsfilcnt_t)rule->value;
    return 0;
}
static int asked(struct rule *rule, int result, struct statvfs *found) {
    long ended;
    if (ends(rule, 0, &ended)) return (int)ended;
    return result ? result : changed(rule, found);
}
EXPORT int statvfs(const char *name, struct statvfs *found) {
    struct bank *bank = rules_for(STATVFS);
    int result = real_statvfs(name, found);
    if (!bank) return result;
    char path[PATH_MAX];
    path_at(AT_FDCWD, name, path);
    return asked(bites(bank, STATVFS, path, NULL, 0, NULL), result, found);
}
EXPORT int fstatvfs(int fd, struct statvfs *found) {
    struct bank *bank = rules_for(STATVFS);
    int result = real_fstatvfs(fd, found);
    char path[PATH_MAX];
    if (!bank || !path_of_fd(fd, path)) return result;
    return asked(bites(bank, STATVFS, path, NULL, 0, NULL), result, found);
}
EXPORT int statvfs64(const char *name, struct statvfs64 *found) { return statvfs(name, (struct statvfs *)found); }
EXPORT int fstatvfs64(int fd, struct statvfs64 *found) { return fstatvfs(fd, (struct statvfs *)found); }

/* The wall clock; the monotonic clock stays as it is. */
EXPORT int clock_gettime(clockid_t clock, struct timespec *found) {
    struct control *set = __atomic_load_n(&control, __ATOMIC_ACQUIRE);
    int result = real_clock_gettime ? real_clock_gettime(clock, found) : (int)syscall(SYS_clock_gettime, clock, found);
    if (result || !set || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE)) return result;
    int64_t shift = __atomic_load_n(&set->clock_nanos, __ATOMIC_RELAXED);
    int64_t nanos = found->tv_nsec + shift % 1000000000;
    found->tv_sec += shift / 1000000000 + (nanos >= 1000000000) - (nanos < 0);
    found->tv_nsec = nanos >= 1000000000 ? nanos - 1000000000 : nanos < 0 ? nanos + 1000000000 : nanos;
    return 0;
}
EXPORT int gettimeofday(struct timeval *restrict found, void *restrict zone) {
    (void)zone;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    *found = (struct timeval){now.tv_sec, now.tv_nsec / 1000};
    return 0;
}
EXPORT time_t time(time_t *found) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (found) *found = now.tv_sec;
    return now.tv_sec;
}
