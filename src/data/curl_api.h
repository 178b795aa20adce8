/* libcurl, loaded when it is first needed: linking it would cost every start of every program the
   loading of two dozen libraries behind it (measured: 9 ms). */
#ifndef NACRE_DATA_CURL_API_H
#define NACRE_DATA_CURL_API_H

#include <curl/curl.h>

typedef struct nacre_curl_api {
    CURLcode (*global_init)(long flags);
    CURL *(*easy_init)(void);
    CURLcode (*easy_setopt)(CURL *curl, CURLoption option, ...);
    CURLcode (*easy_perform)(CURL *curl);
    CURLcode (*easy_getinfo)(CURL *curl, CURLINFO info, ...);
    const char *(*easy_strerror)(CURLcode code);
    void (*easy_cleanup)(CURL *curl);
} nacre_curl_api;

/* NULL: not on this machine. */
const nacre_curl_api *nacre_curl(void);

#endif
