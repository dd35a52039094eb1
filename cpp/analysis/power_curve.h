// The power that rates and spans say, as a function of time, and its integral.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "analysis/overlap.h"

namespace picojoule {

class PowerCurve {
  public:
    // `rates`: of the classes, then the baseline's. `sharing`: see Equations::windows. Times are
    // from `origin_ns` on.
    PowerCurve(const Spans& spans, std::span<const double> rates, double sharing, bool baseline,
               std::int64_t origin_ns);
    // Joules from the origin to t_ns; less than 0 before it.
    [[nodiscard]] double joules(double t_ns) const;

  private:
    double before_w_{}, after_w_{};
    std::vector<double> t_ns_, joules_;  // at each change of power
};

}  // namespace picojoule
