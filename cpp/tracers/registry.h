// The tracers there are. A new one is one line in registry.cpp.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tracers/tracer.h"

namespace picojoule {

// Whether the program has loaded the library of a device that a tracer knows. Loads nothing.
bool device_in_use() noexcept;

// The tracer of the device in use. `folders`: where vendors' libraries may lie, as in sys.path.
std::unique_ptr<Tracer> make_tracer(const std::vector<std::string>& folders);

// What a tracer would do here, for people; no program need use a device. Opens the vendor's library
// if it is there, but subscribes to nothing.
TracerStatus tracer_outlook(const std::vector<std::string>& folders);

// Of the device's driver (580 of 580.65.06); 0: unknown.
unsigned driver_branch();

}  // namespace picojoule
