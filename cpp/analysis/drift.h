// Slow changes of all rates together: warming up, clocks that sink. Series that were given, and a
// few smooth shapes of time that are taken in only if the residuals ask for them.
#pragma once

#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include "analysis/tridiagonal.h"

namespace picojoule {

// Of each shape's weight, relative to the rates.
constexpr double kDriftStd = 0.1;

// value_k = (1 + sum_m weight_m shape_m(t_k)) model_k. The shapes are what a thermal mass with one
// of a few time constants makes of the modelled power, and how it leaves the state it began in
// (reference: RC model of die and heat sink).
class DriftBasis {
  public:
    // A series that rates may move with, whatever the residuals say: by `std_per_unit` of them a
    // unit of it, and never by more than kDriftStd with its whole spread. Before the first
    // update().
    void give(std::vector<double> t_s, std::vector<double> value, double std_per_unit) {
        given_.push_back({std::move(t_s), std::move(value), std_per_unit});
    }
    [[nodiscard]] std::size_t terms() const { return column_.size(); }
    // Adds the shapes of window k, times its modelled value, to out[0..terms).
    void add(std::size_t k, double* out) const {
        for (std::size_t m = 0; m < terms(); ++m) out[m] += column_[m][k];
    }
    [[nodiscard]] double dot(std::size_t k, const double* weight) const {
        double sum = 0.0;
        for (std::size_t m = 0; m < terms(); ++m) sum += column_[m][k] * weight[m];
        return sum;
    }
    // The shapes at a time; nearest window's.
    void at(double t_s, double* out) const;
    // Root mean square of the drift over the windows.
    [[nodiscard]] double size(const double* weight) const;
    // Whether drift is needed is decided at the first call, or later ones; never taken back.
    void update(const std::vector<double>& t_s, const std::vector<double>& length_s,
                const std::vector<double>& model, const std::vector<double>& residual,
                const Tridiagonal& noise);

  private:
    struct Series {
        std::vector<double> t_s, value;
        double std_per_unit;
        [[nodiscard]] double at(double t) const;
    };
    void add_given(const std::vector<double>& t_s, const std::vector<double>& model);
    void add_thermal(const std::vector<double>& t_s, const std::vector<double>& length_s,
                     const std::vector<double>& model, double mean, double span);
    // Log evidence that the first `terms` shapes gain, with the rates as they are.
    [[nodiscard]] double gain(std::size_t terms, const std::vector<double>& residual,
                              const Tridiagonal& noise) const;

    bool on_{};  // the thermal shapes
    std::vector<Series> given_;
    std::vector<double> t_s_;
    std::vector<std::vector<double>> shape_;   // (terms, n)
    std::vector<std::vector<double>> column_;  // shape times model
};

}  // namespace picojoule
