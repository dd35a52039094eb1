#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "counters/metric_sets.h"

namespace picojoule::counters {
namespace {

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

void add(std::vector<Amount>& amounts, const RangeMetric& metric, double count) {
    auto at = std::find_if(amounts.begin(), amounts.end(),
                           [&](const Amount& a) { return a.type == metric.type; });
    if (at == amounts.end()) at = amounts.insert(at, Amount{metric.type, 0, 0, 0});
    at->value += metric.weight * count;
    at->low += metric.weight_low * count;
    at->high += metric.weight_high * count;
}

}  // namespace

std::vector<const char*> RangePlan::names() const {
    std::vector<const char*> all;
    all.reserve(metrics.size());
    for (const RangeMetric& metric : metrics) all.push_back(metric.name);
    return all;
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
