// Rates and energies from the normal equations.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "analysis/live.h"
#include "analysis/told.h"

namespace picojoule {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
// Up to so many columns the equations are solved exactly each time.
constexpr std::size_t kFew = 96;
// Columns up to which the spread of rates is found by evidence for a result.
constexpr std::size_t kSome = 256;
constexpr int kSweepsNow = 5;
// A change of rates by so many of their standard deviations is none.
constexpr double kClose = 0.01;

}  // namespace

Prior LiveAttribution::prior(double contrast) const {
    const std::size_t p = width();
    Prior out;
    out.mean.resize(p);
    out.std.resize(p);
    out.set.assign(p, 0);
    const double mean = n_ > 0 ? sum_value_ / sum_length_s_ : 0.0;
    const std::span<const double> spent_s(row_sum_);
    const double usual =
        usual_rate(mean, sum_length_s_, spent_s.subspan(std::min<std::size_t>(1, spent_s.size())));
    const double floor = std::max(1e-9, 1e-3 * std::abs(mean));
    for (std::size_t j = 1; j < p; ++j) {
        const bool given =
            j - 1 < settings_.prior_rate.size() && !std::isnan(settings_.prior_rate[j - 1]);
        out.set[j] = given ? 1 : 2;
        out.mean[j] = given ? settings_.prior_rate[j - 1] : usual;
        const double cv =
            given ? settings_.prior_cv[j - 1] * std::max(1.0, contrast / kContrast) : contrast;
        out.std[j] = std::max(floor, cv * std::abs(out.mean[j]));
    }
    out.mean[0] = settings_.baseline ? 0.4 * mean : 0.0;
    out.std[0] = std::max(floor, settings_.baseline ? 0.6 * std::abs(mean) : 0.0);
    out.settle();
    return out;
}

// h x = b, h by its lower triangle.
void LiveAttribution::equations(Matrix& h, std::vector<double>& b, const Prior& before) const {
    const std::size_t p = width();
    Matrix all = information();
    if (room_ == p) {
        h = std::move(all);
    } else {
        h = Matrix(p, p);
        for (std::size_t i = 0; i < std::min(p, room_); ++i) {
            std::copy_n(all.row(i), i + 1, h.row(i));
        }
    }
    before.add_to(h);
    b = before.pull();
    for (std::size_t i = 0; i < std::min(p, room_); ++i) b[i] += c_[i];
}

double LiveAttribution::evidence(double contrast) const {
    const Prior before = prior(contrast);
    Matrix h;
    std::vector<double> b;
    equations(h, b, before);
    if (!cholesky(h)) return std::numeric_limits<double>::lowest();
    std::vector<double> x = b;
    solve(h, x);
    double fit = yy_ + before.square();
    for (std::size_t i = 0; i < b.size(); ++i) fit -= b[i] * x[i];
    return -0.5 * (fit + log_det_ + log_det(h) - before.log_det +
                   static_cast<double>(n_) * 1.8378770664093453);
}

// Least of x' h x / 2 - b' x with x >= 0, from where `x` is.
void LiveAttribution::improve(std::vector<double>& x, int sweeps) const {
    const std::size_t p = width();
    x.resize(std::max(x.size(), p), mean_rate_);
    const Prior before = prior(hyper_.contrast);
    if (p <= kFew) {
        Matrix h;
        std::vector<double> b;
        equations(h, b, before);
        const std::vector<std::uint8_t> bounded(p, 1);
        const Bounded found = solve_bounded(h, b, bounded);
        std::copy(found.x.begin(), found.x.end(), x.begin());
        return;
    }
    // h = a_ + (rows that wait in the panel) + (diagonal of the prior) - (its common factors),
    // never made: to make it costs more than all sweeps.
    const std::size_t known = std::min(p, room_), rows = panel_.rows();
    std::vector<double> b = before.pull(), diagonal(p), common(p);
    std::vector<double> waiting(known * kPanel);  // the panel's columns, each in one piece
    for (std::size_t i = 0; i < p; ++i) {
        const double d = 1.0 / (before.std[i] * before.std[i]);
        common[i] = before.set[i] == 0 ? 0.0 : d * before.mean[i];
        diagonal[i] = d - before.shrink[before.set[i]] * common[i] * common[i];
        if (i >= known) continue;
        b[i] += c_[i];
        diagonal[i] += a_(i, i);
        double* u = &waiting[i * kPanel];
        for (std::size_t r = 0; r < rows; ++r) {
            u[r] = panel_.column(i)[r * Panels::kWide];
            diagonal[i] += u[r] * u[r];
        }
    }
    double of_row[kPanel] = {}, of_set[3] = {};  // products with x, kept up to date
    for (std::size_t i = 0; i < p; ++i) {
        of_set[before.set[i]] += common[i] * x[i];
        if (i >= known) continue;
        const double* u = &waiting[i * kPanel];
        for (std::size_t r = 0; r < rows; ++r) of_row[r] += u[r] * x[i];
    }
    std::vector<double> later(p);  // of each row's product, what comes after the diagonal
    for (int sweep = 0; sweep < sweeps; ++sweep) {
        std::fill(later.begin(), later.end(), 0.0);
        for (std::size_t i = 1; i < known; ++i) {
            const double* row = a_.row(i);
            const double v = x[i];
            for (std::size_t j = 0; j < i; ++j) later[j] += row[j] * v;
        }
        double most = 0.0;  // change, in standard deviations
        for (std::size_t i = 0; i < p; ++i) {
            double rest =
                later[i] - before.shrink[before.set[i]] * common[i] * of_set[before.set[i]];
            const double* u = i < known ? &waiting[i * kPanel] : nullptr;
            if (u != nullptr) {
                const double* row = a_.row(i);
                double s[4] = {};
                std::size_t j = 0;
                for (; j + 4 <= i; j += 4) {
                    for (std::size_t q = 0; q < 4; ++q) s[q] += row[j + q] * x[j + q];
                }
                for (; j < i; ++j) rest += row[j] * x[j];
                rest += (s[0] + s[1]) + (s[2] + s[3]) + row[i] * x[i];
                for (std::size_t r = 0; r < rows; ++r) rest += u[r] * of_row[r];
            }
            rest += x[i] / (before.std[i] * before.std[i]);
            const double next = std::max(0.0, x[i] + (b[i] - rest) / diagonal[i]);
            const double change = next - x[i];
            most = std::max(most, std::abs(change) * std::sqrt(diagonal[i]));
            of_set[before.set[i]] += common[i] * change;
            if (u != nullptr) {
                for (std::size_t r = 0; r < rows; ++r) of_row[r] += u[r] * change;
            }
            x[i] = next;
        }
        if (most < kClose) break;
    }
}

const std::vector<double>& LiveAttribution::rates() {
    now_.resize(std::max(now_.size(), width()), mean_rate_);
    if (n_ > 0) improve(now_, kSweepsNow);
    now_.resize(width());
    return now_;
}

Attributed LiveAttribution::result(std::optional<double> total) const {
    if (ring_.size() == n_ && n_ != last_refit_) {  // the noise of a short run, from all of it
        LiveAttribution whole = *this;
        whole.refit(true);
        return whole.solved(total);
    }
    return solved(total);
}

Attributed LiveAttribution::solved(std::optional<double> total) const {
    const std::size_t p = width();
    Attributed out;
    out.hyper = hyper_;
    if (p <= kSome) {
        const auto cost = [&](const std::vector<double>& x) {
            const double scale_std = x[0] < 0.0 ? 0.35 : 1.0;
            return 0.5 * x[0] * x[0] / (scale_std * scale_std) -
                   evidence(kContrast * std::clamp(std::exp(x[0]), 0.05, 4.0));
        };
        const auto best = least(cost, std::vector<double>{std::log(hyper_.contrast / kContrast)},
                                std::vector<double>{0.7}, 20);
        out.hyper.contrast = kContrast * std::clamp(std::exp(best[0]), 0.05, 4.0);
    }
    out.hyper.prior_scale = std::max(1.0, out.hyper.contrast / kContrast);
    const Prior before = prior(out.hyper.contrast);
    Matrix h;
    std::vector<double> b;
    equations(h, b, before);
    const std::vector<std::uint8_t> bounded(p, 1);
    Bounded found = solve_bounded(h, b, bounded);
    std::vector<double> x = std::move(found.x);
    for (std::size_t i = 0; i < p; ++i) {  // of a rate held at 0 the others' doubt knows nothing
        if (found.free[i] != 0) continue;
        for (std::size_t j = 0; j < i; ++j) h(i, j) = 0.0;
        for (std::size_t j = i + 1; j < p; ++j) h(j, i) = 0.0;
    }
    const bool has_priors = std::any_of(settings_.prior_rate.begin(), settings_.prior_rate.end(),
                                        [](double r) { return !std::isnan(r); });
    Matrix precision = has_priors ? h : Matrix();
    cholesky(h);
    const Matrix v = inverse(h);
    std::vector<std::uint8_t> told(n_classes_, 0);  // by priors alone
    if (has_priors) {
        Matrix told_before(p, p);
        before.add_to(told_before);
        const auto rest = rest_on_priors(std::move(precision), told_before, found.free, v);
        std::copy_n(rest.begin() + 1, n_classes_, told.begin());
    }

    // Energy of column j: own_j x_j and, for what ran beside others, base_j of the baseline.
    const Sharing share(hyper_.sharing, settings_.baseline);
    std::vector<double> own(p, 0.0), base(p, 0.0);
    own[0] = settings_.baseline ? idle_s_ : 0.0;
    for (std::size_t i = 0; i < time_.size(); ++i) {
        const std::size_t level = i % kMostAtOnce + 1;
        own[i / kMostAtOnce + 1] += share.own[level] * time_[i];
        if (settings_.baseline) base[i / kMostAtOnce + 1] += share.base[level] * time_[i];
    }
    std::vector<double> e(p);
    Matrix cov(p, p);
    for (std::size_t i = 0; i < p; ++i) {
        e[i] = own[i] * x[i] + base[i] * x[0];
        for (std::size_t j = 0; j < p; ++j) {
            cov(i, j) = own[i] * own[j] * v(i, j) + own[i] * base[j] * v(i, 0) +
                        base[i] * own[j] * v(0, j) + base[i] * base[j] * v(0, 0);
        }
    }
    // What readings had beyond the rates: of those in the ring by these rates, of those before by
    // the rates of their time and then by how far these were off.
    x.resize(std::max(p, room_), mean_rate_);
    std::vector<double> extra = credit_, var = credit_var_;
    extra.resize(x.size(), 0.0);
    var.resize(x.size(), 0.0);
    credit(ring_.size(), x, extra, var);
    for (const Stretch& s : stretches_) {
        double model = 0.0, whole = 0.0;
        for (std::size_t j = 0; j < s.own.size(); ++j) {
            model += s.own[j] * x[j];
            whole += std::max(0.0, s.own[j] * x[j]);
        }
        if (!(whole > 0.0) || !(std::abs(s.modelled) > 0.0)) continue;
        const double missed = (s.modelled - model) * s.credited / s.modelled;
        for (std::size_t j = 0; j < s.own.size(); ++j) {
            extra[j] += missed * std::max(0.0, s.own[j] * x[j]) / whole;
        }
    }
    for (std::size_t i = 0; i < p; ++i) {
        e[i] += extra[i];
        cov(i, i) += var[i];
        if (i > 0) e[i] = std::max(0.0, e[i]);
        if (own[i] != 0.0) continue;
        e[i] = 0.0;
        for (std::size_t j = 0; j < p; ++j) cov(i, j) = cov(j, i) = 0.0;
    }
    const double parts = std::accumulate(e.begin(), e.end(), 0.0);
    const bool known = total.has_value() || contiguous_;
    out.total = total ? *total : contiguous_ ? sum_value_ : parts;
    out.residual = out.total - parts;
    if (known) {
        const double gain2 = contiguous_ ? 0.0 : settings_.gain_std * settings_.gain_std;
        reconcile(e, cov, out.total, gain2);
    } else {
        out.residual = sum_value_;
        for (std::size_t i = 0; i < room_; ++i) out.residual -= row_sum_[i] * x[i];
    }

    const std::size_t k = n_classes_;
    out.time_s = time_s();
    out.idle_s = idle_s_;
    out.cov = Matrix(k, k);
    std::vector<double> prior_std(k);
    for (std::size_t j = 0; j < k; ++j) {
        const std::size_t i = j + 1;
        for (std::size_t q = 0; q < k; ++q) out.cov(j, q) = cov(i, q + 1);
        out.energy.push_back(e[i]);
        out.energy_std.push_back(std::sqrt(std::max(0.0, cov(i, i))));
        const bool ran = out.time_s[j] > 0.0;
        out.rate.push_back(ran ? e[i] / out.time_s[j] : x[i]);
        out.rate_std.push_back(ran ? out.energy_std[j] / out.time_s[j] : std::sqrt(v(i, i)));
        prior_std[j] = std::abs(own[i]) * before.std[i];
    }
    const bool idles = settings_.baseline && idle_s_ > 0.0;
    out.baseline_energy = idles ? e[0] : 0.0;
    out.baseline_std = idles ? std::sqrt(std::max(0.0, cov(0, 0))) : 0.0;
    out.baseline_rate = settings_.baseline ? (idles ? e[0] / idle_s_ : x[0]) : kNaN;
    out.baseline_rate_std = settings_.baseline ? std::sqrt(v(0, 0)) : kNaN;
    out.unattributed = out.total - out.baseline_energy;
    for (const double j : out.energy) out.unattributed -= j;
    out.hyper.edge_std_ns = sum_edge_ns_ / static_cast<double>(n_) * std::sqrt(hyper_.edge_scale);
    find_groups(out.energy, out.cov, prior_std, told, out);
    return out;
}

}  // namespace picojoule
