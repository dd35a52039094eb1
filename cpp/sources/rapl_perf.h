// RAPL by way of perf events: where the powercap files are closed, the kernel's PMU may be open.
#pragma once

#include "sources/source.h"

namespace picojoule::rapl {

// Adds the source and what there is to say to `found`. False: this machine has no such PMU, and
// nothing was added.
bool discover_perf(const Environment& environment, Discovery& found);

// A channel of either way in; they differ in unit and modulus only.
Channel channel(const Environment& environment, std::string domain, bool in_total);

}  // namespace picojoule::rapl
