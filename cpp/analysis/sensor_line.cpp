#include "analysis/sensor_line.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numbers>

#include "analysis/sensor_clock.h"

namespace picojoule {
namespace {

constexpr std::size_t kFewest = 128;
constexpr double kSure = 0.2;  // of a period: how far a tick may be from its number
constexpr int kSlices = 64;    // of the feasible slopes, over which the lines are averaged

// All lines t = phase + period * m of one period that go through all brackets.
struct Room {
    double low{}, high{};  // of the phase; none where high < low
    [[nodiscard]] double width() const { return high - low; }
};

Room room(std::span<const double> m, std::span<const Bracket> ticks, double period) {
    Room out{-std::numeric_limits<double>::infinity(), std::numeric_limits<double>::infinity()};
    for (std::size_t k = 0; k < m.size(); ++k) {
        out.low = std::max(out.low, ticks[k].old_ns - period * m[k]);
        out.high = std::min(out.high, ticks[k].new_ns - period * m[k]);
    }
    return out;
}

// What single ticks may stray by, given that none left its bracket: root mean square over all
// jitters, alike before, each as likely as it is to have shown nothing.
double unseen_jitter(std::span<const Bracket> ticks, std::span<const double> at) {
    double widest = 0.0;
    for (const Bracket& b : ticks) widest = std::max(widest, b.new_ns - b.old_ns);
    double weights = 0.0, square = 0.0;
    constexpr double kStep = 0.8;
    for (double jitter = widest; jitter > 1e-6 * widest; jitter *= kStep) {
        double log_likely = 0.0;
        const double scale = 1.0 / (jitter * std::numbers::sqrt2);
        for (std::size_t k = 0; k < at.size(); ++k) {
            const double out = 0.5 * (std::erfc((ticks[k].new_ns - at[k]) * scale) +
                                      std::erfc((at[k] - ticks[k].old_ns) * scale));
            log_likely += std::log1p(-std::min(out, 1.0 - 1e-12));
            if (log_likely < -40.0) break;
        }
        const double weight = jitter * std::exp(log_likely);  // the grid is one of logarithms
        weights += weight;
        square += weight * jitter * jitter;
    }
    return std::sqrt(square / weights);
}

}  // namespace

TickLine line_through(std::span<const Bracket> ticks, std::span<const double> near_ns,
                      double period_ns) {
    const std::size_t n = ticks.size();
    TickLine out;
    if (n < kFewest || !(period_ns > 0.0)) return out;
    std::vector<double> m(n, 0.0), width(n);
    for (std::size_t k = 0; k < n; ++k) {
        width[k] = ticks[k].new_ns - ticks[k].old_ns;
        if (k == 0) continue;
        const double turns = (near_ns[k] - near_ns[k - 1]) / period_ns;
        const double whole = std::round(turns);
        if (whole < 1.0 || std::abs(turns - whole) > kSure) return out;
        m[k] = m[k - 1] + whole;
    }
    const double middle = std::round(0.5 * m.back());
    for (double& v : m) v -= middle;
    // The room is concave in the period: its greatest by golden section.
    const double reach = 4.0 * *std::max_element(width.begin(), width.end()) / m.back();
    double a = period_ns - reach, b = period_ns + reach;
    constexpr double kGolden = 0.6180339887498949;
    constexpr int kRounds = 80;
    double x = b - kGolden * (b - a), y = a + kGolden * (b - a);
    double at_x = room(m, ticks, x).width(), at_y = room(m, ticks, y).width();
    for (int i = 0; i < kRounds; ++i) {
        if (at_x > at_y) {
            b = y;
            y = x;
            at_y = at_x;
            x = b - kGolden * (b - a);
            at_x = room(m, ticks, x).width();
        } else {
            a = x;
            x = y;
            at_x = at_y;
            y = a + kGolden * (b - a);
            at_y = room(m, ticks, y).width();
        }
    }
    const double best = 0.5 * (a + b);
    if (!(room(m, ticks, best).width() > 0.0)) return out;
    const auto edge = [&](double sign) {
        double inside = 0.0, beyond = reach;
        while (room(m, ticks, best + sign * beyond).width() > 0.0) beyond *= 2.0;
        for (int i = 0; i < kRounds; ++i) {
            const double half = 0.5 * (inside + beyond);
            (room(m, ticks, best + sign * half).width() > 0.0 ? inside : beyond) = half;
        }
        return best + sign * inside;
    };
    const double from = edge(-1.0), to = edge(1.0);
    double weights = 0.0, period = 0.0, period2 = 0.0, phase = 0.0, phase2 = 0.0;
    for (int i = 0; i < kSlices; ++i) {
        const double p = from + (to - from) * (i + 0.5) / kSlices;
        const Room r = room(m, ticks, p);
        const double w = std::max(0.0, r.width());
        const double off = p - best, at = 0.5 * (r.low + r.high);
        weights += w;
        period += w * off;
        period2 += w * off * off;
        phase += w * at;
        phase2 += w * w * w / 12.0;
    }
    if (!(weights > 0.0)) return out;
    period /= weights;
    phase /= weights;
    for (int i = 0; i < kSlices; ++i) {
        const double p = from + (to - from) * (i + 0.5) / kSlices;
        const Room r = room(m, ticks, p);
        const double off = 0.5 * (r.low + r.high) - phase;
        phase2 += std::max(0.0, r.width()) * off * off;
    }
    out.period_ns = best + period;
    out.period_std_ns = std::sqrt(std::max(0.0, period2 / weights - period * period));
    out.clock_std_ns = std::sqrt(phase2 / weights);
    for (std::size_t k = 0; k < n; ++k) {
        const double at = phase + out.period_ns * m[k];
        out.time_ns.push_back(std::clamp(at, ticks[k].old_ns, ticks[k].new_ns));
    }
    out.own_std_ns = unseen_jitter(ticks, out.time_ns);
    return out;
}

}  // namespace picojoule
