// When a sensor's ticks were, from what was seen of them: of each tick only a bracket is known, the
// last look that found the old value and the first that found the new one.
//
// The sensor is taken to have a clock: phase and period, which drift slowly, and a jitter of each
// tick of its own. Every bracket is a hard bound, never a measurement of its middle: a hundred wide
// brackets that lie alike around their ticks tell no more than one of them, and averaging their
// middles would claim ten times the certainty there is.
#pragma once

#include <span>
#include <vector>

namespace picojoule {

struct Bracket {
    double old_ns{};  // the tick was not before this,
    double new_ns{};  // nor after this
    bool fresh{};     // after a gap: the clock before it says nothing of this one
};

struct ClockFit {
    std::vector<double> time_ns;  // of each tick: posterior mean
    std::vector<double> std_ns;   // and standard deviation
    double period_ns{};
    double period_std_ns{};
    double jitter_ns{};     // of single ticks around the clock
    double clock_std_ns{};  // by what all ticks may be off together
};

// Fits the clock to `ticks`, ascending; `period_ns` is a first guess, right to `period_cv`.
//
// Forward and backward assumed-density filters of (phase, period), each bracket a truncation of the
// predicted tick time (moments matched: Minka, "Expectation Propagation", 2001, section 3.2), one
// pair for each pair of jitter and phase drift on a grid; the results averaged with the weight of
// their evidence, so that few ticks say little. Where all brackets leave room for one line (and
// they do for a clock that is as regular as it is seen to be), ticks are on it. O(n).
ClockFit fit_sensor_clock(std::span<const Bracket> ticks, double period_ns,
                          double period_cv = 0.05);

}  // namespace picojoule
