// What NVIDIA boards were doing: clocks, why they were held back and for how long, how hot they
// were, and from Hopper on how busy their units were (GPM). No joules: these explain the energy
// that nvml.cpp measures.
#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <memory>
#include <optional>
#include <ranges>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "sources/nvml_boards.h"
#include "sources/source.h"

namespace picojoule::nvml_state {
namespace {

using namespace nvml;

// GPM refreshes its counters every 100 ms; closer samples give errors or nonsense (nvml.h).
constexpr std::int64_t kPaceNs = 100 * kNsPerMs;
// After a longer pause nobody was recording: a mean over it says nothing of the time that counts.
constexpr std::int64_t kPauseNs = kNsPerS;

constexpr double kPpm = 1e-6;
constexpr double kMega = 1e6;
constexpr double kMebi = 1024.0 * 1024.0;

struct Clock {
    int type;
    const char* field;
};
constexpr Clock kClocks[] = {{kClockSm, "sm_clock"}, {kClockMemory, "memory_clock"}};

// What is asked for by number.
struct Field {
    unsigned id;
    const char* field;
    Quantity quantity;
    int since;  // major version of the driver
};
constexpr Field kFields[] = {
    {kMemoryTemperature, "memory_temperature", Quantity::temperature, 0},
    {kThrottledPowerCapNs, "throttled_power_cap_ns", Quantity::count, 0},
    {kThrottledSwThermalNs, "throttled_sw_thermal_ns", Quantity::count, kThrottleIdsSince},
    {kThrottledHwThermalNs, "throttled_hw_thermal_ns", Quantity::count, kThrottleIdsSince},
    {kThrottledPowerBrakeNs, "throttled_power_brake_ns", Quantity::count, kThrottleIdsSince},
};

// nvmlGpmMetricId_t. Those of kind ratio are told in percent, those of kind rate in MiB/s.
struct Metric {
    unsigned id;
    const char* field;
    Quantity quantity;
};
constexpr Metric kMetrics[] = {
    {2, "sm_util", Quantity::ratio},
    {3, "sm_occupancy", Quantity::ratio},
    {5, "tensor_util", Quantity::ratio},
    {7, "hmma_tensor_util", Quantity::ratio},
    {9, "imma_tensor_util", Quantity::ratio},
    {6, "dfma_tensor_util", Quantity::ratio},
    {11, "fp64_util", Quantity::ratio},
    {12, "fp32_util", Quantity::ratio},
    {13, "fp16_util", Quantity::ratio},
    {4, "integer_util", Quantity::ratio},
    {10, "dram_bandwidth_util", Quantity::ratio},
    {20, "pcie_tx", Quantity::rate},
    {21, "pcie_rx", Quantity::rate},
    {61, "nvlink_tx", Quantity::rate},
    {60, "nvlink_rx", Quantity::rate},
};

RawValue raw_of(const Metric& metric, double told) noexcept {
    const double raw = metric.quantity == Quantity::ratio ? told * 0.01 / kPpm : told * kMebi;
    if (!(raw >= 0.0) || raw > 1e18) return {};  // nan as well
    return {static_cast<std::uint64_t>(std::llround(raw)), true};
}

// Two samples that take turns; owned here, freed with the board.
class Gpm {
  public:
    Gpm(const Api& api, Device handle) : api_(api) {
        first_status_ = api.gpm_alloc(&request_->earlier);
        if (first_status_ == kSuccess) first_status_ = api.gpm_alloc(&request_->later);
        if (first_status_ == kSuccess) first_status_ = sample(handle);
    }
    Gpm(const Gpm&) = delete;
    Gpm& operator=(const Gpm&) = delete;
    ~Gpm() {
        for (GpmSample s : {request_->earlier, request_->later}) {
            if (s != nullptr) api_.gpm_free(s);
        }
    }

    [[nodiscard]] int first_status() const noexcept { return first_status_; }
    [[nodiscard]] const std::vector<Metric>& metrics() const noexcept { return metrics_; }

    // Keeps those of all metrics that the board tells; 100 ms or more after the first sample.
    // Returns the first thing that went wrong.
    int choose(Device handle) {
        metrics_.assign(std::begin(kMetrics), std::end(kMetrics));
        int status = sample(handle);
        if (status == kSuccess) status = compute();
        std::vector<Metric> told;
        for (std::size_t i = 0; i < metrics_.size(); ++i) {
            if (last_[i].valid) told.push_back(metrics_[i]);
            if (status == kSuccess) status = request_->metrics[i].status;
        }
        metrics_ = std::move(told);
        last_.fill({});
        return status;
    }

    // Means since the sample before; no values where that lies too far back. Returns the status, or
    // nothing where it lies too near: then the board was not asked, and the last means hold.
    std::optional<int> read(Device handle, std::span<RawValue> values) noexcept {
        const std::int64_t since = now_ns() - sampled_ns_;
        int status = kSuccess;
        if (since >= kPaceNs) {
            last_.fill({});
            status = sample(handle);
            if (status == kSuccess && since <= kPauseNs) status = compute();
        }
        std::copy_n(last_.begin(), values.size(), values.begin());
        if (since < kPaceNs) return {};
        return status;
    }

  private:
    int sample(Device handle) noexcept {
        std::swap(request_->earlier, request_->later);
        const int status = api_.gpm_sample(handle, request_->later);
        sampled_ns_ = status == kSuccess ? now_ns() : 0;  // 0: begin again
        return status;
    }

    int compute() noexcept {
        request_->count = static_cast<unsigned>(metrics_.size());
        for (std::size_t i = 0; i < metrics_.size(); ++i) {
            request_->metrics[i].id = metrics_[i].id;
            request_->metrics[i].status = kUnknown;
        }
        const int status = api_.gpm_metrics(request_.get());
        for (std::size_t i = 0; status == kSuccess && i < metrics_.size(); ++i) {
            const GpmMetric& m = request_->metrics[i];
            if (m.status == kSuccess) last_[i] = raw_of(metrics_[i], m.value);
        }
        return status;
    }

    const Api& api_;
    std::unique_ptr<GpmRequest> request_ = std::make_unique<GpmRequest>();
    std::vector<Metric> metrics_;
    std::array<RawValue, std::size(kMetrics)> last_{};
    std::int64_t sampled_ns_{};
    int first_status_{};
};

class BoardState final : public Source {
  public:
    BoardState(const Api& api, const Board& board, std::vector<int> clocks, bool reasons,
               bool temperature, std::vector<FieldValue> fields, std::unique_ptr<Gpm> gpm,
               std::vector<Channel> channels)
        : api_(api),
          handle_(board.handle),
          uuid_(board.uuid),
          clocks_(std::move(clocks)),
          reasons_(reasons),
          temperature_(temperature),
          fields_(std::move(fields)),
          gpm_(std::move(gpm)),
          channels_(std::move(channels)) {}

    [[nodiscard]] std::span<const Channel> channels() const noexcept override { return channels_; }
    [[nodiscard]] std::int64_t pace_ns() const noexcept override { return kPaceNs; }

    ReadStatus read(std::span<RawValue> values) noexcept override {
        std::ranges::fill(values, RawValue{});
        last_ = kSuccess;
        any_ = false;
        std::size_t at = 0;
        for (const int type : clocks_) {
            unsigned mhz = 0;
            if (took(api_.clock_info(handle_, type, &mhz))) values[at] = {mhz, true};
            ++at;
        }
        if (reasons_) {
            unsigned long long mask = 0;
            if (took(api_.clock_event_reasons(handle_, &mask))) values[at] = {mask, true};
            ++at;
        }
        if (temperature_) {
            unsigned celsius = 0;
            if (took(api_.temperature(handle_, kTemperatureGpu, &celsius))) {
                values[at] = {celsius, true};
            }
            ++at;
        }
        if (!fields_.empty()) {
            for (FieldValue& f : fields_) f.status = kUnknown;
            const int status =
                api_.field_values(handle_, static_cast<int>(fields_.size()), fields_.data());
            for (const FieldValue& f : fields_) {
                if (took(status == kSuccess ? f.status : status)) values[at] = {f.whole(), true};
                ++at;
            }
        }
        if (gpm_ != nullptr) {
            if (const auto status = gpm_->read(handle_, values.subspan(at))) took(*status);
        }
        if (last_ == kUninitialized) start_again(api_, uuid_, handle_);
        return any_ && last_ != kGpuIsLost ? ReadStatus::ok : status_of(last_);
    }

    [[nodiscard]] std::string failure() const override {
        return channels_.front().device + ": " + words(api_, last_);
    }

  private:
    // Notes how one call went; the first trouble is what a failure tells, a lost board before all.
    bool took(int status) noexcept {
        any_ |= status == kSuccess;
        if (status != kSuccess && (last_ == kSuccess || status == kGpuIsLost)) last_ = status;
        return status == kSuccess;
    }

    const Api& api_;  // lives as long as the process
    Device handle_;
    std::string uuid_;
    std::vector<int> clocks_;  // these five say what the channels are, in this order
    bool reasons_;
    bool temperature_;
    std::vector<FieldValue> fields_;
    std::unique_ptr<Gpm> gpm_;  // null: not told here
    std::vector<Channel> channels_;
    int last_{};
    bool any_{};
};

// ---- discovery ------------------------------------------------------------------------------

struct Opening {
    const Chosen* chosen{};
    std::unique_ptr<Gpm> gpm;
    int gpm_status{kSuccess};
    std::string no_gpm;  // why there is none; empty: the status says it
};

std::string subject_of(const Board& board) {
    return "gpu:" + std::to_string(board.index) + " " + board.name + " (" + board.uuid + ")";
}

Opening begin_gpm(const Api& api, const Chosen& chosen) {
    Opening o;
    o.chosen = &chosen;
    const Board& board = chosen.board;
    GpmSupport support;
    if (board.architecture != 0 && board.architecture < kHopper) {
        o.no_gpm = "boards before Hopper have no GPM counters (utilisation of their units)";
    } else if (!api.has_gpm()) {
        o.no_gpm = "this driver has no GPM counters; version 520 brought them";
    } else if (board.sliced) {
        o.no_gpm = "MIG is on: GPM counters tell of a GPU instance each, not of the board";
    } else if (o.gpm_status = api.gpm_support(board.handle, &support); o.gpm_status != kSuccess) {
        // the status says it
    } else if (support.supported == 0) {
        o.gpm_status = kNotSupported;
    } else {
        o.gpm = std::make_unique<Gpm>(api, board.handle);
        o.gpm_status = o.gpm->first_status();
        if (o.gpm_status != kSuccess) o.gpm.reset();
    }
    return o;
}

// Of a version such as "580.65.06" the number before the first dot; 0: unknown.
int major_of(const std::string& driver) noexcept {
    int number = 0;
    const auto parsed = std::from_chars(driver.data(), driver.data() + driver.size(), number);
    return parsed.ec == std::errc() ? number : 0;
}

void open_board(const Api& api, Opening& opening, const std::string& driver, Discovery& found) {
    const Board& board = opening.chosen->board;
    Channel common;
    common.meter = "nvml_state";
    common.domain = "gpu:" + std::to_string(board.index);
    common.device = board.name + " (" + board.uuid + ")";
    common.note = opening.chosen->note;
    common.provenance = Provenance::measured;
    common.in_total = false;
    common.update_period_ns = kPaceNs;
    std::vector<Channel> channels;
    const auto add = [&](const char* field, Quantity quantity, double unit) -> Channel& {
        Channel& c = channels.emplace_back(common);
        c.field = field;
        c.quantity = quantity;
        c.unit = unit;
        return c;
    };
    int refusal = kFunctionNotFound;
    const auto works = [&refusal](int status) {
        if (status != kSuccess) refusal = status;
        return status == kSuccess;
    };

    std::vector<int> clocks;
    for (const Clock& clock : kClocks) {
        unsigned mhz = 0;
        if (api.clock_info == nullptr || !works(api.clock_info(board.handle, clock.type, &mhz))) {
            continue;
        }
        clocks.push_back(clock.type);
        add(clock.field, Quantity::frequency, kMega);
    }
    unsigned long long mask = 0;
    const bool reasons =
        api.clock_event_reasons != nullptr && works(api.clock_event_reasons(board.handle, &mask));
    if (reasons) add("clock_event_reasons", Quantity::flags, 1.0);
    unsigned celsius = 0;
    const bool temperature = api.temperature != nullptr &&
                             works(api.temperature(board.handle, kTemperatureGpu, &celsius));
    if (temperature) add("temperature", Quantity::temperature, 1.0);
    std::vector<FieldValue> fields;
    for (const Field& field : kFields) {
        if (major_of(driver) < field.since) continue;
        // One by one: where the driver knows one of them not, it may refuse them all.
        FieldValue f = ask(field.id, kScopeGpu);
        if (api.field_values == nullptr || !works(api.field_values(board.handle, 1, &f)) ||
            !works(f.status)) {
            continue;
        }
        fields.push_back(f);
        Channel& c = add(field.field, field.quantity, 1.0);
        if (field.quantity == Quantity::count) c.provenance = Provenance::counted;
    }
    if (opening.gpm != nullptr) {
        opening.gpm_status = opening.gpm->choose(board.handle);
        for (const Metric& m : opening.gpm->metrics()) {
            Channel& c = add(m.field, m.quantity, m.quantity == Quantity::ratio ? kPpm : 1.0);
            c.provenance = Provenance::counted;
            c.window_ns = kPaceNs;
        }
        if (opening.gpm->metrics().empty()) opening.gpm.reset();
    }

    const std::string subject = subject_of(board);
    if (channels.empty()) {
        found.findings.push_back(
            {refusal == kNotSupported ? Finding::State::absent : Finding::State::refused, subject,
             "tells neither clocks nor throttling nor temperature: " + words(api, refusal),
             refusal == kNoPermission ? kOpenDevices : ""});
        return;
    }
    std::string told;
    for (const Channel& c : channels) told += (told.empty() ? "" : ", ") + c.field;
    found.findings.push_back({Finding::State::works, subject, joined(told, common.note), ""});
    if (opening.gpm == nullptr) {
        const bool refused = opening.no_gpm.empty() && opening.gpm_status != kNotSupported;
        const std::string why = !opening.no_gpm.empty()
                                    ? opening.no_gpm
                                    : "tells no GPM counters (utilisation of its units): " +
                                          words(api, opening.gpm_status);
        found.findings.push_back({refused ? Finding::State::refused : Finding::State::absent,
                                  subject, why,
                                  opening.gpm_status == kNoPermission ? kOpenDevices : ""});
    }
    found.sources.push_back(std::make_unique<BoardState>(
        api, board, std::move(clocks), reasons, temperature, std::move(fields),
        std::move(opening.gpm), std::move(channels)));
}

}  // namespace

Discovery discover(const Environment&) {
    Discovery found;
    Discovery said;  // by NVML as such: "nvml" tells that, once
    const Selection selection = select_boards(said);
    if (selection.boards.empty()) {
        found.findings.push_back({Finding::State::absent, "NVML",
                                  "no NVIDIA board can be read here; see the meter nvml", ""});
        return found;
    }
    const Api& api = *selection.api;
    std::vector<Opening> openings;
    openings.reserve(selection.boards.size());
    for (const Chosen& c : selection.boards) openings.push_back(begin_gpm(api, c));
    const bool waits =
        std::ranges::any_of(openings, [](const Opening& o) { return o.gpm != nullptr; });
    // One wait for all boards; a little more, since theirs is another clock.
    if (waits) std::this_thread::sleep_for(std::chrono::nanoseconds(kPaceNs + 5 * kNsPerMs));
    for (Opening& o : openings) open_board(api, o, selection.driver, found);
    return found;
}

}  // namespace picojoule::nvml_state
