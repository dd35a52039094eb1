#include "analysis/windows.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace picojoule {

Windows windows_of(const Channel& channel, const Timeline& line, double span_ns) {
    Windows out;
    const bool gauge = channel.quantity == Quantity::power && channel.window_ns > 0;
    for (std::size_t k = 1; k < line.size(); ++k) {
        if (line.broken[k] || line.time_ns[k] <= 0.0 || line.time_ns[k - 1] >= span_ns) continue;
        const double dt = line.time_ns[k] - line.time_ns[k - 1];
        double joules = line.joules[k] - line.joules[k - 1];
        double noise = std::hypot(line.noise_j[k], line.quantum_j * 0.41);
        double from = line.time_ns[k - 1];
        if (gauge) {  // what a gauge says is of its own window, whatever the time between readings
            const double window = static_cast<double>(channel.window_ns);
            joules *= window / dt;
            noise = 1e-9 * window * line.gauge_w;
            from = line.time_ns[k] - window;
        }
        const auto begin = static_cast<std::int64_t>(std::llround(from));
        const auto end = static_cast<std::int64_t>(std::llround(line.time_ns[k]));
        if (end <= begin) continue;
        if (!out.end_ns.empty()) out.shared.push_back(!gauge && out.end_ns.back() == begin ? 1 : 0);
        out.begin_ns.push_back(begin);
        out.end_ns.push_back(end);
        out.value.push_back(joules);
        out.edge_std_ns.push_back(std::max(1.0, line.time_std_ns[k]));
        out.value_std.push_back(noise);
    }
    if (out.end_ns.empty()) return out;
    out.shared.push_back(0);
    if (line.clock_std_ns > 0.0 && line.period_ns > 0.0) {
        const double slope = line.period_std_ns / line.period_ns;
        const auto length = static_cast<double>(out.end_ns.back() - out.begin_ns.front());
        out.clock_error = {line.clock_std_ns * line.clock_std_ns, slope * slope, 0.5 * length};
    }
    return out;
}

std::vector<AttributeInput::Covariate> Activity::drift() const {
    std::vector<AttributeInput::Covariate> out;
    out.reserve(covariates.size());
    for (const Covariate& c : covariates) out.push_back({c.t_ns, c.value, c.std_per_unit});
    return out;
}

Attributed solve_profile(const Channel& channel, const EnergyCurve& curve, const EnergyOf& whole,
                         double span_ns, Activity activity) {
    const Windows windows = windows_of(channel, curve.timeline(), span_ns);
    constexpr auto kLong = static_cast<std::int64_t>(1e15);
    const auto end_ns = static_cast<std::int64_t>(span_ns);
    // What ran before and after is not known: two classes of their own, so that readings which
    // reach beyond the profile's edges can be used.
    const auto before = static_cast<std::int32_t>(activity.n_classes);
    activity.from.insert(activity.from.begin(), -kLong);
    activity.to.insert(activity.to.begin(), 0);
    activity.cls.insert(activity.cls.begin(), before);
    activity.from.push_back(end_ns);
    activity.to.push_back(end_ns + kLong);
    activity.cls.push_back(before + 1);
    activity.n_classes += 2;
    activity.prior_rate.resize(activity.n_classes, std::numeric_limits<double>::quiet_NaN());
    activity.prior_cv.resize(activity.n_classes, 1.0);
    AttributeInput in;
    in.begin_ns = windows.begin_ns;
    in.end_ns = windows.end_ns;
    in.value = windows.value;
    in.edge_std_ns = windows.edge_std_ns;
    in.value_std = windows.value_std;
    in.shared = windows.shared;
    in.spans = {activity.from, activity.to, activity.cls};
    in.n_classes = activity.n_classes;
    in.prior_rate = activity.prior_rate;
    in.prior_cv = activity.prior_cv;
    const std::vector<AttributeInput::Covariate> drift = activity.drift();
    in.drift = drift;
    in.clock_error = windows.clock_error;
    // Of a gap the rates would say what it had, but the whole is without it.
    const double std_j = whole.uncovered_s > 0.0 ? 0.0 : whole.std_j;
    in.total = AttributeInput::Total{0, end_ns, whole.joules, std_j};
    in.gain_std = channel.gain_std;
    return attribute(in);
}

double doubt_of_gaps(const EnergyOf& whole) {
    return whole.uncovered_s > 0.0 && whole.joules > 0.0 ? whole.std_j / whole.joules : 0.0;
}

EnergyOf whole_of(const Attributed& found, const EnergyOf& whole) {
    EnergyOf out = whole;
    if (whole.uncovered_s > 0.0 || !(found.sum_std < whole.std_j)) return out;
    out.joules = std::accumulate(found.energy.begin(), found.energy.end(), found.baseline_energy);
    out.std_j = found.sum_std;
    return out;
}

}  // namespace picojoule
