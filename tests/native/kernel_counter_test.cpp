// Counting kernels, against the scripted CUPTI: what each kernel does is what the test says, so
// what is counted must be exactly that.
#include "counters/kernel_counter.h"

#include <doctest/doctest.h>

#include <atomic>
#include <cmath>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "counters/launch_call.h"
#include "counters_fake.h"

using namespace picojoule;
using namespace picojoule::counters;
using picojoule::testing::CounterFake;

namespace {

constexpr std::uint32_t kCuLaunchKernel = 307;
constexpr std::uint32_t kCuLaunchKernelEx = 652;
constexpr std::uint32_t kCuGraphLaunch = 514;

std::string sass(const std::string& op) {
    return "smsp__sass_thread_inst_executed_op_" + op + "_pred_on.sum";
}

std::atomic<int> g_capturing{0};
CudaCalls cuda() {
    CudaCalls calls{};
    calls.stream_is_capturing = [](void* stream, int* status) {
        *status = stream == reinterpret_cast<void*>(0x7) ? g_capturing.load() : 0;
        return 0;
    };
    calls.current_device = [](int* device) {
        *device = 0;
        return 0;
    };
    calls.device_name = [](char* name, int bytes, int) {
        std::snprintf(name, static_cast<std::size_t>(bytes), "Scripted GPU");
        return 0;
    };
    calls.driver_version = [](int* version) {
        *version = 13000;
        return 0;
    };
    return calls;
}

void launch(const CounterFake& fake, const char* name, std::uint32_t grid = 8,
            std::uint32_t call = kCuLaunchKernel, std::uint32_t stream = 0,
            std::uint32_t context = 1) {
    FakeLaunch l{};
    l.kind = call == kCuGraphLaunch ? 0 : 10;
    l.call = call;
    l.domain = 1;
    l.name = name;
    l.context = context;
    l.stream = stream;
    l.grid[0] = grid;
    l.grid[1] = l.grid[2] = 1;
    l.block[0] = 256;
    l.block[1] = l.block[2] = 1;
    l.dynamic_shared = 1024;
    l.start = 1;
    l.end = 2;
    fake.launch(&l);
}

KernelCounter& begin(PlanKind plan = PlanKind::quick, unsigned times = 1) {
    Refusal refusal;
    KernelCounter* counter =
        KernelCounter::start(CounterFake::library(), {plan, times}, cuda(), refusal);
    REQUIRE_MESSAGE(counter != nullptr, refusal.words);
    return *counter;
}

double flops(const Counts& counts, const std::string& type) {
    for (const Amount& amount : counts.flops) {
        if (amount.type == type) return amount.value;
    }
    return kUnknown;
}

// The default script: three kernels of known work.
void script(const CounterFake& fake) {
    fake.kernel("_Z4gemmv", "sm__ops_path_tensor_src_bf16_dst_fp32.sum", 2.0 * 64 * 64 * 64);
    fake.kernel("_Z4gemmv", "dram__bytes_read.sum", 16384);
    fake.kernel("_Z4gemmv", "dram__bytes_write.sum", 8192);
    fake.kernel("_Z4gemmv", "gpc__cycles_elapsed.max", 5000);
    fake.kernel("_Z4gemmv", "gpu__time_duration.sum", 3000);
    fake.kernel("axpy", sass("ffma").c_str(), 1000);
    fake.kernel("axpy", sass("fadd").c_str(), 10);
    fake.kernel("half", sass("hfma").c_str(), 100);
    fake.kernel("half", sass("hadd").c_str(), 1);
}

}  // namespace

TEST_CASE("kernel counter: what each kernel does, once a signature, times every launch") {
    const CounterFake fake;
    script(fake);
    KernelCounter& counter = begin();
    for (int i = 0; i < 5; ++i) launch(fake, "_Z4gemmv");
    launch(fake, "axpy", 8, kCuLaunchKernelEx);
    launch(fake, "axpy", 16);
    launch(fake, "half");
    const CountReport report = counter.stop();

    CHECK(report.chip == "GH100");
    CHECK(report.device == "Scripted GPU");
    CHECK(report.cuda_version == 13000);
    CHECK(report.passes == 2);
    CHECK_FALSE(report.refusal);
    REQUIRE(report.kernels.size() == 4);
    CHECK(fake.replays() == 4 * 2);  // each signature once, in two passes

    const CountedKernel& gemm = report.kernels[0];
    CHECK(gemm.name == "gemm()");
    CHECK(gemm.grid == std::array<std::uint32_t, 3>{8, 1, 1});
    CHECK(gemm.block == std::array<std::uint32_t, 3>{256, 1, 1});
    CHECK(gemm.dynamic_shared == 1024);
    CHECK(gemm.launches == 5);
    CHECK(gemm.measured == 1);
    CHECK(flops(gemm.counts, "tensor-bf16") == 524288);
    CHECK(gemm.counts.read_bytes == 16384);
    CHECK(gemm.counts.write_bytes == 8192);
    CHECK(gemm.counts.cycles == 5000);
    CHECK(gemm.counts.time_ns == 3000);

    CHECK(flops(report.kernels[1].counts, "fp32") == 2010);
    CHECK(report.kernels[2].grid[0] == 16);
    CHECK(flops(report.kernels[2].counts, "fp32") == 2010);
    CHECK(flops(report.kernels[3].counts, "fp16") == 402);
    for (const Amount& amount : report.kernels[3].counts.flops) {
        if (amount.type != "fp16") continue;
        CHECK(amount.low == 201);  // if an instruction is one operation a lane, and not a pair
        CHECK(amount.high == 402);
    }
    CHECK(std::string(fake.violations()).empty());
    CHECK(fake.subscribers() == 0);
    CHECK(fake.sessions() == 0);
}

TEST_CASE("kernel counter: two launches of each are compared where that is asked") {
    const CounterFake fake;
    script(fake);
    KernelCounter& counter = begin(PlanKind::quick, 2);
    launch(fake, "axpy");
    fake.kernel("axpy", sass("ffma").c_str(), 500);  // now it does half as much
    launch(fake, "axpy");
    launch(fake, "axpy");
    launch(fake, "half");
    launch(fake, "half");
    const CountReport report = counter.stop();
    CHECK(report.kernels[0].measured == 2);
    CHECK(report.kernels[0].varies);
    CHECK(flops(report.kernels[0].counts, "fp32") == 2010);
    CHECK_FALSE(report.kernels[1].varies);
    CHECK(std::string(fake.violations()).empty());
}

TEST_CASE("kernel counter: launches into a graph, and of graphs, are told and left alone") {
    const CounterFake fake;
    script(fake);
    KernelCounter& counter = begin();
    g_capturing = 1;
    launch(fake, "axpy", 8, kCuLaunchKernel, 7);
    g_capturing = 0;
    launch(fake, "whole graph", 1, kCuGraphLaunch);
    launch(fake, "whole graph", 1, kCuGraphLaunch);
    const CountReport report = counter.stop();
    CHECK(report.captured == 1);
    CHECK(report.graphs == 2);
    CHECK(report.kernels.empty());
    CHECK(fake.replays() == 0);
}

TEST_CASE("kernel counter: numbers that may be of several kernels are not taken") {
    const CounterFake fake("extra=1");
    script(fake);
    KernelCounter& counter = begin();
    for (int i = 0; i < 10; ++i) launch(fake, "axpy");
    const CountReport report = counter.stop();
    CHECK(report.kernels[0].launches == 10);
    CHECK(report.kernels[0].measured == 0);
    CHECK(report.kernels[0].counts.flops.empty());
    CHECK(std::isnan(report.kernels[0].counts.flops_total));
    CHECK(report.kernels[0].why_not == "other kernels ran at the same time");
    CHECK(fake.replays() == 3 * 2 * 2);  // three tries, of two kernels, in two passes
}

TEST_CASE("kernel counter: no permission is one sentence, and the program goes on") {
    const CounterFake fake("range_enable=35");
    script(fake);
    KernelCounter& counter = begin();
    launch(fake, "axpy");
    launch(fake, "half");
    const CountReport report = counter.stop();
    CHECK(report.refusal.words.find("not permitted") != std::string::npos);
    CHECK(report.refusal.remedy.find("NVreg_RestrictProfilingToAdminUsers=0") != std::string::npos);
    CHECK(report.refusal.remedy.find("CAP_PERFMON") != std::string::npos);
    CHECK(report.kernels.size() == 2);
    CHECK(report.kernels[0].measured == 0);
    CHECK(fake.replays() == 0);
    CHECK(std::string(fake.violations()).empty());
}

TEST_CASE("kernel counter: a call that fails thrice is not tried a fourth time") {
    const CounterFake fake("range_start=999");
    KernelCounter& counter = begin();
    for (int i = 0; i < 6; ++i) launch(fake, ("k" + std::to_string(i)).c_str());
    const CountReport report = counter.stop();
    CHECK(report.refusal);
    CHECK(report.kernels.size() == 6);
    CHECK_FALSE(report.kernels[2].why_not.empty());
    CHECK(report.kernels[3].why_not.empty());
    CHECK(fake.sessions() == 0);
    CHECK(std::string(fake.violations()).empty());
}

TEST_CASE("kernel counter: a kernel whose end fails costs that kernel only") {
    const CounterFake fake("range_stop=999");
    script(fake);
    KernelCounter& counter = begin();
    launch(fake, "axpy");
    fake.configure_counters("");  // it was that kernel's fault
    script(fake);
    launch(fake, "half");
    const CountReport report = counter.stop();
    CHECK_FALSE(report.refusal);
    CHECK(report.kernels[0].measured == 0);
    CHECK_FALSE(report.kernels[0].why_not.empty());
    CHECK(report.kernels[1].measured == 1);
}

TEST_CASE("kernel counter: other reasons why not, each in words") {
    const std::map<std::string, std::string> cases = {
        {"chip=GX999", "no set of counters for the chip GX999"},
        {"unknown=fp8", "does not have all counters"},
        {"host=1", "does not know counters of the chip GH100"},
        {"range_enable=15", "no NVIDIA driver"},
        {"range_enable=27", "not possible on this device"},
        {"range_enable=40", "virtual GPU"},
    };
    for (const auto& [how, words] : cases) {
        const CounterFake fake(how.c_str());
        KernelCounter& counter = begin();
        launch(fake, "k");
        const CountReport report = counter.stop();
        CHECK_MESSAGE(report.refusal.words.find(words) != std::string::npos, how, ": ",
                      report.refusal.words);
        CHECK(std::isnan(report.kernels.at(0).counts.flops_total));
        CHECK(fake.sessions() == 0);
        CHECK(std::string(fake.violations()).empty());
    }
}

TEST_CASE("kernel counter: without a driver that is what is said") {
    const CounterFake fake;
    Refusal refusal;
    KernelCounter* counter =
        KernelCounter::start(CounterFake::without_driver(), {}, cuda(), refusal);
    REQUIRE(counter != nullptr);
    launch(fake, "k");
    CHECK(counter->stop().refusal.words.find("no NVIDIA driver") != std::string::npos);
}

TEST_CASE("kernel counter: another profiler, a second counter, an old library") {
    {
        const CounterFake fake("", "refuse=39");
        Refusal refusal;
        CHECK(KernelCounter::start(CounterFake::library(), {}, cuda(), refusal) == nullptr);
        CHECK(refusal.words.find("another profiler") != std::string::npos);
    }
    {
        const CounterFake fake;
        KernelCounter& first = begin();
        Refusal refusal;
        CHECK(KernelCounter::start(CounterFake::library(), {}, cuda(), refusal) == nullptr);
        CHECK(refusal.words.find("already") != std::string::npos);
        first.stop();
        begin().stop();  // free again
    }
    {
        const CounterFake fake("", "version=22");
        Refusal refusal;
        CHECK(KernelCounter::start(CounterFake::library(), {}, cuda(), refusal) == nullptr);
        CHECK(refusal.words.find("CUPTI 12.4") != std::string::npos);
    }
}

TEST_CASE("kernel counter: after a context ended its profiler is gone, and a new one is made") {
    const CounterFake fake;
    script(fake);
    KernelCounter& counter = begin();
    launch(fake, "axpy", 8, kCuLaunchKernel, 0, 1);
    launch(fake, "half", 8, kCuLaunchKernel, 0, 2);
    CHECK(fake.sessions() == 4);  // a host and a profiler for each context
    fake.context_ends(1);
    CHECK(fake.sessions() == 2);
    launch(fake, "axpy", 32, kCuLaunchKernel, 0, 1);
    const CountReport report = counter.stop();
    for (const CountedKernel& kernel : report.kernels) CHECK(kernel.measured == 1);
    CHECK(std::string(fake.violations()).empty());
}

TEST_CASE("kernel counter: launches from many threads are each counted alone") {
    const CounterFake fake;
    std::vector<std::string> names;
    for (int i = 0; i < 40; ++i) names.push_back("kernel" + std::to_string(i));
    for (int i = 0; i < 40; ++i) fake.kernel(names[i].c_str(), sass("fadd").c_str(), i);
    KernelCounter& counter = begin();
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&] {
            for (int round = 0; round < 5; ++round) {
                for (const std::string& name : names) launch(fake, name.c_str());
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    const CountReport report = counter.stop();
    REQUIRE(report.kernels.size() == 40);
    for (const CountedKernel& kernel : report.kernels) {
        CHECK(kernel.launches == 20);
        CHECK(kernel.measured == 1);
        CHECK(flops(kernel.counts, "fp32") == std::stod(kernel.name.substr(6)));
    }
    CHECK(fake.replays() == 40 * 2);
    CHECK(std::string(fake.violations()).empty());
}

TEST_CASE("kernel counter: a launch inside a launch belongs to the outer one") {
    const CounterFake fake;
    script(fake);
    static const CounterFake* here = &fake;
    static int nested = 0;
    here = &fake;
    nested = 0;
    CudaCalls calls = cuda();
    calls.stream_is_capturing = [](void*, int* status) {
        if (nested++ == 0) launch(*here, "inner");  // asked in the outer one's callback
        *status = 0;
        return 0;
    };
    Refusal refusal;
    KernelCounter* counter =
        KernelCounter::start(CounterFake::library(), {PlanKind::quick, 1}, calls, refusal);
    REQUIRE(counter != nullptr);
    launch(fake, "axpy");
    launch(fake, "half");
    const CountReport report = counter->stop();
    CHECK(nested == 2);
    REQUIRE(report.kernels.size() == 2);
    CHECK(report.kernels[0].name == "axpy");
    CHECK(report.kernels[0].measured == 1);
    CHECK(report.kernels[1].name == "half");
}

TEST_CASE("kernel counter: while one launch is counted, all others wait") {
    const CounterFake fake("kernel_ms=20");
    script(fake);
    KernelCounter& counter = begin();
    launch(fake, "axpy");  // counted, and from now on one that only waits
    std::atomic<bool> end{false};
    std::thread other([&] {
        while (!end) launch(fake, "axpy");
    });
    for (int i = 0; i < 10; ++i) launch(fake, "half", static_cast<std::uint32_t>(100 + i));
    end = true;
    other.join();
    const CountReport report = counter.stop();
    REQUIRE(report.kernels.size() == 11);
    for (const CountedKernel& kernel : report.kernels) CHECK(kernel.measured == 1);
    CHECK(fake.replays() == 11 * 2);  // at the first try, each
}

TEST_CASE("kernel counter: threads that bring the same new kernel have it counted once") {
    const CounterFake fake("kernel_ms=20");
    script(fake);
    KernelCounter& counter = begin();
    std::vector<std::thread> threads;
    for (int t = 0; t < 6; ++t) threads.emplace_back([&] { launch(fake, "axpy"); });
    for (std::thread& thread : threads) thread.join();
    const CountReport report = counter.stop();
    REQUIRE(report.kernels.size() == 1);
    CHECK(report.kernels[0].launches == 6);
    CHECK(report.kernels[0].measured == 1);
    CHECK(fake.replays() == 2);
}

TEST_CASE("kernel counter: a launch after the end is nobody's") {
    const CounterFake fake;
    KernelCounter& counter = begin();
    launch(fake, "a");
    CHECK(counter.stop().kernels.size() == 1);
    launch(fake, "b");
    CHECK(counter.stop().kernels.size() == 1);
}

TEST_CASE("counts: tensor work that no counter of the plan explains is unknown, not nothing") {
    const RangePlan quick = range_plan("GH100", PlanKind::quick);
    const RangePlan checked = range_plan("GH100", PlanKind::checked);
    const RangePlan all = range_plan("GH100", PlanKind::all);
    const auto values = [](const RangePlan& plan, const std::map<std::string, double>& what) {
        std::vector<double> row;
        for (const RangeMetric& metric : plan.metrics) {
            const auto at = what.find(metric.name);
            row.push_back(at == what.end() ? 0 : at->second);
        }
        return row;
    };
    const std::string warps = "sm__inst_executed_pipe_tensor.sum";
    const std::string moves = "sm__inst_executed_pipe_tensor_op_hmma_type_hfma2.sum";
    const std::string bf16 = "sm__ops_path_tensor_src_bf16_dst_fp32.sum";
    const std::string tf32 = "sm__ops_path_tensor_src_tf32_dst_fp32.sum";

    // The two-pass plan cannot see it.
    CHECK(std::isnan(counts_of(quick, values(quick, {{sass("ffma"), 4}})).flops_total));
    CHECK(counts_of(quick, values(quick, {})).uncounted.size() == 5);
    // A third pass tells that there was none,
    const Counts none = counts_of(checked, values(checked, {{sass("ffma"), 4}}));
    CHECK(none.flops_total == 8);
    CHECK(none.uncounted.empty());
    // or that there was only the moving of constants,
    const Counts moved =
        counts_of(checked, values(checked, {{sass("ffma"), 4}, {warps, 7}, {moves, 7}}));
    CHECK(moved.flops_total == 8);
    // or that it was of a type that is counted,
    const Counts counted = counts_of(checked, values(checked, {{bf16, 4096}, {warps, 1}}));
    CHECK(counted.flops_total == 4096);
    // or that it was not.
    const Counts other = counts_of(checked, values(checked, {{sass("ffma"), 4}, {warps, 1}}));
    CHECK(std::isnan(other.flops_total));
    CHECK(flops(other, "fp32") == 8);
    CHECK(other.uncounted.size() == 5);
    // The plan of all types counts it.
    CHECK(counts_of(all, values(all, {{tf32, 2048}})).flops_total == 2048);
}

TEST_CASE("counts: integer work of the tensor cores is kept apart") {
    const RangePlan plan = range_plan("TU102", PlanKind::all);
    std::vector<double> row;
    for (const RangeMetric& metric : plan.metrics) {
        row.push_back(std::string(metric.name).find("int8") != std::string::npos ? 100 : 0);
    }
    const Counts counts = counts_of(plan, row);
    CHECK(counts.flops_total == 0);
    bool found = false;
    for (const Amount& amount : counts.integer_ops) {
        if (amount.type == "tensor-int8") found = amount.value == 100;
    }
    CHECK(found);
}

TEST_CASE("launch call: shapes and streams by the call") {
    const LaunchKernelParams plain{nullptr, {1, 2, 3}, {4, 5, 6}, 7, reinterpret_cast<void*>(8)};
    const LaunchCall call = launch_of(307, &plain);
    CHECK(call.kind == LaunchKind::kernel);
    CHECK(call.grid == std::array<std::uint32_t, 3>{1, 2, 3});
    CHECK(call.block == std::array<std::uint32_t, 3>{4, 5, 6});
    CHECK(call.dynamic_shared == 7);
    CHECK(call.stream == reinterpret_cast<void*>(8));
    const LaunchConfig config{{9, 1, 1}, {2, 1, 1}, 0, nullptr};
    const LaunchKernelExParams extended{&config, nullptr};
    CHECK(launch_of(652, &extended).grid[0] == 9);
    CHECK(launch_of(652, &extended).stream == nullptr);
    CHECK(launch_of(653, &extended).stream == reinterpret_cast<void*>(2));  // the thread's own
    CHECK(launch_of(514, &plain).kind == LaunchKind::graph);
    CHECK(launch_of(480, &plain).kind == LaunchKind::other);  // on several devices at once
    CHECK(launch_of(307, nullptr).kind == LaunchKind::other);
}
