// Which boards this process can compute on, by the rules of CUDA. The selection itself is a pure
// function of what it is given.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace picojoule::cuda_visible {

struct Board {
    std::string uuid;     // "GPU-1b2c..."
    std::string name;     // boards of one name are equally fast
    std::uint64_t pci{};  // sorts as the PCI address does
};

// What this process says about CUDA.
struct Process {
    std::optional<std::string> visible_devices;  // CUDA_VISIBLE_DEVICES, if set
    std::string device_order;                    // CUDA_DEVICE_ORDER
    // The boards of a CUDA that runs here already, by ordinal; it has applied the two above, as
    // they were when it started. None: no CUDA runs here yet.
    std::optional<std::vector<std::string>> running_uuids;

    // Starts no CUDA: it looks at one only where the program itself has initialised it.
    static Process here();
};

// A board of which only a MIG slice was named, and how.
struct Slice {
    std::size_t board{};
    std::string name;
    bool operator==(const Slice&) const = default;
};

struct Selection {
    std::vector<std::size_t> boards;  // places in the list given, ascending, each once
    std::vector<Slice> slices;  // ascending, each board once; CUDA takes the first it is given
    bool ambiguous{};           // numbers were given, and which boards they mean is unknown
    std::string stopped_at;     // the entry at which CUDA stops reading, where there is one
};

// The board that holds the MIG slice of that UUID.
using BoardOfSlice = std::function<std::optional<std::size_t>(const std::string& uuid)>;

Selection select(std::span<const Board> boards, const Process& process,
                 const BoardOfSlice& board_of_slice);

}  // namespace picojoule::cuda_visible
