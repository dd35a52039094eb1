// The energy of every region from one channel: solved where regions share the meter's ticks, read
// off the meter where they do not.
#pragma once

#include <vector>

#include "analysis/energy.h"
#include "model/trace.h"

namespace picojoule {

struct RegionEnergy {
    EnergyOf energy;
    bool solved{};      // its own share of shared ticks was solved for, not taken by time
    bool identified{};  // the readings themselves determine it
    // Where CPU time is what a domain's joules are shared by: of the region's own time, the part in
    // which it was not known. As long as that is little, threads are taken to have been as busy
    // then as else; beyond, all regions are shared by wall time instead, and this is 1.
    double cpu_unknown{};
};

// By path, inner regions included. `whole`: of the profile; becomes what is known of it once its
// regions are solved for. Regions at rest, and time outside of
// all of them, add up with what these have to `whole` where it was solved.
std::vector<RegionEnergy> region_energies(const Trace& trace, std::size_t channel,
                                          const EnergyCurve& curve, EnergyOf& whole,
                                          const std::vector<PathUse>& use);

}  // namespace picojoule
