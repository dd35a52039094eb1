#include "analysis/region_energy.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>

#include "analysis/windows.h"

namespace picojoule {
namespace {

// Regions that are solved for one by one; those with less time of their own are one class.
constexpr std::size_t kMostClasses = 256;
// Fewer readings than this say less than shares by time.
constexpr std::size_t kFewest = 12;
// A determined region's energy is known at least this well.
constexpr double kKnown = 0.1;
// CPU time counts where regions computed for less than this share of their time,
constexpr double kWaits = 0.9;
// and unless it is not known for more than this share.
constexpr double kMostUnknown = 0.1;

// CPU time by path, with what is not known of it made good.
struct CpuTime {
    std::vector<std::vector<PathUse::Stretch>> by_path;
    std::vector<double> unknown;  // (paths,) share of the own time
    bool tells{};                 // more than wall time does of what joules were used for
};

// When each path was open without an inner one, or (`cpu`) computed so. Where only sums are known,
// they are spread evenly over the readings that they may lie in, and inside a reading one after the
// other.
class OwnTime {
  public:
    OwnTime(const Trace& trace, const std::vector<PathUse>& use, const Timeline& line,
            const CpuTime* cpu = nullptr)
        : trace_(trace), use_(use), line_(line), cpu_(cpu) {}

    // The sink gets (path, from, to) in order of `from`, in ns.
    template <class Sink>
    void each(Sink&& sink) const {
        struct Edge {
            double at;
            std::uint32_t path;
            double change;
        };
        std::vector<Edge> edges;
        for (std::uint32_t p = 1; p < use_.size(); ++p) {
            for (const PathUse::Stretch& s :
                 cpu_ != nullptr ? cpu_->by_path[p] : use_[p].stretches) {
                edges.push_back({s.from_ns, p, s.density});
                edges.push_back({s.to_ns, p, -s.density});
            }
        }
        for (const double at : line_.time_ns) edges.push_back({at, 0, 0.0});
        std::stable_sort(edges.begin(), edges.end(),
                         [](const Edge& a, const Edge& b) { return a.at < b.at; });
        std::vector<double> density(use_.size(), 0.0), inner(use_.size(), 0.0);
        std::vector<std::uint32_t> open;  // paths whose density is not 0, ascending
        struct Piece {
            double from, to;
            std::uint32_t path;
        };
        std::vector<Piece> pieces;
        std::size_t i = 0;
        while (i < edges.size()) {
            const double at = edges[i].at;
            for (; i < edges.size() && edges[i].at <= at; ++i) {
                const Edge& e = edges[i];
                if (e.path == 0) continue;  // a reading's edge
                const bool was = density[e.path] > kNothing;
                density[e.path] += e.change;
                const bool is = density[e.path] > kNothing;
                if (was == is) continue;
                const auto place = std::lower_bound(open.begin(), open.end(), e.path);
                if (is) {
                    open.insert(place, e.path);
                } else {
                    open.erase(place);
                    density[e.path] = 0.0;
                }
            }
            if (i == edges.size() || open.empty()) continue;
            const double length = edges[i].at - at;
            if (length <= 0.0) continue;
            if (cpu_ == nullptr) {
                for (const auto p : open) inner[trace_.paths[p].parent] += density[p];
            }
            // What does not fit one after the other ran at once, in other threads.
            double place = 0.0;
            pieces.clear();
            for (const auto p : open) {
                // Several threads may compute in one region at once.
                double own =
                    std::clamp(density[p] - inner[p], 0.0, cpu_ != nullptr ? 64.0 : 1.0) * length;
                while (own > kNothing * length) {
                    const double here = std::min(own, length - place);
                    pieces.push_back({at + place, at + place + here, p});
                    own -= here;
                    place += here;
                    if (place >= length * (1.0 - 1e-12)) place = 0.0;
                }
            }
            for (const auto p : open) inner[trace_.paths[p].parent] = 0.0;
            std::stable_sort(pieces.begin(), pieces.end(),
                             [](const Piece& a, const Piece& b) { return a.from < b.from; });
            for (const Piece& p : pieces) sink(p.path, p.from, p.to);
        }
    }

  private:
    static constexpr double kNothing = 1e-9;
    const Trace& trace_;
    const std::vector<PathUse>& use_;
    const Timeline& line_;
    const CpuTime* cpu_;
};

CpuTime cpu_time(const Channel& channel, const std::vector<PathUse>& use,
                 const std::vector<double>& own_ns) {
    CpuTime out;
    out.by_path.resize(use.size());
    out.unknown.assign(use.size(), 0.0);
    if (!channel.domain.starts_with("cpu")) return out;
    const auto sum = [](const std::vector<PathUse::Stretch>& of) {
        double ns = 0.0;
        for (const auto& s : of) ns += s.density * (s.to_ns - s.from_ns);
        return ns;
    };
    // Times of cells have inner regions in them, CPU time has not.
    double cpu_ns = 0.0, wall_ns = 0.0, known_ns = 0.0;
    for (std::size_t p = 1; p < use.size(); ++p) {
        const double missing = sum(use[p].cpu_unknown);
        if (missing > 0.0) {
            out.unknown[p] = std::min(1.0, missing / static_cast<double>(use[p].time_ns));
        }
        cpu_ns += sum(use[p].cpu);
        wall_ns += own_ns[p];
        known_ns += own_ns[p] * (1.0 - out.unknown[p]);
    }
    if (wall_ns <= 0.0) return out;
    if (wall_ns - known_ns > kMostUnknown * wall_ns) {
        out.unknown.assign(use.size(), 1.0);
        return out;
    }
    for (std::size_t p = 1; p < use.size(); ++p) {
        out.by_path[p] = use[p].cpu;
        if (out.unknown[p] == 0.0) continue;
        const double time_ns = static_cast<double>(use[p].time_ns);
        const double known = (1.0 - out.unknown[p]) * time_ns;
        // As busy as it is else, or where nothing is known of it, as all are.
        const double busy = out.unknown[p] < 0.5 ? sum(use[p].cpu) / known
                                                 : own_ns[p] / time_ns * cpu_ns / known_ns;
        for (PathUse::Stretch s : use[p].cpu_unknown) {
            s.density *= busy;
            out.by_path[p].push_back(s);
        }
    }
    out.tells = cpu_ns < kWaits * known_ns;
    return out;
}

}  // namespace

std::vector<RegionEnergy> region_energies(const Trace& trace, std::size_t channel,
                                          const EnergyCurve& curve, EnergyOf& whole,
                                          const std::vector<PathUse>& use) {
    std::vector<RegionEnergy> out(use.size());
    bool shared = false;
    for (std::size_t p = 0; p < use.size(); ++p) {
        out[p].energy = energy_of(curve, use[p]);
        shared |= !use[p].stretches.empty() && !out[p].energy.resolved &&
                  !std::isnan(out[p].energy.joules);
    }
    const double span_ns = static_cast<double>(trace.end_ns - trace.begin_ns);
    if (std::isnan(whole.joules) || curve.timeline().size() < kFewest) return out;

    const OwnTime open(trace, use, curve.timeline());
    std::vector<double> open_ns(use.size(), 0.0);
    double until = 0.0;
    open.each([&](std::uint32_t path, double from, double to) {
        open_ns[path] += to - from;
        shared |= from < until - 1e-3 * (to - from);  // beside another
        until = std::max(until, to);
    });
    const CpuTime computed = cpu_time(trace.channels[channel], use, open_ns);
    const bool cpu = computed.tells;
    if (!shared && !cpu) return out;

    const OwnTime own(trace, use, curve.timeline(), cpu ? &computed : nullptr);
    std::vector<double> own_ns(use.size(), 0.0);
    own.each([&](std::uint32_t path, double from, double to) { own_ns[path] += to - from; });
    std::vector<std::uint32_t> by_time;
    for (std::uint32_t p = 1; p < use.size(); ++p) {
        if (own_ns[p] > 0.0) by_time.push_back(p);
    }
    std::stable_sort(by_time.begin(), by_time.end(),
                     [&](std::uint32_t a, std::uint32_t b) { return own_ns[a] > own_ns[b]; });
    const std::size_t alone = std::min(by_time.size(), kMostClasses);
    std::vector<std::int32_t> solved_as(use.size(), -1);
    for (std::size_t i = 0; i < by_time.size(); ++i) {
        solved_as[by_time[i]] = static_cast<std::int32_t>(std::min(i, alone));
    }
    Activity activity;
    activity.n_classes = alone + (by_time.size() > alone ? 1 : 0);
    own.each([&](std::uint32_t path, double from, double to) {
        const auto a = static_cast<std::int64_t>(std::llround(std::clamp(from, 0.0, span_ns)));
        const auto b = static_cast<std::int64_t>(std::llround(std::clamp(to, 0.0, span_ns)));
        if (b <= a) return;
        const std::int32_t cls = solved_as[path];
        if (!activity.to.empty() && activity.cls.back() == cls && activity.to.back() == a) {
            activity.to.back() = b;
            return;
        }
        activity.from.push_back(a);
        activity.to.push_back(b);
        activity.cls.push_back(cls);
    });
    activity.covariates = covariates_of(trace, trace.channels[channel].domain);
    const std::size_t k = activity.n_classes;
    const Attributed found =
        solve_profile(trace.channels[channel], curve, whole, span_ns, std::move(activity));
    whole = whole_of(found, whole);
    // Shares of the classes in each path, inner ones included: a path's number is above its
    // parent's.
    std::vector<std::vector<std::pair<std::uint32_t, double>>> in(use.size());
    for (std::size_t p = use.size(); p-- > 1;) {
        if (solved_as[p] >= 0) {
            const auto c = static_cast<std::uint32_t>(solved_as[p]);
            const double time_ns = found.time_s[c] * 1e9;
            in[p].emplace_back(c, c < alone ? 1.0 : time_ns > 0.0 ? own_ns[p] / time_ns : 0.0);
        }
        const std::size_t parent = trace.paths[p].parent;
        if (parent != 0) in[parent].insert(in[parent].end(), in[p].begin(), in[p].end());
    }
    // Idle power is credited to who waited meanwhile.
    std::vector<double> waits(use.size(), 0.0);
    double waited_ns = found.idle_s * 1e9;
    if (cpu) {
        double sum = 0.0;
        for (std::size_t p = 1; p < use.size(); ++p) {
            sum += waits[p] = std::max(0.0, open_ns[p] - own_ns[p]);
        }
        waited_ns = std::max(waited_ns, sum);
        for (std::size_t p = use.size(); p-- > 1;) {
            const std::size_t parent = trace.paths[p].parent;
            if (parent != 0) waits[parent] += waits[p];
        }
    }
    for (std::size_t p = 1; p < use.size(); ++p) {
        if (use[p].stretches.empty()) continue;
        const double idle = waited_ns > 0.0 ? waits[p] / waited_ns : 0.0;
        double joules = idle * found.baseline_energy;
        double variance = idle * found.baseline_std * idle * found.baseline_std;
        bool identified = true;
        for (const auto& [a, share] : in[p]) {
            joules += share * found.energy[a];
            for (const auto& [b, other] : in[p]) variance += share * other * found.cov(a, b);
            identified &= a < alone && a < k && found.identified[a] != 0;
        }
        EnergyOf& e = out[p].energy;
        e.joules = joules;
        e.std_j = std::hypot(std::sqrt(std::max(0.0, variance)), doubt_of_gaps(whole) * joules);
        out[p].solved = true;
        out[p].cpu_unknown = computed.unknown[p];
        // A sum may be known where its parts are not.
        out[p].identified = identified || e.std_j < kKnown * joules;
    }
    return out;
}

}  // namespace picojoule
