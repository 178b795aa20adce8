/* The idx format of MNIST (Y. LeCun, C. Cortes, "The MNIST database", file formats): two zero bytes, a
   type, the number of dimensions, each extent as a big-endian 32-bit integer, then the elements. */
#define _POSIX_C_SOURCE 200809L

#include "base/error.h"
#include "base/memory.h"

#include <nacre/data.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#if defined(NACRE_HAVE_ZLIB) && NACRE_HAVE_ZLIB
#define USE_ZLIB 1
#include <zlib.h>
#else
#define USE_ZLIB 0
#endif

#define AGAIN "the file is damaged, download it again"

/* deflate packs at most 258 bytes into 2 bits (RFC 1951): no stream grows more than 1032-fold. */
enum { CHUNK = 1 << 16, DEFLATE_RATIO = 1032 };

/* Where the bytes of the file come from: an open file or memory. */
typedef struct source {
    const char *name;
    FILE *file; /* NULL: bytes */
    const uint8_t *bytes;
    uint64_t size, position;
} source;

/* The idx text: the source as it is, or inflated. */
typedef struct stream {
    source from;
    bool gzip;
#if USE_ZLIB
    z_stream zlib;
    bool zlib_open, member_done;
    uint8_t *chunk;
#endif
} stream;

/* Reads min(n, what is left); short only at the end. */
static nacre_status source_read(source *from, void *out, size_t n, size_t *got) {
    uint64_t left = from->size - from->position;
    if (n > left) n = (size_t)left;
    *got = n;
    if (n == 0) return NACRE_OK;
    if (!from->file) {
        memcpy(out, from->bytes + from->position, n);
    } else if (fread(out, 1, n, from->file) != n) {
        return nacre_fail(NACRE_IO_ERROR, "%s: cannot read: %s", from->name,
                          ferror(from->file) ? strerror(errno) : "it became shorter meanwhile");
    }
    from->position += n;
    return NACRE_OK;
}

#if USE_ZLIB

static void *zlib_alloc(void *user, unsigned count, unsigned size) {
    (void)user;
    size_t bytes;
    return nacre_size_multiply(count, size, &bytes) ? nacre_alloc(bytes) : NULL;
}

static void zlib_free(void *user, void *block) {
    (void)user;
    nacre_free(block);
}

static nacre_status gzip_open(stream *s) {
    s->chunk = nacre_alloc(CHUNK);
    if (!s->chunk) return NACRE_OUT_OF_MEMORY;
    s->zlib.zalloc = zlib_alloc;
    s->zlib.zfree = zlib_free;
    /* 16 + the window's logarithm: gzip wrapping, whose checksum and length zlib compares itself. */
    if (inflateInit2(&s->zlib, 16 + MAX_WBITS) != Z_OK)
        return nacre_fail(NACRE_OUT_OF_MEMORY, "%s: no memory to inflate it", s->from.name);
    s->zlib_open = true;
    return NACRE_OK;
}

static nacre_status gzip_fill(stream *s) {
    size_t got = 0;
    nacre_status status = source_read(&s->from, s->chunk, CHUNK, &got);
    s->zlib.next_in = s->chunk;
    s->zlib.avail_in = (uInt)got;
    return status;
}

/* After the end of a member: another one may follow (RFC 1952 section 2.2), and nothing else. */
static nacre_status gzip_next_member(stream *s, bool *more) {
    *more = s->zlib.avail_in > 0;
    if (!*more) return NACRE_OK;
    if (s->zlib.next_in[0] != 0x1f)
        return nacre_fail(NACRE_BAD_FILE, "%s: bytes after the end of the gzip data; " AGAIN,
                          s->from.name);
    if (inflateReset(&s->zlib) != Z_OK)
        return nacre_fail(NACRE_INTERNAL, "%s: zlib cannot start again", s->from.name);
    s->member_done = false;
    return NACRE_OK;
}

static nacre_status gzip_error(const stream *s, int code) {
    const char *name = s->from.name;
    if (code == Z_MEM_ERROR)
        return nacre_fail(NACRE_OUT_OF_MEMORY, "%s: no memory to inflate it", name);
    return nacre_fail(NACRE_BAD_FILE, "%s: bad gzip data (%s); " AGAIN, name,
                      s->zlib.msg ? s->zlib.msg : zError(code));
}

/* Inflates min(n, what is left); the gzip trailer is checked when the end is reached. */
static nacre_status gzip_read(stream *s, uint8_t *out, size_t n, size_t *got) {
    *got = 0;
    while (*got < n) {
        nacre_status status = s->zlib.avail_in == 0 ? gzip_fill(s) : NACRE_OK;
        if (status != NACRE_OK) return status;
        if (s->member_done) {
            bool more;
            status = gzip_next_member(s, &more);
            if (status != NACRE_OK || !more) return status;
        }
        if (s->zlib.avail_in == 0)
            return nacre_fail(NACRE_BAD_FILE, "%s: cut off in the middle of its gzip data; " AGAIN,
                              s->from.name);
        size_t want = n - *got < (1u << 30) ? n - *got : 1u << 30;
        s->zlib.next_out = out + *got;
        s->zlib.avail_out = (uInt)want;
        int code = inflate(&s->zlib, Z_NO_FLUSH);
        *got += want - s->zlib.avail_out;
        if (code == Z_STREAM_END)
            s->member_done = true;
        else if (code != Z_OK && code != Z_BUF_ERROR)
            return gzip_error(s, code);
    }
    return NACRE_OK;
}

static void gzip_close(stream *s) {
    if (s->zlib_open) inflateEnd(&s->zlib);
    nacre_free(s->chunk);
}

#else

static nacre_status gzip_open(stream *s) {
    return nacre_fail(
        NACRE_UNSUPPORTED,
        "%s: packed with gzip, and this build of Nacre lacks zlib; install zlib1g-dev and "
        "build again, or unpack the file with gunzip",
        s->from.name);
}

static nacre_status gzip_read(stream *s, uint8_t *out, size_t n, size_t *got) {
    (void)s, (void)out, (void)n;
    *got = 0;
    return NACRE_UNSUPPORTED;
}

static void gzip_close(stream *s) { (void)s; }

#endif

static nacre_status stream_read(stream *s, void *out, size_t n, size_t *got) {
    return s->gzip ? gzip_read(s, out, n, got) : source_read(&s->from, out, n, got);
}

/* Exactly n bytes of the header. */
static nacre_status read_header(stream *s, uint8_t *out, size_t n) {
    size_t got = 0;
    nacre_status status = stream_read(s, out, n, &got);
    if (status != NACRE_OK || got == n) return status;
    return nacre_fail(NACRE_BAD_FILE, "%s: ends within the idx header; " AGAIN, s->from.name);
}

static nacre_status check_magic(const char *name, const uint8_t magic[4]) {
    static const struct {
        uint8_t code;
        const char *name;
    } others[] = {{0x09, "i8"}, {0x0b, "i16"}, {0x0c, "i32"}, {0x0d, "f32"}, {0x0e, "f64"}};
    bool idx = magic[0] == 0 && magic[1] == 0 && magic[3] >= 1 && magic[3] <= NACRE_MAX_DIMS;
    if (idx && magic[2] == 0x08) return NACRE_OK;
    for (size_t i = 0; idx && i < sizeof others / sizeof *others; i++) {
        if (others[i].code == magic[2])
            return nacre_fail(NACRE_UNSUPPORTED,
                              "%s: idx data of type %s; only unsigned bytes (u8) are read, write "
                              "it again as such",
                              name, others[i].name);
    }
    return nacre_fail(NACRE_BAD_FILE,
                      "%s: not an idx file of bytes: it begins with %02x %02x %02x %02x, expected "
                      "00 00 08 and 1 to %d dimensions; %s",
                      name, magic[0], magic[1], magic[2], magic[3], NACRE_MAX_DIMS,
                      magic[0] == '<' ? "this is a web page, download the file itself"
                                      : "download it again, or unpack it if it is an archive");
}

/* Reads magic and extents; nothing is allocated before they are known to fit. */
static nacre_status read_extents(stream *s, nacre_idx *idx) {
    uint8_t magic[4], extent[4 * NACRE_MAX_DIMS];
    nacre_status status = read_header(s, magic, sizeof magic);
    if (status == NACRE_OK) status = check_magic(s->from.name, magic);
    if (status != NACRE_OK) return status;
    idx->ndim = magic[3];
    status = read_header(s, extent, 4 * (size_t)idx->ndim);
    if (status != NACRE_OK) return status;
    idx->bytes = 1;
    for (int i = 0; i < idx->ndim; i++) {
        const uint8_t *at = extent + 4 * i;
        uint32_t size =
            (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
        if (size > INT32_MAX) /* the format's integers are signed */
            return nacre_fail(NACRE_BAD_FILE, "%s: size %u of dimension %d is too large; " AGAIN,
                              s->from.name, (unsigned)size, i);
        idx->dims[i] = size;
        if (!nacre_size_multiply(idx->bytes, size, &idx->bytes))
            return nacre_fail(NACRE_BAD_FILE,
                              "%s: its sizes multiply to more than memory holds; " AGAIN,
                              s->from.name);
    }
    return NACRE_OK;
}

/* The file must be able to hold what its header promises. */
static nacre_status check_length(const stream *s, const nacre_idx *idx) {
    uint64_t header = 4 + 4 * (uint64_t)idx->ndim;
    uint64_t promised = header + idx->bytes;
    uint64_t size = s->from.size;
    bool bytes_missing =
        promised < header || (s->gzip ? promised / DEFLATE_RATIO > size : promised > size);
    if (bytes_missing)
        return nacre_fail(
            NACRE_BAD_FILE,
            "%s: truncated: its header promises %zu bytes of data after %llu of header, and the "
            "file has %llu bytes%s; " AGAIN,
            s->from.name, idx->bytes, (unsigned long long)header, (unsigned long long)size,
            s->gzip ? ", packed" : " in all");
    if (!s->gzip && promised < size)
        return nacre_fail(NACRE_BAD_FILE, "%s: %llu bytes after the end of its data; " AGAIN,
                          s->from.name, (unsigned long long)(size - promised));
    return NACRE_OK;
}

static nacre_status read_data(stream *s, nacre_idx *idx) {
    idx->data = nacre_alloc(idx->bytes);
    if (!idx->data) return NACRE_OUT_OF_MEMORY;
    size_t got = 0;
    nacre_status status = stream_read(s, idx->data, idx->bytes, &got);
    if (status != NACRE_OK) return status;
    if (got < idx->bytes)
        return nacre_fail(NACRE_BAD_FILE,
                          "%s: truncated: its header promises %zu bytes of data, it holds "
                          "%zu; " AGAIN,
                          s->from.name, idx->bytes, got);
    uint8_t beyond;
    status = stream_read(s, &beyond, 1, &got);
    if (status == NACRE_OK && got > 0)
        status = nacre_fail(NACRE_BAD_FILE, "%s: more bytes after the end of its data; " AGAIN,
                            s->from.name);
    return status;
}

static nacre_status parse(stream *s, nacre_idx *out) {
    nacre_idx idx = {0};
    nacre_status status = s->gzip ? gzip_open(s) : NACRE_OK;
    if (status == NACRE_OK) status = read_extents(s, &idx);
    if (status == NACRE_OK) status = check_length(s, &idx);
    if (status == NACRE_OK) status = read_data(s, &idx);
    if (s->gzip) gzip_close(s);
    if (status != NACRE_OK) nacre_idx_free(&idx);
    *out = idx;
    return status;
}

nacre_status nacre_idx_parse(const void *bytes, size_t size, const char *name, nacre_idx *out) {
    if (!out || (!bytes && size > 0))
        return nacre_fail(NACRE_INVALID_ARGUMENT, "idx_parse: %s is NULL", out ? "bytes" : "out");
    const uint8_t *text = bytes;
    stream s = {.from = {.name = name ? name : "idx data", .bytes = text, .size = size}};
    s.gzip = size >= 2 && text[0] == 0x1f && text[1] == 0x8b;
    return parse(&s, out);
}

nacre_status nacre_idx_load(const char *path, nacre_idx *out) {
    if (!path || !out)
        return nacre_fail(NACRE_INVALID_ARGUMENT, "idx_load: %s is NULL", path ? "out" : "path");
    *out = (nacre_idx){0};
    struct stat file;
    if (stat(path, &file) != 0)
        return nacre_fail(errno == ENOENT ? NACRE_NOT_FOUND : NACRE_IO_ERROR,
                          "%s: %s; give the path of an idx file", path, strerror(errno));
    if (!S_ISREG(file.st_mode))
        return nacre_fail(NACRE_BAD_FILE, "%s: %s; give an idx file", path,
                          S_ISDIR(file.st_mode) ? "is a folder, not a regular file"
                                                : "not a regular file");
    stream s = {.from = {.name = path, .file = fopen(path, "rb"), .size = (uint64_t)file.st_size}};
    if (!s.from.file)
        return nacre_fail(NACRE_IO_ERROR, "%s: cannot open: %s; check who may read it", path,
                          strerror(errno));
    setvbuf(s.from.file, NULL, _IONBF, 0); /* reads are large already */
    uint8_t magic[2] = {0};
    s.gzip = fread(magic, 1, 2, s.from.file) == 2 && magic[0] == 0x1f && magic[1] == 0x8b;
    rewind(s.from.file);
    nacre_status status = parse(&s, out);
    fclose(s.from.file);
    return status;
}

void nacre_idx_free(nacre_idx *idx) {
    if (!idx) return;
    nacre_free(idx->data);
    *idx = (nacre_idx){0};
}
