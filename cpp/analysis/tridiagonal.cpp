#include "analysis/tridiagonal.h"

#include <algorithm>
#include <cmath>

namespace picojoule {

Tridiagonal::Tridiagonal(const NoiseShape& shape, const NoiseScale& scale) {
    const std::size_t n = shape.value2.size();
    link_.assign(n, 0.0);
    weight_.assign(n, 0.0);
    double d = 0.0;
    for (std::size_t k = 0; k < n; ++k) {
        const double own = shape.value2[k] + scale.process * shape.length_s[k] +
                           scale.edge * (shape.begin2[k] + shape.end2[k]);
        const double diagonal = std::max(own, 1e-30);
        if (k > 0 && shape.shared[k - 1] != 0) {
            // The edge belongs to both: its error makes one longer and the other shorter.
            const double off = -scale.edge * shape.end2[k - 1];
            link_[k] = off / d;
            d = std::max(diagonal - link_[k] * off, 1e-12 * diagonal);
        } else {
            d = diagonal;
        }
        weight_[k] = 1.0 / d;
        log_det_ += std::log(d);
    }
}

std::vector<double> Tridiagonal::solve(std::span<const double> x) const {
    std::vector<double> out(x.size());
    double u = 0.0;
    for (std::size_t k = 0; k < x.size(); ++k) {
        u = x[k] - link_[k] * u;
        out[k] = u * weight_[k];
    }
    for (std::size_t k = x.size(); k-- > 1;) out[k - 1] -= link_[k] * out[k];
    return out;
}

double Tridiagonal::square(std::span<const double> x) const {
    double sum = 0.0;
    double u = 0.0;
    for (std::size_t k = 0; k < x.size(); ++k) {
        u = x[k] - link_[k] * u;
        sum += u * u * weight_[k];
    }
    return sum;
}

}  // namespace picojoule
