// Where the clock was in each block of readings, and the path with few terms through these blocks.
#pragma once

#include <cstddef>
#include <vector>

#include "analysis/clock_path.h"

namespace picojoule {

// Standard deviation of a path's terms before the readings, about a path that was found.
constexpr double kClockStdNs = 5e4;

struct ClockBlock {
    double at_s{};
    double ns{};
    double std_ns{};
};

// Offset and rate, and steps and bends at edges between blocks where they pay for themselves.
// `span_s`: of time, from 0 on.
ClockPath path_through(const std::vector<ClockBlock>& blocks, double span_s);

}  // namespace picojoule
