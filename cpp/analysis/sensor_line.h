// Ticks of a clock that neither jitters nor drifts: the lines through all of their brackets.
//
// Of n brackets at random around the ticks of such a clock there is room for lines only within
// about a bracket's width divided by n (reference: clocks in ARCHITECTURE.md). Where such a line
// exists at all, a clock that strays by much more than that would have left some bracket.
#pragma once

#include <span>
#include <vector>

namespace picojoule {

struct Bracket;

struct TickLine {
    std::vector<double> time_ns;  // of each tick
    double period_ns{};
    double period_std_ns{};
    double clock_std_ns{};  // of all ticks together, in the middle
    double own_std_ns{};    // what single ticks may stray by and not be seen to
};

// Through ticks whose numbers follow from `near_ns`, about where each was. Empty time_ns: no line
// goes through all brackets, there are fewer than 128, or the numbers are not sure.
TickLine line_through(std::span<const Bracket> ticks, std::span<const double> near_ns,
                      double period_ns);

}  // namespace picojoule
