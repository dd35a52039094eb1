// Events of a PMU that the kernel describes in sysfs, counted on one CPU for all that runs there.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "sources/source.h"

namespace picojoule::perf {

// "0,18" or "0-1": one CPU of each package.
std::vector<int> cpus_of(const std::string& mask);

// "event=0x04,umask=0x03": the event in the low byte, the umask above it, as these PMUs have it.
std::optional<std::uint64_t> config_of(const std::string& text);

// `read_format`: PERF_FORMAT_*. An empty one, and errno, where the kernel refuses.
UniqueFd open_event(std::uint32_t type, std::uint64_t config, int cpu,
                    std::uint64_t read_format = 0);

// After EACCES or EPERM: what withholds events of the whole machine here, and what mends it.
Finding whole_machine_refused(const Environment& environment);

}  // namespace picojoule::perf
