// Which events count the bytes that go between a CPU and its memory.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sources/source.h"

namespace picojoule::perf_memory {

// One event of one memory controller, as sysfs describes it.
struct Event {
    std::string pmu;  // "uncore_imc_0"
    std::uint32_t type{};
    std::uint64_t config{};
    double bytes{};  // of one count
    bool writes{};
    std::vector<int> cpus;  // one of each package
};

// All there are, each byte once; empty where the kernel knows no memory controller's PMU.
std::vector<Event> events_of(const Environment& environment);

}  // namespace picojoule::perf_memory
