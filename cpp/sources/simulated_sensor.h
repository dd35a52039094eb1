// A sensor of simulated power: what it shows at any instant, in closed form. Pure; simulate.cpp
// gives it a clock.
#pragma once

#include <cstdint>
#include <vector>

namespace picojoule {

// Power that repeats: so many watts for so long, one level after the other, from time 0 on.
class Waveform {
  public:
    struct Level {
        double watts{};
        std::int64_t length_ns{};
    };

    // REQUIRES: levels, each longer than 0.
    explicit Waveform(std::vector<Level> levels);

    // Joules of [begin, end), exact to rounding.
    [[nodiscard]] double energy(std::int64_t begin_ns, std::int64_t end_ns) const noexcept;
    // Watts that a first-order lag shows, settled into the repetition.
    [[nodiscard]] double lagged(std::int64_t t_ns, double tau_ns) const noexcept;

  private:
    [[nodiscard]] std::size_t level_at(std::int64_t inside_ns) const noexcept;

    std::vector<Level> levels_;
    std::vector<std::int64_t> begin_ns_;  // of each level, and the end of the last
    std::vector<double> sum_j_;           // joules before each level, and of the whole
};

struct SimulatedSensorSpec {
    enum class Shape : std::uint8_t { boxcar, lag, integral, sampled };
    Shape shape{Shape::integral};
    double period_ns{1e8};
    double window_ns{};  // of a boxcar; as long as the period: from the previous tick on
    double delay_ns{};
    double tau_ns{};
    double gain{1.0};
    double offset_w{};
    double noise_w{};
    double quantum{1e-3};  // W, or J of a counter
    double jitter_ns{};
    double missed{};  // share of ticks at which nothing is published
    double latency_ns{};
    double phase_ns{};
    std::uint64_t wrap_at{};
    std::uint64_t seed{};

    [[nodiscard]] bool counter() const noexcept {
        return shape == Shape::integral || shape == Shape::sampled;
    }
};

class SimulatedSensor {
  public:
    // A counter counts from the last tick before `origin_ns` on.
    SimulatedSensor(SimulatedSensorSpec spec, Waveform waveform, std::int64_t origin_ns);

    // The register at `now_ns`, which never goes back from call to call.
    std::uint64_t show(std::int64_t now_ns) noexcept;

    // When tick k is, and the newest one published at `now_ns`.
    [[nodiscard]] std::int64_t tick_ns(std::int64_t k) const noexcept;
    [[nodiscard]] std::int64_t newest(std::int64_t now_ns) const noexcept;

  private:
    [[nodiscard]] double watts(std::int64_t k) const noexcept;
    [[nodiscard]] double chance(std::int64_t k, std::uint64_t use) const noexcept;  // in [0, 1)
    [[nodiscard]] double normal(std::int64_t k, std::uint64_t use) const noexcept;  // to 3 sigma

    SimulatedSensorSpec spec_;
    Waveform waveform_;
    std::int64_t first_;   // tick at which a counter began
    std::int64_t summed_;  // the last one in sum_j_
    double sum_j_{};       // of a sampled counter
};

}  // namespace picojoule
