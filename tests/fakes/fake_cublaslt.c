// The logger of cuBLASLt, under its real names: what a program "runs" is told to the callback, as the
// library does at level 2 and above.
#include <stddef.h>

typedef void (*Callback)(int level, const char* function, const char* message);

static Callback g_callback;
static int g_level, g_files;

int cublasLtLoggerSetCallback(Callback callback) {
    g_callback = callback;
    return 0;
}
int cublasLtLoggerSetLevel(int level) {
    g_level = level;
    return 0;
}
int cublasLtLoggerOpenFile(const char* file) {
    g_files += file != NULL;
    return 0;
}
int fake_cublaslt_level(void) {
    return g_level;
}
int fake_cublaslt_listened(void) {
    return g_callback != NULL;
}
void fake_cublaslt_run(const char* function, const char* message) {
    if (g_level >= 2 && g_callback != NULL) g_callback(2, function, message);
}
