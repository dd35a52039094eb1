#include "analysis/told.h"

namespace picojoule {

std::vector<std::uint8_t> rest_on_priors(Matrix h, const Matrix& before,
                                         const std::vector<std::uint8_t>& free, const Matrix& v) {
    constexpr double kWeaker = 3.0;
    const std::size_t n = free.size();
    std::vector<std::uint8_t> out(n, 0);
    for (std::size_t i = 0; i < n; ++i) {
        for (std::size_t j = 0; j <= i; ++j) {
            const bool held = i != j && (free[i] == 0 || free[j] == 0);
            h(i, j) = held ? 0.0 : h(i, j) - (1.0 - 1.0 / (kWeaker * kWeaker)) * before(i, j);
        }
    }
    if (!cholesky(h)) return out;
    const Matrix wide = inverse(h);
    for (std::size_t i = 0; i < n; ++i) out[i] = wide(i, i) > kWeaker * v(i, i) ? 1 : 0;
    return out;
}

}  // namespace picojoule
