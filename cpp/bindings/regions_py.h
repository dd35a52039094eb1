// The region type, in the plain C API: pybind11's dispatch would cost more than the work itself.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include "recorder/paths.h"

namespace picojoule {

// The region that work launched now by the calling thread belongs to: its innermost open one. A
// thread that never was in a region works for another (autograd's do): see
// RegionStore::present_path. Any thread, with or without the GIL; no lock, no allocation.
PathId path_of_launch() noexcept;

// Adds `region` and `Wrapped` to the module. 0, or -1 with an exception set.
int add_region_types(PyObject* module);

}  // namespace picojoule
