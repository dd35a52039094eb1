#include "analysis/kernels.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <tuple>

#include "analysis/kernel_sample.h"
#include "analysis/windows.h"

namespace picojoule {
namespace {

// Spread of the power of kernels that share a tick: even spreading by time was off by 48 to 54 % a
// kernel in published simulations of such mixes.
constexpr double kContrast = 0.5;
using CellKey = std::tuple<std::uint32_t, std::uint32_t, std::uint32_t>;

CellKey key_of(const Record& r) {
    return {static_cast<std::uint32_t>(r.c), r.d, r.id};
}

bool on_device(const Trace& trace, std::uint32_t track, const Channel& channel) {
    return tells_energy(channel.quantity) && track < trace.tracks.size() &&
           trace.tracks[track].domain == channel.domain;
}

// Classes that are solved for one by one; what ran less than these is one class, so that a program
// with thousands of launch shapes stays solvable.
constexpr std::size_t kMostClasses = 512;
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// Time up to an instant in which nothing ran on the device.
class IdleTime {
  public:
    void add(double from, double to) {
        if (to <= from) return;
        const double before = sum_.empty() ? 0.0 : sum_.back() + to_.back() - from_.back();
        from_.push_back(from);
        to_.push_back(to);
        sum_.push_back(before);
    }
    [[nodiscard]] double until(double t) const {
        const auto it = std::upper_bound(from_.begin(), from_.end(), t);
        if (it == from_.begin()) return 0.0;
        const auto i = static_cast<std::size_t>(it - from_.begin()) - 1;
        return sum_[i] + std::min(t, to_[i]) - from_[i];
    }

  private:
    std::vector<double> from_, to_, sum_;
};

// Idle time of each path, without that of the paths below it.
std::vector<double> idle_by_path(const Trace& trace, const std::vector<PathUse>& use,
                                 const IdleTime& idle, double idle_ns) {
    std::vector<double> own(use.size(), 0.0);
    for (std::size_t p = 1; p < use.size(); ++p) {
        for (const PathUse::Stretch& s : use[p].stretches) {
            own[p] += std::min(1.0, s.density) * (idle.until(s.to_ns) - idle.until(s.from_ns));
        }
    }
    std::vector<double> out = own;
    double top = 0.0;
    for (std::size_t p = use.size(); p-- > 1;) {
        const std::size_t parent = trace.paths[p].parent;
        if (parent == 0) {
            top += own[p];
        } else {
            out[parent] -= own[p];
        }
    }
    if (out.empty()) out.assign(1, 0.0);
    double sum = 0.0;
    for (std::size_t p = 1; p < out.size(); ++p) sum += out[p] = std::max(0.0, out[p]);
    // Several threads had regions open in one gap: they share it.
    const double scale = sum > idle_ns && sum > 0.0 ? idle_ns / sum : 1.0;
    for (std::size_t p = 1; p < out.size(); ++p) out[p] *= scale * 1e-9;
    out[0] = std::max(0.0, idle_ns - sum * scale) * 1e-9;
    return out;
}

// All there is where kernels were not kept one by one: the mean power of all busy time.
void spread_sums(const Trace& trace, const EnergyOf& whole, double span_ns, DeviceUse& out) {
    out.spread = "sums";
    double sum_s = 0.0;
    for (const auto i : out.cells) {
        sum_s += static_cast<double>(trace.kernel_cells[i].time_ns) * 1e-9;
    }
    out.busy_s = std::min(sum_s, span_ns * 1e-9);
    out.idle_s = span_ns * 1e-9 - out.busy_s;
    out.busy_j = span_ns > 0.0 ? whole.joules * out.busy_s / (span_ns * 1e-9) : kNaN;
    out.idle_j = whole.joules - out.busy_j;
    const double relative = whole.joules > 0.0 ? whole.std_j / whole.joules : 0.0;
    for (std::size_t i = 0; i < out.cells.size(); ++i) {
        const double own = static_cast<double>(trace.kernel_cells[out.cells[i]].time_ns) * 1e-9;
        out.joules[i] = sum_s > 0.0 ? out.busy_j * own / sum_s : 0.0;
        out.std_j[i] = std::hypot(kContrast, relative) * out.joules[i];
        out.inside_s[i] = own;
    }
    out.busy_std_j = out.idle_std_j =
        std::hypot(kContrast * std::min(out.idle_j, out.busy_j), relative * whole.joules);
}

}  // namespace

std::vector<KernelCell> sum_kernels(const std::vector<Record>& kernels) {
    std::map<CellKey, KernelCell> cells;
    for (const Record& r : kernels) {
        KernelCell& c = cells[key_of(r)];
        const std::int64_t ns = r.b - r.a;
        if (c.count == 0) {
            std::tie(c.path, c.kernel_class, c.track) = key_of(r);
            c.least_ns = c.most_ns = ns;
        }
        c.flags |= r.flags;
        ++c.count;
        c.time_ns += ns;
        c.time2_ns2 += static_cast<double>(ns) * static_cast<double>(ns);
        c.least_ns = std::min(c.least_ns, ns);
        c.most_ns = std::max(c.most_ns, ns);
    }
    std::vector<KernelCell> out;
    out.reserve(cells.size());
    for (const auto& [key, cell] : cells) out.push_back(cell);
    return out;
}

bool runs_kernels(const Trace& trace, std::size_t channel) {
    const Channel& c = trace.channels[channel];
    return std::any_of(trace.kernel_cells.begin(), trace.kernel_cells.end(),
                       [&](const KernelCell& cell) { return on_device(trace, cell.track, c); });
}

DeviceUse device_use(const Trace& trace, std::size_t channel, const EnergyCurve& curve,
                     EnergyOf& whole, const std::vector<PathUse>& use, const KernelPriors& priors) {
    const Channel& c = trace.channels[channel];
    DeviceUse out;
    out.channel = static_cast<std::uint32_t>(channel);
    std::map<CellKey, std::size_t> place;
    std::vector<double> class_ns(trace.kernel_classes.size(), 0.0);
    for (std::size_t i = 0; i < trace.kernel_cells.size(); ++i) {
        const KernelCell& cell = trace.kernel_cells[i];
        if (!on_device(trace, cell.track, c)) continue;
        place[{cell.path, cell.kernel_class, cell.track}] = out.cells.size();
        out.cells.push_back(static_cast<std::uint32_t>(i));
        class_ns[cell.kernel_class] += static_cast<double>(cell.time_ns);
    }
    const std::size_t n = out.cells.size();
    const double span_ns = static_cast<double>(trace.end_ns - trace.begin_ns);
    out.joules.assign(n, kNaN);
    out.std_j.assign(n, kNaN);
    out.inside_s.assign(n, 0.0);
    out.group.assign(n, -1);
    out.identified.assign(n, 0);
    if (trace.kernels.empty()) {
        spread_sums(trace, whole, span_ns, out);
        return out;
    }
    out.spread = "timeline";

    // Rates belong to kernels with their launch shape, wherever they were launched from.
    std::vector<std::uint32_t> by_time;
    for (std::uint32_t k = 0; k < class_ns.size(); ++k) {
        if (class_ns[k] > 0.0) by_time.push_back(k);
    }
    std::stable_sort(by_time.begin(), by_time.end(),
                     [&](std::uint32_t a, std::uint32_t b) { return class_ns[a] > class_ns[b]; });
    const std::size_t own_class = std::min(by_time.size(), kMostClasses);
    const bool has_rest = by_time.size() > own_class;
    std::vector<std::int32_t> solved_as(class_ns.size(), static_cast<std::int32_t>(own_class));
    for (std::size_t i = 0; i < own_class; ++i)
        solved_as[by_time[i]] = static_cast<std::int32_t>(i);
    const std::size_t outside = own_class + (has_rest ? 1 : 0);

    // All of the profile, or the stretches of it of which all kernels were kept.
    const unsigned level = sample_level(trace);
    double longest_ns = 0.0;
    for (const auto i : out.cells) {
        longest_ns = std::max(longest_ns, static_cast<double>(trace.kernel_cells[i].most_ns));
    }
    std::vector<std::pair<double, double>> known{{0.0, span_ns}};
    if (level > 0) known = known_stretches(level, span_ns, longest_ns);

    Activity activity;
    IdleTime idle;
    double known_ns = 0.0, idle_ns = 0.0, run_ns = 0.0;
    std::size_t at = 0;
    double busy_until = known.empty() ? 0.0 : known[0].first;
    const auto run_until = [&](double begin, double end) {
        if (begin > busy_until) {
            idle.add(busy_until, begin);
            idle_ns += begin - busy_until;
        }
        busy_until = std::max(busy_until, end);
    };
    const auto leave_stretch = [&] {
        run_until(known[at].second, known[at].second);
        known_ns += known[at].second - known[at].first;
        if (++at < known.size()) busy_until = known[at].first;
    };
    for (const Record& r : trace.kernels) {
        if (!on_device(trace, r.id, c)) continue;
        const auto from_ns = static_cast<double>(r.a - trace.begin_ns);
        while (at < known.size() && from_ns >= known[at].second) leave_stretch();
        if (at == known.size()) break;
        const auto [low, high] = known[at];
        const double begin = std::clamp(from_ns, low, high);
        const double end = std::clamp(static_cast<double>(r.b - trace.begin_ns), low, high);
        const auto cell = place.find(key_of(r));
        if (end <= begin || cell == place.end()) continue;
        out.inside_s[cell->second] += (end - begin) * 1e-9;
        run_ns += end - begin;
        run_until(begin, end);
        activity.from.push_back(static_cast<std::int64_t>(begin));
        activity.to.push_back(static_cast<std::int64_t>(end));
        activity.cls.push_back(solved_as[r.d]);
    }
    while (at < known.size()) leave_stretch();
    const double idle_known_ns = idle_ns;
    std::vector<double> class_s(outside, 0.0);
    if (level > 0) {  // of the rest the sums are known, and that it was as full
        double sum_ns = 0.0;
        for (std::size_t i = 0; i < n; ++i) {
            const KernelCell& cell = trace.kernel_cells[out.cells[i]];
            const auto time_ns = static_cast<double>(cell.time_ns);
            out.inside_s[i] = time_ns * 1e-9;
            class_s[static_cast<std::size_t>(solved_as[cell.kernel_class])] += out.inside_s[i];
            sum_ns += time_ns;
        }
        const double at_once = run_ns > 0.0 ? (known_ns - idle_known_ns) / run_ns : 1.0;
        idle_ns = std::max(0.0, span_ns - sum_ns * at_once);
    }
    out.idle_s = idle_ns * 1e-9;
    out.busy_s = (span_ns - idle_ns) * 1e-9;
    out.idle_path_s = idle_by_path(trace, use, idle, idle_known_ns);
    if (level > 0 && idle_known_ns > 0.0) {
        for (double& s : out.idle_path_s) s *= idle_ns / idle_known_ns;
    }
    if (curve.empty() || std::isnan(whole.joules) || span_ns <= 0.0) {
        out.idle_j = out.busy_j = out.idle_std_j = out.busy_std_j = kNaN;
        return out;
    }

    activity.n_classes = outside;
    activity.covariates = covariates_of(trace, c.domain);
    if (!priors.watts.empty()) {
        activity.prior_rate.assign(outside, kNaN);
        activity.prior_cv.assign(outside, 1.0);
        for (std::size_t i = 0; i < own_class; ++i) {
            activity.prior_rate[i] = priors.watts[by_time[i]];
            activity.prior_cv[i] = priors.cv[by_time[i]];
        }
    }
    const Attributed found = level == 0
                                 ? solve_profile(c, curve, whole, span_ns, std::move(activity))
                                 : solve_sample(c, curve, whole, span_ns, known,
                                                std::move(activity), class_s, out.idle_s);
    if (found.energy.empty() && outside > 0) {  // too few readings in the sample
        spread_sums(trace, whole, span_ns, out);
        return out;
    }
    if (level > 0) out.spread = "sample";

    const double gaps = doubt_of_gaps(whole);
    std::vector<int> group_of(found.energy.size(), -1);
    for (std::size_t g = 0; g < found.groups.size(); ++g) {
        double joules = 0.0, var = 0.0;
        for (const auto k : found.groups[g]) {
            group_of[k] = static_cast<int>(g);
            joules += found.energy[k];
            for (const auto q : found.groups[g]) var += found.cov(k, q);
        }
        out.group_j.push_back(joules);
        out.group_std_j.push_back(std::hypot(std::sqrt(std::max(0.0, var)), gaps * joules));
    }
    double busy_var = 0.0;
    for (std::size_t i = 0; i < n; ++i) {
        const KernelCell& cell = trace.kernel_cells[out.cells[i]];
        const auto k = static_cast<std::size_t>(solved_as[cell.kernel_class]);
        const double share = found.time_s[k] > 0.0 ? out.inside_s[i] / found.time_s[k] : 0.0;
        out.joules[i] = found.energy[k] * share;
        out.std_j[i] = std::hypot(found.energy_std[k] * share, gaps * out.joules[i]);
        out.group[i] = group_of[k];
        const bool of_rest = has_rest && k == own_class;
        out.identified[i] = of_rest ? 0 : found.identified[k];
        if (of_rest) out.std_j[i] = std::hypot(out.std_j[i], kContrast * out.joules[i]);
    }
    out.busy_j = 0.0;
    for (std::size_t k = 0; k < outside; ++k) {
        out.busy_j += found.energy[k];
        for (std::size_t q = 0; q < outside; ++q) busy_var += found.cov(k, q);
    }
    out.idle_j = found.baseline_energy;
    out.idle_std_j = std::hypot(found.baseline_std, gaps * out.idle_j);
    out.busy_std_j = std::hypot(std::sqrt(std::max(0.0, busy_var)), gaps * out.busy_j);
    if (level == 0) whole = whole_of(found, whole);
    out.unattributed_j = whole.joules - out.busy_j - out.idle_j;
    out.residual_j = found.residual;
    out.hyper = found.hyper;
    return out;
}

}  // namespace picojoule
