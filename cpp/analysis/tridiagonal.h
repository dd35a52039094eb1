// The noise of readings: each has its own, and neighbours that share an edge share its error with
// opposite signs, so the covariance is tridiagonal. Factored as L D L' in O(n).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace picojoule {

// What each part of the noise looks like; how large it is is a NoiseScale.
struct NoiseShape {
    std::vector<double> value2;  // (n,) variance of the value itself, J^2
    std::vector<double> length_s;
    std::vector<double> begin2;  // (n,) variance by the error of the begin's time, J^2
    std::vector<double> end2;
    std::vector<std::uint8_t> shared;  // (n,) the end of k is the begin of k + 1, one error
};

struct NoiseScale {
    double edge{1.0};     // factor on begin2 and end2
    double process{0.0};  // J^2 a second, on top of value2
};

class Tridiagonal {
  public:
    Tridiagonal(const NoiseShape& shape, const NoiseScale& scale);

    // u_k = x_k - link_k u_{k-1} has variance d_k, and its elements are independent.
    [[nodiscard]] double link(std::size_t k) const { return link_[k]; }
    [[nodiscard]] double weight(std::size_t k) const { return weight_[k]; }  // 1 / d_k
    [[nodiscard]] std::size_t size() const { return weight_.size(); }
    [[nodiscard]] double log_det() const { return log_det_; }
    // Sigma^-1 x
    [[nodiscard]] std::vector<double> solve(std::span<const double> x) const;
    // x' Sigma^-1 x
    [[nodiscard]] double square(std::span<const double> x) const;

  private:
    std::vector<double> link_, weight_;
    double log_det_{};
};

}  // namespace picojoule
