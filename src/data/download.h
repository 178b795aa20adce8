/* Getting published files from the network, checked and all or nothing. */
#ifndef NACRE_DATA_DOWNLOAD_H
#define NACRE_DATA_DOWNLOAD_H

#include <nacre/status.h>
#include <stddef.h>
#include <stdint.h>

typedef struct nacre_download_file {
    const char *name;
    int64_t bytes;
    const char *sha256; /* 64 lower-case hexadecimal digits */
} nacre_download_file;

typedef struct nacre_download {
    const char *what; /* for the log: "MNIST" */
    const nacre_download_file *files;
    size_t file_count;
    const char *const *mirrors; /* base URLs, http or https, tried in order */
    size_t mirror_count;
    int connect_ms; /* for one connection */
    int stall_s;    /* below 1,000 bytes per second for this long: given up */
    int silence_ms; /* nothing received from anyone for this long: offline */
} nacre_download;

enum { NACRE_DOWNLOAD_REASON = 1024 };

/* Brings all files into `folder`, which is made. A file that is there already, whole, is kept. Each one
   is written to NAME.part, which a later call continues, and renamed once size and SHA-256 are right.
   On failure `reason` (one line) says what to do about it; the thread's last error is not set, because
   a caller may have another way. */
nacre_status nacre_download_run(const nacre_download *download, const char *folder,
                                char reason[NACRE_DOWNLOAD_REASON]);

/* The same for the four files of MNIST. NACRE_MNIST_URL replaces the table of mirrors. */
nacre_status nacre_download_mnist(const char *folder, char reason[NACRE_DOWNLOAD_REASON]);

/* Why this build or machine cannot download at all, or NULL. */
const char *nacre_download_missing(void);

#endif
