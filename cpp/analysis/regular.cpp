#include "analysis/regular.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace picojoule {
namespace {

double median(std::vector<double> x) {
    const auto middle = x.begin() + static_cast<std::ptrdiff_t>(x.size() / 2);
    std::nth_element(x.begin(), middle, x.end());
    return *middle;
}

// Tick numbers by counting from one to the next, never by dividing a long time by a period. Where
// edges may be off by much of it, what is counted from is where the ticks before say that the clock
// is.
bool count_ticks(const std::vector<double>& at, double period, double std,
                 std::vector<double>& number) {
    constexpr double kOff = 0.2, kMostOff = 0.45;  // of a period: no tick of this clock
    constexpr double kFar = 6.0, kMemory = 32.0;
    const bool rough = kFar * std > kOff * period;
    const double most = period * std::clamp(kFar * std / period, kOff, kMostOff);
    double clock = at[0];
    for (std::size_t k = 1; k < at.size(); ++k) {
        const double turns = std::round((at[k] - clock) / period);
        clock += turns * period;
        const double off = at[k] - clock;
        if (turns < 1.0 || std::abs(off) > most) return false;
        number[k] = number[k - 1] + turns;
        clock += rough ? off / std::min(static_cast<double>(k) + 1.0, kMemory) : off;
    }
    return true;
}

struct Line {
    double at0{}, slope{}, mean_m{}, sum_w{}, spread{};
    [[nodiscard]] double at(double m) const { return at0 + slope * (m - mean_m); }
    [[nodiscard]] double variance(double m) const {
        return 1.0 / sum_w + (spread > 0.0 ? (m - mean_m) * (m - mean_m) / spread : 0.0);
    }
};

Line fit(const std::vector<double>& m, const std::vector<double>& t, const std::vector<double>& w) {
    Line line;
    double st = 0.0;
    for (std::size_t i = 0; i < m.size(); ++i) {
        line.sum_w += w[i];
        line.mean_m += w[i] * m[i];
        st += w[i] * t[i];
    }
    line.mean_m /= line.sum_w;
    line.at0 = st / line.sum_w;
    double mt = 0.0;
    for (std::size_t i = 0; i < m.size(); ++i) {
        const double d = m[i] - line.mean_m;
        line.spread += w[i] * d * d;
        mt += w[i] * d * (t[i] - line.at0);
    }
    line.slope = line.spread > 0.0 ? mt / line.spread : 0.0;
    return line;
}

}  // namespace

ClockError settle_on_clock(std::vector<double>& begin, std::vector<double>& end,
                           std::vector<double>& begin_std, std::vector<double>& end_std,
                           std::span<const std::uint8_t> shared) {
    const std::size_t n = end.size();
    if (n < 16) return {};
    std::vector<double> steps, w(n), m(n);
    for (std::size_t k = 0; k < n; ++k) {
        if (!(end_std[k] > 0.0)) return {};
        w[k] = 1.0 / (end_std[k] * end_std[k]);
        if (k > 0) steps.push_back(end[k] - end[k - 1]);
    }
    const double period = median(steps);
    if (!(period > 0.0)) return {};
    if (!count_ticks(end, period, median(end_std), m)) return {};
    const Line line = fit(m, end, w);
    // In units of what was claimed: 1 where edges are on the clock and all scatter is their error.
    double scatter = 0.0, neighbours = 0.0, before = 0.0;
    for (std::size_t k = 0; k < n; ++k) {
        const double z = (end[k] - line.at(m[k])) * std::sqrt(w[k]);
        scatter += z * z;
        neighbours += z * before;
        before = z;
    }
    const double count = static_cast<double>(n);
    scatter /= count - 2.0;
    const double doubt = std::sqrt(2.0 / count);
    // More regular than their claimed error: they were put on a clock already, and the claim is how
    // far true edges are from there.
    if (!(scatter > 1.0 - 4.0 * doubt)) return {};
    neighbours /= count * scatter;
    // A clock that wanders, or steps, leaves neighbours on one side of the line.
    if (std::abs(neighbours) > 4.0 / std::sqrt(count)) return {};
    // Variance of the ticks' own jitter, in units of the claim. Where the scatter does not show
    // that there is any, edges are put on the line: the rest of their error would pass for
    // differences between windows that there are not.
    const double shown = scatter - 1.0 > 3.0 * doubt ? scatter - 1.0 : 0.0;
    const double keep = shown / (1.0 + shown);
    const double own = std::max(0.0, scatter - 1.0) + doubt;  // what the scatter leaves room for
    const double room = own / (1.0 + own);
    const double length = [&] {
        std::vector<double> lengths(n);
        for (std::size_t k = 0; k < n; ++k) lengths[k] = end[k] - begin[k];
        return median(lengths);
    }();
    const double claim_scale = std::min(1.0, scatter);
    for (std::size_t k = 0; k < n; ++k) {
        const double on_clock = line.at(m[k]);
        const double moved = on_clock + keep * (end[k] - on_clock);
        const double var = room * claim_scale * end_std[k] * end_std[k] + line.variance(m[k]);
        // The begin belongs to the tick before, or is one window before this end.
        const bool follows = k > 0 && shared[k - 1] != 0;
        const double old_end = end[k];
        end[k] = moved;
        end_std[k] = std::min(end_std[k], std::sqrt(var));
        if (follows) {
            begin[k] = end[k - 1];
            begin_std[k] = end_std[k - 1];
        } else if (k == 0 && n > 1 && shared[0] != 0) {
            const double first =
                line.at(m[0] - std::max(1.0, std::round((old_end - begin[0]) / period)));
            begin[0] = first + keep * (begin[0] - first);
            begin_std[0] = end_std[0];
        } else {
            const double expected = moved - length;
            // Both edges of a gauge's window move with its tick; lengths have an error of their own
            // only as far as the given edges disagree.
            const double error = begin[k] - expected;
            if (std::abs(error) < 8.0 * (begin_std[k] + end_std[k]) + 1.0) {
                begin[k] = expected + keep * error;
                begin_std[k] = end_std[k];
            }
        }
    }
    return {scatter / line.sum_w,
            line.spread > 0.0 ? scatter / line.spread / (period * period) : 0.0, line.at0};
}

}  // namespace picojoule
