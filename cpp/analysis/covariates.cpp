#include "analysis/covariates.h"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace picojoule {
namespace {

// Power goes with the first power of a clock where its voltage stays, with the third where that
// follows.
constexpr double kClockExponent = 3.0;
// Leakage: 0.4 % of an A100's power a degree near 45 degrees (from the traces of SC'24,
// arXiv:2312.02741), and more where it is hotter.
constexpr double kPerCelsius = 0.01;

}  // namespace

std::vector<Covariate> covariates_of(const Trace& trace, const std::string& domain) {
    std::vector<Covariate> out;
    for (std::size_t i = 0; i < trace.channels.size(); ++i) {
        const Channel& c = trace.channels[i];
        const bool moves = c.quantity == Quantity::frequency || c.quantity == Quantity::temperature;
        if (!moves || c.domain != domain) continue;
        Covariate series{};
        const auto add = [&](std::int64_t at_ns, double value) {
            const std::int64_t t = at_ns - trace.begin_ns;
            if (!series.t_ns.empty() && t <= series.t_ns.back()) return;
            series.t_ns.push_back(t);
            series.value.push_back(value);
        };
        for (const Record& r : trace.ticks) {
            if (r.id != i) continue;
            const double value = static_cast<double>(r.c) * c.unit;
            // The old value was still there at b; one that was held was there at b itself.
            const bool held = (r.flags & tick_flag::kHeld) != 0;
            if (r.b < r.a && (held || !series.value.empty())) {
                add(r.b, held ? value : series.value.back());
            }
            add(r.a, value);
        }
        if (series.value.empty()) continue;
        const auto [low, high] = std::minmax_element(series.value.begin(), series.value.end());
        if (!(*low < *high)) continue;
        series.std_per_unit = c.quantity == Quantity::temperature
                                  ? kPerCelsius
                                  : kClockExponent / (0.5 * (*low + *high));
        out.push_back(std::move(series));
    }
    return out;
}

}  // namespace picojoule
