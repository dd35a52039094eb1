// The likelihood of one candidate sensor, all that is linear in it profiled out.
#pragma once

#include <cstddef>
#include <vector>

#include "analysis/dense.h"
#include "analysis/sensor_response.h"

namespace picojoule {

// One reading and where its tick may be.
struct TickReading {
    double tick_ns{};
    double before_ns{};  // tick of the reading before
    double std_ns{};     // of this tick alone; what all have in common is the delay's
    double lo_ns{}, hi_ns{};
    double value{};
};

struct LinearPrior {
    std::vector<double> mean, std;  // of the columns' factors, then of the offset
};

struct Judged {
    double cost{};  // - log posterior density, up to a constant common to all candidates
    double noise{};
    std::vector<double> factor;  // of the columns; the last is the offset
    Matrix covariance;
    double echo{};  // correlation of neighbouring residuals
};

class SensorFit {
  public:
    SensorFit(std::vector<TickReading> readings, SensorReference& reference, LinearPrior prior,
              double least_noise);

    // `cells`: into how many pieces the place of each tick is divided, odd.
    Judged judge(const Response& response, int cells);
    [[nodiscard]] std::size_t size() const { return readings_.size(); }

  private:
    void fill(const Response& response, int cells);

    std::vector<TickReading> readings_;
    SensorReference& reference_;
    LinearPrior prior_;
    double least_noise_;
    std::size_t width_;
    // Of reading k and cell q: the columns' responses (row-major), how fast they change along the
    // cell (per cell width), and the prior weight.
    std::vector<double> x_, slope_, log_weight_;
};

}  // namespace picojoule
