#include "analysis/posterior.h"

#include <cmath>

namespace picojoule {

double usual_rate(double mean, double all_s, std::span<const double> spent_s) {
    if (!(all_s > 0.0)) return mean;
    double squares = 0.0;
    for (const double s : spent_s) squares += s * s;
    return mean * (1.0 + kContrast * kContrast * squares / (all_s * all_s));
}

void reconcile(std::vector<double>& e, Matrix& cov, double total, double gain2, double total2) {
    const std::size_t n = e.size();
    std::vector<std::uint8_t> held(n, 0);
    for (int round = 0; round < 20; ++round) {
        std::vector<double> pull(n, 0.0);
        double whole = 0.0, now = 0.0;
        for (std::size_t j = 0; j < n; ++j) now += e[j];
        double live = 0.0;
        for (std::size_t j = 0; j < n; ++j) live += held[j] != 0 ? 0.0 : e[j];
        for (std::size_t j = 0; j < n; ++j) {
            if (held[j] != 0) continue;
            for (std::size_t c = 0; c < n; ++c) {
                if (held[c] == 0) pull[j] += cov(j, c);
            }
            pull[j] += gain2 * e[j] * live;
            whole += pull[j];
        }
        double missing = total - now;
        if (!(whole > 0.0) || std::abs(missing) < 1e-12 * std::abs(total)) break;
        if (round == 0 && total2 > 0.0) {
            total = now + (total - now) * whole / (whole + total2);
            missing = total - now;
        }
        if (round == 0) {  // the doubt that is left once the sum is known
            for (std::size_t j = 0; j < n; ++j) {
                for (std::size_t c = 0; c < n; ++c) cov(j, c) += gain2 * e[j] * e[c];
            }
            for (std::size_t j = 0; j < n; ++j) {
                for (std::size_t c = 0; c < n; ++c) {
                    cov(j, c) -= pull[j] * pull[c] / (whole + total2);
                }
            }
        }
        bool negative = false;
        for (std::size_t j = 0; j < n; ++j) {
            if (held[j] != 0) continue;
            e[j] += missing * pull[j] / whole;
            if (e[j] < 0.0 && total >= 0.0) {
                e[j] = 0.0;
                held[j] = 1;
                negative = true;
            }
        }
        if (!negative) break;
    }
}

}  // namespace picojoule
