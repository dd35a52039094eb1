// One channel's ticks as a cumulative energy curve with known doubt: when each tick was, and how
// many joules the meter had counted by then.
#pragma once

#include <cstdint>
#include <vector>

#include "model/trace.h"

namespace picojoule {

// Window k lies between tick k and tick k + 1.
struct Timeline {
    std::int64_t origin_ns{};     // times below count from here, so that doubles stay exact
    std::vector<double> time_ns;  // when each value was published
    std::vector<double> time_std_ns;
    std::vector<double> joules;       // cumulative
    std::vector<double> noise_j;      // doubt of the window that ends here, beyond its edges' times
    std::vector<bool> broken;         // the window that ends here has no known energy
    std::vector<std::uint8_t> flags;  // of the record
    double quantum_j{};               // one count of the register
    double smear_s{};                 // by what a gauge's window is longer than a tick
    double gauge_w{};                 // noise of one reading of power; 0: a counter
    double period_ns{};               // typical distance of ticks; 0: no clock of its own
    double
        clock_std_ns{};  // of all ticks together, where they were put on one clock; 0: they are not
    double period_std_ns{};  // likewise
    double window_ns{};      // below this a meter cannot see: the period, or the reading interval

    [[nodiscard]] std::size_t size() const noexcept { return time_ns.size(); }
};

// Places the ticks of `channel` in time. A sensor with a regular clock is fitted, so that a tick is
// known better than the gap between two looks; one without is taken at the middle of that gap. A
// power gauge is integrated, each reading standing for the time since the one before it.
Timeline build_timeline(const Trace& trace, std::size_t channel);

}  // namespace picojoule
