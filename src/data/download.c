#define _DEFAULT_SOURCE /* flock */

#include "data/download.h"

#include "base/cancel.h"
#include "base/clock.h"
#include "base/log.h"
#include "data/sha256.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

static const char *const mnist_mirrors[] = {
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
};

/* The original files of the MNIST database. */
static const nacre_download_file mnist_files[] = {
    {"train-images-idx3-ubyte.gz", 9912422,
     "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"},
    {"train-labels-idx1-ubyte.gz", 28881,
     "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"},
    {"t10k-images-idx3-ubyte.gz", 1648877,
     "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"},
    {"t10k-labels-idx1-ubyte.gz", 4542,
     "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"},
};

nacre_status nacre_download_mnist(const char *folder, char reason[NACRE_DOWNLOAD_REASON]) {
    const char *url = getenv("NACRE_MNIST_URL");
    nacre_download mnist = {.what = "MNIST",
                            .files = mnist_files,
                            .file_count = COUNT(mnist_files),
                            .mirrors = mnist_mirrors,
                            .mirror_count = COUNT(mnist_mirrors),
                            .connect_ms = 5000,
                            .stall_s = 5,
                            .silence_ms = 6000};
    if (url && *url) {
        mnist.mirrors = &url;
        mnist.mirror_count = 1;
    }
    return nacre_download_run(&mnist, folder, reason);
}

#if defined(NACRE_HAVE_CURL) && NACRE_HAVE_CURL

#include "data/curl_api.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* curl.h wraps it in a macro that checks the types of direct calls. */
#undef curl_easy_setopt

enum { PATH_BYTES = 4096, TRIES = 5 };

/* How one transfer ended. */
typedef enum outcome {
    WHOLE,    /* all bytes are in the .part file */
    CUT,      /* some came: worth going on from there */
    NO_RANGE, /* the server cannot go on in the middle */
    REFUSED,  /* this mirror will not do */
    LOCAL,    /* this machine will not do: disk full, cancelled */
} outcome;

typedef struct job {
    const nacre_download *download;
    const nacre_curl_api *api;
    const char *folder;
    CURL *curl;
    size_t mirror;       /* that worked last */
    uint64_t started_ns; /* for the silence limit */
    bool heard;          /* some mirror has sent data */
    char *reason;
    /* of the present file */
    const nacre_download_file *file;
    int fd;
    int64_t have; /* bytes in the .part file */
    bool too_long;
    int write_errno;
    char detail[CURL_ERROR_SIZE];
} job;

const char *nacre_download_missing(void) {
    return nacre_curl() ? NULL : "libcurl is not on this machine: install libcurl4";
}

static void explain(job *j, const char *subject, const char *why) {
    snprintf(j->reason, NACRE_DOWNLOAD_REASON, "%.600s: %.400s", subject, why);
}

/* ---- one transfer ---- */

static size_t on_data(char *data, size_t size, size_t count, void *user) {
    job *j = user;
    size_t bytes = size * count, done = 0;
    j->heard = true;
    if ((int64_t)bytes > j->file->bytes - j->have) {
        j->too_long = true;
        return 0;
    }
    while (done < bytes) {
        ssize_t written = write(j->fd, data + done, bytes - done);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) {
            j->write_errno = errno;
            return 0;
        }
        done += (size_t)written;
        j->have += written;
    }
    return bytes;
}

static int64_t silence_left_ms(const job *j) {
    return j->download->silence_ms - (int64_t)((nacre_clock_ns() - j->started_ns) / 1000000);
}

/* Called at least once a second. Not 0 stops the transfer. */
static int on_progress(void *user, curl_off_t total, curl_off_t now, curl_off_t up,
                       curl_off_t up_now) {
    (void)total, (void)now, (void)up, (void)up_now;
    const job *j = user;
    return nacre_cancelled() || (!j->heard && silence_left_ms(j) <= 0);
}

static bool set_options(job *j, const char *url) {
    CURL *c = j->curl;
    CURLcode (*set)(CURL *, CURLoption, ...) = j->api->easy_setopt;
    long connect_ms = j->download->connect_ms;
    if (!j->heard && silence_left_ms(j) < connect_ms) connect_ms = (long)silence_left_ms(j);
    if (connect_ms < 1) connect_ms = 1; /* 0 would mean curl's default */
    bool failed =
        set(c, CURLOPT_URL, url) || set(c, CURLOPT_NOSIGNAL, 1L) ||
        set(c, CURLOPT_USERAGENT, "nacre") || set(c, CURLOPT_FAILONERROR, 1L) ||
        set(c, CURLOPT_CONNECTTIMEOUT_MS, connect_ms) || set(c, CURLOPT_LOW_SPEED_LIMIT, 1000L) ||
        set(c, CURLOPT_LOW_SPEED_TIME, (long)j->download->stall_s) ||
        set(c, CURLOPT_FOLLOWLOCATION, 1L) || set(c, CURLOPT_MAXREDIRS, 5L) ||
        set(c, CURLOPT_RESUME_FROM_LARGE, (curl_off_t)j->have) ||
        set(c, CURLOPT_ERRORBUFFER, j->detail) || set(c, CURLOPT_WRITEFUNCTION, on_data) ||
        set(c, CURLOPT_WRITEDATA, j) || set(c, CURLOPT_NOPROGRESS, 0L) ||
        set(c, CURLOPT_XFERINFOFUNCTION, on_progress) || set(c, CURLOPT_XFERINFODATA, j);
    /* A redirection must not reach files or other services of this machine. */
#if LIBCURL_VERSION_NUM >= 0x075500
    return !failed && !set(c, CURLOPT_PROTOCOLS_STR, "http,https") &&
           !set(c, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
#else
    return !failed && !set(c, CURLOPT_PROTOCOLS, CURLPROTO_HTTP | CURLPROTO_HTTPS) &&
           !set(c, CURLOPT_REDIR_PROTOCOLS, CURLPROTO_HTTP | CURLPROTO_HTTPS);
#endif
}

static outcome judge(job *j, const char *url, CURLcode code, int64_t had) {
    if (nacre_cancelled()) {
        explain(j, url, "cancelled");
        return LOCAL;
    }
    if (j->write_errno != 0) {
        explain(j, j->folder, strerror(j->write_errno));
        return LOCAL;
    }
    if (code == CURLE_OK && j->have == j->file->bytes) return WHOLE;
    long answer = 0;
    j->api->easy_getinfo(j->curl, CURLINFO_RESPONSE_CODE, &answer);
    if (had > 0 && (code == CURLE_RANGE_ERROR || answer == 416)) return NO_RANGE;
    if (j->too_long || code == CURLE_OK) {
        explain(j, url,
                j->too_long ? "the file there is longer than it should be"
                            : "the file there is shorter than it should be");
        if (ftruncate(j->fd, had) == 0) j->have = had; /* what came is something else */
        return REFUSED;
    }
    const char *why = j->detail[0] ? j->detail : j->api->easy_strerror(code);
    explain(j, url, code == CURLE_ABORTED_BY_CALLBACK ? "no answer" : why);
    return j->have > had ? CUT : REFUSED;
}

static outcome transfer(job *j, const char *base) {
    char url[PATH_BYTES];
    size_t length = strlen(base);
    const char *slash = length > 0 && base[length - 1] == '/' ? "" : "/";
    snprintf(url, sizeof url, "%s%s%s", base, slash, j->file->name);
    int64_t had = j->have;
    j->detail[0] = '\0';
    j->too_long = false;
    j->write_errno = 0;
    if (!set_options(j, url)) {
        explain(j, url, "this libcurl is too old, or out of memory");
        return LOCAL;
    }
    if (lseek(j->fd, had, SEEK_SET) < 0) {
        explain(j, j->folder, strerror(errno));
        return LOCAL;
    }
    return judge(j, url, j->api->easy_perform(j->curl), had);
}

/* ---- one file ---- */

/* Is the open file what was published? */
static bool is_genuine(int fd, const nacre_download_file *file) {
    struct stat status;
    if (fstat(fd, &status) != 0 || status.st_size != file->bytes || lseek(fd, 0, SEEK_SET) != 0)
        return false;
    nacre_sha256 hash;
    unsigned char bytes[16384];
    char hex[65];
    nacre_sha256_begin(&hash);
    for (;;) {
        ssize_t got = read(fd, bytes, sizeof bytes);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return false;
        if (got == 0) break;
        nacre_sha256_add(&hash, bytes, (size_t)got);
    }
    nacre_sha256_end(&hash, hex);
    return strcmp(hex, file->sha256) == 0;
}

static bool is_present(const char *path, const nacre_download_file *file) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    bool genuine = is_genuine(fd, file);
    close(fd);
    return genuine;
}

static bool start_again(job *j) {
    j->have = 0;
    if (ftruncate(j->fd, 0) == 0) return true;
    explain(j, j->folder, strerror(errno));
    return false;
}

/* Tries one mirror until it has sent the whole, genuine file or is of no use. */
static outcome fetch_from(job *j, const char *base) {
    for (int i = 0; i < TRIES; i++) {
        bool from_start = j->have == 0;
        outcome end = j->have == j->file->bytes ? WHOLE : transfer(j, base);
        if (end == REFUSED || end == LOCAL) return end;
        if (end == CUT) continue;
        if (end == WHOLE && is_genuine(j->fd, j->file)) return WHOLE;
        if (!start_again(j)) return LOCAL;
        if (end == WHOLE) {
            explain(j, base, "the file there has a wrong SHA-256");
            if (from_start) return REFUSED; /* else the old part may have been the bad one */
        }
    }
    return REFUSED;
}

static outcome fetch(job *j) {
    size_t mirrors = j->download->mirror_count;
    outcome end = REFUSED;
    for (size_t i = 0; i < mirrors && end == REFUSED; i++) {
        if (!j->heard && silence_left_ms(j) <= 0) break;
        size_t mirror = (j->mirror + i) % mirrors;
        end = fetch_from(j, j->download->mirrors[mirror]);
        if (end == WHOLE) j->mirror = mirror;
    }
    return end;
}

/* Opens and locks NAME.part; another process that downloads the same file is waited for. */
static int open_part(const char *part) {
    for (;;) {
        int fd = open(part, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
        struct stat ours, there;
        if (fd < 0) return -1;
        if (flock(fd, LOCK_EX) == 0 && fstat(fd, &ours) == 0) {
            if (stat(part, &there) == 0 && there.st_ino == ours.st_ino &&
                there.st_dev == ours.st_dev)
                return fd;
            close(fd); /* the other one finished and renamed it */
            continue;
        }
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
}

static bool commit(job *j, const char *part, const char *path) {
    if (fsync(j->fd) == 0 && rename(part, path) == 0) {
        int folder = open(j->folder, O_RDONLY | O_CLOEXEC);
        if (folder >= 0) {
            (void)fsync(folder); /* best effort: not every file system can */
            close(folder);
        }
        return true;
    }
    explain(j, path, strerror(errno));
    return false;
}

static nacre_status download_file(job *j) {
    char path[PATH_BYTES], part[PATH_BYTES];
    int length = snprintf(path, sizeof path, "%s/%s", j->folder, j->file->name);
    int part_length = snprintf(part, sizeof part, "%s/%s.part", j->folder, j->file->name);
    if (length < 0 || part_length >= PATH_BYTES) {
        explain(j, j->folder, "the path is too long");
        return NACRE_INVALID_ARGUMENT;
    }
    if (is_present(path, j->file)) return NACRE_OK;
    j->fd = open_part(part);
    if (j->fd < 0) {
        explain(j, part, strerror(errno));
        return NACRE_IO_ERROR;
    }
    outcome end = LOCAL;
    if (is_present(path, j->file)) { /* by another process meanwhile */
        unlink(part);
        close(j->fd);
        return NACRE_OK;
    }
    j->have = lseek(j->fd, 0, SEEK_END);
    if ((j->have >= 0 && j->have <= j->file->bytes) || start_again(j)) end = fetch(j);
    bool done = end == WHOLE && commit(j, part, path);
    /* What came is kept for the next time, unless it is this disk that is in trouble. */
    if (!done && (j->write_errno != 0 || lseek(j->fd, 0, SEEK_END) == 0)) unlink(part);
    close(j->fd);
    return done ? NACRE_OK : nacre_cancelled() ? NACRE_CANCELLED : NACRE_IO_ERROR;
}

/* ---- all files ---- */

static bool make_folders(const char *folder) {
    char path[PATH_BYTES];
    size_t length = strlen(folder);
    if (length == 0 || length >= sizeof path) return false;
    memcpy(path, folder, length + 1);
    for (size_t i = 1; i <= length; i++) {
        if (path[i] != '/' && path[i] != '\0') continue;
        char end = path[i];
        path[i] = '\0';
        if (mkdir(path, 0755) != 0 && errno != EEXIST) return false;
        path[i] = end;
    }
    struct stat status;
    return stat(folder, &status) == 0 && S_ISDIR(status.st_mode);
}

nacre_status nacre_download_run(const nacre_download *download, const char *folder,
                                char reason[NACRE_DOWNLOAD_REASON]) {
    job j = {
        .download = download, .folder = folder, .reason = reason, .started_ns = nacre_clock_ns()};
    j.api = nacre_curl();
    snprintf(reason, NACRE_DOWNLOAD_REASON, "%s", j.api ? "no mirror" : nacre_download_missing());
    if (!j.api) return NACRE_UNSUPPORTED;
    if (!make_folders(folder)) {
        snprintf(reason, NACRE_DOWNLOAD_REASON, "%.600s: cannot make the folder: %s", folder,
                 strerror(errno));
        return NACRE_IO_ERROR;
    }
    j.curl = j.api->easy_init();
    if (!j.curl) {
        snprintf(reason, NACRE_DOWNLOAD_REASON, "libcurl does not start");
        return NACRE_OUT_OF_MEMORY;
    }
    nacre_log("downloading %s to %s", download->what, folder);
    nacre_status status = NACRE_OK;
    for (size_t i = 0; i < download->file_count && status == NACRE_OK; i++) {
        j.file = &download->files[i];
        status = download_file(&j);
    }
    j.api->easy_cleanup(j.curl);
    return status;
}

#else

const char *nacre_download_missing(void) {
    return "this build of Nacre lacks libcurl: install libcurl4-openssl-dev and build again";
}

nacre_status nacre_download_run(const nacre_download *download, const char *folder,
                                char reason[NACRE_DOWNLOAD_REASON]) {
    (void)download, (void)folder;
    snprintf(reason, NACRE_DOWNLOAD_REASON, "%s", nacre_download_missing());
    return NACRE_UNSUPPORTED;
}

#endif
