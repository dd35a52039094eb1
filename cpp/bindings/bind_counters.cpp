#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <stdexcept>

#include "bindings/bind.h"
#include "counters/metric_sets.h"
#include "counters/profiler_host.h"

namespace py = pybind11;
using namespace py::literals;

namespace picojoule {
namespace {

using namespace counters;

PlanKind kind_of(const std::string& word) {
    if (word == "quick") return PlanKind::quick;
    if (word == "checked") return PlanKind::checked;
    if (word == "all") return PlanKind::all;
    throw std::invalid_argument("a plan is quick, checked or all, not '" + word + "'");
}

const char* word_of(Role role) {
    constexpr const char* kWords[] = {"flop",       "integer_op",  "tensor_warps", "tensor_moves",
                                      "read_bytes", "write_bytes", "cycles",       "time_ns"};
    return kWords[static_cast<unsigned>(role)];
}

py::list sets_of(const std::string& chip) {
    py::list all;
    for (const PmSet& set : pm_sets(chip)) {
        py::list metrics;
        for (const PmMetric& metric : set.metrics) {
            metrics.append(py::dict("name"_a = metric.name, "quantity"_a = metric.quantity,
                                    "additive"_a = metric.additive));
        }
        all.append(py::dict("name"_a = set.name, "metrics"_a = metrics,
                            "by_sysclk"_a = set.by_sysclk, "may_be_ring"_a = set.may_be_ring,
                            "words"_a = set.words));
    }
    return all;
}

py::dict plan_of(const std::string& chip, const std::string& word) {
    const RangePlan plan = range_plan(chip, kind_of(word));
    py::list metrics;
    for (const RangeMetric& metric : plan.metrics) {
        metrics.append(py::dict("name"_a = metric.name, "role"_a = word_of(metric.role),
                                "type"_a = metric.type, "weight"_a = metric.weight,
                                "weight_low"_a = metric.weight_low,
                                "weight_high"_a = metric.weight_high));
    }
    py::list uncounted;
    for (const char* type : plan.uncounted) uncounted.append(type);
    return py::dict("metrics"_a = metrics, "uncounted"_a = uncounted);
}

// libcupti's host half, as Python holds it: for questions that need no device.
class Offline {
  public:
    explicit Offline(std::vector<std::string> folders)
        : library_(open_counters(cupti::Places::from_process(std::move(folders)))) {}

    [[nodiscard]] py::tuple refusal() const {
        return py::make_tuple(library_.refusal.words, library_.refusal.remedy);
    }
    [[nodiscard]] std::string version() const {
        return cupti::version_words(library_.cupti.version);
    }
    [[nodiscard]] std::string path() const { return library_.cupti.path; }
    [[nodiscard]] std::vector<std::string> chips() const { return ProfilerHost::chips(usable()); }
    [[nodiscard]] std::vector<std::string> base_metrics(const std::string& chip,
                                                        bool sampling) const {
        ProfilerHost host(usable(), sampling ? kPmSampling : kRangeProfiler, chip);
        must(!host.refusal(), host);
        return host.base_metrics();
    }
    [[nodiscard]] py::tuple schedule(const std::string& chip, bool sampling,
                                     const std::vector<std::string>& metrics) const {
        ProfilerHost host(usable(), sampling ? kPmSampling : kRangeProfiler, chip);
        must(!host.refusal(), host);
        std::vector<const char*> names;
        names.reserve(metrics.size());
        for (const std::string& name : metrics) names.push_back(name.c_str());
        must(host.configure(std::move(names)), host);
        return py::make_tuple(host.passes(), host.config_image().size());
    }

  private:
    [[nodiscard]] const Api& usable() const {
        if (library_.refusal) throw std::runtime_error(library_.refusal.words);
        return library_.api;
    }
    static void must(bool fine, const ProfilerHost& host) {
        if (!fine) throw std::runtime_error(host.refusal().words);
    }

    Library library_;
};

}  // namespace

void bind_counters(py::module_& m) {
    m.def("pm_sets", &sets_of, "chip"_a, "Sets of PM sampling of a chip, the default first.");
    m.def("range_plan", &plan_of, "chip"_a, "kind"_a, "What the range profiler counts there.");
    m.def("counter_chips", [] {
        const auto chips = all_known_chips();
        return std::vector<std::string>(chips.begin(), chips.end());
    });
    m.def(
        "known_counter_chip", [](const std::string& chip) { return std::string(known_chip(chip)); },
        "chip"_a);
    m.def(
        "counter_permission",
        [](const std::string& procfs) {
            const Refusal refusal = permission(procfs);
            return py::make_tuple(refusal.words, refusal.remedy);
        },
        "procfs"_a = "/proc", "(words, remedy) against reading counters; both empty: none known.");

    py::class_<Offline>(m, "CounterLibrary", "libcupti, for questions that need no device.")
        .def(py::init<std::vector<std::string>>(), "folders"_a)
        .def_property_readonly("refusal", &Offline::refusal)
        .def_property_readonly("version", &Offline::version)
        .def_property_readonly("path", &Offline::path)
        .def("chips", &Offline::chips)
        .def("base_metrics", &Offline::base_metrics, "chip"_a, "sampling"_a)
        .def("schedule", &Offline::schedule, "chip"_a, "sampling"_a, "metrics"_a,
             "(passes, bytes of the config image) of these metrics.");
}

}  // namespace picojoule
