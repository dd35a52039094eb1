#include "analysis/sensor_response.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace picojoule {
namespace {

constexpr std::size_t kSettled = 200;
constexpr auto kBefore = static_cast<std::size_t>(-1);

}  // namespace

StepCurve::StepCurve(std::vector<double> time_ns, std::vector<double> rate, double before)
    : time_(std::move(time_ns)), rate_(std::move(rate)), sum_(time_.size(), 0.0), before_(before) {
    for (std::size_t i = 1; i < time_.size(); ++i) {
        sum_[i] = sum_[i - 1] + rate_[i - 1] * (time_[i] - time_[i - 1]);
    }
}

void StepCurve::set_lag(double tau_ns) {
    if (tau_ns == tau_) return;
    tau_ = tau_ns;
    state_.clear();
    if (tau_ <= 0.0 || time_.empty()) return;
    state_.resize(time_.size());
    state_[0] = before_;
    for (std::size_t i = 1; i < time_.size(); ++i) {
        const double fade = std::exp(-(time_[i] - time_[i - 1]) / tau_);
        state_[i] = rate_[i - 1] + (state_[i - 1] - rate_[i - 1]) * fade;
    }
}

std::size_t StepCurve::index(double t) const {
    const auto after = std::upper_bound(time_.begin(), time_.end(), t);
    return static_cast<std::size_t>(after - time_.begin()) - 1;  // kBefore where there is none
}

double StepCurve::at(double t) const {
    const std::size_t i = index(t);
    if (i == kBefore) return before_;
    if (tau_ <= 0.0) return rate_[i];
    return rate_[i] + (state_[i] - rate_[i]) * std::exp(-(t - time_[i]) / tau_);
}

double StepCurve::integral(double t) const {
    const std::size_t i = index(t);
    if (i == kBefore) return time_.empty() ? 0.0 : before_ * (t - time_.front());
    const double all = sum_[i] + rate_[i] * (t - time_[i]);
    // What came in, less what is still in the lag: z' = (P - z) / tau.
    return tau_ <= 0.0 ? all : all - tau_ * (at(t) - before_);
}

SensorReference power_reference(std::span<const std::int64_t> time_ns,
                                std::span<const double> power_w, std::int64_t origin_ns) {
    const std::size_t n = time_ns.size();
    std::vector<double> at(n);
    const auto time = [&](std::size_t i) { return static_cast<double>(time_ns[i] - origin_ns); };
    for (std::size_t i = 0; i < n; ++i) at[i] = i == 0 ? time(0) : 0.5 * (time(i - 1) + time(i));
    double before = 0.0;
    const std::size_t some = std::min(n, kSettled);
    for (std::size_t i = 0; i < some; ++i) before += power_w[i] / static_cast<double>(some);
    SensorReference out;
    out.begin_ns = time(0);
    out.end_ns = time(n - 1);
    out.power = true;
    out.columns.emplace_back(std::move(at), std::vector<double>(power_w.begin(), power_w.end()),
                             before);
    return out;
}

SensorReference span_reference(const Spans& spans, std::size_t n_classes, std::int64_t origin_ns) {
    struct Step {
        double t;
        double by;
    };
    std::vector<std::vector<Step>> steps(n_classes);
    SensorReference out;
    for (std::size_t i = 0; i < spans.cls.size(); ++i) {
        if (spans.end_ns[i] <= spans.begin_ns[i]) continue;
        auto& of = steps[static_cast<std::size_t>(spans.cls[i])];
        of.push_back({static_cast<double>(spans.begin_ns[i] - origin_ns), 1.0});
        of.push_back({static_cast<double>(spans.end_ns[i] - origin_ns), -1.0});
    }
    bool any = false;
    for (auto& of : steps) {
        std::stable_sort(of.begin(), of.end(),
                         [](const Step& a, const Step& b) { return a.t < b.t; });
        std::vector<double> time, rate;
        double level = 0.0;
        for (const Step& s : of) {
            level += s.by;
            if (!time.empty() && time.back() == s.t) {
                rate.back() = level;
            } else {
                time.push_back(s.t);
                rate.push_back(level);
            }
        }
        if (!time.empty()) {
            out.begin_ns = any ? std::min(out.begin_ns, time.front()) : time.front();
            out.end_ns = any ? std::max(out.end_ns, time.back()) : time.back();
            any = true;
        }
        out.columns.emplace_back(std::move(time), std::move(rate), 0.0);
    }
    return out;
}

double respond(const StepCurve& column, const Response& r, double tick_ns, double before_ns) {
    const double end = tick_ns - r.delay_ns;
    if (r.shape == SensorShape::lag) return column.at(end);
    const double length = r.shape == SensorShape::boxcar ? r.window_ns : tick_ns - before_ns;
    return (column.integral(end) - column.integral(end - length)) / length;
}

std::vector<double> class_seconds(const Spans& spans, std::size_t n_classes,
                                  std::span<const std::int64_t> begin_ns,
                                  std::span<const std::int64_t> end_ns, double lag_s) {
    const std::size_t n = begin_ns.size();
    std::vector<double> out(n * n_classes);
    const std::int64_t origin = n > 0 ? begin_ns.front() : 0;
    SensorReference reference = span_reference(spans, n_classes, origin);
    for (std::size_t c = 0; c < n_classes; ++c) {
        StepCurve& column = reference.columns[c];
        column.set_lag(lag_s * 1e9);
        for (std::size_t k = 0; k < n; ++k) {
            out[k * n_classes + c] =
                1e-9 * (column.integral(static_cast<double>(end_ns[k] - origin)) -
                        column.integral(static_cast<double>(begin_ns[k] - origin)));
        }
    }
    return out;
}

}  // namespace picojoule
