// The region type, in the plain C API: pybind11's dispatch would cost more than the work itself.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include <cstdint>
#include <string_view>

#include "recorder/paths.h"

namespace picojoule {

// The region that work launched now by the calling thread belongs to: its innermost open one. A
// thread that never was in a region works for another (autograd's do): see
// RegionStore::present_path. Any thread, with or without the GIL; no lock, no allocation.
PathId path_of_launch() noexcept;

// Regions that other libraries open and close in the calling thread (NVTX ranges). They stand in
// the same stack as Python's, so each is the other's parent as they nest; neither closes the other.
// Any thread, with or without the GIL; no Python object is touched. What a thread leaves open ends
// with it.
using NativeFrame = std::uint64_t;  // of the opening thread; 0: nothing was opened
NativeFrame enter_native(std::string_view name) noexcept;
void exit_native(NativeFrame frame) noexcept;

// Where a call begun here and now belongs.
struct NativePlace {
    PathId path{kRootPath};
    bool is_open{};  // the calling thread is in it already
};
NativePlace place_native(std::string_view name);

// Adds `region` and `Wrapped` to the module. 0, or -1 with an exception set.
int add_region_types(PyObject* module);

}  // namespace picojoule
