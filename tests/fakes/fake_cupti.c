// A scripted CUPTI: real symbols and a real SONAME, and records whose truth the test knows.
//
//   cc -shared -fPIC -O2 -Wl,-soname,libcupti.so.13 -o libcupti.so.13 fake_cupti.c -lpthread
//
// It behaves as the library does where that is a trap: it asks for buffers while it holds its own
// lock, delivers them from a thread of its own, tells of running kernels once only, drops what has
// no buffer, starts its correlation ids anew with each subscription, and refuses parameters that
// are larger than it knows. What a client must not do is written down (fake_cupti_violations).
#define _GNU_SOURCE
#include "fake_cupti.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
    OK = 0,
    INVALID_PARAMETER = 1,
    INVALID_OPERATION = 7,
    MAX_LIMIT_REACHED = 12,
    NOT_COMPATIBLE = 14,
    INVALID_KIND = 21,
    MULTIPLE_SUBSCRIBERS = 39,
};
enum { kBuffers = 256, kDomains = 7, kCalls = 1024, kMayRefuse = 27 };

// The parts of records that all versions have in common; the rest of each is rubbish here.
typedef struct {
    uint32_t kind;
    uint8_t rubbish0[12];
    uint64_t start, end, completed;
    uint32_t device, context, stream;
    uint32_t grid[3], block[3];
    uint32_t static_shared, dynamic_shared, local, local_total, correlation;
    int64_t grid_id;
    const char* name;
    void* reserved;
    uint64_t queued, submitted;
    uint8_t launch_type, carveout[3];
    uint32_t shared_executed;
    uint64_t graph_node;
    uint32_t limit, graph;
} Kernel;

typedef struct {
    uint32_t kind;
    uint8_t copy_kind, source, target, flags;
    uint64_t bytes, start, end;
    uint32_t device, context, stream, correlation, runtime_correlation, pad;
    void* reserved;
    uint64_t graph_node;
    uint32_t graph, channel;
} Memcpy;

typedef struct {
    uint32_t kind, value;
    uint64_t bytes, start, end;
    uint32_t device, context, stream, correlation;
    uint16_t flags, memory_kind;
    uint32_t pad;
    void* reserved;
    uint64_t graph_node;
    uint32_t graph, channel;
} Memset;

typedef struct {
    uint32_t kind, what, object_kind, object[3];
    uint64_t start, end;
} Overhead;

_Static_assert(offsetof(Overhead, start) == 24 && sizeof(Overhead) == 40, "layout");
_Static_assert(offsetof(Kernel, name) == 104 && offsetof(Kernel, graph_node) == 144, "layout");
_Static_assert(offsetof(Memcpy, graph_node) == 64 && offsetof(Memset, graph_node) == 64, "layout");

typedef struct {
    int site;
    const char* function;
    const void* parameters;
    void* result;
    const char* symbol;
    void* context;
    uint32_t context_uid;
    uint64_t* shared;
    uint32_t correlation;
} ApiCall;

typedef struct {
    void* function;
    uint32_t grid[3], block[3], dynamic_shared;
    void* stream;
} LaunchKernelParams;

typedef struct {
    uint32_t grid[3], block[3], dynamic_shared;
    void* stream;
} LaunchConfig;

typedef struct {
    const LaunchConfig* config;
    void* function;
} LaunchKernelExParams;

typedef struct {
    void *context, *stream;
    void* descriptor;
} ResourceChange;

typedef struct {
    void *graph, *original_graph, *node, *original_node;
    int type;
    void *dependency, *exec;
} GraphChange;

typedef struct {
    size_t size;
    const char* name;
    char* holder;
    size_t holder_bytes;
    uint8_t several, padding[7];
} SubscribeParams;

// Of fake_cupti_counters.c, where that is built too.
__attribute__((weak)) void fake_counters_on_kernel(void* context, const char* name);

typedef void (*Callback)(void*, int, uint32_t, const void*);
typedef void (*Request)(uint8_t**, size_t*, size_t*);
typedef void (*Done)(void*, uint32_t, uint8_t*, size_t, size_t);
typedef void (*RequestV2)(uint8_t**, size_t*, size_t*, void*);
typedef void (*DoneV2)(uint8_t*, size_t, size_t, void*);

typedef struct {
    uint8_t* bytes;  // null: this place is free
    size_t size, used;
    int running;  // records without an end
    long owner;   // thread, or 0
    int closed;   // no more records
    int queued;   // waits for the delivering thread
} Buffer;

static struct {
    uint32_t version;
    size_t kernel, memcpy_, memset_;
    int version_error, refuse, several, per_thread, late_ms, enable_error, enable_error_kind, check_zero;
    char holder[64];
} g;

static pthread_mutex_t g_lock = PTHREAD_MUTEX_INITIALIZER;  // "the library's own"
static pthread_cond_t g_work = PTHREAD_COND_INITIALIZER;
static pthread_cond_t g_delivered = PTHREAD_COND_INITIALIZER;
static pthread_once_t g_thread_once = PTHREAD_ONCE_INIT;

static Buffer g_buffers[kBuffers];
static int g_delivering;
static Callback g_callback;
static void* g_user;
static int g_subscribed, g_by_v2, g_subscribe_calls;
static Request g_request;
static Done g_done;
static RequestV2 g_request_v2;
static DoneV2 g_done_v2;
static int g_kinds;
static atomic_uchar g_watched[kDomains][kCalls];
static atomic_uint g_correlation;
static uint64_t g_dropped;
static _Atomic int64_t g_clock_offset;
static char g_violations[4096];
static pthread_mutex_t g_violation_lock = PTHREAD_MUTEX_INITIALIZER;
// Of the initial kind: the leak sanitizer fails on threads that live at exit with another kind.
static _Thread_local __attribute__((tls_model("initial-exec"))) int t_in_callback;

void fake_cupti_violation(const char* words) {
    pthread_mutex_lock(&g_violation_lock);
    if (strstr(g_violations, words) == NULL) {
        const size_t n = strlen(g_violations);
        snprintf(g_violations + n, sizeof g_violations - n, "%s\n", words);
    }
    pthread_mutex_unlock(&g_violation_lock);
}

static void violation(const char* words) {
    fake_cupti_violation(words);
}

// Every call of the real library takes its lock: from inside a callback that is a deadlock.
static void enter(void) {
    if (t_in_callback) violation("a call of the library from inside one of its callbacks");
    pthread_mutex_lock(&g_lock);
}
static void leave(void) {
    pthread_mutex_unlock(&g_lock);
}

static size_t size_of(uint32_t kind) {
    switch (kind) {
        case 10:
            return g.kernel;
        case 1:
            return g.memcpy_;
        case 2:
            return g.memset_;
        case 0:
            return 0;
        default:
            return 40;
    }
}

// ---- buffers: all under g_lock ----------------------------------------------------------------

static void hand_back(Buffer* b) {
    uint8_t* const bytes = b->bytes;
    const size_t size = b->size, used = b->used;
    b->bytes = NULL;
    const Done done = g_done;
    const DoneV2 done_v2 = g_done_v2;
    t_in_callback = 1;
    if (g_by_v2 && done_v2 != NULL)
        done_v2(bytes, size, used, NULL);
    else if (done != NULL)
        done(NULL, 0, bytes, size, used);
    t_in_callback = 0;
}

static void* deliver_loop(void* unused) {
    (void)unused;
    pthread_mutex_lock(&g_lock);
    for (;;) {
        Buffer* next = NULL;
        for (int i = 0; i < kBuffers && next == NULL; ++i) {
            if (g_buffers[i].bytes != NULL && g_buffers[i].queued) next = &g_buffers[i];
        }
        if (next == NULL) {
            g_delivering = 0;
            pthread_cond_broadcast(&g_delivered);
            pthread_cond_wait(&g_work, &g_lock);
            continue;
        }
        g_delivering = 1;
        if (g.late_ms > 0) {
            const int late = g.late_ms;
            pthread_mutex_unlock(&g_lock);
            usleep((useconds_t)late * 1000);
            pthread_mutex_lock(&g_lock);
            if (next->bytes == NULL) continue;
        }
        hand_back(next);
    }
    return NULL;
}

static void start_thread(void) {
    pthread_t thread;
    pthread_create(&thread, NULL, deliver_loop, NULL);
    pthread_detach(thread);
}

static void queue(Buffer* b) {
    b->closed = b->queued = 1;
    g_delivering = 1;
    pthread_once(&g_thread_once, start_thread);
    pthread_cond_broadcast(&g_work);
}

static void close_buffer(Buffer* b) {
    b->closed = 1;
    if (b->running == 0) queue(b);
}

static void flush_locked(int forced) {
    for (int i = 0; i < kBuffers; ++i) {
        Buffer* b = &g_buffers[i];
        if (b->bytes != NULL && (forced || b->running == 0)) queue(b);
    }
    if (g.late_ms > 0) return;  // the flush returns first
    while (g_delivering) pthread_cond_wait(&g_delivered, &g_lock);
}

static Buffer* buffer_for(long owner, size_t bytes) {
    Buffer* free_place = NULL;
    for (int i = 0; i < kBuffers; ++i) {
        Buffer* b = &g_buffers[i];
        if (b->bytes == NULL) {
            if (free_place == NULL) free_place = b;
            continue;
        }
        if (b->closed || b->owner != owner) continue;
        if (b->used + bytes <= b->size) return b;
        close_buffer(b);
    }
    if (free_place == NULL) return NULL;
    uint8_t* memory = NULL;
    size_t size = 0, most = 0;
    t_in_callback = 1;
    if (g_by_v2 && g_request_v2 != NULL)
        g_request_v2(&memory, &size, &most, NULL);
    else if (g_request != NULL)
        g_request(&memory, &size, &most);
    t_in_callback = 0;
    if (memory == NULL) {
        if (g.version < kMayRefuse) violation("no buffer, in a library that crashes without");
        return NULL;
    }
    if ((uintptr_t)memory % 8 != 0) violation("a buffer that is not aligned");
    if (size < bytes) violation("a buffer too small for a record");
    if (g.check_zero) {
        for (size_t i = 0; i < size; ++i) {
            if (memory[i] != 0) {
                violation("a buffer that is not zero");
                break;
            }
        }
    }
    *free_place = (Buffer){memory, size, 0, 0, owner, 0, 0};
    return free_place;
}

static void write_record(const FakeLaunch* l, uint32_t correlation) {
    const size_t bytes = size_of(l->kind);
    Buffer* b = buffer_for(g.per_thread ? syscall(SYS_gettid) : 0, bytes);
    if (b == NULL || b->size < bytes) {
        ++g_dropped;
        return;
    }
    uint8_t* at = b->bytes + b->used;
    memset(at, 0xab, bytes);
    b->used += bytes;
    const int running = l->start != 0 && l->end == 0;
    b->running += running;
    if (l->kind == 10) {
        Kernel k;
        memset(&k, 0, sizeof k);
        k.kind = l->kind;
        k.start = l->start;
        k.end = k.completed = l->end;
        k.device = l->device;
        k.context = l->context;
        k.stream = l->stream;
        memcpy(k.grid, l->grid, sizeof k.grid);
        memcpy(k.block, l->block, sizeof k.block);
        k.static_shared = l->static_shared;
        k.dynamic_shared = l->dynamic_shared;
        k.correlation = correlation;
        k.name = l->name;
        k.graph_node = l->graph_node;
        memcpy(at, &k, sizeof k);
    } else if (l->kind == 1) {
        Memcpy m;
        memset(&m, 0, sizeof m);
        m.kind = l->kind;
        m.copy_kind = (uint8_t)l->copy_kind;
        m.bytes = l->bytes;
        m.start = l->start;
        m.end = l->end;
        m.device = l->device;
        m.context = l->context;
        m.stream = l->stream;
        m.correlation = correlation;
        m.graph_node = l->graph_node;
        memcpy(at, &m, sizeof m);
    } else if (l->kind == 2) {
        Memset m;
        memset(&m, 0, sizeof m);
        m.kind = l->kind;
        m.bytes = l->bytes;
        m.start = l->start;
        m.end = l->end;
        m.device = l->device;
        m.context = l->context;
        m.stream = l->stream;
        m.correlation = correlation;
        m.graph_node = l->graph_node;
        memcpy(at, &m, sizeof m);
    } else if (l->kind == 17) {
        Overhead o;
        memset(&o, 0, sizeof o);
        o.kind = l->kind;
        o.what = l->copy_kind;
        o.start = l->start;
        o.end = l->end;
        memcpy(at, &o, sizeof o);
    } else {
        memcpy(at, &l->kind, sizeof l->kind);
    }
}

// ---- control ----------------------------------------------------------------------------------

static void setting(const char* key, const char* value) {
    const int n = atoi(value);
    if (strcmp(key, "version") == 0) g.version = (uint32_t)n;
    if (strcmp(key, "version_error") == 0) g.version_error = n;
    if (strcmp(key, "kernel") == 0) g.kernel = (size_t)n;
    if (strcmp(key, "memcpy") == 0) g.memcpy_ = (size_t)n;
    if (strcmp(key, "memset") == 0) g.memset_ = (size_t)n;
    if (strcmp(key, "refuse") == 0) g.refuse = n;
    if (strcmp(key, "several") == 0) g.several = n;
    if (strcmp(key, "per_thread") == 0) g.per_thread = n;
    if (strcmp(key, "late_ms") == 0) g.late_ms = n;
    if (strcmp(key, "enable_error") == 0) g.enable_error = n;
    if (strcmp(key, "enable_error_kind") == 0) g.enable_error_kind = n;
    if (strcmp(key, "check_zero") == 0) g.check_zero = n;
    if (strcmp(key, "holder") == 0) snprintf(g.holder, sizeof g.holder, "%s", value);
}

static void configure_locked(const char* script) {
    memset(&g, 0, sizeof g);
    g.version = 130001;
    g.kernel = 216;
    g.memcpy_ = 96;
    g.memset_ = 88;
    g.enable_error_kind = 10;
    g.check_zero = 1;
    char copy[512];
    snprintf(copy, sizeof copy, "%s", script == NULL ? "" : script);
    char* rest = copy;
    for (char* item; (item = strsep(&rest, ";")) != NULL;) {
        char* equals = strchr(item, '=');
        if (equals == NULL) continue;
        *equals = '\0';
        setting(item, equals + 1);
    }
}

__attribute__((constructor)) static void at_load(void) {
    configure_locked(getenv("FAKE_CUPTI"));
}

void fake_cupti_configure(const char* script) {
    pthread_mutex_lock(&g_lock);
    while (g_delivering) pthread_cond_wait(&g_delivered, &g_lock);
    configure_locked(script);
    // What clients still have lent comes back empty, so that their pools are whole again.
    for (int i = 0; i < kBuffers; ++i) {
        if (g_buffers[i].bytes == NULL) continue;
        g_buffers[i].used = 0;
        hand_back(&g_buffers[i]);
    }
    memset(g_watched, 0, sizeof g_watched);
    g_callback = NULL;
    g_subscribed = g_by_v2 = g_subscribe_calls = g_kinds = 0;
    g_dropped = 0;
    g_clock_offset = 0;
    pthread_mutex_unlock(&g_lock);
    pthread_mutex_lock(&g_violation_lock);
    g_violations[0] = '\0';
    pthread_mutex_unlock(&g_violation_lock);
}

uint32_t fake_cupti_launch(const FakeLaunch* l) {
    const uint32_t correlation =
        l->correlation != 0 ? l->correlation : atomic_fetch_add(&g_correlation, 1) + 1;
    const int watched =
        l->call != 0 && l->domain < kDomains && l->call < kCalls && g_watched[l->domain][l->call];
    uint64_t shared = 0;
    void* const context = (void*)(uintptr_t)l->context;
    void* const stream = (void*)(uintptr_t)l->stream;
    const LaunchKernelParams plain = {NULL,
                                      {l->grid[0], l->grid[1], l->grid[2]},
                                      {l->block[0], l->block[1], l->block[2]},
                                      l->dynamic_shared,
                                      stream};
    LaunchConfig config;
    memcpy(config.grid, plain.grid, sizeof config.grid);
    memcpy(config.block, plain.block, sizeof config.block);
    config.dynamic_shared = l->dynamic_shared;
    config.stream = stream;
    const LaunchKernelExParams extended = {&config, NULL};
    const int is_extended = l->call == 652 || l->call == 653;
    const void* const parameters = is_extended ? (const void*)&extended : (const void*)&plain;
    ApiCall call = {0,       "call",     parameters, NULL, l->name,
                    context, l->context, &shared,    correlation};
    const Callback callback = g_callback;
    if (watched && callback != NULL) {
        t_in_callback = 1;
        callback(g_user, (int)l->domain, l->call, &call);
        t_in_callback = 0;
    }
    if (l->kind == 10 && fake_counters_on_kernel) fake_counters_on_kernel(context, l->name);
    if (l->kind != 0) {
        pthread_mutex_lock(&g_lock);
        const int all = 1 << 10 | 1 << 1 | 1 << 2;
        if ((g_kinds & 1 << 10) != 0 && (g_kinds & all) != all)
            violation("kernels are recorded without copies and sets: graphs leak");
        if ((g_kinds & 1 << l->kind) != 0 || l->kind > 10) write_record(l, correlation);
        pthread_mutex_unlock(&g_lock);
    }
    if (watched && callback != NULL) {
        call.site = 1;
        t_in_callback = 1;
        callback(g_user, (int)l->domain, l->call, &call);
        t_in_callback = 0;
    }
    return correlation;
}

void fake_cupti_finish(uint32_t correlation, uint64_t end) {
    pthread_mutex_lock(&g_lock);
    for (int i = 0; i < kBuffers; ++i) {
        Buffer* b = &g_buffers[i];
        for (size_t at = 0; b->bytes != NULL && at < b->used;) {
            uint32_t kind;
            memcpy(&kind, b->bytes + at, sizeof kind);
            if (kind == 10) {
                Kernel k;
                memcpy(&k, b->bytes + at, sizeof k);
                if (k.correlation == correlation && k.end == 0) {
                    k.end = k.completed = end;
                    memcpy(b->bytes + at, &k, sizeof k);
                    --b->running;
                    if (b->closed && b->running == 0) queue(b);
                }
            }
            at += size_of(kind);
        }
    }
    pthread_mutex_unlock(&g_lock);
}

void fake_cupti_graph_node(uint64_t node, uint64_t original) {
    const uint32_t event = original == 0 ? 13 : 20;
    const Callback callback = g_callback;
    if (callback == NULL || !g_watched[3][event]) return;
    GraphChange graph = {NULL, NULL, (void*)(uintptr_t)node, (void*)(uintptr_t)original, 0, NULL,
                         NULL};
    ResourceChange change = {NULL, NULL, &graph};
    t_in_callback = 1;
    callback(g_user, 3, event, &change);
    t_in_callback = 0;
}

void fake_cupti_context_ends(uint32_t context) {
    const Callback callback = g_callback;
    if (callback == NULL || !g_watched[3][2]) return;
    ResourceChange change = {(void*)(uintptr_t)context, NULL, NULL};
    callback(g_user, 3, 2, &change);
}

void fake_cupti_deliver(void) {
    pthread_mutex_lock(&g_lock);
    flush_locked(0);
    pthread_mutex_unlock(&g_lock);
}

void fake_cupti_drop(uint64_t records) {
    pthread_mutex_lock(&g_lock);
    g_dropped += records;
    pthread_mutex_unlock(&g_lock);
}

uint64_t fake_cupti_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)((int64_t)t.tv_sec * 1000000000 + t.tv_nsec + g_clock_offset);
}

void fake_cupti_set_clock(int64_t offset_ns) {
    g_clock_offset = offset_ns;
}

const char* fake_cupti_violations(void) {
    return g_violations;
}
int fake_cupti_watches(uint32_t domain, uint32_t call) {
    return g_watched[domain][call];
}
int fake_cupti_kinds(void) {
    return g_kinds;
}
int fake_cupti_subscribers(void) {
    return g_subscribed;
}
int fake_cupti_subscribe_calls(void) {
    return g_subscribe_calls;
}
int fake_cupti_second_family(void) {
    return g_by_v2;
}
int fake_cupti_buffers_out(void) {
    pthread_mutex_lock(&g_lock);
    int n = 0;
    for (int i = 0; i < kBuffers; ++i) n += g_buffers[i].bytes != NULL;
    pthread_mutex_unlock(&g_lock);
    return n;
}

// ---- CUPTI ------------------------------------------------------------------------------------

int cuptiGetVersion(uint32_t* version) {
    *version = g.version_error == 0 ? g.version : 0;
    return g.version_error;
}

int cuptiGetResultString(int result, const char** words) {
    *words = result == OK                     ? "CUPTI_SUCCESS"
             : result == MULTIPLE_SUBSCRIBERS ? "CUPTI_ERROR_MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED"
                                              : "CUPTI_ERROR_SCRIPTED";
    return OK;
}

int cuptiGetTimestamp(uint64_t* now) {
    enter();
    *now = fake_cupti_now();
    leave();
    return OK;
}

// Lock-free in here, as it must be in the library: it is made for resource callbacks.
int cuptiGetGraphNodeId(void* node, uint64_t* id) {
    *id = (uint64_t)(uintptr_t)node;
    return node == NULL ? INVALID_PARAMETER : OK;
}

static int subscribe_locked(void** subscriber, Callback callback, void* user, char* holder,
                            size_t holder_bytes, int several) {
    ++g_subscribe_calls;
    const int taken = g_subscribed > 0 || (several && !g.several);
    if (g.refuse != 0 || taken) {
        if (holder != NULL) snprintf(holder, holder_bytes, "%s", g.holder);
        return g.refuse != 0 ? g.refuse : MULTIPLE_SUBSCRIBERS;
    }
    ++g_subscribed;
    g_callback = callback;
    g_user = user;
    g_correlation = 0;  // ids start anew with each subscription
    *subscriber = (void*)&g;
    return OK;
}

int cuptiSubscribe(void** subscriber, Callback callback, void* user) {
    enter();
    g_by_v2 = 0;
    const int result = subscribe_locked(subscriber, callback, user, NULL, 0, 0);
    leave();
    return result;
}

int cuptiSubscribe_v2(void** subscriber, Callback callback, void* user, SubscribeParams* p) {
    enter();
    int result = INVALID_PARAMETER;
    const size_t known = g.version >= 130300 ? 40 : 32;
    if (g.version < 130000) violation("cuptiSubscribe_v2 in a library that has none");
    if (p == NULL || (p->size != 32 && p->size != 40) || p->size > known) {
        violation("a parameter struct larger than the library knows");
    } else {
        const int several = p->size == 40 && p->several;
        result = subscribe_locked(subscriber, callback, user, p->holder, p->holder_bytes, several);
        if (result == OK) g_by_v2 = g.version >= 130200;
    }
    leave();
    return result;
}

int cuptiUnsubscribe(void* subscriber) {
    enter();
    int result = subscriber == (void*)&g && g_subscribed > 0 ? OK : INVALID_PARAMETER;
    if (result == OK) {
        --g_subscribed;
        memset(g_watched, 0, sizeof g_watched);
    }
    leave();
    return result;
}

int cuptiEnableCallback(uint32_t on, void* subscriber, int domain, uint32_t call) {
    enter();
    int result = INVALID_PARAMETER;
    if (subscriber == (void*)&g && domain > 0 && domain < kDomains && call < kCalls) {
        g_watched[domain][call] = (unsigned char)on;
        result = OK;
    }
    leave();
    return result;
}

int cuptiEnableDomain(uint32_t on, void* subscriber, int domain) {
    (void)on, (void)subscriber, (void)domain;
    violation("all calls of a domain are watched");
    return OK;
}

static int family(int second) {
    if (g_by_v2 == second) return OK;
    violation("the two families of calls are mixed");
    return NOT_COMPATIBLE;
}

static int set_attribute(void) {
    if (g_kinds != 0) violation("an attribute is set after records were enabled");
    return OK;
}

int cuptiActivitySetAttribute(int attribute, size_t* size, void* value) {
    (void)attribute, (void)size, (void)value;
    enter();
    const int result = family(0) == OK ? set_attribute() : NOT_COMPATIBLE;
    leave();
    return result;
}
int cuptiActivitySetAttribute_v2(void* subscriber, int attribute, size_t* size, void* value) {
    (void)subscriber, (void)attribute, (void)size, (void)value;
    enter();
    const int result = family(1) == OK ? set_attribute() : NOT_COMPATIBLE;
    leave();
    return result;
}

int cuptiActivityRegisterCallbacks(Request request, Done done) {
    enter();
    const int result = family(0);
    g_request = request;
    g_done = done;
    leave();
    return result;
}
int cuptiActivityRegisterCallbacks_v2(void* subscriber, RequestV2 request, DoneV2 done) {
    (void)subscriber;
    enter();
    const int result = family(1);
    g_request_v2 = request;
    g_done_v2 = done;
    leave();
    return result;
}

static int enable(uint32_t kind) {
    if (g_subscribed == 0) violation("records are enabled without a subscription");
    if (g_request == NULL && g_request_v2 == NULL) violation("records are enabled without buffers");
    if (kind == 3) violation("KERNEL serialises kernels");
    if (kind == 4 || kind == 5) violation("every call of the API is recorded");
    if (g.enable_error != 0 && (int)kind == g.enable_error_kind) return g.enable_error;
    if (kind > 30) return INVALID_KIND;
    g_kinds |= 1 << kind;
    return OK;
}

int cuptiActivityEnable(uint32_t kind) {
    enter();
    const int result = family(0) == OK ? enable(kind) : NOT_COMPATIBLE;
    leave();
    return result;
}
int cuptiActivityEnable_v2(void* subscriber, uint32_t kind, void* config) {
    (void)subscriber, (void)config;
    enter();
    const int result = family(1) == OK ? enable(kind) : NOT_COMPATIBLE;
    leave();
    return result;
}

int cuptiActivityDisable(uint32_t kind) {
    enter();
    const int result = family(0);
    g_kinds &= ~(1 << kind);
    leave();
    return result;
}
int cuptiActivityDisable_v2(void* subscriber, uint32_t kind, void* config) {
    (void)subscriber, (void)config;
    enter();
    const int result = family(1);
    g_kinds &= ~(1 << kind);
    leave();
    return result;
}

int cuptiActivityFlushAll(uint32_t flag) {
    enter();
    if (flag != 0 && g_kinds != 0) violation("a forced flush while records are enabled");
    flush_locked(flag != 0);
    leave();
    return OK;
}

int cuptiActivityFlushPeriod(uint32_t ms) {
    (void)ms;
    return OK;
}

// The only way from one record to the next: how long they are is the library's business.
static int next_record(uint8_t* buffer, size_t valid, void** record) {
    if (g_subscribed == 0) violation("records are read after unsubscribing");
    size_t at = 0;
    if (*record != NULL) {
        uint32_t kind;
        memcpy(&kind, *record, sizeof kind);
        at = (size_t)((uint8_t*)*record - buffer) + size_of(kind);
    }
    if (at >= valid) return MAX_LIMIT_REACHED;
    uint32_t kind;
    memcpy(&kind, buffer + at, sizeof kind);
    if (size_of(kind) == 0) return INVALID_KIND;
    *record = buffer + at;
    return OK;
}

int cuptiActivityGetNextRecord(uint8_t* buffer, size_t valid, void** record) {
    return family(0) == OK ? next_record(buffer, valid, record) : NOT_COMPATIBLE;
}
int cuptiActivityGetNextRecord_v2(void* subscriber, uint8_t* buffer, size_t valid, void** record) {
    (void)subscriber;
    return family(1) == OK ? next_record(buffer, valid, record) : NOT_COMPATIBLE;
}

static int dropped(size_t* n) {
    *n = (size_t)g_dropped;
    g_dropped = 0;
    return OK;
}

int cuptiActivityGetNumDroppedRecords(void* context, uint32_t stream, size_t* n) {
    (void)context, (void)stream;
    enter();
    const int result = family(0) == OK ? dropped(n) : NOT_COMPATIBLE;
    leave();
    return result;
}
int cuptiActivityGetNumDroppedRecords_v2(void* subscriber, void* context, uint32_t stream,
                                         size_t* n) {
    (void)subscriber, (void)context, (void)stream;
    enter();
    const int result = family(1) == OK ? dropped(n) : NOT_COMPATIBLE;
    leave();
    return result;
}

int cuptiActivityRegisterTimestampCallback(uint64_t (*clock)(void)) {
    (void)clock;
    violation("a time stamp callback is registered");
    return OK;
}

int cuptiActivityEnableHWTrace(uint8_t on) {
    (void)on;
    violation("hardware tracing is switched on, whose flushes may write anywhere");
    return OK;
}

int cuptiActivityEnableLatencyTimestamps(uint8_t on) {
    (void)on;
    violation("latency time stamps are switched on");
    return OK;
}

int cuptiFinalize(void) {
    violation("cuptiFinalize is called");
    return OK;
}
