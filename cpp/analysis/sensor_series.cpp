// From polls to ticks, and what period they seem to have.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "analysis/sensor_identify.h"

namespace picojoule {
namespace {

constexpr std::size_t kEnough = 600;  // ticks that tell the period
constexpr double kReach = 0.15;       // relative, around the first guess
constexpr double kCoherent = 0.5;     // of all ticks, as a vector sum
constexpr double kVague = 0.05;

// The period to which most ticks keep, by the periodogram of their times. Ticks whose value did not
// change were not seen, so that counting steps would fail where such stretches are long.
void find_period(SensorSeries& out, double guess) {
    const std::size_t n = std::min(out.ticks.size(), kEnough);
    if (n < 4) return;
    std::vector<double> at(n), steps;
    for (std::size_t k = 0; k < n; ++k) {
        at[k] = 0.5 * (out.ticks[k].old_ns + out.ticks[k].new_ns);
        if (k > 0) steps.push_back(at[k] - at[k - 1]);
    }
    // Unseen ticks make steps longer, never shorter.
    std::sort(steps.begin(), steps.end());
    double shortest = guess, longest = guess;
    if (std::isnan(guess)) {
        shortest = steps[steps.size() / 4];
        guess = longest = steps[steps.size() / 2];
    }
    out.period_ns = guess;
    out.period_cv = kVague;
    const double span = at.back() - at.front();
    if (span <= 2.0 * guess || !(shortest > 0.0)) return;
    // In turns over the whole span, four points a resolved line.
    double best = 0.0;
    const double lo = span / (longest * (1.0 + kReach)), hi = span / (shortest * (1.0 - kReach));
    for (double turns = lo; turns <= hi; turns += 0.25) {
        double c = 0.0, s = 0.0;
        for (const double t : at) {
            const double phase = 2.0 * std::numbers::pi * turns * (t - at.front()) / span;
            c += std::cos(phase), s += std::sin(phase);
        }
        if (const double power = std::hypot(c, s); power > best) {
            best = power;
            out.period_ns = span / turns;
        }
    }
    if (best > kCoherent * static_cast<double>(n)) {
        out.period_cv = std::clamp(0.5 * out.period_ns / span, 1e-5, kVague);
    } else {
        out.period_ns = guess;
    }
}

}  // namespace

SensorSeries sensor_series(std::span<const std::int64_t> poll_ns, std::span<const double> value,
                           bool counter, double period_ns, std::int64_t origin_ns) {
    SensorSeries out;
    std::size_t last = 0;
    for (std::size_t i = 1; i < value.size(); ++i) {
        if (value[i] == value[i - 1]) continue;
        out.ticks.push_back({static_cast<double>(poll_ns[i - 1] - origin_ns),
                             static_cast<double>(poll_ns[i] - origin_ns), false});
        const double joules = value[i] - value[last];
        // A counter that fell was set back: of that step nothing is known.
        const bool known = last > 0 && joules >= 0.0;
        out.value.push_back(!counter ? value[i]
                            : known  ? joules
                                     : std::numeric_limits<double>::quiet_NaN());
        last = i;
    }
    find_period(out, period_ns);
    // The value seen is that of the latest tick, which is less than a period old.
    for (Bracket& b : out.ticks) {
        if (out.period_ns > 0.0) b.old_ns = std::max(b.old_ns, b.new_ns - out.period_ns);
    }
    return out;
}

}  // namespace picojoule
