#include "base/thread.h"

#include <stddef.h>

#if defined(NACRE_HAVE_CURL) && NACRE_HAVE_CURL

#include "data/curl_api.h"

#include <dlfcn.h>
#include <string.h>

/* curl.h wraps these in macros that check the types of direct calls. */
#undef curl_easy_setopt
#undef curl_easy_getinfo

static nacre_curl_api api;
static bool loaded;

static bool load_symbols(void *library) {
    static const struct {
        const char *name;
        size_t at;
    } symbols[] = {
        {"curl_global_init", offsetof(nacre_curl_api, global_init)},
        {"curl_easy_init", offsetof(nacre_curl_api, easy_init)},
        {"curl_easy_setopt", offsetof(nacre_curl_api, easy_setopt)},
        {"curl_easy_perform", offsetof(nacre_curl_api, easy_perform)},
        {"curl_easy_getinfo", offsetof(nacre_curl_api, easy_getinfo)},
        {"curl_easy_strerror", offsetof(nacre_curl_api, easy_strerror)},
        {"curl_easy_cleanup", offsetof(nacre_curl_api, easy_cleanup)},
    };
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
        void *symbol = dlsym(library, symbols[i].name);
        if (!symbol) return false;
        memcpy((char *)&api + symbols[i].at, &symbol, sizeof symbol);
    }
    return true;
}

static void load(void) {
    static const char *const names[] = {"libcurl.so.4", "libcurl-gnutls.so.4", "libcurl.4.dylib"};
    for (size_t i = 0; i < sizeof names / sizeof *names && !loaded; i++) {
        void *library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
        loaded =
            library && load_symbols(library) && api.global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
        if (library && !loaded) dlclose(library);
    }
}

const nacre_curl_api *nacre_curl(void) {
    static nacre_once once = NACRE_ONCE_INIT;
    nacre_call_once(&once, load);
    return loaded ? &api : NULL;
}

#endif
