/* A preloaded shim with which a test takes back what a power cut would have taken: before each change to a file
 * below POWERCUT_DATA it notes in POWERCUT_JOURNAL what was there, and after each fsync or fdatasync, what that made
 * durable. The test kills the process, and then undoes what was not (powercut.rs). sync_file_range makes nothing
 * durable here: it does not empty the disk's cache. With POWERCUT_DEAF=1, fdatasync makes nothing durable either:
 * so the test proves that it would notice.
 *
 * The journal needs no fsync: a killed process's page cache survives. Calls go to the kernel directly, so nothing
 * is needed of the library that is shadowed. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { WRITE = 1, TRUNCATE, CREATE, REMOVE, RENAME, SYNC };

/* Read by powercut.rs: little-endian, as it lies in memory. Name, other name and old bytes follow. */
struct entry {
    uint32_t kind;
    uint32_t name_len;
    uint64_t inode;  /* the file's; for names, their folder's */
    uint64_t offset; /* SYNC: how many entries came before it began */
    uint64_t length; /* of the write; TRUNCATE: the new length; REMOVE, RENAME: number of the kept file or 0 */
    uint64_t size;   /* the file's before */
    uint32_t other_len;
    uint32_t old_len;
};

#define FDS 65536
static unsigned char tracked[FDS];
static char data[PATH_MAX];
static char stash[PATH_MAX];
static int journal = -1;
static int deaf;
static uint64_t entries, kept;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void give_up(const char *why) {
    dprintf(2, "powercut: %s: %s\n", why, strerror(errno));
    _exit(111);
}

__attribute__((constructor)) static void start(void) {
    const char *folder = getenv("POWERCUT_DATA"), *path = getenv("POWERCUT_JOURNAL");
    if (!folder || !path) return;
    // It becomes the process that is meant.
    if (!strcmp(program_invocation_short_name, "setpriv")) return;
    unsetenv("LD_PRELOAD");
    if (!realpath(folder, data)) give_up(folder);
    snprintf(stash, sizeof stash, "%s.kept", path);
    syscall(SYS_mkdirat, AT_FDCWD, stash, 0700);
    deaf = getenv("POWERCUT_DEAF") != NULL;
    journal = syscall(SYS_openat, AT_FDCWD, path, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
    if (journal < 0) give_up(path);
}

static int is_ours(const char *path) {
    size_t len = strlen(data);
    return len && !strncmp(path, data, len) && (path[len] == '/' || !path[len]);
}

/* Not seen here: names that are made by system call without libc (fjall renames its `current` file so, and syncs the
 * folder next: that name counts as durable at once), and folders being made.
 *
 * The name in full: the engines and souk give absolute names, or such as begin in the working directory. */
static int full(const char *path, char *out) {
    char here[PATH_MAX] = "";
    if (path[0] != '/' && !getcwd(here, sizeof here)) return 0;
    while (!strncmp(path, "./", 2)) path += 2;
    int len = snprintf(out, PATH_MAX, "%s%s%s", here, *here ? "/" : "", path);
    return len < PATH_MAX && is_ours(out);
}

static int ours(int fd) { return journal >= 0 && fd >= 0 && fd < FDS && tracked[fd]; }

static void note(struct entry *entry, const char *name, const char *other, void *old) {
    entry->name_len = name ? strlen(name) : 0;
    entry->other_len = other ? strlen(other) : 0;
    struct iovec parts[4] = {{entry, sizeof *entry},
                             {(void *)name, entry->name_len},
                             {(void *)other, entry->other_len},
                             {old, entry->old_len}};
    size_t whole = sizeof *entry + entry->name_len + entry->other_len + entry->old_len;
    if (syscall(SYS_writev, journal, parts, 4) != (ssize_t)whole) give_up("the journal");
    entries++;
}

/* Notes what lies in a range of a file. The lock is held. */
static void note_range(int fd, int kind, uint64_t offset, uint64_t length) {
    struct stat stat;
    if (fstat(fd, &stat)) give_up("fstat");
    uint64_t size = stat.st_size, from = offset, to = kind == TRUNCATE ? size : offset + length;
    if (to > size) to = size;
    uint64_t len = to > from ? to - from : 0;
    char *old = len ? malloc(len) : NULL;
    int source = fd;
    for (uint64_t done = 0; done < len;) {
        ssize_t got = syscall(SYS_pread64, source, old + done, len - done, from + done);
        if (got < 0 && errno == EBADF && source == fd) {
            char self[64]; /* opened for writing only */
            snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
            source = syscall(SYS_openat, AT_FDCWD, self, O_RDONLY | O_CLOEXEC, 0);
            if (source < 0) give_up(self);
            continue;
        }
        if (got <= 0) give_up("what was there");
        done += got;
    }
    if (source != fd) syscall(SYS_close, source);
    struct entry entry = {.kind = kind, .inode = stat.st_ino, .offset = offset, .length = length, .size = size};
    entry.old_len = len;
    note(&entry, NULL, NULL, old);
    free(old);
}

static uint64_t folder_inode(const char *path) {
    char folder[PATH_MAX];
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash) *slash = 0;
    struct stat of;
    return fstatat(AT_FDCWD, folder, &of, 0) ? 0 : of.st_ino;
}

/* Keeps a file that is about to lose its name. */
static uint64_t keep(const char *path) {
    char kept_as[PATH_MAX + 32];
    snprintf(kept_as, sizeof kept_as, "%s/%llu", stash, (unsigned long long)++kept);
    return syscall(SYS_linkat, AT_FDCWD, path, AT_FDCWD, kept_as, 0) ? 0 : kept;
}

static int open_ours(int dir, const char *path, int flags, mode_t mode) {
    char name[PATH_MAX];
    int may_change = journal >= 0 && (dir == AT_FDCWD || path[0] == '/') && full(path, name);
    int is_new = may_change && (flags & O_CREAT) && faccessat(AT_FDCWD, name, F_OK, 0);
    if (may_change && !is_new && (flags & O_TRUNC)) {
        int before = syscall(SYS_openat, AT_FDCWD, name, O_RDONLY | O_CLOEXEC, 0);
        if (before >= 0) {
            pthread_mutex_lock(&lock);
            note_range(before, TRUNCATE, 0, 0);
            pthread_mutex_unlock(&lock);
            syscall(SYS_close, before);
        }
    }
    int fd = syscall(SYS_openat, dir, path, flags, mode);
    if (!may_change || fd < 0 || fd >= FDS) return fd;
    int error = errno;
    tracked[fd] = 1;
    if (is_new) {
        pthread_mutex_lock(&lock);
        struct entry entry = {.kind = CREATE, .inode = folder_inode(name)};
        note(&entry, name, NULL, NULL);
        pthread_mutex_unlock(&lock);
    }
    errno = error;
    return fd;
}

static mode_t mode_of(int flags, va_list rest) {
    return flags & (O_CREAT | O_TMPFILE) ? (mode_t)va_arg(rest, int) : 0;
}
#define OPEN(name)                                                                                                     \
    int name(const char *path, int flags, ...) {                                                                       \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        mode_t mode = mode_of(flags, rest);                                                                            \
        va_end(rest);                                                                                                  \
        return open_ours(AT_FDCWD, path, flags, mode);                                                                 \
    }
#define OPENAT(name)                                                                                                   \
    int name(int dir, const char *path, int flags, ...) {                                                              \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        mode_t mode = mode_of(flags, rest);                                                                            \
        va_end(rest);                                                                                                  \
        return open_ours(dir, path, flags, mode);                                                                      \
    }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

int close(int fd) {
    if (fd >= 0 && fd < FDS) tracked[fd] = 0;
    return syscall(SYS_close, fd);
}

#define CHANGE(fd, kind, offset, length, call)                                                                         \
    if (!ours(fd)) return call;                                                                                        \
    pthread_mutex_lock(&lock);                                                                                         \
    note_range(fd, kind, offset, length);                                                                              \
    ssize_t done = call;                                                                                               \
    int error = errno;                                                                                                 \
    pthread_mutex_unlock(&lock);                                                                                       \
    errno = error;                                                                                                     \
    return done;

static uint64_t position(int fd) {
    int append = fcntl(fd, F_GETFL) & O_APPEND;
    struct stat stat;
    if (append && !fstat(fd, &stat)) return stat.st_size;
    return lseek(fd, 0, SEEK_CUR);
}
static uint64_t total(const struct iovec *parts, int count) {
    uint64_t sum = 0;
    while (count-- > 0) sum += parts[count].iov_len;
    return sum;
}

ssize_t write(int fd, const void *bytes, size_t len) {
    CHANGE(fd, WRITE, position(fd), len, syscall(SYS_write, fd, bytes, len))
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
    CHANGE(fd, WRITE, position(fd), total(parts, count), syscall(SYS_writev, fd, parts, count))
}
ssize_t pwrite64(int fd, const void *bytes, size_t len, off64_t offset) {
    CHANGE(fd, WRITE, offset, len, syscall(SYS_pwrite64, fd, bytes, len, offset))
}
ssize_t pwrite(int fd, const void *bytes, size_t len, off_t offset) { return pwrite64(fd, bytes, len, offset); }
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset) {
    CHANGE(fd, WRITE, offset, total(parts, count), syscall(SYS_pwritev, fd, parts, count, offset, 0))
}
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
    return pwritev64(fd, parts, count, offset);
}
int ftruncate64(int fd, off64_t length) { CHANGE(fd, TRUNCATE, length, length, syscall(SYS_ftruncate, fd, length)) }
int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

/* Not used by what is tested: should that change, the test must not be silently wrong. */
int fallocate64(int fd, int mode, off64_t offset, off64_t length) {
    if (ours(fd)) give_up("fallocate is not modelled");
    return syscall(SYS_fallocate, fd, mode, offset, length);
}
int fallocate(int fd, int mode, off_t offset, off_t length) { return fallocate64(fd, mode, offset, length); }
void *mmap64(void *at, size_t len, int protection, int flags, int fd, off64_t offset) {
    int written = (flags & MAP_TYPE) != MAP_PRIVATE && protection & PROT_WRITE;
    if (written && ours(fd)) give_up("shared writable mappings are not modelled");
    return (void *)syscall(SYS_mmap, at, len, protection, flags, fd, offset);
}
void *mmap(void *at, size_t len, int protection, int flags, int fd, off_t offset) {
    return mmap64(at, len, protection, flags, fd, offset);
}

static int synced(int fd, long number, int hears) {
    if (!ours(fd)) return syscall(number, fd);
    pthread_mutex_lock(&lock);
    struct stat stat;
    if (fstat(fd, &stat)) give_up("fstat");
    struct entry entry = {.kind = SYNC, .inode = stat.st_ino, .offset = entries};
    pthread_mutex_unlock(&lock);
    int done = syscall(number, fd), error = errno;
    if (!done && hears) {
        pthread_mutex_lock(&lock);
        note(&entry, NULL, NULL, NULL);
        pthread_mutex_unlock(&lock);
    }
    errno = error;
    return done;
}
int fsync(int fd) { return synced(fd, SYS_fsync, 1); }
int fdatasync(int fd) { return synced(fd, SYS_fdatasync, !deaf); }

int renameat(int from_dir, const char *from, int to_dir, const char *to) {
    char name[PATH_MAX], other[PATH_MAX];
    if (journal < 0 || !full(from, name) || !full(to, other)) return syscall(SYS_renameat2, from_dir, from, to_dir, to, 0);
    pthread_mutex_lock(&lock);
    struct entry entry = {.kind = RENAME, .inode = folder_inode(name), .length = keep(other)};
    note(&entry, name, other, NULL);
    int done = syscall(SYS_renameat2, from_dir, from, to_dir, to, 0), error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}
int rename(const char *from, const char *to) { return renameat(AT_FDCWD, from, AT_FDCWD, to); }

int unlinkat(int dir, const char *path, int flags) {
    char name[PATH_MAX];
    if (journal < 0 || flags & AT_REMOVEDIR || !full(path, name)) return syscall(SYS_unlinkat, dir, path, flags);
    pthread_mutex_lock(&lock);
    struct entry entry = {.kind = REMOVE, .inode = folder_inode(name), .length = keep(name)};
    note(&entry, name, NULL, NULL);
    int done = syscall(SYS_unlinkat, dir, path, flags), error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}
int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
