// Which counters are read on which chip. Pure data, and what follows from it by arithmetic.
// The tables of PM sampling are in metric_sets.cpp, those of the range profiler in range_plans.cpp.
//
// What the host half of CUPTI 13.0 says of these sets (metric names, passes) is a test that needs
// no GPU: tests/unit/test_metric_sets.py.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace picojoule::counters {

constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

// ---- PM sampling: what the whole device does, every so many microseconds -----------------------

struct PmMetric {
    const char* name;      // as CUPTI spells it on that chip
    const char* quantity;  // the same on all chips: "tensor_cycles", "dram_read_bytes" ...
    bool additive;         // a sum over the sample, which may be split; or else a level in it
};

struct PmSet {
    const char* name;  // "GH100-A"
    std::vector<PmMetric> metrics;
    bool by_sysclk;     // the sampling period can only be told in cycles of the system clock
    bool may_be_ring;   // the hardware buffer may overwrite its oldest records
    const char* words;  // what it is for, and what it leaves out

    [[nodiscard]] std::vector<const char*> names() const;
};

// A metric's name without its roll-up: "dram__bytes_read" of "dram__bytes_read.sum".
std::string_view base_name(std::string_view metric);

// Takes out what a library does not have, by the base names of what it has (older ones have fewer:
// no bytes of DRAM before 12.9). Gives the quantities that went.
std::vector<std::string> keep_available(PmSet& set, std::span<const std::string> base_names);

// The sets of a chip, the default one first; empty: none was checked for it.
std::vector<PmSet> pm_sets(std::string_view chip);

// ---- range profiler: what one kernel did --------------------------------------------------------

enum class Role : std::uint8_t {
    flop,          // times `weight`, of type `type`
    integer_op,    // likewise; operations that are no FLOPs
    tensor_warps,  // warp instructions of the tensor pipe
    tensor_moves,  // those of them that only move constants (HFMA2.MMA)
    read_bytes,
    write_bytes,
    cycles,
    time_ns,
};

struct RangeMetric {
    const char* name;
    Role role;
    const char* type;  // "fp32", "tensor-bf16" ...; empty where the role says it all
    // Operations for each count. Where sources disagree, the interval has all of them.
    double weight;
    double weight_low;
    double weight_high;
};

// How much tensor work a plan tells apart.
enum class PlanKind : std::uint8_t {
    quick,    // the usual types, 2 passes; other tensor work would not be seen
    checked,  // and whether there was any tensor work, 3 passes
    all,      // each type, up to 11 passes
};

struct RangePlan {
    PlanKind kind{};
    std::vector<RangeMetric> metrics;
    std::vector<const char*> uncounted;  // tensor types that it does not count, or not wholly

    [[nodiscard]] std::vector<const char*> names() const;
};

// Empty: none was checked for this chip.
RangePlan range_plan(std::string_view chip, PlanKind kind);

// ---- what one kernel did, of the plan's values
// ----------------------------------------------------

struct Amount {
    std::string type;
    double value;
    double low;
    double high;
};

struct Counts {
    std::vector<Amount> flops;        // by type
    std::vector<Amount> integer_ops;  // by type
    double flops_total{kUnknown};     // NaN: there was, or may have been, work that is not counted
    double read_bytes{kUnknown};
    double write_bytes{kUnknown};
    double cycles{kUnknown};
    double time_ns{kUnknown};
    std::vector<std::string> uncounted;  // types of which there was, or may have been, more
};

// `values` are those of the plan's metrics, in order.
Counts counts_of(const RangePlan& plan, std::span<const double> values);

// The chip whose sets are used for that one ("AD102" for "AD104"); empty: none.
std::string_view known_chip(std::string_view chip);

// All chips whose sets differ.
std::span<const std::string_view> all_known_chips();

}  // namespace picojoule::counters
