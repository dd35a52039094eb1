#include "counters/metric_sets.h"

#include <algorithm>
#include <array>

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

}  // namespace

std::vector<const char*> PmSet::names() const {
    std::vector<const char*> all;
    all.reserve(metrics.size());
    for (const PmMetric& metric : metrics) all.push_back(metric.name);
    return all;
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

}  // namespace picojoule::counters
