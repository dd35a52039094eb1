// What sensor is this? From what it said while the power, or at least what ran, was known: the
// period, the window that a reading is of, its delay, its lag, gain and offset, each with its
// doubt.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "analysis/sensor_clock.h"
#include "analysis/sensor_response.h"
#include "model/sensor_table.h"

namespace picojoule {

// What was published, and between which two looks.
struct SensorSeries {
    std::vector<Bracket> ticks;
    std::vector<double> value;  // watts; of a counter, joules since the tick before (first: NaN)
    double period_ns{};         // a first guess; 0: there are too few ticks for one
    double period_cv{};         // how far it may be off, relative
};

// From polls: each change of the value is a tick. `counter`: the values are cumulative.
// `period_ns`: what it is thought to be, NaN if nothing is known.
SensorSeries sensor_series(std::span<const std::int64_t> poll_ns, std::span<const double> value,
                           bool counter, double period_ns, std::int64_t origin_ns);

struct Fitted {
    double value{};
    double std{};
    bool from_data{};  // the readings said it; else it is the table's
};

struct Identified {
    std::size_t ticks{};
    ClockFit clock;
    SensorShape shape{};
    Fitted window_ns, delay_ns, tau_ns, gain, offset_w;
    double noise_w{};
    double shape_odds{};  // log evidence over the other shape; NaN if there was none to weigh
    bool fitted{};        // whether anything was
};

// The likelihood takes each tick to lie where the fitted clock and its own bracket say, integrated
// over what they leave open (errors in variables: taking ticks at one instant each would pull the
// gain towards 0); common shifts of all ticks are the delay's. Rates of classes, gain and offset
// are profiled by expectation maximisation, (window, delay) or (tau, delay) by Nelder and Mead from
// the best points of a grid, boxcar and lag weighed by their evidence (Laplace). `prior` may be
// null, `shape` is a shape that is known. Standard deviations are the curvature's, widened where
// residuals of neighbours agree.
//
// REQUIRES: ticks in order; a reference with at least one column.
Identified identify_sensor(const SensorSeries& series, bool counter, SensorReference& reference,
                           const SensorPrior* prior, std::optional<SensorShape> shape = {});

}  // namespace picojoule
