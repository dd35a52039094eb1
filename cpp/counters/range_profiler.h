// The range profiler on one CUDA context: each kernel launched between begin() and end() is run as
// often as the plan has passes, its memory restored in between (AutoRange with KernelReplay).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "counters/metric_sets.h"
#include "counters/profiler_host.h"

namespace picojoule::counters {

enum class RangeResult : std::uint8_t {
    measured,
    none,     // no kernel ran
    several,  // more than one did: whose numbers they are is not known
    failed,   // the refusal says why
};

class RangeProfiler {
  public:
    // `context` must be of that device, and may be current or not. A failure is told by `refusal`.
    RangeProfiler(const Api& api, void* context, std::size_t device, PlanKind kind);
    ~RangeProfiler();
    RangeProfiler(const RangeProfiler&) = delete;
    RangeProfiler& operator=(const RangeProfiler&) = delete;

    [[nodiscard]] const Refusal& refusal() const noexcept { return refusal_; }
    [[nodiscard]] const std::string& chip() const noexcept { return chip_; }
    [[nodiscard]] const RangePlan& plan() const noexcept { return plan_; }
    [[nodiscard]] std::size_t passes() const noexcept { return host_ ? host_->passes() : 0; }

    bool begin();
    // Ends and reads. Waits until the kernel is done.
    RangeResult end(Counts& counts);

  private:
    bool fail(const char* what, int result);
    bool prepare(void* context, std::size_t device, PlanKind kind);

    const Api* api_;
    Refusal refusal_;
    std::string chip_;
    RangePlan plan_;
    std::unique_ptr<ProfilerHost> host_;
    RangeObject object_{};
    std::vector<std::uint8_t> counter_data_;
};

}  // namespace picojoule::counters
