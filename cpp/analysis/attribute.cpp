#include "analysis/attribute.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include "analysis/clock_track.h"
#include "analysis/solver.h"

namespace picojoule {
namespace {

constexpr std::size_t kFewReadings = 20;
// Edges that are better by so much than was claimed are looked at again with less blur, where that
// is no great work (readings times unknowns squared).
constexpr double kMuchBetter = 0.25;
constexpr double kMostWork = 1e9;

Attributed solved(const AttributeInput& input) {
    Solver solver(input);
    solver.fit();
    const std::optional<ClockPath> path = track_clock(input, solver);
    if (!path) return solver.account();
    AttributeInput moved = input;
    moved.clock = &*path;
    Solver on_path(moved);
    on_path.fit();
    return explains_more(on_path, solver) ? on_path.account() : solver.account();
}

}  // namespace

Attributed attribute(const AttributeInput& input) {
    Attributed found = solved(input);
    const bool told = std::any_of(input.edge_std_ns.begin(), input.edge_std_ns.end(),
                                  [](double s) { return s > 0.0; });
    const std::size_t n = input.value.size();
    if (n < kFewReadings) return found;
    if (told) {
        const auto p = static_cast<double>(input.n_classes + 1);
        const bool great = static_cast<double>(n) * p * p > kMostWork;
        if (!(found.hyper.edge_scale < kMuchBetter) || great) return found;
        AttributeInput again = input;
        again.edge_factor = std::sqrt(found.hyper.edge_scale);
        return solved(again);
    }
    // Now that it is known how far edges are off, it is known too what may lie beyond them.
    const std::vector<double> edge_std(input.value.size(), found.hyper.edge_std_ns);
    AttributeInput again = input;
    again.edge_std_ns = edge_std;
    again.settle_edges = false;
    return solved(again);
}

}  // namespace picojoule
