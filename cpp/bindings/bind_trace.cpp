#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <utility>

#include "analysis/energy.h"
#include "analysis/kernels.h"
#include "analysis/region_energy.h"
#include "bindings/bind.h"
#include "model/journal.h"
#include "model/kernel_sample.h"
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

py::dtype kernel_cell_dtype() {
    static const auto* dtype = new py::object(py::module_::import("numpy").attr("dtype")(py::dict(
        "names"_a = py::make_tuple("path", "kernel_class", "track", "flags", "count", "time_ns",
                                   "least_ns", "most_ns", "time2_ns2"),
        "formats"_a = py::make_tuple("<u4", "<u4", "<u4", "<u4", "<u8", "<i8", "<i8", "<i8", "<f8"),
        "offsets"_a = py::make_tuple(0, 4, 8, 12, 16, 24, 32, 40, 48),
        "itemsize"_a = sizeof(KernelCell))));
    return py::reinterpret_borrow<py::dtype>(*dtype);
}

py::array cell_view(const std::vector<KernelCell>& rows, py::handle owner) {
    py::array out(kernel_cell_dtype(), {static_cast<py::ssize_t>(rows.size())},
                  {static_cast<py::ssize_t>(sizeof(KernelCell))}, rows.data(), owner);
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
    std::vector<double> joules, std_j, cpu_unknown;  // by path
    std::vector<std::uint8_t> resolved, solved, identified;
};

struct Analysis {
    std::vector<PathUse> use;
    std::vector<ChannelAnalysis> channels;
    std::vector<DeviceUse> devices;
};

Analysis analyse(const Trace& trace, const KernelPriors& priors) {
    Analysis out;
    out.use = path_use(trace);
    const double span = static_cast<double>(trace.end_ns - trace.begin_ns);
    for (std::size_t c = 0; c < trace.channels.size(); ++c) {
        // One that tells no energy has a line without points: all below is then nan.
        const EnergyCurve curve(build_timeline(trace, c));
        ChannelAnalysis a;
        a.line = curve.timeline();
        a.total = curve.between(0.0, span, true);
        const bool by_kernels = runs_kernels(trace, c);
        if (by_kernels) {
            out.devices.push_back(device_use(trace, c, curve, a.total, out.use, priors));
        }
        EnergyOf whole = a.total;
        for (const RegionEnergy& r : region_energies(trace, c, curve, whole, out.use)) {
            a.joules.push_back(r.energy.joules);
            a.std_j.push_back(r.energy.std_j);
            a.resolved.push_back(r.energy.resolved ? 1 : 0);
            a.solved.push_back(r.solved ? 1 : 0);
            a.identified.push_back(r.identified ? 1 : 0);
            a.cpu_unknown.push_back(r.cpu_unknown);
        }
        // Where kernels ran they say best what the whole had, and their parts add up to that.
        if (!by_kernels) a.total = whole;
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
            "region_resolved"_a = array_of(c.resolved), "region_solved"_a = array_of(c.solved),
            "region_identified"_a = array_of(c.identified),
            "region_cpu_unknown"_a = array_of(c.cpu_unknown)));
    }
    py::list devices;
    for (const DeviceUse& d : analysis.devices) {
        const Hyper& h = d.hyper;
        devices.append(py::dict(
            "channel"_a = d.channel, "cell"_a = array_of(d.cells), "joules"_a = array_of(d.joules),
            "std_j"_a = array_of(d.std_j), "group"_a = array_of(d.group),
            "group_j"_a = array_of(d.group_j), "group_std_j"_a = array_of(d.group_std_j),
            "identified"_a = array_of(d.identified), "inside_s"_a = array_of(d.inside_s),
            "busy_s"_a = d.busy_s, "busy_j"_a = d.busy_j, "busy_std_j"_a = d.busy_std_j,
            "idle_s"_a = d.idle_s, "idle_j"_a = d.idle_j, "idle_std_j"_a = d.idle_std_j,
            "idle_path_s"_a = array_of(d.idle_path_s), "unattributed_j"_a = d.unattributed_j,
            "residual_j"_a = d.residual_j, "edge_std_ns"_a = h.edge_std_ns, "drift"_a = h.drift,
            "outliers"_a = h.outliers, "clock_terms"_a = h.clock_terms,
            "clock_offset_ns"_a = h.clock_offset_ns, "clock_rate_ppm"_a = h.clock_rate_ppm,
            "sharing"_a = h.sharing, "context"_a = h.context, "spread"_a = d.spread));
    }
    return py::dict("channels"_a = channels, "devices"_a = devices, "time_ns"_a = array_of(time_ns),
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
    const auto quantity = py::cast<std::string>(d["quantity"]);
    unsigned known = 0;
    while (known < kQuantities && quantity != to_string(static_cast<Quantity>(known))) ++known;
    if (known == kQuantities) throw std::invalid_argument("an unknown quantity: " + quantity);
    c.quantity = static_cast<Quantity>(known);
    const auto provenance = py::cast<std::string>(d["provenance"]);
    c.provenance = Provenance::estimated;
    for (const auto p :
         {Provenance::measured, Provenance::counted, Provenance::modelled, Provenance::simulated}) {
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

py::dict kernel_class_dict(const KernelClass& k) {
    return py::dict("kind"_a = to_string(k.kind), "name"_a = text_of(k.name),
                    "grid"_a = py::make_tuple(k.grid[0], k.grid[1], k.grid[2]),
                    "block"_a = py::make_tuple(k.block[0], k.block[1], k.block[2]),
                    "static_shared"_a = k.static_shared, "dynamic_shared"_a = k.dynamic_shared,
                    "bytes"_a = k.bytes);
}

KernelClass kernel_class_from(const py::dict& d) {
    KernelClass k;
    const auto kind = py::cast<std::string>(d["kind"]);
    k.kind = ActivityKind::other;
    for (const auto one : {ActivityKind::kernel, ActivityKind::memcpy, ActivityKind::memset}) {
        if (kind == to_string(one)) k.kind = one;
    }
    k.name = py::cast<std::string>(d["name"]);
    k.grid = py::cast<std::array<std::uint32_t, 3>>(d["grid"]);
    k.block = py::cast<std::array<std::uint32_t, 3>>(d["block"]);
    k.static_shared = py::cast<std::uint32_t>(d["static_shared"]);
    k.dynamic_shared = py::cast<std::uint32_t>(d["dynamic_shared"]);
    k.bytes = py::cast<std::uint64_t>(d["bytes"]);
    return k;
}

py::dict track_dict(const Track& t) {
    return py::dict("domain"_a = t.domain, "device"_a = t.device, "context"_a = t.context,
                    "stream"_a = t.stream);
}

Track track_from(const py::dict& d) {
    return {py::cast<std::string>(d["domain"]), py::cast<std::string>(d["device"]),
            py::cast<std::uint64_t>(d["context"]), py::cast<std::uint64_t>(d["stream"])};
}

void take_kernels(Trace& t, const py::object& kernels, const py::list& kernel_classes,
                  const py::list& tracks, const py::object& kernel_cells) {
    for (const auto& k : kernel_classes) {
        t.kernel_classes.push_back(kernel_class_from(py::cast<py::dict>(k)));
    }
    for (const auto& track : tracks) t.tracks.push_back(track_from(py::cast<py::dict>(track)));
    const auto check = [&](std::uint64_t path, std::uint64_t what, std::uint64_t where) {
        if (path >= t.paths.size()) throw std::invalid_argument("a kernel of an unknown path");
        if (what >= t.kernel_classes.size()) {
            throw std::invalid_argument("a kernel of an unknown class");
        }
        if (where >= t.tracks.size()) throw std::invalid_argument("a kernel on an unknown track");
    };
    if (!kernels.is_none()) t.kernels = rows_from(py::cast<py::array>(kernels));
    for (const Record& r : t.kernels) {
        check(static_cast<std::uint32_t>(r.c), r.d, r.id);
        if (r.b < r.a) throw std::invalid_argument("a kernel ends before it begins");
    }
    const auto by_begin = [](const Record& x, const Record& y) { return x.a < y.a; };
    if (!std::is_sorted(t.kernels.begin(), t.kernels.end(), by_begin)) {  // takes memory, too
        std::stable_sort(t.kernels.begin(), t.kernels.end(), by_begin);
    }
    if (!kernel_cells.is_none()) {
        const auto array = py::array::ensure(kernel_cells, py::array::c_style);
        if (!array || array.itemsize() != sizeof(KernelCell)) {
            throw std::invalid_argument("kernel_cells must have the dtype of kernel_cell_dtype()");
        }
        t.kernel_cells.resize(static_cast<std::size_t>(array.size()));
        if (array.size() > 0) {
            std::memcpy(t.kernel_cells.data(), array.data(),
                        t.kernel_cells.size() * sizeof(KernelCell));
        }
        for (const KernelCell& c : t.kernel_cells) check(c.path, c.kernel_class, c.track);
    } else {
        t.kernel_cells = sum_kernels(t.kernels);
    }
}

Trace make_trace(
    std::string name, std::int64_t begin_ns, std::int64_t end_ns, std::int64_t begin_wall_ns,
    const py::list& channels, const std::vector<std::pair<std::uint32_t, std::string>>& paths,
    const py::array& ticks, const py::array& cells, const py::array& spans,
    const std::vector<std::tuple<std::uint16_t, std::int64_t, std::int64_t, std::string>>& gaps,
    std::map<std::string, double> overhead, std::vector<std::string> warnings,
    const py::object& kernels, const py::list& kernel_classes, const py::list& tracks,
    const py::object& kernel_cells) {
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
    take_kernels(t, kernels, kernel_classes, tracks, kernel_cells);
    return t;
}

}  // namespace

void bind_trace(py::module_& m) {
    py::class_<Trace>(m, "Trace", py::dynamic_attr(), "Everything one profile recorded.")
        .def(py::init(&make_trace), "name"_a, "begin_ns"_a, "end_ns"_a, "begin_wall_ns"_a,
             "channels"_a, "paths"_a, "ticks"_a, "cells"_a, "spans"_a, "gaps"_a, "overhead"_a,
             "warnings"_a, "kernels"_a = py::none(), "kernel_classes"_a = py::list(),
             "tracks"_a = py::list(), "kernel_cells"_a = py::none())
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
                    out.append(py::make_tuple(p.parent, text_of(p.name)));
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
            "kernels",
            [](const py::object& self) { return view(py::cast<const Trace&>(self).kernels, self); })
        .def_property_readonly("kernel_classes",
                               [](const Trace& t) {
                                   py::list out;
                                   for (const KernelClass& k : t.kernel_classes) {
                                       out.append(kernel_class_dict(k));
                                   }
                                   return out;
                               })
        .def_property_readonly("tracks",
                               [](const Trace& t) {
                                   py::list out;
                                   for (const Track& track : t.tracks)
                                       out.append(track_dict(track));
                                   return out;
                               })
        .def_property_readonly("kernel_cells",
                               [](const py::object& self) {
                                   return cell_view(py::cast<const Trace&>(self).kernel_cells,
                                                    self);
                               })
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
            [](const Trace& t, const std::vector<double>& prior_w,
               const std::vector<double>& prior_cv) {
                if (!prior_w.empty() && (prior_w.size() != t.kernel_classes.size() ||
                                         prior_cv.size() != prior_w.size())) {
                    throw std::invalid_argument("priors must be one for each kernel class");
                }
                Analysis analysis;
                {
                    const py::gil_scoped_release release;
                    analysis = analyse(t, {prior_w, prior_cv});
                }
                return to_python(analysis);
            },
            "prior_w"_a = std::vector<double>{}, "prior_cv"_a = std::vector<double>{},
            "Energies of the whole and of every path, by channel; expected watts of kernel classes "
            "(nan: not known) help where readings say little.");
    m.attr("KERNEL_SAMPLE_KEY") = KernelSample::kKey;
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
    m.def("kernel_cell_dtype", &kernel_cell_dtype, "NumPy dtype of Trace.kernel_cells.");
    m.attr("JOURNAL_FILE") = std::string(kJournalFile);
}

}  // namespace picojoule
