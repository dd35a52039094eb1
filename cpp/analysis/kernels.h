// The energy of kernels from one device's meter and timeline: spread by time, and said so.
//
// This is the interface that the attribution solver fills later: joules of every (path, kernel,
// track) cell, with their doubt, such that the parts and the idle time add up to the meter.
#pragma once

#include <cstdint>
#include <vector>

#include "analysis/energy.h"
#include "model/trace.h"

namespace picojoule {

// Sums over kernels kept one by one, sorted by path, class and track.
std::vector<KernelCell> sum_kernels(const std::vector<Record>& kernels);

// How one device's joules fall to what ran on it.
struct DeviceUse {
    std::uint32_t channel{};
    std::vector<std::uint32_t> cells;  // indices into Trace::kernel_cells
    std::vector<double> joules;        // of each
    std::vector<double> std_j;
    // Seconds that it ran inside the profile, to whose energy its joules belong; with "sums" all of
    // its time, since where a kernel lies is not known then.
    std::vector<double> inside_s;
    double busy_s{};  // at least one kernel or copy ran
    double idle_s{};
    double idle_j{};
    // How it was done: "timeline" (kernels kept one by one) or "sums" (only their sums are known,
    // so each gets the mean power of all busy time).
    const char* spread{""};
};

// Whether kernels ran on the device whose joules this channel counts.
bool runs_kernels(const Trace& trace, std::size_t channel);

// Power is taken as constant between two ticks of the meter; what runs at once shares it equally.
// The doubt contains that kernels which share ticks may differ in power (kContrast, as for regions)
// and what the meter's own noise leaves. REQUIRES: runs_kernels(trace, channel).
DeviceUse device_use(const Trace& trace, std::size_t channel, const EnergyCurve& curve);

}  // namespace picojoule
