/* Records, in their order, all changes that a process makes to files below a folder; loaded by LD_PRELOAD.

   RECORDER_FOLDER   what is watched           RECORDER_LOG   where the record goes

   SQLite writes past every layer of ours, so this sits below both. A lock makes the order of the record the order of
   the effects. Files are known by a number that no two of them share. An entry of the log is

     u8 kind · u32 file · u64 offset · u32 bytes of data · u16 bytes of path · u16 bytes of other path · data · paths

   and its kind one of  w write  t truncate (offset: the size)  s sync  c create  d make folder  r rename  u unlink
   l link  x remove folder. Memory maps are not seen: SQLite's -shm, which a first connection makes anew, is left out.

   RECORDER_FAULTS names a file of three i64: what fails (0 nothing, 1 no room, 2 sync, 3 too many open files,
   4 read-only, 5 i/o error), at how manieth call from now on it begins, and for how many calls; the file is mapped, so
   that a test changes it while the process runs, and the second number counts down.  */
#define _GNU_SOURCE
#include <dlfcn.h>
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
#include <sys/uio.h>
#include <unistd.h>

#define FILES 65536
#define REAL(name) ((__typeof__(&name))real(#name))
enum { NONE, NO_ROOM, SYNC, TOO_MANY, READ_ONLY, IO };

static pthread_mutex_t lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static char folder[PATH_MAX];
static size_t folder_length;
static int log_file = -1;
static int64_t *faults;
static uint32_t next_file = 1;
static struct { dev_t device; ino_t inode; uint32_t file; } known[FILES];
static int known_count;
static uint32_t file_of[FILES]; /* by descriptor, 0: not watched */

static void *real(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) { fprintf(stderr, "recorder: no %s\n", name); abort(); }
    return found;
}

__attribute__((constructor)) static void begin(void) {
    const char *watched = getenv("RECORDER_FOLDER"), *log = getenv("RECORDER_LOG"), *told = getenv("RECORDER_FAULTS");
    if (!watched) return;
    if (!realpath(watched, folder)) return;
    folder_length = strlen(folder);
    if (log) log_file = REAL(open)(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (told) {
        int file = REAL(open)(told, O_RDWR | O_CLOEXEC);
        faults = mmap(NULL, 24, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    }
}

static int ends_with(const char *path, const char *end) {
    size_t a = strlen(path), b = strlen(end);
    return a >= b && !strcmp(path + a - b, end);
}

/* The absolute path when it is watched, else NULL. */
static const char *watched(int at, const char *path, char *out) {
    if (!folder_length || !path) return NULL;
    char joined[2 * PATH_MAX];
    if (path[0] == '/') snprintf(joined, sizeof joined, "%s", path);
    else {
        char base[PATH_MAX];
        if (at == AT_FDCWD) { if (!getcwd(base, sizeof base)) return NULL; }
        else {
            char link[64];
            snprintf(link, sizeof link, "/proc/self/fd/%d", at);
            ssize_t length = readlink(link, base, sizeof base - 1);
            if (length < 0) return NULL;
            base[length] = 0;
        }
        snprintf(joined, sizeof joined, "%s/%s", base, path);
    }
    if (strncmp(joined, folder, folder_length) || (joined[folder_length] != '/' && joined[folder_length])) return NULL;
    if (ends_with(joined, "-shm") || ends_with(joined, "/lock")) return NULL;
    snprintf(out, PATH_MAX, "%s", joined + folder_length);
    return out;
}

static void put(char kind, uint32_t file, uint64_t offset, const void *data, uint32_t size, const char *a, const char *b) {
    if (log_file < 0) return;
    uint8_t head[21];
    uint16_t first = a ? strlen(a) : 0, second = b ? strlen(b) : 0;
    head[0] = kind;
    memcpy(head + 1, &file, 4); memcpy(head + 5, &offset, 8); memcpy(head + 13, &size, 4);
    memcpy(head + 17, &first, 2); memcpy(head + 19, &second, 2);
    struct iovec parts[4] = {{head, 21}, {(void *)data, size}, {(void *)a, first}, {(void *)b, second}};
    if (REAL(writev)(log_file, parts, 4) < 0) abort();
}

static uint32_t number_of(const struct stat *found, int is_new) {
    for (int i = 0; i < known_count; i++)
        if (known[i].inode == found->st_ino && known[i].device == found->st_dev) {
            if (is_new) known[i].file = next_file++;
            return known[i].file;
        }
    if (known_count == FILES) abort();
    known[known_count].device = found->st_dev;
    known[known_count].inode = found->st_ino;
    return known[known_count++].file = next_file++;
}

/* Whether this call is to fail; sets errno. */
static int fails(int kind, int error) {
    if (!faults || faults[0] != kind) return 0;
    if (faults[1] > 0) { faults[1]--; return 0; }
    if (faults[2] <= 0) return 0;
    faults[2]--;
    errno = error;
    return 1;
}

static int write_fails(void) {
    return fails(NO_ROOM, ENOSPC) || fails(READ_ONLY, EROFS) || fails(IO, EIO);
}

static int opened(int at, const char *path, int flags, mode_t mode, int (*open_it)(int, const char *, int, mode_t)) {
    char buffer[PATH_MAX];
    const char *seen = watched(at, path, buffer);
    if (!seen) return open_it(at, path, flags, mode);
    pthread_mutex_lock(&lock);
    struct stat found;
    int was_there = !fstatat(at, path, &found, 0);
    int writes = (flags & O_ACCMODE) != O_RDONLY;
    int result = -1;
    if (fails(TOO_MANY, EMFILE)) goto out;
    if (writes && !was_there && (fails(NO_ROOM, ENOSPC))) goto out;
    if (writes && fails(READ_ONLY, EROFS)) goto out;
    result = open_it(at, path, flags, mode);
    if (result >= 0 && result < FILES && !fstat(result, &found)) {
        uint32_t file = number_of(&found, !was_there);
        file_of[result] = file;
        if (!was_there) put('c', file, 0, NULL, 0, seen, NULL);
        else {
            put(S_ISDIR(found.st_mode) ? 'D' : 'o', file, 0, NULL, 0, seen, NULL);
            if ((flags & O_TRUNC) && writes) put('t', file, 0, NULL, 0, NULL, NULL);
        }
    }
out:
    pthread_mutex_unlock(&lock);
    return result;
}

static int really_openat(int at, const char *path, int flags, mode_t mode) { return REAL(openat)(at, path, flags, mode); }

#define MODE mode_t mode = 0; if (flags & (O_CREAT | O_TMPFILE)) { va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); }
int open(const char *path, int flags, ...) { MODE return opened(AT_FDCWD, path, flags, mode, really_openat); }
int open64(const char *path, int flags, ...) { MODE return opened(AT_FDCWD, path, flags | O_LARGEFILE, mode, really_openat); }
int openat(int at, const char *path, int flags, ...) { MODE return opened(at, path, flags, mode, really_openat); }
int openat64(int at, const char *path, int flags, ...) { MODE return opened(at, path, flags | O_LARGEFILE, mode, really_openat); }

int close(int file) {
    if (file >= 0 && file < FILES) file_of[file] = 0;
    return REAL(close)(file);
}

static uint32_t seen(int file) { return file >= 0 && file < FILES ? file_of[file] : 0; }

ssize_t pwrite64(int file, const void *data, size_t size, off64_t offset) {
    uint32_t number = seen(file);
    if (!number) return REAL(pwrite64)(file, data, size, offset);
    pthread_mutex_lock(&lock);
    ssize_t written = -1;
    if (write_fails()) {
        /* A full disk takes a part. */
        if (errno == ENOSPC && size > 1) {
            written = REAL(pwrite64)(file, data, size / 2, offset);
            faults[2]++;
        }
    } else written = REAL(pwrite64)(file, data, size, offset);
    if (written > 0) put('w', number, offset, data, written, NULL, NULL);
    pthread_mutex_unlock(&lock);
    return written;
}
ssize_t pwrite(int file, const void *data, size_t size, off_t offset) { return pwrite64(file, data, size, offset); }
ssize_t write(int file, const void *data, size_t size) {
    uint32_t number = seen(file);
    if (!number) return REAL(write)(file, data, size);
    pthread_mutex_lock(&lock);
    ssize_t written = -1;
    if (!write_fails()) {
        off_t offset = lseek(file, 0, (fcntl(file, F_GETFL) & O_APPEND) ? SEEK_END : SEEK_CUR);
        written = REAL(write)(file, data, size);
        if (written > 0) put('w', number, offset, data, written, NULL, NULL);
    }
    pthread_mutex_unlock(&lock);
    return written;
}

#define SIMPLE(number, call, failing, record) \
    pthread_mutex_lock(&lock); int result = -1; \
    if (!(failing)) { result = call; if (!result) record; } \
    pthread_mutex_unlock(&lock); return result;

int ftruncate64(int file, off64_t size) {
    uint32_t number = seen(file);
    if (!number) return REAL(ftruncate64)(file, size);
    SIMPLE(number, REAL(ftruncate64)(file, size), fails(READ_ONLY, EROFS) || fails(IO, EIO), put('t', number, size, NULL, 0, NULL, NULL))
}
int ftruncate(int file, off_t size) { return ftruncate64(file, size); }
int truncate64(const char *path, off64_t size) {
    char buffer[PATH_MAX];
    struct stat found;
    if (!watched(AT_FDCWD, path, buffer) || stat(path, &found)) return REAL(truncate64)(path, size);
    uint32_t number = number_of(&found, 0);
    put('o', number, 0, NULL, 0, buffer, NULL);
    SIMPLE(number, REAL(truncate64)(path, size), fails(READ_ONLY, EROFS) || fails(IO, EIO), put('t', number, size, NULL, 0, NULL, NULL))
}
int truncate(const char *path, off_t size) { return truncate64(path, size); }
int fsync(int file) {
    uint32_t number = seen(file);
    if (!number) return REAL(fsync)(file);
    SIMPLE(number, 0, fails(SYNC, EIO), put('s', number, 0, NULL, 0, NULL, NULL))
}
int fdatasync(int file) { return fsync(file); }

static int named(char kind, int at, const char *path, int to_at, const char *to, int result_of_nothing) {
    (void)result_of_nothing;
    char a[PATH_MAX], b[PATH_MAX];
    const char *from = watched(at, path, a), *target = to ? watched(to_at, to, b) : NULL;
    pthread_mutex_lock(&lock);
    struct stat found;
    int result = -1;
    uint32_t number = 0;
    if ((from || target) && (fails(READ_ONLY, EROFS) || (kind != 'u' && kind != 'x' && fails(NO_ROOM, ENOSPC)))) goto out;
    if (from && (kind == 'r' || kind == 'l') && !fstatat(at, path, &found, AT_SYMLINK_NOFOLLOW)) number = number_of(&found, 0);
    switch (kind) {
    case 'r': result = REAL(renameat)(at, path, to_at, to); break;
    case 'l': result = REAL(linkat)(at, path, to_at, to, 0); break;
    case 'u': result = REAL(unlinkat)(at, path, 0); break;
    case 'x': result = REAL(unlinkat)(at, path, AT_REMOVEDIR); break;
    }
    if (!result && (from || target)) put(kind, number, 0, NULL, 0, from, target);
out:
    pthread_mutex_unlock(&lock);
    return result;
}
int rename(const char *a, const char *b) { return named('r', AT_FDCWD, a, AT_FDCWD, b, 0); }
int renameat(int at, const char *a, int to, const char *b) {
    static __thread int inside;
    if (inside) return REAL(renameat)(at, a, to, b);
    inside = 1;
    int result = named('r', at, a, to, b, 0);
    inside = 0;
    return result;
}
int link(const char *a, const char *b) { return named('l', AT_FDCWD, a, AT_FDCWD, b, 0); }
int linkat(int at, const char *a, int to, const char *b, int flags) { (void)flags; return named('l', at, a, to, b, 0); }
int unlink(const char *path) { return named('u', AT_FDCWD, path, 0, NULL, 0); }
int unlinkat(int at, const char *path, int flags) { return named(flags & AT_REMOVEDIR ? 'x' : 'u', at, path, 0, NULL, 0); }
int rmdir(const char *path) { return named('x', AT_FDCWD, path, 0, NULL, 0); }
int mkdirat(int at, const char *path, mode_t mode) {
    char buffer[PATH_MAX];
    const char *new = watched(at, path, buffer);
    pthread_mutex_lock(&lock);
    int result = -1;
    if (!new || !(fails(NO_ROOM, ENOSPC) || fails(READ_ONLY, EROFS))) result = REAL(mkdirat)(at, path, mode);
    struct stat found;
    if (!result && new && !fstatat(at, path, &found, 0)) put('d', number_of(&found, 1), 0, NULL, 0, new, NULL);
    pthread_mutex_unlock(&lock);
    return result;
}
int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }
