// Finding libcupti, and never a second one: two copies in one process fight over the same driver.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tracers/cupti_api.h"

namespace picojoule::cupti {

// The remedy where the driver may be missing.
constexpr const char* kAskDriver = "nvidia-smi (it tells whether there is a working driver)";

// Where to look, in this order, when no libcupti is loaded yet.
struct Places {
    std::string file;                  // exactly this one (for tests, and for people who know)
    std::vector<std::string> folders;  // as in sys.path: the CUDA wheels put theirs below
    std::string cuda_home;             // $CUDA_HOME

    // `file` from PICOJOULE_CUPTI, `cuda_home` from CUDA_HOME or CUDA_PATH.
    static Places from_process(std::vector<std::string> folders);
};

struct Library {
    Api api{};
    std::string path;  // empty: none
    std::uint32_t version{};
    bool was_loaded{};  // by somebody else, before we looked
    std::string words;  // why there is none
    std::string remedy;

    [[nodiscard]] explicit operator bool() const noexcept { return !path.empty(); }
};

// Files of that name that this process has loaded, by whatever path they came.
std::vector<std::string> loaded_libraries(const char* stem);

// The candidates for opening, best first. Pure, but for looking whether files exist.
std::vector<std::string> candidates(const Places& places, unsigned cuda_major);

// The library once opened is never closed.
Library open_library(const Places& places);

// "13.0", "12.6" ...
std::string version_words(std::uint32_t version);

// What that version gets wrong, by NVIDIA's release notes and others' reports, and cannot be
// avoided from here; empty: nothing is known.
std::string known_trouble(std::uint32_t version);

// The branch of the NVIDIA driver (580 of 580.65.06) as the kernel tells it; 0: unknown.
unsigned nvidia_driver_branch(const std::string& procfs_root = "/proc");

}  // namespace picojoule::cupti
