#include "analysis/power_curve.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace picojoule {

PowerCurve::PowerCurve(const Spans& spans, std::span<const double> rates, double sharing,
                       bool baseline, std::int64_t origin_ns) {
    const std::size_t m = spans.cls.size();
    // Empty where they are in order.
    const auto order = [](std::span<const std::int64_t> key) {
        std::vector<std::size_t> index;
        if (std::is_sorted(key.begin(), key.end())) return index;
        index.resize(key.size());
        std::iota(index.begin(), index.end(), std::size_t{0});
        std::stable_sort(index.begin(), index.end(),
                         [&](std::size_t a, std::size_t b) { return key[a] < key[b]; });
        return index;
    };
    const std::vector<std::size_t> by_begin = order(spans.begin_ns), by_end = order(spans.end_ns);
    const auto begins = [&](std::size_t i) { return by_begin.empty() ? i : by_begin[i]; };
    const auto ends = [&](std::size_t i) { return by_end.empty() ? i : by_end[i]; };
    t_ns_.reserve(2 * m);
    joules_.reserve(2 * m);
    const double base = baseline ? rates.back() : 0.0;
    double own[kMostAtOnce + 1]{};
    for (std::uint32_t n = 1; n <= kMostAtOnce; ++n) {
        own[n] = std::pow(static_cast<double>(n), -sharing);
    }
    before_w_ = base;
    double sum = 0.0;  // of the rates that run, above the baseline
    std::size_t running = 0;
    const auto watts = [&] {
        if (running == 0) return base;
        const double factor = own[std::min<std::size_t>(running, kMostAtOnce)];
        return base + factor * sum;
    };
    std::size_t i = 0, j = 0;
    double w = base;
    while (j < m) {
        const bool opens = i < m && spans.begin_ns[begins(i)] <= spans.end_ns[ends(j)];
        const std::int64_t at = opens ? spans.begin_ns[begins(i)] : spans.end_ns[ends(j)];
        const auto t = static_cast<double>(at - origin_ns);
        if (opens) {
            sum += rates[static_cast<std::size_t>(spans.cls[begins(i++)])] - base;
            ++running;
        } else {
            sum -= rates[static_cast<std::size_t>(spans.cls[ends(j++)])] - base;
            if (--running == 0) sum = 0.0;  // no rounding is carried on
        }
        if (t_ns_.empty()) {
            t_ns_.push_back(t);
            joules_.push_back(1e-9 * base * t);
        } else if (t > t_ns_.back()) {
            joules_.push_back(joules_.back() + 1e-9 * w * (t - t_ns_.back()));
            t_ns_.push_back(t);
        }
        w = watts();
    }
    after_w_ = w;
}

double PowerCurve::joules(double t_ns) const {
    const auto it = std::upper_bound(t_ns_.begin(), t_ns_.end(), t_ns);
    if (it == t_ns_.begin()) return 1e-9 * before_w_ * t_ns;
    const auto i = static_cast<std::size_t>(it - t_ns_.begin()) - 1;
    if (i + 1 == t_ns_.size()) return joules_[i] + 1e-9 * after_w_ * (t_ns - t_ns_[i]);
    const double part = (t_ns - t_ns_[i]) / (t_ns_[i + 1] - t_ns_[i]);
    return joules_[i] + part * (joules_[i + 1] - joules_[i]);
}

}  // namespace picojoule
