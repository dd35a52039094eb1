// The energy of kernels of which only a sample was kept one by one (model/kernel_sample.h).
#pragma once

#include <utility>
#include <vector>

#include "analysis/attribute.h"
#include "analysis/energy.h"
#include "analysis/windows.h"
#include "model/trace.h"

namespace picojoule {

// The sample's level; 0: all were kept.
unsigned sample_level(const Trace& trace);

// Stretches [from, to), in ns after the profile's begin, of which all kernels are known; one that
// began before a stretch may reach `longest_ns` into it.
std::vector<std::pair<double, double>> known_stretches(unsigned level, double span_ns,
                                                       double longest_ns);

// As solve_profile, from readings inside of `known`, in which `activity` ran and nothing else. The
// rates found there are taken to hold for `time_s` seconds of each class, and everything is made to
// add up to `whole`. `idle_s`: of the whole profile. Empty where there are too few readings.
Attributed solve_sample(const Channel& channel, const EnergyCurve& curve, const EnergyOf& whole,
                        double span_ns, const std::vector<std::pair<double, double>>& known,
                        Activity activity, const std::vector<double>& time_s, double idle_s);

}  // namespace picojoule
