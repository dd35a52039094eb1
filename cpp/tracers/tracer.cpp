#include "tracers/tracer.h"

#include <algorithm>
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

TracerCounters since(const TracerCounters& now, const TracerCounters& before) noexcept {
    if (now.launches < before.launches || now.buffers < before.buffers) return now;
    TracerCounters d = now;
    for (const auto count : {&TracerCounters::activities,    &TracerCounters::kernels,
                             &TracerCounters::copies,        &TracerCounters::sets,
                             &TracerCounters::unmatched,     &TracerCounters::matched_late,
                             &TracerCounters::captured,      &TracerCounters::foreign_graph,
                             &TracerCounters::out_of_order,  &TracerCounters::dropped,
                             &TracerCounters::no_time,       &TracerCounters::cut_off,
                             &TracerCounters::bad_time,      &TracerCounters::stale,
                             &TracerCounters::unexpected,    &TracerCounters::launches,
                             &TracerCounters::launches_lost, &TracerCounters::nodes,
                             &TracerCounters::nodes_lost,    &TracerCounters::classes_folded,
                             &TracerCounters::library_ns,    &TracerCounters::disturbed,
                             &TracerCounters::buffers,       &TracerCounters::buffers_refused,
                             &TracerCounters::clock_steps}) {
        d.*count -= std::min(now.*count, before.*count);
    }
    return d;
}

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
    if (c.disturbed * 100 > c.activities) {
        words +=
            (words.empty() ? "" : "; ") + std::to_string(c.disturbed) + " (" +
            percent(c.disturbed, all) +
            ") ran while the vendor's library worked for the tracer: they may have taken longer";
    }
    return words;
}

}  // namespace picojoule
