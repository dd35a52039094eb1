// The exponent by which what runs at once shares power: found along with the rates, and how far
// its doubt is theirs. The equations are not linear in it; their slope at the best one is taken.
#include <algorithm>
#include <cmath>

#include "analysis/solver.h"

namespace picojoule {
namespace {

// Before any reading: a logit of 0 +- 1.5 (Solver::fit_by_evidence), in the exponent itself.
constexpr double kMiddle = 0.5;
constexpr double kStd = 0.375;
constexpr double kStep = 1e-3;  // of the exponent, to see what it changes
constexpr int kRounds = 6;
constexpr double kNear = 0.1;  // of its variance: what is left to go is nothing beside its doubt

double dot(const std::vector<double>& a, const std::vector<double>& b) {
    double sum = 0.0;
    for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
    return sum;
}

}  // namespace

// Joint normal equations of the rates and the exponent, the exponent last, solved for a step.
SharingStep Solver::sharing_step() const {
    const Tridiagonal noise = this->noise();
    const double step = hyper_.sharing > 0.5 ? -kStep : kStep;
    const Rows there = eq_.windows(hyper_.sharing + step);
    std::vector<double> slope(n_);
    for (std::size_t k = 0; k < n_; ++k) {
        slope[k] = (there.dot(k, x_) - rows_.dot(k, x_)) / step;
    }
    const std::vector<double> weighed = noise.solve(slope), left = noise.solve(residuals());
    // Of the rates' equations: what the slope adds, and what is still left to be explained.
    std::vector<double> link = project(weighed), rest = project(left);
    const Prior before = prior();
    Matrix told(width(), width());
    before.add_to(told);
    const std::vector<double> pull = before.pull();
    for (std::size_t i = 0; i < width(); ++i) {
        rest[i] += pull[i];
        for (std::size_t j = 0; j < width(); ++j) {
            rest[i] -= told(std::max(i, j), std::min(i, j)) * x_[j];
        }
    }
    for (std::size_t i = 0; i < width(); ++i) {
        if (free_[i] == 0) link[i] = rest[i] = 0.0;
    }
    SharingStep out;
    out.shift = link;
    solve(factor_, out.shift);
    for (double& s : out.shift) s = -s;
    double precision = dot(slope, weighed) + 1.0 / (kStd * kStd);
    precision += dot(link, out.shift);
    double pulled = dot(slope, left) + (kMiddle - hyper_.sharing) / (kStd * kStd);
    pulled += dot(rest, out.shift);
    out.variance = 1.0 / std::max(precision, 1.0 / (kStd * kStd));
    out.by = pulled * out.variance;
    return out;
}

// A' x
std::vector<double> Solver::project(const std::vector<double>& x) const {
    std::vector<double> out(width(), 0.0), drift(drift_.terms());
    const std::size_t q = clock_.size();
    for (std::size_t k = 0; k < n_; ++k) {
        for (const Entry& e : rows_.row(k)) out[e.col] += e.s * x[k];
        if (!drift.empty()) {
            std::fill(drift.begin(), drift.end(), 0.0);
            drift_.add(k, drift.data());
            for (std::size_t m = 0; m < drift.size(); ++m) out[p_ + m] += drift[m] * x[k];
        }
        for (std::size_t m = 0; m < q; ++m) {
            out[width() - q + m] += clock_column_[k * q + m] * x[k];
        }
    }
    return out;
}

// Gauss-Newton: where trials of the whole evidence are too dear, and after them, as they never get
// to a bound.
void Solver::fit_sharing() {
    for (int round = 0; round < kRounds; ++round) {
        const SharingStep step = sharing_step();
        const double before = hyper_.sharing;
        hyper_.sharing = std::clamp(before + step.by, 0.0, 1.0);
        rows_ = eq_.windows(hyper_.sharing);
        solve_rates();
        const double by = hyper_.sharing - before;
        if (by * by < kNear * step.variance) break;
    }
}

// The exponent of sharing is not known exactly either, and rates move with it.
void Solver::add_doubt_of_sharing(const std::vector<double>& e, Matrix& v, Matrix& cov) const {
    const SharingStep step = sharing_step();
    const double by = hyper_.sharing > 0.5 ? -kStep : kStep;
    std::vector<double> x = x_;
    for (std::size_t i = 0; i < x.size(); ++i) x[i] += by * step.shift[i];
    std::vector<double> moved = energies(energy_map(hyper_.sharing + by, x), x);
    for (std::size_t j = 0; j < p_; ++j) moved[j] = (moved[j] - e[j]) / by;
    for (std::size_t j = 0; j < p_; ++j) {
        for (std::size_t c = 0; c < p_; ++c) cov(j, c) += step.variance * moved[j] * moved[c];
    }
    for (std::size_t i = 0; i < width(); ++i) {
        for (std::size_t c = 0; c < width(); ++c) {
            v(i, c) += step.variance * step.shift[i] * step.shift[c];
        }
    }
}

}  // namespace picojoule
