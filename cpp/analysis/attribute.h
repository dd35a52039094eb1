// The estimator: which class of spans used how much of what the readings counted.
//
//   value_k = sum_j rate_j * (time of j in window k) + noise_k,   rates >= 0
//
// solved by generalised least squares with priors (reference: the solver in ARCHITECTURE.md). Pure
// and deterministic: the same input gives the same bytes, whatever the number of threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <vector>

#include "analysis/clock_path.h"
#include "analysis/dense.h"
#include "analysis/overlap.h"
#include "analysis/regular.h"

namespace picojoule {

struct AttributeInput {
    // (n,) windows; of several series one after the other, each in order of its begin
    std::span<const std::int64_t> begin_ns, end_ns;
    std::span<const double> value;  // (n,)
    Spans spans;
    std::size_t n_classes{};
    std::span<const double> edge_std_ns;  // (n,); all 0: not known, found from the residuals
    std::span<const double> value_std;    // (n,)
    double lag_s{};
    // Windows k whose end is the begin of k + 1, with one error.
    std::span<const std::uint8_t> shared;
    // Windows of which both edges err alike: the length is the sensor's, the place is not. Empty:
    // none.
    std::span<const std::uint8_t> shifted;
    std::span<const double> prior_rate, prior_cv;  // (K,); NaN: none
    struct Total {
        std::int64_t begin_ns{}, end_ns{};
        double value{};
        double std{};  // 0: to be met exactly
    };
    std::optional<Total> total;
    // What all rates may move with, in proportion (a temperature, a clock): values at times in
    // order, linear between them.
    struct Covariate {
        std::span<const std::int64_t> t_ns;
        std::span<const double> value;
        // By how much rates may change with a unit of it (relative, standard deviation), if that is
        // known.
        double std_per_unit{std::numeric_limits<double>::infinity()};
    };
    std::vector<Covariate> drift;
    double gain_std{0.05};
    bool baseline{true};
    // Of all edges together, where they were put on the sensor's clock by who gives them; times
    // from the first begin.
    ClockError clock_error;
    bool settle_edges{true};  // where they are on a regular clock
    double edge_factor{1.0};  // on the standard deviations of edges, once they are settled
    // From the readings' clock to the spans'; null: they are one.
    const ClockPath* clock{nullptr};
    unsigned threads{0};  // 0: as many as the machine has, 8 at most
};

// What the solver chose, by evidence, for what it was not told.
struct Hyper {
    double edge_scale{1.0};   // factor on the variance of edges
    double edge_std_ns{};     // mean of what was used for the edges
    double process{};         // J^2 a second of noise beyond value_std
    double prior_scale{1.0};  // factor on the priors' standard deviations
    double contrast{};        // relative spread of rates without a prior
    double sharing{};         // exponent of the rule for what runs at once
    double drift{};           // root mean square of the relative drift
    std::size_t drift_terms{};
    std::size_t outliers{};  // readings set aside
    // Relative standard deviation of windows by what ran around them, beyond the rates; 0: no sign.
    double context{};
    // What was found of the clock of the readings against that of the spans: how many terms (0:
    // they agree), how far it is off in the middle, and how fast that grows on average.
    std::size_t clock_terms{};
    double clock_offset_ns{};
    double clock_rate_ppm{};
    // NaN where the noise was fitted to residuals instead.
    double log_evidence{std::numeric_limits<double>::quiet_NaN()};
};

struct Attributed {
    std::vector<double> rate, rate_std, energy, energy_std;  // (K,)
    Matrix cov;                                              // (K, K) of energy
    double baseline_rate{}, baseline_rate_std{};
    double baseline_energy{}, baseline_std{};
    double sum_std{};  // of all energies and the baseline's together
    std::vector<std::vector<std::uint32_t>> groups;
    std::vector<std::uint8_t> identified;
    double residual{};  // total - sum of parts, before they were reconciled
    double total{};
    double unattributed{};
    std::vector<double> time_s;  // (K,) of spans inside the accounted interval
    double idle_s{};
    Hyper hyper;
};

// REQUIRES: checked input (bindings do): n >= 1 or a total, windows of positive length, classes in
// range, finite values.
Attributed attribute(const AttributeInput& input);

// Classes of which only the sum is known, and which classes the readings themselves determine.
// `energy`, `cov`: posterior; `prior_std`: of each energy before the readings; `told`: known by
// priors alone.
void find_groups(const std::vector<double>& energy, const Matrix& cov,
                 const std::vector<double>& prior_std, const std::vector<std::uint8_t>& told,
                 Attributed& out);

}  // namespace picojoule
