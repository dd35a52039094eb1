#include "analysis/timeline.h"

#include <algorithm>
#include <cmath>
#include <span>

namespace picojoule {
namespace {

constexpr double kUniform = 0.28867513459481287;  // 1 / sqrt(12): std of a uniform of width 1
constexpr double kFastTickNs = 5e6;
// Share of the time that a gauge of unknown window is assumed to see: that of the data-centre
// boards (25 ms of each 100 ms; Yang, Adamek, Armour, SC'24, arXiv 2312.02741).
constexpr double kUnknownDuty = 0.25;

double median(std::vector<double> values) {
    if (values.empty()) return 0.0;
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
}

// A straight line through (index, time), weighted, over a sliding neighbourhood: follows the slow
// drift of either clock. Prefix sums make each fit O(1).
class LocalLine {
  public:
    LocalLine(std::span<const double> x, std::span<const double> y, std::span<const double> w) {
        const std::size_t n = x.size();
        x0_ = n > 0 ? x[0] : 0.0;
        slope_guess_ = n > 1 ? (y[n - 1] - y[0]) / std::max(1.0, x[n - 1] - x[0]) : 0.0;
        y0_ = n > 0 ? y[0] : 0.0;
        for (auto* s : {&sw_, &sx_, &sy_, &sxx_, &sxy_}) s->assign(n + 1, 0.0);
        for (std::size_t i = 0; i < n; ++i) {
            // Residuals from a rough line, so that the sums lose no digits.
            const double u = x[i] - x0_;
            const double v = y[i] - y0_ - slope_guess_ * u;
            sw_[i + 1] = sw_[i] + w[i];
            sx_[i + 1] = sx_[i] + w[i] * u;
            sy_[i + 1] = sy_[i] + w[i] * v;
            sxx_[i + 1] = sxx_[i] + w[i] * u * u;
            sxy_[i + 1] = sxy_[i] + w[i] * u * v;
        }
    }

    struct Fit {
        double at{};
        double slope{};
        double leverage{};  // variance of the fit at x, in units of the scatter's variance
    };
    [[nodiscard]] Fit at(std::size_t i, double x) const {
        constexpr std::size_t kReach = 48;
        const std::size_t n = sw_.size() - 1;
        const std::size_t lo = i > kReach ? i - kReach : 0;
        const std::size_t hi = std::min(n, i + kReach + 1);
        const auto sum = [&](const std::vector<double>& s) { return s[hi] - s[lo]; };
        const double w = sum(sw_);
        const double mx = sum(sx_) / w;
        const double my = sum(sy_) / w;
        const double vxx = sum(sxx_) - w * mx * mx;
        const double slope = vxx > 1e-9 ? (sum(sxy_) - w * mx * my) / vxx : 0.0;
        const double u = x - x0_;
        const double count = static_cast<double>(hi - lo);
        const double mean_w = w / count;
        return {y0_ + slope_guess_ * u + my + slope * (u - mx), slope_guess_ + slope,
                1.0 / count + (vxx > 1e-9 ? mean_w * (u - mx) * (u - mx) / vxx : 0.0)};
    }

  private:
    double x0_{}, y0_{}, slope_guess_{};
    std::vector<double> sw_, sx_, sy_, sxx_, sxy_;
};

// Ticks of a sensor with a clock of its own: posterior of each from its bracket and from the clock.
void fit_clock(std::span<const Record> ticks, Timeline& line) {
    const std::size_t n = ticks.size();
    // Held values have no tick time of their own: placed afterwards.
    std::vector<std::size_t> real;
    for (std::size_t i = 0; i < n; ++i) {
        if ((ticks[i].flags & tick_flag::kHeld) == 0) real.push_back(i);
    }
    std::vector<double> steps;
    std::vector<double> widths;
    for (std::size_t k = 0; k < real.size(); ++k) {
        widths.push_back(2.0 * line.time_std_ns[real[k]] / (2.0 * kUniform));
        if (k > 0) steps.push_back(line.time_ns[real[k]] - line.time_ns[real[k - 1]]);
    }
    double period = median(steps);
    if (period <= 0.0) return;
    line.period_ns = period;
    // The value seen is that of the latest tick: however long nobody looked, that tick is less than
    // a period old.
    for (std::size_t k = 0; k < real.size(); ++k) {
        if (widths[k] <= period) continue;
        line.time_ns[real[k]] += 0.5 * (widths[k] - period);
        line.time_std_ns[real[k]] = kUniform * period;
        widths[k] = period;
    }
    for (std::size_t k = 1; k < real.size(); ++k) {
        steps[k - 1] = line.time_ns[real[k]] - line.time_ns[real[k - 1]];
    }
    if (real.size() >= 4) {
        const double usual_width = std::max(1.0, median(widths));
        std::vector<double> x, y, w;
        double count = 0.0;
        for (std::size_t k = 0; k < real.size(); ++k) {
            // Numbers come from counting steps one by one: dividing a long time by the period would
            // turn a small error of the period into a wrong number.
            if (k > 0) count += std::max(1.0, std::round(steps[k - 1] / period));
            x.push_back(count);
            y.push_back(line.time_ns[real[k]]);
            w.push_back(1.0 / (widths[k] * widths[k] + usual_width * usual_width));
        }
        const LocalLine fit(x, y, w);
        double scatter = 0.0;
        double expected = 0.0;
        double weight = 0.0;
        for (std::size_t k = 0; k < real.size(); ++k) {
            const double r = y[k] - fit.at(k, x[k]).at;
            scatter += w[k] * r * r;
            expected += w[k] * widths[k] * widths[k] / 12.0;
            weight += w[k];
        }
        const double free = static_cast<double>(real.size()) /
                            std::max(1.0, static_cast<double>(real.size()) - 2.0);
        scatter = scatter / weight * free;
        const double jitter2 = std::max(scatter - expected / weight, 25.0 * 1e6);  // 5 us at least
        if (std::sqrt(scatter) < 0.1 * period) {
            for (std::size_t k = 0; k < real.size(); ++k) {
                const auto f = fit.at(k, x[k]);
                const double bracket2 = widths[k] * widths[k] / 12.0;
                const double gain = jitter2 / (jitter2 + bracket2);
                const double half = 0.5 * widths[k];
                double at = f.at + gain * (y[k] - f.at);
                at = std::clamp(at, y[k] - half, y[k] + half);  // the bracket is certain
                line.time_ns[real[k]] = at;
                line.time_std_ns[real[k]] =
                    std::sqrt(jitter2 * bracket2 / (jitter2 + bracket2) +
                              (1.0 - gain) * (1.0 - gain) * f.leverage * (jitter2 + bracket2));
            }
            line.period_ns = period = fit.at(real.size() / 2, x[real.size() / 2]).slope;
        }
    }
    // A held value was published by the last tick before it was seen: count back from the next one.
    for (std::size_t i = n; i-- > 0;) {
        if ((ticks[i].flags & tick_flag::kHeld) == 0) continue;
        const double seen = static_cast<double>(ticks[i].a - line.origin_ns);
        if (i + 1 < n && (ticks[i + 1].flags & tick_flag::kHeld) == 0) {
            const double next = line.time_ns[i + 1];
            const double turns = std::max(1.0, std::ceil((next - seen) / period - 1e-6));
            line.time_ns[i] = next - turns * period;
            line.time_std_ns[i] = std::hypot(line.time_std_ns[i + 1], 0.001 * period * turns);
        } else {
            line.time_ns[i] = seen - 0.5 * period;
            line.time_std_ns[i] = kUniform * period;
        }
        if (i > 0) line.time_ns[i] = std::max(line.time_ns[i], line.time_ns[i - 1] + 1.0);
    }
}

}  // namespace

Timeline build_timeline(const Trace& trace, std::size_t channel) {
    Timeline line;
    const Channel& c = trace.channels[channel];
    std::vector<Record> ticks;
    for (const Record& r : trace.ticks) {
        if (r.id == channel) ticks.push_back(r);
    }
    line.origin_ns = trace.begin_ns;
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
            line.noise_j[i] = 0.5 * std::sqrt(unseen) * std::abs(watts - before) * dt_s;
            line.broken[i] = (ticks[i].flags & tick_flag::kAfterGap) != 0;
        }
    }
    line.quantum_j = c.quantity == Quantity::energy ? c.unit : 0.0;
    std::vector<double> steps;
    for (std::size_t i = 1; i < n; ++i) steps.push_back(line.time_ns[i] - line.time_ns[i - 1]);
    line.window_ns = steps.empty() ? line.period_ns : median(steps);
    return line;
}

}  // namespace picojoule
