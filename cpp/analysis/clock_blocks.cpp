#include "analysis/clock_blocks.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "analysis/dense.h"

namespace picojoule {
namespace {

constexpr std::size_t kMostTerms = 10;
// A block that is off by more than so many standard deviations is off for a reason of its own.
constexpr double kFar2 = 25.0;

// Least squares of the path's terms; returns the sum of squares that is left, each block's capped.
double fit(ClockPath& path, const std::vector<ClockBlock>& blocks) {
    const std::size_t q = path.size();
    path.ns.assign(q, 0.0);
    std::vector<double> weight(blocks.size());
    for (std::size_t b = 0; b < blocks.size(); ++b) {
        weight[b] = 1.0 / (blocks[b].std_ns * blocks[b].std_ns);
    }
    double left = std::numeric_limits<double>::infinity();
    constexpr int kRounds = 3;
    for (int round = 0; round < kRounds; ++round) {
        Matrix a(q, q);
        std::vector<double> c(q, 0.0), u(q);
        for (std::size_t b = 0; b < blocks.size(); ++b) {
            for (std::size_t m = 0; m < q; ++m) u[m] = path.shape(m, blocks[b].at_s);
            for (std::size_t m = 0; m < q; ++m) {
                c[m] += u[m] * blocks[b].ns * weight[b];
                for (std::size_t i = 0; i <= m; ++i) a(m, i) += u[m] * u[i] * weight[b];
            }
        }
        for (std::size_t m = 0; m < q; ++m) a(m, m) += 1e-16;  // far beyond any clock's error
        if (!cholesky(a)) return left;
        solve(a, c);
        path.ns = c;
        left = 0.0;
        for (std::size_t b = 0; b < blocks.size(); ++b) {
            const double precision = 1.0 / (blocks[b].std_ns * blocks[b].std_ns);
            const double error = blocks[b].ns - path.at(blocks[b].at_s);
            const double z2 = error * error * precision;
            left += std::min(z2, kFar2);
            weight[b] = precision / std::max(1.0, z2 / kFar2);
        }
    }
    return left;
}

}  // namespace

ClockPath path_through(const std::vector<ClockBlock>& blocks, double span_s) {
    ClockPath path;
    path.middle_s = 0.5 * span_s;
    path.half_s = 0.5 * span_s;
    path.terms = {{ClockTerm::Kind::offset, 0.0, kClockStdNs},
                  {ClockTerm::Kind::rate, 0.0, kClockStdNs}};
    if (blocks.size() < 2) path.terms.pop_back();
    double left = fit(path, blocks);
    // A term more has a size and a place.
    const double price = 3.0 * std::log(static_cast<double>(blocks.size()) + 1.0) + 6.0;
    while (path.size() < kMostTerms && path.size() + 3 < blocks.size()) {
        ClockPath best;
        double least_left = left;
        for (std::size_t b = 1; b < blocks.size(); ++b) {
            const double at_s = 0.5 * (blocks[b - 1].at_s + blocks[b].at_s);
            for (const auto kind : {ClockTerm::Kind::step, ClockTerm::Kind::bend}) {
                const bool edge = b < 2 || b + 2 > blocks.size();
                if (kind == ClockTerm::Kind::bend && edge) continue;
                ClockPath trial = path;
                trial.terms.push_back({kind, at_s, kClockStdNs});
                const double now = fit(trial, blocks);
                if (now < least_left) {
                    least_left = now;
                    best = std::move(trial);
                }
            }
        }
        if (least_left > left - price) break;
        left = least_left;
        path = std::move(best);
    }
    return path;
}

}  // namespace picojoule
