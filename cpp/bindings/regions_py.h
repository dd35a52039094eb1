// The region type, in the plain C API: pybind11's dispatch would cost more than the work itself.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

namespace picojoule {

// Adds `region` and `Wrapped` to the module. 0, or -1 with an exception set.
int add_region_types(PyObject* module);

}  // namespace picojoule
