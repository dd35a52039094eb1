// A scripted NVML: real symbols and a real SONAME, a board whose true energy is known.
//
//   cc -shared -fPIC -O2 -Wl,-soname,libnvidia-ml.so.1 -o libnvidia-ml.so.1 fake_nvml.c -lpthread
//      -lm
//
// Its script is "key=value;key=value", from the environment variable FAKE_NVML when it is loaded,
// or from fake_nvml_configure() at any time. Keys not named have their defaults; with keep=1 they
// stay as they are, and the energy counters go on.
//
//   gpus=1          boards
//   wave=square     square | const (const is hi for ever) | steps
//   lo=70 hi=600    watts;  period_ms=130 duty=0.5: hi first, then lo
//   wave_phase_ms=0 a period begins at this time
//   steps=12.5:300,13:80   watts from these times on, ascending, in s of CLOCK_MONOTONIC; lo before
//   scale=1         factor on the watts of each board (list; the last repeats)
//   tick_ms=100     the sensor publishes at phase + k * tick + jitter(k)
//   phase_us=0      (list, by board)
//   jitter_us=0     standard deviation, by hash of k and board; at most 0.45 tick
//   publish_us=0    a tick's values are shown so long after it
//   missed=0        probability, by hash of k and board, that tick k is skipped
//   latency_us=20   busy time of each device call: half before the value is taken, half after
//   sleep_us=0      idle time of each device call, before the rest
//   window_ms=25    boxcar of the instant power, before its tick;  average_ms=1000: of the average
//   usage=average   what nvmlDeviceGetPowerUsage tells: average | instant | none
//   energy_call=1   0: nvmlDeviceGetTotalEnergyConsumption is not supported
//   fields=83,186,185,185/2   what nvmlDeviceGetFieldValues knows, as id or id/scope
//   fields_error=0  what nvmlDeviceGetFieldValues returns as a whole
//   field_error=186:15,83:4   what single fields return, as id:status
//   memory_share=0.2  part of the power that scope MEMORY tells;  module_w=80: what MODULE adds
//   wrap=0          modulus of the energy counter, mJ
//   init_error=0    what nvmlInit_v2 returns
//   lost_at_s= denied_at_s= denied_until_s= reset_at_s=   seconds after the last configure
//   arch=9          nvmlDeviceArchitecture_t;  pci_device=0x233010de
//   uuids= names= pci=   lists, by board;  mig=0:MIG-uuid,0:MIG-uuid   slices, as board:uuid
//   driver=580.00
//
// A script "@path" is read from that file. Time 0 is that of CLOCK_MONOTONIC. Everything is a closed form of time: no thread, no state.
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

enum {
    OK = 0,
    UNINITIALIZED = 1,
    INVALID_ARGUMENT = 2,
    NOT_SUPPORTED = 3,
    NO_PERMISSION = 4,
    NOT_FOUND = 6,
    INSUFFICIENT_SIZE = 7,
    GPU_IS_LOST = 15,
};
enum { kBoards = 16, kSlices = 64, kFields = 32, kText = 96, kSteps = 64 };

typedef struct {
    unsigned fieldId, scopeId;
    long long timestamp, latencyUsec;
    int valueType, nvmlReturn;
    union {
        double d;
        unsigned ui;
        unsigned long ul;
        unsigned long long ull;
        long long sll;
    } value;
} FieldValue;

typedef struct {
    char busIdLegacy[16];
    unsigned domain, bus, device, pciDeviceId, pciSubSystemId;
    char busId[32];
} PciInfo;

// What nvml_state asks for; its keys and calls are in fake_nvml_state.h.
enum { kMetrics = 32 };
typedef struct {
    unsigned sm_mhz, memory_mhz, celsius;
    unsigned long long reasons;
    int memory_celsius;
    int clock_error, reasons_error, temperature_error, gpm, gpm_support_error, gpm_sample_error, gpm_get_error;
    int gpm_wave, metrics, throttles;
    unsigned metric_id[kMetrics], throttle_id[kFields];
    double metric_value[kMetrics], throttle_share[kFields];
} State;

typedef struct {
    int gpus, wave, usage, energy_call, fields_error, init_error, arch, slices, fields;
    int steps, field_errors;
    double lo, hi, duty, jitter_ns, missed, latency_us, memory_share, module_w;
    double lost_at_s, denied_at_s, denied_until_s, reset_at_s;  // NaN: never
    int64_t period_ns, tick_ns, window_ns, average_ns, wave_phase_ns, publish_ns, sleep_ns;
    int64_t step_ns[kSteps];
    double step_w[kSteps];
    unsigned failing_field[kFields];
    int failing_status[kFields];
    unsigned long long wrap;
    unsigned pci_device;
    double scale[kBoards], phase_us[kBoards];
    char uuid[kBoards][kText], name[kBoards][kText], pci[kBoards][kText];
    int slice_of[kSlices];
    char slice_uuid[kSlices][kText];
    unsigned field_id[kFields], field_scope[kFields];
    char driver[kText];
    int64_t configured_ns;  // the times above count from here
    int64_t zero_ns;        // the energy counters count from here
    State state;
} Config;

enum { SQUARE, CONSTANT, STEPS };

static pthread_rwlock_t g_lock = PTHREAD_RWLOCK_INITIALIZER;
static Config g;  // under g_lock
static atomic_int g_inits;

// A device handle is the address of one of these bytes: boards first, slices behind them.
static char g_handles[kBoards + kSlices];

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

// ---- the script -----------------------------------------------------------------------------

static void state_defaults(State* s);
static int set_state(State* s, const char* key, char* value);

static void defaults(Config* c) {
    memset(c, 0, sizeof *c);
    state_defaults(&c->state);
    c->gpus = 1;
    c->wave = SQUARE;
    c->usage = 1;
    c->energy_call = 1;
    c->arch = 9;
    c->lo = 70;
    c->hi = 600;
    c->duty = 0.5;
    c->latency_us = 20;
    c->memory_share = 0.2;
    c->module_w = 80;
    c->lost_at_s = c->denied_at_s = c->denied_until_s = c->reset_at_s = NAN;
    c->period_ns = 130000000;
    c->tick_ns = 100000000;
    c->window_ns = 25000000;
    c->average_ns = 1000000000;
    c->pci_device = 0x233010de;
    const unsigned id[] = {83, 186, 185, 185}, scope[] = {0, 0, 0, 2};
    c->fields = 4;
    for (int i = 0; i < 4; ++i) c->field_id[i] = id[i], c->field_scope[i] = scope[i];
    for (int i = 0; i < kBoards; ++i) {
        c->scale[i] = 1;
        snprintf(c->uuid[i], kText, "GPU-fa4e%04x-0000-4000-8000-%012x", i, i);
        snprintf(c->name[i], kText, "Fake H100");
        snprintf(c->pci[i], kText, "00000000:%02X:00.0", 0x10 + i);
    }
    snprintf(c->driver, kText, "580.00");
}

static double seconds_or_never(const char* text) { return *text == 0 ? NAN : strtod(text, NULL); }
static int64_t from_ms(const char* text) { return llround(strtod(text, NULL) * 1e6); }

static void copy_text(char* to, const char* from) { snprintf(to, kText, "%s", from); }

static void number_list(double* to, char* text) {
    double last = 0;
    char* rest = NULL;
    char* item = strtok_r(text, ",", &rest);
    for (int i = 0; i < kBoards; ++i) {
        if (item != NULL) last = strtod(item, NULL), item = strtok_r(NULL, ",", &rest);
        to[i] = last;
    }
}

static void text_list(char to[][kText], char* text) {
    char* rest = NULL;
    int i = 0;
    for (char* item = strtok_r(text, ",", &rest); item != NULL && i < kBoards;
         item = strtok_r(NULL, ",", &rest))
        copy_text(to[i++], item);
}

static void set(Config* c, const char* key, char* value) {
#define IS(k) (strcmp(key, k) == 0)
    char* rest = NULL;
    if (IS("gpus")) c->gpus = atoi(value) > kBoards ? kBoards : atoi(value);
    else if (IS("wave")) c->wave = value[0] == 'c' ? CONSTANT : value[1] == 't' ? STEPS : SQUARE;
    else if (IS("wave_phase_ms")) c->wave_phase_ns = from_ms(value);
    else if (IS("publish_us")) c->publish_ns = from_ms(value) / 1000;
    else if (IS("sleep_us")) c->sleep_ns = from_ms(value) / 1000;
    else if (IS("lo")) c->lo = strtod(value, NULL);
    else if (IS("hi")) c->hi = strtod(value, NULL);
    else if (IS("duty")) c->duty = strtod(value, NULL);
    else if (IS("period_ms")) c->period_ns = from_ms(value);
    else if (IS("tick_ms")) c->tick_ns = from_ms(value);
    else if (IS("window_ms")) c->window_ns = from_ms(value);
    else if (IS("average_ms")) c->average_ns = from_ms(value);
    else if (IS("scale")) number_list(c->scale, value);
    else if (IS("phase_us")) number_list(c->phase_us, value);
    else if (IS("jitter_us")) c->jitter_ns = strtod(value, NULL) * 1e3;
    else if (IS("missed")) c->missed = fmin(strtod(value, NULL), 0.99);
    else if (IS("latency_us")) c->latency_us = strtod(value, NULL);
    else if (IS("memory_share")) c->memory_share = strtod(value, NULL);
    else if (IS("module_w")) c->module_w = strtod(value, NULL);
    else if (IS("usage")) c->usage = value[0] == 'i' ? 2 : value[0] == 'a' ? 1 : 0;
    else if (IS("energy_call")) c->energy_call = atoi(value);
    else if (IS("fields_error")) c->fields_error = atoi(value);
    else if (IS("init_error")) c->init_error = atoi(value);
    else if (IS("wrap")) c->wrap = strtoull(value, NULL, 10);
    else if (IS("lost_at_s")) c->lost_at_s = seconds_or_never(value);
    else if (IS("denied_at_s")) c->denied_at_s = seconds_or_never(value);
    else if (IS("denied_until_s")) c->denied_until_s = seconds_or_never(value);
    else if (IS("reset_at_s")) c->reset_at_s = seconds_or_never(value);
    else if (IS("arch")) c->arch = atoi(value);
    else if (IS("pci_device")) c->pci_device = (unsigned)strtoul(value, NULL, 0);
    else if (IS("driver")) copy_text(c->driver, value);
    else if (IS("uuids")) text_list(c->uuid, value);
    else if (IS("names")) text_list(c->name, value);
    else if (IS("pci")) text_list(c->pci, value);
    else if (IS("fields")) {
        c->fields = 0;
        for (char* f = strtok_r(value, ",", &rest); f != NULL && c->fields < kFields;
             f = strtok_r(NULL, ",", &rest), ++c->fields) {
            char* scope = NULL;
            c->field_id[c->fields] = (unsigned)strtoul(f, &scope, 10);
            c->field_scope[c->fields] = *scope == '/' ? (unsigned)atoi(scope + 1) : 0;
        }
    } else if (IS("steps")) {
        c->steps = 0;
        for (char* s = strtok_r(value, ",", &rest); s != NULL && c->steps < kSteps;
             s = strtok_r(NULL, ",", &rest), ++c->steps) {
            char* watts = NULL;
            c->step_ns[c->steps] = llround(strtod(s, &watts) * 1e9);
            c->step_w[c->steps] = *watts == ':' ? strtod(watts + 1, NULL) : 0;
        }
    } else if (IS("field_error")) {
        c->field_errors = 0;
        for (char* f = strtok_r(value, ",", &rest); f != NULL && c->field_errors < kFields;
             f = strtok_r(NULL, ",", &rest), ++c->field_errors) {
            char* status = NULL;
            c->failing_field[c->field_errors] = (unsigned)strtoul(f, &status, 10);
            c->failing_status[c->field_errors] = *status == ':' ? atoi(status + 1) : 999;
        }
    } else if (IS("mig")) {
        c->slices = 0;
        for (char* s = strtok_r(value, ",", &rest); s != NULL && c->slices < kSlices;
             s = strtok_r(NULL, ",", &rest)) {
            char* uuid = NULL;
            c->slice_of[c->slices] = (int)strtol(s, &uuid, 10);
            if (*uuid == ':') copy_text(c->slice_uuid[c->slices++], uuid + 1);
        }
    } else if (!IS("keep") && !set_state(&c->state, key, value)) {
        fprintf(stderr, "fake_nvml: unknown key '%s'\n", key);
        abort();  // a misspelt script must not pass for a test
    }
#undef IS
}

static char* read_script(const char* path) {
    FILE* file = fopen(path, "r");
    if (file == NULL) {
        fprintf(stderr, "fake_nvml: no script '%s'\n", path);
        abort();
    }
    char* text = calloc(1, 65536);
    if (fread(text, 1, 65535, file) == 0) text[0] = 0;
    fclose(file);
    for (char* c = text; *c != 0; ++c)
        if (*c == '\n') *c = ';';
    return text;
}

void fake_nvml_configure(const char* script) {
    char* text = script != NULL && script[0] == '@' ? read_script(script + 1)
                                                    : strdup(script == NULL ? "" : script);
    Config c;
    pthread_rwlock_wrlock(&g_lock);
    const int keep = strstr(text, "keep=1") != NULL;
    if (keep) c = g;
    else defaults(&c);
    char* rest = NULL;
    for (char* pair = strtok_r(text, ";", &rest); pair != NULL; pair = strtok_r(NULL, ";", &rest)) {
        while (*pair == ' ' || *pair == '\n') ++pair;
        char* value = strchr(pair, '=');
        if (value == NULL) continue;
        *value = 0;
        set(&c, pair, value + 1);
    }
    if (c.period_ns < 1) c.period_ns = 1;
    if (c.tick_ns < 1) c.tick_ns = 1;
    c.configured_ns = now_ns();
    if (!keep) c.zero_ns = c.configured_ns;
    g = c;
    pthread_rwlock_unlock(&g_lock);
    free(text);
}

__attribute__((constructor)) static void from_environment(void) {
    fake_nvml_configure(getenv("FAKE_NVML"));
}

// ---- the truth ------------------------------------------------------------------------------

// Joules of a board from time 0 to t.
static long double joules_to(const Config* c, int gpu, int64_t t) {
    long double watt_ns;
    if (c->wave == CONSTANT) {
        watt_ns = (long double)c->hi * (long double)t;
    } else if (c->wave == STEPS) {
        const int64_t first = c->steps > 0 && c->step_ns[0] < t ? c->step_ns[0] : t;
        watt_ns = (long double)c->lo * (long double)first;
        for (int i = 0; i < c->steps && c->step_ns[i] < t; ++i) {
            const int64_t end = i + 1 < c->steps && c->step_ns[i + 1] < t ? c->step_ns[i + 1] : t;
            watt_ns += (long double)c->step_w[i] * (long double)(end - c->step_ns[i]);
        }
    } else {
        t -= c->wave_phase_ns;
        int64_t whole = t / c->period_ns, part = t % c->period_ns;
        if (part < 0) part += c->period_ns, --whole;
        const int64_t high = llround((double)c->period_ns * c->duty), low = c->period_ns - high;
        const long double period = (long double)c->hi * (long double)high +
                                   (long double)c->lo * (long double)low;
        watt_ns = period * (long double)whole +
                  (long double)c->hi * (long double)(part < high ? part : high) +
                  (long double)c->lo * (long double)(part < high ? 0 : part - high);
    }
    return watt_ns * (long double)c->scale[gpu] * 1e-9L;
}

static double mean_watts(const Config* c, int gpu, int64_t end, int64_t window) {
    if (window < 1) window = 1;
    return (double)((joules_to(c, gpu, end) - joules_to(c, gpu, end - window)) /
                    ((long double)window * 1e-9L));
}

static uint64_t mix(uint64_t x) {
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

// In (0, 1), by board, tick and purpose.
static double hashed(int gpu, int64_t k, unsigned purpose) {
    const uint64_t h = mix(mix((uint64_t)k) ^ mix(((uint64_t)(unsigned)gpu << 8) | purpose));
    return ((double)(h >> 12) + 0.5) / 4503599627370496.0;
}

static int64_t tick_at(const Config* c, int gpu, int64_t k) {
    int64_t t = (int64_t)llround(c->phase_us[gpu] * 1e3) + k * c->tick_ns;
    if (c->jitter_ns > 0) {
        const double normal =
            sqrt(-2 * log(hashed(gpu, k, 1))) * cos(6.283185307179586 * hashed(gpu, k, 2));
        const double limit = 0.45 * (double)c->tick_ns;
        t += llround(fmax(-limit, fmin(limit, normal * c->jitter_ns)));
    }
    return t;
}

// The last tick whose values are shown at time t.
static int64_t last_tick(const Config* c, int gpu, int64_t t) {
    t -= c->publish_ns;
    int64_t k = (t - (int64_t)llround(c->phase_us[gpu] * 1e3)) / c->tick_ns + 1;
    while (tick_at(c, gpu, k) > t || (c->missed > 0 && hashed(gpu, k, 3) < c->missed)) --k;
    return k;
}

static double since_configured_s(const Config* c, int64_t t) {
    return (double)(t - c->configured_ns) * 1e-9;
}

static unsigned long long energy_mj(const Config* c, int gpu, int64_t now) {
    int64_t zero = c->zero_ns;
    if (since_configured_s(c, now) >= c->reset_at_s)  // false for NaN
        zero = c->configured_ns + llround(c->reset_at_s * 1e9);
    const int64_t tick = tick_at(c, gpu, last_tick(c, gpu, now));
    if (tick <= zero) return 0;
    const long double joules = joules_to(c, gpu, tick) - joules_to(c, gpu, zero);
    const unsigned long long mj = (unsigned long long)floorl(joules * 1000);
    return c->wrap == 0 ? mj : mj % c->wrap;
}

static unsigned power_mw(const Config* c, int gpu, int64_t now, int64_t window) {
    const int64_t tick = tick_at(c, gpu, last_tick(c, gpu, now));
    return (unsigned)llround(mean_watts(c, gpu, tick, window) * 1e3);
}

static int board_or_zero(int gpu) { return gpu < 0 || gpu >= kBoards ? 0 : gpu; }

// Joules of one board (-1: of all) between two instants of CLOCK_MONOTONIC.
double fake_nvml_true_energy_j(int gpu, long long begin_ns, long long end_ns) {
    pthread_rwlock_rdlock(&g_lock);
    const int first = gpu < 0 ? 0 : board_or_zero(gpu), end = gpu < 0 ? g.gpus : first + 1;
    double j = 0;
    for (int i = first; i < end; ++i)
        j += (double)(joules_to(&g, i, end_ns) - joules_to(&g, i, begin_ns));
    pthread_rwlock_unlock(&g_lock);
    return j;
}

// When tick k of one board is (or, were it not missed, would be).
long long fake_nvml_tick_ns(int gpu, long long k) {
    pthread_rwlock_rdlock(&g_lock);
    const int64_t t = tick_at(&g, board_or_zero(gpu), k);
    pthread_rwlock_unlock(&g_lock);
    return t;
}

// The number k of the tick whose values are shown at time t.
long long fake_nvml_last_tick_before(int gpu, long long t_ns) {
    pthread_rwlock_rdlock(&g_lock);
    const int64_t k = last_tick(&g, board_or_zero(gpu), t_ns);
    pthread_rwlock_unlock(&g_lock);
    return k;
}

// ---- counting calls -------------------------------------------------------------------------

enum { kThreads = 4096 };
static atomic_int g_tid[kThreads];
static atomic_ullong g_calls_of[kThreads];
static atomic_ullong g_calls;

static int slot_of(int tid, int take) {
    for (int i = 0; i < kThreads; ++i) {
        const int slot = (tid + i) % kThreads;
        int owner = atomic_load(&g_tid[slot]);
        if (owner == 0 && !take) return -1;
        if (owner == 0 && atomic_compare_exchange_strong(&g_tid[slot], &owner, tid)) return slot;
        if (owner == tid) return slot;
    }
    return -1;
}

// Calls that name a device, since the library was loaded.
unsigned long long fake_nvml_calls(void) { return atomic_load(&g_calls); }
unsigned long long fake_nvml_calls_by_thread(int tid) {
    const int slot = tid > 0 ? slot_of(tid, 0) : -1;
    return slot < 0 ? 0 : atomic_load(&g_calls_of[slot]);
}

// ---- a device call --------------------------------------------------------------------------

typedef struct {
    Config c;     // a copy: no lock is held while spinning
    int gpu;      // the board; -1: no such handle
    int slice;    // -1: a whole board
    int64_t now;  // when the value is taken
} Call;

static void spin_until(int64_t t) {
    while (now_ns() < t) {}
}

static int index_of(const void* device) {
    const uintptr_t at = (uintptr_t)device, first = (uintptr_t)g_handles;
    return at >= first && at < first + sizeof g_handles ? (int)(at - first) : -1;
}

// The first half of the busy time, then the look at the board. Every call ends with leave().
static int enter(Call* call, const void* device) {
    const int64_t begin = now_ns();
    atomic_fetch_add(&g_calls, 1);
    const int slot = slot_of((int)syscall(SYS_gettid), 1);
    if (slot >= 0) atomic_fetch_add(&g_calls_of[slot], 1);
    pthread_rwlock_rdlock(&g_lock);
    call->c = g;
    pthread_rwlock_unlock(&g_lock);
    if (call->c.sleep_ns > 0) {
        const struct timespec pause = {call->c.sleep_ns / 1000000000,
                                       call->c.sleep_ns % 1000000000};
        nanosleep(&pause, NULL);
    }
    spin_until(begin + call->c.sleep_ns + llround(call->c.latency_us * 500));
    call->now = now_ns();
    call->slice = -1;
    call->gpu = index_of(device);
    if (call->gpu >= kBoards) {
        call->slice = call->gpu - kBoards;
        call->gpu = call->slice < call->c.slices ? call->c.slice_of[call->slice] : -1;
    }
    if (atomic_load(&g_inits) == 0) return UNINITIALIZED;
    if (call->gpu < 0 || call->gpu >= call->c.gpus) return INVALID_ARGUMENT;
    if (since_configured_s(&call->c, call->now) >= call->c.lost_at_s) return GPU_IS_LOST;
    return OK;
}

static int leave(const Call* call, int status) {
    spin_until(call->now + llround(call->c.latency_us * 500));
    return status;
}

// As enter(), for a measurement: needs permission and a whole board.
static int enter_meter(Call* call, const void* device) {
    const int status = enter(call, device);
    if (status != OK) return status;
    if (call->slice >= 0) return NOT_SUPPORTED;
    const double s = since_configured_s(&call->c, call->now);
    if (s >= call->c.denied_at_s && !(s >= call->c.denied_until_s)) return NO_PERMISSION;
    return OK;
}

static int put_text(char* to, unsigned size, const char* from) {
    if (strlen(from) + 1 > size) return INSUFFICIENT_SIZE;
    memcpy(to, from, strlen(from) + 1);
    return OK;
}

// ---- NVML -----------------------------------------------------------------------------------

int nvmlInit_v2(void) {
    pthread_rwlock_rdlock(&g_lock);
    const int status = g.init_error;
    pthread_rwlock_unlock(&g_lock);
    if (status == OK) atomic_fetch_add(&g_inits, 1);
    return status;
}

// What the vendor's Python binding calls.
int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    return nvmlInit_v2();
}

int nvmlShutdown(void) {
    int n = atomic_load(&g_inits);
    while (n > 0 && !atomic_compare_exchange_weak(&g_inits, &n, n - 1)) {}
    return n > 0 ? OK : UNINITIALIZED;
}

const char* nvmlErrorString(int status) {
    switch (status) {
        case 0: return "Success";
        case 1: return "Uninitialized";
        case 2: return "Invalid Argument";
        case 3: return "Not Supported";
        case 4: return "Insufficient Permissions";
        case 6: return "Not Found";
        case 7: return "Insufficient Size";
        case 9: return "Driver Not Loaded";
        case 12: return "Shared Library Not Found";
        case 15: return "GPU is lost";
        case 18: return "Driver/library version mismatch";
        case 999: return "Unknown Error";
        default: return "Fake Error";
    }
}

int nvmlSystemGetDriverVersion(char* version, unsigned size) {
    if (atomic_load(&g_inits) == 0) return UNINITIALIZED;
    pthread_rwlock_rdlock(&g_lock);
    const int status = put_text(version, size, g.driver);
    pthread_rwlock_unlock(&g_lock);
    return status;
}

int nvmlDeviceGetCount_v2(unsigned* count) {
    if (atomic_load(&g_inits) == 0) return UNINITIALIZED;
    pthread_rwlock_rdlock(&g_lock);
    *count = (unsigned)g.gpus;
    pthread_rwlock_unlock(&g_lock);
    return OK;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void** device) {
    if (index >= kBoards) return INVALID_ARGUMENT;
    Call call;
    const int status = enter(&call, &g_handles[index]);
    if (status == OK) *device = &g_handles[index];
    return leave(&call, status);
}

int nvmlDeviceGetHandleByUUID(const char* uuid, void** device) {
    if (atomic_load(&g_inits) == 0) return UNINITIALIZED;
    int found = -1;
    pthread_rwlock_rdlock(&g_lock);
    for (int i = 0; i < g.gpus; ++i)
        if (strcmp(uuid, g.uuid[i]) == 0) found = i;
    for (int i = 0; i < g.slices; ++i)
        if (strcmp(uuid, g.slice_uuid[i]) == 0) found = kBoards + i;
    pthread_rwlock_unlock(&g_lock);
    if (found < 0) return NOT_FOUND;
    Call call;
    const int status = enter(&call, &g_handles[found]);
    if (status == OK) *device = &g_handles[found];
    return leave(&call, status);
}

int nvmlDeviceGetUUID(void* device, char* uuid, unsigned size) {
    Call call;
    int status = enter(&call, device);
    if (status == OK)
        status = put_text(uuid, size, call.slice >= 0 ? call.c.slice_uuid[call.slice]
                                                      : call.c.uuid[call.gpu]);
    return leave(&call, status);
}

int nvmlDeviceGetName(void* device, char* name, unsigned size) {
    Call call;
    int status = enter(&call, device);
    if (status == OK) status = put_text(name, size, call.c.name[call.gpu]);
    return leave(&call, status);
}

int nvmlDeviceGetIndex(void* device, unsigned* index) {
    Call call;
    const int status = enter(&call, device);
    if (status == OK) *index = (unsigned)(call.slice >= 0 ? call.slice : call.gpu);
    return leave(&call, status);
}

int nvmlDeviceGetPciInfo_v3(void* device, PciInfo* pci) {
    Call call;
    const int status = enter(&call, device);
    if (status == OK) {
        memset(pci, 0, sizeof *pci);
        unsigned function = 0;
        sscanf(call.c.pci[call.gpu], "%x:%x:%x.%x", &pci->domain, &pci->bus, &pci->device,
               &function);
        pci->pciDeviceId = call.c.pci_device;
        snprintf(pci->busId, sizeof pci->busId, "%08X:%02X:%02X.0", pci->domain, pci->bus & 0xffu,
                 pci->device & 0xffu);
        snprintf(pci->busIdLegacy, sizeof pci->busIdLegacy, "%04X:%02X:%02X.0",
                 pci->domain & 0xffffu, pci->bus & 0xffu, pci->device & 0xffu);
    }
    return leave(&call, status);
}

int nvmlDeviceGetArchitecture(void* device, unsigned* architecture) {
    Call call;
    const int status = enter(&call, device);
    if (status == OK) *architecture = (unsigned)call.c.arch;
    return leave(&call, status);
}

static int state_field(const Config* c, unsigned field, int64_t now, unsigned long long* value);

int nvmlDeviceGetFieldValues(void* device, int count, FieldValue* values) {
    Call call;
    int status = enter_meter(&call, device);
    const Config* c = &call.c;
    if (status == OK) status = c->fields_error;
    if (status == OK && (count < 1 || values == NULL)) status = INVALID_ARGUMENT;
    for (int i = 0; status == OK && i < count; ++i) {
        FieldValue* v = &values[i];
        int known = 0;
        for (int f = 0; f < c->fields; ++f)
            known |= c->field_id[f] == v->fieldId && c->field_scope[f] == v->scopeId;
        v->timestamp = (long long)time(NULL) * 1000000;
        v->latencyUsec = (long long)c->latency_us;
        v->value.ull = 0;
        v->nvmlReturn = known ? OK : NOT_SUPPORTED;
        for (int f = 0; f < c->field_errors; ++f)
            if (c->failing_field[f] == v->fieldId) v->nvmlReturn = c->failing_status[f];
        unsigned long long told = 0;
        if (v->nvmlReturn == NOT_SUPPORTED && state_field(c, v->fieldId, call.now, &told)) {
            v->valueType = v->fieldId == 82 ? 1 : 3;
            v->value.ull = told;
            v->nvmlReturn = OK;
            continue;
        }
        if (v->nvmlReturn != OK) continue;
        if (v->fieldId == 83) {
            v->valueType = 3;  // unsigned long long
            v->value.ull = energy_mj(c, call.gpu, call.now);
        } else if (v->fieldId == 185 || v->fieldId == 186) {
            v->valueType = 1;  // unsigned int
            const double mw = power_mw(c, call.gpu, call.now,
                                       v->fieldId == 185 ? c->average_ns : c->window_ns);
            v->value.ui = (unsigned)llround(v->scopeId == 2   ? mw * c->memory_share
                                            : v->scopeId == 1 ? mw + c->module_w * 1e3
                                                              : mw);
        } else {
            v->nvmlReturn = INVALID_ARGUMENT;
        }
    }
    return leave(&call, status);
}

int nvmlDeviceGetTotalEnergyConsumption(void* device, unsigned long long* energy) {
    Call call;
    int status = enter_meter(&call, device);
    if (status == OK && !call.c.energy_call) status = NOT_SUPPORTED;
    if (status == OK) *energy = energy_mj(&call.c, call.gpu, call.now);
    return leave(&call, status);
}

int nvmlDeviceGetPowerUsage(void* device, unsigned* power) {
    Call call;
    int status = enter_meter(&call, device);
    if (status == OK && call.c.usage == 0) status = NOT_SUPPORTED;
    if (status == OK)
        *power = power_mw(&call.c, call.gpu, call.now,
                          call.c.usage == 2 ? call.c.window_ns : call.c.average_ns);
    return leave(&call, status);
}

int nvmlDeviceGetMigMode(void* device, unsigned* current, unsigned* pending) {
    Call call;
    int status = enter(&call, device);
    if (status == OK && call.c.arch < 7) status = NOT_SUPPORTED;
    if (status == OK) {
        *current = 0;
        for (int i = 0; i < call.c.slices; ++i) *current |= call.c.slice_of[i] == call.gpu;
        *pending = *current;
    }
    return leave(&call, status);
}

int nvmlDeviceIsMigDeviceHandle(void* device, unsigned* is_mig) {
    Call call;
    const int status = enter(&call, device);
    if (status == OK) *is_mig = call.slice >= 0;
    return leave(&call, status);
}

int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(void* mig, void** device) {
    Call call;
    int status = enter(&call, mig);
    if (status == OK && call.slice < 0) status = INVALID_ARGUMENT;
    if (status == OK) *device = &g_handles[call.gpu];
    return leave(&call, status);
}

#include "fake_nvml_state.h"
