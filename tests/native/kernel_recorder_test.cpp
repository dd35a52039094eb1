#include "recorder/kernel_recorder.h"

#include <doctest/doctest.h>

#include <map>
#include <string>
#include <vector>

#include "base/clock.h"

using namespace picojoule;

namespace {

constexpr std::int64_t kBegin = 5 * kNsPerS;

// `count` kernels, one every `every_ns`, told to a session in batches.
void run(KernelRecorder& recorder, std::uint32_t what, std::size_t count, std::int64_t every_ns) {
    std::vector<ActivityRecord> batch;
    for (std::size_t i = 0; i < count; ++i) {
        ActivityRecord a;
        a.begin_ns = kBegin + static_cast<std::int64_t>(i) * every_ns;
        a.end_ns = a.begin_ns + every_ns / 2;
        a.class_id = what;
        a.track = 0;
        batch.push_back(a);
        if (batch.size() < 4096 && i + 1 < count) continue;
        recorder.activities(batch);
        batch.clear();
    }
}

}  // namespace

TEST_CASE("more kernels than memory is meant for: whole stretches are kept, and exact sums") {
    KernelRecorder recorder([](const std::string&) { return DeviceName{}; });
    const auto session = recorder.begin(KernelWish::all, false);
    recorder.set_begin(*session, kBegin);
    const std::uint32_t what = recorder.class_id(KernelClass{.name = "k"});
    recorder.track_id(Track{.domain = "gpu:0"});
    constexpr std::size_t kCount = 5 * KernelSession::kMost;
    constexpr std::int64_t kEvery = 100'000;  // 10^4 a second
    run(recorder, what, kCount, kEvery);
    Trace trace;
    recorder.fill(*session, trace);

    REQUIRE(trace.kernel_cells.size() == 1);
    CHECK(trace.kernel_cells[0].count == kCount);
    CHECK(trace.kernel_cells[0].time_ns == static_cast<std::int64_t>(kCount) * kEvery / 2);
    CHECK(trace.kernels.size() <= KernelSession::kMost);
    const double one_in = trace.overhead.at(KernelSample::kKey);
    CHECK(one_in >= 8.0);
    CHECK(static_cast<double>(trace.kernels.size()) ==
          doctest::Approx(static_cast<double>(kCount) / one_in).epsilon(0.5));
    // All that began in a stretch, or none.
    std::map<std::int64_t, std::size_t> by_stretch;
    for (const Record& r : trace.kernels) ++by_stretch[(r.a - kBegin) / KernelSample::kStretchNs];
    for (const auto& [stretch, kept] : by_stretch) {
        const auto whole = static_cast<std::size_t>(KernelSample::kStretchNs / kEvery);
        const auto last = static_cast<std::int64_t>((kCount - 1) / whole);
        if (stretch != last) CHECK(kept == whole);
    }
    // From all of the run.
    CHECK(by_stretch.begin()->first < 100);
    CHECK(by_stretch.rbegin()->first > 424);
    recorder.set_end(*session, kBegin + static_cast<std::int64_t>(kCount) * kEvery);
    recorder.shutdown();
}

TEST_CASE("fewer are all kept, and more than any stretch can hold leave their sums") {
    KernelRecorder recorder([](const std::string&) { return DeviceName{}; });
    const auto few = recorder.begin(KernelWish::all, false);
    recorder.set_begin(*few, kBegin);
    const std::uint32_t what = recorder.class_id(KernelClass{.name = "k"});
    recorder.track_id(Track{.domain = "gpu:0"});
    run(recorder, what, 100'000, 1'000'000);
    Trace trace;
    recorder.fill(*few, trace);
    CHECK(trace.kernels.size() == 100'000);
    CHECK(trace.overhead.count(KernelSample::kKey) == 0);

    const auto many = recorder.begin(KernelWish::all, false);
    recorder.set_begin(*many, kBegin);
    constexpr std::size_t kCount = KernelSession::kMost + 100;
    run(recorder, what, kCount, 100);  // all in one stretch
    Trace dense;
    recorder.fill(*many, dense);
    CHECK(dense.kernel_cells[0].count == kCount);
    CHECK(dense.kernels.size() <= KernelSession::kMost);
    recorder.set_end(*few, INT64_MAX - 1);
    recorder.set_end(*many, INT64_MAX - 1);
    recorder.shutdown();
}
