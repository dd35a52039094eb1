#include "analysis/covariates.h"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace picojoule {

std::vector<ClockSeries> clocks_of(const Trace& trace, const std::string& domain) {
    std::vector<ClockSeries> out;
    for (std::size_t i = 0; i < trace.channels.size(); ++i) {
        const Channel& c = trace.channels[i];
        if (c.quantity != Quantity::frequency || c.domain != domain) continue;
        ClockSeries series;
        const auto add = [&](std::int64_t at_ns, double hertz) {
            const std::int64_t t = at_ns - trace.begin_ns;
            if (!series.t_ns.empty() && t <= series.t_ns.back()) return;
            series.t_ns.push_back(t);
            series.hertz.push_back(hertz);
        };
        for (const Record& r : trace.ticks) {
            if (r.id != i) continue;
            const double hertz = static_cast<double>(r.c) * c.unit;
            // The old value was still there at b; one that was held was there at b itself.
            const bool held = (r.flags & tick_flag::kHeld) != 0;
            if (r.b < r.a && (held || !series.hertz.empty())) {
                add(r.b, held ? hertz : series.hertz.back());
            }
            add(r.a, hertz);
        }
        if (series.hertz.empty()) continue;
        const auto [low, high] = std::minmax_element(series.hertz.begin(), series.hertz.end());
        if (*low < *high) out.push_back(std::move(series));
    }
    return out;
}

}  // namespace picojoule
