#include "sources/simulated_sensor.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

namespace picojoule {
namespace {

constexpr double kS = 1e-9;

// What chance is used for: each use has numbers of its own.
enum Use : std::uint64_t { kJitter = 1, kNoise = 3, kMissed = 5, kLatency = 6 };

std::uint64_t mixed(std::uint64_t x) noexcept {  // splitmix64
    x += 0x9e3779b97f4a7c15U;
    x = (x ^ (x >> 30U)) * 0xbf58476d1ce4e5b9U;
    x = (x ^ (x >> 27U)) * 0x94d049bb133111ebU;
    return x ^ (x >> 31U);
}

// Rounded down also below 0.
std::pair<std::int64_t, std::int64_t> turns_of(std::int64_t t, std::int64_t period) noexcept {
    std::int64_t turns = t / period;
    std::int64_t rest = t % period;
    if (rest < 0) {
        --turns;
        rest += period;
    }
    return {turns, rest};
}

}  // namespace

Waveform::Waveform(std::vector<Level> levels)
    : levels_(std::move(levels)), begin_ns_{0}, sum_j_{0.0} {
    for (const Level& level : levels_) {
        begin_ns_.push_back(begin_ns_.back() + level.length_ns);
        sum_j_.push_back(sum_j_.back() + level.watts * static_cast<double>(level.length_ns) * kS);
    }
}

std::size_t Waveform::level_at(std::int64_t inside_ns) const noexcept {
    const auto after = std::upper_bound(begin_ns_.begin(), begin_ns_.end() - 1, inside_ns);
    return static_cast<std::size_t>(after - begin_ns_.begin()) - 1;
}

double Waveform::energy(std::int64_t begin_ns, std::int64_t end_ns) const noexcept {
    const auto partial = [this](std::int64_t inside) {
        const std::size_t k = level_at(inside);
        return sum_j_[k] + levels_[k].watts * static_cast<double>(inside - begin_ns_[k]) * kS;
    };
    const auto [first, early] = turns_of(begin_ns, begin_ns_.back());
    const auto [last, late] = turns_of(end_ns, begin_ns_.back());
    // Whole turns apart, so that nothing is lost however long the machine has been up.
    return static_cast<double>(last - first) * sum_j_.back() + partial(late) - partial(early);
}

double Waveform::lagged(std::int64_t t_ns, double tau_ns) const noexcept {
    const auto step = [&](double state, double watts, std::int64_t length) {
        return watts + (state - watts) * std::exp(-static_cast<double>(length) / tau_ns);
    };
    // One turn from 0 gives what the levels add; what the state itself keeps is the exponential.
    double added = 0.0;
    for (const Level& level : levels_) added = step(added, level.watts, level.length_ns);
    double state = added / -std::expm1(-static_cast<double>(begin_ns_.back()) / tau_ns);
    const std::int64_t inside = turns_of(t_ns, begin_ns_.back()).second;
    const std::size_t k = level_at(inside);
    for (std::size_t i = 0; i < k; ++i) state = step(state, levels_[i].watts, levels_[i].length_ns);
    return step(state, levels_[k].watts, inside - begin_ns_[k]);
}

SimulatedSensor::SimulatedSensor(SimulatedSensorSpec spec, Waveform waveform,
                                 std::int64_t origin_ns)
    : spec_(spec), waveform_(std::move(waveform)), first_(newest(origin_ns)), summed_(first_) {}

double SimulatedSensor::chance(std::int64_t k, std::uint64_t use) const noexcept {
    const std::uint64_t x = mixed(mixed(spec_.seed * 8 + use) ^ static_cast<std::uint64_t>(k));
    return static_cast<double>(x >> 11U) * 0x1p-53;
}

double SimulatedSensor::normal(std::int64_t k, std::uint64_t use) const noexcept {
    const double radius = std::sqrt(-2.0 * std::log(1.0 - chance(k, use)));
    const double value = radius * std::cos(2.0 * std::numbers::pi * chance(k, use + 1));
    return std::clamp(value, -3.0, 3.0);
}

std::int64_t SimulatedSensor::tick_ns(std::int64_t k) const noexcept {
    double at = spec_.phase_ns + static_cast<double>(k) * spec_.period_ns;
    if (spec_.jitter_ns > 0.0) at += spec_.jitter_ns * normal(k, kJitter);
    return std::llround(at);
}

std::int64_t SimulatedSensor::newest(std::int64_t now_ns) const noexcept {
    const double now = static_cast<double>(now_ns) - spec_.phase_ns;
    auto k = static_cast<std::int64_t>(std::floor(now / spec_.period_ns)) + 1;
    const auto seen = [&](std::int64_t tick) {
        const double late =
            spec_.latency_ns > 0.0 ? spec_.latency_ns * chance(tick, kLatency) : 0.0;
        return tick_ns(tick) + std::llround(late) <= now_ns &&
               !(spec_.missed > 0.0 && chance(tick, kMissed) < spec_.missed);
    };
    while (!seen(k)) --k;
    return k;
}

double SimulatedSensor::watts(std::int64_t k) const noexcept {
    const std::int64_t end = tick_ns(k) - std::llround(spec_.delay_ns);
    double mean = 0.0;
    if (spec_.shape == SimulatedSensorSpec::Shape::lag) {
        mean = waveform_.lagged(end, spec_.tau_ns);
    } else {
        const bool whole = spec_.window_ns == spec_.period_ns;
        const std::int64_t begin = whole ? tick_ns(k - 1) - std::llround(spec_.delay_ns)
                                         : end - std::llround(spec_.window_ns);
        mean = waveform_.energy(begin, end) / (static_cast<double>(end - begin) * kS);
    }
    const double noise = spec_.noise_w > 0.0 ? spec_.noise_w * normal(k, kNoise) : 0.0;
    return spec_.gain * mean + spec_.offset_w + noise;
}

std::uint64_t SimulatedSensor::show(std::int64_t now_ns) noexcept {
    const std::int64_t k = std::max(newest(now_ns), first_);
    double shown = 0.0;
    if (spec_.shape == SimulatedSensorSpec::Shape::integral) {
        const std::int64_t begin = tick_ns(first_);
        const std::int64_t end = tick_ns(k);
        const std::int64_t delay = std::llround(spec_.delay_ns);
        shown = spec_.gain * waveform_.energy(begin - delay, end - delay) +
                spec_.offset_w * static_cast<double>(end - begin) * kS;
    } else if (spec_.shape == SimulatedSensorSpec::Shape::sampled) {
        while (summed_ < k) sum_j_ += watts(++summed_) * spec_.period_ns * kS;
        shown = sum_j_;
    } else {
        return static_cast<std::uint64_t>(std::llround(std::max(0.0, watts(k)) / spec_.quantum));
    }
    const auto count = static_cast<std::uint64_t>(std::max(0.0, shown / spec_.quantum + 1e-6));
    return spec_.wrap_at != 0 ? count % spec_.wrap_at : count;
}

}  // namespace picojoule
