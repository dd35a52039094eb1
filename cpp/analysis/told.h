// Which of the rates that were found are what was told of them, and which the readings say.
#pragma once

#include <cstdint>
#include <vector>

#include "analysis/dense.h"

namespace picojoule {

// By column, 1 for those whose doubt grows with that of the priors. `h`: precision of the
// posterior, of which the lower triangle counts; `before`: that of the priors, likewise; `free`: 0
// for rates held at 0, of which the others know nothing; `v`: the posterior covariance.
std::vector<std::uint8_t> rest_on_priors(Matrix h, const Matrix& before,
                                         const std::vector<std::uint8_t>& free, const Matrix& v);

}  // namespace picojoule
