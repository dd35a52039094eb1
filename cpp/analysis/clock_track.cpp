#include "analysis/clock_track.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

#include "analysis/clock_blocks.h"
#include "analysis/power_curve.h"

namespace picojoule {
namespace {

constexpr std::size_t kFewest = 48;  // readings, for anything to be said of clocks
constexpr std::size_t kBlock = 16;   // readings, which place a clock to some ten microseconds
constexpr std::size_t kMostBlocks = 256;
constexpr double kGain = 3.0;                  // log evidence, to look closer
constexpr double kNoiseShare = 0.2;            // of unexplained noise in all, likewise
constexpr double kLess = 0.5;                  // of it is left where clocks have not parted yet
constexpr double kLonger[] = {1.0, 2.0, 4.0};  // than the shortest begin
constexpr double kReachNs = 3e5;               // how far the clock may step between blocks
constexpr double kStepNs = 2e4;
constexpr double kMostPpm = 100.0;         // of two quartz clocks
constexpr std::size_t kMostClasses = 100;  // what is smaller is one class, as long as it tracks
constexpr double kFar2 = 16.0;             // square of a residual that counts no further

// The readings and spans that lie before a time.
struct Stretch {
    std::vector<std::int64_t> begin_ns, end_ns, from, to;
    std::vector<double> value, edge_std_ns, value_std;
    std::vector<std::uint8_t> shared, shifted;
    std::vector<std::int32_t> cls;
    AttributeInput input;
};

// `in_order`: spans are, by their begin.
void cut(const AttributeInput& in, std::int64_t until_ns, bool in_order, Stretch& out) {
    out = {};
    const std::size_t n = in.value.size();
    for (std::size_t k = 0; k < n; ++k) {
        if (in.end_ns[k] > until_ns) continue;
        out.begin_ns.push_back(in.begin_ns[k]);
        out.end_ns.push_back(in.end_ns[k]);
        out.value.push_back(in.value[k]);
        out.edge_std_ns.push_back(in.edge_std_ns[k]);
        out.value_std.push_back(in.value_std[k]);
        const bool next = k + 1 < n && in.end_ns[k + 1] <= until_ns;
        out.shared.push_back(next ? in.shared[k] : 0);
        if (!in.shifted.empty()) out.shifted.push_back(in.shifted[k]);
    }
    const std::int64_t last_ns = until_ns + static_cast<std::int64_t>(10.0 * kReachNs);
    const Spans& all = in.spans;
    out.input = in;
    if (in_order) {
        const auto it = std::upper_bound(all.begin_ns.begin(), all.begin_ns.end(), last_ns);
        const auto count = static_cast<std::size_t>(it - all.begin_ns.begin());
        out.input.spans = {all.begin_ns.first(count), all.end_ns.first(count),
                           all.cls.first(count)};
    } else {
        for (std::size_t i = 0; i < all.cls.size(); ++i) {
            if (all.begin_ns[i] > last_ns) continue;
            out.from.push_back(all.begin_ns[i]);
            out.to.push_back(all.end_ns[i]);
            out.cls.push_back(all.cls[i]);
        }
        out.input.spans = {out.from, out.to, out.cls};
    }
    out.input.begin_ns = out.begin_ns;
    out.input.end_ns = out.end_ns;
    out.input.value = out.value;
    out.input.edge_std_ns = out.edge_std_ns;
    out.input.value_std = out.value_std;
    out.input.shared = out.shared;
    out.input.shifted = out.shifted;
    out.input.total.reset();
}

// Squares of residuals in units of `noise`, each capped.
double misfit(const std::vector<double>& r, const Tridiagonal& noise) {
    double sum = 0.0, u = 0.0;
    for (std::size_t k = 0; k < r.size(); ++k) {
        u = r[k] - noise.link(k) * u;
        sum += std::min(u * u * noise.weight(k), kFar2);
    }
    return sum;
}

// How much of the noise of a reading is none that was told of.
double unexplained(const Solver& fitted) {
    const NoiseShape& shape = fitted.noise_shape();
    const Hyper& hyper = fitted.hyper();
    double process = 0.0, all = 0.0;
    for (std::size_t k = 0; k < shape.value2.size(); ++k) {
        process += hyper.process * shape.length_s[k];
        all += shape.value2[k] + hyper.edge_scale * (shape.begin2[k] + shape.end2[k]);
    }
    return process / (process + all);
}

double gain_of_a_clock(const Solver& fitted, double span_s) {
    ClockPath test;
    test.middle_s = test.half_s = 0.5 * span_s;
    test.terms = {{ClockTerm::Kind::offset, 0.0, kClockStdNs},
                  {ClockTerm::Kind::rate, 0.0, kClockStdNs}};
    for (const double part : {0.2, 0.4, 0.6, 0.8}) {
        test.terms.push_back({ClockTerm::Kind::step, part * span_s, kClockStdNs});
    }
    return fitted.clock_gain(test);
}

// Whether a path is no more than what all edges may err together by, which is fitted anyway.
bool is_known_error(const ClockPath& path, const ClockError& error, double span_s) {
    constexpr double kSigmas = 4.0;
    for (const double at_s : {0.0, 0.5 * span_s, span_s}) {
        const double away_ns = 1e9 * at_s - error.at_ns;
        const double var = error.offset2_ns2 + error.slope2 * away_ns * away_ns;
        if (std::abs(path.at(at_s)) > kSigmas * std::sqrt(var)) return false;
    }
    return std::none_of(path.terms.begin(), path.terms.end(), [](const ClockTerm& term) {
        return term.kind == ClockTerm::Kind::step || term.kind == ClockTerm::Kind::bend;
    });
}

// The input with its smallest classes in one. `cls` holds what the result points to.
AttributeInput with_few_classes(const AttributeInput& in, std::vector<std::int32_t>& cls,
                                std::vector<double>& prior_rate, std::vector<double>& prior_cv) {
    AttributeInput out = in;
    if (in.n_classes <= kMostClasses) return out;
    std::vector<double> spent(in.n_classes, 0.0);
    for (std::size_t i = 0; i < in.spans.cls.size(); ++i) {
        spent[static_cast<std::size_t>(in.spans.cls[i])] +=
            static_cast<double>(in.spans.end_ns[i] - in.spans.begin_ns[i]);
    }
    std::vector<std::size_t> order(in.n_classes);
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return spent[a] > spent[b]; });
    std::vector<std::int32_t> becomes(in.n_classes, kMostClasses - 1);
    prior_rate.assign(kMostClasses, std::numeric_limits<double>::quiet_NaN());
    prior_cv.assign(kMostClasses, 1.0);
    for (std::size_t r = 0; r + 1 < kMostClasses; ++r) {
        becomes[order[r]] = static_cast<std::int32_t>(r);
        prior_rate[r] = in.prior_rate[order[r]];
        prior_cv[r] = in.prior_cv[order[r]];
    }
    cls.resize(in.spans.cls.size());
    for (std::size_t i = 0; i < cls.size(); ++i) {
        cls[i] = becomes[static_cast<std::size_t>(in.spans.cls[i])];
    }
    out.n_classes = kMostClasses;
    out.prior_rate = prior_rate;
    out.prior_cv = prior_cv;
    out.spans.cls = cls;
    return out;
}

class Tracker {
  public:
    Tracker(const AttributeInput& in, const Equations& settled) : in_(in) {
        const std::size_t n = in.value.size();
        for (std::size_t k = 0; k < n; ++k) {
            begin_.push_back(1e9 * settled.begin_s(k));
            end_.push_back(1e9 * settled.end_s(k));
            span_s_ = std::max(span_s_, 1e-9 * end_.back());
        }
        in_order_ = std::is_sorted(in.spans.begin_ns.begin(), in.spans.begin_ns.end());
        const std::size_t count = std::clamp<std::size_t>(n / kBlock, 1, kMostBlocks);
        block_s_ = span_s_ / static_cast<double>(count);
        members_.resize(count);
        for (std::size_t k = 0; k < n; ++k) {
            const double at = 0.5e-9 * (begin_[k] + end_[k]) / block_s_;
            members_[std::min(count - 1, static_cast<std::size_t>(std::max(0.0, at)))].push_back(k);
        }
    }

    // `noise`: J^2 a second beyond what was told of, at most, for the clock to be looked for; what
    // is not better at the begin, where clocks have not parted yet, is no matter of clocks. `less`:
    // where more is left at the end, the path was lost.
    std::optional<ClockPath> run(double noise, double less);

  private:
    // Fits rates and path together, on the stretch.
    void refine(int rounds);
    void stretch_to(double until_s);
    // False: there are not enough readings near the begin for it (one that is longer than that,
    // say).
    bool begin(double longer);
    // False: on the way more noise was left than `most`.
    bool follow_to_end(double most);
    [[nodiscard]] double cost(const PowerCurve& curve, std::size_t k, double ns) const;
    [[nodiscard]] ClockBlock place(const PowerCurve& curve, std::size_t b, double expected_ns,
                                   double std_ns) const;
    // Places the blocks before until_s by the rates as they are, and makes a path through them.
    void follow(double until_s);
    void place_steps(const PowerCurve& curve);

    const AttributeInput& in_;
    std::vector<double> begin_, end_;  // settled, ns after the first begin
    double span_s_{}, block_s_{};
    bool in_order_{};
    std::int64_t until_ns_{};
    Stretch part_;
    std::vector<std::vector<std::size_t>> members_;  // readings of each block

    ClockPath path_;
    std::vector<double> rates_;
    double sharing_{};
    double edge_var_{};           // J^2, of one edge
    double process_{};            // J^2 a second
    std::vector<double> factor_;  // of drift, by reading; 1 beyond the stretch
    double fit_{};                // misfit of the last refine, per reading
};

void Tracker::stretch_to(double until_s) {
    until_ns_ = in_.begin_ns.front() + static_cast<std::int64_t>(1e9 * until_s) + 1;
    cut(in_, until_ns_, in_order_, part_);
}

void Tracker::refine(int rounds) {
    Stretch& part = part_;
    for (int round = 0; round < rounds; ++round) {
        part.input.clock = &path_;
        Solver solver(part.input);
        solver.fit();
        const auto more = solver.clock_ns();
        for (std::size_t m = 0; m < path_.size(); ++m) path_.ns[m] += more[m];
        rates_.assign(solver.rates().begin(), solver.rates().end());
        sharing_ = solver.hyper().sharing;
        process_ = solver.hyper().process;
        const NoiseShape& shape = solver.noise_shape();
        edge_var_ = 0.0;
        for (const double e : shape.end2) {
            edge_var_ += solver.hyper().edge_scale * e / static_cast<double>(shape.end2.size());
        }
        const std::vector<double> factors = solver.drift_factors();
        factor_.assign(in_.value.size(), 1.0);
        for (std::size_t k = 0, i = 0; k < in_.value.size(); ++k) {
            if (in_.end_ns[k] <= until_ns_) factor_[k] = factors[i++];
        }
        std::vector<double> r = solver.residuals();
        double sum = 0.0;
        for (std::size_t i = 0; i < r.size(); ++i) {
            const double v = part.value_std[i] * part.value_std[i] + 2.0 * edge_var_ + 1e-30;
            sum += std::min(r[i] * r[i] / v, kFar2);
        }
        fit_ = sum / static_cast<double>(r.size());
    }
}

bool Tracker::begin(double longer) {
    const auto n = static_cast<double>(in_.value.size());
    const auto p = static_cast<double>(in_.n_classes + 1);
    const double part_s = span_s_ * std::min(1.0, longer * std::max(4.0 * kBlock, p) / n);
    ClockPath flat;
    flat.middle_s = flat.half_s = 0.5 * part_s;
    flat.terms = {{ClockTerm::Kind::offset, 0.0, kClockStdNs},
                  {ClockTerm::Kind::rate, 0.0, kClockStdNs}};
    stretch_to(part_s);
    if (part_.value.size() < kBlock || part_.begin_ns.front() != in_.begin_ns.front()) return false;
    const double step_ppm = std::max(10.0, 100.0 / part_s);  // 0.1 ms over the stretch
    double best = std::numeric_limits<double>::infinity();
    ClockPath found = flat;
    for (double ppm = 0.0; ppm <= kMostPpm; ppm += step_ppm) {
        for (const double sign : {1.0, -1.0}) {
            if (ppm == 0.0 && sign < 0.0) continue;
            path_ = flat;
            const double rate = sign * ppm * 1e3;  // ns a second
            path_.ns = {rate * flat.middle_s, rate * flat.half_s};
            refine(2);
            if (fit_ < best) {
                best = fit_;
                found = path_;
            }
        }
    }
    path_ = std::move(found);
    refine(2);
    return true;
}

double Tracker::cost(const PowerCurve& curve, std::size_t k, double ns) const {
    const double model = curve.joules(end_[k] + ns) - curve.joules(begin_[k] + ns);
    const double length_s = 1e-9 * (end_[k] - begin_[k]);
    const double v = in_.value_std[k] * in_.value_std[k] + process_ * length_s + 2.0 * edge_var_;
    const double r = in_.value[k] - model * factor_[k];
    return std::min(r * r / std::max(v, 1e-300), kFar2);
}

ClockBlock Tracker::place(const PowerCurve& curve, std::size_t b, double expected_ns,
                          double std_ns) const {
    const auto all = [&](double ns) {
        double sum = 0.0;
        for (const std::size_t k : members_[b]) sum += cost(curve, k, ns);
        return sum;
    };
    // Mostly where it is expected; now and then anywhere.
    const auto unlikely = [&](double ns) {
        const double z = (ns - expected_ns) / std_ns;
        return -2.0 * std::log(0.95 * std::exp(-0.5 * z * z) + 0.05 * std_ns / kReachNs);
    };
    double at = expected_ns, least_cost = std::numeric_limits<double>::infinity();
    for (double ns = -kReachNs; ns <= kReachNs; ns += kStepNs) {
        const double c = all(expected_ns + ns) + unlikely(expected_ns + ns);
        if (c < least_cost) {
            least_cost = c;
            at = expected_ns + ns;
        }
    }
    double h = 0.5 * kStepNs;
    double middle = all(at), left = all(at - h), right = all(at + h);
    for (int i = 0; i < 4; ++i) {  // to the bottom of the valley, by parabolas
        const double bend = left - 2.0 * middle + right;
        if (!(bend > 0.0)) break;
        at += std::clamp(0.5 * h * (left - right) / bend, -2.0 * h, 2.0 * h);
        h = std::max(0.5 * h, 2e3);
        middle = all(at);
        left = all(at - h);
        right = all(at + h);
    }
    const double bend = (left - 2.0 * middle + right) / (h * h);  // of chi^2: 2 / variance
    const double worse = std::max(1.0, middle / static_cast<double>(members_[b].size()));
    const double variance = bend > 0.0 ? 2.0 * worse / bend : kReachNs * kReachNs;
    return {(static_cast<double>(b) + 0.5) * block_s_, at,
            std::clamp(std::sqrt(variance), 200.0, kReachNs)};
}

void Tracker::follow(double until_s) {
    const PowerCurve curve(part_.input.spans, rates_, sharing_, in_.baseline, in_.begin_ns.front());
    std::vector<ClockBlock> blocks;
    double off = 0.0, off_var = 1e9;  // of the clock from the path, (30 us)^2
    for (std::size_t b = 0; b < members_.size(); ++b) {
        const double at_s = (static_cast<double>(b) + 0.5) * block_s_;
        if (at_s > until_s) break;
        if (members_[b].empty()) continue;
        const double path = path_.at(at_s);
        const ClockBlock found = place(curve, b, path + off, std::sqrt(off_var) + 1e4);
        const double var = found.std_ns * found.std_ns;
        const double error = found.ns - path - off;
        if (error * error > 25.0 * (off_var + var)) {
            off += error;  // it stepped
            off_var = var;
        } else {
            const double gain = off_var / (off_var + var);
            off += gain * error;
            off_var = (1.0 - gain) * off_var;
        }
        off_var += 2.5e7;  // (5 us)^2 from block to block
        blocks.push_back(found);
    }
    if (blocks.empty()) return;
    path_ = path_through(blocks, until_s);
    place_steps(curve);
}

// To the reading where each step was.
void Tracker::place_steps(const PowerCurve& curve) {
    for (std::size_t m = 0; m < path_.size(); ++m) {
        if (path_.terms[m].kind != ClockTerm::Kind::step) continue;
        const double at_s = path_.terms[m].at_s;
        std::vector<std::size_t> near;
        for (std::size_t k = 0; k < end_.size(); ++k) {
            if (std::abs(1e-9 * end_[k] - at_s) < 1.5 * block_s_) near.push_back(k);
        }
        if (near.empty()) continue;
        std::sort(near.begin(), near.end(),
                  [&](std::size_t a, std::size_t b) { return end_[a] < end_[b]; });
        double sum = 0.0, least_sum = 0.0, best_s = 1e-9 * begin_[near.front()];
        for (const std::size_t k : near) {
            const double middle = 0.5e-9 * (begin_[k] + end_[k]);
            const double now = path_.at(middle);
            const double step = path_.ns[m];
            const bool after = path_.shape(m, middle) > 0.0;
            sum +=
                cost(curve, k, after ? now - step : now) - cost(curve, k, after ? now : now + step);
            if (sum < least_sum) {
                least_sum = sum;
                best_s = 1e-9 * end_[k] + 1e-9;
            }
        }
        path_.terms[m].at_s = best_s;
    }
}

bool Tracker::follow_to_end(double most) {
    double until_s = path_.half_s * 2.0;
    while (until_s < span_s_) {
        until_s = std::min(span_s_, 2.0 * until_s);
        stretch_to(until_s);
        follow(until_s);
        refine(2);
        if (process_ > most) return false;
    }
    for (int round = 0; round < 2; ++round) {
        follow(span_s_);
        refine(2);
    }
    return true;
}

std::optional<ClockPath> Tracker::run(double noise, double less) {
    std::optional<ClockPath> found;
    double best = std::numeric_limits<double>::infinity();
    // Rates from too short a begin may point to a wrong path: then it is begun with more, and
    // followed as long as that is better.
    for (const double longer : kLonger) {
        if (!begin(longer) || process_ > noise) break;
        const bool a_clock = process_ <= less;
        if (!follow_to_end(found ? less : std::numeric_limits<double>::infinity())) continue;
        if (fit_ < best) {
            best = fit_;
            found = path_;
        }
        if (!a_clock || process_ <= less) break;
    }
    return found;
}

}  // namespace

std::optional<ClockPath> track_clock(const AttributeInput& input, const Solver& fitted) {
    const std::size_t n = input.value.size();
    if (n < kFewest || input.lag_s > 0.0 || input.clock != nullptr || input.spans.cls.empty()) {
        return std::nullopt;
    }
    const double span_s = fitted.equations().end_s(n - 1);
    if (!(span_s > 0.0)) return std::nullopt;
    const double less = kLess * fitted.hyper().process;
    double noise = std::numeric_limits<double>::infinity();
    if (!(gain_of_a_clock(fitted, span_s) > kGain)) {
        if (!(unexplained(fitted) > kNoiseShare)) return std::nullopt;
        noise = less;
    }
    std::vector<std::int32_t> cls;
    std::vector<double> prior_rate, prior_cv;
    const AttributeInput few = with_few_classes(input, cls, prior_rate, prior_cv);
    std::optional<ClockPath> path = Tracker(few, fitted.equations()).run(noise, less);
    if (path && is_known_error(*path, fitted.equations().clock_error(), span_s)) path.reset();
    return path;
}

bool explains_more(const Solver& on_path, const Solver& fitted) {
    const Tridiagonal noise = on_path.noise();
    const double gain = misfit(fitted.residuals(), noise) - misfit(on_path.residuals(), noise);
    return gain > 4.0 * static_cast<double>(on_path.clock_ns().size()) + 6.0;
}

}  // namespace picojoule
