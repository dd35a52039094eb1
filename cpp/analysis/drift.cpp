#include "analysis/drift.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include "analysis/dense.h"

namespace picojoule {
namespace {

constexpr std::size_t kLeastWindows = 40;
constexpr double kLeastSpanS = 4.0;
// Die, package, heat sink, and what is slower.
constexpr double kTauS[] = {1.5, 6.0, 25.0, 100.0};
// Log evidence by which drift must explain the residuals better.

constexpr double kGain = 3.0;

}  // namespace

void DriftBasis::update(const std::vector<double>& t_s, const std::vector<double>& length_s,
                        const std::vector<double>& model, const std::vector<double>& residual,
                        const Tridiagonal& noise) {
    const std::size_t n = t_s.size();
    // Of several series one follows the other: the first says what drift there is between its
    // times.
    const auto first = std::is_sorted_until(t_s.begin(), t_s.end());
    if (n < kLeastWindows || first == t_s.begin()) return;
    const double span = *std::prev(first) - t_s.front();
    if (span < kLeastSpanS) return;
    t_s_.assign(t_s.begin(), first);
    tau_.clear();
    shape_.clear();
    double time = 0.0, joules = 0.0;
    for (std::size_t k = 0; k < n; ++k) {
        time += length_s[k];
        joules += model[k];
    }
    const double mean = joules / time;
    if (!(mean > 0.0)) return;
    for (const double tau : kTauS) {
        if (tau > 2.0 * span || tau < 3.0 * span / static_cast<double>(n)) continue;
        std::vector<double> warm(n), fade(n);
        double state = mean;
        for (std::size_t k = 0; k < n; ++k) {
            const double dt = k > 0 ? t_s[k] - t_s[k - 1] : 0.0;
            if (dt < 0.0) state = mean;  // the next series
            const double keep = std::exp(-std::max(0.0, dt) / tau);
            state = keep * state + (1.0 - keep) * model[k] / length_s[k];
            warm[k] = state / mean - 1.0;
            fade[k] = std::exp(-(t_s[k] - t_s[0]) / tau);
        }
        const auto settle = [&](std::vector<double>& shape, double sign) {
            double middle = 0.0, square = 0.0;
            for (std::size_t k = 0; k < n; ++k) middle += shape[k] * model[k] / joules;
            for (double& v : shape) {
                v -= middle;
                square += v * v;
            }
            // A load that is even warms evenly: nothing to be told from the rates.
            if (std::sqrt(square / static_cast<double>(n)) < 0.02) return;
            tau_.push_back(sign * tau);
            shape_.push_back(std::move(shape));
        };
        settle(warm, 1.0);
        settle(fade, -1.0);
    }
    const std::size_t terms = tau_.size();
    column_.assign(terms, std::vector<double>(n));
    for (std::size_t m = 0; m < terms; ++m) {
        for (std::size_t k = 0; k < n; ++k) column_[m][k] = shape_[m][k] * model[k];
    }
    if (on_ || terms == 0) return;
    // What the residuals would gain, with the rates as they are.
    Matrix a(terms, terms);
    std::vector<double> c(terms, 0.0), u(terms, 0.0);
    double y = 0.0;
    for (std::size_t k = 0; k < n; ++k) {
        y = residual[k] - noise.link(k) * y;
        for (std::size_t m = 0; m < terms; ++m) {
            u[m] = column_[m][k] - noise.link(k) * u[m];
            c[m] += u[m] * y * noise.weight(k);
            for (std::size_t q = 0; q <= m; ++q) a(m, q) += u[m] * u[q] * noise.weight(k);
        }
    }
    for (std::size_t m = 0; m < terms; ++m) a(m, m) += 1.0 / (kDriftStd * kDriftStd);
    if (!cholesky(a)) return;
    std::vector<double> x = c;
    solve(a, x);
    double gain = -0.5 * (log_det(a) + 2.0 * static_cast<double>(terms) * std::log(kDriftStd));
    for (std::size_t m = 0; m < terms; ++m) gain += 0.5 * c[m] * x[m];
    on_ = gain > kGain;
}

void DriftBasis::at(double t_s, double* out) const {
    if (terms() == 0) return;
    const auto it = std::lower_bound(t_s_.begin(), t_s_.end(), t_s);
    std::size_t k = std::min(static_cast<std::size_t>(it - t_s_.begin()), t_s_.size() - 1);
    if (k > 0 && t_s - t_s_[k - 1] < t_s_[k] - t_s) --k;
    for (std::size_t m = 0; m < terms(); ++m) out[m] = shape_[m][k];
}

double DriftBasis::size(const double* weight) const {
    if (terms() == 0) return 0.0;
    double sum = 0.0;
    for (std::size_t k = 0; k < t_s_.size(); ++k) {
        double d = 0.0;
        for (std::size_t m = 0; m < terms(); ++m) d += weight[m] * shape_[m][k];
        sum += d * d;
    }
    return std::sqrt(sum / static_cast<double>(t_s_.size()));
}

}  // namespace picojoule
