#include "counters/metric_sets.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

namespace picojoule::counters {
namespace {

constexpr std::array<std::string_view, 7> kChips = {"GH100", "GA100", "GA102", "AD102",
                                                    "TU102", "GB100", "GB202"};

// A chip is measured like another one only where the host half of CUPTI took the same names for
// both, in as many passes.
constexpr std::pair<std::string_view, std::string_view> kLike[] = {
    {"TU104", "TU102"}, {"TU106", "TU102"}, {"GA103", "GA102"}, {"GA104", "GA102"},
    {"GA106", "GA102"}, {"GA107", "GA102"}, {"AD103", "AD102"}, {"AD104", "AD102"},
    {"AD106", "AD102"}, {"AD107", "AD102"}, {"GB102", "GB100"}, {"GB203", "GB202"},
    {"GB205", "GB202"}, {"GB206", "GB202"}, {"GB207", "GB202"},
};

// ---- PM sampling
// ----------------------------------------------------------------------------------

// "Triage" names are groups that the hardware is wired to deliver together.
#define TPC "TPC.TriageCompute."
#define SMC "SM_C.TriageCompute."
#define PCI "PCI.TriageCompute."

constexpr PmMetric kClocks[] = {
    {"gpc__cycles_elapsed.max", "gpc_cycles", true},
    {"gpc__cycles_elapsed.avg.per_second", "gpc_hz", false},
    {"sys__cycles_elapsed.max", "sys_cycles", true},
    {"gr__cycles_active.avg", "graphics_cycles", true},
    {"lts__t_sectors.sum", "l2_sectors", true},
};
constexpr PmMetric kDramClock[] = {{"dram__cycles_elapsed.avg.per_second", "dram_hz", false}};
constexpr PmMetric kDram[] = {
    {"dram__bytes_read.sum", "dram_read_bytes", true},
    {"dram__bytes_write.sum", "dram_write_bytes", true},
};
constexpr PmMetric kDramOp[] = {
    {"dram__bytes_op_read.sum", "dram_read_bytes", true},
    {"dram__bytes_op_write.sum", "dram_write_bytes", true},
};
constexpr PmMetric kDramShare[] = {
    {"dram__throughput.avg.pct_of_peak_sustained_elapsed", "dram_percent", false}};
constexpr PmMetric kPcie[] = {
    {"pcie__read_bytes.sum", "pcie_read_bytes", true},
    {"pcie__write_bytes.sum", "pcie_write_bytes", true},
};
constexpr PmMetric kPcieTriage[] = {
    {PCI "pcie__read_bytes.sum", "pcie_read_bytes", true},
    {PCI "pcie__write_bytes.sum", "pcie_write_bytes", true},
};
constexpr PmMetric kNvlink[] = {
    {"nvlrx__bytes.sum", "nvlink_received_bytes", true},
    {"nvltx__bytes.sum", "nvlink_sent_bytes", true},
};

constexpr PmMetric kGh100[] = {
    {TPC "sm__cycles_active.sum", "sm_cycles", true},
    {TPC "sm__inst_executed_realtime.sum", "warps", true},
    {TPC "sm__pipe_tensor_cycles_active_realtime.sum", "tensor_cycles", true},
    {TPC "sm__pipe_tensor_op_hmma_cycles_active_realtime.sum", "hmma_cycles", true},
    {TPC "sm__pipe_tensor_op_imma_cycles_active_realtime.sum", "imma_cycles", true},
    {TPC "sm__pipe_fp64_cycles_active_realtime.sum", "fp64_cycles", true},
    {TPC "sm__inst_executed_pipe_fma_realtime.sum", "fma_warps", true},
    {TPC "sm__inst_executed_pipe_fmaheavy_realtime.sum", "fmaheavy_warps", true},
    {TPC "sm__inst_executed_pipe_fmalite_realtime.sum", "fmalite_warps", true},
    {TPC "sm__inst_executed_pipe_alu_realtime.sum", "alu_warps", true},
};
constexpr PmMetric kGh100A[] = {
    {SMC "smsp__pipe_tensor_op_dmma_cycles_active.sum", "dmma_cycles", true}};
constexpr PmMetric kGh100B[] = {
    {"sm__inst_executed_pipe_fma_type_fp16.sum", "fma_fp16_warps", true},
    {"SM_A.TriageCompute.sm__thread_inst_executed_pred_on_realtime.sum", "threads", true},
};
constexpr PmMetric kGa100[] = {
    {"sm__cycles_active.sum", "sm_cycles", true},
    {"sm__inst_executed_realtime.sum", "warps", true},
    {"sm__pipe_tensor_cycles_active_realtime.sum", "tensor_cycles", true},
    {"sm__pipe_shared_cycles_active_realtime.sum", "shared_pipe_cycles", true},
    {"sm__inst_executed_pipe_fma_realtime.sum", "fma_warps", true},
    {"sm__inst_executed_pipe_alu_realtime.sum", "alu_warps", true},
    {"sm__pipe_fp64_cycles_active.sum", "fp64_cycles", true},
};
constexpr PmMetric kAd102[] = {
    {"sm__cycles_active.sum", "sm_cycles", true},
    {"sm__inst_executed_realtime.sum", "warps", true},
    {"sm__pipe_tensor_cycles_active_realtime.sum", "tensor_cycles", true},
    {"sm__inst_executed_pipe_fmaheavy_realtime.sum", "fmaheavy_warps", true},
    {"sm__inst_executed_pipe_fmalite_realtime.sum", "fmalite_warps", true},
    {"sm__inst_executed_pipe_alu_realtime.sum", "alu_warps", true},
    {"sm__inst_executed_pipe_fp64.sum", "fp64_warps", true},
};
constexpr PmMetric kTu102[] = {
    {"sm__cycles_active.sum", "sm_cycles", true},
    {"sm__inst_executed_realtime.sum", "warps", true},
    {"sm__pipe_shared_cycles_active_realtime.sum", "shared_pipe_cycles", true},
    {"sm__inst_executed_pipe_fma_realtime.sum", "fma_warps", true},
    {"sm__inst_executed_pipe_alu_realtime.sum", "alu_warps", true},
    {"sm__inst_executed_pipe_fp64.sum", "fp64_warps", true},
};
constexpr PmMetric kGb100[] = {
    {TPC "sm__cycles_active.sum", "sm_cycles", true},
    {TPC "sm__inst_executed_realtime.sum", "warps", true},
    {TPC "sm__pipe_tensor_cycles_active_realtime.sum", "tensor_cycles", true},
    {TPC "sm__pipe_tensor_subpipe_hmma_cycles_active_realtime.sum", "hmma_cycles", true},
    {TPC "sm__pipe_tensor_subpipe_imma_cycles_active_realtime.sum", "imma_cycles", true},
    {TPC "sm__pipe_fp64_cycles_active_realtime.sum", "fp64_cycles", true},
    {TPC "sm__pipe_fma_cycles_active_realtime.sum", "fma_cycles", true},
    {TPC "sm__pipe_fmaheavy_cycles_active_realtime.sum", "fmaheavy_cycles", true},
    {TPC "sm__pipe_fmalite_cycles_active_realtime.sum", "fmalite_cycles", true},
    {TPC "sm__inst_executed_pipe_fmalite_realtime.sum", "fmalite_warps", true},
    {TPC "sm__inst_executed_pipe_alu_realtime.sum", "alu_warps", true},
    {SMC "smsp__pipe_tensor_subpipe_dmma_cycles_active.sum", "dmma_cycles", true},
};
constexpr PmMetric kGb202[] = {
    {"sm__cycles_active.sum", "sm_cycles", true},
    {"sm__inst_executed_realtime.sum", "warps", true},
    {"sm__pipe_tensor_cycles_active_realtime.sum", "tensor_cycles", true},
    {"sm__pipe_tensor_subpipe_hmma_cycles_active_realtime.sum", "hmma_cycles", true},
    {"sm__pipe_tensor_subpipe_imma_cycles_active_realtime.sum", "imma_cycles", true},
};
constexpr PmMetric kGb202A[] = {{"sm__inst_executed_pipe_fp64.sum", "fp64_warps", true}};
constexpr PmMetric kGb202B[] = {
    {"sm__pipe_fmaheavy_cycles_active_realtime.sum", "fmaheavy_cycles", true},
    {"sm__pipe_fmalite_cycles_active_realtime.sum", "fmalite_cycles", true},
};

#undef TPC
#undef SMC
#undef PCI

using Part = std::span<const PmMetric>;

PmSet pm_set(const char* name, std::initializer_list<Part> parts, const char* words,
             bool by_sysclk = false, bool may_be_ring = true) {
    PmSet set{name, {}, by_sysclk, may_be_ring, words};
    for (const Part part : parts) {
        for (const PmMetric& metric : part) set.metrics.push_back(metric);
    }
    return set;
}

// ---- range profiler
// -------------------------------------------------------------------------------

#define SASS(op) "smsp__sass_thread_inst_executed_op_" op "_pred_on.sum"
#define TENSOR(what) "sm__ops_path_tensor_" what ".sum"

constexpr RangeMetric sass(const char* name, const char* type, double weight, double low) {
    return {name, Role::flop, type, weight, low, weight};
}

// Thread instructions, so that predicated threads do not count. An FMA is two operations. The half
// precision ones are packed pairs (HADD2 ...), so ncu's recent sections double them, while CUPTI's
// older table does not: both are in the interval.
constexpr RangeMetric kSass[] = {
    sass(SASS("fadd"), "fp32", 1, 1), sass(SASS("fmul"), "fp32", 1, 1),
    sass(SASS("ffma"), "fp32", 2, 2), sass(SASS("dadd"), "fp64", 1, 1),
    sass(SASS("dmul"), "fp64", 1, 1), sass(SASS("dfma"), "fp64", 2, 2),
    sass(SASS("hadd"), "fp16", 2, 1), sass(SASS("hmul"), "fp16", 2, 1),
    sass(SASS("hfma"), "fp16", 4, 2),
};
// Two single precision operations in one instruction.
constexpr RangeMetric kSassPacked[] = {
    sass(SASS("fadd2"), "fp32", 2, 2),
    sass(SASS("fmul2"), "fp32", 2, 2),
    sass(SASS("ffma2"), "fp32", 4, 4),
};
constexpr RangeMetric kCheck[] = {
    {"sm__inst_executed_pipe_tensor.sum", Role::tensor_warps, "", 1, 1, 1}};
// Of GA100 and GH100: constants are moved through the tensor pipe.
constexpr RangeMetric kCheckMoves[] = {
    {"sm__inst_executed_pipe_tensor_op_hmma_type_hfma2.sum", Role::tensor_moves, "", 1, 1, 1}};

constexpr RangeMetric plain(const char* name, Role role) {
    return {name, role, "", 1, 1, 1};
}
constexpr RangeMetric kCost[] = {
    plain("gpc__cycles_elapsed.max", Role::cycles),
    plain("gpu__time_duration.sum", Role::time_ns),
};
constexpr RangeMetric kRangeDram[] = {
    plain("dram__bytes_read.sum", Role::read_bytes),
    plain("dram__bytes_write.sum", Role::write_bytes),
};
constexpr RangeMetric kRangeDramOp[] = {
    plain("dram__bytes_op_read.sum", Role::read_bytes),
    plain("dram__bytes_op_write.sum", Role::write_bytes),
};

// Operations of the tensor path: "math_op" has multiply and add apart, so these are FLOPs already.
struct Tensor {
    const char* name;
    const char* type;
    bool quick;       // in the two-pass plan
    bool all = true;  // in the plan of all types
};
constexpr Tensor kTensorGh100[] = {
    {TENSOR("src_bf16_dst_fp32"), "tensor-bf16", true},
    {TENSOR("src_fp8"), "tensor-fp8", true},
    {TENSOR("op_hgmma_src_fp16"), "tensor-fp16", true, false},  // of wgmma only
    {TENSOR("src_fp16"), "tensor-fp16", false},                 // a pass of its own
    {TENSOR("src_tf32_dst_fp32"), "tensor-tf32", false},
    {TENSOR("src_fp64"), "tensor-fp64", false},
    {TENSOR("src_int8"), "tensor-int8", false},
    {TENSOR("src_int1"), "tensor-int1", false},
};
constexpr Tensor kTensorGa100[] = {
    {TENSOR("src_bf16_dst_fp32"), "tensor-bf16", true},
    {TENSOR("src_fp16_dst_fp32"), "tensor-fp16", false},
    {TENSOR("src_fp16_dst_fp16"), "tensor-fp16", false},
    {TENSOR("src_tf32_dst_fp32"), "tensor-tf32", false},
    {TENSOR("src_fp64"), "tensor-fp64", false},
    {TENSOR("src_int8"), "tensor-int8", false},
    {TENSOR("src_int4"), "tensor-int4", false},
    {TENSOR("src_int1"), "tensor-int1", false},
};
constexpr Tensor kTensorAd102[] = {
    {TENSOR("src_bf16_dst_fp32"), "tensor-bf16", true},
    {TENSOR("src_fp16_dst_fp32"), "tensor-fp16", false},
    {TENSOR("src_fp16_dst_fp16"), "tensor-fp16", false},
    {TENSOR("src_tf32_dst_fp32"), "tensor-tf32", false},
    {TENSOR("src_fp8"), "tensor-fp8", false},
    {TENSOR("src_fp64"), "tensor-fp64", false},
    {TENSOR("src_int8"), "tensor-int8", false},
    {TENSOR("src_int4"), "tensor-int4", false},
    {TENSOR("src_int1"), "tensor-int1", false},
};
constexpr Tensor kTensorTu102[] = {
    {TENSOR("src_fp16_bf16_tf32_dst_fp32"), "tensor-fp16", true},  // Turing has only fp16 of these
    {TENSOR("src_fp16_dst_fp16"), "tensor-fp16", true},
    {TENSOR("src_int8"), "tensor-int8", true},
    {TENSOR("src_int4"), "tensor-int4", false},
    {TENSOR("src_int1"), "tensor-int1", false},
};
constexpr Tensor kTensorGb100[] = {
    {TENSOR("src_bf16_dst_fp32"), "tensor-bf16", true},
    {TENSOR("src_fp16_dst_fp32"), "tensor-fp16", false},
    {TENSOR("src_fp16_dst_fp16"), "tensor-fp16", false},
    {TENSOR("src_tf32_dst_fp32"), "tensor-tf32", false},
    {TENSOR("src_fp4_fp6_fp8_dst_fp32"), "tensor-fp8-fp6-fp4", false},
    {TENSOR("src_fp4_fp6_fp8_dst_fp16"), "tensor-fp8-fp6-fp4", false},
    {TENSOR("src_fp4_dst_fp32"), "tensor-fp4", false},
    {TENSOR("src_fp64"), "tensor-fp64", false},
    {TENSOR("src_int8"), "tensor-int8", false},
};
constexpr Tensor kTensorGb202[] = {
    {TENSOR("src_bf16_dst_fp32"), "tensor-bf16", true},
    {TENSOR("src_fp16_dst_fp32"), "tensor-fp16", false},
    {TENSOR("src_fp16_dst_fp16"), "tensor-fp16", false},
    {TENSOR("src_tf32_dst_fp32"), "tensor-tf32", false},
    {TENSOR("src_fp8_dst_fp32"), "tensor-fp8", false},
    {TENSOR("src_fp8_dst_fp16"), "tensor-fp8", false},
    {TENSOR("src_fp4_fp6_dst_fp32"), "tensor-fp6-fp4", false},
    {TENSOR("src_fp4_fp6_dst_fp16"), "tensor-fp6-fp4", false},
    {TENSOR("src_fp4_dst_fp32"), "tensor-fp4", false},
    {TENSOR("src_fp64"), "tensor-fp64", false},
    {TENSOR("src_int8"), "tensor-int8", false},
};

#undef SASS
#undef TENSOR

std::span<const Tensor> tensor_of(std::string_view chip) {
    if (chip == "GH100") return kTensorGh100;
    if (chip == "GA100") return kTensorGa100;
    if (chip == "AD102") return kTensorAd102;
    if (chip == "TU102") return kTensorTu102;
    if (chip == "GB100") return kTensorGb100;
    if (chip == "GB202") return kTensorGb202;
    static constexpr auto kGa102 = [] {  // as GA100, and no other types
        std::array<Tensor, std::size(kTensorGa100)> same{};
        std::copy(std::begin(kTensorGa100), std::end(kTensorGa100), same.begin());
        return same;
    }();
    return kGa102;
}

bool is_integer(const char* type) {
    return std::string_view(type).starts_with("tensor-int");
}

template <class Metrics>
std::vector<const char*> names_of(const Metrics& metrics) {
    std::vector<const char*> all;
    all.reserve(metrics.size());
    for (const auto& metric : metrics) all.push_back(metric.name);
    return all;
}

void add(std::vector<Amount>& amounts, const RangeMetric& metric, double count) {
    auto at = std::find_if(amounts.begin(), amounts.end(),
                           [&](const Amount& a) { return a.type == metric.type; });
    if (at == amounts.end()) at = amounts.insert(at, Amount{metric.type, 0, 0, 0});
    at->value += metric.weight * count;
    at->low += metric.weight_low * count;
    at->high += metric.weight_high * count;
}

}  // namespace

std::vector<const char*> PmSet::names() const {
    return names_of(metrics);
}

std::vector<const char*> RangePlan::names() const {
    return names_of(metrics);
}

std::string_view known_chip(std::string_view chip) {
    for (const std::string_view known : kChips) {
        if (known == chip) return known;
    }
    for (const auto& [other, like] : kLike) {
        if (other == chip) return like;
    }
    return {};
}

std::span<const std::string_view> all_known_chips() {
    return kChips;
}

std::vector<PmSet> pm_sets(std::string_view chip) {
    const std::string_view known = known_chip(chip);
    std::vector<PmSet> sets;
    if (known == "GH100") {
        // FP16 on the CUDA cores and FP64 on the tensor cores exclude each other in one pass.
        sets.push_back(
            pm_set("GH100-B",
                   {kGh100, kGh100B, kDram, kDramShare, kClocks, kDramClock, kPcieTriage, kNvlink},
                   "for machine learning: FP16 on the CUDA cores, no FP64 tensor"));
        sets.push_back(
            pm_set("GH100-A",
                   {kGh100, kGh100A, kDram, kDramShare, kClocks, kDramClock, kPcieTriage, kNvlink},
                   "for FP64: its tensor work, no FP16 on the CUDA cores"));
    } else if (known == "GA100") {
        sets.push_back(pm_set("GA100",
                              {kGa100, kDram, kDramShare, kClocks, kDramClock, kPcie, kNvlink},
                              "tensor work of all types in one", true));
    } else if (known == "AD102" || known == "GA102") {
        sets.push_back(pm_set(known == "AD102" ? "AD102" : "GA102",
                              {kAd102, kDram, kClocks, kDramClock, kPcie},
                              "tensor work of all types in one; no FP16 on the CUDA cores"));
    } else if (known == "TU102") {
        sets.push_back(pm_set("TU102", {kTu102, kDram, kClocks, kPcie},
                              "tensor work only together with other users of the shared pipe", true,
                              false));
    } else if (known == "GB100") {
        sets.push_back(
            pm_set("GB100", {kGb100, kDram, kDramShare, kClocks, kDramClock, kPcieTriage, kNvlink},
                   "tensor work by kind, FP32 as cycles"));
    } else if (known == "GB202") {
        sets.push_back(pm_set("GB202-B", {kGb202, kGb202B, kDramOp, kClocks, kDramClock, kPcie},
                              "FP32 as cycles, no FP64"));
        sets.push_back(pm_set("GB202-A", {kGb202, kGb202A, kDramOp, kClocks, kDramClock, kPcie},
                              "FP64, no FP32"));
    }
    return sets;
}

std::string_view base_name(std::string_view metric) {
    const auto scope = metric.find("__");  // before it, dots belong to groups ("TPC.Triage...")
    return metric.substr(0, metric.find('.', scope == std::string_view::npos ? 0 : scope));
}

std::vector<std::string> keep_available(PmSet& set, std::span<const std::string> base_names) {
    std::vector<std::string> missing;
    std::erase_if(set.metrics, [&](const PmMetric& metric) {
        const bool there = std::find(base_names.begin(), base_names.end(),
                                     base_name(metric.name)) != base_names.end();
        if (!there) missing.emplace_back(metric.quantity);
        return !there;
    });
    return missing;
}

RangePlan range_plan(std::string_view chip, PlanKind kind) {
    RangePlan plan{kind, {}, {}};
    const std::string_view known = known_chip(chip);
    if (known.empty()) return plan;
    const auto take = [&plan](std::span<const RangeMetric> part) {
        for (const RangeMetric& metric : part) plan.metrics.push_back(metric);
    };
    take(kSass);
    if (known == "GB100") take(kSassPacked);
    for (const Tensor& tensor : tensor_of(known)) {
        if (kind == PlanKind::all ? tensor.all : tensor.quick) {
            const Role role = is_integer(tensor.type) ? Role::integer_op : Role::flop;
            plan.metrics.push_back({tensor.name, role, tensor.type, 1, 1, 1});
        } else if (kind != PlanKind::all &&
                   std::none_of(plan.uncounted.begin(), plan.uncounted.end(),
                                [&](const char* t) { return std::strcmp(t, tensor.type) == 0; })) {
            plan.uncounted.push_back(tensor.type);
        }
    }
    if (kind == PlanKind::checked) {
        take(kCheck);
        if (known == "GH100" || known == "GA100") take(kCheckMoves);
    }
    take(known == "GB202" ? std::span<const RangeMetric>(kRangeDramOp) : kRangeDram);
    take(kCost);
    return plan;
}

Counts counts_of(const RangePlan& plan, std::span<const double> values) {
    Counts counts;
    double tensor_warps = kUnknown;
    double moves = 0;
    double tensor_ops = 0;
    for (std::size_t i = 0; i < plan.metrics.size() && i < values.size(); ++i) {
        const RangeMetric& metric = plan.metrics[i];
        const double value = values[i];
        const bool tensor = std::string_view(metric.type).starts_with("tensor");
        switch (metric.role) {
            case Role::flop:
                add(counts.flops, metric, value);
                if (tensor) tensor_ops += value;
                break;
            case Role::integer_op:
                add(counts.integer_ops, metric, value);
                tensor_ops += value;
                break;
            case Role::tensor_warps:
                tensor_warps = value;
                break;
            case Role::tensor_moves:
                moves = value;
                break;
            case Role::read_bytes:
                counts.read_bytes = value;
                break;
            case Role::write_bytes:
                counts.write_bytes = value;
                break;
            case Role::cycles:
                counts.cycles = value;
                break;
            case Role::time_ns:
                counts.time_ns = value;
                break;
        }
    }
    // A kernel does its tensor work in one type: with some of a counted type, the pipe's
    // instructions are explained; with none of it and the pipe in use, they are not.
    const bool explained = plan.uncounted.empty() || tensor_ops > 0 || tensor_warps - moves <= 0;
    const bool checked = !std::isnan(tensor_warps);
    if (!plan.uncounted.empty() && !(checked && explained)) {
        counts.uncounted.assign(plan.uncounted.begin(), plan.uncounted.end());
    }
    const bool only_integers =
        std::all_of(counts.uncounted.begin(), counts.uncounted.end(),
                    [](const std::string& type) { return is_integer(type.c_str()); });
    if (only_integers && !counts.flops.empty()) {
        counts.flops_total = 0;
        for (const Amount& amount : counts.flops) counts.flops_total += amount.value;
    }
    return counts;
}

}  // namespace picojoule::counters
