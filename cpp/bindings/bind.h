// One function a topic; module.cpp calls them.
#pragma once

#include <pybind11/pybind11.h>

namespace picojoule {

void bind_trace(pybind11::module_& m);
void bind_engine(pybind11::module_& m);
void bind_counters(pybind11::module_& m);

}  // namespace picojoule
