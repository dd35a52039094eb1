#include "analysis/sensor_identify.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>

#include "analysis/sensor_fit.h"

namespace picojoule {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr std::size_t kFewTicks = 12;
constexpr std::size_t kMostReadings = 1500;  // more would cost time and tell little
constexpr std::size_t kCoarseReadings = 300;
constexpr int kCoarseCells = 3;
constexpr int kCells = 9;
constexpr std::size_t kStarts = 6;  // points of the grid from which the search goes on,
constexpr double kApart = 2.5;      // so many first steps apart
// A parameter is the readings' if they left less than this of the doubt there was before.
constexpr double kLearned = 0.7;
// Of what is not in the table: a factor e^1.5 either way around the period.
constexpr double kVagueLog = 1.5;
constexpr double kVagueDelay = 0.5;  // periods
constexpr double kVagueGain = 0.2;
constexpr double kVagueOffset = 30.0;
// Log evidence beyond which the other shape is believed: against the usual one, and against one
// that was measured on this family. Residuals are never quite what the model says.
constexpr double kDecided = 3.0;
constexpr double kDecidedAgainstTable = 12.0;
constexpr double kLeastNoise = 1e-3;

// Unknowns: log of window or tau, and delay in periods. Counters: the delay only.
using Point = std::vector<double>;

struct Best {
    SensorShape shape{};
    Point x;
    Judged judged;
    double cost{kInf};
    Matrix cov;  // of x
    double evidence{-kInf};
};

class Identifier {
  public:
    Identifier(const SensorSeries& series, bool counter, SensorReference& reference,
               const SensorPrior* prior, std::optional<SensorShape> shape)
        : counter_(counter), reference_(reference), prior_(prior), told_(shape) {
        out_.ticks = series.ticks.size();
        out_.clock = fit_sensor_clock(series.ticks, series.period_ns, series.period_cv);
        period_ = out_.clock.period_ns;
        collect(series);
    }

    Identified run();

  private:
    void collect(const SensorSeries& series);
    [[nodiscard]] LinearPrior linear() const;
    [[nodiscard]] SensorFit fit_of(std::size_t most) const;
    [[nodiscard]] Response response(SensorShape shape, const Point& x) const;
    // Mean and spread of the unknowns before the readings.
    [[nodiscard]] std::pair<Point, Point> before(SensorShape shape) const;
    [[nodiscard]] double prior_cost(SensorShape shape, const Point& x) const;
    [[nodiscard]] std::vector<Point> grid(SensorShape shape) const;
    [[nodiscard]] Best search(SensorShape shape) const;
    void curvature(SensorFit& fit, Best& best) const;
    void report(const Best& best);
    void fall_back();

    bool counter_;
    SensorReference& reference_;
    const SensorPrior* prior_;
    std::optional<SensorShape> told_;
    Identified out_;
    double period_{};
    double least_noise_{kLeastNoise};
    std::vector<TickReading> readings_;
};

void Identifier::collect(const SensorSeries& series) {
    const ClockFit& clock = out_.clock;
    const std::size_t n = series.ticks.size();
    if (n == 0) return;
    const double common = *std::min_element(clock.std_ns.begin(), clock.std_ns.end());
    double step = kInf;
    std::vector<double> sorted = series.value;
    std::erase_if(sorted, [](double v) { return std::isnan(v); });
    std::sort(sorted.begin(), sorted.end());
    for (std::size_t i = 1; i < sorted.size(); ++i) {
        if (sorted[i] > sorted[i - 1]) step = std::min(step, sorted[i] - sorted[i - 1]);
    }
    for (std::size_t k = 1; k < n; ++k) {
        TickReading r;
        r.tick_ns = clock.time_ns[k];
        r.before_ns = clock.time_ns[k - 1];
        // What all ticks have in common is the delay's doubt, and counted there.
        const double own2 = clock.std_ns[k] * clock.std_ns[k] - common * common;
        r.std_ns = std::min(clock.std_ns[k],
                            std::sqrt(std::max(0.0, own2) + clock.jitter_ns * clock.jitter_ns));
        r.lo_ns = series.ticks[k].old_ns;
        r.hi_ns = series.ticks[k].new_ns;
        r.value = series.value[k];
        if (counter_) r.value /= 1e-9 * (r.tick_ns - r.before_ns);
        const bool known = !reference_.power || (r.tick_ns > reference_.begin_ns &&
                                                 r.tick_ns < reference_.end_ns - period_);
        if (known && std::isfinite(r.value)) readings_.push_back(r);
    }
    if (readings_.empty()) return;
    const auto [lo, hi] =
        std::minmax_element(readings_.begin(), readings_.end(),
                            [](const auto& a, const auto& b) { return a.value < b.value; });
    const double range = hi->value - lo->value;
    least_noise_ = std::max({kLeastNoise, 1e-5 * range, std::min(0.3 * step, 1e-2 * range)});
    if (counter_) least_noise_ = std::max({kLeastNoise, 1e-5 * range});
}

LinearPrior Identifier::linear() const {
    LinearPrior out;
    const bool told = prior_ != nullptr;
    if (reference_.power) {
        out.mean = {told ? prior_->gain.mean : 1.0, told ? prior_->offset_w.mean : 0.0};
        out.std = {told ? prior_->gain.std : kVagueGain,
                   told ? prior_->offset_w.std : kVagueOffset};
        return out;
    }
    double lo = kInf, hi = -kInf, mean = 0.0;
    for (const TickReading& r : readings_) {
        lo = std::min(lo, r.value), hi = std::max(hi, r.value);
        mean += r.value / static_cast<double>(readings_.size());
    }
    const double wide = 3.0 * std::max(hi - lo, 1.0);
    out.mean.assign(reference_.columns.size(), 0.0);
    out.std.assign(reference_.columns.size(), wide);
    out.mean.push_back(mean);
    out.std.push_back(wide);
    return out;
}

SensorFit Identifier::fit_of(std::size_t most) const {
    const std::size_t n = readings_.size();
    const std::size_t stride = (n + most - 1) / most;
    std::vector<TickReading> some;
    for (std::size_t k = 0; k < n; k += stride) some.push_back(readings_[k]);
    return {std::move(some), reference_, linear(), least_noise_};
}

Response Identifier::response(SensorShape shape, const Point& x) const {
    Response r;
    r.shape = shape;
    r.delay_ns = x.back() * period_;
    const double scale = x.size() > 1 ? std::exp(std::clamp(x[0], -12.0, 6.0)) * period_ : 0.0;
    if (shape == SensorShape::boxcar) r.window_ns = scale;
    if (shape == SensorShape::lag) r.tau_ns = scale;
    return r;
}

std::pair<Point, Point> Identifier::before(SensorShape shape) const {
    if (shape == SensorShape::integral) return {{0.0}, {kVagueDelay}};
    const bool box = shape == SensorShape::boxcar;
    Known known = prior_ == nullptr ? Known{kNaN, kNaN} : box ? prior_->window_s : prior_->tau_s;
    if (std::isnan(known.mean)) return {{box ? -0.7 : 0.0, 0.0}, {kVagueLog, kVagueDelay}};
    return {{std::log(known.mean * 1e9 / period_), 0.0}, {known.std / known.mean, kVagueDelay}};
}

double Identifier::prior_cost(SensorShape shape, const Point& x) const {
    const auto [mean, std] = before(shape);
    double cost = 0.0;
    for (std::size_t i = 0; i < x.size(); ++i) {
        const double z = (x[i] - mean[i]) / std[i];
        cost += 0.5 * z * z + std::log(std[i] * 2.5066283);
    }
    return cost;
}

std::vector<Point> Identifier::grid(SensorShape shape) const {
    std::vector<double> delays;
    for (double d = -1.0; d <= 1.5; d += 1.0 / 16.0) delays.push_back(d);
    std::vector<Point> out;
    if (shape == SensorShape::integral) {
        for (const double d : delays) out.push_back({d});
        return out;
    }
    const auto [mean, std] = before(shape);
    std::vector<double> scales;
    if (std[0] < 0.5 * kVagueLog) {  // the table says where to look, and a little beyond
        for (double z = -6.0; z <= 6.0; z += 1.5) scales.push_back(mean[0] + z * std[0]);
    } else {
        for (double s = std::log(0.03); s < std::log(15.0); s += 0.14) scales.push_back(s);
    }
    for (const double s : scales) {
        for (const double d : delays) out.push_back({s, d});
    }
    return out;
}

Best Identifier::search(SensorShape shape) const {
    SensorFit coarse = fit_of(kCoarseReadings);
    std::vector<std::pair<double, Point>> seen;
    for (Point& x : grid(shape)) {
        const double cost =
            coarse.judge(response(shape, x), kCoarseCells).cost + prior_cost(shape, x);
        seen.emplace_back(cost, std::move(x));
    }
    std::stable_sort(seen.begin(), seen.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    SensorFit fit = fit_of(kMostReadings);
    const auto cost = [&](const Point& x) {
        return fit.judge(response(shape, x), kCells).cost + prior_cost(shape, x);
    };
    const Point step = shape == SensorShape::integral ? Point{0.02} : Point{0.08, 0.02};
    Best best;
    best.shape = shape;
    std::vector<Point> tried;
    for (const auto& [unused, start] : seen) {
        if (tried.size() == kStarts) break;
        const bool near = std::any_of(tried.begin(), tried.end(), [&](const Point& t) {
            double far = 0.0;
            for (std::size_t i = 0; i < t.size(); ++i) {
                far = std::max(far, std::abs(t[i] - start[i]) / step[i]);
            }
            return far < kApart;
        });
        if (near) continue;
        tried.push_back(start);
        Point x = least(cost, start, step, 60);
        if (const double c = cost(x); c < best.cost) {
            best.cost = c;
            best.x = std::move(x);
        }
    }
    Point fine = step;
    for (double& s : fine) s *= 0.1;
    best.x = least(cost, best.x, fine, 80);
    best.cost = cost(best.x);
    best.judged = fit.judge(response(shape, best.x), kCells);
    curvature(fit, best);
    return best;
}

// Second differences over steps at which the cost has risen by about one half: over smaller ones
// the pieces of the model would be seen, over larger ones its tails.
void Identifier::curvature(SensorFit& fit, Best& best) const {
    const std::size_t d = best.x.size();
    const auto cost = [&](const Point& x) {
        return fit.judge(response(best.shape, x), kCells).cost + prior_cost(best.shape, x);
    };
    const auto [mean, std] = before(best.shape);
    Point h(d);
    Matrix hessian(d, d);
    for (std::size_t i = 0; i < d; ++i) {
        double step = 1e-4;
        double rise = 0.0;
        for (int tries = 0; tries < 16; ++tries) {
            Point up = best.x, down = best.x;
            up[i] += step, down[i] -= step;
            rise = 0.5 * (cost(up) + cost(down)) - best.cost;
            if (rise > 0.3 || step > 2.0 * std[i]) break;
            step *= 2.0;
        }
        h[i] = step;
        hessian(i, i) = std::max(2.0 * rise / (step * step), 1.0 / (std[i] * std[i]));
    }
    for (std::size_t i = 0; i < d; ++i) {
        for (std::size_t j = 0; j < i; ++j) {
            double mixed = 0.0;
            for (const double s : {1.0, -1.0}) {
                for (const double t : {1.0, -1.0}) {
                    Point x = best.x;
                    x[i] += 0.7 * s * h[i], x[j] += 0.7 * t * h[j];
                    mixed += s * t * cost(x);
                }
            }
            mixed /= 4.0 * 0.49 * h[i] * h[j];
            const double most = 0.95 * std::sqrt(hessian(i, i) * hessian(j, j));
            hessian(i, j) = std::clamp(mixed, -most, most);
        }
    }
    cholesky(hessian);
    best.cov = inverse(hessian);
    best.evidence =
        -best.cost - 0.5 * log_det(hessian) + 0.5 * static_cast<double>(d) * std::log(6.2831853);
}

void Identifier::report(const Best& best) {
    out_.fitted = true;
    out_.shape = best.shape;
    out_.noise_w = best.judged.noise;
    // Neighbours that err alike are fewer than they seem.
    const double echo = best.judged.echo;
    const double widen = std::sqrt((1.0 + echo) / (1.0 - echo));
    const auto [mean, std] = before(best.shape);
    const std::size_t d = best.x.size();
    const auto spread = [&](std::size_t i) {
        return std::min(std[i], widen * std::sqrt(best.cov(i, i)));
    };
    const double delay_std = spread(d - 1) * period_;
    const double common = *std::min_element(out_.clock.std_ns.begin(), out_.clock.std_ns.end());
    out_.delay_ns = {best.x.back() * period_, std::hypot(delay_std, common),
                     delay_std < kLearned * std[d - 1] * period_};
    const Fitted none{0.0, 0.0, true};
    out_.window_ns = out_.tau_ns = none;
    if (best.shape == SensorShape::integral) {
        out_.window_ns = {period_, out_.clock.period_std_ns, true};
    } else {
        const double scale = std::exp(best.x[0]) * period_;
        Fitted& f = best.shape == SensorShape::boxcar ? out_.window_ns : out_.tau_ns;
        f = {scale, scale * spread(0), spread(0) < kLearned * std[0]};
    }
    if (!reference_.power) return;
    const LinearPrior prior = linear();
    SensorFit fit = fit_of(kMostReadings);
    // The factors' own doubt, and that which they have from the window's and the delay's.
    std::array<double, 2> var{best.judged.covariance(0, 0), best.judged.covariance(1, 1)};
    std::vector<std::array<double, 2>> by(d);
    for (std::size_t i = 0; i < d; ++i) {
        const double s = std::sqrt(best.cov(i, i));
        Point up = best.x, down = best.x;
        up[i] += s, down[i] -= s;
        const Judged a = fit.judge(response(best.shape, up), kCells);
        const Judged b = fit.judge(response(best.shape, down), kCells);
        for (std::size_t c = 0; c < 2; ++c) by[i][c] = 0.5 * (a.factor[c] - b.factor[c]) / s;
    }
    for (std::size_t i = 0; i < d; ++i) {
        for (std::size_t j = 0; j < d; ++j) {
            for (std::size_t c = 0; c < 2; ++c) var[c] += by[i][c] * by[j][c] * best.cov(i, j);
        }
    }
    const auto factor = [&](std::size_t c) -> Fitted {
        const double s = std::min(prior.std[c], widen * std::sqrt(var[c]));
        return {best.judged.factor[c], s, s < kLearned * prior.std[c]};
    };
    out_.gain = factor(0);
    out_.offset_w = factor(1);
}

// The table's answer, or none.
void Identifier::fall_back() {
    const auto of = [](const Known& k) { return Fitted{k.mean, k.std, false}; };
    const Fitted nothing{kNaN, kInf, false};
    if (prior_ == nullptr) {
        out_.shape = counter_ ? SensorShape::integral : SensorShape::boxcar;
        out_.window_ns = out_.delay_ns = out_.tau_ns = out_.gain = out_.offset_w = nothing;
        out_.noise_w = kNaN;
        return;
    }
    out_.shape = prior_->shape;
    const Fitted none{0.0, 0.0, false};
    const auto known = [&](const Known& k) { return std::isnan(k.mean) ? nothing : of(k); };
    out_.window_ns = prior_->shape == SensorShape::lag ? none : known(prior_->window_s);
    out_.tau_ns = prior_->shape == SensorShape::lag ? known(prior_->tau_s) : none;
    for (Fitted* f : {&out_.window_ns, &out_.tau_ns}) {
        f->value *= 1e9;
        f->std *= 1e9;
    }
    const double period = period_ > 0.0 ? period_ : prior_->period_s.mean * 1e9;
    out_.delay_ns = {0.0, kVagueDelay * period, false};
    out_.gain = of(prior_->gain);
    out_.offset_w = of(prior_->offset_w);
    out_.noise_w = prior_->noise_w;
}

Identified Identifier::run() {
    fall_back();
    out_.shape_odds = kNaN;
    if (readings_.size() < kFewTicks || period_ <= 0.0) return std::move(out_);
    if (told_) {
        report(search(*told_));
        return std::move(out_);
    }
    const SensorShape first = counter_ ? SensorShape::integral : SensorShape::boxcar;
    const SensorShape second = counter_ ? SensorShape::boxcar : SensorShape::lag;
    const Best a = search(first), b = search(second);
    const double odds = a.evidence - b.evidence;
    const double against = prior_ != nullptr ? kDecidedAgainstTable : kDecided;
    const bool swapped = prior_ != nullptr && prior_->shape == second;
    const bool take_first = swapped ? odds > against : odds > -against;
    report(take_first ? a : b);
    out_.shape_odds = take_first ? odds : -odds;
    return std::move(out_);
}

}  // namespace

Identified identify_sensor(const SensorSeries& series, bool counter, SensorReference& reference,
                           const SensorPrior* prior, std::optional<SensorShape> shape) {
    return Identifier(series, counter, reference, prior, shape).run();
}

}  // namespace picojoule
