// One function a topic; module.cpp calls them.
#pragma once

#include <pybind11/pybind11.h>

#include <string>

namespace picojoule {

// Names come from libraries and files of any kind: what is not UTF-8 is shown as such, no error.
inline pybind11::str text_of(const std::string& name) {
    PyObject* text =
        PyUnicode_DecodeUTF8(name.data(), static_cast<Py_ssize_t>(name.size()), "replace");
    if (text == nullptr) throw pybind11::error_already_set();
    return pybind11::reinterpret_steal<pybind11::str>(text);
}

void bind_trace(pybind11::module_& m);
void bind_engine(pybind11::module_& m);
void bind_counters(pybind11::module_& m);
void bind_attribute(pybind11::module_& m);
void bind_sensor(pybind11::module_& m);

}  // namespace picojoule
