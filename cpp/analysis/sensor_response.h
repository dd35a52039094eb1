// What a sensor would say of a power that is known, or of spans whose rates are not: the forward
// model of identification.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "analysis/overlap.h"
#include "model/sensor_table.h"

namespace picojoule {

// A quantity that steps: rate[i] from time_ns[i] to time_ns[i + 1]; `before` what it was earlier,
// and the last rate goes on. Integrals and the state of a first-order lag are exact.
class StepCurve {
  public:
    StepCurve(std::vector<double> time_ns, std::vector<double> rate, double before);

    // Everything below is of the curve as a lag of this time constant leaves it; 0: as it is.
    void set_lag(double tau_ns);
    [[nodiscard]] double integral(double t) const;  // from the first breakpoint on, rate * ns
    [[nodiscard]] double at(double t) const;

  private:
    [[nodiscard]] std::size_t index(double t) const;  // of the piece that holds t; npos: before all

    std::vector<double> time_, rate_;
    std::vector<double> sum_;    // integral up to each breakpoint, without lag
    std::vector<double> state_;  // of the lag at each breakpoint
    double before_;
    double tau_{};
};

// Columns that add up to the power, each with a factor that is known (one column, 1) or not.
struct SensorReference {
    std::vector<StepCurve> columns;
    double begin_ns{};  // what lies outside is not known
    double end_ns{};
    bool power{};  // columns.front() is the power in watts; else how many spans of a class ran
};

// `power_w`: samples in order of time, each for the time nearest to it. What was before the first
// is taken to be the mean of the first `kSettled` of them.
SensorReference power_reference(std::span<const std::int64_t> time_ns,
                                std::span<const double> power_w, std::int64_t origin_ns);
// Nothing ran outside of the spans.
SensorReference span_reference(const Spans& spans, std::size_t n_classes, std::int64_t origin_ns);

struct Response {
    SensorShape shape{};
    double window_ns{};
    double delay_ns{};
    double tau_ns{};  // in force once set_lag() was called with it
};

// What column c contributes to the reading published at `tick_ns`, the one before it having been
// published at `before_ns` (counters only).
double respond(const StepCurve& column, const Response& r, double tick_ns, double before_ns);

// (n, K) time of each class in windows, seconds, each as a lag leaves it. Overlapping spans each
// count whole.
std::vector<double> class_seconds(const Spans& spans, std::size_t n_classes,
                                  std::span<const std::int64_t> begin_ns,
                                  std::span<const std::int64_t> end_ns, double lag_s);

}  // namespace picojoule
