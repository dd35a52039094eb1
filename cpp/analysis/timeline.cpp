#include "analysis/timeline.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "analysis/sensor_clock.h"

namespace picojoule {
namespace {

constexpr double kUniform = 0.28867513459481287;  // 1 / sqrt(12): std of a uniform of width 1
constexpr double kFastTickNs = 5e6;
// Share of the time that a gauge of unknown window is assumed to see: that of the data-centre
// boards (25 ms of each 100 ms; Yang, Adamek, Armour, SC'24, arXiv 2312.02741).
constexpr double kUnknownDuty = 0.25;

// Noise of a power gauge's readings: 0.26 to 0.63 W were found on five boards (fits to the data of
// Yang, Adamek, Armour, SC'24, Zenodo 10.5281/zenodo.13313030); of a small load, a share of it.
constexpr double kGaugeNoiseW = 0.5;
constexpr double kGaugeNoiseShare = 0.005;

double median(std::vector<double> values) {
    if (values.empty()) return 0.0;
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
}

// Ticks of a sensor with a clock of its own: placed by their brackets and by that clock.
void fit_clock(std::span<const Record> ticks, Timeline& line) {
    const std::size_t n = ticks.size();
    // Held values have no tick time of their own: placed afterwards.
    std::vector<std::size_t> real;
    std::vector<Bracket> brackets;
    bool fresh = false;
    for (std::size_t i = 0; i < n; ++i) {
        fresh |= (ticks[i].flags & tick_flag::kAfterGap) != 0;
        if ((ticks[i].flags & tick_flag::kHeld) != 0) continue;
        real.push_back(i);
        brackets.push_back({static_cast<double>(ticks[i].b - line.origin_ns),
                            static_cast<double>(ticks[i].a - line.origin_ns), fresh});
        fresh = false;
    }
    std::vector<double> steps;
    for (std::size_t k = 1; k < real.size(); ++k) {
        steps.push_back(line.time_ns[real[k]] - line.time_ns[real[k - 1]]);
    }
    double period = median(steps);
    if (period <= 0.0) return;
    // The value seen is that of the latest tick: however long nobody looked, that tick is less than
    // a period old.
    for (Bracket& b : brackets) b.old_ns = std::max(b.old_ns, b.new_ns - period);
    const ClockFit fit = fit_sensor_clock(brackets, period);
    for (std::size_t k = 0; k < real.size(); ++k) {
        line.time_ns[real[k]] = fit.time_ns[k];
        line.time_std_ns[real[k]] = fit.std_ns[k];
    }
    line.period_ns = period = fit.period_ns;
    line.clock_std_ns = fit.clock_std_ns;
    line.period_std_ns = fit.period_std_ns;
    // A held value was published by the last tick before it was seen: count back from the next one.
    for (std::size_t i = n; i-- > 0;) {
        if ((ticks[i].flags & tick_flag::kHeld) == 0) continue;
        const double seen = static_cast<double>(ticks[i].a - line.origin_ns);
        if (i + 1 < n && (ticks[i + 1].flags & tick_flag::kHeld) == 0) {
            const double next = line.time_ns[i + 1];
            const double turns = std::max(1.0, std::ceil((next - seen) / period - 1e-6));
            line.time_ns[i] = next - turns * period;
            line.time_std_ns[i] =
                std::hypot(line.time_std_ns[i + 1], fit.jitter_ns, fit.period_std_ns * turns);
            // A slow call may have looked before a tick that came while it ran, or after it.
            const double slack = 2.0 * line.time_std_ns[i + 1] + 2.0 * fit.jitter_ns;
            const double asked = static_cast<double>(ticks[i].b - line.origin_ns);
            const double most = std::max(1.0, std::ceil((next + slack - asked) / period));
            const double least = std::max(1.0, std::ceil((next - slack - seen) / period));
            if (most > least) {
                line.time_std_ns[i] =
                    std::hypot(line.time_std_ns[i], 0.5 * period * (most - least));
            }
        } else {
            line.time_ns[i] = seen - 0.5 * period;
            line.time_std_ns[i] = kUniform * period;
        }
        if (i > 0) line.time_ns[i] = std::max(line.time_ns[i], line.time_ns[i - 1] + 1.0);
    }
}

// Before the first change that was seen lies one period, as far as its time tells. Had the sensor
// missed a tick just then, those are two or three, with the joules of as many, and its power a
// clean multiple of what follows. Where that is steady, this is more likely than a load that
// happened to be just that multiple; where it is not, nothing can be told.
void mend_first_window(Timeline& line) {
    constexpr double kNear = 0.03;
    constexpr std::size_t kFollow = 4;
    if (line.size() <= kFollow + 1 || line.period_ns <= 0.0) return;
    const auto power = [&](std::size_t a, std::size_t b) {
        return (line.joules[b] - line.joules[a]) / (line.time_ns[b] - line.time_ns[a]);
    };
    const double follows = power(1, 1 + kFollow);
    if (follows <= 0.0 || line.broken[1]) return;
    for (std::size_t k = 2; k <= kFollow + 1; ++k) {
        if (line.broken[k] || std::abs(power(k - 1, k) / follows - 1.0) > kNear) return;
    }
    for (const double turns : {2.0, 3.0}) {
        if (std::abs(power(0, 1) / follows / turns - 1.0) > kNear) continue;
        const double more_ns = (turns - 1.0) * (line.time_ns[1] - line.time_ns[0]);
        line.time_ns[0] -= more_ns;
        line.time_std_ns[0] = std::hypot(line.time_std_ns[0], kUniform * more_ns);
        return;
    }
}

}  // namespace

Timeline build_timeline(const Trace& trace, std::size_t channel) {
    Timeline line;
    const Channel& c = trace.channels[channel];
    line.origin_ns = trace.begin_ns;
    if (!tells_energy(c.quantity)) return line;  // no joules in it: a curve without points
    std::vector<Record> ticks;
    for (const Record& r : trace.ticks) {
        if (r.id == channel) ticks.push_back(r);
    }
    const std::size_t n = ticks.size();
    const bool is_fast =
        c.update_period_ns > 0 && static_cast<double>(c.update_period_ns) <= kFastTickNs;
    for (const Record& r : ticks) {
        const double hi = static_cast<double>(r.a - line.origin_ns);
        const double lo = static_cast<double>(r.b - line.origin_ns);
        line.time_ns.push_back(0.5 * (hi + lo));
        line.time_std_ns.push_back(kUniform * (hi - lo));
        line.flags.push_back(r.flags);
    }
    if (c.latched && !is_fast) {
        line.period_ns = static_cast<double>(c.update_period_ns);
        fit_clock(ticks, line);
    }
    for (std::size_t i = 1; i < n; ++i) {  // brackets may touch; time must advance
        line.time_ns[i] = std::max(line.time_ns[i], line.time_ns[i - 1] + 1.0);
    }
    line.joules.assign(n, 0.0);
    line.noise_j.assign(n, 0.0);
    line.broken.assign(n, false);
    if (c.quantity == Quantity::power) {
        double most_w = 0.0;
        for (const Record& r : ticks) {
            most_w = std::max(most_w, std::abs(c.unit * static_cast<double>(r.c)));
        }
        line.gauge_w = std::min(kGaugeNoiseW, kGaugeNoiseShare * most_w);
    }
    for (std::size_t i = 1; i < n; ++i) {
        const double dt_s = (line.time_ns[i] - line.time_ns[i - 1]) * 1e-9;
        if (c.quantity == Quantity::energy) {
            line.joules[i] = line.joules[0] + c.unit * static_cast<double>(ticks[i].c - ticks[0].c);
            line.broken[i] = (ticks[i].flags & tick_flag::kReset) != 0;
        } else {
            const double watts = c.unit * static_cast<double>(ticks[i].c);
            const double before = c.unit * static_cast<double>(ticks[i - 1].c);
            line.joules[i] = line.joules[i - 1] + watts * dt_s;
            const double seen_s =
                c.window_ns > 0 ? static_cast<double>(c.window_ns) * 1e-9 : kUnknownDuty * dt_s;
            const double unseen = std::clamp(1.0 - seen_s / std::max(dt_s, 1e-9), 0.0, 1.0);
            line.noise_j[i] = std::hypot(0.5 * std::sqrt(unseen) * std::abs(watts - before) * dt_s,
                                         line.gauge_w * dt_s);
            line.broken[i] = (ticks[i].flags & tick_flag::kAfterGap) != 0;
        }
    }
    line.quantum_j = c.quantity == Quantity::energy ? c.unit : 0.0;
    if (n > 0 && c.quantity == Quantity::energy && (ticks[0].flags & tick_flag::kHeld) != 0) {
        mend_first_window(line);
    }
    std::vector<double> steps;
    for (std::size_t i = 1; i < n; ++i) steps.push_back(line.time_ns[i] - line.time_ns[i - 1]);
    line.window_ns = steps.empty() ? line.period_ns : median(steps);
    if (c.quantity == Quantity::power) {
        line.smear_s = std::max(0.0, static_cast<double>(c.window_ns) - line.window_ns) * 1e-9;
    }
    return line;
}

}  // namespace picojoule
