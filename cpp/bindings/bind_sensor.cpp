#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "analysis/sensor_identify.h"
#include "bindings/bind.h"

namespace py = pybind11;
using namespace py::literals;

namespace picojoule {
namespace {

using Times = py::array_t<std::int64_t, py::array::c_style>;
using Doubles = py::array_t<double, py::array::c_style>;
using Classes = py::array_t<std::int32_t, py::array::c_style>;

template <class T>
std::span<const T> view(const py::array_t<T, py::array::c_style>& a) {
    return {a.data(), static_cast<std::size_t>(a.size())};
}

// Arrays come checked (sensor.py), as to length and order.
py::array_t<double> array_of(const std::vector<double>& v, double offset = 0.0) {
    py::array_t<double> out(static_cast<py::ssize_t>(v.size()));
    for (std::size_t i = 0; i < v.size(); ++i) {
        out.mutable_at(static_cast<py::ssize_t>(i)) = v[i] + offset;
    }
    return out;
}

py::tuple of(const Fitted& f, double unit = 1.0) {
    return py::make_tuple(f.value * unit, f.std * unit, f.from_data);
}

py::dict told(const SensorPrior& p) {
    const auto pair = [](const Known& k) { return py::make_tuple(k.mean, k.std); };
    return py::dict("family"_a = p.family, "field"_a = p.field, "shape"_a = to_string(p.shape),
                    "period_s"_a = pair(p.period_s), "window_s"_a = pair(p.window_s),
                    "tau_s"_a = pair(p.tau_s), "gain"_a = pair(p.gain),
                    "offset_w"_a = pair(p.offset_w), "noise_w"_a = p.noise_w,
                    "source"_a = p.source);
}

py::object sensor_prior_py(const std::string& device, const std::string& field) {
    const SensorPrior* p = sensor_prior(sensor_family(device), field);
    return p == nullptr ? py::object(py::none()) : py::object(told(*p));
}

py::list sensor_table_py() {
    py::list out;
    for (const SensorPrior& p : sensor_table()) out.append(told(p));
    return out;
}

double period_of(const SensorPrior* prior) {
    return prior == nullptr ? std::numeric_limits<double>::quiet_NaN() : prior->period_s.mean * 1e9;
}

py::tuple sensor_ticks_py(const Times& poll, const Doubles& value, bool counter, double period_s) {
    const std::int64_t origin = poll.size() > 0 ? poll.at(0) : 0;
    const SensorSeries s = sensor_series(view(poll), view(value), counter, period_s * 1e9, origin);
    const ClockFit clock = fit_sensor_clock(s.ticks, s.period_ns, s.period_cv);
    const auto n = static_cast<py::ssize_t>(s.ticks.size());
    py::array_t<std::int64_t> time(n);
    const bool placed = s.period_ns > 0.0;
    std::vector<double> std(s.ticks.size());
    for (py::ssize_t k = 0; k < n; ++k) {
        const auto i = static_cast<std::size_t>(k);
        const Bracket& b = s.ticks[i];
        const double t = placed ? clock.time_ns[i] : 0.5 * (b.old_ns + b.new_ns);
        time.mutable_at(k) = origin + std::llround(t);
        std[i] = placed ? clock.std_ns[i] : (b.new_ns - b.old_ns) / std::sqrt(12.0);
    }
    return py::make_tuple(time, array_of(std), array_of(s.value));
}

py::dict identify_sensor_py(const Times& poll, const Doubles& value, bool counter,
                            const Times& power_at, const Doubles& power, const Times& span_begin,
                            const Times& span_end, const Classes& cls, std::size_t n_classes,
                            const std::string& device, const std::string& field,
                            const std::string& shape) {
    const std::int64_t origin = poll.at(0);
    std::optional<SensorShape> known;
    for (const SensorShape s : {SensorShape::boxcar, SensorShape::lag, SensorShape::integral}) {
        if (shape == to_string(s)) known = s;
    }
    const SensorPrior* prior = sensor_prior(sensor_family(device), field);
    Identified found;
    {
        py::gil_scoped_release nogil;
        const SensorSeries series =
            sensor_series(view(poll), view(value), counter, period_of(prior), origin);
        SensorReference reference =
            power.size() > 0
                ? power_reference(view(power_at), view(power), origin)
                : span_reference({view(span_begin), view(span_end), view(cls)}, n_classes, origin);
        found = identify_sensor(series, counter, reference, prior, known);
    }
    const ClockFit& clock = found.clock;
    const std::size_t middle = clock.time_ns.size() / 2;
    const bool clocked = clock.period_ns > 0.0 && !clock.time_ns.empty();
    py::object phase = py::none();
    if (clocked) phase = py::int_(origin + std::llround(clock.time_ns[middle]));
    return py::dict(
        "fitted"_a = found.fitted, "ticks"_a = found.ticks,
        "period_s"_a = py::make_tuple(clock.period_ns * 1e-9, clock.period_std_ns * 1e-9, clocked),
        "phase_ns"_a = phase, "phase_std_s"_a = clocked ? clock.std_ns[middle] * 1e-9 : NAN,
        "jitter_s"_a = clock.jitter_ns * 1e-9, "shape"_a = to_string(found.shape),
        "window_s"_a = of(found.window_ns, 1e-9), "delay_s"_a = of(found.delay_ns, 1e-9),
        "tau_s"_a = of(found.tau_ns, 1e-9), "gain"_a = of(found.gain),
        "offset_w"_a = of(found.offset_w), "noise_w"_a = found.noise_w,
        "shape_odds"_a = found.shape_odds,
        "prior"_a = prior == nullptr ? py::object(py::none()) : py::object(told(*prior)));
}

Doubles class_seconds_py(const Times& begin, const Times& end, const Times& span_begin,
                         const Times& span_end, const Classes& cls, std::size_t n_classes,
                         double lag_s) {
    std::vector<double> seconds;
    {
        py::gil_scoped_release nogil;
        seconds = class_seconds({view(span_begin), view(span_end), view(cls)}, n_classes,
                                view(begin), view(end), lag_s);
    }
    Doubles out({begin.size(), static_cast<py::ssize_t>(n_classes)});
    std::copy(seconds.begin(), seconds.end(), out.mutable_data());
    return out;
}

}  // namespace

void bind_sensor(py::module_& m) {
    m.def("sensor_table", &sensor_table_py);
    m.def("sensor_prior", &sensor_prior_py, "device"_a, "field"_a);
    m.def("sensor_ticks", &sensor_ticks_py, "poll_ns"_a, "value"_a, "counter"_a, "period_s"_a);
    m.def("identify_sensor", &identify_sensor_py, "poll_ns"_a, "value"_a, "counter"_a, "power_ns"_a,
          "power_w"_a, "span_begin_ns"_a, "span_end_ns"_a, "span_class"_a, "n_classes"_a,
          "device"_a, "field"_a, "shape"_a);
    m.def("class_seconds", &class_seconds_py, "begin_ns"_a, "end_ns"_a, "span_begin_ns"_a,
          "span_end_ns"_a, "span_class"_a, "n_classes"_a, "lag_s"_a);
}

}  // namespace picojoule
