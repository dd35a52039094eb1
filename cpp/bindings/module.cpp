#include <pybind11/pybind11.h>

#include "bindings/bind.h"
#include "bindings/regions_py.h"
#include "recorder/engine.h"

namespace py = pybind11;

PYBIND11_MODULE(_core, m, py::mod_gil_not_used()) {
    m.doc() = "Native half of picojoule. Import picojoule instead.";
    picojoule::Engine::handle_forks();
    picojoule::bind_trace(m);  // value types first: later signatures name them
    picojoule::bind_engine(m);
    picojoule::bind_counters(m);
    picojoule::bind_attribute(m);
    picojoule::bind_sensor(m);
    if (picojoule::add_region_types(m.ptr()) != 0) throw py::error_already_set();
}
