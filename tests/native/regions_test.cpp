#include "recorder/regions.h"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

using namespace picojoule;

TEST_CASE("paths are one tree, and recursion does not grow it") {
    PathTable paths;
    const PathId a = paths.intern(kRootPath, "a");
    const PathId b = paths.intern(a, "b");
    CHECK(a != b);
    CHECK(paths.intern(kRootPath, "a") == a);
    CHECK(paths.intern(kRootPath, "b") != b);
    CHECK(paths.intern(b, "a") == a);
    CHECK(paths.intern(b, "b") == b);
    CHECK(paths.name(b) == "b");
    CHECK(paths.nodes_from(0).size() == 4);
}

TEST_CASE("names without end are folded into one") {
    PathTable paths;
    PathId last = 0;
    for (int i = 0; i < 70'000; ++i) last = paths.intern(kRootPath, "step " + std::to_string(i));
    CHECK(paths.name(last) == kOverflowName);
    CHECK(paths.nodes_from(0).size() <= kMostPaths + 1);
}

TEST_CASE("a cell is exact at every instant, calls still open included") {
    RegionStore& store = RegionStore::instance();
    const PathId path = store.paths().intern(kRootPath, "exact");
    ThreadRegions& mine = RegionStore::this_thread();
    std::vector<PathTotals> at;
    mine.enter(path, 100);
    store.snapshot(150, at);
    CHECK(at[path].time_ns == 50);
    CHECK(at[path].open == 1);
    mine.enter(path, 160);  // a second task
    mine.exit(path, 170);   // whichever of the two: the sum is the same
    store.snapshot(200, at);
    CHECK(at[path].time_ns == 100 + 10);
    mine.exit(path, 210);
    mine.count_only(path);
    store.snapshot(1000, at);
    CHECK(at[path].time_ns == 110 + 10);
    CHECK(at[path].enters == 3);
    CHECK(at[path].exits == 3);
    CHECK(at[path].open == 0);
}

TEST_CASE("threads write while a reader sums, and nothing is torn or lost") {
    RegionStore& store = RegionStore::instance();
    const PathId path = store.paths().intern(kRootPath, "threads");
    constexpr int kThreads = 4;
    constexpr int kCalls = 20'000;
    std::atomic<int> done{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
        threads.emplace_back([&] {
            for (int i = 0; i < kCalls; ++i) {
                ThreadRegions& mine = RegionStore::this_thread();
                const std::int64_t now = now_ns();
                mine.enter(path, now);
                mine.exit(path, now + 10);
            }
            ++done;
        });
    }
    std::vector<PathTotals> at;
    while (done < kThreads) {
        const std::int64_t now = now_ns();
        store.snapshot(now, at);
        if (at.size() <= path) continue;
        CHECK(at[path].time_ns >= -10 * kNsPerS);  // a torn cell would be off by the uptime
        CHECK(at[path].time_ns <= 10LL * kThreads * kCalls + 10 * kNsPerS);
        CHECK(at[path].open >= 0);
    }
    for (auto& t : threads) t.join();
    store.snapshot(now_ns(), at);
    CHECK(at[path].time_ns == 10LL * kThreads * kCalls);
    CHECK(at[path].enters == kThreads * kCalls);
}

TEST_CASE("spans arrive in order, and those that do not fit are counted") {
    RegionStore& store = RegionStore::instance();
    store.drain_spans([](auto, const auto&) {});
    const std::uint64_t dropped = store.spans_dropped();
    ThreadRegions& mine = RegionStore::this_thread();
    for (std::size_t i = 0; i < ThreadRegions::kRing + 5; ++i) {
        mine.keep_span({static_cast<std::int64_t>(i), 0, 1});
    }
    std::int64_t expected = 0;
    store.drain_spans([&](std::uint32_t thread, const SpanItem& item) {
        if (thread == mine.index()) CHECK(item.begin_ns == expected++);
    });
    CHECK(expected == ThreadRegions::kRing);
    CHECK(store.spans_dropped() - dropped == 5);
}

TEST_CASE("a thread's CPU time is known from its first moment to its last") {
    RegionStore& store = RegionStore::instance();
    const PathId waits = store.paths().intern(kRootPath, "waits");
    const PathId works = store.paths().intern(kRootPath, "works");
    std::vector<PathTotals> at;
    store.snapshot(now_ns(), at);
    const auto run = [&](PathId path, auto&& body) {
        std::thread([&] {
            RegionStore::this_thread().enter(path, now_ns());
            body();
            RegionStore::this_thread().exit(path, now_ns());
        }).join();
    };
    // Both came and went since the snapshot before; the second in the place of the first.
    run(waits, [] { std::this_thread::sleep_for(std::chrono::milliseconds(40)); });
    store.snapshot(now_ns(), at);
    CHECK(at[waits].time_ns >= 40'000'000);
    CHECK(at[waits].cpu_known);
    CHECK(at[waits].cpu_ns < at[waits].time_ns / 4);
    std::int64_t spent = 0;
    run(works, [&] {
        timespec t{};
        while (spent < 40'000'000) {
            ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
            spent = t.tv_sec * kNsPerS + t.tv_nsec;
        }
    });
    store.snapshot(now_ns(), at);
    CHECK(at[works].cpu_known);
    CHECK(static_cast<double>(at[works].cpu_ns) == doctest::Approx(4e7).epsilon(0.1));
}

TEST_CASE("CPU time of what no thread can be asked about is unknown, not all of its time") {
    RegionStore& store = RegionStore::instance();
    const PathId path = store.paths().intern(kRootPath, "lane");
    const PathId inner = store.paths().intern(path, "inner");
    ThreadRegions& lane = store.make_lane();
    std::vector<PathTotals> at;
    lane.enter(path, now_ns() - 1'000'000);
    lane.enter(inner, now_ns() - 500'000);
    store.snapshot(now_ns(), at);
    CHECK_FALSE(at[path].cpu_known);
    CHECK_FALSE(at[inner].cpu_known);
    CHECK(at[inner].cpu_ns == 0);
    lane.exit(inner, now_ns());
    lane.exit(path, now_ns());
    store.snapshot(now_ns(), at);
    store.snapshot(now_ns(), at);  // nothing was open since then
    CHECK(at[path].cpu_known);
}
