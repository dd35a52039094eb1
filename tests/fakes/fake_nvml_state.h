// The second half of fake_nvml.c, which includes it: clocks, throttling and GPM. Further keys:
//
//   sm_mhz=1980 memory_mhz=2619   clocks
//   celsius=40 memory_celsius=45   temperatures; memory_celsius=-1: not supported
//   reasons=0       mask of nvmlDeviceGetCurrentClocksEventReasons
//   throttled=74:0.12,269:0,270:0,271:0   share of the time since the counters' zero, by field id;
//                   a field not named is not supported
//   gpm=1           0: the board has no GPM
//   gpm_values=5:70,20:100   what metrics say, in NVML's units; one not named is not supported
//   gpm_wave=0      1: these values at `hi`, 0 at `lo`, as means over the time between two samples
//   clock_error=0 reasons_error=0 temperature_error=0 gpm_support_error=0
//   gpm_sample_error=0 gpm_get_error=0
//                   what the calls return
#pragma once

typedef struct {
    unsigned version, supported;
} GpmSupport;

typedef struct {
    unsigned id;
    int status;
    double value;
    const char* info[3];
} GpmMetric;

typedef struct {
    int gpu;
    int64_t at;
} GpmSample;

typedef struct {
    unsigned version, count;
    GpmSample *earlier, *later;
    GpmMetric metrics[];
} GpmRequest;

static atomic_int g_gpm_samples;              // allocated and not freed
static atomic_llong g_gpm_least = INT64_MAX;  // the shortest time between two samples of a request

int fake_nvml_gpm_samples(void) {
    return atomic_load(&g_gpm_samples);
}
long long fake_nvml_gpm_least_ns(void) {
    return atomic_load(&g_gpm_least);
}

static int shares(char* text, unsigned* id, double* value, int most) {
    int n = 0;
    char* rest = NULL;
    for (char* item = strtok_r(text, ",", &rest); item != NULL && n < most;
         item = strtok_r(NULL, ",", &rest), ++n) {
        char* number = NULL;
        id[n] = (unsigned)strtoul(item, &number, 10);
        value[n] = *number == ':' ? strtod(number + 1, NULL) : 0;
    }
    return n;
}

static void state_defaults(State* s) {
    s->sm_mhz = 1980;
    s->memory_mhz = 2619;
    s->celsius = 40;
    s->memory_celsius = 45;
    s->gpm = 1;
    char throttles[] = "74:0,269:0,270:0,271:0";
    s->throttles = shares(throttles, s->throttle_id, s->throttle_share, kFields);
    char metrics[] =
        "2:95,3:40,4:5,5:70,6:0,7:68,9:0,10:55,11:0,12:10,13:1,20:100,21:200,60:0,61:0";
    s->metrics = shares(metrics, s->metric_id, s->metric_value, kMetrics);
}

static int set_state(State* s, const char* key, char* value) {
#define IS(k) (strcmp(key, k) == 0)
    if (IS("sm_mhz"))
        s->sm_mhz = (unsigned)atoi(value);
    else if (IS("memory_mhz"))
        s->memory_mhz = (unsigned)atoi(value);
    else if (IS("celsius"))
        s->celsius = (unsigned)atoi(value);
    else if (IS("memory_celsius"))
        s->memory_celsius = atoi(value);
    else if (IS("reasons"))
        s->reasons = strtoull(value, NULL, 0);
    else if (IS("throttled"))
        s->throttles = shares(value, s->throttle_id, s->throttle_share, kFields);
    else if (IS("gpm"))
        s->gpm = atoi(value);
    else if (IS("gpm_values"))
        s->metrics = shares(value, s->metric_id, s->metric_value, kMetrics);
    else if (IS("gpm_wave"))
        s->gpm_wave = atoi(value);
    else if (IS("clock_error"))
        s->clock_error = atoi(value);
    else if (IS("temperature_error"))
        s->temperature_error = atoi(value);
    else if (IS("reasons_error"))
        s->reasons_error = atoi(value);
    else if (IS("gpm_support_error"))
        s->gpm_support_error = atoi(value);
    else if (IS("gpm_sample_error"))
        s->gpm_sample_error = atoi(value);
    else if (IS("gpm_get_error"))
        s->gpm_get_error = atoi(value);
    else
        return 0;
    return 1;
#undef IS
}

static int state_field(const Config* c, unsigned field, int64_t now, unsigned long long* value) {
    if (field == 82 && c->state.memory_celsius >= 0) {
        *value = (unsigned long long)c->state.memory_celsius;
        return 1;
    }
    for (int i = 0; i < c->state.throttles; ++i) {
        if (c->state.throttle_id[i] != field) continue;
        *value = (unsigned long long)(c->state.throttle_share[i] * (double)(now - c->zero_ns));
        return 1;
    }
    return 0;
}

int nvmlDeviceGetClockInfo(void* device, int type, unsigned* mhz) {
    Call call;
    int status = enter_meter(&call, device);
    if (status == OK) status = call.c.state.clock_error;
    if (status == OK && type != 1 && type != 2) status = INVALID_ARGUMENT;
    if (status == OK) *mhz = type == 1 ? call.c.state.sm_mhz : call.c.state.memory_mhz;
    return leave(&call, status);
}

int nvmlDeviceGetTemperature(void* device, int sensor, unsigned* celsius) {
    Call call;
    int status = enter_meter(&call, device);
    if (status == OK) status = call.c.state.temperature_error;
    if (status == OK && sensor != 0) status = INVALID_ARGUMENT;
    if (status == OK) *celsius = call.c.state.celsius;
    return leave(&call, status);
}

int nvmlDeviceGetCurrentClocksEventReasons(void* device, unsigned long long* mask) {
    Call call;
    int status = enter_meter(&call, device);
    if (status == OK) status = call.c.state.reasons_error;
    if (status == OK) *mask = call.c.state.reasons;
    return leave(&call, status);
}

int nvmlGpmQueryDeviceSupport(void* device, GpmSupport* support) {
    Call call;
    int status = enter_meter(&call, device);
    if (status == OK) status = call.c.state.gpm_support_error;
    if (status == OK && support->version != 1) status = INVALID_ARGUMENT;
    if (status == OK) support->supported = call.c.arch >= 9 && call.c.state.gpm;
    return leave(&call, status);
}

int nvmlGpmSampleAlloc(GpmSample** sample) {
    *sample = calloc(1, sizeof **sample);
    atomic_fetch_add(&g_gpm_samples, 1);
    return OK;
}

int nvmlGpmSampleFree(GpmSample* sample) {
    free(sample);
    atomic_fetch_sub(&g_gpm_samples, 1);
    return OK;
}

int nvmlGpmSampleGet(void* device, GpmSample* sample) {
    Call call;
    int status = enter_meter(&call, device);
    if (status == OK) status = call.c.state.gpm_sample_error;
    if (status == OK && (call.c.arch < 9 || !call.c.state.gpm)) status = NOT_SUPPORTED;
    if (status == OK) *sample = (GpmSample){call.gpu, call.now};
    return leave(&call, status);
}

int nvmlGpmMetricsGet(GpmRequest* request) {
    pthread_rwlock_rdlock(&g_lock);
    const Config c = g;
    pthread_rwlock_unlock(&g_lock);
    const State* s = &c.state;
    if (s->gpm_get_error != OK) return s->gpm_get_error;
    const GpmSample *a = request->earlier, *b = request->later;
    if (request->version != 1 || request->count == 0 || a == NULL || b == NULL || a->gpu != b->gpu)
        return INVALID_ARGUMENT;
    const int64_t between = b->at - a->at;
    if (between < atomic_load(&g_gpm_least)) atomic_store(&g_gpm_least, between);
    if (between < 100000000) return INVALID_ARGUMENT;
    double factor = 1;
    if (s->gpm_wave) {
        const double watts = mean_watts(&c, a->gpu, b->at, between) / c.scale[a->gpu];
        factor = (watts - c.lo) / (c.hi - c.lo);
    }
    for (unsigned i = 0; i < request->count; ++i) {
        GpmMetric* m = &request->metrics[i];
        m->status = NOT_SUPPORTED;
        for (int k = 0; k < s->metrics; ++k) {
            if (s->metric_id[k] != m->id) continue;
            m->status = OK;
            m->value = s->metric_value[k] * factor;
        }
    }
    return OK;
}
