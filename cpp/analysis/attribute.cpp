#include "analysis/attribute.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <thread>

#include "analysis/drift.h"
#include "analysis/posterior.h"
#include "analysis/rows.h"
#include "analysis/told.h"
#include "analysis/tridiagonal.h"

namespace picojoule {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
// Up to so many multiplications the evidence is computed anew for each trial of the noise; beyond,
// the noise is fitted to residuals, which for so many readings is as good.
constexpr double kSmall = 3e7;
// Residuals of more than so many (robust) standard deviations are no noise; if they are more than
// this share of all, it is the model that is wrong and not the readings.
constexpr double kFar = 6.0;
constexpr double kMostOutliers = 0.03;
constexpr std::size_t kFewReadings = 20;
// So many readings a rate are more than enough to find the size of the noise, from these runs of
// them.
constexpr std::size_t kEnough = 40;
constexpr std::size_t kSketchRun = 64;

struct Normal {
    Matrix a;
    std::vector<double> c;
    double yy{};
    double log_det_noise{};
};

class Solver {
  public:
    explicit Solver(const AttributeInput& in)
        : in_(in), eq_(in), n_(in.value.size()), k_(in.n_classes), p_(k_ + 1) {}

    Attributed run();

  private:
    [[nodiscard]] unsigned threads() const {
        const unsigned have = std::max(1U, std::thread::hardware_concurrency());
        return in_.threads != 0 ? in_.threads : std::min(8U, have);
    }
    [[nodiscard]] std::size_t width() const { return p_ + drift_.terms(); }
    void shape_noise();
    [[nodiscard]] Normal normal(const Tridiagonal& noise, bool sketch = false) const;
    [[nodiscard]] Prior prior() const;
    [[nodiscard]] double evidence(const Normal& normal, const Prior& prior) const;
    void set_free(const std::vector<double>& x);
    void fit_by_evidence();
    void fit_by_residuals();
    void solve_rates(bool sketch = false);
    [[nodiscard]] std::vector<double> residuals() const;
    void look_for_drift();
    void set_outliers_aside();
    void credit_deviations(std::vector<double>& e, Matrix& cov) const;
    void add_clock_error(Matrix& v) const;
    [[nodiscard]] std::vector<std::uint8_t> rest_on_priors(const Matrix& v) const;
    [[nodiscard]] Attributed account();

    const AttributeInput& in_;
    Equations eq_;
    std::size_t n_, k_, p_;
    Rows rows_;
    DriftBasis drift_;
    NoiseShape shape_;
    std::vector<double> aside2_;  // further variance of readings that no noise explains
    Hyper hyper_;
    double mean_rate_{};
    double process0_{};      // a scale for `process`
    std::vector<double> x_;  // rates, baseline, drift
    std::vector<std::uint8_t> free_;
    Matrix factor_;  // of the posterior precision
};

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
            for (const Entry& e : rows_.row(k)) u[e.col] += e.s;
            drift_.add(k, u.data() + p_);
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
        out.mean[j] = given ? in_.prior_rate[j] : mean_rate_;
        const double cv = given ? hyper_.prior_scale * in_.prior_cv[j] : hyper_.contrast;
        out.std[j] = std::max(floor, cv * std::abs(out.mean[j]));
    }
    out.mean[k_] = in_.baseline ? 0.4 * mean_rate_ : 0.0;
    out.std[k_] = std::max(floor, in_.baseline ? 0.6 * std::abs(mean_rate_) : 0.0);
    for (std::size_t m = p_; m < width(); ++m) {
        out.mean[m] = 0.0;
        out.std[m] = kDriftStd;
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
        const Tridiagonal noise(shape_, {hyper_.edge_scale, hyper_.process});
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
    const Tridiagonal noise(shape_, {hyper_.edge_scale, hyper_.process});
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
        r[k] = in_.value[k] - rows_.dot(k, x_) - drift_.dot(k, x_.data() + p_);
    }
    return r;
}

void Solver::look_for_drift() {
    std::vector<double> t(n_), model(n_);
    for (std::size_t k = 0; k < n_; ++k) {
        t[k] = eq_.middle_s(k);
        model[k] = rows_.dot(k, x_);
    }
    const Tridiagonal noise(shape_, {hyper_.edge_scale, hyper_.process});
    drift_.update(t, shape_.length_s, model, residuals(), noise);
    x_.resize(width(), 0.0);
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
    const Tridiagonal noise(shape_, {hyper_.edge_scale, hyper_.process});
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

Attributed Solver::run() {
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
    // A thousandth of the energy of a window, to begin with.
    const double typical = n_ > 0 ? length / static_cast<double>(n_) : 1.0;
    process0_ = std::max(1e-24, 1e-6 * mean_rate_ * mean_rate_ * typical);
    hyper_.process = process0_;
    aside2_.assign(n_, 0.0);
    for (const AttributeInput::Covariate& c : in_.drift) {
        if (n_ == 0) break;
        std::vector<double> t_s;
        for (const std::int64_t t : c.t_ns) {
            t_s.push_back(1e-9 * static_cast<double>(t - in_.begin_ns.front()));
        }
        drift_.give(std::move(t_s), {c.value.begin(), c.value.end()});
    }
    x_.assign(width(), mean_rate_);
    if (!in_.baseline) x_[k_] = 0.0;
    shape_noise();
    const double work = static_cast<double>(n_) * static_cast<double>(p_ * p_);
    const bool small = work <= kSmall;
    const int rounds = small ? 3 : work <= 1e9 ? 2 : 1;
    for (int round = 0; round < rounds; ++round) {
        if (n_ > 0 && small) fit_by_evidence();
        // Rates that only serve to find the noise need not be the best ones.
        solve_rates(rounds == 1 && n_ > kEnough * width());
        if (n_ > 0 && !small) fit_by_residuals();
        if (n_ > 0) {
            look_for_drift();
            set_outliers_aside();
        }
        shape_noise();
    }
    solve_rates();
    return account();
}

// Process noise is energy: a window that had more than its rates say had it from what ran in it.
// What of its residual is that (the best linear prediction, given all noise) goes there.
void Solver::credit_deviations(std::vector<double>& e, Matrix& cov) const {
    if (n_ == 0) return;
    const Tridiagonal noise(shape_, {hyper_.edge_scale, hyper_.process});
    const std::vector<double> pull = noise.solve(residuals());
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

// Edges on one clock err together, which the noise of single readings does not know: what such an
// error does to the rates (the response of the estimate to it) is added to their covariance.
void Solver::add_clock_error(Matrix& v) const {
    const ClockError& clock = eq_.clock_error();
    if (n_ == 0 || !(clock.offset2_ns2 > 0.0)) return;
    const std::size_t w = width();
    const Tridiagonal noise(shape_, {hyper_.edge_scale, hyper_.process});
    std::vector<double> shift(n_), seen(w), drift(w - p_), response(w);
    for (const bool grows : {false, true}) {
        for (std::size_t k = 0; k < n_; ++k) {
            shift[k] = 1e-9 * (eq_.end_rate(k, x_) - eq_.begin_rate(k, x_));
            if (grows) shift[k] *= eq_.middle_s(k) * 1e9 - clock.at_ns;
        }
        const std::vector<double> pull = noise.solve(shift);
        std::fill(seen.begin(), seen.end(), 0.0);
        for (std::size_t k = 0; k < n_; ++k) {
            for (const Entry& e : rows_.row(k)) seen[e.col] += e.s * pull[k];
            std::fill(drift.begin(), drift.end(), 0.0);
            drift_.add(k, drift.data());
            for (std::size_t m = 0; m < drift.size(); ++m) seen[p_ + m] += drift[m] * pull[k];
        }
        for (std::size_t i = 0; i < w; ++i) {
            if (free_[i] == 0) seen[i] = 0.0;
        }
        for (std::size_t i = 0; i < w; ++i) {
            response[i] = 0.0;
            for (std::size_t j = 0; j < w; ++j) response[i] += v(i, j) * seen[j];
        }
        const double variance = grows ? clock.slope2 : clock.offset2_ns2;
        for (std::size_t i = 0; i < w; ++i) {
            for (std::size_t j = 0; j < w; ++j) v(i, j) += variance * response[i] * response[j];
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

Attributed Solver::account() {
    Attributed out;
    const std::size_t w = width();
    const Rows rows = eq_.accounted(hyper_.sharing);
    // Energy of class j: own[j] x_j + base[j] x_K, and with the drift d(t) its share of that.
    std::vector<double> own(p_, 0.0);
    Matrix map(p_, w);  // energies = map . x
    std::vector<double> drift_here(drift_.terms());
    const auto& middle = eq_.accounted_middle_s();
    for (std::size_t i = 0; i < rows.size(); ++i) {
        drift_.at(middle[i], drift_here.data());
        for (const Entry& e : rows.row(i)) {
            own[e.col] += e.s;
            for (std::size_t m = 0; m < drift_here.size(); ++m) {
                map(e.col, p_ + m) += e.s * x_[e.col] * drift_here[m];
            }
        }
    }
    std::vector<double> base = eq_.baseline_shares(hyper_.sharing);
    for (std::size_t j = 0; j < k_; ++j) {
        map(j, j) = own[j];
        map(j, k_) += base[j];
        own[k_] -= base[j];
    }
    map(k_, k_) = own[k_];
    Matrix v = inverse(factor_);
    add_clock_error(v);
    Matrix mv(p_, w);
    for (std::size_t j = 0; j < p_; ++j) {
        for (std::size_t i = 0; i < w; ++i) {
            if (map(j, i) == 0.0) continue;
            for (std::size_t c = 0; c < w; ++c) mv(j, c) += map(j, i) * v(i, c);
        }
    }
    std::vector<double> e(p_, 0.0);
    Matrix cov(p_, p_);
    for (std::size_t j = 0; j < p_; ++j) {
        for (std::size_t i = 0; i < w; ++i) e[j] += map(j, i) * x_[i];
    }
    for (std::size_t j = 0; j < p_; ++j) {
        for (std::size_t c = 0; c < p_; ++c) {
            double s =
                mv(j, c) * map(c, c) + (c < k_ && map(c, k_) != 0.0 ? mv(j, k_) * map(c, k_) : 0.0);
            for (std::size_t m = p_; m < w; ++m) s += mv(j, m) * map(c, m);
            cov(j, c) = s;
        }
    }
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
        // Readings of a gauge and the total may come from sensors whose gains differ.
        const double gain2 = contiguous ? 0.0 : in_.gain_std * in_.gain_std;
        reconcile(e, cov, out.total, gain2);
    }
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
    double edge = 0.0;
    for (std::size_t k = 0; k < n_; ++k) edge += eq_.end_std_ns(k) / static_cast<double>(n_);
    hyper_.edge_std_ns = (eq_.has_std() ? edge : kUnknownEdgeNs) * std::sqrt(hyper_.edge_scale);
    out.hyper = hyper_;
    find_groups(out.energy, out.cov, prior_std, rest_on_priors(v), out);
    return out;
}

}  // namespace

Attributed attribute(const AttributeInput& input) {
    Attributed found = Solver(input).run();
    const bool told = std::any_of(input.edge_std_ns.begin(), input.edge_std_ns.end(),
                                  [](double s) { return s > 0.0; });
    if (told || input.value.size() < kFewReadings) return found;
    // Now that it is known how far edges are off, it is known too what may lie beyond them.
    const std::vector<double> edge_std(input.value.size(), found.hyper.edge_std_ns);
    AttributeInput again = input;
    again.edge_std_ns = edge_std;
    again.settle_edges = false;
    return Solver(again).run();
}

}  // namespace picojoule
