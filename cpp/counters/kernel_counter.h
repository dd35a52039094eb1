// `picojoule count`: every kernel of this process by its signature, each one counted the first time
// it is launched. It takes CUPTI's one subscription, so nothing else traces meanwhile.
//
// A launch that is to be counted runs alone: other launches wait in their callback until it is
// done, or else their kernels would be in its numbers.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "counters/library.h"
#include "counters/metric_sets.h"

namespace picojoule::counters {

// What is asked of the CUDA driver in a callback. A function may be null.
struct CudaCalls {
    int (*stream_is_capturing)(void* stream, int* status);  // cuStreamIsCapturing
    int (*current_device)(int* device);                     // cuCtxGetDevice
    int (*device_name)(char* name, int bytes, int device);  // cuDeviceGetName
    int (*driver_version)(int* version);                    // cuDriverGetVersion

    // Of the libcuda that the program has loaded; all null where it has none.
    static CudaCalls of_process();
};

struct CountedKernel {
    std::string name;  // demangled
    std::array<std::uint32_t, 3> grid{};
    std::array<std::uint32_t, 3> block{};
    std::uint32_t dynamic_shared{};  // bytes; static shared memory belongs to the name
    std::uint64_t launches{};
    unsigned measured{};  // how often its counters were read; 0: the counts are unknown
    Counts counts;        // of the first launch
    bool varies{};        // later launches that were counted did other work
    std::string why_not;  // where it was not counted
};

struct CountReport {
    std::string chip;    // of the first device that was counted
    std::string device;  // its name
    int cuda_version{};  // of the driver: 13000 is 13.0
    std::size_t passes{};
    std::vector<CountedKernel> kernels;  // in order of their first launch
    std::uint64_t captured{};            // launches into a graph
    std::uint64_t graphs{};              // launches of whole graphs: their kernels are not counted
    std::uint64_t lost{};                // launches that were not looked at, for want of memory
    Refusal refusal;                     // why nothing, or no more, could be counted
};

struct CountOptions {
    PlanKind plan{PlanKind::checked};
    unsigned times{1};  // how many launches of each signature are counted
};

class KernelCounter {
  public:
    // Takes the subscription, once a process at a time. The counter is never destroyed: a callback
    // may still be on its way in another thread. Without `cuda`, that of the process at the first
    // launch: by then it is loaded.
    static KernelCounter* start(const Library& library, const CountOptions& options,
                                const std::optional<CudaCalls>& cuda, Refusal& refusal);
    // Ends it and tells. A second call gives the same report.
    CountReport stop();

    KernelCounter(const KernelCounter&) = delete;
    KernelCounter& operator=(const KernelCounter&) = delete;

    class Impl;

  private:
    explicit KernelCounter(Impl* impl) noexcept : impl_(impl) {}
    ~KernelCounter() = default;
    Impl* impl_;
};

}  // namespace picojoule::counters
