// Series that a device's power may move with, whatever runs on it: its clocks and temperatures.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/trace.h"

namespace picojoule {

struct Covariate {
    std::vector<std::int64_t> t_ns;  // after the profile's begin, ascending
    std::vector<double> value;       // hertz, or degrees Celsius
    double std_per_unit;             // of power, relative: how far it may go with it
};

// The clocks and temperatures of a domain ("gpu:0") that changed while they were looked at.
std::vector<Covariate> covariates_of(const Trace& trace, const std::string& domain);

}  // namespace picojoule
