// PM sampling: counters of a whole device, every so many microseconds, without stopping anything.
// Opt-in: it takes a permission, and a driver may hold the clocks while it runs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "counters/library.h"
#include "counters/metric_sets.h"

namespace picojoule::counters {

// One sample: what was counted in [begin, end), in our clock.
struct PmSample {
    std::int64_t begin_ns;
    std::int64_t end_ns;
};

// Gets `values` as one row a sample, in the order of the set's metrics. Runs on the sampler's
// thread.
using PmSink = std::function<void(std::span<const PmSample>, std::span<const double> values)>;

struct PmOptions {
    unsigned device{};                                         // CUDA's ordinal
    std::int64_t interval_ns{200'000};                         // 100 us to 1 ms are sensible
    std::string set;                                           // by name; empty: the chip's default
    std::size_t hardware_buffer_bytes{std::size_t{64} << 20};  // a sample takes about 10 KiB
    std::uint32_t samples_a_decode{1024};
    std::int64_t decode_every_ns{10'000'000};
};

struct PmStatus {
    std::string chip;
    std::string set;
    std::vector<std::string> missing;  // quantities of the set that this library does not have
    bool by_sysclk{};                  // the interval is only about the one asked for
    bool ring{};                       // when full, the oldest samples go, and not the newest
    std::uint64_t samples{};           // delivered
    std::uint64_t discarded{};         // the first after each start, and such without a duration
    std::uint64_t overflows{};         // times that the hardware's buffer was full
    std::uint64_t gaps{};              // places where samples are missing
    std::int64_t clock_doubt_ns{};     // of the conversion of times
    Refusal refusal;                   // why it ended before its time
};

class PmSampler {
  public:
    // Starts a thread. Null: the refusal says why. One sampler a device.
    static std::unique_ptr<PmSampler> start(const Library& library, const PmOptions& options,
                                            PmSink sink, Refusal& refusal);
    ~PmSampler();
    PmSampler(const PmSampler&) = delete;
    PmSampler& operator=(const PmSampler&) = delete;

    // Delivers what there is, and ends. May be called twice.
    void stop();
    [[nodiscard]] PmStatus status() const;
    [[nodiscard]] const PmSet& set() const noexcept;

  private:
    class Impl;
    explicit PmSampler(std::unique_ptr<Impl> impl) noexcept;
    std::unique_ptr<Impl> impl_;
};

}  // namespace picojoule::counters
