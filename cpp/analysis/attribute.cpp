#include "analysis/attribute.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "analysis/clock_track.h"
#include "analysis/solver.h"

namespace picojoule {
namespace {

constexpr std::size_t kFewReadings = 20;

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
    if (told || input.value.size() < kFewReadings) return found;
    // Now that it is known how far edges are off, it is known too what may lie beyond them.
    const std::vector<double> edge_std(input.value.size(), found.hyper.edge_std_ns);
    AttributeInput again = input;
    again.edge_std_ns = edge_std;
    again.settle_edges = false;
    return solved(again);
}

}  // namespace picojoule
