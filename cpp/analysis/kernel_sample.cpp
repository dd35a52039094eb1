#include "analysis/kernel_sample.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "analysis/overlap.h"
#include "analysis/posterior.h"
#include "analysis/rows.h"
#include "model/kernel_sample.h"

namespace picojoule {
namespace {

// Fewer readings than this say less than shares by time.
constexpr std::size_t kFewest = 12;
// A reading's edge stays this far inside of what is known.
constexpr double kGuardNs = 1e6;

// What of a class's energy a second hangs on what runs beside it, and so on which stretches were
// drawn: variances by class of energy per second of its time, and of the busy share of all time
// that something ran (several things at once count as often).
struct Drawn {
    std::vector<double> rate;
    double at_once{};
};

Drawn drawn(const std::vector<std::pair<double, double>>& known, const Activity& activity,
            const Attributed& found, std::size_t n) {
    const Sharing share(found.hyper.sharing, true);
    struct Event {
        std::int64_t at;
        std::int32_t cls, change;
    };
    const std::size_t m = known.size();
    // By stretch and class: seconds, and seconds that count for its own and the baseline's rate.
    Matrix time(m, n), own(m, n), base(m, n);
    std::vector<double> busy(m, 0.0), run(m, 0.0), open(n, 0.0);
    std::vector<std::int32_t> now;
    std::vector<Event> events;
    std::size_t i = 0;
    for (std::size_t k = 0; k < m; ++k) {
        events.clear();
        for (; i < activity.from.size() && static_cast<double>(activity.from[i]) < known[k].second;
             ++i) {
            events.push_back({activity.from[i], activity.cls[i], 1});
            events.push_back({activity.to[i], activity.cls[i], -1});
        }
        std::stable_sort(events.begin(), events.end(),
                         [](const Event& a, const Event& b) { return a.at < b.at; });
        now.clear();
        std::int64_t before = 0;
        for (const Event& e : events) {
            const double s = static_cast<double>(e.at - before) * 1e-9;
            const std::size_t level = std::min<std::size_t>(now.size(), kMostAtOnce);
            for (const std::int32_t c : now) {
                const auto j = static_cast<std::size_t>(c);
                time(k, j) += s;
                own(k, j) += share.own[level] * s;
                base(k, j) += share.base[level] * s;
            }
            if (!now.empty()) busy[k] += s;
            run[k] += s * static_cast<double>(now.size());
            before = e.at;
            if (e.change > 0) {
                now.push_back(e.cls);
            } else {
                now.erase(std::find(now.begin(), now.end(), e.cls));
            }
        }
    }
    const auto many = static_cast<double>(m);
    const double unbiased = m > 1 ? many / (many - 1.0) : 1.0;
    Drawn out;
    out.rate.assign(n, 0.0);
    const double b = std::isnan(found.baseline_rate) ? 0.0 : found.baseline_rate;
    for (std::size_t j = 0; j < n; ++j) {
        double t = 0.0, o = 0.0, d = 0.0;
        for (std::size_t k = 0; k < m; ++k) {
            t += time(k, j);
            o += own(k, j);
            d += base(k, j);
        }
        if (!(t > 0.0) || !(o > 0.0)) continue;
        const double mean = found.energy[j] / t, alone = (found.energy[j] - d * b) / o;
        for (std::size_t k = 0; k < m; ++k) {
            const double off = own(k, j) * alone + base(k, j) * b - mean * time(k, j);
            out.rate[j] += unbiased * off * off / (t * t);
        }
    }
    const double all_run = std::accumulate(run.begin(), run.end(), 0.0);
    const double all_busy = std::accumulate(busy.begin(), busy.end(), 0.0);
    for (std::size_t k = 0; k < m && all_run > 0.0; ++k) {
        const double off = (busy[k] - all_busy / all_run * run[k]) / all_run;
        out.at_once += unbiased * off * off;
    }
    return out;
}

}  // namespace

unsigned sample_level(const Trace& trace) {
    const auto found = trace.overhead.find(KernelSample::kKey);
    if (found == trace.overhead.end() || !(found->second > 1.0)) return 0;
    return static_cast<unsigned>(std::lround(std::log2(found->second)));
}

std::vector<std::pair<double, double>> known_stretches(unsigned level, double span_ns,
                                                       double longest_ns) {
    const KernelSample sample{level};
    std::vector<std::pair<double, double>> out;
    std::int64_t from = -1;
    const auto end = static_cast<std::int64_t>(span_ns);
    for (std::int64_t t = 0;; t += KernelSample::kStretchNs) {
        const bool here = t < end && sample.holds(t);
        if (here && from < 0) from = t;
        if (!here && from >= 0) {
            const double begin = static_cast<double>(from) + (from > 0 ? longest_ns : 0.0);
            const double to = static_cast<double>(std::min(t, end));
            if (begin < to) out.emplace_back(begin, to);
            from = -1;
        }
        if (t >= end) return out;
    }
}

Attributed solve_sample(const Channel& channel, const EnergyCurve& curve, const EnergyOf& whole,
                        double span_ns, const std::vector<std::pair<double, double>>& known,
                        Activity activity, const std::vector<double>& time_s, double idle_s) {
    const Windows all = windows_of(channel, curve.timeline(), span_ns);
    Windows in_it;
    double seen_s = 0.0;
    std::size_t at = 0;
    std::size_t last = SIZE_MAX;
    for (std::size_t k = 0; k < all.value.size(); ++k) {
        const auto begin = static_cast<double>(all.begin_ns[k]);
        const auto end = static_cast<double>(all.end_ns[k]);
        while (at < known.size() && known[at].second < end + kGuardNs) ++at;
        if (at == known.size()) break;
        if (begin < known[at].first + (known[at].first > 0.0 ? kGuardNs : 0.0)) continue;
        if (!in_it.shared.empty()) in_it.shared.back() = last + 1 == k ? all.shared[last] : 0;
        last = k;
        in_it.begin_ns.push_back(all.begin_ns[k]);
        in_it.end_ns.push_back(all.end_ns[k]);
        in_it.value.push_back(all.value[k]);
        in_it.edge_std_ns.push_back(all.edge_std_ns[k]);
        in_it.value_std.push_back(all.value_std[k]);
        in_it.shared.push_back(0);
        seen_s += (end - begin) * 1e-9;
    }
    const std::size_t n = activity.n_classes;
    if (in_it.value.size() < kFewest) return {};
    activity.prior_rate.resize(n, std::numeric_limits<double>::quiet_NaN());
    activity.prior_cv.resize(n, 1.0);
    AttributeInput in;
    in.begin_ns = in_it.begin_ns;
    in.end_ns = in_it.end_ns;
    in.value = in_it.value;
    in.edge_std_ns = in_it.edge_std_ns;
    in.value_std = in_it.value_std;
    in.shared = in_it.shared;
    in.spans = {activity.from, activity.to, activity.cls};
    in.n_classes = n;
    in.prior_rate = activity.prior_rate;
    in.prior_cv = activity.prior_cv;
    in.gain_std = channel.gain_std;
    const std::vector<AttributeInput::Covariate> drift = activity.drift();
    in.drift = drift;
    Attributed out = attribute(in);

    // From the sample to all of the time.
    std::vector<double> e(n + 1, 0.0), grow(n, 0.0);
    Matrix cov(n + 1, n + 1);
    for (std::size_t j = 0; j < n; ++j) {
        if (out.time_s[j] > 0.0) {
            grow[j] = time_s[j] / out.time_s[j];
            e[j] = out.energy[j] * grow[j];
        } else {  // never seen: what is thought of it beforehand
            e[j] = out.rate[j] * time_s[j];
            cov(j, j) = out.rate_std[j] * out.rate_std[j] * time_s[j] * time_s[j];
            out.identified[j] = 0;
        }
    }
    for (std::size_t i = 0; i < n; ++i) {
        for (std::size_t j = 0; j < n; ++j) cov(i, j) += out.cov(i, j) * grow[i] * grow[j];
    }
    const Drawn by_chance = drawn(known, activity, out, n);
    for (std::size_t j = 0; j < n; ++j) cov(j, j) += by_chance.rate[j] * time_s[j] * time_s[j];
    const double run_s = std::accumulate(time_s.begin(), time_s.end(), 0.0);
    e[n] = out.baseline_rate * idle_s;
    cov(n, n) = out.baseline_rate_std * out.baseline_rate_std * idle_s * idle_s +
                out.baseline_rate * out.baseline_rate * by_chance.at_once * run_s * run_s;
    // What readings deviate by is not known of those that were not looked at.
    const double parts = std::accumulate(e.begin(), e.end(), 0.0);
    const double unseen_s = std::max(0.0, span_ns * 1e-9 - seen_s);
    for (std::size_t j = 0; j <= n && parts > 0.0; ++j) {
        cov(j, j) += out.hyper.process * unseen_s * e[j] / parts;
    }
    const bool gauge = channel.quantity == Quantity::power && channel.window_ns > 0;
    out.total = whole.joules;
    out.residual = out.total - parts;
    reconcile(e, cov, out.total, gauge ? channel.gain_std * channel.gain_std : 0.0,
              whole.uncovered_s > 0.0 ? 0.0 : whole.std_j * whole.std_j);
    out.time_s = time_s;
    out.idle_s = idle_s;
    out.unattributed = out.total;
    out.cov = Matrix(n, n);
    for (std::size_t j = 0; j < n; ++j) {
        out.energy[j] = e[j];
        out.energy_std[j] = std::sqrt(std::max(0.0, cov(j, j)));
        if (time_s[j] > 0.0) {
            out.rate[j] = e[j] / time_s[j];
            out.rate_std[j] = out.energy_std[j] / time_s[j];
        }
        for (std::size_t i = 0; i < n; ++i) out.cov(j, i) = cov(j, i);
        out.unattributed -= e[j];
    }
    out.baseline_energy = e[n];
    out.baseline_std = std::sqrt(std::max(0.0, cov(n, n)));
    out.unattributed -= e[n];
    return out;
}

}  // namespace picojoule
