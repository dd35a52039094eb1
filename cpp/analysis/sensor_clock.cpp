#include "analysis/sensor_clock.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>

#include "analysis/sensor_line.h"

namespace picojoule {
namespace {

// Standard deviations to choose from, ns: of a tick around its clock, and of the clock's phase from
// one tick to the next (a sensor that sleeps for a period after each tick has its jitter here).
constexpr std::array kJitter{5e3, 1e4, 2e4, 4e4, 8e4, 1.6e5, 3.2e5, 6.4e5, 1.28e6, 2.56e6, 5.12e6};
constexpr std::array kWalk{1e2, 1e4, 1e5, 1e6};
constexpr double kPeriodDrift = 1e-6;  // of the period, a tick: temperature, and time being slewed
constexpr double kStray = 0.01;        // ticks that keep to no clock at all
// Moments forget that a bound was met before: wide brackets, applied again and again, shrink the
// doubt of the phase too far. Variance restored, calibrated on simulated sensors
// (sensor_clock_test).
constexpr double kForgotten = 2.0;
constexpr int kLost = 3;              // strays in a row: the clock was set anew
constexpr std::size_t kJudged = 600;  // so many ticks decide between the models
constexpr double kNegligible = 1e-2;  // models of less evidence than this share of the best

struct Model {
    double jitter{};
    double walk{};
};

// A Gaussian cut to an interval: the mass inside, and the moments of what is left.
struct Cut {
    double mass{};
    double mean{};
    double variance{};
};

Cut cut(double mean, double variance, double lo, double hi) {
    const double s = std::sqrt(variance);
    const double a = (lo - mean) / s;
    const double b = (hi - mean) / s;
    const double width = b - a;
    const double flat = (hi - lo) * (hi - lo) / 12.0;
    constexpr double kTail = 8.0;
    if (a > kTail || b < -kTail) return {0.0, 0.5 * (lo + hi), flat};
    const auto density = [](double x) {
        return std::exp(-0.5 * x * x) * std::numbers::inv_sqrtpi / std::numbers::sqrt2;
    };
    if (width < 0.05) {
        const double c = 0.5 * (a + b);
        return {width * density(c), mean + s * c * (1.0 - width * width / 12.0), flat};
    }
    const auto upper = [](double x) { return 0.5 * std::erfc(x / std::numbers::sqrt2); };
    const double mass = a > 0.0 ? upper(a) - upper(b) : upper(-b) - upper(-a);
    const double first = (density(a) - density(b)) / mass;
    const double second = (a * density(a) - b * density(b)) / mass;
    return {mass, std::clamp(mean + s * first, lo, hi),
            variance * std::clamp(1.0 + second - first * first, 1e-6, 1.0)};
}

// What the ticks before (or after) one say of it: Gaussian in phase and period.
struct State {
    double phase{}, period{};
    double pp{}, pq{}, qq{};  // covariance: phase-phase, phase-period, period-period
};

struct Pass {
    std::vector<State> before;  // at each tick, from those before it only
    double evidence{};          // log
};

class Filter {
  public:
    Filter(std::span<const Bracket> ticks, double period, double period_cv, Model model)
        : ticks_(ticks), guess_(period), guess_cv_(period_cv), model_(model) {}

    // `turns[k]`: periods between tick k - 1 and tick k; found here where `find` is set.
    Pass run(std::vector<int>& turns, bool find) const {
        Pass pass;
        pass.before.reserve(ticks_.size());
        State s;
        int strays = 0;
        for (std::size_t k = 0; k < ticks_.size(); ++k) {
            const Bracket& b = ticks_[k];
            const double middle = 0.5 * (b.old_ns + b.new_ns);
            if (k == 0) {
                s = {middle, guess_, kFar * guess_ * guess_, 0.0,
                     guess_cv_ * guess_cv_ * guess_ * guess_};
            } else {
                if (find) turns[k] = count_turns(s, b);
                s = ahead(s, turns[k]);
                if (b.fresh || strays >= kLost) {
                    if (b.fresh) s.phase = middle;
                    s.pp += (b.fresh ? kFar : 1.0) * guess_ * guess_;
                    strays = 0;
                }
            }
            pass.before.push_back(s);
            const double total = s.pp + model_.jitter * model_.jitter;
            const Cut c = cut(s.phase, total, b.old_ns, b.new_ns);
            const double inside = (1.0 - kStray) * c.mass;
            const double outside = kStray * std::min(1.0, (b.new_ns - b.old_ns) / guess_);
            const double all = inside + outside;
            // The first tick of a clock fits anywhere: it can be no stray, and says nothing for or
            // against a model.
            const bool first = s.pp >= guess_ * guess_;
            if (!first) pass.evidence += std::log(std::max(all, 1e-300));
            const double trust = first ? 1.0 : all > 0.0 ? inside / all : 0.0;
            strays = trust < 0.5 ? strays + 1 : 0;
            const double g0 = s.pp / total;
            const double g1 = s.pq / total;
            const double moved = c.mean - s.phase;
            const double shrunk =
                trust * (total - c.variance) - trust * (1.0 - trust) * moved * moved;
            s.phase += trust * g0 * moved;
            s.period += trust * g1 * moved;
            s.pp -= g0 * g0 * shrunk;
            s.pq -= g0 * g1 * shrunk;
            s.qq -= g1 * g1 * shrunk;
        }
        return pass;
    }

  private:
    static constexpr double kFar = 1e4;

    [[nodiscard]] State ahead(const State& s, int turns) const {
        const double m = turns;
        State n = s;
        n.phase += m * s.period;
        n.pp += 2.0 * m * s.pq + m * m * s.qq + m * model_.walk * model_.walk;
        n.pq += m * s.qq;
        n.qq += m * kPeriodDrift * kPeriodDrift * guess_ * guess_;
        return n;
    }

    [[nodiscard]] int count_turns(const State& s, const Bracket& b) const {
        const double middle = 0.5 * (b.old_ns + b.new_ns);
        const double period = std::max(s.period, 0.5 * guess_);
        const double likely = std::round((middle - s.phase) / period);
        const int nearest = static_cast<int>(std::clamp(likely, 1.0, 1e9));
        if (b.new_ns - b.old_ns < 0.4 * period) return nearest;
        int best = nearest;  // so wide a bracket may hold either of two
        double most = -1.0;
        for (int turns = std::max(1, nearest - 1); turns <= nearest + 1; ++turns) {
            const State n = ahead(s, turns);
            const double mass =
                cut(n.phase, n.pp + model_.jitter * model_.jitter, b.old_ns, b.new_ns).mass;
            if (mass > most) {
                most = mass;
                best = turns;
            }
        }
        return best;
    }

    std::span<const Bracket> ticks_;
    double guess_;
    double guess_cv_;  // how far that may be off, relative
    Model model_;
};

// The product of what lies before and what lies after, `after` in a time that runs backwards.
State both(const State& before, const State& after) {
    const auto invert = [](double pp, double pq, double qq) {
        const double d = pp * qq - pq * pq;
        return std::array{qq / d, -pq / d, pp / d};
    };
    const auto f = invert(before.pp, before.pq, before.qq);
    const auto r = invert(after.pp, -after.pq, after.qq);
    // Of the phase relative to `before`, so that no digits are lost.
    const double off = -after.phase - before.phase;
    const double off_period = after.period - before.period;
    const auto c = invert(f[0] + r[0], f[1] + r[1], f[2] + r[2]);
    const double u = r[0] * off + r[1] * off_period;
    const double v = r[1] * off + r[2] * off_period;
    return {before.phase + c[0] * u + c[1] * v, before.period + c[1] * u + c[2] * v, c[0], c[1],
            c[2]};
}

std::vector<Bracket> backwards(std::span<const Bracket> ticks) {
    std::vector<Bracket> out;
    out.reserve(ticks.size());
    bool fresh = false;
    for (std::size_t k = ticks.size(); k-- > 0;) {
        out.push_back({-ticks[k].new_ns, -ticks[k].old_ns, fresh});
        fresh = ticks[k].fresh;
    }
    return out;
}

// Hard bounds the Gaussians above forget: as long as every tick nearby stays in its bracket, the
// whole clock may be shifted. Looks that fall alike around each tick leave much room for that,
// however many they are; for looks at random and no jitter this is the exact posterior.
void admit_shifts(std::span<const Bracket> ticks, std::span<const double> keeps, ClockFit& fit) {
    constexpr std::size_t kReach = 48;
    const std::size_t n = ticks.size();
    for (std::size_t k = 0; k < n; ++k) {
        if (keeps[k] < 0.5) continue;
        double later = std::numeric_limits<double>::infinity();
        double sooner = later;
        const std::size_t end = std::min(n, k + kReach + 1);
        for (std::size_t j = k > kReach ? k - kReach : 0; j < end; ++j) {
            if (keeps[j] < 0.5) continue;
            later = std::min(later, ticks[j].new_ns - fit.time_ns[j]);
            sooner = std::min(sooner, fit.time_ns[j] - ticks[j].old_ns);
        }
        const double room = later + sooner;
        fit.std_ns[k] = std::max(fit.std_ns[k], room / std::sqrt(12.0));
    }
}

struct Candidate {
    Model model;
    double weight{};
};

std::vector<Candidate> likely_models(std::span<const Bracket> ticks, double period,
                                     double period_cv) {
    const std::size_t n = std::min(ticks.size(), kJudged);
    const auto some = ticks.subspan((ticks.size() - n) / 2, n);
    std::vector<Candidate> out;
    std::vector<int> turns(n, 1);
    double best = -std::numeric_limits<double>::infinity();
    for (const double jitter : kJitter) {
        for (const double walk : kWalk) {
            const bool least = jitter == kJitter.front() && walk == kWalk.front();
            if (!least && std::max(jitter, walk) > 0.1 * period) continue;
            const double evidence =
                Filter(some, period, period_cv, {jitter, walk}).run(turns, true).evidence;
            best = std::max(best, evidence);
            out.push_back({{jitter, walk}, evidence});
        }
    }
    double sum = 0.0;
    for (Candidate& c : out) {
        c.weight = std::exp(c.weight - best);
        if (c.weight < kNegligible) c.weight = 0.0;
        sum += c.weight;
    }
    std::erase_if(out, [](const Candidate& c) { return c.weight == 0.0; });
    for (Candidate& c : out) c.weight /= sum;
    return out;
}

}  // namespace

ClockFit fit_sensor_clock(std::span<const Bracket> ticks, double period_ns, double period_cv) {
    const std::size_t n = ticks.size();
    ClockFit out;
    out.period_ns = period_ns;
    out.time_ns.assign(n, 0.0);
    out.std_ns.assign(n, 0.0);
    if (n == 0 || period_ns <= 0.0) return out;
    const std::vector<Bracket> reversed = backwards(ticks);
    std::vector<double> keeps(n, 0.0);   // how sure it is that a tick keeps to the clock
    std::vector<double> square(n, 0.0);  // about the middle of the bracket
    double period = 0.0;
    double period2 = 0.0;
    double jitter2 = 0.0;
    for (const Candidate& c : likely_models(ticks, period_ns, period_cv)) {
        std::vector<int> turns(n, 1);
        const Pass before = Filter(ticks, period_ns, period_cv, c.model).run(turns, true);
        std::vector<int> turns_back(n, 1);
        for (std::size_t k = 1; k < n; ++k) turns_back[k] = turns[n - k];
        const Pass after = Filter(reversed, period_ns, period_cv, c.model).run(turns_back, false);
        for (std::size_t k = 0; k < n; ++k) {
            const State s = both(before.before[k], after.before[n - 1 - k]);
            const Bracket& b = ticks[k];
            const double middle = 0.5 * (b.old_ns + b.new_ns);
            const double width = b.new_ns - b.old_ns;
            const Cut in = cut(s.phase, kForgotten * s.pp + c.model.jitter * c.model.jitter,
                               b.old_ns, b.new_ns);
            const double inside = (1.0 - kStray) * in.mass;
            const double outside = kStray * std::min(1.0, width / period_ns);
            // Sharpened: the small chance of a stray must not widen what is as good as certain.
            const double both_ways = inside * inside + outside * outside;
            const double trust = both_ways > 0.0 ? inside * inside / both_ways : 0.0;
            keeps[k] += c.weight * trust;
            const double off = in.mean - middle;
            out.time_ns[k] += c.weight * trust * off;
            square[k] += c.weight *
                         (trust * (in.variance + off * off) + (1.0 - trust) * width * width / 12.0);
            if (k == n / 2) {
                period += c.weight * s.period;
                period2 += c.weight * (s.qq + s.period * s.period);
            }
        }
        jitter2 += c.weight * c.model.jitter * c.model.jitter;
    }
    for (std::size_t k = 0; k < n; ++k) {
        const double off = out.time_ns[k];
        out.std_ns[k] = std::sqrt(std::max(0.0, square[k] - off * off));
        out.time_ns[k] = 0.5 * (ticks[k].old_ns + ticks[k].new_ns) + off;
    }
    admit_shifts(ticks, keeps, out);
    out.period_ns = period;
    out.period_std_ns = std::sqrt(std::max(0.0, period2 - period * period));
    out.jitter_ns = std::sqrt(jitter2);
    // What all ticks have in common is at most what the best known of them has.
    out.clock_std_ns = *std::min_element(out.std_ns.begin(), out.std_ns.end());
    const TickLine line = line_through(ticks, out.time_ns, out.period_ns);
    if (line.time_ns.empty()) return out;
    out.time_ns = line.time_ns;
    out.period_ns = line.period_ns;
    out.period_std_ns = line.period_std_ns;
    out.clock_std_ns = line.clock_std_ns;
    out.jitter_ns = line.own_std_ns;
    const double middle = 0.5 * (line.time_ns.front() + line.time_ns.back());
    for (std::size_t k = 0; k < n; ++k) {
        const double turns = (line.time_ns[k] - middle) / line.period_ns;
        out.std_ns[k] = std::hypot(line.clock_std_ns, line.period_std_ns * turns, line.own_std_ns);
    }
    return out;
}

}  // namespace picojoule
