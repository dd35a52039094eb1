// What NVTX 3 and a tool say to each other: own declarations, which tests/unit/test_nvtx.py holds
// against NVIDIA's headers where those are installed.
//
// NVTX is header-only. Each library that uses it has an instance of its own; at its first call the
// instance loads the library that NVTX_INJECTION64_PATH names and calls InitializeInjectionNvtx2 in
// it, which puts its functions into the instance's tables.
#pragma once

#include <cstddef>
#include <cstdint>

namespace picojoule::nvtx {

using RangeId = std::uint64_t;
using Function = void (*)();

enum ExportTable : std::uint32_t { kCallbacks = 1, kVersionInfo = 3 };

enum Module : std::uint32_t { kCore = 1, kCore2 = 5 };

enum CoreFunction : unsigned {
    kRangeStartEx = 4,
    kRangeStartA = 5,
    kRangeStartW = 6,
    kRangeEnd = 7,
    kRangePushEx = 8,
    kRangePushA = 9,
    kRangePushW = 10,
    kRangePop = 11,
};

enum Core2Function : unsigned {
    kDomainRangeStartEx = 2,
    kDomainRangeEnd = 3,
    kDomainRangePushEx = 4,
    kDomainRangePop = 5,
    kDomainRegisterStringA = 10,
    kDomainRegisterStringW = 11,
    kDomainCreateA = 12,
    kDomainCreateW = 13,
};

enum MessageType : std::int32_t { kAscii = 1, kUnicode = 2, kRegistered = 3 };

struct EventAttributes {
    std::uint16_t version;
    std::uint16_t size;
    std::uint32_t category;
    std::int32_t color_type;
    std::uint32_t color;
    std::int32_t payload_type;
    std::int32_t reserved0;
    std::uint64_t payload;
    std::int32_t message_type;
    const void* message;  // char*, wchar_t* or what RegisterString gave, by message_type
};

struct CallbacksTable {
    std::size_t struct_size;
    // A table of pointers to function pointers; entries 1 to size - 1 are functions.
    int (*get_module_function_table)(std::uint32_t module, Function*** table, unsigned* size);
};

struct VersionInfoTable {
    std::size_t struct_size;
    std::uint32_t version;
    std::uint32_t reserved0;
    void (*set_injection_version)(std::uint32_t version);
};

using GetExportTable = const void* (*)(std::uint32_t table);

}  // namespace picojoule::nvtx
