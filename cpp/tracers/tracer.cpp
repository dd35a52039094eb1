#include "tracers/tracer.h"

#include <cmath>
#include <string>

namespace picojoule {
namespace {

std::string percent(std::uint64_t part, std::uint64_t whole) {
    const double p = 100.0 * static_cast<double>(part) / static_cast<double>(whole);
    if (p < 0.1) return "less than 0.1 %";
    const auto tenths = std::llround(p * 10);
    return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " %";
}

}  // namespace

std::string complaint(const TracerCounters& c) {
    if (c.launches > 0 && c.activities == 0 && c.dropped == 0 && c.cut_off == 0 &&
        c.launches_open == c.launches) {
        return "launches were seen, but the vendor's library told of no kernel: it may be too old "
               "for this GPU";
    }
    const std::uint64_t lost = c.dropped + c.no_time + c.cut_off + c.bad_time;
    const std::uint64_t all = c.activities + lost;
    std::string words;
    if (lost > 0) {
        words = std::to_string(lost) + " kernels or copies (" + percent(lost, all) +
                ") are missing from the timeline";
    }
    if (c.unmatched > 0) {
        words += (words.empty() ? "" : "; ") + std::to_string(c.unmatched) + " (" +
                 percent(c.unmatched, all) + ") belong to no known launch";
    }
    return words;
}

}  // namespace picojoule
