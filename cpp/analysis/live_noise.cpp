// How noisy readings are, from the latest of them; and what leaves their ring.
#include <algorithm>
#include <cmath>

#include "analysis/live.h"

namespace picojoule {
namespace {

// Multiplications up to which a trial of the noise folds all readings anew.
constexpr double kSmall = 5e6;
// And up to which the first readings are folded anew when their noise is better known. Beyond, that
// would be a pause, for noise that so few readings hardly tell from so many rates.
constexpr double kQuick = 1.2e7;
constexpr int kTrials = 60;
// As in attribute.cpp: residuals beyond so many (robust) standard deviations are no noise, unless
// they are more than this share.
constexpr double kFar = 6.0;
constexpr double kMostOutliers = 0.03;
// Stretches of time whose deviations are remembered apart; then neighbours are joined.
constexpr std::size_t kMostStretches = 64;
constexpr int kSweeps = 4;

double bounded_exp(double x) {
    return std::exp(std::clamp(x, -23.0, 14.0));
}

}  // namespace

void LiveAttribution::refit(bool at_leisure) {
    flush();
    last_refit_ = n_;
    mean_rate_ = sum_value_ / sum_length_s_;
    const double typical = sum_length_s_ / static_cast<double>(n_);
    process0_ = std::max(1e-24, 1e-6 * mean_rate_ * mean_rate_ * typical);
    improve(x_, kSweeps);
    free_ = static_cast<std::size_t>(
        std::count_if(x_.begin(), x_.end(), [](double v) { return v > 0.0; }));
    const bool all = ring_.size() == n_;
    const double p = static_cast<double>(width());
    const bool small = static_cast<double>(n_) * p * p / 2.0 + p * p * p / 6.0 <= kSmall;
    if (all && concurrent_ && hyper_.sharing == 0.0) hyper_.sharing = 0.5;
    if (all && small) {
        fit_by_evidence();
    } else {
        fit_by_residuals();
    }
    look_for_outliers();
    if (all && (at_leisure || static_cast<double>(n_) * p * p / 2.0 <= kQuick)) {
        refold();
        improve(x_, kSweeps);
    }
    if (ring_.size() >= kRing) retire(kRing / 2);
    next_refit_ = n_ < kRing ? 2 * n_ : n_ + kRing / 2;
}

void LiveAttribution::fit_by_evidence() {
    std::vector<double> start = {std::log(std::max(1e-9, hyper_.edge_scale)),
                                 std::log(std::max(1e-9, hyper_.process / process0_)), 0.0};
    std::vector<double> step = {1.0, 2.0, 0.7};
    if (concurrent_) {
        const double q = std::clamp(hyper_.sharing, 0.02, 0.98);
        start.push_back(std::log(q / (1.0 - q)));
        step.push_back(0.8);
    }
    const auto set = [&](const std::vector<double>& x) {
        hyper_.edge_scale = bounded_exp(x[0]);
        hyper_.process = process0_ * bounded_exp(x[1]);
        hyper_.contrast = kContrast * std::clamp(std::exp(x[2]), 0.05, 4.0);
        if (concurrent_) hyper_.sharing = 1.0 / (1.0 + std::exp(-x[3]));
    };
    const auto cost = [&](const std::vector<double>& x) {
        set(x);
        refold();
        double log_ev = evidence(hyper_.contrast);
        // What was told is believed within reason (attribute.cpp has the same).
        if (has_std_) log_ev -= 0.5 * x[0] * x[0] / (0.5 * 0.5);
        const double scale_std = x[2] < 0.0 ? 0.35 : 1.0;
        log_ev -= 0.5 * x[2] * x[2] / (scale_std * scale_std);
        if (concurrent_) log_ev -= 0.5 * x[3] * x[3] / (1.5 * 1.5);
        return -log_ev;
    };
    set(least(cost, start, step, kTrials));
}

NoiseShape LiveAttribution::ring_shape() const {
    NoiseShape out;
    const std::size_t n = ring_.size();
    for (std::size_t k = 0; k < n; ++k) {
        const Window& w = ring_[k];
        out.value2.push_back(w.value2 + w.aside2);
        out.length_s.push_back(w.length_s);
        const bool joined = w.joined && k > 0;
        out.begin2.push_back(joined ? out.end2.back() : edge2(w.begin, w.begin_std_ns));
        out.end2.push_back(edge2(w.end, w.end_std_ns));
        out.shared.push_back(k + 1 < n && ring_[k + 1].joined ? 1 : 0);
    }
    return out;
}

std::vector<double> LiveAttribution::ring_residuals(const std::vector<double>& x) const {
    std::vector<double> r;
    r.reserve(ring_.size());
    for (const Window& w : ring_) {
        double left = w.value;
        for (const Entry& e : w.row) left -= e.s * x[e.col];
        r.push_back(left);
    }
    return r;
}

void LiveAttribution::fit_by_residuals() {
    const NoiseShape shape = ring_shape();
    const std::vector<double> r = ring_residuals(x_);
    // Of n readings, about one for each rate went into the fit.
    const double n = static_cast<double>(n_);
    const double inflate = n / (n - std::min(static_cast<double>(free_), 0.9 * n));
    const auto cost = [&](const std::vector<double>& x) {
        const Tridiagonal noise(shape, {bounded_exp(x[0]), process0_ * bounded_exp(x[1])});
        double log_ev = -0.5 * (noise.log_det() + inflate * noise.square(r));
        if (has_std_) log_ev -= 0.5 * x[0] * x[0] / (0.5 * 0.5);
        return -log_ev;
    };
    const auto best =
        least(cost,
              std::vector<double>{std::log(std::max(1e-9, hyper_.edge_scale)),
                                  std::log(std::max(1e-9, hyper_.process / process0_))},
              std::vector<double>{1.0, 2.0}, kTrials);
    hyper_.edge_scale = bounded_exp(best[0]);
    hyper_.process = process0_ * bounded_exp(best[1]);
}

// Also says from where on a later reading is one.
void LiveAttribution::look_for_outliers() {
    const std::vector<double> r = ring_residuals(x_);
    const Tridiagonal noise(ring_shape(), {hyper_.edge_scale, hyper_.process});
    std::vector<double> z(r.size());
    double u = 0.0;
    for (std::size_t k = 0; k < r.size(); ++k) {
        u = r[k] - noise.link(k) * u;
        z[k] = std::abs(u) * std::sqrt(noise.weight(k));
    }
    std::vector<double> sorted = z;
    const auto middle = sorted.begin() + static_cast<std::ptrdiff_t>(z.size() / 2);
    std::nth_element(sorted.begin(), middle, sorted.end());
    const double scale = std::max(*middle / 0.6745, 1e-300);
    const auto many = std::count_if(z.begin(), z.end(), [&](double v) { return v > kFar * scale; });
    const bool few = static_cast<double>(many) <= kMostOutliers * static_cast<double>(z.size());
    // Rates that are barely known make everything look far off.
    const bool known = n_ > 2 * free_ && n_ >= kRing;
    far_ = few && known ? kFar * std::max(1.0, scale) : std::numeric_limits<double>::infinity();
    if (!few || ring_.size() != n_) return;
    hyper_.outliers = static_cast<std::size_t>(many);
    for (std::size_t k = 0; k < z.size(); ++k) {
        ring_[k].aside2 = z[k] > kFar * scale ? r[k] * r[k] : 0.0;
    }
}

void LiveAttribution::credit(std::size_t count, const std::vector<double>& x,
                             std::vector<double>& energy, std::vector<double>& var) const {
    const Tridiagonal noise(ring_shape(), {hyper_.edge_scale, hyper_.process});
    const std::vector<double> pull = noise.solve(ring_residuals(x));
    for (std::size_t k = 0; k < count; ++k) {
        const Window& w = ring_[k];
        const double extra = hyper_.process * w.length_s * pull[k];
        double whole = 0.0;
        for (const Entry& e : w.row) whole += std::max(0.0, e.s * x[e.col]);
        if (!(whole > 0.0)) continue;
        for (const Entry& e : w.row) {
            const double share = std::max(0.0, e.s * x[e.col]) / whole;
            energy[e.col] += extra * share;
            // Which of those that ran it was is not known.
            var[e.col] += extra * extra * share * (1.0 - share) * kContrast * kContrast;
        }
    }
}

// The oldest readings leave. What they had beyond the rates of their time is credited for good;
// how far these rates were from those that are found later is seen by the stretch (result()).
void LiveAttribution::retire(std::size_t count) {
    credit(count, x_, credit_, credit_var_);
    std::vector<double> model;
    for (const Window& w : ring_) {
        double sum = 0.0;
        for (const Entry& e : w.row) sum += e.s * x_[e.col];
        model.push_back(sum);
    }
    const std::vector<double> pull =
        Tridiagonal(ring_shape(), {hyper_.edge_scale, hyper_.process}).solve(model);
    Stretch gone;
    gone.own.assign(room_, 0.0);
    for (std::size_t k = 0; k < count; ++k) {
        for (const Entry& e : ring_[k].row) gone.own[e.col] += e.s;
        gone.modelled += model[k];
        gone.credited += hyper_.process * ring_[k].length_s * pull[k];
    }
    ring_.erase(ring_.begin(), ring_.begin() + static_cast<std::ptrdiff_t>(count));
    for (Window& w : ring_) w.pieces = {};
    stretches_.push_back(std::move(gone));
    if (stretches_.size() <= kMostStretches) return;
    std::vector<Stretch> joined;
    for (std::size_t i = 0; i < stretches_.size(); i += 2) {
        Stretch s = std::move(stretches_[i]);
        if (i + 1 < stretches_.size()) {
            const Stretch& next = stretches_[i + 1];
            s.own.resize(std::max(s.own.size(), next.own.size()), 0.0);
            for (std::size_t j = 0; j < next.own.size(); ++j) s.own[j] += next.own[j];
            s.modelled += next.modelled;
            s.credited += next.credited;
        }
        joined.push_back(std::move(s));
    }
    stretches_ = std::move(joined);
}

}  // namespace picojoule
