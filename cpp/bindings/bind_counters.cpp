#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <stdexcept>
#include <utility>

#include "bindings/bind.h"
#include "counters/kernel_counter.h"
#include "counters/metric_sets.h"
#include "counters/pm_sampler.h"
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

py::list metrics_list(const PmSet& set) {
    py::list metrics;
    for (const PmMetric& metric : set.metrics) {
        metrics.append(py::dict("name"_a = metric.name, "quantity"_a = metric.quantity,
                                "additive"_a = metric.additive));
    }
    return metrics;
}

py::list sets_of(const std::string& chip) {
    py::list all;
    for (const PmSet& set : pm_sets(chip)) {
        all.append(py::dict("name"_a = set.name, "metrics"_a = metrics_list(set),
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

Library library_in(std::vector<std::string> folders) {
    return open_counters(cupti::Places::from_process(std::move(folders)));
}

// libcupti's host half, as Python holds it: for questions that need no device.
class Offline {
  public:
    explicit Offline(std::vector<std::string> folders) : library_(library_in(std::move(folders))) {}

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

// Python makes of it an error with both sentences.
[[noreturn]] void refuse(const Refusal& refusal) {
    PyErr_SetObject(PyExc_RuntimeError, py::make_tuple(refusal.words, refusal.remedy).ptr());
    throw py::error_already_set();
}

// ---- counting kernels

py::dict amounts_dict(const std::vector<Amount>& amounts) {
    py::dict all;
    for (const Amount& a : amounts) {
        all[py::str(a.type)] = py::make_tuple(a.value, a.low, a.high);
    }
    return all;
}

py::dict kernel_dict(const CountedKernel& kernel) {
    const Counts& c = kernel.counts;
    return py::dict("name"_a = kernel.name, "grid"_a = kernel.grid, "block"_a = kernel.block,
                    "dynamic_shared"_a = kernel.dynamic_shared, "launches"_a = kernel.launches,
                    "measured"_a = kernel.measured, "flops"_a = amounts_dict(c.flops),
                    "integer_ops"_a = amounts_dict(c.integer_ops), "flops_total"_a = c.flops_total,
                    "uncounted"_a = c.uncounted, "read_bytes"_a = c.read_bytes,
                    "write_bytes"_a = c.write_bytes, "cycles"_a = c.cycles, "time_ns"_a = c.time_ns,
                    "varies"_a = kernel.varies, "why_not"_a = kernel.why_not);
}

class Counting {
  public:
    Counting(std::vector<std::string> folders, const std::string& plan, unsigned times) {
        const CountOptions options{kind_of(plan), times};
        Refusal refusal;
        {
            const py::gil_scoped_release release;
            const Library library = library_in(std::move(folders));
            version_ = cupti::version_words(library.cupti.version);
            counter_ = KernelCounter::start(library, options, std::nullopt, refusal);
        }
        if (counter_ == nullptr) refuse(refusal);
    }
    py::dict stop() {
        CountReport report;
        {
            const py::gil_scoped_release release;  // whoever counts in a callback ends first
            report = counter_->stop();
        }
        py::list kernels;
        for (const CountedKernel& kernel : report.kernels) kernels.append(kernel_dict(kernel));
        return py::dict("chip"_a = report.chip, "device"_a = report.device,
                        "cuda_version"_a = report.cuda_version, "cupti"_a = version_,
                        "passes"_a = report.passes, "kernels"_a = kernels,
                        "captured"_a = report.captured, "graphs"_a = report.graphs,
                        "lost"_a = report.lost,
                        "refusal"_a = py::make_tuple(report.refusal.words, report.refusal.remedy));
    }

  private:
    KernelCounter* counter_{};
    std::string version_;
};

// ---- PM sampling

class Sampling {
  public:
    Sampling(std::vector<std::string> folders, unsigned device, std::int64_t interval_ns,
             std::string set) {
        PmOptions options;
        options.device = device;
        options.interval_ns = interval_ns;
        options.set = std::move(set);
        Refusal refusal;
        {
            const py::gil_scoped_release release;
            sampler_ = PmSampler::start(
                library_in(std::move(folders)), options,
                [this](std::span<const PmSample> samples, std::span<const double> values) {
                    const std::lock_guard lock(mutex_);
                    samples_.insert(samples_.end(), samples.begin(), samples.end());
                    values_.insert(values_.end(), values.begin(), values.end());
                },
                refusal);
        }
        if (!sampler_) refuse(refusal);
    }
    Sampling(const Sampling&) = delete;
    Sampling& operator=(const Sampling&) = delete;

    void stop() { sampler_->stop(); }

    // (begin_ns, end_ns, values) of what came since the last call.
    py::tuple take() {
        std::vector<PmSample> samples;
        std::vector<double> values;
        {
            const py::gil_scoped_release release;
            const std::lock_guard lock(mutex_);
            samples.swap(samples_);
            values.swap(values_);
        }
        const auto n = static_cast<py::ssize_t>(samples.size());
        const auto width = static_cast<py::ssize_t>(sampler_->set().metrics.size());
        py::array_t<std::int64_t> begins(n);
        py::array_t<std::int64_t> ends(n);
        py::array_t<double> table({n, width});
        for (py::ssize_t i = 0; i < n; ++i) {
            begins.mutable_at(i) = samples[static_cast<std::size_t>(i)].begin_ns;
            ends.mutable_at(i) = samples[static_cast<std::size_t>(i)].end_ns;
        }
        std::copy(values.begin(), values.end(), table.mutable_data());
        return py::make_tuple(begins, ends, table);
    }

    [[nodiscard]] py::dict status() const {
        const PmStatus s = sampler_->status();
        return py::dict("chip"_a = s.chip, "set"_a = s.set, "missing"_a = s.missing,
                        "metrics"_a = metrics_list(sampler_->set()), "by_sysclk"_a = s.by_sysclk,
                        "ring"_a = s.ring, "samples"_a = s.samples, "discarded"_a = s.discarded,
                        "overflows"_a = s.overflows, "gaps"_a = s.gaps,
                        "clock_doubt_ns"_a = s.clock_doubt_ns,
                        "refusal"_a = py::make_tuple(s.refusal.words, s.refusal.remedy));
    }

  private:
    std::mutex mutex_;
    std::vector<PmSample> samples_;
    std::vector<double> values_;
    // The last, so that it ends first; its thread never wants the GIL.
    std::unique_ptr<PmSampler> sampler_;
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
    py::class_<Counting>(m, "KernelCounting", "Every kernel of this process, counted once each.")
        .def(py::init<std::vector<std::string>, std::string, unsigned>(), "folders"_a, "plan"_a,
             "times"_a, "RuntimeError(words, remedy): it cannot be done here.")
        .def("stop", &Counting::stop, "End it; what was counted.");
    py::class_<Sampling>(m, "PmSampling", "Counters of a device, every so many nanoseconds.")
        .def(py::init<std::vector<std::string>, unsigned, std::int64_t, std::string>(), "folders"_a,
             "device"_a, "interval_ns"_a, "set"_a,
             "RuntimeError(words, remedy): it cannot be done here.")
        .def("stop", &Sampling::stop, py::call_guard<py::gil_scoped_release>(),
             "Take what there is, and end.")
        .def("take", &Sampling::take, "(begin_ns, end_ns, values) since the last call.")
        .def("status", &Sampling::status);
}

}  // namespace picojoule
