// How far the clock of the readings is off that of the spans, as a function of time: an offset, a
// rate, and what happens to these at single moments.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace picojoule {

struct ClockTerm {
    enum class Kind : std::uint8_t { offset, rate, step, bend };
    Kind kind{};
    double at_s{};    // of a step, or of a bend: the rate changes
    double std_ns{};  // before the readings
};

struct ClockPath {
    // A rate's and a bend's unit is one nanosecond in half_s, so that all terms are of a size.
    double middle_s{}, half_s{1.0};
    std::vector<ClockTerm> terms;
    std::vector<double> ns;  // of each term

    [[nodiscard]] std::size_t size() const { return terms.size(); }
    [[nodiscard]] double shape(std::size_t m, double t_s) const {
        const ClockTerm& term = terms[m];
        switch (term.kind) {
            case ClockTerm::Kind::rate:
                return (t_s - middle_s) / half_s;
            case ClockTerm::Kind::step:
                return t_s >= term.at_s ? 1.0 : 0.0;
            case ClockTerm::Kind::bend:
                return std::max(0.0, t_s - term.at_s) / half_s;
            case ClockTerm::Kind::offset:
                break;
        }
        return 1.0;
    }
    // To be added to a time of the readings, at t_s after the first of them.
    [[nodiscard]] double at(double t_s) const {
        double sum = 0.0;
        for (std::size_t m = 0; m < size(); ++m) sum += ns[m] * shape(m, t_s);
        return sum;
    }
};

}  // namespace picojoule
