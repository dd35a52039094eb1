// The energy of an interval, and of a region, from one channel's ticks: the first honest version.
//
// This is the interface that the attribution solver fills later: a Trace goes in, joules with their
// doubt come out. Here energy inside one tick is spread evenly over its time, and the doubt says
// what that ignores.
#pragma once

#include <cstdint>
#include <vector>

#include "analysis/timeline.h"
#include "model/trace.h"

namespace picojoule {

struct EnergyOf {
    double joules{};
    double std_j{};
    bool resolved{true};   // false: shorter than the meter can see; a share by time
    double uncovered_s{};  // time without any reading, which `joules` does not contain
};

// Energy between two instants (ns after timeline.origin_ns).
//
// What happens inside the first and the last tick is not known. Its size is judged from how power
// moves between ticks: where it is seen to hold for several ticks and then step (resolved steps),
// only a tick that contains a step is in doubt, by at most the step; where neighbouring ticks
// hardly ever agree, power moves faster than the ticks (unresolved), and every tick is in doubt,
// the two edges possibly in the same direction.
class EnergyCurve {
  public:
    explicit EnergyCurve(Timeline line);

    // `steps_at_edges`: power is likely to step just where the interval begins and ends, as it does
    // at the edges of a region; even spreading then errs as much as it can.
    [[nodiscard]] EnergyOf between(double from_ns, double to_ns, bool steps_at_edges = false) const;
    [[nodiscard]] const Timeline& timeline() const noexcept { return line_; }
    [[nodiscard]] bool empty() const noexcept { return line_.size() < 2; }

  private:
    struct Edge {
        double joules{};
        double noise2{};      // variance from tick times and the register's step
        double resolved{};    // std if steps are resolved
        double unresolved{};  // std if they are not
        std::size_t window{};
    };
    [[nodiscard]] Edge edge(double at_ns) const;
    [[nodiscard]] bool one_step(std::size_t next, double f, Edge& e) const;
    [[nodiscard]] bool step_at_the_end(std::size_t next, double f, Edge& e) const;
    [[nodiscard]] double coherence(std::size_t lag) const;

    Timeline line_;
    std::vector<double> watts_;     // of the window that ends at tick k
    std::vector<double> broken_s_;  // seconds without energy up to tick k
    std::vector<double> noise2_;    // cumulative variance of the windows
    std::vector<double> agree_w_;   // the windows that end at ticks k - 1 and k agree within this
    double step2_{};       // mean square change of power from window to window, noise taken off
    double range_w_{};     // from the lowest to the highest window
    double unresolved_{};  // 0: steps are resolved, 1: power moves faster than the ticks
    double inflate_{1.0};  // few windows say little about all this
};

// What the cells say of each path, without any meter.
struct PathUse {
    std::int64_t time_ns{};
    std::uint64_t enters{};
    std::uint64_t exits{};
    std::int32_t open_at_begin{};
    bool concurrent{};  // several calls were open at once
    // When it was open: [from, to) with a density of 1 where known exactly, less where calls were
    // shorter than a snapshot and all that is known is their sum.
    struct Stretch {
        double from_ns{};
        double to_ns{};
        double density{};
    };
    std::vector<Stretch> stretches;
    // CPU time of threads in it as the innermost region, by snapshot: density in seconds a second.
    std::vector<Stretch> cpu;
    // Where that is not known, with the density of its time.
    std::vector<Stretch> cpu_unknown;
};

std::vector<PathUse> path_use(const Trace& trace);
EnergyOf energy_of(const EnergyCurve& curve, const PathUse& use);

}  // namespace picojoule
