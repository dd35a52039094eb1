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

double DriftBasis::Series::at(double t) const {
    const auto it = std::lower_bound(t_s.begin(), t_s.end(), t);
    if (it == t_s.begin()) return value.front();
    if (it == t_s.end()) return value.back();
    const auto k = static_cast<std::size_t>(it - t_s.begin());
    const double part = (t - t_s[k - 1]) / (t_s[k] - t_s[k - 1]);
    return value[k - 1] + part * (value[k] - value[k - 1]);
}

// As they are, about their mean by energy and in units of their spread by energy (a clock that
// rests where nothing runs says little of what runs): so the prior of a weight is how far rates may
// move. What hardly changed may have moved them as little as that.
void DriftBasis::add_given(const std::vector<double>& t_s, const std::vector<double>& model) {
    for (const Series& series : given_) {
        std::vector<double> shape;
        shape.reserve(t_s.size());
        double middle = 0.0, joules = 0.0, square = 0.0, most = 0.0;
        for (std::size_t k = 0; k < t_s.size(); ++k) {
            shape.push_back(series.at(t_s[k]));
            middle += shape[k] * model[k];
            joules += model[k];
            most = std::max(most, std::abs(shape[k]));
        }
        for (std::size_t k = 0; k < shape.size(); ++k) {
            shape[k] -= middle / joules;
            square += shape[k] * shape[k] * std::max(0.0, model[k]);
        }
        const double spread = std::sqrt(square / joules);
        const bool moves = spread > 1e-9 * most;
        const double scale = std::min(1.0 / spread, series.std_per_unit / kDriftStd);
        for (double& v : shape) v = moves ? v * scale : 0.0;
        shape_.push_back(std::move(shape));
    }
}

void DriftBasis::add_thermal(const std::vector<double>& t_s, const std::vector<double>& length_s,
                             const std::vector<double>& model, double mean, double span) {
    const std::size_t n = t_s.size();
    double joules = 0.0;
    for (const double e : model) joules += e;
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
        const auto settle = [&](std::vector<double>& shape) {
            double middle = 0.0, square = 0.0;
            for (std::size_t k = 0; k < n; ++k) middle += shape[k] * model[k] / joules;
            for (double& v : shape) {
                v -= middle;
                square += v * v;
            }
            // A load that is even warms evenly: nothing to be told from the rates.
            if (std::sqrt(square / static_cast<double>(n)) < 0.02) return;
            shape_.push_back(std::move(shape));
        };
        settle(warm);
        settle(fade);
    }
}

double DriftBasis::gain(std::size_t terms, const std::vector<double>& residual,
                        const Tridiagonal& noise) const {
    Matrix a(terms, terms);
    std::vector<double> c(terms, 0.0), u(terms, 0.0);
    double y = 0.0;
    for (std::size_t k = 0; k < residual.size(); ++k) {
        y = residual[k] - noise.link(k) * y;
        for (std::size_t m = 0; m < terms; ++m) {
            u[m] = column_[m][k] - noise.link(k) * u[m];
            c[m] += u[m] * y * noise.weight(k);
            for (std::size_t q = 0; q <= m; ++q) a(m, q) += u[m] * u[q] * noise.weight(k);
        }
    }
    for (std::size_t m = 0; m < terms; ++m) a(m, m) += 1.0 / (kDriftStd * kDriftStd);
    if (!cholesky(a)) return 0.0;
    std::vector<double> x = c;
    solve(a, x);
    double out = -0.5 * (log_det(a) + 2.0 * static_cast<double>(terms) * std::log(kDriftStd));
    for (std::size_t m = 0; m < terms; ++m) out += 0.5 * c[m] * x[m];
    return out;
}

void DriftBasis::update(const std::vector<double>& t_s, const std::vector<double>& length_s,
                        const std::vector<double>& model, const std::vector<double>& residual,
                        const Tridiagonal& noise) {
    const std::size_t n = t_s.size();
    // Of several series one follows the other: the first says what drift there is between its
    // times.
    const auto first = std::is_sorted_until(t_s.begin(), t_s.end());
    if (first == t_s.begin()) return;
    const double span = *std::prev(first) - t_s.front();
    const bool long_enough = n >= kLeastWindows && span >= kLeastSpanS;
    if (!long_enough && given_.empty()) return;
    double time = 0.0, joules = 0.0;
    for (std::size_t k = 0; k < n; ++k) {
        time += length_s[k];
        joules += model[k];
    }
    const double mean = joules / time;
    t_s_.assign(t_s.begin(), first);
    shape_.clear();
    column_.clear();
    if (!(mean > 0.0)) return;
    add_given(t_s, model);
    const std::size_t told = shape_.size();
    if (long_enough) add_thermal(t_s, length_s, model, mean, span);
    column_.assign(shape_.size(), std::vector<double>(n));
    for (std::size_t m = 0; m < shape_.size(); ++m) {
        for (std::size_t k = 0; k < n; ++k) column_[m][k] = shape_[m][k] * model[k];
    }
    if (on_ || shape_.size() == told) return;
    on_ = gain(shape_.size(), residual, noise) - gain(told, residual, noise) > kGain;
    if (on_) return;
    shape_.resize(told);
    column_.resize(told);
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
