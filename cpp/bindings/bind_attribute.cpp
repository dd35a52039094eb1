#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "analysis/attribute.h"
#include "analysis/live.h"
#include "bindings/bind.h"

namespace py = pybind11;
using namespace py::literals;

namespace picojoule {
namespace {

using Times = py::array_t<std::int64_t, py::array::c_style>;
using Doubles = py::array_t<double, py::array::c_style>;
using Classes = py::array_t<std::int32_t, py::array::c_style>;
using Flags = py::array_t<std::uint8_t, py::array::c_style>;

template <class T>
std::span<const T> view(const py::array_t<T, py::array::c_style>& a) {
    return {a.data(), static_cast<std::size_t>(a.size())};
}

[[noreturn]] void bad(const std::string& what) {
    throw py::value_error(what);
}

std::string at(const char* name, std::size_t i) {
    return std::string(name) + "[" + std::to_string(i) + "]";
}

// `series`: of each reading; those of one series are neighbours.
void check_windows(const AttributeInput& in, std::span<const std::int32_t> series) {
    for (std::size_t k = 0; k < in.value.size(); ++k) {
        if (in.end_ns[k] <= in.begin_ns[k]) {
            bad(at("end_ns", k) + " is not after " + at("begin_ns", k) + ": " +
                std::to_string(in.end_ns[k]) + " <= " + std::to_string(in.begin_ns[k]));
        }
        if (!std::isfinite(in.value[k])) {
            bad(at("value", k) + " is not a finite number; leave windows without a value out");
        }
        if (!(in.edge_std_ns[k] >= 0.0) || !std::isfinite(in.edge_std_ns[k])) {
            bad(at("edge_std_ns", k) + " must be a finite number >= 0");
        }
        if (!(in.value_std[k] >= 0.0) || !std::isfinite(in.value_std[k])) {
            bad(at("value_std", k) + " must be a finite number >= 0");
        }
        if (k > 0 && series[k] == series[k - 1] && in.begin_ns[k] < in.begin_ns[k - 1]) {
            bad("windows must be in order of their begin: " + at("begin_ns", k) + " is before " +
                at("begin_ns", k - 1));
        }
    }
}

// `contiguous`: 1 all neighbours share an edge, 0 none, -1 those whose edge is the same.
std::vector<std::uint8_t> shared_edges(const AttributeInput& in, int contiguous,
                                       std::span<const std::int32_t> series) {
    std::vector<std::uint8_t> out(in.value.size(), 0);
    for (std::size_t k = 0; k + 1 < out.size(); ++k) {
        if (series[k + 1] != series[k] || in.shifted[k] != 0 || in.shifted[k + 1] != 0) continue;
        const bool same = in.begin_ns[k + 1] == in.end_ns[k];
        if (contiguous == 1 && !same) {
            bad("contiguous=True, but " + at("begin_ns", k + 1) + " is not " + at("end_ns", k) +
                (in.begin_ns[k + 1] < in.end_ns[k] ? ": the windows overlap" : ": there is a gap"));
        }
        out[k] = contiguous != 0 && same ? 1 : 0;
    }
    return out;
}

void check_spans(const AttributeInput& in) {
    const Spans& s = in.spans;
    const auto most = static_cast<std::int64_t>(in.n_classes);
    for (std::size_t i = 0; i < s.cls.size(); ++i) {
        if (s.end_ns[i] < s.begin_ns[i]) {
            bad(at("span_end_ns", i) + " is before " + at("span_begin_ns", i) + ": " +
                std::to_string(s.end_ns[i]) + " < " + std::to_string(s.begin_ns[i]));
        }
        if (s.cls[i] < 0 || s.cls[i] >= most) {
            bad(at("span_class", i) + " is " + std::to_string(s.cls[i]) + ", not one of 0.." +
                std::to_string(most - 1));
        }
    }
}

void check_priors(const AttributeInput& in) {
    for (std::size_t j = 0; j < in.n_classes; ++j) {
        if (std::isnan(in.prior_rate[j])) continue;
        if (!(in.prior_rate[j] >= 0.0) || !std::isfinite(in.prior_rate[j])) {
            bad(at("prior_rate", j) + " must be a finite number >= 0, or nan for none");
        }
        if (!(in.prior_cv[j] > 0.0) || !std::isfinite(in.prior_cv[j])) {
            bad(at("prior_cv", j) + " must be a finite number > 0 where there is a prior_rate");
        }
    }
}

py::array_t<double> array_of(const std::vector<double>& v) {
    return py::array_t<double>(static_cast<py::ssize_t>(v.size()), v.data());
}

py::dict result(const Attributed& a) {
    const auto k = static_cast<py::ssize_t>(a.rate.size());
    py::list groups;
    for (const auto& g : a.groups) {
        py::array_t<std::int64_t> index(static_cast<py::ssize_t>(g.size()));
        for (std::size_t i = 0; i < g.size(); ++i) index.mutable_at(i) = g[i];
        groups.append(index);
    }
    py::array_t<bool> identified(k);
    for (py::ssize_t j = 0; j < k; ++j) {
        identified.mutable_at(j) = a.identified[static_cast<std::size_t>(j)] != 0;
    }
    py::array_t<double> cov({k, k});
    if (k > 0) std::copy(a.cov.data().begin(), a.cov.data().end(), cov.mutable_data());
    const Hyper& h = a.hyper;
    return py::dict(
        "rate"_a = array_of(a.rate), "rate_std"_a = array_of(a.rate_std),
        "energy"_a = array_of(a.energy), "energy_std"_a = array_of(a.energy_std), "cov"_a = cov,
        "baseline_rate"_a = a.baseline_rate, "baseline_rate_std"_a = a.baseline_rate_std,
        "baseline_energy"_a = a.baseline_energy, "baseline_energy_std"_a = a.baseline_std,
        "groups"_a = groups, "identified"_a = identified, "residual"_a = a.residual,
        "total"_a = a.total, "unattributed"_a = a.unattributed, "time_s"_a = array_of(a.time_s),
        "idle_s"_a = a.idle_s,
        "noise"_a = py::dict(
            "edge_scale"_a = h.edge_scale, "edge_std_ns"_a = h.edge_std_ns, "process"_a = h.process,
            "prior_scale"_a = h.prior_scale, "contrast"_a = h.contrast, "sharing"_a = h.sharing,
            "context"_a = h.context, "drift"_a = h.drift, "drift_terms"_a = h.drift_terms,
            "outliers"_a = h.outliers, "clock_terms"_a = h.clock_terms,
            "clock_offset_ns"_a = h.clock_offset_ns, "clock_rate_ppm"_a = h.clock_rate_ppm,
            "log_evidence"_a = h.log_evidence));
}

py::dict attribute_py(const Times& begin, const Times& end, const Doubles& value,
                      const Times& span_begin, const Times& span_end, const Classes& cls,
                      std::size_t n_classes, const Doubles& edge_std, const Doubles& value_std,
                      double lag_s, int contiguous, const Doubles& prior_rate,
                      const Doubles& prior_cv, const py::object& total, double gain_std,
                      bool baseline, const Flags& shifted, const Classes& series,
                      const std::vector<std::pair<Times, Doubles>>& drift, unsigned threads) {
    AttributeInput in;
    in.begin_ns = view(begin);
    in.end_ns = view(end);
    in.value = view(value);
    in.spans = {view(span_begin), view(span_end), view(cls)};
    in.n_classes = n_classes;
    in.edge_std_ns = view(edge_std);
    in.value_std = view(value_std);
    in.lag_s = lag_s;
    in.prior_rate = view(prior_rate);
    in.prior_cv = view(prior_cv);
    in.gain_std = gain_std;
    in.baseline = baseline;
    in.shifted = view(shifted);
    const std::span<const std::int32_t> series_of = view(series);
    in.threads = threads;
    for (const auto& [t_ns, values] : drift) in.drift.push_back({view(t_ns), view(values)});
    if (!total.is_none()) {
        const auto t = total.cast<std::tuple<std::int64_t, std::int64_t, double>>();
        in.total = AttributeInput::Total{std::get<0>(t), std::get<1>(t), std::get<2>(t)};
        if (in.total->end_ns <= in.total->begin_ns) bad("total: its end is not after its begin");
        if (!std::isfinite(in.total->value)) bad("total: its value is not a finite number");
    }
    if (in.value.empty() && !in.total) bad("value: no readings, and no total");
    Attributed out;
    {
        py::gil_scoped_release nogil;
        check_windows(in, series_of);
        const auto shared = shared_edges(in, contiguous, series_of);
        in.shared = shared;
        // Gauges are placed by their ticks already, and several clocks are not one.
        in.settle_edges =
            std::all_of(in.shifted.begin(), in.shifted.end(), [](auto s) { return s == 0; }) &&
            std::all_of(series_of.begin(), series_of.end(),
                        [&](auto s) { return s == series_of.front(); });
        check_spans(in);
        check_priors(in);
        out = attribute(in);
    }
    return result(out);
}

// Calls from several threads wait for each other, without the GIL.
class Live {
  public:
    // Classes: of K x K numbers 512 MiB.
    static constexpr std::size_t kMost = 8192;

    Live(std::size_t n_classes, const Doubles& prior_rate, const Doubles& prior_cv, double gain_std,
         bool baseline)
        : solver_(settings(n_classes, prior_rate, prior_cv, gain_std, baseline)) {}

    void update(const Times& begin, const Times& end, const Doubles& value, const Times& span_begin,
                const Times& span_end, const Classes& cls, const Doubles& edge_std,
                const Doubles& value_std, int contiguous,
                std::optional<std::int64_t> complete_until_ns) {
        AttributeInput in;
        in.begin_ns = view(begin);
        in.end_ns = view(end);
        in.value = view(value);
        in.spans = {view(span_begin), view(span_end), view(cls)};
        in.n_classes = kMost;
        in.edge_std_ns = view(edge_std);
        in.value_std = view(value_std);
        const py::gil_scoped_release nogil;
        const std::lock_guard lock(mutex_);
        const std::vector<std::int32_t> series(in.value.size(), 0);
        const std::vector<std::uint8_t> shifted(in.value.size(), 0);
        in.shifted = shifted;
        check_windows(in, series);
        check_spans(in);
        const auto shared = shared_edges(in, contiguous, series);
        std::vector<std::uint8_t> joined(shared.size(), 0);
        for (std::size_t k = 1; k < joined.size(); ++k) joined[k] = shared[k - 1];
        if (!joined.empty()) joined[0] = joins_last(in.begin_ns[0], contiguous) ? 1 : 0;
        for (std::size_t i = 0; i < in.spans.cls.size(); ++i) {
            if (in.spans.begin_ns[i] >= solver_.folded_until_ns() ||
                in.spans.end_ns[i] == in.spans.begin_ns[i]) {
                continue;
            }
            bad(at("span_begin_ns", i) + " is " + std::to_string(in.spans.begin_ns[i]) +
                ", but readings up to " + std::to_string(solver_.folded_until_ns()) +
                " are folded already: tell each span before complete_until_ns passes its begin");
        }
        LiveBatch batch;
        batch.begin_ns = in.begin_ns;
        batch.end_ns = in.end_ns;
        batch.value = in.value;
        batch.edge_std_ns = in.edge_std_ns;
        batch.value_std = in.value_std;
        batch.joined = joined;
        batch.spans = in.spans;
        batch.complete_until_ns = complete_until_ns.value_or(
            in.end_ns.empty() ? solver_.last_end_ns() : in.end_ns.back());
        solver_.update(batch);
    }

    py::dict rates() {
        std::vector<double> x, time_s;
        double idle_s = 0.0, total = 0.0;
        std::size_t readings = 0, waiting = 0, spans = 0;
        {
            const py::gil_scoped_release nogil;
            const std::lock_guard lock(mutex_);
            x = solver_.rates();
            time_s = solver_.time_s();
            idle_s = solver_.idle_s();
            total = solver_.total();
            readings = solver_.folded();
            waiting = solver_.waiting();
            spans = solver_.spans_kept();
        }
        const double idle_rate = baseline_ ? x[0] : std::numeric_limits<double>::quiet_NaN();
        x.erase(x.begin());
        return py::dict("rate"_a = array_of(x), "baseline_rate"_a = idle_rate,
                        "time_s"_a = array_of(time_s), "idle_s"_a = idle_s, "total"_a = total,
                        "readings"_a = readings, "waiting"_a = waiting, "spans_kept"_a = spans);
    }

    py::dict result_of(std::optional<double> total) {
        Attributed out;
        {
            const py::gil_scoped_release nogil;
            const std::lock_guard lock(mutex_);
            if (solver_.folded() == 0) bad("no reading is folded yet");
            if (total && !std::isfinite(*total)) bad("total is not a finite number");
            out = solver_.result(total);
        }
        return result(out);
    }

    std::optional<std::int64_t> last_end_ns() {
        const py::gil_scoped_release nogil;
        const std::lock_guard lock(mutex_);
        if (solver_.folded() + solver_.waiting() == 0) return std::nullopt;
        return solver_.last_end_ns();
    }

    py::array_t<double> information() {
        const std::lock_guard lock(mutex_);
        const Matrix a = solver_.information();
        const auto p = static_cast<py::ssize_t>(solver_.n_classes() + 1);
        py::array_t<double> out({p, p});
        const auto have = static_cast<py::ssize_t>(a.rows());
        for (py::ssize_t i = 0; i < p; ++i) {
            for (py::ssize_t j = 0; j <= i; ++j) {
                const double v =
                    i < have ? a(static_cast<std::size_t>(i), static_cast<std::size_t>(j)) : 0.0;
                out.mutable_at(i, j) = out.mutable_at(j, i) = v;
            }
        }
        return out;
    }

  private:
    LiveSettings settings(std::size_t n_classes, const Doubles& prior_rate, const Doubles& prior_cv,
                          double gain_std, bool baseline) {
        if (n_classes > kMost) bad("n_classes is more than " + std::to_string(kMost));
        AttributeInput in;
        in.n_classes = n_classes;
        in.prior_rate = view(prior_rate);
        in.prior_cv = view(prior_cv);
        check_priors(in);
        baseline_ = baseline;
        return {n_classes,
                {in.prior_rate.begin(), in.prior_rate.end()},
                {in.prior_cv.begin(), in.prior_cv.end()},
                gain_std,
                baseline};
    }
    bool joins_last(std::int64_t begin_ns, int contiguous) const {
        const std::size_t before = solver_.folded() + solver_.waiting();
        if (before == 0) return false;
        if (begin_ns < solver_.last_begin_ns()) {
            bad("windows must be in order of their begin: begin_ns[0] is before that of the last "
                "window told, " +
                std::to_string(solver_.last_begin_ns()));
        }
        const bool same = begin_ns == solver_.last_end_ns();
        if (contiguous == 1 && !same) {
            bad("contiguous=True, but begin_ns[0] is not the end of the last window told, " +
                std::to_string(solver_.last_end_ns()));
        }
        return contiguous != 0 && same;
    }

    bool baseline_{};
    std::mutex mutex_;
    LiveAttribution solver_;
};

}  // namespace

void bind_attribute(py::module_& m) {
    m.def("attribute", &attribute_py, "begin_ns"_a, "end_ns"_a, "value"_a, "span_begin_ns"_a,
          "span_end_ns"_a, "span_class"_a, "n_classes"_a, "edge_std_ns"_a, "value_std"_a, "lag_s"_a,
          "contiguous"_a, "prior_rate"_a, "prior_cv"_a, "total"_a, "gain_std"_a, "baseline"_a,
          "shifted"_a, "series"_a, "drift"_a, "threads"_a);
    py::class_<Live>(m, "LiveAttribution")
        .def(py::init<std::size_t, const Doubles&, const Doubles&, double, bool>(), "n_classes"_a,
             "prior_rate"_a, "prior_cv"_a, "gain_std"_a, "baseline"_a)
        .def("update", &Live::update, "begin_ns"_a, "end_ns"_a, "value"_a, "span_begin_ns"_a,
             "span_end_ns"_a, "span_class"_a, "edge_std_ns"_a, "value_std"_a, "contiguous"_a,
             "complete_until_ns"_a)
        .def("last_end_ns", &Live::last_end_ns)
        .def("rates", &Live::rates)
        .def("result", &Live::result_of, "total"_a)
        .def("information", &Live::information);
}

}  // namespace picojoule
