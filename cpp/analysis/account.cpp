// From what was fitted to joules of classes that add up to the meter's, and what is known of them.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "analysis/solver.h"
#include "analysis/told.h"

namespace picojoule {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

}  // namespace

// Process noise is energy: a window that had more than its rates say had it from what ran in it.
// What of its residual is that (the best linear prediction, given all noise) goes there.
void Solver::credit_deviations(std::vector<double>& e, Matrix& cov) const {
    if (n_ == 0) return;
    const std::vector<double> pull = noise().solve(residuals());
    for (std::size_t k = 0; k < n_; ++k) {
        const double extra = hyper_.process * shape_.length_s[k] * pull[k];
        double whole = 0.0;
        for (const Entry& r : rows_.row(k)) whole += std::max(0.0, r.s * x_[r.col]);
        if (!(whole > 0.0)) continue;
        for (const Entry& r : rows_.row(k)) {
            const double share = std::max(0.0, r.s * x_[r.col]) / whole;
            e[r.col] += extra * share;
            // Which of those that ran it was is not known.
            cov(r.col, r.col) += extra * extra * share * (1.0 - share) * kContrast * kContrast;
        }
    }
}

// Which rates are known because of what was told of them, whatever the readings say: those whose
// doubt grows with that of the priors.
std::vector<std::uint8_t> Solver::rest_on_priors(const Matrix& v) const {
    std::vector<std::uint8_t> out(k_, 0);
    if (std::none_of(in_.prior_rate.begin(), in_.prior_rate.end(),
                     [](double r) { return !std::isnan(r); })) {
        return out;
    }
    const std::size_t w = width();
    Matrix told(w, w), h(w, w);
    prior().add_to(told);
    for (std::size_t i = 0; i < w; ++i) {
        for (std::size_t j = 0; j <= i; ++j) {
            for (std::size_t q = 0; q <= j; ++q) h(i, j) += factor_(i, q) * factor_(j, q);
        }
    }
    out = picojoule::rest_on_priors(std::move(h), told, free_, v);
    out.resize(k_);
    return out;
}

// Energy of class j: own[j] x_j + base[j] x_K, and with the drift d(t) its share of that.
Matrix Solver::energy_map(double sharing, const std::vector<double>& x) const {
    std::vector<double> own(p_, 0.0);
    Matrix map(p_, width());
    std::vector<double> drift_here(drift_.terms());
    double at_s = std::numeric_limits<double>::quiet_NaN();
    eq_.accounted(sharing, [&](double middle_s, std::size_t col, double s) {
        own[col] += s;
        if (drift_here.empty()) return;
        if (middle_s != at_s) drift_.at(at_s = middle_s, drift_here.data());
        for (std::size_t m = 0; m < drift_here.size(); ++m) {
            map(col, p_ + m) += s * x[col] * drift_here[m];
        }
    });
    const std::vector<double> base = eq_.baseline_shares(sharing);
    for (std::size_t j = 0; j < k_; ++j) {
        map(j, j) = own[j];
        map(j, k_) += base[j];
        own[k_] -= base[j];
    }
    map(k_, k_) = own[k_];
    return map;
}

std::vector<double> Solver::energies(const Matrix& map, const std::vector<double>& x) const {
    std::vector<double> e(p_, 0.0);
    for (std::size_t j = 0; j < p_; ++j) {
        for (std::size_t i = 0; i < x.size(); ++i) e[j] += map(j, i) * x[i];
    }
    return e;
}

Attributed Solver::account() {
    Attributed out;
    const std::size_t w = width();
    const Matrix map = energy_map(hyper_.sharing, x_);
    Matrix v = inverse(factor_);
    const std::vector<std::uint8_t> told = rest_on_priors(v);
    hyper_.context = context_doubt(v);
    Matrix mv(p_, w);
    for (std::size_t j = 0; j < p_; ++j) {
        for (std::size_t i = 0; i < w; ++i) {
            if (map(j, i) == 0.0) continue;
            for (std::size_t c = 0; c < w; ++c) mv(j, c) += map(j, i) * v(i, c);
        }
    }
    std::vector<double> e = energies(map, x_);
    Matrix cov(p_, p_);
    for (std::size_t j = 0; j < p_; ++j) {
        for (std::size_t c = 0; c < p_; ++c) {
            double s =
                mv(j, c) * map(c, c) + (c < k_ && map(c, k_) != 0.0 ? mv(j, k_) * map(c, k_) : 0.0);
            for (std::size_t m = p_; m < p_ + drift_.terms(); ++m) s += mv(j, m) * map(c, m);
            cov(j, c) = s;
        }
    }
    if (n_ > 0 && eq_.concurrent()) add_doubt_of_sharing(e, v, cov);
    credit_deviations(e, cov);
    for (std::size_t j = 0; j < p_; ++j) {
        if (map(j, j) != 0.0) continue;
        e[j] = 0.0;  // it ran only outside the accounted interval, or never
        for (std::size_t c = 0; c < p_; ++c) cov(j, c) = cov(c, j) = 0.0;
    }
    // Beside others a class may come out as drawing less than the baseline: then it drew nothing.
    for (std::size_t j = 0; j < k_; ++j) e[j] = std::max(0.0, e[j]);
    const double parts = std::accumulate(e.begin(), e.end(), 0.0);
    // To what the parts must add up.
    bool contiguous = n_ > 0;
    for (std::size_t k = 0; k + 1 < n_; ++k) contiguous &= in_.shared[k] != 0;
    const bool known = in_.total.has_value() || contiguous;
    double sum_values = std::accumulate(in_.value.begin(), in_.value.end(), 0.0);
    out.total = in_.total ? in_.total->value : contiguous ? sum_values : parts;
    out.residual = out.total - parts;
    if (!known) {
        out.residual = 0.0;
        for (const double r : residuals()) out.residual += r;
    }
    if (known) {
        // Readings of a gauge and the total may come from sensors whose gains differ; a total in
        // doubt is one that was made of these same readings.
        const double total_std = in_.total ? in_.total->std : 0.0;
        const bool one = contiguous || total_std > 0.0;
        const double gain2 = one ? 0.0 : in_.gain_std * in_.gain_std;
        reconcile(e, cov, out.total, gain2, total_std * total_std);
    }
    double sum2 = 0.0;
    for (std::size_t j = 0; j < p_; ++j) {
        for (std::size_t c = 0; c < p_; ++c) sum2 += cov(j, c);
    }
    out.sum_std = std::sqrt(std::max(0.0, sum2));
    eq_.times(out.time_s, out.idle_s);
    const Prior before = prior();
    std::vector<double> prior_std(p_);
    for (std::size_t j = 0; j < p_; ++j) prior_std[j] = std::abs(map(j, j)) * before.std[j];
    out.energy.assign(e.begin(), e.begin() + static_cast<std::ptrdiff_t>(k_));
    out.energy_std.resize(k_);
    out.rate.resize(k_);
    out.rate_std.resize(k_);
    out.cov = Matrix(k_, k_);
    for (std::size_t j = 0; j < k_; ++j) {
        out.energy_std[j] = std::sqrt(std::max(0.0, cov(j, j)));
        for (std::size_t c = 0; c < k_; ++c) out.cov(j, c) = cov(j, c);
        const bool ran = out.time_s[j] > 0.0;
        out.rate[j] = ran ? out.energy[j] / out.time_s[j] : x_[j];
        out.rate_std[j] = ran ? out.energy_std[j] / out.time_s[j] : std::sqrt(v(j, j));
    }
    const bool idles = in_.baseline && map(k_, k_) > 0.0;
    out.baseline_energy = idles ? e[k_] : 0.0;
    out.baseline_std = idles ? std::sqrt(std::max(0.0, cov(k_, k_))) : 0.0;
    out.baseline_rate =
        in_.baseline ? (idles && out.idle_s > 0.0 ? e[k_] / out.idle_s : x_[k_]) : kNaN;
    out.baseline_rate_std = in_.baseline ? std::sqrt(v(k_, k_)) : kNaN;
    out.unattributed = out.total - out.baseline_energy;
    for (const double j : out.energy) out.unattributed -= j;
    hyper_.drift_terms = drift_.terms();
    hyper_.drift = drift_.size(x_.data() + p_);
    if (in_.clock != nullptr) {
        ClockPath path = *in_.clock;
        const auto more = clock_ns();
        for (std::size_t m = 0; m < path.size(); ++m) path.ns[m] += more[m];
        const double from_s = path.middle_s - path.half_s, to_s = path.middle_s + path.half_s;
        hyper_.clock_terms = path.size();
        hyper_.clock_offset_ns = path.at(path.middle_s);
        hyper_.clock_rate_ppm = 1e-3 * (path.at(to_s) - path.at(from_s)) / (to_s - from_s);
    }
    double edge = 0.0;
    for (std::size_t k = 0; k < n_; ++k) edge += eq_.end_std_ns(k) / static_cast<double>(n_);
    hyper_.edge_std_ns = (eq_.has_std() ? edge : kUnknownEdgeNs) * std::sqrt(hyper_.edge_scale);
    out.hyper = hyper_;
    find_groups(out.energy, out.cov, prior_std, told, out);
    return out;
}

}  // namespace picojoule
