// NVIDIA boards: energy counter and power of each, in one NVML call a poll.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "sources/cuda_visible.h"
#include "sources/nvml_api.h"
#include "sources/source.h"

namespace picojoule::nvml {
namespace {

constexpr double kMilli = 1e-3;
constexpr std::int64_t kMs = 1'000'000;

// Boards of one model differ by about 5 % in gain, each by a fixed factor of its own, as measured
// against external meters (Yang et al., SC'24, arXiv 2312.02741).
constexpr double kGainStd = 0.05;

// What is known of a sensor beforehand. Update periods stay 0 where they are to be learned.
struct Gauge {
    std::int64_t window_ns{};
    std::int64_t period_ns{};
};

constexpr std::chrono::milliseconds kFirstTick{250};  // no known sensor is slower
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

// The same measurements: on A100 and H100 the instant reading covers 25 of each 100 ms, on Pascal
// and Volta 10 of 20, on GA10x and AD10x all of the 100.
Gauge instant_gauge(const Board& board) {
    if (board.architecture == kHopper || board.ga100) return {25 * kMs, 100 * kMs};
    if (board.architecture == kPascal || board.architecture == kVolta) return {10 * kMs, 20 * kMs};
    if (board.architecture == kAmpere || board.architecture == kAda) return {100 * kMs, 100 * kMs};
    return {};
}
Gauge average_gauge(const Board& board) {
    return {1000 * kMs, board.architecture == kHopper || board.ga100 ? 100 * kMs : 0};
}

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

// How a board is asked: one call, whichever it knows.
enum class Way : std::uint8_t { fields, energy_call, power_call };

class BoardMeter final : public Source {
  public:
    BoardMeter(const Api& api, const Board& board, Way way, std::vector<FieldValue> fields,
               std::vector<Channel> channels)
        : api_(api),
          handle_(board.handle),
          uuid_(board.uuid),
          way_(way),
          fields_(std::move(fields)),
          channels_(std::move(channels)) {}

    [[nodiscard]] std::span<const Channel> channels() const noexcept override { return channels_; }

    ReadStatus read(std::span<RawValue> values) noexcept override {
        std::ranges::fill(values, RawValue{});
        if (way_ == Way::fields) {
            last_ = read_fields(values);
        } else if (way_ == Way::energy_call) {
            unsigned long long mj = 0;
            last_ = api_.total_energy(handle_, &mj);
            values[0] = {mj, last_ == kSuccess};
        } else {
            unsigned mw = 0;
            last_ = api_.power_usage(handle_, &mw);
            values[0] = {mw, last_ == kSuccess};
        }
        if (last_ == kUninitialized) start_again();
        return status_of(last_);
    }

    [[nodiscard]] std::string failure() const override {
        return channels_.front().device + ": " + words(api_, last_);
    }

  private:
    // Someone else in this process shut NVML down more often than they had started it. The next
    // read works again.
    void start_again() noexcept {
        if (api_.init() != kSuccess || api_.by_uuid == nullptr) return;
        if (Device handle = nullptr; api_.by_uuid(uuid_.c_str(), &handle) == kSuccess) {
            handle_ = handle;
        }
    }

    int read_fields(std::span<RawValue> values) noexcept {
        for (FieldValue& f : fields_) f.status = kUnknown;
        const int status =
            api_.field_values(handle_, static_cast<int>(fields_.size()), fields_.data());
        if (status != kSuccess) return status;
        // The call as a whole may succeed where every field of it failed.
        bool any = false;
        int worst = kSuccess;
        for (std::size_t i = 0; i < fields_.size(); ++i) {
            const bool valid = fields_[i].status == kSuccess;
            if (valid) values[i] = {fields_[i].whole(), true};
            any |= valid;
            if (!valid && worst != kGpuIsLost) worst = fields_[i].status;
        }
        return any && worst != kGpuIsLost ? static_cast<int>(kSuccess) : worst;
    }

    const Api& api_;  // lives as long as the process
    Device handle_;
    std::string uuid_;
    Way way_;
    std::vector<FieldValue> fields_;  // as many as channels, in their order
    std::vector<Channel> channels_;
    int last_{};
};

// ---- discovery ------------------------------------------------------------------------------

FieldValue ask(unsigned field, unsigned scope) {
    FieldValue f;
    f.field = field;
    f.scope = scope;
    f.status = kUnknown;
    return f;
}

// Those fields that the board answers.
struct Answers {
    std::vector<FieldValue> fields;
    bool module{};                  // power is told of the module only, CPU included
    int status{kFunctionNotFound};  // the first thing that went wrong
};

Answers probe_fields(const Api& api, const Board& board) {
    Answers answers;
    if (api.field_values == nullptr) return answers;
    const auto answered = [&](std::vector<FieldValue> asked) {
        answers.status = kSuccess;
        std::vector<FieldValue> good;
        for (FieldValue& f : asked) {
            // One by one: where the driver knows one of them not, it may refuse them all.
            const int status = api.field_values(board.handle, 1, &f);
            if (status != kSuccess) f.status = status;
            if (f.status != kSuccess) {
                if (answers.status == kSuccess) answers.status = f.status;
            } else if (f.scope != kScopeMemory || f.whole() != 0) {  // no memory sensor: reads 0
                good.push_back(f);
            }
        }
        return good;
    };
    answers.fields = answered({ask(kEnergyMj, kScopeGpu), ask(kPowerInstant, kScopeGpu),
                               ask(kPowerAverage, kScopeGpu), ask(kPowerAverage, kScopeMemory)});
    const auto has_power = [](const FieldValue& f) {
        return f.field != kEnergyMj && f.scope == kScopeGpu;
    };
    if (std::ranges::none_of(answers.fields, has_power)) {
        // Superchips (GH200) know the power of the module only.
        const int status = answers.status;
        const auto module =
            answered({ask(kPowerInstant, kScopeModule), ask(kPowerAverage, kScopeModule)});
        answers.status = status;
        answers.module = !module.empty();
        const bool energy = !answers.fields.empty() && answers.fields.front().field == kEnergyMj;
        answers.fields.insert(answers.fields.begin() + (energy ? 1 : 0), module.begin(),
                              module.end());
    }
    return answers;
}

Channel energy_channel(const Channel& common) {
    Channel c = common;
    c.field = "energy";
    c.quantity = Quantity::energy;
    return c;
}

Channel power_channel(const Channel& common, std::string field, const Gauge& gauge) {
    Channel c = common;
    c.field = std::move(field);
    c.quantity = Quantity::power;
    c.window_ns = gauge.window_ns;
    c.update_period_ns = gauge.period_ns;
    c.in_total = false;
    return c;
}

Channel channel_of(const FieldValue& f, const Channel& common, const Board& board) {
    if (f.field == kEnergyMj) return energy_channel(common);
    if (f.scope == kScopeMemory) {
        Channel c = power_channel(common, "power_memory", average_gauge(board));
        c.domain += "/memory";
        return c;
    }
    return f.field == kPowerInstant ? power_channel(common, "power_instant", instant_gauge(board))
                                    : power_channel(common, "power_average", average_gauge(board));
}

// Opens one board; says in the findings how that went.
void open_board(const Api& api, const Board& board, std::string note, const std::string& driver,
                Discovery& found) {
    const std::string domain = "gpu:" + std::to_string(board.index);
    Channel common;
    common.meter = "nvml";
    common.domain = domain;
    common.device = board.name + " (" + board.uuid + ")";
    common.provenance = Provenance::measured;
    common.unit = kMilli;
    common.gain_std = kGainStd;

    // A virtual GPU may answer everything, and always 0. A board whose driver was not loaded before
    // we came says 0 as well, until its first tick.
    const auto is_zero = [](const FieldValue& f) { return f.whole() == 0; };
    Answers answers = probe_fields(api, board);
    if (!answers.fields.empty() && std::ranges::all_of(answers.fields, is_zero)) {
        std::this_thread::sleep_for(kFirstTick);
        answers = probe_fields(api, board);
        if (std::ranges::all_of(answers.fields, is_zero)) {
            found.findings.push_back({Finding::State::absent, domain + " " + common.device,
                                      "says 0 for its energy and its power", ""});
            return;
        }
    }
    if (answers.module) note = joined(note, "whole module: the joules of its CPU are among them");
    common.note = note;

    const bool counts = !answers.fields.empty() && answers.fields.front().field == kEnergyMj;
    int refusal = answers.status;
    Way way = Way::fields;
    std::vector<Channel> channels;
    unsigned long long mj = 0;
    unsigned mw = 0;
    const auto works = [&refusal](int status) {
        if (status != kSuccess) refusal = status;
        return status == kSuccess;
    };
    if (!counts && api.total_energy != nullptr && works(api.total_energy(board.handle, &mj))) {
        way = Way::energy_call;
        channels.push_back(energy_channel(common));
    } else if (!answers.fields.empty()) {
        for (const FieldValue& f : answers.fields) channels.push_back(channel_of(f, common, board));
    } else if (api.power_usage != nullptr && works(api.power_usage(board.handle, &mw))) {
        way = Way::power_call;
        // What this call tells: the average from Ampere on, GA100 excepted.
        const bool average = board.architecture >= kAmpere && !board.ga100;
        channels.push_back(average ? power_channel(common, "power_average", average_gauge(board))
                                   : power_channel(common, "power_instant", instant_gauge(board)));
    }

    const std::string subject = domain + " " + common.device;
    if (channels.empty()) {
        found.findings.push_back(
            {refusal == kNotSupported ? Finding::State::absent : Finding::State::refused, subject,
             "tells neither energy nor power: " + words(api, refusal),
             refusal == kNoPermission ? kOpenDevices
             : refusal == kGpuIsLost  ? "sudo reboot"
                                      : ""});
        return;
    }
    // Without a counter the joules are those of the first gauge, summed.
    if (channels.front().quantity == Quantity::power && channels.front().field != "power_memory") {
        channels.front().in_total = true;
        channels.front().provenance = Provenance::modelled;
        channels.front().note =
            joined(common.note, "no energy counter: power readings, summed over time");
    }
    std::string fields;
    for (const Channel& c : channels) fields += (fields.empty() ? "" : ", ") + c.field;
    std::string why = fields;
    if (!driver.empty()) why += "; driver " + driver;
    if (!note.empty()) why += "; " + note;
    found.findings.push_back({Finding::State::works, subject, why, ""});
    if (way != Way::fields) answers.fields.clear();
    found.sources.push_back(std::make_unique<BoardMeter>(api, board, way, std::move(answers.fields),
                                                         std::move(channels)));
}

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

Discovery discover(const Environment&) {
    Discovery found;
    const Api* const api = start(found);
    if (api == nullptr) return found;

    unsigned count = 0;
    if (const int status = api->count(&count); status != kSuccess) {
        found.findings.push_back(refused_start(*api, status));
        return found;
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
        return found;
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
        return found;
    }
    char driver[96] = {};
    if (api->driver_version == nullptr || api->driver_version(driver, sizeof driver) != kSuccess) {
        driver[0] = '\0';
    }
    for (const std::size_t i : chosen.boards) {
        const auto named = std::ranges::find(chosen.slices, i, &cuda_visible::Slice::board);
        std::string note;
        if (boards[i].sliced || named != chosen.slices.end()) {
            note = "whole board; this process sees one MIG slice";
            if (named != chosen.slices.end()) note += " (" + named->name + ")";
        }
        open_board(*api, boards[i], joined(doubt, note), driver, found);
    }
    return found;
}

}  // namespace picojoule::nvml
