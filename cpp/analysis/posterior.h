// What is assumed of rates before any reading, and how the parts are made to add up to a total:
// common to the batch solver (attribute.h) and the live one (live.h).
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "analysis/dense.h"

namespace picojoule {

// Spread of rates among classes of which nothing else is known, before the readings say.
constexpr double kContrast = 0.5;
// Priors may be wrong by one common factor, about so much.
constexpr double kCommon = 0.5;
// Standard deviation of edges in the shape of the noise where none was given.
constexpr double kUnknownEdgeNs = 1e5;

// Independent but for a common factor of all classes whose rates were given, and one of all others:
// precision D - g^2 (D mean)(D mean)' / (1 + g^2 mean' D mean) in each of these sets, D = 1 /
// std^2.
struct Prior {
    std::vector<double> mean, std;
    std::vector<std::uint8_t> set;  // 0: no common factor
    double log_det{};
    double sum[3]{};  // mean' D mean of each set
    double shrink[3]{};

    void settle() {
        log_det = 0.0;
        for (std::size_t i = 0; i < mean.size(); ++i) {
            const double d = 1.0 / (std[i] * std[i]);
            sum[set[i]] += mean[i] * d * mean[i];
            log_det += std::log(d);
        }
        constexpr double kG2 = kCommon * kCommon;
        for (const int q : {1, 2}) {
            shrink[q] = kG2 / (1.0 + kG2 * sum[q]);
            log_det -= std::log(1.0 + kG2 * sum[q]);
        }
    }
    void add_to(Matrix& a) const {
        for (std::size_t i = 0; i < mean.size(); ++i) {
            const double di = 1.0 / (std[i] * std[i]);
            a(i, i) += di;
            if (set[i] == 0) continue;
            for (std::size_t j = 0; j <= i; ++j) {
                if (set[j] != set[i]) continue;
                const double dj = 1.0 / (std[j] * std[j]);
                a(i, j) -= shrink[set[i]] * di * mean[i] * dj * mean[j];
            }
        }
    }
    // precision . mean
    [[nodiscard]] std::vector<double> pull() const {
        std::vector<double> out(mean.size());
        for (std::size_t i = 0; i < mean.size(); ++i) {
            out[i] = mean[i] / (std[i] * std[i]) * (1.0 - shrink[set[i]] * sum[set[i]]);
        }
        return out;
    }
    [[nodiscard]] double square() const {  // mean' precision mean
        double all = 0.0;
        for (const int q : {0, 1, 2}) all += sum[q] - shrink[q] * sum[q] * sum[q];
        return all;
    }
};

// What rates of classes of which nothing is known are expected to be, where `mean` is the rate over
// `all_s` and `spent_s` the time of each class in it. The mean is mostly that of what takes most
// time; if that happens to draw little, others are more likely to draw more (of y = r (1 + c z), z
// normal, the expected r is y (1 + c^2 ...)).
[[nodiscard]] double usual_rate(double mean, double all_s, std::span<const double> spent_s);

// Moves the parts `e` to the sum `total`, each by its doubt and the doubt it shares (`cov`, which
// becomes what is left of it once the sum is known). No part falls below 0. `gain2`: variance of
// the relative gain between what the parts were found from and what the total is from. `total2`:
// variance of the total itself; of what is missing, only that share is moved which the parts' doubt
// has in all doubt.
void reconcile(std::vector<double>& e, Matrix& cov, double total, double gain2,
               double total2 = 0.0);

}  // namespace picojoule
