#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <utility>

#include "analysis/energy.h"
#include "bindings/bind.h"
#include "model/journal.h"
#include "model/trace.h"

namespace py = pybind11;
using namespace py::literals;

namespace picojoule {
namespace {

// Rows of the trace as a read-only structured array that keeps the trace alive: no copy.
py::dtype record_dtype() {
    // Leaked: a static destructor would run after the interpreter has ended.
    static const auto* dtype = new py::object(py::module_::import("numpy").attr("dtype")(py::dict(
        "names"_a = py::make_tuple("a", "b", "c", "d", "kind", "flags", "id"),
        "formats"_a = py::make_tuple("<i8", "<i8", "<u8", "<u4", "u1", "u1", "<u2"),
        "offsets"_a = py::make_tuple(0, 8, 16, 24, 28, 29, 30), "itemsize"_a = sizeof(Record))));
    return py::reinterpret_borrow<py::dtype>(*dtype);
}

py::array view(const std::vector<Record>& rows, py::handle owner) {
    py::array out(record_dtype(), {static_cast<py::ssize_t>(rows.size())},
                  {static_cast<py::ssize_t>(sizeof(Record))}, rows.data(), owner);
    out.attr("setflags")("write"_a = false);
    return out;
}

std::vector<Record> rows_from(const py::array& array) {
    if (!array.dtype().is(record_dtype()) && array.itemsize() != sizeof(Record)) {
        throw std::invalid_argument("rows must be records of 32 bytes");
    }
    const auto contiguous = py::array::ensure(array, py::array::c_style);
    std::vector<Record> rows(static_cast<std::size_t>(contiguous.size()));
    if (!rows.empty()) std::memcpy(rows.data(), contiguous.data(), rows.size() * sizeof(Record));
    return rows;
}

template <class T>
py::array_t<T> array_of(const std::vector<T>& values) {
    return py::array_t<T>(static_cast<py::ssize_t>(values.size()), values.data());
}

struct ChannelAnalysis {
    EnergyOf total;
    Timeline line;
    std::vector<double> joules, std_j;  // by path
    std::vector<std::uint8_t> resolved;
};

struct Analysis {
    std::vector<PathUse> use;
    std::vector<ChannelAnalysis> channels;
};

Analysis analyse(const Trace& trace) {
    Analysis out;
    out.use = path_use(trace);
    const double span = static_cast<double>(trace.end_ns - trace.begin_ns);
    for (std::size_t c = 0; c < trace.channels.size(); ++c) {
        const EnergyCurve curve(build_timeline(trace, c));
        ChannelAnalysis a;
        a.line = curve.timeline();
        a.total = curve.between(0.0, span);
        for (const PathUse& use : out.use) {
            const EnergyOf e = energy_of(curve, use);
            a.joules.push_back(e.joules);
            a.std_j.push_back(e.std_j);
            a.resolved.push_back(e.resolved ? 1 : 0);
        }
        out.channels.push_back(std::move(a));
    }
    return out;
}

py::dict to_python(const Analysis& analysis) {
    std::vector<std::int64_t> time_ns;
    std::vector<std::uint64_t> enters, exits;
    std::vector<std::int32_t> open;
    std::vector<std::uint8_t> concurrent;
    for (const PathUse& u : analysis.use) {
        time_ns.push_back(u.time_ns);
        enters.push_back(u.enters);
        exits.push_back(u.exits);
        open.push_back(u.open_at_begin);
        concurrent.push_back(u.concurrent ? 1 : 0);
    }
    py::list channels;
    for (const ChannelAnalysis& c : analysis.channels) {
        channels.append(py::dict(
            "joules"_a = c.total.joules, "std_j"_a = c.total.std_j, "resolved"_a = c.total.resolved,
            "uncovered_s"_a = c.total.uncovered_s, "origin_ns"_a = c.line.origin_ns,
            "period_ns"_a = c.line.period_ns, "time_ns"_a = array_of(c.line.time_ns),
            "time_std_ns"_a = array_of(c.line.time_std_ns),
            "cumulative_j"_a = array_of(c.line.joules), "flags"_a = array_of(c.line.flags),
            "broken"_a =
                array_of(std::vector<std::uint8_t>(c.line.broken.begin(), c.line.broken.end())),
            "region_joules"_a = array_of(c.joules), "region_std_j"_a = array_of(c.std_j),
            "region_resolved"_a = array_of(c.resolved)));
    }
    return py::dict("channels"_a = channels, "time_ns"_a = array_of(time_ns),
                    "enters"_a = array_of(enters), "exits"_a = array_of(exits),
                    "open_at_begin"_a = array_of(open), "concurrent"_a = array_of(concurrent));
}

py::dict channel_dict(const Channel& c) {
    return py::dict("meter"_a = c.meter, "domain"_a = c.domain, "field"_a = c.field,
                    "device"_a = c.device, "note"_a = c.note, "quantity"_a = to_string(c.quantity),
                    "provenance"_a = to_string(c.provenance), "in_total"_a = c.in_total,
                    "latched"_a = c.latched, "update_period_ns"_a = c.update_period_ns,
                    "window_ns"_a = c.window_ns, "unit"_a = c.unit, "wrap_at"_a = c.wrap_at,
                    "gain_std"_a = c.gain_std);
}

Channel channel_from(const py::dict& d) {
    Channel c;
    c.meter = py::cast<std::string>(d["meter"]);
    c.domain = py::cast<std::string>(d["domain"]);
    c.field = py::cast<std::string>(d["field"]);
    c.device = py::cast<std::string>(d["device"]);
    c.note = py::cast<std::string>(d["note"]);
    c.quantity =
        py::cast<std::string>(d["quantity"]) == "energy" ? Quantity::energy : Quantity::power;
    const auto provenance = py::cast<std::string>(d["provenance"]);
    c.provenance = Provenance::estimated;
    for (const auto p : {Provenance::measured, Provenance::counted, Provenance::modelled}) {
        if (provenance == to_string(p)) c.provenance = p;
    }
    c.in_total = py::cast<bool>(d["in_total"]);
    c.latched = py::cast<bool>(d["latched"]);
    c.update_period_ns = py::cast<std::int64_t>(d["update_period_ns"]);
    c.window_ns = py::cast<std::int64_t>(d["window_ns"]);
    c.unit = py::cast<double>(d["unit"]);
    c.wrap_at = py::cast<std::uint64_t>(d["wrap_at"]);
    c.gain_std = py::cast<double>(d["gain_std"]);
    return c;
}

Trace make_trace(
    std::string name, std::int64_t begin_ns, std::int64_t end_ns, std::int64_t begin_wall_ns,
    const py::list& channels, const std::vector<std::pair<std::uint32_t, std::string>>& paths,
    const py::array& ticks, const py::array& cells, const py::array& spans,
    const std::vector<std::tuple<std::uint16_t, std::int64_t, std::int64_t, std::string>>& gaps,
    std::map<std::string, double> overhead, std::vector<std::string> warnings) {
    if (end_ns < begin_ns) throw std::invalid_argument("end_ns lies before begin_ns");
    Trace t;
    t.name = std::move(name);
    t.begin_ns = begin_ns;
    t.end_ns = end_ns;
    t.begin_wall_ns = begin_wall_ns;
    for (const auto& c : channels) t.channels.push_back(channel_from(py::cast<py::dict>(c)));
    for (const auto& [parent, text] : paths) t.paths.push_back({parent, text});
    if (t.paths.empty()) t.paths.emplace_back();
    for (std::size_t i = 1; i < t.paths.size(); ++i) {
        if (t.paths[i].parent >= i) throw std::invalid_argument("a path comes before its parent");
    }
    t.ticks = rows_from(ticks);
    t.cells = rows_from(cells);
    t.spans = rows_from(spans);
    for (const Record& r : t.ticks) {
        if (r.id >= t.channels.size())
            throw std::invalid_argument("a tick of a channel that is not there");
    }
    for (const auto& [channel, from, to, reason] : gaps)
        t.gaps.push_back({channel, from, to, reason});
    t.overhead = std::move(overhead);
    t.warnings = std::move(warnings);
    return t;
}

}  // namespace

void bind_trace(py::module_& m) {
    py::class_<Trace>(m, "Trace", py::dynamic_attr(), "Everything one profile recorded.")
        .def(py::init(&make_trace), "name"_a, "begin_ns"_a, "end_ns"_a, "begin_wall_ns"_a,
             "channels"_a, "paths"_a, "ticks"_a, "cells"_a, "spans"_a, "gaps"_a, "overhead"_a,
             "warnings"_a)
        .def_readonly("name", &Trace::name)
        .def_readonly("begin_ns", &Trace::begin_ns)
        .def_readonly("end_ns", &Trace::end_ns)
        .def_readonly("begin_wall_ns", &Trace::begin_wall_ns)
        .def_readonly("overhead", &Trace::overhead)
        .def_readonly("warnings", &Trace::warnings)
        .def_readonly("meta", &Trace::meta)
        .def_readonly("complete", &Trace::complete)
        .def_property_readonly("channels",
                               [](const Trace& t) {
                                   py::list out;
                                   for (const Channel& c : t.channels) out.append(channel_dict(c));
                                   return out;
                               })
        .def_property_readonly(
            "paths",
            [](const Trace& t) {
                py::list out;
                for (const PathNode& p : t.paths) {
                    out.append(py::make_tuple(p.parent, p.name));
                }
                return out;
            },
            "(parent id, name) by path id; id 0 is the root.")
        .def_property_readonly(
            "ticks",
            [](const py::object& self) { return view(py::cast<const Trace&>(self).ticks, self); })
        .def_property_readonly(
            "cells",
            [](const py::object& self) { return view(py::cast<const Trace&>(self).cells, self); })
        .def_property_readonly(
            "spans",
            [](const py::object& self) { return view(py::cast<const Trace&>(self).spans, self); })
        .def_property_readonly(
            "gaps",
            [](const Trace& t) {
                py::list out;
                for (const GapNote& g : t.gaps) {
                    out.append(py::make_tuple(g.channel, g.begin_ns, g.end_ns, g.reason));
                }
                return out;
            })
        .def(
            "analyse",
            [](const Trace& t) {
                Analysis analysis;
                {
                    const py::gil_scoped_release release;
                    analysis = analyse(t);
                }
                return to_python(analysis);
            },
            "Energies of the whole and of every path, by channel.");
    m.def(
        "read_journal",
        [](const std::string& path) {
            JournalReading reading;
            {
                const py::gil_scoped_release release;
                reading = read_journal(path);
            }
            constexpr const char* kProblems[] = {"", "absent", "foreign", "newer", "empty"};
            return py::make_tuple(std::move(reading.trace),
                                  kProblems[static_cast<int>(reading.problem)], reading.message,
                                  reading.bytes_ignored);
        },
        "path"_a, "(trace, problem, message, bytes ignored); problem is '' if it could be read.");
    m.def("record_dtype", &record_dtype, "NumPy dtype of the rows of a trace.");
    m.attr("JOURNAL_FILE") = std::string(kJournalFile);
}

}  // namespace picojoule
