// The fit of the estimator (attribute.h): rates, noise, drift and the error of the clock.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "analysis/attribute.h"
#include "analysis/clock_path.h"
#include "analysis/drift.h"
#include "analysis/posterior.h"
#include "analysis/rows.h"
#include "analysis/tridiagonal.h"

namespace picojoule {

struct Normal {
    Matrix a;
    std::vector<double> c;
    double yy{};
    double log_det_noise{};
};

// A step of the exponent of sharing towards its best, its variance, and by how much the unknowns
// move with it.
struct SharingStep {
    double by{};
    double variance{};
    std::vector<double> shift;
};

// Unknowns, in this order: a rate for each class, the baseline's, the drift's weights, the clock's.
class Solver {
  public:
    explicit Solver(const AttributeInput& in)
        : in_(in), eq_(in), n_(in.value.size()), k_(in.n_classes), p_(k_ + 1) {}

    void fit();
    // REQUIRES: fit()
    [[nodiscard]] Attributed account();

    // What was fitted. Rates of the classes and of the baseline:
    [[nodiscard]] std::span<const double> rates() const { return {x_.data(), p_}; }
    // By what each window's rates are multiplied for the drift.
    [[nodiscard]] std::vector<double> drift_factors() const;
    // What the clock is off beyond the path it was given, by its terms, ns.
    [[nodiscard]] std::span<const double> clock_ns() const {
        return {x_.data() + p_ + drift_.terms(), clock_.size()};
    }
    [[nodiscard]] const Hyper& hyper() const { return hyper_; }
    [[nodiscard]] std::vector<double> residuals() const;
    [[nodiscard]] Tridiagonal noise() const {
        return {shape_, {hyper_.edge_scale, hyper_.process}};
    }
    [[nodiscard]] const NoiseShape& noise_shape() const { return shape_; }
    [[nodiscard]] const Equations& equations() const { return eq_; }
    // Log evidence that residuals speak of such an error of the clock.
    [[nodiscard]] double clock_gain(const ClockPath& path) const;

  private:
    [[nodiscard]] unsigned threads() const;
    [[nodiscard]] std::size_t width() const { return p_ + drift_.terms() + clock_.size(); }
    void shape_noise();
    void shape_clock();
    [[nodiscard]] std::vector<double> clock_columns(const ClockPath& path) const;
    [[nodiscard]] double clock_dot(std::size_t k) const {
        double sum = 0.0;
        const std::size_t q = clock_.size();
        const double* weight = x_.data() + p_ + drift_.terms();
        for (std::size_t m = 0; m < q; ++m) sum += weight[m] * clock_column_[k * q + m];
        return sum;
    }
    // Adds what a unit of each unknown is in window k to u[0..width).
    void add_equation(std::size_t k, double* u) const {
        for (const Entry& e : rows_.row(k)) u[e.col] += e.s;
        drift_.add(k, u + p_);
        const std::size_t q = clock_.size();
        double* clock = u + width() - q;
        for (std::size_t m = 0; m < q; ++m) clock[m] += clock_column_[k * q + m];
    }
    [[nodiscard]] Normal normal(const Tridiagonal& noise, bool sketch = false) const;
    [[nodiscard]] Prior prior() const;
    [[nodiscard]] double evidence(const Normal& normal, const Prior& prior) const;
    void set_free(const std::vector<double>& x);
    void fit_by_evidence();
    void fit_by_residuals();
    [[nodiscard]] SharingStep sharing_step() const;
    [[nodiscard]] std::vector<double> project(const std::vector<double>& x) const;
    void fit_sharing();
    void solve_rates(bool sketch = false);
    void look_for_drift();
    void set_outliers_aside();
    // (p, width) what a unit of each unknown is in joules of each class, at that exponent and
    // rates.
    [[nodiscard]] Matrix energy_map(double sharing, const std::vector<double>& x) const;
    [[nodiscard]] std::vector<double> energies(const Matrix& map,
                                               const std::vector<double>& x) const;
    void add_doubt_of_sharing(const std::vector<double>& e, Matrix& v, Matrix& cov) const;
    struct Kinds;
    struct Likeness;
    [[nodiscard]] std::vector<std::uint32_t> likes(const std::vector<double>& begun,
                                                   const Likeness& like) const;
    [[nodiscard]] Kinds kinds(std::vector<std::uint32_t> of, const Tridiagonal& noise,
                              const std::vector<double>& r, double fitted) const;
    // Adds to the covariance of the unknowns what depends on the context; returns how much of a
    // window's energy that is (relative standard deviation), 0 if nothing speaks for it.
    double context_doubt(Matrix& v) const;
    void credit_deviations(std::vector<double>& e, Matrix& cov) const;
    [[nodiscard]] std::vector<std::uint8_t> rest_on_priors(const Matrix& v) const;

    const AttributeInput& in_;
    Equations eq_;
    std::size_t n_, k_, p_;
    Rows rows_;
    DriftBasis drift_;
    ClockPath clock_;                   // what of it is fitted along with the rates
    std::vector<double> clock_column_;  // (n, terms) J a ns
    NoiseShape shape_;
    std::vector<double> aside2_;  // further variance of readings that no noise explains
    Hyper hyper_;
    double mean_rate_{};     // over all time
    double usual_rate_{};    // what a rate is expected to be
    double process0_{};      // a scale for `process`
    double known_from_s_{};  // before that nothing is known of what ran
    std::vector<double> x_;
    std::vector<std::uint8_t> free_;
    Matrix factor_;  // of the posterior precision
};

}  // namespace picojoule
