// The boards of NVML that this process may use: what every meter of theirs begins with.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sources/nvml_api.h"
#include "sources/source.h"

namespace picojoule::nvml {

constexpr const char* kOpenDevices = "sudo chmod a+rw /dev/nvidia*";

struct Board {
    Device handle{};
    unsigned index{};
    std::string uuid;
    std::string name;
    std::uint64_t pci{};
    unsigned architecture{};
    bool ga100{};   // the A100 family: of the Ampere generation, with the sensors of Hopper
    bool sliced{};  // MIG is on
};

// A board that was chosen; the note says what a reader must know of it ("" if nothing).
struct Chosen {
    Board board;
    std::string note;
};

struct Selection {
    const Api* api{};  // null: NVML does not work here; lives as long as the process
    std::string driver;
    std::vector<Chosen> boards;
};

// The boards that CUDA_VISIBLE_DEVICES leaves to this process. Findings tell of NVML and of boards
// that are left out, not of those chosen. May take as long as the driver does.
Selection select_boards(Discovery& found);

// An NVML status for a person: "Not Supported (NVML error 3)".
std::string words(const Api& api, int status);
std::string joined(const std::string& a, const std::string& b);
ReadStatus status_of(int nvml) noexcept;
// A field to ask for, with no answer yet.
FieldValue ask(unsigned field, unsigned scope);
// After kUninitialized: someone else in this process shut NVML down more often than they had
// started it. The next read works again.
void start_again(const Api& api, const std::string& uuid, Device& handle) noexcept;

}  // namespace picojoule::nvml
