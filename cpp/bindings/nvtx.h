// NVTX ranges of any library in this process, as regions.
//
// Push and pop open and close a region in the stack of the calling thread. A range of start and end
// belongs to no thread and may overlap any other: it is counted below the region it was started in,
// and touches no stack. A range of a domain is called "domain:message", as Nsight Systems does.
#pragma once

#include <cstdint>

namespace picojoule {

// Ranges are seen while somebody wants them. One that was pushed unseen is popped unseen, and one
// that was seen is closed whoever wants what by then.
void want_annotations(bool on) noexcept;

// How many libraries' NVTX have found us so far.
std::uint32_t nvtx_clients() noexcept;

}  // namespace picojoule
