/* A libnvidia-ml.so.1 that plays a script: the real nvml.cpp, dlopen included, runs without a GPU.
 *
 *   cc -shared -fPIC -O2 -Wl,-soname,libnvidia-ml.so.1 -o libnvidia-ml.so.1 fake_nvml.c -lpthread -lm
 *
 * Power is a wave on CLOCK_MONOTONIC whose integral is known in closed form; the sensors see it at
 * ticks of their own clock, as real ones do. Scripted by FAKE_NVML="key=value;key=value" and at run
 * time by fake_nvml_configure(). Keys (defaults): gpus=1 wave=square|const lo=70 hi=600 period_ms=130
 * duty=0.5 tick_ms=100 phase_us=0 jitter_us=0 latency_us=20 window_ms=25 energy=1 fields=1 memory=1
 * arch=9 name=... missed=0 wrap=0 init_error=0 mixed=0 mig=0, and faults at seconds after the latest
 * configuration: lost_at_s denied_at_s denied_until_s reset_at_s noenergy_at_s.
 */
#define _GNU_SOURCE
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define MOST_GPUS 8

typedef struct {
    int gpus, square, energy, fields, memory, arch, init_error, mixed, mig;
    double lo, hi, period_s, duty, tick_s, phase_s, jitter_s, latency_s, window_s, missed;
    double lost_at_s, denied_at_s, denied_until_s, reset_at_s, noenergy_at_s;
    unsigned long long wrap;
    double zero_s; /* when it was configured */
    char name[64];
} Script;

static Script g_script;
static pthread_once_t g_once = PTHREAD_ONCE_INIT;
static pthread_mutex_t g_mutex = PTHREAD_MUTEX_INITIALIZER;
static atomic_ullong g_calls;
static struct {
    atomic_int tid;
    atomic_ullong calls;
} g_threads[256];

struct Device {
    int index;
    int mig;
};
static struct Device g_devices[2 * MOST_GPUS];

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double number(const char* text, const char* key, double otherwise) {
    const size_t n = strlen(key);
    for (const char* p = text; p != NULL && *p != 0; p = strchr(p, ';') ? strchr(p, ';') + 1 : NULL) {
        while (*p == ' ') ++p;
        if (strncmp(p, key, n) == 0 && p[n] == '=') return strtod(p + n + 1, NULL);
    }
    return otherwise;
}

static void configure(const char* text) {
    Script s;
    memset(&s, 0, sizeof s);
    s.gpus = (int)number(text, "gpus", 1);
    s.square = strstr(text, "wave=const") == NULL;
    s.lo = number(text, "lo", 70);
    s.hi = number(text, "hi", 600);
    s.period_s = number(text, "period_ms", 130) * 1e-3;
    s.duty = number(text, "duty", 0.5);
    s.tick_s = number(text, "tick_ms", 100) * 1e-3;
    s.phase_s = number(text, "phase_us", 0) * 1e-6;
    s.jitter_s = number(text, "jitter_us", 0) * 1e-6;
    s.latency_s = number(text, "latency_us", 20) * 1e-6;
    s.window_s = number(text, "window_ms", 25) * 1e-3;
    s.missed = number(text, "missed", 0);
    s.energy = (int)number(text, "energy", 1);
    s.fields = (int)number(text, "fields", 1);
    s.memory = (int)number(text, "memory", 1);
    s.arch = (int)number(text, "arch", 9);
    s.init_error = (int)number(text, "init_error", 0);
    s.mixed = (int)number(text, "mixed", 0);
    s.mig = (int)number(text, "mig", 0);
    s.wrap = (unsigned long long)number(text, "wrap", 0);
    s.lost_at_s = number(text, "lost_at_s", INFINITY);
    s.denied_at_s = number(text, "denied_at_s", INFINITY);
    s.denied_until_s = number(text, "denied_until_s", INFINITY);
    s.reset_at_s = number(text, "reset_at_s", INFINITY);
    s.noenergy_at_s = number(text, "noenergy_at_s", INFINITY);
    s.zero_s = now_s();
    snprintf(s.name, sizeof s.name, "Fake H100");
    if (s.gpus > MOST_GPUS) s.gpus = MOST_GPUS;
    pthread_mutex_lock(&g_mutex);
    g_script = s;
    pthread_mutex_unlock(&g_mutex);
}

static void start(void) {
    const char* text = getenv("FAKE_NVML");
    for (int i = 0; i < 2 * MOST_GPUS; ++i) {
        g_devices[i].index = i % MOST_GPUS;
        g_devices[i].mig = i >= MOST_GPUS;
    }
    configure(text == NULL ? "" : text);
}

static Script script(void) {
    Script s;
    pthread_once(&g_once, start);
    pthread_mutex_lock(&g_mutex);
    s = g_script;
    pthread_mutex_unlock(&g_mutex);
    return s;
}

EXPORT void fake_nvml_configure(const char* text) {
    pthread_once(&g_once, start);
    configure(text);
}

static void count(void) {
    const int tid = (int)syscall(SYS_gettid);
    atomic_fetch_add(&g_calls, 1);
    for (unsigned i = 0; i < 256; ++i) {
        int seen = 0;
        if (atomic_load(&g_threads[i].tid) == tid ||
            atomic_compare_exchange_strong(&g_threads[i].tid, &seen, tid)) {
            atomic_fetch_add(&g_threads[i].calls, 1);
            return;
        }
    }
}
EXPORT unsigned long long fake_nvml_calls(void) { return atomic_load(&g_calls); }
EXPORT unsigned long long fake_nvml_calls_by_thread(int tid) {
    for (unsigned i = 0; i < 256; ++i) {
        if (atomic_load(&g_threads[i].tid) == tid) return atomic_load(&g_threads[i].calls);
    }
    return 0;
}

/* ---- truth ---- */

/* Joules from CLOCK_MONOTONIC zero to t. Board i draws (1 + i / 10) of board 0's power. */
static double energy(const Script* s, int gpu, double t) {
    const double scale = 1.0 + 0.1 * gpu;
    if (!s->square) return scale * s->hi * t;
    const double n = floor(t / s->period_s);
    const double r = t - n * s->period_s;
    const double on = s->duty * s->period_s;
    const double whole = s->hi * on + s->lo * (s->period_s - on);
    return scale * (n * whole + (r < on ? s->hi * r : s->hi * on + s->lo * (r - on)));
}

static double uniform(unsigned long long k) { /* splitmix64 */
    k += 0x9E3779B97F4A7C15ULL;
    k = (k ^ (k >> 30)) * 0xBF58476D1CE4E5B9ULL;
    k = (k ^ (k >> 27)) * 0x94D049BB133111EBULL;
    return (double)((k ^ (k >> 31)) >> 11) * 0x1.0p-53;
}

static double tick_at(const Script* s, int gpu, long long k) {
    const unsigned long long seed = (unsigned long long)k * 8 + (unsigned long long)gpu;
    /* the sum of four uniforms is near enough to a Gaussian, and bounded */
    const double z = (uniform(4 * seed) + uniform(4 * seed + 1) + uniform(4 * seed + 2) +
                      uniform(4 * seed + 3) - 2.0) * 1.7320508;
    return s->phase_s + 0.0137 * gpu + (double)k * s->tick_s + s->jitter_s * z;
}

static int is_missed(const Script* s, long long k) {
    return s->missed > 0 && uniform((unsigned long long)k + 77777) < s->missed;
}

static long long last_tick(const Script* s, int gpu, double t) {
    long long k = (long long)floor((t - s->phase_s - 0.0137 * gpu) / s->tick_s) + 1;
    while (tick_at(s, gpu, k) > t || is_missed(s, k)) --k;
    return k;
}

EXPORT double fake_nvml_true_energy_j(int gpu, long long begin_ns, long long end_ns) {
    const Script s = script();
    return energy(&s, gpu, 1e-9 * (double)end_ns) - energy(&s, gpu, 1e-9 * (double)begin_ns);
}
EXPORT long long fake_nvml_tick_ns(int gpu, long long k) {
    const Script s = script();
    return (long long)llround(1e9 * tick_at(&s, gpu, k));
}
EXPORT long long fake_nvml_last_tick_before(int gpu, long long t_ns) {
    const Script s = script();
    return last_tick(&s, gpu, 1e-9 * (double)t_ns);
}

/* ---- what the sensors say ---- */

static void spin(double seconds) {
    const double end = now_s() + seconds;
    while (seconds > 0 && now_s() < end) {
    }
}

static unsigned long long counter_mj(const Script* s, int gpu, double t) {
    const double tick = tick_at(s, gpu, last_tick(s, gpu, t));
    double from = s->zero_s - 1000.0;
    if (t - s->zero_s >= s->reset_at_s) from = s->zero_s + s->reset_at_s;
    const double joules = tick > from ? energy(s, gpu, tick) - energy(s, gpu, from) : 0.0;
    const unsigned long long mj = (unsigned long long)floor(joules * 1e3);
    return s->wrap ? mj % s->wrap : mj;
}

static unsigned gauge_mw(const Script* s, int gpu, double t, double window) {
    const double tick = tick_at(s, gpu, last_tick(s, gpu, t));
    return (unsigned)llround(1e3 * (energy(s, gpu, tick) - energy(s, gpu, tick - window)) / window);
}

static int fault(const Script* s, double t) {
    const double since = t - s->zero_s;
    if (since >= s->lost_at_s) return 15;
    if (since >= s->denied_at_s && since < s->denied_until_s) return 4;
    return 0;
}

/* ---- the vendor's symbols ---- */

typedef struct Device* nvmlDevice_t;
typedef struct {
    unsigned fieldId, scopeId;
    long long timestamp, latencyUsec;
    unsigned valueType, nvmlReturn;
    union {
        double d;
        unsigned ui;
        unsigned long long ull;
    } value;
} nvmlFieldValue_t;
_Static_assert(sizeof(nvmlFieldValue_t) == 40, "as in nvml.h of 11.8 to 13.5");
typedef struct {
    char busIdLegacy[16];
    unsigned domain, bus, device, pciDeviceId, pciSubSystemId;
    char busId[32];
} nvmlPciInfo_t;

static void uuid_of(const struct Device* d, char* out, unsigned n) {
    snprintf(out, n, "%s-%08x-0000-4000-8000-%012x", d->mig ? "MIG" : "GPU",
             0xfa000000u + 0x11111u * (unsigned)d->index, 0xabc0 + d->index);
}

EXPORT int nvmlInit_v2(void) { return script().init_error; }
EXPORT int nvmlShutdown(void) { return 0; }
EXPORT int nvmlSystemGetDriverVersion(char* text, unsigned n) {
    snprintf(text, n, "580.00.00");
    return 0;
}
EXPORT const char* nvmlErrorString(int code) {
    switch (code) {
        case 3: return "Not Supported";
        case 4: return "Insufficient Permissions";
        case 9: return "Driver Not Loaded";
        case 15: return "GPU is lost";
        case 18: return "Driver/library version mismatch";
        default: return "Unknown Error";
    }
}
EXPORT int nvmlDeviceGetCount_v2(unsigned* n) {
    *n = (unsigned)script().gpus;
    return 0;
}
EXPORT int nvmlDeviceGetHandleByIndex_v2(unsigned i, nvmlDevice_t* d) {
    if ((int)i >= script().gpus) return 2;
    *d = &g_devices[i];
    return 0;
}
EXPORT int nvmlDeviceGetHandleByUUID(const char* uuid, nvmlDevice_t* d) {
    const Script s = script();
    for (int i = 0; i < 2 * MOST_GPUS; ++i) {
        char own[64];
        if (g_devices[i].index >= s.gpus || (g_devices[i].mig && !s.mig)) continue;
        uuid_of(&g_devices[i], own, sizeof own);
        if (strcmp(own, uuid) == 0) {
            *d = &g_devices[i];
            return 0;
        }
    }
    return 6;
}
EXPORT int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(nvmlDevice_t mig, nvmlDevice_t* d) {
    if (!mig->mig) return 2;
    *d = &g_devices[mig->index];
    return 0;
}
EXPORT int nvmlDeviceIsMigDeviceHandle(nvmlDevice_t d, unsigned* is) {
    *is = (unsigned)d->mig;
    return 0;
}
EXPORT int nvmlDeviceGetMigMode(nvmlDevice_t d, unsigned* current, unsigned* pending) {
    (void)d;
    *current = *pending = (unsigned)script().mig;
    return 0;
}
EXPORT int nvmlDeviceGetUUID(nvmlDevice_t d, char* text, unsigned n) {
    uuid_of(d, text, n);
    return 0;
}
EXPORT int nvmlDeviceGetIndex(nvmlDevice_t d, unsigned* index) {
    *index = (unsigned)d->index;
    return 0;
}
EXPORT int nvmlDeviceGetName(nvmlDevice_t d, char* text, unsigned n) {
    const Script s = script();
    if (s.mixed && d->index > 0) snprintf(text, n, "Fake T4");
    else snprintf(text, n, "%s", s.name);
    return 0;
}
EXPORT int nvmlDeviceGetPciInfo_v3(nvmlDevice_t d, nvmlPciInfo_t* pci) {
    memset(pci, 0, sizeof *pci);
    /* NVML's own order is by index here, PCI's is the reverse: nobody may assume they agree */
    pci->bus = 0x80u - 0x10u * (unsigned)d->index;
    snprintf(pci->busId, sizeof pci->busId, "00000000:%02X:00.0", pci->bus);
    return 0;
}
EXPORT int nvmlDeviceGetArchitecture(nvmlDevice_t d, unsigned* arch) {
    (void)d;
    *arch = (unsigned)script().arch;
    return 0;
}

EXPORT int nvmlDeviceGetFieldValues(nvmlDevice_t d, int n, nvmlFieldValue_t* values) {
    const Script s = script();
    count();
    spin(0.5 * s.latency_s);
    const double t = now_s();
    const int broken = fault(&s, t);
    if (!s.fields && !broken) return 3;
    for (int i = 0; i < n && !broken; ++i) {
        nvmlFieldValue_t* v = &values[i];
        v->timestamp = (long long)time(NULL) * 1000000;
        v->latencyUsec = 0;
        v->nvmlReturn = 0;
        v->valueType = 1;
        v->value.ull = 0;
        if (d->mig) {
            v->nvmlReturn = 3;
        } else if (v->fieldId == 83) {
            v->valueType = 3;
            v->value.ull = counter_mj(&s, d->index, t);
            if (!s.energy) v->nvmlReturn = 3;
            if (t - s.zero_s >= s.noenergy_at_s) v->nvmlReturn = 999;
        } else if (v->fieldId == 186 && v->scopeId == 0) {
            v->value.ui = gauge_mw(&s, d->index, t, s.window_s);
        } else if (v->fieldId == 185 && v->scopeId == 0) {
            v->value.ui = gauge_mw(&s, d->index, t, 1.0);
        } else if (v->fieldId == 185 && v->scopeId == 2) {
            v->value.ui = s.memory ? gauge_mw(&s, d->index, t, 1.0) / 5 : 0;
        } else {
            v->nvmlReturn = 3;
        }
    }
    spin(0.5 * s.latency_s);
    return broken;
}

EXPORT int nvmlDeviceGetTotalEnergyConsumption(nvmlDevice_t d, unsigned long long* mj) {
    const Script s = script();
    count();
    spin(0.5 * s.latency_s);
    const double t = now_s();
    const int broken = fault(&s, t);
    if (!broken && !s.energy) return 3;
    *mj = counter_mj(&s, d->index, t);
    spin(0.5 * s.latency_s);
    return broken;
}

EXPORT int nvmlDeviceGetPowerUsage(nvmlDevice_t d, unsigned* mw) {
    const Script s = script();
    count();
    spin(0.5 * s.latency_s);
    const double t = now_s();
    *mw = gauge_mw(&s, d->index, t, s.window_s);
    spin(0.5 * s.latency_s);
    return fault(&s, t);
}
