// The energy of kernels from one device's meter and timeline, solved by the estimator
// (attribute.h): joules of every (path, kernel, track) cell with their doubt, such that the parts
// and the idle time add up to the meter.
#pragma once

#include <cstdint>
#include <vector>

#include "analysis/attribute.h"
#include "analysis/energy.h"
#include "model/trace.h"

namespace picojoule {

// Sums over kernels kept one by one, sorted by path, class and track.
std::vector<KernelCell> sum_kernels(const std::vector<Record>& kernels);

// What a kernel class is expected to draw, from its FLOPs and bytes: by index into
// Trace::kernel_classes, NaN where nothing is known. Empty: of none.
struct KernelPriors {
    std::vector<double> watts, cv;
};

// How one device's joules fall to what ran on it.
struct DeviceUse {
    std::uint32_t channel{};
    std::vector<std::uint32_t> cells;  // indices into Trace::kernel_cells
    std::vector<double> joules;        // of each
    std::vector<double> std_j;
    // Cells of which only the sum is known have the same number; -1: none.
    std::vector<int> group;
    std::vector<double> group_j, group_std_j;  // of each such sum
    std::vector<std::uint8_t> identified;      // the readings themselves determine the rate
    // Seconds that it ran inside the profile, to whose energy its joules belong; with "sums" all of
    // its time, since where a kernel lies is not known then.
    std::vector<double> inside_s;
    double busy_s{};  // at least one kernel or copy ran
    double busy_j{}, busy_std_j{};
    double idle_s{};
    double idle_j{}, idle_std_j{};
    // Idle time by the region that was open on the host meanwhile, the innermost; by path, 0: none.
    std::vector<double> idle_path_s;
    double unattributed_j{};
    double residual_j{};  // what the model left unexplained before it was made to add up
    Hyper hyper;
    // How it was done: "timeline" (kernels kept one by one, solved) or "sums" (only their sums are
    // known, so each gets the mean power of all busy time), or "sample" (solved in stretches drawn
    // at random, of which all kernels were kept; their sums are of all).
    const char* spread{""};
};

// Whether kernels ran on the device whose joules this channel counts.
bool runs_kernels(const Trace& trace, std::size_t channel);

// REQUIRES: runs_kernels(trace, channel); `use`: path_use(trace). `whole`: of the profile; becomes
// what is known of it once it is known what ran between its ends and the nearest ticks.
DeviceUse device_use(const Trace& trace, std::size_t channel, const EnergyCurve& curve,
                     EnergyOf& whole, const std::vector<PathUse>& use,
                     const KernelPriors& priors = {});

}  // namespace picojoule
