// A library that marks ranges with NVTX, as seen by its callers. Built plainly it does what NVTX's
// headers do; with NVTX_HEADERS defined and their folder given, it is built on them.
#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <wchar.h>

#ifdef NVTX_HEADERS
#include <nvtx3/nvToolsExt.h>
#else

typedef uint64_t nvtxRangeId_t;
typedef void* nvtxDomainHandle_t;
typedef void* nvtxStringHandle_t;
typedef struct {
    uint16_t version, size;
    uint32_t category;
    int32_t colorType;
    uint32_t color;
    int32_t payloadType, reserved0;
    uint64_t payload;
    int32_t messageType;
    union {
        const char* ascii;
        const wchar_t* unicode;
        nvtxStringHandle_t registered;
    } message;
} nvtxEventAttributes_t;
enum {
    NVTX_VERSION = 3,
    NVTX_EVENT_ATTRIB_STRUCT_SIZE = sizeof(nvtxEventAttributes_t),
    NVTX_MESSAGE_TYPE_ASCII = 1,
    NVTX_MESSAGE_TYPE_REGISTERED = 3,
};

typedef void (*Function)(void);
enum { kCoreSize = 16, kCore2Size = 16 };
static Function g_core[kCoreSize], g_core2[kCore2Size];
static Function *g_core_table[kCoreSize + 1], *g_core2_table[kCore2Size + 1];
static pthread_once_t g_once = PTHREAD_ONCE_INIT;

static int get_module_function_table(uint32_t module, Function*** table, unsigned* size) {
    if (module != 1 && module != 5) return 0;
    *table = module == 1 ? g_core_table : g_core2_table;
    *size = module == 1 ? kCoreSize : kCore2Size;
    return 1;
}

static const struct {
    size_t struct_size;
    int (*get)(uint32_t, Function***, unsigned*);
} g_callbacks = {sizeof g_callbacks, get_module_function_table};

static const void* get_export_table(uint32_t id) { return id == 1 ? &g_callbacks : NULL; }

static void init(void) {
    for (int i = 1; i < kCoreSize; ++i) g_core_table[i] = &g_core[i];
    for (int i = 1; i < kCore2Size; ++i) g_core2_table[i] = &g_core2[i];
    const char* path = getenv("NVTX_INJECTION64_PATH");
    void* library = path != NULL ? dlopen(path, RTLD_LAZY) : NULL;
    if (library == NULL) return;
    int (*attach)(const void* (*)(uint32_t)) =
        (int (*)(const void* (*)(uint32_t)))dlsym(library, "InitializeInjectionNvtx2");
    if (attach == NULL || attach(get_export_table) == 0) {
        dlclose(library);
        memset(g_core, 0, sizeof g_core);
        memset(g_core2, 0, sizeof g_core2);
    }
}

#define CALL(table, index, type, none, ...) \
    (pthread_once(&g_once, init), table[index] != NULL ? ((type)table[index])(__VA_ARGS__) : none)
#define nvtxRangePushA(m) CALL(g_core, 9, int (*)(const char*), -2, m)
#define nvtxRangePushW(m) CALL(g_core, 10, int (*)(const wchar_t*), -2, m)
#define nvtxRangePushEx(e) CALL(g_core, 8, int (*)(const nvtxEventAttributes_t*), -2, e)
#define nvtxRangePop() CALL(g_core, 11, int (*)(void), -2, )
#define nvtxRangeStartA(m) CALL(g_core, 5, nvtxRangeId_t(*)(const char*), 0, m)
#define nvtxDomainCreateA(n) CALL(g_core2, 12, nvtxDomainHandle_t(*)(const char*), NULL, n)
#define nvtxDomainRegisterStringA(d, s) \
    CALL(g_core2, 10, nvtxStringHandle_t(*)(nvtxDomainHandle_t, const char*), NULL, d, s)
#define nvtxDomainRangePushEx(d, e) \
    CALL(g_core2, 4, int (*)(nvtxDomainHandle_t, const nvtxEventAttributes_t*), -2, d, e)
#define nvtxDomainRangePop(d) CALL(g_core2, 5, int (*)(nvtxDomainHandle_t), -2, d)
#define nvtxDomainRangeStartEx(d, e) \
    CALL(g_core2, 2, nvtxRangeId_t(*)(nvtxDomainHandle_t, const nvtxEventAttributes_t*), 0, d, e)

static void nvtxRangeEnd(nvtxRangeId_t id) {
    pthread_once(&g_once, init);
    if (g_core[7] != NULL) ((void (*)(nvtxRangeId_t))g_core[7])(id);
}
static void nvtxDomainRangeEnd(nvtxDomainHandle_t domain, nvtxRangeId_t id) {
    pthread_once(&g_once, init);
    if (g_core2[3] != NULL) ((void (*)(nvtxDomainHandle_t, nvtxRangeId_t))g_core2[3])(domain, id);
}
#endif

static nvtxEventAttributes_t event(const char* ascii, nvtxStringHandle_t registered) {
    nvtxEventAttributes_t e;
    memset(&e, 0, sizeof e);
    e.version = NVTX_VERSION;
    e.size = NVTX_EVENT_ATTRIB_STRUCT_SIZE;
    if (registered != NULL) {
        e.messageType = NVTX_MESSAGE_TYPE_REGISTERED;
        e.message.registered = registered;
    } else if (ascii != NULL) {
        e.messageType = NVTX_MESSAGE_TYPE_ASCII;
        e.message.ascii = ascii;
    }
    return e;
}

int push(const char* name) { return nvtxRangePushA(name); }
int push_wide(const wchar_t* name) { return nvtxRangePushW(name); }
int push_event(const char* name) {
    nvtxEventAttributes_t e = event(name, NULL);
    return nvtxRangePushEx(&e);
}
int pop(void) { return nvtxRangePop(); }
uint64_t start(const char* name) { return nvtxRangeStartA(name); }
void end(uint64_t id) { nvtxRangeEnd(id); }

void* domain(const char* name) { return (void*)nvtxDomainCreateA(name); }
void* string(void* d, const char* text) {
    return (void*)nvtxDomainRegisterStringA((nvtxDomainHandle_t)d, text);
}
int domain_push(void* d, const char* name, void* registered) {
    nvtxEventAttributes_t e = event(name, (nvtxStringHandle_t)registered);
    return nvtxDomainRangePushEx((nvtxDomainHandle_t)d, &e);
}
int domain_pop(void* d) { return nvtxDomainRangePop((nvtxDomainHandle_t)d); }
uint64_t domain_start(void* d, const char* name) {
    nvtxEventAttributes_t e = event(name, NULL);
    return nvtxDomainRangeStartEx((nvtxDomainHandle_t)d, &e);
}
void domain_end(void* d, uint64_t id) { nvtxDomainRangeEnd((nvtxDomainHandle_t)d, id); }

// ---- in threads that Python knows nothing of ----

typedef struct {
    const char* name;
    int calls;
    int leave_open;
} Work;

static void* work(void* argument) {
    const Work* w = argument;
    for (int i = 0; i < w->calls; ++i) {
        nvtxRangePushA(w->name);
        nvtxRangePushA("inner");
        nvtxRangePop();
        nvtxRangePop();
    }
    if (w->leave_open) nvtxRangePushA(w->name);
    return NULL;
}

// `threads` threads at once, each `calls` times name/inner; with leave_open one more at their end.
int run_threads(const char* name, int threads, int calls, int leave_open) {
    pthread_t ids[64];
    Work w = {name, calls, leave_open};
    int made = 0;
    while (made < threads && made < 64 && pthread_create(&ids[made], NULL, work, &w) == 0) ++made;
    for (int i = 0; i < made; ++i) pthread_join(ids[i], NULL);
    return made;
}

static void* end_there(void* id) {
    nvtxRangeEnd(*(uint64_t*)id);
    return NULL;
}

// Ends a range in another thread than it was started in.
void end_in_thread(uint64_t id) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, end_there, &id) == 0) pthread_join(thread, NULL);
}
