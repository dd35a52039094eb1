// The tracer of NVIDIA devices: CUPTI's activity records, and the calls that launched them.
//
// What is known of CUPTI's traps is kept as rules here, each with a test that bears its name:
//  - one libcupti a process, and one subscriber unless library and driver allow several; a refusal
//    is taken as the answer, not tried again
//  - kernels, copies and sets are recorded together or not at all: graphs leak without the others
//  - no time stamp callback: CUPTI's own clock is mapped to ours
//  - no flush from a callback, no forced flush before the end, no finalize
//  - no call of CUPTI under a lock that a callback takes; callbacks take none at all
//  - a request for a buffer always gets one while the library cannot stand otherwise
#pragma once

#include <memory>
#include <vector>

#include "tracers/cupti_library.h"
#include "tracers/tracer.h"

namespace picojoule::cupti {

// There may be several of these, but only one traces at a time.
std::unique_ptr<Tracer> make_tracer(Places places);

}  // namespace picojoule::cupti
