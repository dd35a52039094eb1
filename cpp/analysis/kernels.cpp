#include "analysis/kernels.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <queue>
#include <tuple>

namespace picojoule {
namespace {

// Spread of the power of kernels that share a tick: even spreading by time was off by 48 to 54 % a
// kernel in published simulations of such mixes.
constexpr double kContrast = 0.5;

using CellKey = std::tuple<std::uint32_t, std::uint32_t, std::uint32_t>;

CellKey key_of(const Record& r) {
    return {static_cast<std::uint32_t>(r.c), r.d, r.id};
}

// Joules up to an instant that only moves forward.
class EnergyWalk {
  public:
    explicit EnergyWalk(const Timeline& line) : line_(line) {}

    struct Place {
        double joules{};
        std::size_t window{};  // index of the tick that ends it
    };
    Place at(double t_ns) {
        const auto& time = line_.time_ns;
        while (next_ + 1 < time.size() && time[next_] <= t_ns) ++next_;
        if (line_.broken[next_]) return {line_.joules[next_ - 1], next_};
        const double width = time[next_] - time[next_ - 1];
        const double watts_ns = (line_.joules[next_] - line_.joules[next_ - 1]) / width;
        // Before the first and after the last tick: as in the nearest window, for one of them.
        const double t = std::clamp(t_ns, time.front() - width, time.back() + width);
        return {line_.joules[next_ - 1] + (t - time[next_ - 1]) * watts_ns, next_};
    }

  private:
    const Timeline& line_;
    std::size_t next_{1};
};

// How much of the ticks it runs in a cell has for itself: 1 where it fills them.
class TickShare {
  public:
    void add(std::size_t window, double seconds, double tick_s) {
        if (window != window_) flush();
        window_ = window;
        tick_s_ = tick_s;
        inside_ += seconds;
    }
    double finish() {
        flush();
        return total_ > 0.0 ? std::min(1.0, square_ / total_) : 0.0;
    }

  private:
    void flush() {
        if (inside_ > 0.0 && tick_s_ > 0.0) {
            square_ += inside_ * std::min(1.0, inside_ / tick_s_);
            total_ += inside_;
        }
        inside_ = 0.0;
    }
    std::size_t window_{};
    double inside_{}, tick_s_{}, square_{}, total_{};
};

bool on_device(const Trace& trace, std::uint32_t track, const Channel& channel) {
    return tells_energy(channel.quantity) && track < trace.tracks.size() &&
           trace.tracks[track].domain == channel.domain;
}

struct Running {
    double end_ns{};
    double virtual_j{};  // at its begin
    std::size_t cell{};
    bool operator>(const Running& other) const noexcept { return end_ns > other.end_ns; }
};

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

DeviceUse device_use(const Trace& trace, std::size_t channel, const EnergyCurve& curve) {
    const Channel& c = trace.channels[channel];
    DeviceUse out;
    out.channel = static_cast<std::uint32_t>(channel);
    std::map<CellKey, std::size_t> place;
    for (std::size_t i = 0; i < trace.kernel_cells.size(); ++i) {
        const KernelCell& cell = trace.kernel_cells[i];
        if (!on_device(trace, cell.track, c)) continue;
        place[{cell.path, cell.kernel_class, cell.track}] = out.cells.size();
        out.cells.push_back(static_cast<std::uint32_t>(i));
    }
    const std::size_t n = out.cells.size();
    const double span_ns = static_cast<double>(trace.end_ns - trace.begin_ns);
    const EnergyOf whole = curve.between(0.0, span_ns);
    constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
    out.joules.assign(n, kNaN);
    out.std_j.assign(n, kNaN);
    out.inside_s.assign(n, 0.0);
    std::vector<double> share(n, 0.0);
    if (trace.kernels.empty()) {
        out.spread = "sums";
        double sum_s = 0.0;
        for (const auto i : out.cells) {
            sum_s += static_cast<double>(trace.kernel_cells[i].time_ns) * 1e-9;
        }
        out.busy_s = std::min(sum_s, span_ns * 1e-9);
        out.idle_s = span_ns * 1e-9 - out.busy_s;
        const double busy_j = span_ns > 0.0 ? whole.joules * out.busy_s / (span_ns * 1e-9) : kNaN;
        out.idle_j = whole.joules - busy_j;
        for (std::size_t i = 0; i < n; ++i) {
            const double own = static_cast<double>(trace.kernel_cells[out.cells[i]].time_ns) * 1e-9;
            out.joules[i] = sum_s > 0.0 ? busy_j * own / sum_s : 0.0;
            out.inside_s[i] = own;
        }
    } else {
        out.spread = "timeline";
        const bool metered = !curve.empty();
        static const Timeline kNothing;
        EnergyWalk walk(metered ? curve.timeline() : kNothing);
        const std::vector<double>& ticks = curve.timeline().time_ns;
        std::vector<double> own(n, 0.0);
        std::vector<TickShare> shares(n);
        std::priority_queue<Running, std::vector<Running>, std::greater<>> running;
        double now = 0.0;        // ns after begin
        double counted = 0.0;    // joules at `now`
        double virtual_j = 0.0;  // what a kernel that had run all the time would have
        if (metered) counted = walk.at(0.0).joules;
        const double first = counted;
        const auto advance = [&](double to) {
            to = std::clamp(to, now, span_ns);
            if (to <= now) return;
            const double seconds = (to - now) * 1e-9;
            const double joules = metered ? walk.at(to).joules - counted : kNaN;
            if (running.empty()) {
                out.idle_s += seconds;
                out.idle_j += joules;
            } else {
                out.busy_s += seconds;
                virtual_j += joules / static_cast<double>(running.size());
            }
            counted += joules;
            now = to;
        };
        const auto finish_until = [&](double t) {
            while (!running.empty() && running.top().end_ns <= t) {
                advance(running.top().end_ns);
                own[running.top().cell] += virtual_j - running.top().virtual_j;
                running.pop();
            }
            advance(t);
        };
        std::size_t window = 1;
        for (const Record& r : trace.kernels) {
            if (!on_device(trace, r.id, c)) continue;
            const double from = std::clamp(static_cast<double>(r.a - trace.begin_ns), 0.0, span_ns);
            const double to = std::clamp(static_cast<double>(r.b - trace.begin_ns), 0.0, span_ns);
            if (to <= from) continue;
            finish_until(from);
            const auto cell = place.find(key_of(r));
            if (cell == place.end()) continue;
            running.push({to, virtual_j, cell->second});
            out.inside_s[cell->second] += (to - from) * 1e-9;
            if (!metered) continue;
            // By ticks: what else shares them is what is not known.
            while (window + 1 < ticks.size() && ticks[window] <= from) ++window;
            double begin = from;
            for (std::size_t w = window; begin < to; ++w) {
                const bool last = w + 1 >= ticks.size();
                const double end = last ? to : std::min(to, std::max(begin, ticks[w]));
                const double tick_s = (ticks[w] - ticks[w - 1]) * 1e-9;
                shares[cell->second].add(w, (end - begin) * 1e-9, tick_s);
                begin = end;
                if (last) break;
            }
        }
        finish_until(span_ns);
        // The same edges and the same rule, but not to the last digit: the parts add up to the
        // meter's total by construction.
        const double scale = counted > first ? whole.joules / (counted - first) : 1.0;
        out.idle_j *= scale;
        for (std::size_t i = 0; i < n; ++i) {
            out.joules[i] = own[i] * scale;
            share[i] = shares[i].finish();
        }
    }
    const double relative = whole.joules > 0.0 ? whole.std_j / whole.joules : 0.0;
    for (std::size_t i = 0; i < n; ++i) {
        out.std_j[i] =
            std::hypot(kContrast * (1.0 - share[i]) * out.joules[i], relative * out.joules[i]);
    }
    return out;
}

}  // namespace picojoule
