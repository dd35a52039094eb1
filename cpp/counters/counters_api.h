// The part of CUPTI's counter interfaces that is used here, declared anew as in tracers/cupti_api.h
// and compared with the vendor's headers by tests/native/counters_abi_check.cpp.
//
// Every call takes one struct, which begins with how much of it the library may read. A size larger
// than the library knows is refused as INVALID_PARAMETER, so each struct here is the oldest one
// (12.6), which all later libraries take. The one that grew and is of use is PmSetConfig.
#pragma once

#include <cstddef>
#include <cstdint>

namespace picojoule::counters {

constexpr std::uint32_t kVersionFirst = 24;    // 12.6: none of this is in older libraries
constexpr std::uint32_t kVersionAppends = 26;  // 12.8: the buffer of PM sampling may be a ring

enum Return : int {
    kOk = 0,
    kInvalidParameter = 1,
    kInvalidOperation = 7,
    kOutOfMemory = 8,
    kNotInitialized = 15,
    kNotSupported = 27,
    kInsufficientPrivileges = 35,
    kMultipleSubscribers = 39,
    kVirtualizedInsufficientPrivileges = 40,
    kUnknownError = 999,
};

enum ProfilerType : int { kRangeProfiler = 0, kPmSampling = 1 };
enum MetricType : int { kCounterMetric = 0, kRatioMetric = 1, kThroughputMetric = 2 };
enum TriggerMode : int { kSysclkInterval = 0, kTimeInterval = 1 };
enum AppendMode : int { kKeepOldest = 0, kKeepLatest = 1 };
enum DecodeStop : int { kDecodeOther = 0, kImageFull = 1, kEndOfRecords = 2 };
constexpr int kAutoRange = 1;     // CUPTI_AutoRange
constexpr int kKernelReplay = 2;  // CUPTI_KernelReplay

using HostObject = struct HostObjectOpaque*;
using PmObject = struct PmObjectOpaque*;
using RangeObject = struct RangeObjectOpaque*;

// ---- the host half: works on names of chips, without a GPU -----------------------------------

struct HostInitialize {
    std::size_t size;
    void* reserved;
    int type;
    const char* chip;
    const std::uint8_t* availability;  // may be null
    HostObject host;                   // out
};
struct HostDeinitialize {
    std::size_t size;
    void* reserved;
    HostObject host;
};
struct HostSupportedChips {
    std::size_t size;
    void* reserved;
    std::size_t count;         // out
    const char* const* names;  // out
};
struct HostBaseMetrics {
    std::size_t size;
    void* reserved;
    HostObject host;
    int type;
    const char** names;  // out
    std::size_t count;   // out
};
struct HostAddMetrics {
    std::size_t size;
    void* reserved;
    HostObject host;
    const char** names;
    std::size_t count;
};
struct HostConfigImageSize {
    std::size_t size;
    void* reserved;
    HostObject host;
    std::size_t bytes;  // out
};
struct HostConfigImage {
    std::size_t size;
    void* reserved;
    HostObject host;
    std::size_t bytes;
    std::uint8_t* image;
};
struct HostPasses {
    std::size_t size;
    void* reserved;
    std::size_t bytes;
    const std::uint8_t* image;
    std::size_t passes;  // out
};
struct HostEvaluate {
    std::size_t size;
    void* reserved;
    HostObject host;
    const std::uint8_t* counter_data;
    std::size_t counter_data_bytes;
    std::size_t range;
    const char** names;
    std::size_t count;
    double* values;
};

// ---- device -----------------------------------------------------------------------------------

struct ProfilerInitialize {
    std::size_t size;
    void* reserved;
};
struct DeviceChipName {
    std::size_t size;
    void* reserved;
    std::size_t device;
    const char* name;  // out
};
struct CounterAvailability {
    std::size_t size;
    void* reserved;
    void* context;
    std::size_t bytes;  // in and out
    std::uint8_t* image;
};

// ---- PM sampling ------------------------------------------------------------------------------

struct PmEnable {
    std::size_t size;
    void* reserved;
    std::size_t device;
    PmObject object;  // out
};
struct PmOnly {  // of disable, start and stop
    std::size_t size;
    void* reserved;
    PmObject object;
};
struct PmSetConfig {
    std::size_t size;
    void* reserved;
    PmObject object;
    std::size_t config_bytes;
    const std::uint8_t* config;
    std::size_t hardware_buffer_bytes;
    std::uint64_t interval;
    int trigger;
    int append;  // from 12.8 on
};
struct PmDecode {
    std::size_t size;
    void* reserved;
    PmObject object;
    std::uint8_t* counter_data;
    std::size_t counter_data_bytes;
    int stop_reason;        // out
    std::uint8_t overflow;  // out
};
struct PmCounterDataSize {
    std::size_t size;
    void* reserved;
    PmObject object;
    const char** names;
    std::size_t count;
    std::uint32_t max_samples;
    std::size_t bytes;  // out
};
struct PmCounterDataInitialize {
    std::size_t size;
    void* reserved;
    PmObject object;
    std::size_t bytes;
    std::uint8_t* counter_data;
};
struct PmCounterDataInfo {
    std::size_t size;
    void* reserved;
    const std::uint8_t* counter_data;
    std::size_t bytes;
    std::size_t total;      // out
    std::size_t populated;  // out
    std::size_t completed;  // out
};
struct PmSampleInfo {
    std::size_t size;
    void* reserved;
    PmObject object;
    const std::uint8_t* counter_data;
    std::size_t bytes;
    std::size_t index;
    std::uint64_t begin;  // out
    std::uint64_t end;    // out
};

// ---- range profiler ---------------------------------------------------------------------------

struct RangeEnable {
    std::size_t size;
    void* reserved;
    void* context;
    RangeObject object;  // out
};
struct RangeOnly {  // of disable and start
    std::size_t size;
    void* reserved;
    RangeObject object;
};
struct RangeSetConfig {
    std::size_t size;
    void* reserved;
    RangeObject object;
    std::size_t config_bytes;
    const std::uint8_t* config;
    std::size_t counter_data_bytes;
    std::uint8_t* counter_data;
    int range;
    int replay;
    std::size_t max_ranges;
    std::uint16_t nesting_levels;
    std::uint16_t min_nesting_level;
    std::size_t pass;
    std::uint16_t target_nesting_level;
};
struct RangeStop {
    std::size_t size;
    void* reserved;
    RangeObject object;
    std::size_t pass;                  // out
    std::size_t target_nesting_level;  // out
    std::uint8_t all_submitted;        // out
};
struct RangeDecode {
    std::size_t size;
    void* reserved;
    RangeObject object;
    std::size_t dropped;  // out
};
struct RangeCounterDataSize {
    std::size_t size;
    void* reserved;
    RangeObject object;
    const char** names;
    std::size_t count;
    std::size_t max_ranges;
    std::uint32_t max_nodes;
    std::size_t bytes;  // out
};
struct RangeCounterDataInitialize {
    std::size_t size;
    void* reserved;
    RangeObject object;
    std::size_t bytes;
    std::uint8_t* counter_data;
};
struct RangeCounterDataInfo {
    std::size_t size;
    void* reserved;
    const std::uint8_t* counter_data;
    std::size_t bytes;
    std::size_t ranges;  // out
};

// ---- how much of each the library may read: up to the end of the last field --------------------

template <class Params>
inline constexpr std::size_t kSizeOf = sizeof(Params);
template <>
inline constexpr std::size_t kSizeOf<PmDecode> = offsetof(PmDecode, overflow) + 1;  // 45
template <>
inline constexpr std::size_t kSizeOf<RangeStop> = offsetof(RangeStop, all_submitted) + 1;  // 41
template <>
inline constexpr std::size_t kSizeOf<RangeSetConfig> =
    offsetof(RangeSetConfig, target_nesting_level) + sizeof(std::uint16_t);  // 90

constexpr std::size_t pm_set_config_size(std::uint32_t version) noexcept {
    return version >= kVersionAppends ? sizeof(PmSetConfig) : offsetof(PmSetConfig, append);
}
static_assert(pm_set_config_size(24) == 60 && pm_set_config_size(26) == 64);

// A struct of parameters, zero but for its size.
template <class Params>
Params params() noexcept {
    Params p{};
    p.size = kSizeOf<Params>;
    return p;
}

// ---- functions ----------------------------------------------------------------------------------

// A function may be null: libraries before 12.6 have none of them.
struct Api {
    int (*result_string)(int, const char**);
    int (*host_initialize)(HostInitialize*);
    int (*host_deinitialize)(HostDeinitialize*);
    int (*host_chips)(HostSupportedChips*);
    int (*host_base_metrics)(HostBaseMetrics*);
    int (*host_add_metrics)(HostAddMetrics*);
    int (*host_config_image_size)(HostConfigImageSize*);
    int (*host_config_image)(HostConfigImage*);
    int (*host_passes)(HostPasses*);
    int (*host_evaluate)(HostEvaluate*);

    int (*profiler_initialize)(ProfilerInitialize*);
    int (*chip_name)(DeviceChipName*);
    int (*availability)(CounterAvailability*);

    int (*pm_enable)(PmEnable*);
    int (*pm_disable)(PmOnly*);
    int (*pm_set_config)(PmSetConfig*);
    int (*pm_start)(PmOnly*);
    int (*pm_stop)(PmOnly*);
    int (*pm_decode)(PmDecode*);
    int (*pm_counter_data_size)(PmCounterDataSize*);
    int (*pm_counter_data_initialize)(PmCounterDataInitialize*);
    int (*pm_counter_data_info)(PmCounterDataInfo*);
    int (*pm_sample_info)(PmSampleInfo*);

    int (*range_enable)(RangeEnable*);
    int (*range_disable)(RangeOnly*);
    int (*range_set_config)(RangeSetConfig*);
    int (*range_start)(RangeOnly*);
    int (*range_stop)(RangeStop*);
    int (*range_decode)(RangeDecode*);
    int (*range_counter_data_size)(RangeCounterDataSize*);
    int (*range_counter_data_initialize)(RangeCounterDataInitialize*);
    int (*range_counter_data_info)(RangeCounterDataInfo*);

    // Fills the table. `find` gives the address of a symbol, or null.
    template <class Find>
    void bind(Find&& find) {
        const auto to = [&find]<class R, class... A>(R (*&f)(A...), const char* symbol) {
            f = reinterpret_cast<R (*)(A...)>(find(symbol));
        };
        to(result_string, "cuptiGetResultString");
        to(host_initialize, "cuptiProfilerHostInitialize");
        to(host_deinitialize, "cuptiProfilerHostDeinitialize");
        to(host_chips, "cuptiProfilerHostGetSupportedChips");
        to(host_base_metrics, "cuptiProfilerHostGetBaseMetrics");
        to(host_add_metrics, "cuptiProfilerHostConfigAddMetrics");
        to(host_config_image_size, "cuptiProfilerHostGetConfigImageSize");
        to(host_config_image, "cuptiProfilerHostGetConfigImage");
        to(host_passes, "cuptiProfilerHostGetNumOfPasses");
        to(host_evaluate, "cuptiProfilerHostEvaluateToGpuValues");
        to(profiler_initialize, "cuptiProfilerInitialize");
        to(chip_name, "cuptiDeviceGetChipName");
        to(availability, "cuptiProfilerGetCounterAvailability");
        to(pm_enable, "cuptiPmSamplingEnable");
        to(pm_disable, "cuptiPmSamplingDisable");
        to(pm_set_config, "cuptiPmSamplingSetConfig");
        to(pm_start, "cuptiPmSamplingStart");
        to(pm_stop, "cuptiPmSamplingStop");
        to(pm_decode, "cuptiPmSamplingDecodeData");
        to(pm_counter_data_size, "cuptiPmSamplingGetCounterDataSize");
        to(pm_counter_data_initialize, "cuptiPmSamplingCounterDataImageInitialize");
        to(pm_counter_data_info, "cuptiPmSamplingGetCounterDataInfo");
        to(pm_sample_info, "cuptiPmSamplingCounterDataGetSampleInfo");
        to(range_enable, "cuptiRangeProfilerEnable");
        to(range_disable, "cuptiRangeProfilerDisable");
        to(range_set_config, "cuptiRangeProfilerSetConfig");
        to(range_start, "cuptiRangeProfilerStart");
        to(range_stop, "cuptiRangeProfilerStop");
        to(range_decode, "cuptiRangeProfilerDecodeData");
        to(range_counter_data_size, "cuptiRangeProfilerGetCounterDataSize");
        to(range_counter_data_initialize, "cuptiRangeProfilerCounterDataImageInitialize");
        to(range_counter_data_info, "cuptiRangeProfilerGetCounterDataInfo");
    }

    [[nodiscard]] bool has_host() const noexcept {
        return host_initialize != nullptr && host_deinitialize != nullptr &&
               host_chips != nullptr && host_base_metrics != nullptr &&
               host_add_metrics != nullptr && host_config_image_size != nullptr &&
               host_config_image != nullptr && host_passes != nullptr && host_evaluate != nullptr;
    }
    [[nodiscard]] bool has_device() const noexcept {
        return profiler_initialize != nullptr && chip_name != nullptr;
    }
    [[nodiscard]] bool has_pm() const noexcept {
        return pm_enable != nullptr && pm_disable != nullptr && pm_set_config != nullptr &&
               pm_start != nullptr && pm_stop != nullptr && pm_decode != nullptr &&
               pm_counter_data_size != nullptr && pm_counter_data_initialize != nullptr &&
               pm_counter_data_info != nullptr && pm_sample_info != nullptr;
    }
    [[nodiscard]] bool has_ranges() const noexcept {
        return range_enable != nullptr && range_disable != nullptr && range_set_config != nullptr &&
               range_start != nullptr && range_stop != nullptr && range_decode != nullptr &&
               range_counter_data_size != nullptr && range_counter_data_initialize != nullptr &&
               range_counter_data_info != nullptr;
    }
};

}  // namespace picojoule::counters
