// Finds how far the clock of the readings is off that of the spans, where residuals ask for it.
//
// An error of the clock is far from linear once it is as long as a kernel, and rates that were
// found with a wrong clock fit that clock. So it is tracked: from a stretch that is too short for
// the clocks to part, over one twice as long, and so on. Of each block of readings the likelihood
// says where the clock was, of all blocks a path with few terms is made (by the Bayesian
// information criterion), and rates and path are fitted together before the stretch grows.
#pragma once

#include <optional>

#include "analysis/attribute.h"
#include "analysis/clock_path.h"
#include "analysis/solver.h"

namespace picojoule {

// The path from the readings' clock to the spans'; nothing where the two agree as far as the
// residuals of `fitted` can tell. REQUIRES: fitted.fit(), of that input.
std::optional<ClockPath> track_clock(const AttributeInput& input, const Solver& fitted);

// Whether the fit on a path pays for the path's terms. REQUIRES: both fitted, of the same readings.
bool explains_more(const Solver& on_path, const Solver& fitted);

}  // namespace picojoule
