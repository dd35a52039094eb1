#include "analysis/energy.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace picojoule {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// A step somewhere inside a window, at an unknown place u uniform in it, makes even spreading wrong
// by step * (min(u, f) - u f): as a share of f (1 - f), uniform between 0 and 1. The std
// whose 1.96-fold is the most it can be (its 95 % quantile leaves no room for the step's own
// doubt).
constexpr double kStep = 1.04 / 1.96;
// The same if the step is at the very edge: the error is then the largest possible, 1, not uniform,
// and what else is in doubt comes on top.
constexpr double kStepAtEdge = 1.3;
// Power that moves faster than the ticks: mean square of the error inside a window in units of the
// mean square change between windows. Between 1/60 (a slow telegraph) and more than 1/2 (a square
// wave a little longer than a tick); the cautious end, since the two cannot be told apart
// (aliasing).
constexpr double kAliased = 0.55;
// Scale of that error, chosen on simulated square waves such that 95 % intervals cover 95 % or more
// (tests/unit/test_energy.py): such errors are bounded, so less than a Gaussian's width will do.
constexpr double kBounded = 0.765;
// Prior of how far the power of a region differs from that of whatever shares its tick: even
// spreading was off by 48 to 54 % a kernel in published simulations of such mixes.
constexpr double kContrast = 0.5;

double quantum_std2(double quantum) {
    return quantum * quantum / 12.0;
}

}  // namespace

EnergyCurve::EnergyCurve(Timeline line) : line_(std::move(line)) {
    const std::size_t n = line_.size();
    watts_.assign(n, kNaN);
    broken_s_.assign(n, 0.0);
    noise2_.assign(n, 0.0);
    agree_w_.assign(n, 0.0);
    double level = 0.0;
    double windows = 0.0;
    double least_w = std::numeric_limits<double>::infinity();
    double most_w = -least_w;
    for (std::size_t k = 1; k < n; ++k) {
        const double dt_s = (line_.time_ns[k] - line_.time_ns[k - 1]) * 1e-9;
        broken_s_[k] = broken_s_[k - 1] + (line_.broken[k] ? dt_s : 0.0);
        noise2_[k] = noise2_[k - 1] + line_.noise_j[k] * line_.noise_j[k];
        if (line_.broken[k]) continue;
        watts_[k] = (line_.joules[k] - line_.joules[k - 1]) / dt_s;
        level += watts_[k];
        least_w = std::min(least_w, watts_[k]);
        most_w = std::max(most_w, watts_[k]);
        windows += 1.0;
    }
    if (windows == 0.0) return;
    level /= windows;
    range_w_ = most_w - least_w;
    // Noise of the change from one window to the next: they share a tick, which enters twice.
    std::vector<double> noise2(n, kNaN);
    std::vector<double> known;
    for (std::size_t k = 2; k < n; ++k) {
        if (std::isnan(watts_[k]) || std::isnan(watts_[k - 1])) continue;
        const double dt_s = std::min(line_.time_ns[k] - line_.time_ns[k - 1],
                                     line_.time_ns[k - 1] - line_.time_ns[k - 2]) *
                            1e-9;
        const auto edge2 = [&](std::size_t i) {
            const double s = line_.time_std_ns[i] * 1e-9 * level / dt_s;
            return s * s;
        };
        noise2[k] = edge2(k) + 4.0 * edge2(k - 1) + edge2(k - 2) +
                    6.0 * quantum_std2(line_.quantum_j / dt_s) +
                    2.0 * line_.gauge_w * line_.gauge_w;
        agree_w_[k] = 2.0 * std::sqrt(noise2[k]);
        known.push_back(noise2[k]);
    }
    if (known.empty()) {
        step2_ = 0.25 * level * level;  // a single window: anything may have happened inside
        unresolved_ = 1.0;
        return;
    }
    const auto middle = known.begin() + static_cast<std::ptrdiff_t>(known.size() / 2);
    std::nth_element(known.begin(), middle, known.end());
    const double usual2 = std::max(*middle, 1e-12);
    const auto count = static_cast<double>(known.size());
    double changes2 = 0.0;
    double noises2 = 0.0;
    double weights = 0.0;
    double agree = 0.0;
    for (std::size_t k = 2; k < n; ++k) {
        if (std::isnan(noise2[k])) continue;
        const double d = watts_[k] - watts_[k - 1];
        const double weight = 1.0 / (1.0 + noise2[k] / usual2);  // ticks badly known say little
        changes2 += weight * d * d;
        noises2 += weight * noise2[k];
        weights += weight;
        agree += std::abs(d) <= agree_w_[k] ? 1.0 : 0.0;
    }
    step2_ = std::max(0.0, (changes2 - noises2) / weights);
    // One imagined disagreement more than seen: a few windows that agree prove little.
    const double share = agree / (count + 1.0);
    unresolved_ = step2_ > noises2 / weights ? std::clamp((0.30 - share) / 0.15, 0.0, 1.0) : 0.0;
    inflate_ = 1.0 + 1.5 / count;
}

EnergyCurve::Edge EnergyCurve::edge(double at_ns) const {
    const std::size_t n = line_.size();
    Edge e;
    const auto& t = line_.time_ns;
    auto next = static_cast<std::size_t>(std::upper_bound(t.begin(), t.end(), at_ns) - t.begin());
    next = std::clamp<std::size_t>(next, 1, n - 1);
    e.window = next;
    const double width_s = (t[next] - t[next - 1]) * 1e-9;
    const double f = std::clamp((at_ns - t[next - 1]) / (t[next] - t[next - 1]), 0.0, 1.0);
    const double watts = std::isnan(watts_[next]) ? 0.0 : watts_[next];
    e.joules = line_.joules[next - 1] + f * watts * width_s;
    const double s0 = line_.time_std_ns[next - 1] * 1e-9 * watts;
    const double s1 = line_.time_std_ns[next] * 1e-9 * watts;
    e.noise2 = (1.0 - f) * (1.0 - f) * s0 * s0 + f * f * s1 * s1 + quantum_std2(line_.quantum_j);
    const double shape = f * (1.0 - f) * width_s;
    if (one_step(next, f, e) || step_at_the_end(next, f, e)) return e;
    const auto change = [&](std::size_t k) {
        return k >= 2 && k < n && !std::isnan(watts_[k]) && !std::isnan(watts_[k - 1])
                   ? watts_[k] - watts_[k - 1]
                   : kNaN;
    };
    double left = change(next);
    double right = change(next + 1);
    const bool no_left = std::isnan(left);
    const bool no_right = std::isnan(right);
    if (no_left) left = right;
    if (no_right) right = left;
    if (no_left && no_right) left = right = std::sqrt(step2_);
    const double less = std::min(std::abs(left), std::abs(right));
    const double more = std::max(std::abs(left), std::abs(right));
    const double alike_w = std::max(agree_w_[next], next + 1 < n ? agree_w_[next + 1] : 0.0);
    if (less > alike_w && no_left != no_right && range_w_ > more) {
        // The last window (or the first): the step may lie in it or beside it. If in it, and as
        // large as power has been seen to move, what is seen of it tells where it is.
        const double here = no_right ? range_w_ - more : more;  // step times its place
        const double there = range_w_ - here;
        const double error = f < here / range_w_ ? f * there : (1.0 - f) * here;
        e.resolved = kStep * error * width_s;
    } else if (less > alike_w) {
        const double step = left * right > 0.0 ? std::abs(left + right) : 2.0 * more;
        e.resolved = kStep * step * shape;
    } else if (more > alike_w) {
        // Beside a step: as much of it as passes for noise may lie just inside this window.
        e.resolved = 0.05 * alike_w * std::max(f, 1.0 - f) * width_s;
    }
    // With nothing on one side, a window that moves at all may have moved by all that is seen to.
    if (no_left != no_right && more > alike_w) {
        e.resolved = std::max(e.resolved, kStep * range_w_ * shape);
    }
    e.unresolved = std::sqrt(30.0 * kAliased * step2_ * inflate_) * shape;
    return e;
}

// A window between two that hold their power: it had one step, and its joules say where. So they
// say too how much of them lies on either side of the edge.
bool EnergyCurve::one_step(std::size_t next, double f, Edge& e) const {
    const std::size_t n = line_.size();
    if (next < 3 || next + 2 >= n || unresolved_ > 0.0) return false;
    for (const std::size_t k : {next - 2, next - 1, next, next + 1, next + 2}) {
        if (std::isnan(watts_[k])) return false;
    }
    const double before = watts_[next - 1], after = watts_[next + 1], here = watts_[next];
    const auto holds = [&](std::size_t a, std::size_t b, double alike_w) {
        return std::abs(watts_[a] - watts_[b]) <= alike_w;
    };
    if (!holds(next - 1, next - 2, agree_w_[next - 1])) return false;
    if (!holds(next + 2, next + 1, agree_w_[next + 2])) return false;
    const double alike_w = std::max(agree_w_[next], agree_w_[next + 1]);
    const double step = after - before;
    if (std::abs(step) <= 4.0 * alike_w) return false;
    const double place = (after - here) / step;  // of the window, still as before
    const double slack = alike_w / std::abs(step);
    if (place < -slack || place > 1.0 + slack) return false;
    const double at = std::clamp(place, 0.0, 1.0);
    const double width_s = (line_.time_ns[next] - line_.time_ns[next - 1]) * 1e-9;
    // By the side of the edge on which nothing stepped, whose power is known.
    const double first = f <= at ? f * before : here - (1.0 - f) * after;
    e.joules = line_.joules[next - 1] + first * width_s;
    // Two steps where one is thought to be would be the exception.
    constexpr double kDoubt = 0.1;
    e.resolved = std::abs(step) * width_s * (0.5 * slack + kDoubt * f * (1.0 - f) * kStep) *
                 std::min(1.0, 4.0 * f * (1.0 - f) + slack);
    return true;
}

// The first window, or the last, beside one that holds its power: what lies beyond is not known.
// That power stepped right at the edge, where the program began or ended, is likelier than anywhere
// else.
bool EnergyCurve::step_at_the_end(std::size_t next, double f, Edge& e) const {
    const std::size_t n = line_.size();
    if (n < 5 || unresolved_ > 0.0 || (next != 1 && next + 1 != n)) return false;
    const bool first = next == 1;
    const std::size_t near = first ? 2 : next - 1, far = first ? 3 : next - 2;
    if (std::isnan(watts_[next]) || std::isnan(watts_[near]) || std::isnan(watts_[far]))
        return false;
    const double alike_w = std::max(agree_w_[next], agree_w_[std::max(near, far)]);
    const double step = watts_[next] - watts_[near];
    if (std::abs(watts_[near] - watts_[far]) > alike_w || std::abs(step) <= 2.0 * alike_w)
        return false;
    const double width_s = (line_.time_ns[next] - line_.time_ns[next - 1]) * 1e-9;
    const double inside = first ? 1.0 - f : f;  // of the window
    // What power would then have stepped to: below nothing, or far beyond all that was seen, says
    // that it stepped elsewhere (a program that was done before its profile was).
    const double beyond_w = (watts_[next] - inside * watts_[near]) / std::max(1.0 - inside, 1e-9);
    if (beyond_w < -alike_w || beyond_w > watts_[near] + 2.0 * range_w_) return false;
    const double more_j = -step * inside * width_s;
    constexpr double kAtEdge = 0.8;
    e.joules += (first ? -1.0 : 1.0) * kAtEdge * more_j;
    e.resolved = 0.5 * kAtEdge * std::abs(more_j) + 0.5 * alike_w * inside * width_s;
    return true;
}

// How the two edges of an interval of `lag` windows err together where power repeats faster than
// the ticks: 1 if independently, 2 if always in the same direction (an interval of half a beat).
// Seen in the counter itself, whose deviation from a straight line repeats with the same beat.
double EnergyCurve::coherence(std::size_t lag) const {
    const std::size_t n = line_.size();
    if (lag == 0 || n < lag + 12) return 2.0;
    const double span = line_.time_ns[n - 1] - line_.time_ns[0];
    const auto deviation = [&](std::size_t k) {
        return line_.joules[k] - line_.joules[0] -
               (line_.joules[n - 1] - line_.joules[0]) * (line_.time_ns[k] - line_.time_ns[0]) /
                   span;
    };
    double mean = 0.0;
    for (std::size_t k = 0; k < n; ++k) mean += deviation(k) / static_cast<double>(n);
    double variance = 0.0;
    for (std::size_t k = 0; k < n; ++k) {
        const double d = deviation(k) - mean;
        variance += d * d / static_cast<double>(n);
    }
    double moved = 0.0;
    for (std::size_t k = 0; k + lag < n; ++k) {
        const double d = deviation(k + lag) - deviation(k);
        moved += d * d / static_cast<double>(n - lag);
    }
    return variance > 0.0 ? std::clamp(0.5 * moved / variance, 1.0, 2.0) : 2.0;
}

EnergyOf EnergyCurve::between(double from_ns, double to_ns, bool steps_at_edges) const {
    EnergyOf out;
    if (empty() || to_ns <= from_ns) {
        out.joules = to_ns <= from_ns && !empty() ? 0.0 : kNaN;
        out.std_j = empty() ? kNaN : 0.0;
        out.resolved = false;
        return out;
    }
    const Edge a = edge(from_ns);
    const Edge b = edge(to_ns);
    out.joules = b.joules - a.joules;
    const double span_s = (to_ns - from_ns) * 1e-9;
    double resolved = (a.resolved + b.resolved) * (steps_at_edges ? kStepAtEdge : 1.0);
    const bool matters = unresolved_ > 0.0 && !steps_at_edges;
    double unresolved = kBounded * std::hypot(a.unresolved, b.unresolved) *
                        std::sqrt(matters ? coherence(b.window - a.window) : 2.0);
    double noise2 = a.noise2 + b.noise2 + noise2_[b.window] - noise2_[a.window];
    if (a.window == b.window) {
        // Inside one tick: a share by time, and the rest of the tick may have been quite different.
        const double tick_s = (line_.time_ns[a.window] - line_.time_ns[a.window - 1]) * 1e-9;
        const double share = std::min(1.0, span_s / tick_s);
        const double contrast = kContrast * (1.0 - share) * out.joules;
        resolved = std::min(resolved, contrast);
        unresolved = std::max(contrast, std::min(unresolved, out.joules));
        noise2 = std::min(noise2, out.joules * out.joules);
        resolved = std::max(resolved, contrast);
    }
    out.resolved = span_s * 1e9 >= 0.98 * line_.window_ns;
    // Time before the first or after the last reading: the nearest window's power, all of it in
    // doubt.
    double beyond_j = 0.0;
    const auto beyond = [&](double begin, double end, double near_begin, double near_end,
                            std::size_t window) {
        const double seconds = std::max(0.0, end - begin) * 1e-9;
        if (seconds <= 0.0) return;
        // Up to a tick can be bridged; more is a gap.
        const double bridged =
            std::max(0.0, std::min(end, near_end) - std::max(begin, near_begin)) * 1e-9;
        const double watts = std::isnan(watts_[window]) ? 0.0 : watts_[window];
        out.joules += bridged * watts;
        beyond_j += bridged * watts;
        out.uncovered_s += seconds - bridged;
    };
    const double first = line_.time_ns.front();
    const double last = line_.time_ns.back();
    beyond(from_ns, std::min(to_ns, first), first - line_.window_ns, first, 1);
    beyond(std::max(from_ns, last), to_ns, last, last + line_.window_ns, line_.size() - 1);
    out.uncovered_s += std::max(0.0, broken_s_[b.window - 1] - broken_s_[a.window]);
    if (line_.broken[a.window] || line_.broken[b.window]) {
        out.uncovered_s += std::min(
            span_s, (line_.broken[a.window] && a.window != b.window
                         ? (line_.time_ns[a.window] - from_ns) * 1e-9
                         : 0.0) +
                        (line_.broken[b.window]
                             ? (to_ns - std::max(from_ns, line_.time_ns[b.window - 1])) * 1e-9
                             : 0.0));
    }
    // A mean of more than a tick tells of a step at an edge when it is half a window old.
    const double smeared_j = 0.5 * line_.smear_s * std::max(0.0, range_w_);
    noise2 += 2.0 * smeared_j * smeared_j;
    const double moved2 =
        (1.0 - unresolved_) * resolved * resolved + unresolved_ * unresolved * unresolved;
    out.std_j = std::sqrt(noise2 + moved2 + 0.25 * beyond_j * beyond_j);
    if (out.uncovered_s >= 0.999 * span_s) {
        out.joules = out.std_j = kNaN;
        out.resolved = false;
    }
    return out;
}

std::vector<PathUse> path_use(const Trace& trace) {
    std::vector<PathUse> paths(trace.paths.size());
    std::int64_t previous = trace.begin_ns;  // the snapshot before the one at hand
    std::int64_t present = trace.begin_ns;
    for (const Record& r : trace.cells) {
        if (r.d >= paths.size()) continue;
        if (r.d == 0) {  // a snapshot at which nothing had changed
            previous = present;
            present = r.a;
            continue;
        }
        PathUse& p = paths[r.d];
        const auto enters = static_cast<std::uint32_t>(r.c >> 32U);
        const auto exits = static_cast<std::uint32_t>(r.c);
        if (r.b == 0 && r.c == 0) {  // open at begin
            p.open_at_begin += r.id;
            continue;
        }
        if (r.a != present) {
            previous = present;
            present = r.a;
        }
        p.time_ns += r.b;
        p.enters += enters;
        p.exits += exits;
        const auto slot = static_cast<double>(present - previous);
        const auto time = static_cast<double>(r.b);
        if (time <= 0.0 || slot <= 0.0) continue;
        const double from = static_cast<double>(previous - trace.begin_ns);
        const double to = static_cast<double>(present - trace.begin_ns);
        if (r.flags != cell_cpu::kUnknown) {
            p.cpu.push_back({from, to, cell_cpu::ns(r.flags, r.b) / slot});
        } else {
            p.cpu_unknown.push_back({from, to, time / slot});
        }
        const double slack = 2'000.0 + 1e-6 * slot;
        if (time > slot + slack) p.concurrent = true;
        const bool only_open = time >= slot - slack;
        PathUse::Stretch s{from, to, std::min(1.0, time / slot)};
        if (only_open) {
            s.density = 1.0;
        } else if (enters == 1 && exits == 0 && r.id <= 1) {
            s = {to - time, to, 1.0};  // opened in this slot and still open at its end
        } else if (enters == 0 && exits == 1 && r.id <= 1) {
            s = {from, from + time, 1.0};  // open at its beginning, closed in it
        }
        // Stretches that touch become one: only its two ends are then in doubt.
        if (!p.stretches.empty() && s.density == 1.0 && p.stretches.back().density == 1.0 &&
            s.from_ns <= p.stretches.back().to_ns + slack) {
            p.stretches.back().to_ns = s.to_ns;
        } else {
            p.stretches.push_back(s);
        }
    }
    return paths;
}

EnergyOf energy_of(const EnergyCurve& curve, const PathUse& use) {
    EnergyOf out;
    if (curve.empty()) return {kNaN, kNaN, false, 0.0};
    double variance = 0.0;
    double systematic = 0.0;  // adds up: whatever sets a region apart does so each time
    double blurred = 0.0;     // joules that are a share by time
    bool known = use.stretches.empty();
    const double see_ns = curve.timeline().window_ns;
    for (const PathUse::Stretch& s : use.stretches) {
        const EnergyOf e = curve.between(s.from_ns, s.to_ns, true);
        out.uncovered_s += e.uncovered_s * s.density;
        if (std::isnan(e.joules)) continue;
        known = true;
        const double joules = s.density * e.joules;
        out.joules += joules;
        const double length = s.to_ns - s.from_ns;
        if (s.density < 1.0) {
            systematic += kContrast * (1.0 - s.density) * joules;
            blurred += joules;
        } else if (length < 0.98 * see_ns) {
            systematic += kContrast * (1.0 - length / see_ns) * joules;
            blurred += joules;
        } else {
            variance += e.std_j * e.std_j;
        }
    }
    if (!known) return {kNaN, kNaN, false, out.uncovered_s};
    out.std_j = std::sqrt(variance + systematic * systematic);
    out.resolved = blurred <= 0.5 * out.joules && !use.stretches.empty();
    return out;
}

}  // namespace picojoule
