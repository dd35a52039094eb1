// Series that a device's power may move with, whatever runs on it: its clocks.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/trace.h"

namespace picojoule {

struct ClockSeries {
    std::vector<std::int64_t> t_ns;  // after the profile's begin, ascending
    std::vector<double> hertz;
};

// The clocks of a domain ("gpu:0") that changed while they were looked at.
std::vector<ClockSeries> clocks_of(const Trace& trace, const std::string& domain);

}  // namespace picojoule
