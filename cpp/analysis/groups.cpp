#include <algorithm>
#include <cmath>

#include "analysis/attribute.h"

namespace picojoule {
namespace {

// A class is determined by the readings if they left so little of its prior's doubt,
constexpr double kLeft = 0.5;
// or if its energy is known this well anyhow.
constexpr double kWell = 0.03;
// Two (groups of) classes are one where their energies are known only together: correlated so,
constexpr double kTogether = -0.5;
// (or, of classes that the readings determine in part, so)
constexpr double kInseparable = -0.9;
// and the sum's doubt is so much less than that of the larger part.
constexpr double kBetter = 0.5;

}  // namespace

void find_groups(const std::vector<double>& energy, const Matrix& cov,
                 const std::vector<double>& prior_std, const std::vector<std::uint8_t>& told,
                 Attributed& out) {
    const std::size_t n = energy.size();
    out.identified.assign(n, 1);
    struct Part {
        std::vector<std::uint32_t> of;
        double var;
        bool partly;
    };
    std::vector<Part> parts;
    for (std::uint32_t j = 0; j < n; ++j) {
        const double std = std::sqrt(std::max(0.0, cov(j, j)));
        // What did not run, or where nothing looked, has no energy, and no rate that was measured.
        const bool ran = prior_std[j] > 0.0;
        const bool known = ran && energy[j] > 0.0 && std <= kWell * energy[j];
        if (told[j] == 0 && known) continue;
        const bool partly = told[j] == 0 && ran && std <= kLeft * prior_std[j];
        if (!partly) out.identified[j] = 0;
        if (std > 0.0) parts.push_back({{j}, std * std, partly});
    }
    // Greedy: what is most anti-correlated is joined first.
    std::vector<std::vector<double>> between(parts.size(), std::vector<double>(parts.size()));
    for (std::size_t a = 0; a < parts.size(); ++a) {
        for (std::size_t b = 0; b < parts.size(); ++b) {
            between[a][b] = cov(parts[a].of[0], parts[b].of[0]);
        }
    }
    while (parts.size() > 1) {
        double most = kTogether;
        std::size_t x = 0, y = 0;
        for (std::size_t a = 0; a < parts.size(); ++a) {
            for (std::size_t b = 0; b < a; ++b) {
                const double c = between[a][b] / std::sqrt(parts[a].var * parts[b].var);
                const double sum = parts[a].var + parts[b].var + 2.0 * between[a][b];
                const double larger = std::max(parts[a].var, parts[b].var);
                const bool partly = parts[a].partly || parts[b].partly;
                if (c < most && (!partly || c < kInseparable) && sum < kBetter * kBetter * larger) {
                    most = c;
                    x = b;
                    y = a;
                }
            }
        }
        if (x == y) break;
        parts[x].var = std::max(1e-300, parts[x].var + parts[y].var + 2.0 * between[x][y]);
        parts[x].of.insert(parts[x].of.end(), parts[y].of.begin(), parts[y].of.end());
        for (std::size_t b = 0; b < parts.size(); ++b) {
            if (b == x || b == y) continue;
            between[x][b] += between[y][b];
            between[b][x] = between[x][b];
        }
        const auto gone = static_cast<std::ptrdiff_t>(y);
        parts.erase(parts.begin() + gone);
        between.erase(between.begin() + gone);
        for (auto& row : between) row.erase(row.begin() + gone);
    }
    for (Part& part : parts) {
        if (part.of.size() < 2) continue;
        std::sort(part.of.begin(), part.of.end());
        for (const auto j : part.of) out.identified[j] = 0;
        out.groups.push_back(std::move(part.of));
    }
    std::sort(out.groups.begin(), out.groups.end());
}

}  // namespace picojoule
