// The part of NVML that is used here, declared anew: no vendor header is needed to build. Numbers
// and layouts are those of NVML 11.8 to 13.5, among which they do not differ.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/shared_library.h"

namespace picojoule::nvml {

enum Return : int {
    kSuccess = 0,
    kUninitialized = 1,
    kInvalidArgument = 2,
    kNotSupported = 3,
    kNoPermission = 4,
    kDriverNotLoaded = 9,
    kLibraryNotFound = 12,
    kFunctionNotFound = 13,
    kGpuIsLost = 15,
    kVersionMismatch = 18,
    kUnknown = 999,
};

enum FieldId : unsigned {
    kThrottledPowerCapNs = 74,  // an older name of it: PERF_POLICY_POWER
    kMemoryTemperature = 82,    // of boards with HBM, degrees Celsius
    kEnergyMj = 83,
    kPowerAverage = 185,
    kPowerInstant = 186,
    // Numbers of NVML 13.0. In the header of 12.9 (driver 575) they are settings of power
    // smoothing, and in those before it nothing.
    kThrottledSwThermalNs = 269,
    kThrottledHwThermalNs = 270,
    kThrottledPowerBrakeNs = 271,
};
constexpr int kThrottleIdsSince = 580;  // major version of the driver

enum ClockType : int {
    kClockSm = 1,
    kClockMemory = 2,
};

enum TemperatureSensor : int {
    kTemperatureGpu = 0,
};

enum Scope : unsigned {
    kScopeGpu = 0,
    kScopeModule = 1,
    kScopeMemory = 2,
};

enum Architecture : unsigned {
    kPascal = 4,
    kVolta = 5,
    kTuring = 6,
    kAmpere = 7,
    kAda = 8,
    kHopper = 9,
};

struct DeviceOpaque;
using Device = DeviceOpaque*;

struct FieldValue {
    unsigned field{};
    unsigned scope{};
    long long timestamp_us{};
    long long latency_us{};
    int type{};
    int status{};
    union {
        double d;
        int si;
        unsigned ui;
        unsigned short us;
        unsigned long ul;
        long long sll;
        unsigned long long ull;
    } value{};

    // As a whole number; what NVML gives here never is negative.
    [[nodiscard]] std::uint64_t whole() const noexcept {
        switch (type) {
            case 0:
                return value.d > 0 ? static_cast<std::uint64_t>(value.d) : 0;
            case 1:
                return value.ui;
            case 2:
                return value.ul;
            case 4:
                return value.sll > 0 ? static_cast<std::uint64_t>(value.sll) : 0;
            case 5:
                return value.si > 0 ? static_cast<std::uint64_t>(value.si) : 0;
            case 6:
                return value.us;
            default:
                return value.ull;
        }
    }
};
static_assert(sizeof(FieldValue) == 40);
static_assert(offsetof(FieldValue, field) == 0);
static_assert(offsetof(FieldValue, scope) == 4);
static_assert(offsetof(FieldValue, timestamp_us) == 8);
static_assert(offsetof(FieldValue, latency_us) == 16);
static_assert(offsetof(FieldValue, type) == 24);
static_assert(offsetof(FieldValue, status) == 28);
static_assert(offsetof(FieldValue, value) == 32);

struct PciInfo {
    char bus_id_legacy[16];
    unsigned domain;
    unsigned bus;
    unsigned device;
    unsigned device_and_vendor;
    unsigned subsystem;
    char bus_id[32];
};
static_assert(sizeof(PciInfo) == 68);

// GPM: hardware counters of Hopper and newer, as means between two samples.
struct GpmSampleOpaque;
using GpmSample = GpmSampleOpaque*;

struct GpmSupport {
    unsigned version{1};
    unsigned supported{};
};
static_assert(sizeof(GpmSupport) == 8);

struct GpmMetric {
    unsigned id;
    int status;
    double value;
    const char* names[3];
};
static_assert(sizeof(GpmMetric) == 40);
static_assert(offsetof(GpmMetric, value) == 8);

// The array's length is no part of the call: it was 98 in NVML 11.8, 210 in 12.9 and 13.0 and 477
// in 13.5, always as version 1. `count` entries are filled in; there is room for more than are
// asked.
struct GpmRequest {
    unsigned version{1};
    unsigned count{};
    GpmSample earlier{};
    GpmSample later{};
    GpmMetric metrics[210]{};
};
static_assert(sizeof(GpmRequest) == 24 + 210 * 40);
static_assert(offsetof(GpmRequest, metrics) == 24);

// A function may be null: older drivers have fewer.
struct Api {
    int (*init)();
    const char* (*error_string)(int);
    int (*driver_version)(char*, unsigned);
    int (*count)(unsigned*);
    int (*by_index)(unsigned, Device*);
    int (*by_uuid)(const char*, Device*);
    int (*uuid)(Device, char*, unsigned);
    int (*name)(Device, char*, unsigned);
    int (*pci_info)(Device, PciInfo*);
    int (*architecture)(Device, unsigned*);
    int (*field_values)(Device, int, FieldValue*);
    int (*total_energy)(Device, unsigned long long*);
    int (*power_usage)(Device, unsigned*);
    int (*mig_mode)(Device, unsigned*, unsigned*);
    int (*board_of_slice)(Device, Device*);
    int (*clock_info)(Device, int, unsigned*);
    int (*temperature)(Device, int, unsigned*);
    int (*clock_event_reasons)(Device, unsigned long long*);
    int (*gpm_support)(Device, GpmSupport*);
    int (*gpm_alloc)(GpmSample*);
    int (*gpm_free)(GpmSample);
    int (*gpm_sample)(Device, GpmSample);
    int (*gpm_metrics)(GpmRequest*);

    explicit Api(const SharedLibrary& library) noexcept {
        const auto bind = [&library]<class R, class... A>(R (*&f)(A...), const char* symbol) {
            f = library.symbol<R(A...)>(symbol);
        };
        bind(init, "nvmlInit_v2");
        bind(error_string, "nvmlErrorString");
        bind(driver_version, "nvmlSystemGetDriverVersion");
        bind(count, "nvmlDeviceGetCount_v2");
        bind(by_index, "nvmlDeviceGetHandleByIndex_v2");
        bind(by_uuid, "nvmlDeviceGetHandleByUUID");
        bind(uuid, "nvmlDeviceGetUUID");
        bind(name, "nvmlDeviceGetName");
        bind(pci_info, "nvmlDeviceGetPciInfo_v3");
        bind(architecture, "nvmlDeviceGetArchitecture");
        bind(field_values, "nvmlDeviceGetFieldValues");
        bind(total_energy, "nvmlDeviceGetTotalEnergyConsumption");
        bind(power_usage, "nvmlDeviceGetPowerUsage");
        bind(mig_mode, "nvmlDeviceGetMigMode");
        bind(board_of_slice, "nvmlDeviceGetDeviceHandleFromMigDeviceHandle");
        bind(clock_info, "nvmlDeviceGetClockInfo");
        bind(temperature, "nvmlDeviceGetTemperature");
        bind(clock_event_reasons, "nvmlDeviceGetCurrentClocksEventReasons");
        if (clock_event_reasons == nullptr) {  // its name before driver 530
            bind(clock_event_reasons, "nvmlDeviceGetCurrentClocksThrottleReasons");
        }
        bind(gpm_support, "nvmlGpmQueryDeviceSupport");
        bind(gpm_alloc, "nvmlGpmSampleAlloc");
        bind(gpm_free, "nvmlGpmSampleFree");
        bind(gpm_sample, "nvmlGpmSampleGet");
        bind(gpm_metrics, "nvmlGpmMetricsGet");
    }

    [[nodiscard]] bool has_gpm() const noexcept {
        return gpm_support != nullptr && gpm_alloc != nullptr && gpm_free != nullptr &&
               gpm_sample != nullptr && gpm_metrics != nullptr;
    }

    // Without these there is nothing to do.
    [[nodiscard]] bool complete() const noexcept {
        return init != nullptr && count != nullptr && by_index != nullptr && uuid != nullptr;
    }
};

}  // namespace picojoule::nvml
