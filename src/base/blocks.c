/* nacre_pool_take and nacre_pool_give: free lists of small blocks.

   Each thread has a short list per size class; a list that runs full or empty exchanges half a
   list with a shared store, so that blocks taken on one thread and given back on another find their way
   back. Each block is a nacre_alloc block of its own and can be released at any time. */
#include "base/memory.h"

#include "base/accounting.h"
#include "base/thread.h"

#include <stdatomic.h>
#include <stdlib.h>

/* AddressSanitizer sees a use after nacre_pool_give only if the block is really released. */
#if defined(__SANITIZE_ADDRESS__)
#define POOLED 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POOLED 0
#endif
#endif
#ifndef POOLED
#define POOLED 1
#endif

/* Classes: every 64 bytes up to 1 KiB, then four per doubling up to 1 MiB. Larger blocks are
   allocated each time. */
enum {
    STEP = 64,
    FINE_BYTES = 1024,
    FINE_CLASSES = FINE_BYTES / STEP,
    DOUBLINGS = 10,
    CLASSES = FINE_CLASSES + 4 * DOUBLINGS,
    LARGEST_BYTES = FINE_BYTES << DOUBLINGS,
};

/* A thread keeps up to LOCAL_BLOCKS of a class, the store up to STORE_BYTES of a class of more than
   1 KiB; fine classes are bounded by what was live at the peak. */
enum { LOCAL_BLOCKS = 64, LOCAL_BYTES = 256 << 10, STORE_BYTES = 4 << 20 };

typedef struct free_block {
    struct free_block *next;
} free_block;

typedef struct list {
    free_block *first;
    size_t count, limit; /* limit: of a thread's list, once it has given a block; 0 before */
} list;

static _Thread_local list local_lists[CLASSES];
static _Thread_local bool local_watched; /* the thread's exit will release its lists */

static nacre_mutex store_mutex = NACRE_MUTEX_INIT;
static list store_lists[CLASSES];

static pthread_key_t exit_key;
static bool exit_key_made;

static size_t class_of(size_t size) {
    if (size <= FINE_BYTES) return size == 0 ? 0 : (size - 1) / STEP;
    /* size - 1 = (4 + quarter) << shift, and the class holds sizes up to (5 + quarter) << shift. */
    unsigned top = 63u - (unsigned)__builtin_clzll((unsigned long long)size - 1);
    size_t quarter = ((size - 1) >> (top - 2)) & 3;
    return FINE_CLASSES + 4 * (size_t)(top - 10) + quarter;
}

static size_t class_bytes(size_t class) {
    if (class < FINE_CLASSES) return (class + 1) * STEP;
    size_t coarse = class - FINE_CLASSES;
    return (5 + coarse % 4) << (8 + coarse / 4);
}

static void push(list *to, free_block *b) {
    b->next = to->first;
    to->first = b;
    to->count++;
}

static free_block *pop(list *from) {
    free_block *b = from->first;
    from->first = b->next;
    from->count--;
    return b;
}

static void move(list *to, list *from, size_t count) {
    while (count-- > 0 && from->first) push(to, pop(from));
}

static void release(list *from) {
    while (from->first) nacre_free(pop(from));
}

static size_t local_limit(size_t class) {
    if (class < FINE_CLASSES) return LOCAL_BLOCKS;
    size_t fitting = LOCAL_BYTES / class_bytes(class);
    return fitting < 2 ? 2 : fitting > LOCAL_BLOCKS ? LOCAL_BLOCKS : fitting;
}

static size_t store_limit(size_t class) {
    return class < FINE_CLASSES ? SIZE_MAX : STORE_BYTES / class_bytes(class);
}

static void release_local(void *unused) {
    (void)unused;
    local_watched = false;
    for (size_t i = 0; i < CLASSES; i++) {
        release(&local_lists[i]);
        local_lists[i].limit = 0; /* what is given from here on is looked at again */
    }
}

void nacre_pool_trim(void) {
    for (size_t i = 0; i < CLASSES; i++) {
        release(&local_lists[i]);
        nacre_mutex_lock(&store_mutex);
        list stored = store_lists[i];
        store_lists[i] = (list){0};
        nacre_mutex_unlock(&store_mutex);
        release(&stored);
    }
}

/* The store is a leaf: nothing is called while it is locked, so a fork may wait for it. */
static void lock_store(void) { nacre_mutex_lock(&store_mutex); }

static void unlock_store(void) { nacre_mutex_unlock(&store_mutex); }

static void prepare_process(void) {
    exit_key_made = pthread_key_create(&exit_key, release_local) == 0;
    nacre_at_fork(lock_store, unlock_store, unlock_store);
}

/* Called before this thread's first cached block. Without a key the thread caches nothing. */
static bool watch_exit(void) {
    static nacre_once once = NACRE_ONCE_INIT;
    nacre_call_once(&once, prepare_process);
    local_watched = exit_key_made && pthread_setspecific(exit_key, local_lists) == 0;
    return local_watched;
}

/* Rare, and apart, so that the usual way needs no room on the stack. */
static __attribute__((noinline)) free_block *refill(size_t class) {
    list *mine = &local_lists[class];
    if (local_watched || watch_exit()) {
        lock_store();
        move(mine, &store_lists[class], (local_limit(class) + 1) / 2);
        unlock_store();
    }
    return mine->first ? pop(mine) : nacre_obtain(class_bytes(class), true);
}

static __attribute__((noinline)) void *take_slowly(size_t size) {
    if (!POOLED) return nacre_obtain(size, size > LARGEST_BYTES);
    if (size > LARGEST_BYTES) return nacre_obtain(size, true);
    size_t class = class_of(size);
    list *mine = &local_lists[class];
    return mine->first ? pop(mine) : refill(class);
}

/* The list of a fine class; a record's lifetime takes and gives several blocks of these. NULL: another class. */
static list *fine_list(size_t size) {
    return size - 1 < FINE_BYTES ? &local_lists[(size - 1) / STEP] : NULL;
}

void *nacre_pool_take(size_t size) {
    if (nacre_account_fails(size)) return NULL;
    list *mine = fine_list(size);
    return mine && mine->first ? pop(mine) : take_slowly(size);
}

/* Half of a full list goes to the store, or back to the allocator once the store is full too. */
static void spill(size_t class) {
    list *mine = &local_lists[class], surplus = {0};
    move(&surplus, mine, (mine->count + 1) / 2);
    lock_store();
    list *stored = &store_lists[class];
    size_t limit = store_limit(class);
    move(stored, &surplus, stored->count < limit ? limit - stored->count : 0);
    unlock_store();
    release(&surplus);
}

static __attribute__((noinline)) void give_slowly(void *block, size_t size) {
    if (!POOLED || size > LARGEST_BYTES || (!local_watched && !watch_exit())) {
        nacre_free(block);
        return;
    }
    size_t class = class_of(size);
    list *mine = &local_lists[class];
    mine->limit = local_limit(class);
    if (mine->count >= mine->limit) spill(class);
    push(mine, block);
}

void nacre_pool_give(void *block, size_t size) {
    if (!block) return;
    list *mine = fine_list(size);
    if (mine && mine->count < mine->limit)
        push(mine, block);
    else
        give_slowly(block, size);
}
