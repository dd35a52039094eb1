#include "analysis/solver.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <thread>
#include <utility>

namespace picojoule {
namespace {

// Up to so many multiplications the evidence is computed anew for each trial of the noise; beyond,
// the noise is fitted to residuals, which for so many readings is as good.
constexpr double kSmall = 3e7;
// Residuals of more than so many (robust) standard deviations are no noise; if they are more than
// this share of all, it is the model that is wrong and not the readings.
constexpr double kFar = 6.0;
constexpr double kMostOutliers = 0.03;
// What ran before the first span and reading may differ from the mean by so much of it.
constexpr double kUnknownLoad = 0.5;
constexpr std::size_t kFewReadings = 20;
// So many readings a rate are more than enough to find the size of the noise, from these runs of
// them.
constexpr std::size_t kEnough = 40;
constexpr std::size_t kSketchRun = 64;

}  // namespace

unsigned Solver::threads() const {
    const unsigned have = std::max(1U, std::thread::hardware_concurrency());
    return in_.threads != 0 ? in_.threads : std::min(8U, have);
}

// Which errors of the clock are fitted: those around a path that was found, or those that all edges
// have together which were put on the sensor's clock.
void Solver::shape_clock() {
    if (in_.lag_s > 0.0) return;  // what lags does not follow the rates at an edge
    const ClockError& error = eq_.clock_error();
    if (in_.clock != nullptr) {
        clock_ = *in_.clock;
    } else if (error.offset2_ns2 > 0.0) {
        clock_.middle_s = 1e-9 * error.at_ns;
        clock_.half_s = std::max(1e-9, 0.5 * (eq_.middle_s(n_ - 1) - eq_.middle_s(0)));
        clock_.terms = {{ClockTerm::Kind::offset, 0.0, std::sqrt(error.offset2_ns2)}};
        const double rate_ns = std::sqrt(error.slope2) * clock_.half_s * 1e9;
        if (rate_ns > 0.0) clock_.terms.push_back({ClockTerm::Kind::rate, 0.0, rate_ns});
    }
    clock_.ns.assign(clock_.size(), 0.0);
}

// (n, terms): what a nanosecond of each term is in joules, at the rates as they are.
std::vector<double> Solver::clock_columns(const ClockPath& path) const {
    const std::size_t q = path.size();
    std::vector<double> out(n_ * q);
    for (std::size_t k = 0; k < n_; ++k) {
        const double begin = 1e-9 * eq_.begin_rate(k, x_), end = 1e-9 * eq_.end_rate(k, x_);
        const double from_s = eq_.begin_s(k), to_s = eq_.end_s(k);
        for (std::size_t m = 0; m < q; ++m) {
            out[k * q + m] = end * path.shape(m, to_s) - begin * path.shape(m, from_s);
        }
    }
    return out;
}

void Solver::shape_noise() {
    shape_.value2.resize(n_);
    shape_.length_s.resize(n_);
    shape_.begin2.resize(n_);
    shape_.end2.resize(n_);
    shape_.shared.assign(in_.shared.begin(), in_.shared.end());
    shape_.shared.resize(n_, 0);
    const auto edge = [&](double rate, double std_ns) {
        const double s = 1e-9 * (eq_.has_std() ? std_ns : kUnknownEdgeNs) *
                         std::max(rate, 0.02 * std::abs(mean_rate_));
        return s * s;
    };
    for (std::size_t k = 0; k < n_; ++k) {
        shape_.value2[k] = in_.value_std[k] * in_.value_std[k] + aside2_[k];
        shape_.length_s[k] = eq_.length_s(k);
        if (in_.lag_s > 0.0) {  // of what ran before anything is known of, something is left
            const double left = std::exp(-(eq_.begin_s(k) - known_from_s_) / in_.lag_s);
            const double joules = kUnknownLoad * mean_rate_ * left * eq_.length_s(k);
            shape_.value2[k] += joules * joules;
        }
        const double begin = eq_.begin_rate(k, x_), end = eq_.end_rate(k, x_);
        if (!in_.shifted.empty() &&
            in_.shifted[k] != 0) {  // what comes in at one edge goes out at the other
            shape_.begin2[k] = 0.0;
            shape_.end2[k] = edge(std::abs(end - begin), eq_.end_std_ns(k));
            continue;
        }
        shape_.begin2[k] = edge(begin, eq_.begin_std_ns(k));
        shape_.end2[k] = edge(end, eq_.end_std_ns(k));
    }
    // One edge, one variance.
    for (std::size_t k = 0; k + 1 < n_; ++k) {
        if (shape_.shared[k] != 0) shape_.begin2[k + 1] = shape_.end2[k];
    }
    clock_column_ = clock_columns(clock_);
}

Normal Solver::normal(const Tridiagonal& noise, bool sketch) const {
    const std::size_t w = width();
    Normal out;
    out.a = Matrix(w, w);
    out.c.assign(w, 0.0);
    out.log_det_noise = noise.log_det();
    constexpr std::size_t kBatch = 96;
    const double work = static_cast<double>(n_) * static_cast<double>(w * w);
    const std::size_t parts = work > 2e7 ? std::min<std::size_t>(threads(), (w + 63) / 64) : 1;
    // Each thread whitens all rows (cheap) and adds up its own rows of the matrix: no sum depends
    // on how many threads there are.
    const auto part = [&](std::size_t me) {
        Panels batch(kBatch, w);
        std::vector<double> u(w, 0.0), c(w, 0.0);
        double y = 0.0, yy = 0.0;
        for (std::size_t k = 0; k < n_; ++k) {
            const double link = noise.link(k);
            if (link == 0.0) {
                std::fill(u.begin(), u.end(), 0.0);
            } else {
                for (double& v : u) v *= -link;
            }
            add_equation(k, u.data());
            y = in_.value[k] - link * y;
            const double weight = noise.weight(k);
            // Whitened rows are independent: a quarter of them has a quarter of what all know.
            if (sketch && k / kSketchRun % 4 != 0) continue;
            if (me == 0) {
                for (std::size_t i = 0; i < w; ++i) c[i] += u[i] * y * weight;
                yy += y * y * weight;
            }
            batch.add(u.data(), std::sqrt(weight));
            if (!batch.full()) continue;
            add_outer(out.a, batch, me, parts);
            batch.clear();
        }
        add_outer(out.a, batch, me, parts);
        if (me == 0) {
            out.c = std::move(c);
            out.yy = yy;
        }
    };
    std::vector<std::thread> others;
    for (std::size_t i = 1; i < parts; ++i) others.emplace_back(part, i);
    part(0);
    for (std::thread& t : others) t.join();
    return out;
}

Prior Solver::prior() const {
    Prior out;
    out.mean.resize(width());
    out.std.resize(width());
    out.set.assign(width(), 0);
    const double floor = std::max(1e-9, 1e-3 * std::abs(mean_rate_));
    for (std::size_t j = 0; j < k_; ++j) {
        const bool given = !std::isnan(in_.prior_rate[j]);
        out.set[j] = given ? 1 : 2;
        out.mean[j] = given ? in_.prior_rate[j] : usual_rate_;
        const double cv = given ? hyper_.prior_scale * in_.prior_cv[j] : hyper_.contrast;
        out.std[j] = std::max(floor, cv * std::abs(out.mean[j]));
    }
    out.mean[k_] = in_.baseline ? 0.4 * mean_rate_ : 0.0;
    out.std[k_] = std::max(floor, in_.baseline ? 0.6 * std::abs(mean_rate_) : 0.0);
    const std::size_t after_drift = p_ + drift_.terms();
    for (std::size_t m = p_; m < width(); ++m) {
        out.mean[m] = 0.0;
        out.std[m] = m < after_drift ? kDriftStd : clock_.terms[m - after_drift].std_ns;
    }
    out.settle();
    return out;
}

double Solver::evidence(const Normal& normal, const Prior& prior) const {
    Matrix h = normal.a;
    prior.add_to(h);
    std::vector<double> b = prior.pull();
    for (std::size_t i = 0; i < b.size(); ++i) b[i] += normal.c[i];
    if (!cholesky(h)) return std::numeric_limits<double>::lowest();
    std::vector<double> x = b;
    solve(h, x);
    double fit = normal.yy + prior.square();
    for (std::size_t i = 0; i < b.size(); ++i) fit -= b[i] * x[i];
    return -0.5 * (fit + normal.log_det_noise + log_det(h) - prior.log_det +
                   static_cast<double>(n_) * 1.8378770664093453);
}

// Free parameters: log of edge scale, of process noise, of the priors' scale, and sharing.
void Solver::set_free(const std::vector<double>& x) {
    std::size_t i = 0;
    hyper_.edge_scale = std::exp(std::clamp(x[i++], -23.0, 14.0));
    hyper_.process = process0_ * std::exp(std::clamp(x[i++], -23.0, 14.0));
    // That all rates are alike is not what a few of them say.
    const double few = std::clamp(0.1 * (static_cast<double>(k_) - 1.0), 0.0, 1.0);
    const double told = std::clamp(x[i++], -4.0, 4.0);
    const double s = std::exp(told < 0.0 ? few * told : told);
    hyper_.prior_scale = std::max(1.0, s);
    hyper_.contrast = kContrast * std::clamp(s, 0.05, 4.0);
    if (eq_.concurrent()) {
        hyper_.sharing = 1.0 / (1.0 + std::exp(-x[i]));
    }
}

void Solver::fit_by_evidence() {
    std::vector<double> start = {std::log(std::max(1e-9, hyper_.edge_scale)),
                                 std::log(std::max(1e-9, hyper_.process / process0_)),
                                 std::log(hyper_.contrast / kContrast)};
    std::vector<double> step = {1.0, 2.0, 0.7};
    if (eq_.concurrent()) {
        const double q = std::clamp(hyper_.sharing, 0.02, 0.98);
        start.push_back(std::log(q / (1.0 - q)));
        step.push_back(0.8);
    }
    double shared_as = hyper_.sharing;
    const auto cost = [&](const std::vector<double>& x) {
        set_free(x);
        if (hyper_.sharing != shared_as) {
            rows_ = eq_.windows(hyper_.sharing);
            shared_as = hyper_.sharing;
        }
        const Tridiagonal noise = this->noise();
        double log_ev = evidence(normal(noise), prior());
        // What was told is believed within reason; a prior's own spread likewise.
        if (eq_.has_std()) log_ev -= 0.5 * x[0] * x[0] / (0.5 * 0.5);
        const double scale_std = x[2] < 0.0 ? 0.35 : 1.0;
        log_ev -= 0.5 * x[2] * x[2] / (scale_std * scale_std);
        if (eq_.concurrent()) log_ev -= 0.5 * x[3] * x[3] / (1.5 * 1.5);
        return -log_ev;
    };
    const auto best = least(cost, start, step, 90);
    hyper_.log_evidence = -cost(best);
}

void Solver::fit_by_residuals() {
    const std::vector<double> r = residuals();
    // Of n readings, about one for each rate went into the fit.
    double used = static_cast<double>(std::count(free_.begin(), free_.end(), 1));
    used = std::min(used, 0.9 * static_cast<double>(n_));
    const double inflate = static_cast<double>(n_) / (static_cast<double>(n_) - used);
    const auto cost = [&](const std::vector<double>& x) {
        const NoiseScale scale{std::exp(std::clamp(x[0], -23.0, 14.0)),
                               process0_ * std::exp(std::clamp(x[1], -23.0, 14.0))};
        const Tridiagonal noise(shape_, scale);
        double log_ev = -0.5 * (noise.log_det() + inflate * noise.square(r));
        if (eq_.has_std()) log_ev -= 0.5 * x[0] * x[0] / (0.5 * 0.5);
        return -log_ev;
    };
    const auto best =
        least(cost,
              std::vector<double>{std::log(std::max(1e-9, hyper_.edge_scale)),
                                  std::log(std::max(1e-9, hyper_.process / process0_))},
              std::vector<double>{1.0, 2.0}, 90);
    hyper_.edge_scale = std::exp(std::clamp(best[0], -23.0, 14.0));
    hyper_.process = process0_ * std::exp(std::clamp(best[1], -23.0, 14.0));
}

void Solver::solve_rates(bool sketch) {
    const Tridiagonal noise = this->noise();
    const Normal eq = normal(noise, sketch);
    const Prior before = prior();
    Matrix h = eq.a;
    before.add_to(h);
    std::vector<double> b = before.pull();
    for (std::size_t i = 0; i < b.size(); ++i) b[i] += eq.c[i];
    std::vector<std::uint8_t> bounded(width(), 0);
    std::fill_n(bounded.begin(), p_, std::uint8_t{1});
    Bounded found = solve_bounded(h, b, bounded);
    x_ = std::move(found.x);
    free_ = std::move(found.free);
    // Of a rate that is held at 0 the others' doubt knows nothing.
    for (std::size_t i = 0; i < width(); ++i) {
        if (free_[i] != 0) continue;
        for (std::size_t j = 0; j < i; ++j) h(i, j) = 0.0;
        for (std::size_t j = i + 1; j < width(); ++j) h(j, i) = 0.0;
    }
    factor_ = std::move(h);
    cholesky(factor_);
}

std::vector<double> Solver::residuals() const {
    std::vector<double> r(n_);
    for (std::size_t k = 0; k < n_; ++k) {
        r[k] = in_.value[k] - rows_.dot(k, x_) - drift_.dot(k, x_.data() + p_) - clock_dot(k);
    }
    return r;
}

void Solver::look_for_drift() {
    std::vector<double> t(n_), model(n_);
    for (std::size_t k = 0; k < n_; ++k) {
        t[k] = eq_.middle_s(k);
        model[k] = rows_.dot(k, x_);
    }
    const std::size_t had = drift_.terms();
    drift_.update(t, shape_.length_s, model, residuals(), noise());
    // Weights that came or went stand before those of the clock.
    const auto at = x_.begin() + static_cast<std::ptrdiff_t>(p_ + std::min(had, drift_.terms()));
    if (drift_.terms() >= had) {
        x_.insert(at, drift_.terms() - had, 0.0);
    } else {
        x_.erase(at, at + static_cast<std::ptrdiff_t>(had - drift_.terms()));
    }
}

std::vector<double> Solver::drift_factors() const {
    std::vector<double> out(n_, 1.0);
    for (std::size_t k = 0; k < n_; ++k) {
        const double model = rows_.dot(k, x_);
        if (model > 0.0) out[k] += drift_.dot(k, x_.data() + p_) / model;
    }
    return out;
}

double Solver::clock_gain(const ClockPath& path) const {
    const std::size_t q = path.size();
    const std::vector<double> column = clock_columns(path), r = residuals();
    const Tridiagonal noise = this->noise();
    Matrix a(q, q);
    std::vector<double> c(q, 0.0), u(q, 0.0);
    double y = 0.0;
    for (std::size_t k = 0; k < n_; ++k) {
        y = r[k] - noise.link(k) * y;
        for (std::size_t m = 0; m < q; ++m) {
            u[m] = column[k * q + m] - noise.link(k) * u[m];
            c[m] += u[m] * y * noise.weight(k);
            for (std::size_t i = 0; i <= m; ++i) a(m, i) += u[m] * u[i] * noise.weight(k);
        }
    }
    double gain = 0.0;
    for (std::size_t m = 0; m < q; ++m) {
        a(m, m) += 1.0 / (path.terms[m].std_ns * path.terms[m].std_ns);
        gain -= std::log(path.terms[m].std_ns);
    }
    if (!cholesky(a)) return 0.0;
    std::vector<double> x = c;
    solve(a, x);
    gain -= 0.5 * log_det(a);
    for (std::size_t m = 0; m < q; ++m) gain += 0.5 * c[m] * x[m];
    return gain;
}

// A stalled driver, a step of a clock: a few readings that are wrong by far more than all others
// must not decide how good those are.
void Solver::set_outliers_aside() {
    if (n_ < kFewReadings) return;
    std::fill(aside2_.begin(), aside2_.end(), 0.0);
    hyper_.outliers = 0;
    shape_noise();
    const std::vector<double> r = residuals();
    std::vector<double> z(n_);
    const Tridiagonal noise = this->noise();
    double u = 0.0;
    for (std::size_t k = 0; k < n_; ++k) {
        u = r[k] - noise.link(k) * u;
        z[k] = std::abs(u) * std::sqrt(noise.weight(k));
    }
    std::vector<double> sorted = z;
    const auto middle = sorted.begin() + static_cast<std::ptrdiff_t>(n_ / 2);
    std::nth_element(sorted.begin(), middle, sorted.end());
    const double far = kFar * std::max(*middle / 0.6745, 1e-300);
    const auto many = std::count_if(z.begin(), z.end(), [&](double v) { return v > far; });
    if (static_cast<double>(many) > kMostOutliers * static_cast<double>(n_)) return;
    for (std::size_t k = 0; k < n_; ++k) {
        if (z[k] > far) aside2_[k] = r[k] * r[k];
    }
    hyper_.outliers = static_cast<std::size_t>(many);
}

void Solver::fit() {
    double value = 0.0, length = 0.0;
    for (std::size_t k = 0; k < n_; ++k) {
        value += in_.value[k];
        length += eq_.length_s(k);
    }
    if (n_ == 0) {
        value = in_.total->value;
        length = eq_.accounted_s();
    }
    mean_rate_ = length > 0.0 ? value / length : 0.0;
    hyper_.contrast = kContrast;
    hyper_.sharing = eq_.concurrent() ? 0.5 : 0.0;
    rows_ = eq_.windows(hyper_.sharing);
    std::vector<double> spent_s(p_, 0.0);
    for (const Entry& e : rows_.entries) spent_s[e.col] += e.s;
    spent_s.resize(k_);  // without idle time
    usual_rate_ = usual_rate(mean_rate_, length, spent_s);
    // A thousandth of the energy of a window, to begin with.
    const double typical = n_ > 0 ? length / static_cast<double>(n_) : 1.0;
    process0_ = std::max(1e-24, 1e-6 * mean_rate_ * mean_rate_ * typical);
    hyper_.process = process0_;
    aside2_.assign(n_, 0.0);
    if (n_ > 0) {
        shape_clock();
        const auto first = std::min_element(in_.spans.begin_ns.begin(), in_.spans.begin_ns.end());
        known_from_s_ = eq_.begin_s(0);
        if (first != in_.spans.begin_ns.end()) {
            const double at = 1e-9 * static_cast<double>(*first - in_.begin_ns.front());
            known_from_s_ = std::min(known_from_s_, at);
        }
    }
    for (const AttributeInput::Covariate& c : in_.drift) {
        if (n_ == 0) break;
        std::vector<double> t_s;
        for (const std::int64_t t : c.t_ns) {
            t_s.push_back(1e-9 * static_cast<double>(t - in_.begin_ns.front()));
        }
        drift_.give(std::move(t_s), {c.value.begin(), c.value.end()}, c.std_per_unit);
    }
    x_.assign(width(), 0.0);
    std::fill_n(x_.begin(), p_, mean_rate_);
    if (!in_.baseline) x_[k_] = 0.0;
    shape_noise();
    const double work = static_cast<double>(n_) * static_cast<double>(p_ * p_);
    const bool small = work <= kSmall;
    const int rounds = small ? 3 : work <= 1e9 ? 2 : 1;
    for (int round = 0; round < rounds; ++round) {
        if (n_ > 0 && small) fit_by_evidence();
        // Rates that only serve to find the noise need not be the best ones.
        solve_rates(rounds == 1 && n_ > kEnough * width() && !eq_.concurrent());
        if (n_ > 0 && !small) {
            if (eq_.concurrent()) fit_sharing();
            fit_by_residuals();
        }
        if (n_ > 0) {
            look_for_drift();
            set_outliers_aside();
        }
        shape_noise();
    }
    solve_rates();
    if (n_ > 0 && eq_.concurrent()) fit_sharing();
}

}  // namespace picojoule
