#include "sources/nvml_boards.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "sources/cuda_visible.h"

namespace picojoule::nvml {
namespace {

template <class Call>
std::string text_of(Call* call, Device device) {
    char text[96] = {};
    if (call == nullptr || call(device, text, sizeof text) != kSuccess) return {};
    return text;
}

std::optional<Board> look_at(const Api& api, unsigned index, Discovery& found) {
    Board b;
    b.index = index;
    const int status = api.by_index(index, &b.handle);
    if (status != kSuccess) {
        found.findings.push_back({Finding::State::refused, "gpu:" + std::to_string(index),
                                  "the board cannot be opened: " + words(api, status),
                                  status == kGpuIsLost ? "sudo reboot" : ""});
        return {};
    }
    b.uuid = text_of(api.uuid, b.handle);
    b.name = text_of(api.name, b.handle);
    if (b.name.empty()) b.name = "NVIDIA GPU";
    b.pci = index;
    PciInfo pci{};
    if (api.pci_info != nullptr && api.pci_info(b.handle, &pci) == kSuccess) {
        b.pci = (std::uint64_t{pci.domain} << 16) | (pci.bus & 0xffu) << 8 | (pci.device & 0xffu);
    }
    if (api.architecture == nullptr || api.architecture(b.handle, &b.architecture) != kSuccess) {
        b.architecture = 0;
    }
    // PCI device ids 20xx are GA100 and nothing else.
    b.ga100 = b.architecture == kAmpere && (pci.device_and_vendor >> 24) == 0x20;
    unsigned current = 0;
    unsigned pending = 0;
    b.sliced = api.mig_mode != nullptr && api.mig_mode(b.handle, &current, &pending) == kSuccess &&
               current != 0;
    return b;
}

Finding refused_start(const Api& api, int status) {
    std::string why = "NVML did not start: " + words(api, status);
    std::string remedy = "nvidia-smi";
    if (status == kDriverNotLoaded) {
        why = "the NVIDIA driver is not loaded, or this container was given no GPU";
        remedy = "sudo modprobe nvidia";
    } else if (status == kNoPermission) {
        why =
            "this user may not open the NVIDIA device files; the command lasts until the driver "
            "is loaded again";
        remedy = kOpenDevices;
    } else if (status == kVersionMismatch) {
        why = "the NVIDIA driver in the kernel and its library are of different versions";
        remedy = "sudo reboot";
    }
    return {Finding::State::refused, "NVML", why, remedy};
}

// Started once and never shut down: NVML counts its users, and at the process's end the order in
// which libraries go is nobody's to know.
const Api* start(Discovery& found) {
    const SharedLibrary library("libnvidia-ml.so.1");
    if (!library) {
        const bool missing = library.error().find("No such file") != std::string::npos;
        found.findings.push_back(
            {missing ? Finding::State::absent : Finding::State::refused, "libnvidia-ml.so.1",
             missing
                 ? "libnvidia-ml.so.1 was not found: no NVIDIA driver is installed here, or this "
                   "container was started without its GPUs (docker run --gpus all)"
                 : library.error(),
             ""});
        return nullptr;
    }
    static const Api* const api = new Api(library);
    if (!api->complete()) {
        found.findings.push_back({Finding::State::refused, "libnvidia-ml.so.1",
                                  "the library lacks functions of NVML version 2", ""});
        return nullptr;
    }
    if (const int status = api->init(); status != kSuccess) {
        found.findings.push_back(refused_start(*api, status));
        return nullptr;
    }
    return api;
}

}  // namespace

std::string words(const Api& api, int status) {
    const char* text = api.error_string == nullptr ? nullptr : api.error_string(status);
    return std::string(text == nullptr ? "error" : text) + " (NVML error " +
           std::to_string(status) + ")";
}

std::string joined(const std::string& a, const std::string& b) {
    return a.empty() ? b : b.empty() ? a : a + "; " + b;
}

ReadStatus status_of(int nvml) noexcept {
    if (nvml == kSuccess) return ReadStatus::ok;
    if (nvml == kGpuIsLost) return ReadStatus::gone;
    if (nvml == kNoPermission) return ReadStatus::denied;
    return ReadStatus::retry;
}

FieldValue ask(unsigned field, unsigned scope) {
    FieldValue f;
    f.field = field;
    f.scope = scope;
    f.status = kUnknown;
    return f;
}

void start_again(const Api& api, const std::string& uuid, Device& handle) noexcept {
    if (api.init() != kSuccess || api.by_uuid == nullptr) return;
    if (Device again = nullptr; api.by_uuid(uuid.c_str(), &again) == kSuccess) handle = again;
}

Selection select_boards(Discovery& found) {
    Selection out;
    const Api* const api = start(found);
    if (api == nullptr) return out;

    unsigned count = 0;
    if (const int status = api->count(&count); status != kSuccess) {
        found.findings.push_back(refused_start(*api, status));
        return out;
    }
    std::vector<Board> boards;
    std::vector<cuda_visible::Board> candidates;
    for (unsigned i = 0; i < count; ++i) {
        if (auto board = look_at(*api, i, found)) {
            candidates.push_back({board->uuid, board->name, board->pci});
            boards.push_back(std::move(*board));
        }
    }
    if (boards.empty()) {
        if (found.findings.empty()) {
            found.findings.push_back(
                {Finding::State::absent, "NVML", "the driver runs and knows no board", ""});
        }
        return out;
    }

    const auto board_of_slice = [&](const std::string& uuid) -> std::optional<std::size_t> {
        Device slice = nullptr;
        Device whole = nullptr;
        if (api->by_uuid == nullptr || api->board_of_slice == nullptr ||
            api->by_uuid(uuid.c_str(), &slice) != kSuccess ||
            api->board_of_slice(slice, &whole) != kSuccess) {
            return {};
        }
        const std::string board_uuid = text_of(api->uuid, whole);
        const auto at = std::ranges::find(boards, board_uuid, &Board::uuid);
        if (at == boards.end()) return {};
        return static_cast<std::size_t>(at - boards.begin());
    };
    const auto process = cuda_visible::Process::here();
    const auto chosen = cuda_visible::select(candidates, process, board_of_slice);

    std::string doubt;
    if (chosen.ambiguous) {
        doubt = "all boards: which of them CUDA_VISIBLE_DEVICES means is not known";
        found.findings.push_back(
            {Finding::State::works, "CUDA_VISIBLE_DEVICES",
             "it numbers boards of different models in an order that only CUDA knows: all boards "
             "are measured; set CUDA_DEVICE_ORDER=PCI_BUS_ID or name GPUs by UUID",
             "export CUDA_DEVICE_ORDER=PCI_BUS_ID"});
    }
    if (!chosen.stopped_at.empty() && !chosen.boards.empty()) {
        found.findings.push_back({Finding::State::absent, "CUDA_VISIBLE_DEVICES",
                                  "CUDA stops reading its list at '" + chosen.stopped_at +
                                      "', which names no board here",
                                  ""});
    }
    if (chosen.boards.empty()) {
        const std::string& end = chosen.stopped_at;
        const bool meant = end.empty() || end == "-1" || end == "NoDevFiles";
        found.findings.push_back({Finding::State::absent, "CUDA_VISIBLE_DEVICES",
                                  "its value (" + process.visible_devices.value_or("") +
                                      ") hides every GPU from this process" +
                                      (meant ? "" : ": '" + end + "' names no board here"),
                                  "unset CUDA_VISIBLE_DEVICES"});
        return out;
    }
    out.api = api;
    char driver[96] = {};
    if (api->driver_version == nullptr || api->driver_version(driver, sizeof driver) != kSuccess) {
        driver[0] = '\0';
    }
    out.driver = driver;
    for (const std::size_t i : chosen.boards) {
        const auto named = std::ranges::find(chosen.slices, i, &cuda_visible::Slice::board);
        std::string note;
        if (boards[i].sliced || named != chosen.slices.end()) {
            note = "whole board; this process sees one MIG slice";
            if (named != chosen.slices.end()) note += " (" + named->name + ")";
        }
        out.boards.push_back({boards[i], joined(doubt, note)});
    }
    return out;
}

}  // namespace picojoule::nvml
