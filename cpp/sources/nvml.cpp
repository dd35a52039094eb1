// NVIDIA boards: energy counter and power of each, in one NVML call a poll.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "model/sensor_table.h"
#include "sources/nvml_boards.h"
#include "sources/source.h"

namespace picojoule::nvml {
namespace {

constexpr double kMilli = 1e-3;
constexpr std::int64_t kMs = 1'000'000;

// Boards of one model differ by about 5 % in gain, each by a fixed factor of its own, as measured
// against external meters (Yang et al., SC'24, arXiv 2312.02741).
constexpr double kGainStd = 0.05;

// What is known of a gauge beforehand; 0: to be learned.
struct Gauge {
    std::int64_t window_ns{};
    std::int64_t period_ns{};
};

constexpr std::chrono::milliseconds kFirstTick{250};  // no known sensor is slower

Gauge gauge_of(const Board& board, std::string_view field) {
    const auto family = sensor_family(board.name, board.architecture, board.ga100);
    const SensorPrior* prior = sensor_prior(family, field);
    // NVML's documentation: the average is one of a second.
    if (prior == nullptr) return {field == "average" ? 1000 * kMs : 0, 0};
    const auto ns = [](const Known& k) {
        constexpr double kUsable = 0.03;  // a guess worse than that is no help to a clock
        return k.std < kUsable * k.mean ? std::llround(k.mean * 1e9) : 0;
    };
    const double window_s = prior->window_s.mean;
    return {std::isnan(window_s) ? 0 : std::llround(window_s * 1e9), ns(prior->period_s)};
}
Gauge instant_gauge(const Board& board) {
    return gauge_of(board, "instant");
}
Gauge average_gauge(const Board& board) {
    return gauge_of(board, "average");
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
        if (last_ == kUninitialized) start_again(api_, uuid_, handle_);
        return status_of(last_);
    }

    [[nodiscard]] std::string failure() const override {
        return channels_.front().device + ": " + words(api_, last_);
    }

  private:
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

}  // namespace

Discovery discover(const Environment&) {
    Discovery found;
    const Selection selection = select_boards(found);
    for (const Chosen& c : selection.boards) {
        open_board(*selection.api, c.board, c.note, selection.driver, found);
    }
    return found;
}

}  // namespace picojoule::nvml
