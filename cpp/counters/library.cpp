#include "counters/library.h"

#include <dlfcn.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <mutex>
#include <set>

namespace picojoule::counters {
namespace {

constexpr const char* kAllow =
    "load the driver with NVreg_RestrictProfilingToAdminUsers=0 (in /etc/modprobe.d), or run with "
    "CAP_PERFMON (docker run --cap-add=PERFMON)";

// Effective capabilities as the kernel lists them; all bits where it does not.
std::uint64_t capabilities(const std::string& procfs_root) {
    std::ifstream file(procfs_root + "/self/status");
    std::string word;
    while (file >> word) {
        if (word != "CapEff:") continue;
        file >> word;
        return std::strtoull(word.c_str(), nullptr, 16);
    }
    return ~std::uint64_t{0};
}

// libcupti opens its other halves by name only, and the loader's path (LD_LIBRARY_PATH) may lead to
// those of another CUDA. The ones beside it are loaded first, and then answer to these names.
void load_halves(const std::string& cupti) {
    const auto slash = cupti.rfind('/');
    if (slash == std::string::npos) return;
    for (const char* half : {"libnvperf_host.so", "libnvperf_target.so"}) {
        const std::string path = cupti.substr(0, slash + 1).append(half);
        if (::access(path.c_str(), R_OK) == 0) ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    }
}

constexpr std::uint64_t kSysAdmin = std::uint64_t{1} << 21;
constexpr std::uint64_t kPerfmon = std::uint64_t{1} << 38;

}  // namespace

Library open_counters(const cupti::Places& places) {
    Library library;
    library.cupti = cupti::open_library(places);
    if (!library.cupti) {
        // The tracer's words are about kernels; where there is a library, they are about that.
        const bool none = library.cupti.words.find("was not found") != std::string::npos;
        library.refusal = {
            none ? "libcupti was not found, so no counters can be read" : library.cupti.words,
            library.cupti.remedy};
        return library;
    }
    void* handle = ::dlopen(library.cupti.path.c_str(), RTLD_NOW | RTLD_NOLOAD);
    if (handle != nullptr) {
        library.api.bind([handle](const char* symbol) { return ::dlsym(handle, symbol); });
    }
    load_halves(library.cupti.path);
    if (library.cupti.version < kVersionFirst || !library.api.has_host()) {
        library.refusal = {"CUPTI " + cupti::version_words(library.cupti.version) + " (" +
                               library.cupti.path + ") cannot read counters: it takes 12.6",
                           "pip install 'nvidia-cuda-cupti>=13.0,<13.2', or a newer CUDA"};
    }
    return library;
}

Refusal refusal_of(const Api& api, const char* what, int result) {
    const std::string begin(what);
    switch (result) {
        case kOk:
            return {};
        case kInsufficientPrivileges:
            return {begin +
                        " is not permitted here: the NVIDIA driver keeps counters for "
                        "administrators",
                    kAllow};
        case kVirtualizedInsufficientPrivileges:
            return {begin + " is not permitted on this virtual GPU",
                    "ask whoever runs the host to allow profiling for this virtual machine"};
        case kNotSupported:
            return {begin +
                        " is not possible on this device (a virtual GPU, MPS, MIG and chips "
                        "before Turing cannot)",
                    ""};
        case kMultipleSubscribers:
            return {begin + " is not possible: another profiler holds CUPTI",
                    "end the other profiler (Nsight, torch.profiler, compute-sanitizer) first"};
        case kInvalidOperation:
            return {begin + " is not possible: counters of this device are being read already",
                    "end whatever reads them (another PmSampler, DCGM, Nsight) first"};
        case kNotInitialized:  // until 12.8
        case kUnknownError:
            return {begin + " does not work here (CUPTI error " + std::to_string(result) +
                        "): there may be no NVIDIA driver",
                    cupti::kAskDriver};
        default:
            break;
    }
    const char* name = nullptr;
    if (api.result_string != nullptr) api.result_string(result, &name);
    return {begin + " failed (CUPTI error " + std::to_string(result) +
                (name == nullptr ? std::string() : std::string(", ") + name) + ")",
            ""};
}

Refusal permission(const std::string& procfs_root) {
    std::ifstream params(procfs_root + "/driver/nvidia/params");
    if (!params) {
        return {"there is no NVIDIA driver here, so no counters can be read",
                "nvidia-smi (it tells whether there is a working driver)"};
    }
    std::string word;
    while (params >> word) {
        if (word != "RmProfilingAdminOnly:") continue;
        int only_admins = 0;
        params >> only_admins;
        if (only_admins != 0 && (capabilities(procfs_root) & (kSysAdmin | kPerfmon)) == 0) {
            return {
                "counters are not permitted here: the NVIDIA driver keeps them for "
                "administrators (RmProfilingAdminOnly: 1)",
                kAllow};
        }
        break;
    }
    return {};
}

int initialize_profiler(const Api& api) {
    static std::mutex mutex;
    static std::set<int (*)(ProfilerInitialize*)> done;  // by library
    const std::lock_guard lock(mutex);
    if (done.contains(api.profiler_initialize)) return kOk;
    auto p = params<ProfilerInitialize>();
    const int result = api.profiler_initialize(&p);
    if (result == kOk) done.insert(api.profiler_initialize);
    return result;
}

}  // namespace picojoule::counters
