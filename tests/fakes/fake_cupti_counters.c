// The counter half of the scripted CUPTI: host profiler, PM sampling and range profiler, with the
// real symbols, structs and refusals. Values are truths that the test sets, so what comes out of the
// product can be compared with them exactly.
#define _GNU_SOURCE
#include "fake_cupti_counters.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fake_cupti.h"

int cuptiGetVersion(uint32_t* version);

enum {
    OK = 0,
    INVALID_PARAMETER = 1,
    INVALID_OPERATION = 7,
    OUT_OF_MEMORY = 8,
    NOT_SUPPORTED = 27,
};
enum { kMostTruths = 256, kMostRanges = 64, kMostObjects = 16 };
static const uint32_t kConfigMagic = 0x43464731, kDataMagic = 0x44415431;

typedef struct {
    char kernel[96], metric[128];
    double value;
} Truth;

// One sample or range of a counter data image.
typedef struct {
    uint64_t begin, end;
    char kernel[96];
} Entry;

typedef struct {
    uint32_t magic, capacity, count;
} ImageHead;

typedef struct {
    int used, type;
    size_t count;
} Host;

typedef struct {
    int used, configured, started;
    size_t device;
    uint64_t interval, capacity;
    int append;
    uint64_t begin, next, made;  // device time; samples not yet decoded are [next, made)
    int overflowed;
} Pm;

typedef struct {
    int used, configured, started, stopped;
    void* context;
    uint8_t* image;
    size_t most;
    Entry ranges[kMostRanges];
    size_t count;
} Range;

static struct {
    char chip[16], unknown[64];
    int init, host, pm_passes, range_passes, pm_enable, range_enable, range_start, range_stop;
    int sample_bytes, foreign, extra, kernel_ms;
} s;

static pthread_mutex_t g_lock = PTHREAD_MUTEX_INITIALIZER;
static Truth g_truths[kMostTruths];
static size_t g_truth_count;
static Host g_hosts[kMostObjects];
static Pm g_pms[kMostObjects];
static Range g_ranges[kMostObjects];
static const char* g_bases[kMostTruths];
static size_t g_base_count;
static uint64_t g_replays, g_interval, g_first;
static int g_initialized, g_trigger, g_append;

static void lock(void) {
    pthread_mutex_lock(&g_lock);
}
static int done(int result) {
    pthread_mutex_unlock(&g_lock);
    return result;
}

static uint32_t version(void) {
    uint32_t v = 0;
    cuptiGetVersion(&v);
    return v;
}

// Whether a struct's size is one that this library may be given.
static int fits(const void* params, size_t least, size_t known) {
    size_t size;
    memcpy(&size, params, sizeof size);
    if (size > known) {
        fake_cupti_violation("a parameter struct of a counter is larger than the library knows");
        return 0;
    }
    if (size < least) fake_cupti_violation("a parameter struct of a counter is too small");
    return size >= least;
}
#define CHECK(p, size) \
    if (!fits((p), (size), (size))) return INVALID_PARAMETER

// ---- control ------------------------------------------------------------------------------------

static void setting(const char* key, const char* value) {
    const int n = atoi(value);
    if (strcmp(key, "chip") == 0) snprintf(s.chip, sizeof s.chip, "%s", value);
    if (strcmp(key, "unknown") == 0) snprintf(s.unknown, sizeof s.unknown, "%s", value);
    if (strcmp(key, "init") == 0) s.init = n;
    if (strcmp(key, "host") == 0) s.host = n;
    if (strcmp(key, "pm_passes") == 0) s.pm_passes = n;
    if (strcmp(key, "range_passes") == 0) s.range_passes = n;
    if (strcmp(key, "pm_enable") == 0) s.pm_enable = n;
    if (strcmp(key, "range_enable") == 0) s.range_enable = n;
    if (strcmp(key, "range_start") == 0) s.range_start = n;
    if (strcmp(key, "range_stop") == 0) s.range_stop = n;
    if (strcmp(key, "sample_bytes") == 0) s.sample_bytes = n;
    if (strcmp(key, "foreign") == 0) s.foreign = n;
    if (strcmp(key, "extra") == 0) s.extra = n;
    if (strcmp(key, "kernel_ms") == 0) s.kernel_ms = n;
}

static void configure_locked(const char* script) {
    memset(&s, 0, sizeof s);
    snprintf(s.chip, sizeof s.chip, "GH100");
    s.pm_passes = 1;
    s.range_passes = 2;
    s.sample_bytes = 10240;
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
    configure_locked(getenv("FAKE_CUPTI_COUNTERS"));
}

void fake_counters_configure(const char* script) {
    lock();
    configure_locked(script);
    g_truth_count = 0;
    while (g_base_count > 0) free((char*)g_bases[--g_base_count]);
    memset(g_hosts, 0, sizeof g_hosts);
    memset(g_pms, 0, sizeof g_pms);
    memset(g_ranges, 0, sizeof g_ranges);
    g_replays = g_interval = g_first = 0;
    done(0);
}

static void add_truth(const char* kernel, const char* metric, double value) {
    lock();
    if (g_truth_count < kMostTruths) {
        Truth* t = &g_truths[g_truth_count++];
        snprintf(t->kernel, sizeof t->kernel, "%s", kernel);
        snprintf(t->metric, sizeof t->metric, "%s", metric);
        t->value = value;
    }
    done(0);
}

void fake_counters_kernel(const char* name, const char* metric, double count) {
    add_truth(name, metric, count);
}

void fake_counters_base(const char* metric) {
    lock();
    if (g_base_count < kMostTruths && (s.unknown[0] == '\0' || !strstr(metric, s.unknown))) {
        g_bases[g_base_count++] = strdup(metric);
    }
    done(0);
}

void fake_counters_rate(const char* metric, double per_ns) {
    add_truth("", metric, per_ns);
}

static double truth(const char* kernel, const char* metric) {
    for (size_t i = g_truth_count; i-- > 0;) {
        const Truth* t = &g_truths[i];
        if (strcmp(t->kernel, kernel) == 0 && strcmp(t->metric, metric) == 0) return t->value;
    }
    return 0;
}

void fake_counters_advance(uint64_t samples) {
    lock();
    for (int i = 0; i < kMostObjects; ++i) {
        Pm* pm = &g_pms[i];
        if (!pm->started) continue;
        pm->made += samples;
        if (pm->made - pm->next <= pm->capacity) continue;
        if (pm->append == 1) {
            pm->next = pm->made - pm->capacity;  // the oldest are written over
        } else {
            pm->made = pm->next + pm->capacity;
            pm->overflowed = 1;
        }
    }
    done(0);
}

void fake_counters_on_kernel(void* context, const char* name) {
    lock();
    for (int i = 0; i < kMostObjects; ++i) {
        Range* r = &g_ranges[i];
        if (!r->used || !r->started || r->context != context) continue;
        for (int n = 0; n <= s.extra && r->count < kMostRanges; ++n) {
            Entry* e = &r->ranges[r->count++];
            snprintf(e->kernel, sizeof e->kernel, "%s", n == 0 ? name : "somebody else's");
            g_replays += (uint64_t)s.range_passes;
        }
    }
    const int ms = s.kernel_ms;
    done(0);
    if (ms > 0) nanosleep(&(struct timespec){0, ms * 1000000L}, NULL);
}

uint64_t fake_counters_replays(void) {
    return g_replays;
}
int fake_counters_sessions(void) {
    lock();
    int n = 0;
    for (int i = 0; i < kMostObjects; ++i) n += g_pms[i].used + g_ranges[i].used + g_hosts[i].used;
    return done(n);
}
int fake_counters_sampling(void) {
    lock();
    int n = 0;
    for (int i = 0; i < kMostObjects; ++i) n += g_pms[i].started;
    return done(n);
}
uint64_t fake_counters_interval(void) {
    return g_interval;
}
int fake_counters_trigger(void) {
    return g_trigger;
}
int fake_counters_append(void) {
    return g_append;
}
uint64_t fake_counters_first_sample(void) {
    return g_first;
}

// ---- host ---------------------------------------------------------------------------------------

typedef struct {
    size_t size;
    void* reserved;
    int type;
    const char* chip;
    const uint8_t* availability;
    Host* host;
} HostInitialize;

int cuptiProfilerHostInitialize(HostInitialize* p) {
    CHECK(p, 48);
    lock();
    if (s.host != 0) return done(s.host);
    for (int i = 0; i < kMostObjects; ++i) {
        if (g_hosts[i].used) continue;
        g_hosts[i] = (Host){1, p->type, 0};
        p->host = &g_hosts[i];
        return done(OK);
    }
    return done(OUT_OF_MEMORY);
}

typedef struct {
    size_t size;
    void* reserved;
    Host* host;
} HostOnly;

int cuptiProfilerHostDeinitialize(HostOnly* p) {
    CHECK(p, 24);
    lock();
    if (p->host == NULL || !p->host->used) fake_cupti_violation("a host is ended twice");
    p->host->used = 0;
    return done(OK);
}

typedef struct {
    size_t size;
    void* reserved;
    size_t count;
    const char* const* names;
} HostChips;

int cuptiProfilerHostGetSupportedChips(HostChips* p) {
    static const char* const kChips[] = {"GA100", "GH100"};
    CHECK(p, 32);
    p->count = 2;
    p->names = kChips;
    return OK;
}

typedef struct {
    size_t size;
    void* reserved;
    Host* host;
    int type;
    const char** names;
    size_t count;
} HostBase;

int cuptiProfilerHostGetBaseMetrics(HostBase* p) {
    CHECK(p, 48);
    p->names = g_bases;
    p->count = p->type == 0 ? g_base_count : 0;
    return OK;
}

typedef struct {
    size_t size;
    void* reserved;
    Host* host;
    const char** names;
    size_t count;
} HostAdd;

int cuptiProfilerHostConfigAddMetrics(HostAdd* p) {
    CHECK(p, 40);
    lock();
    for (size_t i = 0; i < p->count; ++i) {
        if (strchr(p->names[i], '.') == NULL) {
            fake_cupti_violation("a metric without a roll-up");
            return done(INVALID_PARAMETER);
        }
        if (s.unknown[0] != '\0' && strstr(p->names[i], s.unknown) != NULL) {
            return done(INVALID_PARAMETER);
        }
    }
    p->host->count = p->count;
    return done(OK);
}

typedef struct {
    size_t size;
    void* reserved;
    Host* host;
    size_t bytes;
} HostImageSize;

int cuptiProfilerHostGetConfigImageSize(HostImageSize* p) {
    CHECK(p, 32);
    p->bytes = 12;
    return OK;
}

typedef struct {
    size_t size;
    void* reserved;
    Host* host;
    size_t bytes;
    uint8_t* image;
} HostImage;

int cuptiProfilerHostGetConfigImage(HostImage* p) {
    CHECK(p, 40);
    const int passes = p->host->type == 1 ? s.pm_passes : s.range_passes;
    const uint32_t words[3] = {kConfigMagic, (uint32_t)p->host->count, (uint32_t)passes};
    if (p->bytes < sizeof words) return INVALID_PARAMETER;
    memcpy(p->image, words, sizeof words);
    return OK;
}

static uint32_t passes_of(const uint8_t* image) {
    uint32_t words[3];
    memcpy(words, image, sizeof words);
    return words[0] == kConfigMagic ? words[2] : 0;
}

typedef struct {
    size_t size;
    void* reserved;
    size_t bytes;
    const uint8_t* image;
    size_t passes;
} HostPasses;

int cuptiProfilerHostGetNumOfPasses(HostPasses* p) {
    CHECK(p, 40);
    p->passes = passes_of(p->image);
    return p->passes == 0 ? INVALID_PARAMETER : OK;
}

typedef struct {
    size_t size;
    void* reserved;
    Host* host;
    const uint8_t* image;
    size_t bytes, index;
    const char** names;
    size_t count;
    double* values;
} HostEvaluate;

int cuptiProfilerHostEvaluateToGpuValues(HostEvaluate* p) {
    CHECK(p, 72);
    ImageHead head;
    Entry e;
    memcpy(&head, p->image, sizeof head);
    if (head.magic != kDataMagic || p->index >= head.count) {
        fake_cupti_violation("values of a sample that is not there");
        return INVALID_PARAMETER;
    }
    memcpy(&e, p->image + sizeof head + p->index * sizeof e, sizeof e);
    lock();
    const double factor = e.kernel[0] != '\0' ? 1.0 : (double)(e.end - e.begin);
    for (size_t i = 0; i < p->count; ++i) p->values[i] = factor * truth(e.kernel, p->names[i]);
    return done(OK);
}

// ---- device -------------------------------------------------------------------------------------

typedef struct {
    size_t size;
    void* reserved;
} Initialize;

int cuptiProfilerInitialize(Initialize* p) {
    CHECK(p, 16);
    if (s.init == 0) g_initialized = 1;
    return s.init;
}

int cuptiProfilerDeInitialize(Initialize* p) {
    (void)p;
    fake_cupti_violation("the profiler is ended: a second time would be a crash");
    return OK;
}

typedef struct {
    size_t size;
    void* reserved;
    size_t device;
    const char* name;
} ChipName;

int cuptiDeviceGetChipName(ChipName* p) {
    CHECK(p, 32);
    p->name = s.chip;
    return OK;
}

// ---- PM sampling --------------------------------------------------------------------------------

typedef struct {
    size_t size;
    void* reserved;
    size_t device;
    Pm* pm;
} PmEnable;

int cuptiPmSamplingEnable(PmEnable* p) {
    CHECK(p, 32);
    lock();
    if (!g_initialized) fake_cupti_violation("the profiler was not initialized");
    if (s.pm_enable != 0) return done(s.pm_enable);
    if (s.foreign) return done(INVALID_OPERATION);
    for (int i = 0; i < kMostObjects; ++i) {
        if (g_pms[i].used && g_pms[i].device == p->device) return done(INVALID_OPERATION);
    }
    for (int i = 0; i < kMostObjects; ++i) {
        if (g_pms[i].used) continue;
        memset(&g_pms[i], 0, sizeof g_pms[i]);
        g_pms[i].used = 1;
        g_pms[i].device = p->device;
        p->pm = &g_pms[i];
        return done(OK);
    }
    return done(OUT_OF_MEMORY);
}

typedef struct {
    size_t size;
    void* reserved;
    Pm* pm;
} PmOnly;

int cuptiPmSamplingDisable(PmOnly* p) {
    CHECK(p, 24);
    lock();
    if (!p->pm->used) fake_cupti_violation("sampling is disabled twice");
    if (p->pm->started) fake_cupti_violation("sampling is disabled while it runs");
    p->pm->used = 0;
    return done(OK);
}

typedef struct {
    size_t size;
    void* reserved;
    Pm* pm;
    size_t config_bytes;
    const uint8_t* config;
    size_t buffer;
    uint64_t interval;
    int trigger, append;
} PmSetConfig;

int cuptiPmSamplingSetConfig(PmSetConfig* p) {
    const size_t known = version() >= 26 ? 64 : 60;
    if (!fits(p, 60, known)) return INVALID_PARAMETER;
    lock();
    const int append = p->size >= 64 ? p->append : -1;
    const int turing = strncmp(s.chip, "TU", 2) == 0;
    if (passes_of(p->config) != 1) return done(NOT_SUPPORTED);
    if (p->trigger == 1 && (turing || strcmp(s.chip, "GA100") == 0)) return done(NOT_SUPPORTED);
    if (append == 1 && turing) return done(NOT_SUPPORTED);
    p->pm->configured = 1;
    p->pm->interval = g_interval = p->interval;
    p->pm->append = g_append = append;
    p->pm->capacity = p->buffer / (uint64_t)s.sample_bytes;
    g_trigger = p->trigger;
    return done(OK);
}

int cuptiPmSamplingStart(PmOnly* p) {
    CHECK(p, 24);
    lock();
    if (!p->pm->configured || p->pm->started) return done(INVALID_OPERATION);
    p->pm->started = 1;
    p->pm->overflowed = 0;
    p->pm->next = p->pm->made = 0;
    p->pm->begin = g_first = fake_cupti_now();
    return done(OK);
}

int cuptiPmSamplingStop(PmOnly* p) {
    CHECK(p, 24);
    lock();
    if (!p->pm->started) return done(INVALID_OPERATION);
    p->pm->started = 0;
    return done(OK);
}

typedef struct {
    size_t size;
    void* reserved;
    Pm* pm;
    const char** names;
    size_t count;
    uint32_t most;
    size_t bytes;
} PmDataSize;

int cuptiPmSamplingGetCounterDataSize(PmDataSize* p) {
    CHECK(p, 56);
    p->bytes = sizeof(ImageHead) + p->most * sizeof(Entry);
    return OK;
}

static void clear_image(uint8_t* image, size_t bytes) {
    const ImageHead head = {kDataMagic, (uint32_t)((bytes - sizeof(ImageHead)) / sizeof(Entry)), 0};
    memcpy(image, &head, sizeof head);
}

typedef struct {
    size_t size;
    void* reserved;
    void* object;
    size_t bytes;
    uint8_t* image;
} DataInitialize;

int cuptiPmSamplingCounterDataImageInitialize(DataInitialize* p) {
    CHECK(p, 40);
    clear_image(p->image, p->bytes);
    return OK;
}

typedef struct {
    size_t size;
    void* reserved;
    Pm* pm;
    uint8_t* image;
    size_t bytes;
    int stop_reason;
    uint8_t overflow;
} PmDecode;

int cuptiPmSamplingDecodeData(PmDecode* p) {
    CHECK(p, 45);
    ImageHead head;
    memcpy(&head, p->image, sizeof head);
    if (head.magic != kDataMagic) return INVALID_PARAMETER;
    lock();
    Pm* pm = p->pm;
    p->overflow = (uint8_t)pm->overflowed;
    p->stop_reason = 2;
    while (pm->next < pm->made) {
        if (head.count == head.capacity) {
            p->stop_reason = 1;
            break;
        }
        Entry e;
        memset(&e, 0, sizeof e);
        e.begin = pm->next == 0 ? 0 : pm->begin + pm->next * pm->interval;
        e.end = pm->begin + (pm->next + 1) * pm->interval;
        memcpy(p->image + sizeof head + head.count * sizeof e, &e, sizeof e);
        ++head.count;
        ++pm->next;
    }
    memcpy(p->image, &head, sizeof head);
    return done(pm->overflowed && p->stop_reason == 2 ? OUT_OF_MEMORY : OK);
}

typedef struct {
    size_t size;
    void* reserved;
    const uint8_t* image;
    size_t bytes, total, populated, completed;
} PmDataInfo;

int cuptiPmSamplingGetCounterDataInfo(PmDataInfo* p) {
    CHECK(p, 56);
    ImageHead head;
    memcpy(&head, p->image, sizeof head);
    p->total = head.capacity;
    p->populated = p->completed = head.count;
    return OK;
}

typedef struct {
    size_t size;
    void* reserved;
    Pm* pm;
    const uint8_t* image;
    size_t bytes, index;
    uint64_t begin, end;
} PmSampleInfo;

int cuptiPmSamplingCounterDataGetSampleInfo(PmSampleInfo* p) {
    CHECK(p, 64);
    ImageHead head;
    Entry e;
    memcpy(&head, p->image, sizeof head);
    if (p->index >= head.count) return INVALID_PARAMETER;
    memcpy(&e, p->image + sizeof head + p->index * sizeof e, sizeof e);
    p->begin = e.begin;
    p->end = e.end;
    return OK;
}

// ---- range profiler -----------------------------------------------------------------------------

typedef struct {
    size_t size;
    void *reserved, *context;
    Range* range;
} RangeEnable;

int cuptiRangeProfilerEnable(RangeEnable* p) {
    CHECK(p, 32);
    lock();
    if (!g_initialized) fake_cupti_violation("the profiler was not initialized");
    if (s.range_enable != 0) return done(s.range_enable);
    for (int i = 0; i < kMostObjects; ++i) {
        if (g_ranges[i].used && g_ranges[i].context == p->context) return done(INVALID_OPERATION);
    }
    for (int i = 0; i < kMostObjects; ++i) {
        if (g_ranges[i].used) continue;
        memset(&g_ranges[i], 0, sizeof g_ranges[i]);
        g_ranges[i].used = 1;
        g_ranges[i].context = p->context;
        p->range = &g_ranges[i];
        return done(OK);
    }
    return done(OUT_OF_MEMORY);
}

typedef struct {
    size_t size;
    void* reserved;
    Range* range;
} RangeOnly;

int cuptiRangeProfilerDisable(RangeOnly* p) {
    CHECK(p, 24);
    lock();
    if (!p->range->used) fake_cupti_violation("the range profiler is disabled twice");
    if (p->range->started) p->range->started = 0;
    p->range->used = 0;
    return done(OK);
}

typedef struct {
    size_t size;
    void* reserved;
    Range* range;
    size_t config_bytes;
    const uint8_t* config;
    size_t image_bytes;
    uint8_t* image;
    int mode, replay;
    size_t most;
    uint16_t levels, least_level;
    size_t pass;
    uint16_t target_level;
} RangeSetConfig;

int cuptiRangeProfilerSetConfig(RangeSetConfig* p) {
    CHECK(p, 90);
    ImageHead head;
    memcpy(&head, p->image, sizeof head);
    lock();
    if (p->mode != 1 || p->replay != 2 || p->levels != 1 || p->least_level != 1 ||
        passes_of(p->config) == 0 || head.magic != kDataMagic || head.count != 0) {
        return done(INVALID_PARAMETER);
    }
    p->range->configured = 1;
    p->range->image = p->image;
    p->range->most = p->most;
    return done(OK);
}

int cuptiRangeProfilerStart(RangeOnly* p) {
    CHECK(p, 24);
    lock();
    if (!p->range->configured || p->range->started) return done(INVALID_OPERATION);
    if (s.range_start != 0) return done(s.range_start);
    p->range->started = 1;
    p->range->count = 0;
    return done(OK);
}

typedef struct {
    size_t size;
    void* reserved;
    Range* range;
    size_t pass, level;
    uint8_t all;
} RangeStop;

int cuptiRangeProfilerStop(RangeStop* p) {
    CHECK(p, 41);
    lock();
    if (!p->range->started) return done(INVALID_OPERATION);
    if (s.range_stop != 0) return done(s.range_stop);
    p->range->started = 0;
    p->range->stopped = 1;
    p->all = 1;
    return done(OK);
}

typedef struct {
    size_t size;
    void* reserved;
    Range* range;
    size_t dropped;
} RangeDecode;

int cuptiRangeProfilerDecodeData(RangeDecode* p) {
    CHECK(p, 32);
    lock();
    Range* r = p->range;
    if (!r->stopped) return done(INVALID_OPERATION);
    ImageHead head;
    memcpy(&head, r->image, sizeof head);
    p->dropped = 0;
    for (size_t i = 0; i < r->count; ++i) {
        if (head.count >= r->most || head.count >= head.capacity) {
            ++p->dropped;
            continue;
        }
        memcpy(r->image + sizeof head + head.count * sizeof(Entry), &r->ranges[i], sizeof(Entry));
        ++head.count;
    }
    memcpy(r->image, &head, sizeof head);
    r->count = 0;
    return done(OK);
}

typedef struct {
    size_t size;
    void* reserved;
    Range* range;
    const char** names;
    size_t count, most;
    uint32_t nodes;
    size_t bytes;
} RangeDataSize;

int cuptiRangeProfilerGetCounterDataSize(RangeDataSize* p) {
    CHECK(p, 64);
    if (p->nodes < p->most) return INVALID_PARAMETER;
    p->bytes = sizeof(ImageHead) + p->most * sizeof(Entry);
    return OK;
}

int cuptiRangeProfilerCounterDataImageInitialize(DataInitialize* p) {
    CHECK(p, 40);
    clear_image(p->image, p->bytes);
    return OK;
}

typedef struct {
    size_t size;
    void* reserved;
    const uint8_t* image;
    size_t bytes, ranges;
} RangeDataInfo;

int cuptiRangeProfilerGetCounterDataInfo(RangeDataInfo* p) {
    CHECK(p, 40);
    ImageHead head;
    memcpy(&head, p->image, sizeof head);
    p->ranges = head.count;
    return OK;
}
