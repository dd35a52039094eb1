// The host half of CUPTI's profilers, for one chip: metric names in, a config image out, and later
// values out of the device's data. Works without a GPU, driver or libcuda (12.6 to 13.1).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "counters/library.h"

namespace picojoule::counters {

class ProfilerHost {
  public:
    // `api` must outlive the host. A failure is told by `refusal`.
    ProfilerHost(const Api& api, ProfilerType type, const std::string& chip,
                 std::span<const std::uint8_t> availability = {});
    ~ProfilerHost();
    ProfilerHost(const ProfilerHost&) = delete;
    ProfilerHost& operator=(const ProfilerHost&) = delete;

    [[nodiscard]] const Refusal& refusal() const noexcept { return refusal_; }

    // Chips that this library knows.
    static std::vector<std::string> chips(const Api& api);
    // Names of the chip's metrics, without roll-up.
    std::vector<std::string> base_metrics();

    // Schedules these metrics, once a host. Every name needs a roll-up (".sum").
    bool configure(std::vector<const char*> names);
    [[nodiscard]] const std::vector<std::uint8_t>& config_image() const noexcept { return image_; }
    [[nodiscard]] std::size_t passes() const noexcept { return passes_; }
    // Names, for the calls that want them again.
    [[nodiscard]] const char** names() noexcept { return names_.data(); }
    [[nodiscard]] std::size_t metrics() const noexcept { return names_.size(); }

    // The values of one range or sample of a counter data image; false if there are none.
    bool evaluate(std::span<const std::uint8_t> counter_data, std::size_t range,
                  std::span<double> values);

  private:
    bool fail(const char* what, int result);

    const Api* api_;
    HostObject host_{};
    Refusal refusal_;
    std::string chip_;
    std::vector<std::uint8_t> availability_;  // the library may read it later
    std::vector<const char*> names_;
    std::vector<std::uint8_t> image_;
    std::size_t passes_{};
};

}  // namespace picojoule::counters
