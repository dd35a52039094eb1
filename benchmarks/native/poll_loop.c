/* The least that can be spent: a C loop that makes the same NVML call at the same rate, on absolute
 * deadlines. poll_loop HERTZ SECONDS -> CPU seconds of this thread and calls made. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>

typedef struct {
    unsigned fieldId, scopeId;
    long long timestamp, latencyUsec;
    int valueType, nvmlReturn;
    unsigned long long value;
} Field;

int main(int argc, char** argv) {
    const double hertz = atof(argv[1]), seconds = argc > 2 ? atof(argv[2]) : 5;
    void* lib = dlopen("libnvidia-ml.so.1", RTLD_NOW);
    if (lib == NULL) return 1;
    int (*init)(void) = (int (*)(void))dlsym(lib, "nvmlInit_v2");
    int (*handle)(unsigned, void**) = (int (*)(unsigned, void**))dlsym(lib, "nvmlDeviceGetHandleByIndex_v2");
    int (*fields)(void*, int, Field*) = (int (*)(void*, int, Field*))dlsym(lib, "nvmlDeviceGetFieldValues");
    void* device;
    if (init() != 0 || handle(0, &device) != 0) return 1;
    prctl(PR_SET_TIMERSLACK, 1UL);
    Field f[4] = {{83, 0, 0, 0, 0, 0, 0}, {186, 0, 0, 0, 0, 0, 0}, {185, 0, 0, 0, 0, 0, 0}, {185, 2, 0, 0, 0, 0, 0}};
    struct timespec at, cpu0, cpu1;
    clock_gettime(CLOCK_MONOTONIC, &at);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu0);
    const long step = (long)(1e9 / hertz), calls = (long)(hertz * seconds);
    for (long i = 0; i < calls; ++i) {
        at.tv_nsec += step;
        while (at.tv_nsec >= 1000000000) at.tv_nsec -= 1000000000, ++at.tv_sec;
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
        fields(device, 4, f);
    }
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu1);
    printf("%.6f %ld\n", (double)(cpu1.tv_sec - cpu0.tv_sec) + 1e-9 * (double)(cpu1.tv_nsec - cpu0.tv_nsec), calls);
    return 0;
}
