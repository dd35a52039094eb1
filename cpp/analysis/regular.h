// Window edges of a sensor with a regular clock are known better together than one by one.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace picojoule {

// By how much all edges that were put on a clock are wrong together: its phase and its period are
// known no better than its ticks were seen.
struct ClockError {
    double offset2_ns2{};  // variance at `at_ns`
    double slope2{};       // variance of what it grows by, in ns a ns away from there
    double at_ns{};
};

// Moves the ends of windows (and begins, as far as they are ends of others or as long before their
// end as all are) towards a clock with one period, as far as their scatter around it says that they
// are on it, and lowers their standard deviations accordingly. Does nothing where the ends are not
// regular, where no standard deviation is given, or for fewer than 16 windows; then no error is
// told.
ClockError settle_on_clock(std::vector<double>& begin, std::vector<double>& end,
                           std::vector<double>& begin_std, std::vector<double>& end_std,
                           std::span<const std::uint8_t> shared);

}  // namespace picojoule
