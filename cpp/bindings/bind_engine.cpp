#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <stdexcept>
#include <utility>

#include "bindings/bind.h"
#include "bindings/nvtx.h"
#include "bindings/regions_py.h"
#include "recorder/engine.h"
#include "recorder/regions.h"

namespace py = pybind11;
using namespace py::literals;

namespace picojoule {
namespace {

// A session as Python holds it. A forked child inherits a copy that belongs to the parent: there it
// does nothing, so that nothing is counted or written twice.
class Handle {
  public:
    Handle(Engine& engine, std::shared_ptr<Session> session)
        : engine_(&engine), session_(std::move(session)) {}

    [[nodiscard]] bool mine() const noexcept { return Engine::existing() == engine_; }
    void end() {
        if (mine()) engine_->end(*session_);
    }
    bool wait(double seconds) {
        return mine() && engine_->wait(*session_, static_cast<std::int64_t>(seconds * 1e9));
    }
    [[nodiscard]] Trace trace() {
        if (session_->trace && session_->complete) return *session_->trace;
        if (!mine()) throw std::runtime_error("this profile belongs to the parent process");
        return engine_->trace(*session_);
    }
    std::string flush(double seconds) {
        return mine() ? engine_->flush_journal(*session_, static_cast<std::int64_t>(seconds * 1e9))
                      : std::string();
    }
    [[nodiscard]] std::int64_t begin_ns() const { return session_->begin_ns; }
    [[nodiscard]] std::int64_t end_ns() const { return session_->end_ns; }

  private:
    Engine* engine_;
    std::shared_ptr<Session> session_;
};

KernelWish wish_of(const std::string& word) {
    if (word == "off") return KernelWish::off;
    if (word == "sums") return KernelWish::sums;
    if (word == "all") return KernelWish::all;
    if (word == "overlay") return KernelWish::overlay;
    throw std::invalid_argument("kernels must be all, sums, overlay or off, not '" + word + "'");
}

Handle begin(std::string name, std::optional<std::vector<std::string>> sources, double rate_hz,
             std::string journal, std::vector<std::string> meta, const std::string& kernels) {
    SessionOptions options;
    options.kernels = wish_of(kernels);
    options.name = std::move(name);
    options.all_sources = !sources.has_value();
    if (sources) options.sources = std::move(*sources);
    options.rate_hz = rate_hz;
    options.journal = std::move(journal);
    options.meta = std::move(meta);
    Engine& engine = Engine::instance();
    return {engine, engine.begin(std::move(options))};
}

py::dict finding_dict(const MeterFinding& m) {
    return py::dict("meter"_a = m.meter, "state"_a = to_string(m.finding.state),
                    "subject"_a = m.finding.subject, "why"_a = m.finding.why,
                    "remedy"_a = m.finding.remedy);
}

py::list discover() {
    std::vector<MeterFinding> findings;
    std::vector<std::pair<std::string, Channel>> channels;
    {
        const py::gil_scoped_release release;
        findings = Engine::instance().findings();
        channels = Engine::instance().channels();
    }
    py::list out;
    for (const SourceFactory& f : source_registry()) {
        constexpr const char* kDefaults[] = {"yes", "fallback", "on_request"};
        py::list said;
        for (const MeterFinding& m : findings) {
            if (m.meter != f.name) continue;
            said.append(py::dict("state"_a = to_string(m.finding.state),
                                 "subject"_a = m.finding.subject, "why"_a = m.finding.why,
                                 "remedy"_a = m.finding.remedy));
        }
        py::list offers;
        for (const auto& [meter, c] : channels) {
            if (meter != f.name) continue;
            offers.append(py::dict("domain"_a = c.domain, "field"_a = c.field,
                                   "device"_a = c.device, "quantity"_a = to_string(c.quantity),
                                   "provenance"_a = to_string(c.provenance),
                                   "update_period_ns"_a = c.update_period_ns,
                                   "in_total"_a = c.in_total, "note"_a = c.note));
        }
        out.append(py::dict("meter"_a = std::string(f.name), "summary"_a = std::string(f.summary),
                            "default"_a = kDefaults[static_cast<int>(f.by_default)],
                            "findings"_a = said, "channels"_a = offers));
    }
    return out;
}

py::dict status_dict(const TracerStatus& s) {
    return py::dict("mode"_a = to_string(s.mode), "words"_a = s.words, "remedy"_a = s.remedy,
                    "holder"_a = s.holder, "library"_a = s.library, "caution"_a = s.caution,
                    "version"_a = s.version);
}

}  // namespace

void bind_engine(py::module_& m) {
    KernelRecorder::set_current_path(&path_of_launch);
    using without_gil = py::call_guard<py::gil_scoped_release>;
    py::class_<Handle>(m, "Session", "One profile being recorded.")
        .def("end", &Handle::end, without_gil(), "End it now; waits for nothing.")
        .def("wait", &Handle::wait, "timeout_s"_a, without_gil(),
             "Wait for the closing ticks; False on timeout or in a forked child.")
        .def("trace", &Handle::trace, without_gil(), "What was recorded (so far, while open).")
        .def("flush", &Handle::flush, "timeout_s"_a, without_gil(),
             "Wait until the journal is on disk; returns what went wrong, or ''.")
        .def_property_readonly("mine", &Handle::mine, "Whether this process began it.")
        .def_property_readonly("begin_ns", &Handle::begin_ns)
        .def_property_readonly("end_ns", &Handle::end_ns, "0 while open.");
    m.def("begin", &begin, "name"_a, "sources"_a, "rate_hz"_a, "journal"_a, "meta"_a,
          "kernels"_a = "off", without_gil(),
          "Begin a session. ValueError: unknown meter; RuntimeError: it does not work here.");
    m.def(
        "current_path",
        [] {
            const auto names = RegionStore::instance().paths().names(path_of_launch());
            py::tuple out(names.size());
            for (std::size_t i = 0; i < names.size(); ++i) out[i] = text_of(names[i]);
            return out;
        },
        "Names of the regions that work done now by this thread belongs to, outermost first.");
    m.def(
        "findings",
        [] {
            py::list out;
            if (Engine* engine = Engine::existing()) {
                for (const MeterFinding& f : engine->known_findings()) out.append(finding_dict(f));
            }
            return out;
        },
        "What the meters said that were opened so far; opens none.");
    m.def("look_for_libraries_in", &KernelRecorder::set_folders, "folders"_a,
          "Where vendors' libraries may lie, as in sys.path; before the first session.");
    m.def(
        "tracer_outlook", [] { return status_dict(KernelRecorder::outlook()); },
        "How kernels would be traced here, or why not. Opens the vendor's library.");
    m.def(
        "tracer_status",
        [] {
            const Engine* engine = Engine::existing();
            return status_dict(engine == nullptr ? TracerStatus{} : engine->tracer_status());
        },
        "How kernels are traced by the sessions now open, or why not.");
    m.def("want_annotations", &want_annotations, "on"_a,
          "Counts those who want other libraries' ranges as regions: one more, or one less.");
    m.def("nvtx_clients", &nvtx_clients,
          "How many libraries' NVTX have found picojoule since the process began.");
    m.def("discover", &discover, "Every meter: what it found here and what it offers.");
    m.def(
        "shutdown",
        [] {
            if (Engine* engine = Engine::existing()) engine->shutdown();
        },
        without_gil(), "End what is open and stop the threads. A later begin() starts afresh.");
    m.def("offer_replay", &offer_replay, "trace"_a,
          "Make a trace available as replay:KEY; returns KEY.");
}

}  // namespace picojoule
