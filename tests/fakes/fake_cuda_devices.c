// The four calls of libcuda.so.1 that tell which boards a process computes on. Its boards are the
// list given to fake_cuda_configure(): 32 hex digits each, by commas. Null: not initialised.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { kSuccess = 0, kNotInitialized = 3, kInvalidDevice = 101 };

static char g_boards[1024];
static int g_running;

void fake_cuda_configure(const char* boards) {
    g_running = boards != NULL;
    snprintf(g_boards, sizeof g_boards, "%s", boards == NULL ? "" : boards);
}

int cuInit(unsigned flags) {
    (void)flags;
    abort();  // a profiler must not start CUDA on its own
}

int cuDeviceGetCount(int* count) {
    if (!g_running) return kNotInitialized;
    *count = (int)((strlen(g_boards) + 1) / 33);
    return kSuccess;
}

int cuDeviceGet(int* device, int ordinal) {
    int count = 0;
    if (cuDeviceGetCount(&count) != kSuccess) return kNotInitialized;
    if (ordinal < 0 || ordinal >= count) return kInvalidDevice;
    *device = 100 + ordinal;  // an ordinal is not a device
    return kSuccess;
}

int cuDeviceGetUuid(unsigned char* uuid, int device) {
    int count = 0;
    if (cuDeviceGetCount(&count) != kSuccess) return kNotInitialized;
    if (device < 100 || device >= 100 + count) return kInvalidDevice;
    const char* digits = g_boards + (device - 100) * 33;
    for (int i = 0; i < 16; ++i) {
        const char pair[3] = {digits[2 * i], digits[2 * i + 1], 0};
        uuid[i] = (unsigned char)strtoul(pair, NULL, 16);
    }
    return kSuccess;
}
