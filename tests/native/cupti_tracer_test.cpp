// The CUPTI tracer against a scripted CUPTI (tests/fakes/fake_cupti.c). Each trap that is known of
// CUPTI is a case here; whatever a case does, the fake also notes what no client may do.
#include "tracers/cupti_tracer.h"

#include <dlfcn.h>
#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "../fakes/fake_cupti.h"
#include "base/clock.h"
#include "fake_tree.h"
#include "tracers/cupti_decoder.h"
#include "tracers/cupti_library.h"

using namespace picojoule;
using picojoule::testing::FakeTree;

namespace {

// The scripted library, loaded by path: it is then the one that this process has.
struct Fake {
    void* handle = ::dlopen(FAKE_CUPTI_PATH, RTLD_NOW | RTLD_GLOBAL);
#define FAKE(name) decltype(&fake_cupti_##name) name = symbol<decltype(&fake_cupti_##name)>(#name)
    FAKE(configure);
    FAKE(launch);
    FAKE(finish);
    FAKE(graph_node);
    FAKE(deliver);
    FAKE(drop);
    FAKE(now);
    FAKE(set_clock);
    FAKE(violations);
    FAKE(watches);
    FAKE(kinds);
    FAKE(subscribers);
    FAKE(subscribe_calls);
    FAKE(second_family);
    FAKE(buffers_out);
#undef FAKE

    template <class F>
    F symbol(const char* name) const {
        const std::string full = std::string("fake_cupti_") + name;
        return reinterpret_cast<F>(::dlsym(handle, full.c_str()));
    }
};

constexpr std::uint32_t kCuLaunchKernel = 307;
constexpr std::uint32_t kCuLaunchKernelEx = 652;
constexpr std::uint32_t kCuGraphLaunch = 514;
constexpr std::uint32_t kCuMemcpyAsync = 306;
constexpr std::uint32_t kCudaMemcpyAsync = 41;
constexpr std::uint32_t kCudaMemsetAsync = 51;

// Stands in for the regions: what is open on this thread, or else what the policy for threads
// without a region says.
thread_local std::uint32_t t_path = 0;
std::atomic<std::uint32_t> g_backward_path{0};
std::uint32_t current_path() noexcept {
    return t_path != 0 ? t_path : g_backward_path.load(std::memory_order_relaxed);
}

struct Region {
    explicit Region(std::uint32_t path) : before(t_path) { t_path = path; }
    Region(const Region&) = delete;
    Region& operator=(const Region&) = delete;
    ~Region() { t_path = before; }
    std::uint32_t before;
};

struct Sink final : ActivitySink {
    std::vector<KernelClass> classes;
    std::vector<Track> tracks;
    std::vector<ActivityRecord> all;
    TracerCounters noted;

    std::uint32_t class_id(const KernelClass& c) override {
        classes.push_back(c);
        return static_cast<std::uint32_t>(classes.size() - 1);
    }
    std::uint16_t track_id(const Track& t) override {
        tracks.push_back(t);
        return static_cast<std::uint16_t>(tracks.size() - 1);
    }
    void activities(std::span<const ActivityRecord> some) noexcept override {
        all.insert(all.end(), some.begin(), some.end());
    }
    void note(const TracerCounters& c) noexcept override { noted = c; }

    [[nodiscard]] std::vector<ActivityRecord> on_stream(std::uint64_t stream) const {
        std::vector<ActivityRecord> some;
        for (const ActivityRecord& a : all) {
            if (tracks[a.track].stream == stream) some.push_back(a);
        }
        std::ranges::sort(some, {}, &ActivityRecord::begin_ns);
        return some;
    }
    [[nodiscard]] const std::string& name(const ActivityRecord& a) const {
        return classes[a.class_id].name;
    }
};

// A fake, a sink and a tracer. What the fake complains of at the end fails the case.
struct Lab {
    Fake fake;
    Sink sink;
    std::unique_ptr<Tracer> tracer;
    TracerSetup setup;

    explicit Lab(const char* script = "") {
        REQUIRE(fake.handle != nullptr);
        fake.configure(script);
        g_backward_path = 0;
        t_path = 0;
        tracer = cupti::make_tracer({});
        setup.sink = &sink;
        setup.current_path = current_path;
        setup.driver_branch = 580;
        setup.flush_period_ns = 0;
    }
    Lab(const Lab&) = delete;
    Lab& operator=(const Lab&) = delete;
    ~Lab() {
        tracer.reset();
        CHECK(std::string(fake.violations()) == "");
    }

    TracerStatus start() { return tracer->start(setup); }
    void started() { REQUIRE(start().tracing()); }
    void stop() { tracer->stop(0); }

    [[nodiscard]] FakeLaunch kernel(const char* name = "k", std::uint32_t stream = 7) const {
        FakeLaunch l{};
        l.kind = 10;
        l.call = kCuLaunchKernel;
        l.domain = 1;
        l.name = name;
        l.context = 1;
        l.stream = stream;
        l.grid[0] = l.grid[1] = l.grid[2] = 1;
        l.block[0] = 128;
        l.block[1] = l.block[2] = 1;
        l.start = fake.now();
        l.end = l.start + 1000;
        return l;
    }
    std::uint32_t launch(const FakeLaunch& l) const { return fake.launch(&l); }
    // Of a graph: one call, then a record for each node.
    std::uint32_t launch_graph() const {
        FakeLaunch l = kernel();
        l.kind = 0;
        l.call = kCuGraphLaunch;
        return launch(l);
    }
    void node_ran(std::uint32_t correlation, std::uint64_t node, const char* name) const {
        FakeLaunch l = kernel(name);
        l.call = 0;
        l.correlation = correlation;
        l.graph_node = node;
        launch(l);
    }
};

void sleep_ms(int ms) {
    std::this_thread::sleep_for(std::chrono::milliseconds(ms));
}

template <class Condition>
bool within_ms(int ms, Condition&& condition) {
    for (int i = 0; i < ms; ++i) {
        if (condition()) return true;
        sleep_ms(1);
    }
    return condition();
}

}  // namespace

// ---- what is told ---------------------------------------------------------------------------

TEST_CASE("cupti: kernels, copies and sets, with all that is known of them") {
    Lab lab;
    lab.setup.device_name = [](std::uint32_t index) {
        return DeviceName{"gpu:" + std::to_string(index + 4), "Fake H100"};
    };
    const std::int64_t before = now_ns();
    const TracerStatus status = lab.start();
    CHECK(status.mode == TraceMode::single);
    CHECK(status.version == 130001);
    CHECK(status.words.starts_with("CUPTI 13.0, its only subscriber (/"));
    {
        const Region region(3);
        FakeLaunch k = lab.kernel("_Z4gemmIfEvPT_i");
        k.grid[0] = 10;
        k.grid[1] = 20;
        k.grid[2] = 30;
        k.block[0] = 64;
        k.block[1] = 2;
        k.block[2] = 3;
        k.static_shared = 48;
        k.dynamic_shared = 1024;
        k.device = 1;
        k.call = kCuLaunchKernelEx;
        k.start = lab.fake.now();
        k.end = k.start + 12'345;
        lab.launch(k);
    }
    {
        const Region region(4);
        FakeLaunch c = lab.kernel(nullptr);
        c.kind = 1;
        c.call = kCudaMemcpyAsync;
        c.domain = 2;
        c.copy_kind = 1;
        c.bytes = 4096;
        lab.launch(c);
        c.kind = 2;
        c.call = kCudaMemsetAsync;
        c.bytes = 100;
        lab.launch(c);
    }
    lab.stop();
    REQUIRE(lab.sink.all.size() == 3);
    const ActivityRecord& k = lab.sink.all[0];
    const KernelClass& kc = lab.sink.classes[k.class_id];
    CHECK(kc.kind == ActivityKind::kernel);
    CHECK(kc.name == "void gemm<float>(float*, int)");
    CHECK(kc.grid[0] == 10);
    CHECK(kc.grid[1] == 20);
    CHECK(kc.grid[2] == 30);
    CHECK(kc.block[0] == 64);
    CHECK(kc.block[1] == 2);
    CHECK(kc.block[2] == 3);
    CHECK(kc.static_shared == 48);
    CHECK(kc.dynamic_shared == 1024);
    CHECK(k.path == 3);
    CHECK(k.flags == 0);
    CHECK(k.graph_node == 0);
    CHECK(k.begin_ns > before);
    CHECK(k.begin_ns < now_ns());
    CHECK(k.end_ns - k.begin_ns == 12'345);
    CHECK(lab.sink.tracks[k.track].domain == "gpu:5");
    CHECK(lab.sink.tracks[k.track].device == "Fake H100");
    CHECK(lab.sink.tracks[k.track].domain == "gpu:5");
    CHECK(lab.sink.tracks[k.track].stream == 7);
    const KernelClass& c = lab.sink.classes[lab.sink.all[1].class_id];
    CHECK(c.kind == ActivityKind::memcpy);
    CHECK(c.name == "memcpy HtoD");
    CHECK(c.bytes == 4096);
    CHECK(lab.sink.all[1].path == 4);
    const KernelClass& s = lab.sink.classes[lab.sink.all[2].class_id];
    CHECK(s.kind == ActivityKind::memset);
    CHECK(s.bytes == 100);
    const TracerCounters n = lab.tracer->counters();
    CHECK(n.activities == 3);
    CHECK(n.kernels == 1);
    CHECK(n.copies == 1);
    CHECK(n.sets == 1);
    CHECK(n.launches == 3);
    CHECK(n.launches_open == 0);
    CHECK(n.dropped + n.unmatched + n.no_time + n.cut_off + n.unexpected + n.stale == 0);
    CHECK(n.clock_residual_ns < 50'000);
    CHECK(lab.sink.noted.activities == 3);
    CHECK(complaint(n).empty());
}

TEST_CASE("cupti: records of every version of the library") {
    struct Case {
        const char* script;
    };
    const Case cases[] = {
        {"version=18;kernel=200;memcpy=88;memset=88"},
        {"version=22;kernel=208;memcpy=88;memset=88"},
        {"version=26;kernel=208;memcpy=96;memset=88"},
        {"version=130001;kernel=216;memcpy=96;memset=88"},
        {"version=130100;kernel=224;memcpy=96;memset=88"},
        {"version=130200;kernel=224;memcpy=96;memset=88"},
        {"version=130300;kernel=232;memcpy=96;memset=88"},
        {"version=130400;kernel=248;memcpy=112;memset=104"},
        {"version=130500;kernel=248;memcpy=112;memset=104"},
    };
    for (const Case& c : cases) {
        const std::string words = c.script;
        CAPTURE(words);
        Lab lab(c.script);
        lab.started();
        for (std::uint32_t i = 1; i <= 90; ++i) {
            const Region region(i);
            FakeLaunch l = lab.kernel("k", 5);
            l.kind = i % 3 == 0 ? 10 : i % 3;
            l.bytes = i;
            if (l.kind != 10) l.call = kCuMemcpyAsync;
            lab.launch(l);
        }
        lab.stop();
        const auto all = lab.sink.on_stream(5);
        REQUIRE(all.size() == 90);
        for (std::uint32_t i = 1; i <= 90; ++i) {
            CHECK(all[i - 1].path == i);
            const KernelClass& k = lab.sink.classes[all[i - 1].class_id];
            CHECK(k.bytes == (i % 3 == 0 ? 0 : i));
        }
    }
}

TEST_CASE("cupti: a class is asked for once, by whatever pointer its name comes") {
    Lab lab;
    lab.started();
    const std::string a = "same";
    const std::string b = "same";
    for (int i = 0; i < 10; ++i) {
        lab.launch(lab.kernel(a.c_str()));
        lab.launch(lab.kernel(b.c_str()));
    }
    lab.stop();
    CHECK(lab.sink.all.size() == 20);
    CHECK(lab.sink.classes.size() == 1);
    CHECK(lab.sink.tracks.size() == 1);
}

TEST_CASE("cupti: thousands of sizes and shapes are folded, not forgotten") {
    Sink sink;
    cupti::Decoder decoder(sink, {}, 0);
    decoder.clock().add(1'000, 1'000, 0);
    cupti::MemcpyPrefix r{};
    r.kind = cupti::kMemcpy;
    r.copy_kind = 2;
    r.start = 2'000;
    r.end = 3'000;
    for (std::uint32_t i = 1; i <= 5'000; ++i) {
        r.bytes = i;
        r.correlation = i;
        decoder.launch(i, 1);
        decoder.record(&r, 0);
    }
    decoder.emit();
    CHECK(sink.classes.size() == 4097);
    CHECK(sink.classes.back().bytes == 0);  // unknown
    CHECK(sink.classes.back().name == "memcpy DtoH");
    CHECK(sink.all.size() == 5'000);
    CHECK(decoder.counters().classes_folded == 5'000 - 4'096);
}

// ---- which region ---------------------------------------------------------------------------

TEST_CASE("cupti: many threads and streams, every kernel in its region") {
    for (const char* script : {"", "per_thread=1", "per_thread=1;version=130300;kernel=232"}) {
        const std::string words = script;
        CAPTURE(words);
        Lab lab(script);
        lab.setup.blocks = 63;
        lab.setup.block_bytes = 256 << 10;  // several a thread, and never more than there are
        lab.setup.flush_period_ns = 50'000'000;
        lab.started();
        constexpr std::uint32_t kThreads = 6;
        constexpr std::uint32_t kLaunches = 3'000;
        const std::uint64_t base = lab.fake.now();
        std::vector<std::thread> threads;
        for (std::uint32_t t = 0; t < kThreads; ++t) {
            threads.emplace_back([&, t] {
                for (std::uint32_t i = 0; i < kLaunches; ++i) {
                    const Region region(t * kLaunches + i + 1);
                    FakeLaunch l = lab.kernel("k", t);
                    l.start = base + i * 100;
                    l.end = l.start + 50;
                    lab.launch(l);
                    if (t == 0 && i % 1000 == 0) lab.fake.deliver();
                }
            });
        }
        for (std::thread& t : threads) t.join();
        lab.stop();
        const TracerCounters n = lab.tracer->counters();
        CAPTURE(n.launches);
        CAPTURE(n.buffers);
        CHECK(n.dropped == 0);
        CHECK(n.stale == 0);
        CHECK(n.unexpected == 0);
        REQUIRE(lab.sink.all.size() == kThreads * kLaunches);
        for (std::uint32_t t = 0; t < kThreads; ++t) {
            const auto all = lab.sink.on_stream(t);
            REQUIRE(all.size() == kLaunches);
            std::uint32_t wrong = 0;
            for (std::uint32_t i = 0; i < kLaunches; ++i) {
                wrong += all[i].path != t * kLaunches + i + 1 ? 1 : 0;
            }
            CHECK(wrong == 0);
        }
        CHECK(lab.tracer->counters().unmatched == 0);
        CHECK(lab.tracer->counters().launches_lost == 0);
        CHECK(lab.tracer->counters().dropped == 0);
    }
}

TEST_CASE("cupti: backward on a worker thread belongs to the step that is in backward now") {
    // Where a copy of the first step's stack is kept for the thread, all of them go to step 0.
    Lab lab;
    lab.started();
    std::atomic<std::uint32_t> wanted{0};
    std::atomic<std::uint32_t> finished{0};
    std::thread autograd([&] {
        for (std::uint32_t step = 1; step <= 5; ++step) {
            while (wanted.load() < step) std::this_thread::yield();
            lab.launch(lab.kernel("backward", 2));
            finished = step;
        }
    });
    for (std::uint32_t step = 1; step <= 5; ++step) {
        {
            const Region forward(100 + step);
            lab.launch(lab.kernel("forward", 1));
        }
        const Region backward(200 + step);
        g_backward_path = 200 + step;
        wanted = step;
        while (finished.load() < step) std::this_thread::yield();
        g_backward_path = 0;
    }
    autograd.join();
    lab.stop();
    const auto forward = lab.sink.on_stream(1);
    const auto backward = lab.sink.on_stream(2);
    REQUIRE(forward.size() == 5);
    REQUIRE(backward.size() == 5);
    for (std::uint32_t step = 1; step <= 5; ++step) {
        CHECK(forward[step - 1].path == 100 + step);
        CHECK(backward[step - 1].path == 200 + step);
    }
}

TEST_CASE("cupti: a kernel that ends after its region belongs to the region that launched it") {
    Lab lab;
    lab.started();
    std::uint32_t id = 0;
    {
        const Region region(1);
        FakeLaunch l = lab.kernel("long", 1);
        l.end = 0;
        id = lab.launch(l);
    }
    {
        const Region region(2);
        lab.launch(lab.kernel("short", 2));
        sleep_ms(5);
    }
    lab.fake.finish(id, lab.fake.now());
    lab.stop();
    REQUIRE(lab.sink.on_stream(1).size() == 1);
    CHECK(lab.sink.on_stream(1)[0].path == 1);
    CHECK(lab.sink.on_stream(1)[0].end_ns - lab.sink.on_stream(1)[0].begin_ns > 4'000'000);
    CHECK(lab.sink.on_stream(2)[0].path == 2);
}

TEST_CASE("cupti: a graph's kernels belong to where they were captured") {
    Lab lab;
    lab.started();
    {
        const Region region(11);
        FakeLaunch captured = lab.kernel("a");
        captured.kind = 0;  // a captured launch has no record
        lab.launch(captured);
        lab.fake.graph_node(1001, 0);
    }
    {
        const Region region(12);
        FakeLaunch captured = lab.kernel("b");
        captured.kind = 0;
        lab.launch(captured);
        lab.fake.graph_node(1002, 0);
    }
    // Instantiated by another thread, into whose region nothing must go.
    std::thread([&] {
        const Region region(66);
        lab.fake.graph_node(2001, 1001);
        lab.fake.graph_node(2002, 1002);
    }).join();
    for (int i = 0; i < 4; ++i) {
        const Region region(static_cast<std::uint32_t>(50 + i));
        const std::uint32_t id = lab.launch_graph();
        lab.node_ran(id, 2002, "b");  // branches run in any order
        lab.node_ran(id, 2001, "a");
    }
    lab.stop();
    REQUIRE(lab.sink.all.size() == 8);
    std::map<std::string, std::uint32_t> nodes;
    for (const ActivityRecord& a : lab.sink.all) {
        CHECK(a.path == (lab.sink.name(a) == "a" ? 11 : 12));
        CHECK(a.flags == (activity_flag::kGraph | activity_flag::kCaptured));
        CHECK(a.graph_node != 0);
        nodes.emplace(lab.sink.name(a), a.graph_node);
        CHECK(nodes[lab.sink.name(a)] == a.graph_node);
    }
    CHECK(nodes["a"] != nodes["b"]);
    const TracerCounters n = lab.tracer->counters();
    CHECK(n.captured == 8);
    CHECK(n.nodes == 4);
    CHECK(n.launches_open == 0);  // captured launches wait for nothing
}

TEST_CASE("cupti: what a graph ran is booked where it was captured, below where it was launched") {
    Lab lab;
    lab.setup.captured_below = [](std::uint32_t launch, std::uint32_t captured) {
        return launch * 1000 + captured;
    };
    lab.setup.match_deadline_ns = 20'000'000;
    lab.started();
    {
        const Region region(11);
        lab.fake.graph_node(1001, 0);
    }
    for (std::uint32_t i = 1; i <= 3; ++i) {
        const Region region(50 + i);
        lab.node_ran(lab.launch_graph(), 1001, "a");
    }
    // A record that is there before its launch, and one whose launch nobody saw.
    lab.node_ran(500, 1001, "early");
    lab.node_ran(600, 1001, "lone");
    lab.tracer->flush(0);
    {
        const Region region(60);
        FakeLaunch l = lab.kernel();
        l.kind = 0;
        l.call = kCuGraphLaunch;
        l.correlation = 500;
        lab.launch(l);
    }
    lab.tracer->flush(0);
    CHECK(within_ms(1000, [&] { return lab.tracer->counters().unmatched == 1; }));
    lab.stop();
    std::map<std::string, std::vector<std::uint32_t>> paths;
    for (const ActivityRecord& a : lab.sink.all) paths[lab.sink.name(a)].push_back(a.path);
    CHECK(paths["a"] == std::vector<std::uint32_t>{51'011, 52'011, 53'011});
    CHECK(paths["early"] == std::vector<std::uint32_t>{60'011});
    CHECK(paths["lone"] == std::vector<std::uint32_t>{11});
    CHECK(lab.tracer->counters().captured == 5);
}

TEST_CASE("cupti: a graph that is older than the tracer belongs to its launch") {
    Lab lab;
    lab.fake.graph_node(1001, 0);  // nobody listens yet
    lab.started();
    for (std::uint32_t i = 1; i <= 3; ++i) {
        const Region region(i);
        const std::uint32_t id = lab.launch_graph();
        lab.node_ran(id, 1001, "a");
        lab.node_ran(id, 1002, "b");
    }
    lab.stop();
    const auto all = lab.sink.on_stream(7);
    REQUIRE(all.size() == 6);
    for (std::size_t i = 0; i < 6; ++i) {
        CHECK(all[i].path == i / 2 + 1);
        CHECK(all[i].flags == (activity_flag::kGraph | activity_flag::kForeignGraph));
    }
    CHECK(lab.tracer->counters().foreign_graph == 6);
}

TEST_CASE("cupti: clones of clones, heard of before their originals") {
    GraphNodes nodes;
    nodes.cloned(3, 2);
    nodes.cloned(2, 1);
    CHECK_FALSE(nodes.find(3).captured);
    nodes.created(1, 42);
    CHECK(nodes.find(3).captured);
    CHECK(nodes.find(3).path == 42);
    CHECK(nodes.find(2).path == 42);
    CHECK(nodes.find(3).number != nodes.find(2).number);
    nodes.cloned(8, 9);  // a ring of clones, which cannot be, ends all the same
    nodes.cloned(9, 8);
    CHECK_FALSE(nodes.find(8).captured);
}

// ---- records in no order --------------------------------------------------------------------

TEST_CASE("cupti: a record before its launch waits for it") {
    Lab lab;
    lab.started();
    FakeLaunch early = lab.kernel("early", 1);
    early.call = 0;
    early.correlation = 77;
    lab.launch(early);
    CHECK_FALSE(within_ms(1, [] { return false; }));
    lab.tracer->flush(0);
    CHECK(lab.sink.all.empty());
    {
        const Region region(9);
        FakeLaunch launch = lab.kernel();
        launch.kind = 0;
        launch.correlation = 77;
        lab.launch(launch);
    }
    lab.stop();
    REQUIRE(lab.sink.all.size() == 1);
    CHECK(lab.sink.all[0].path == 9);
    CHECK(lab.tracer->counters().matched_late == 1);
    CHECK(lab.tracer->counters().unmatched == 0);
}

TEST_CASE("cupti: a record without a launch is told after its deadline, and counted") {
    Lab lab;
    lab.setup.match_deadline_ns = 40'000'000;
    lab.started();
    FakeLaunch lone = lab.kernel("lone", 1);
    lone.call = 0;
    lone.correlation = 12'345;
    lab.launch(lone);
    lab.tracer->flush(0);
    CHECK(lab.tracer->counters().unmatched == 0);
    CHECK(within_ms(1000, [&] { return lab.tracer->counters().unmatched == 1; }));
    lab.stop();
    REQUIRE(lab.sink.all.size() == 1);
    CHECK(lab.sink.all[0].path == 0);
    CHECK(lab.sink.all[0].flags == activity_flag::kUnmatched);
    CHECK(complaint(lab.tracer->counters()) == "1 (100.0 %) belong to no known launch");
}

TEST_CASE("cupti: records out of order are matched all the same, and counted") {
    Lab lab;
    lab.started();
    std::vector<FakeLaunch> records;
    const std::uint64_t base = lab.fake.now();
    for (std::uint32_t i = 1; i <= 100; ++i) {
        const Region region(i);
        FakeLaunch l = lab.kernel("k", 1);
        l.kind = 0;
        l.start = base + i * 1000;
        l.end = l.start + 500;
        l.correlation = lab.launch(l);
        l.kind = 10;
        l.call = 0;
        records.push_back(l);
    }
    std::ranges::reverse(records);
    for (const FakeLaunch& l : records) lab.launch(l);
    lab.stop();
    const auto all = lab.sink.on_stream(1);
    REQUIRE(all.size() == 100);
    for (std::uint32_t i = 1; i <= 100; ++i) CHECK(all[i - 1].path == i);
    CHECK(lab.tracer->counters().out_of_order == 99);
}

TEST_CASE("cupti: buffers that come after the flush returned are waited for") {
    Lab lab("late_ms=30");
    lab.started();
    for (std::uint32_t i = 1; i <= 10; ++i) {
        const Region region(i);
        lab.launch(lab.kernel());
    }
    SUBCASE("by a flush") {
        CHECK(lab.tracer->flush(2'000'000'000));
        CHECK(lab.sink.all.size() == 10);
    }
    SUBCASE("by the end") {
        lab.stop();
        CHECK(lab.sink.all.size() == 10);
        CHECK(lab.tracer->counters().unmatched == 0);
    }
}

// ---- what is not told -----------------------------------------------------------------------

TEST_CASE("cupti: a running kernel is not asked for before the end") {
    Lab lab;
    lab.started();
    FakeLaunch running = lab.kernel("running", 1);
    running.end = 0;
    const std::uint32_t id = lab.launch(running);
    CHECK_FALSE(lab.tracer->flush(20'000'000));
    CHECK(lab.tracer->counters().cut_off == 0);
    SUBCASE("it ends in time") {
        std::thread later([&] {
            sleep_ms(30);
            lab.fake.finish(id, lab.fake.now());
        });
        lab.tracer->stop(5'000'000'000);
        later.join();
        CHECK(lab.sink.all.size() == 1);
        CHECK(lab.tracer->counters().cut_off == 0);
    }
    SUBCASE("it does not") {
        lab.stop();
        CHECK(lab.sink.all.empty());
        CHECK(lab.tracer->counters().cut_off == 1);
        CHECK(complaint(lab.tracer->counters()) ==
              "1 kernels or copies (100.0 %) are missing from the timeline");
    }
}

TEST_CASE("cupti: records without time stamps are no kernels of 1970") {
    Lab lab;
    lab.started();
    FakeLaunch l = lab.kernel();
    l.start = l.end = 0;
    lab.launch(l);
    l.kind = 1;
    l.call = kCuMemcpyAsync;
    lab.launch(l);
    l = lab.kernel();
    std::swap(l.start, l.end);
    lab.launch(l);
    l = lab.kernel();
    l.end = ~std::uint64_t{0};
    lab.launch(l);
    lab.launch(lab.kernel());
    lab.stop();
    CHECK(lab.sink.all.size() == 1);
    CHECK(lab.tracer->counters().no_time == 2);
    CHECK(lab.tracer->counters().bad_time == 2);
}

TEST_CASE("cupti: what the library dropped is told") {
    for (const char* script : {"", "version=130300;kernel=232"}) {
        Lab lab(script);
        lab.started();
        lab.launch(lab.kernel());
        lab.fake.drop(17);
        lab.stop();
        CHECK(lab.tracer->counters().dropped == 17);
        CHECK(complaint(lab.tracer->counters()) ==
              "17 kernels or copies (94.4 %) are missing from the timeline");
    }
}

TEST_CASE("cupti: records of other kinds are stepped over") {
    Lab lab;
    lab.started();
    lab.launch(lab.kernel());
    FakeLaunch other = lab.kernel();
    other.kind = 30;
    lab.launch(other);
    lab.launch(lab.kernel());
    lab.stop();
    CHECK(lab.sink.all.size() == 2);
    CHECK(lab.tracer->counters().unexpected == 1);
}

TEST_CASE("cupti: launches that no record ever follows") {
    Lab lab;
    lab.started();
    FakeLaunch silent = lab.kernel();
    silent.kind = 0;
    for (int i = 0; i < 5; ++i) lab.launch(silent);
    lab.stop();
    CHECK(lab.tracer->counters().launches == 5);
    CHECK(lab.tracer->counters().launches_open == 5);
    CHECK(complaint(lab.tracer->counters()).find("too old for this GPU") != std::string::npos);
}

// ---- buffers --------------------------------------------------------------------------------

TEST_CASE("cupti: out of buffers, a library before 12.9 still gets one") {
    Lab lab("version=26;kernel=208;check_zero=0");
    lab.setup.blocks = 1;
    lab.setup.block_bytes = 4096;  // 19 kernels
    lab.started();
    FakeLaunch running = lab.kernel("running", 1);
    running.end = 0;
    lab.launch(running);  // holds the only buffer
    for (int i = 0; i < 18; ++i) lab.launch(lab.kernel());
    for (int i = 0; i < 400; ++i) lab.launch(lab.kernel());  // for 64 KiB: 315 kernels
    lab.stop();
    const TracerCounters n = lab.tracer->counters();
    CHECK(n.buffers_refused >= 2);
    CHECK(n.activities + n.cut_off >= 19);
    CHECK(n.dropped >= 400 - 315 + 20);
}

TEST_CASE("cupti: out of buffers, a newer library is told so and counts") {
    Lab lab("version=28;kernel=208");
    lab.setup.blocks = 1;
    lab.setup.block_bytes = 4096;
    lab.started();
    FakeLaunch running = lab.kernel("running", 1);
    running.end = 0;
    const std::uint32_t id = lab.launch(running);
    for (int i = 0; i < 18; ++i) lab.launch(lab.kernel());
    for (int i = 0; i < 50; ++i) lab.launch(lab.kernel());
    lab.fake.finish(id, lab.fake.now());
    lab.stop();
    const TracerCounters n = lab.tracer->counters();
    CHECK(n.activities == 19);
    CHECK(n.dropped == 50);
    CHECK(n.buffers_refused == 50);
    CHECK(n.launches_open == 50);
}

TEST_CASE("cupti: buffers go round, zeroed") {
    Lab lab;
    lab.setup.blocks = 3;
    lab.setup.block_bytes = 4096;
    lab.started();
    for (int round = 0; round < 30; ++round) {
        for (int i = 0; i < 10; ++i) lab.launch(lab.kernel());
        REQUIRE(lab.tracer->flush(1'000'000'000));
    }
    lab.stop();
    CHECK(lab.sink.all.size() == 300);
    CHECK(lab.tracer->counters().dropped == 0);
    CHECK(lab.tracer->counters().buffers >= 30);
    CHECK(lab.fake.buffers_out() == 0);
}

// ---- who may subscribe ----------------------------------------------------------------------

TEST_CASE("cupti: refused by another profiler, it is overlay, and asked once") {
    Lab lab("refuse=39;holder=CUPTI for Kineto");
    const TracerStatus status = lab.start();
    CHECK(status.mode == TraceMode::overlay);
    CHECK_FALSE(status.tracing());
    CHECK(status.holder == "CUPTI for Kineto");
    CHECK(status.words.starts_with("\"CUPTI for Kineto\" holds CUPTI, so kernels are not "));
    CHECK(status.remedy == "end the other profiler first, or import its timeline");
    CHECK(lab.fake.subscribe_calls() == 1);
    CHECK(lab.fake.kinds() == 0);
    sleep_ms(50);
    CHECK(lab.fake.subscribe_calls() == 1);
    lab.stop();
    CHECK(lab.tracer->counters().activities == 0);
}

TEST_CASE("cupti: a library of 12.x does not tell who holds it") {
    Lab lab("version=26;kernel=208;refuse=39;holder=not told");
    const TracerStatus status = lab.start();
    CHECK(status.mode == TraceMode::overlay);
    CHECK(status.holder.empty());
    CHECK(status.words.starts_with("another profiler holds CUPTI"));
}

TEST_CASE("cupti: overlay on request does not touch the library") {
    Lab lab;
    lab.setup.overlay = true;
    const TracerStatus status = lab.start();
    CHECK(status.mode == TraceMode::overlay);
    CHECK(lab.fake.subscribe_calls() == 0);
}

TEST_CASE("cupti: several subscribers where library and driver allow it") {
    struct Case {
        const char* script;
        unsigned driver;
        TraceMode mode;
        bool second_family;
        int calls;
    };
    const Case cases[] = {
        {"version=130300;kernel=232;several=1", 610, TraceMode::shared, true, 1},
        {"version=130300;kernel=232;several=1", 580, TraceMode::single, true, 1},
        {"version=130300;kernel=232;several=0", 610, TraceMode::single, true, 2},
        {"version=130200;kernel=224;several=1", 610, TraceMode::single, true, 1},
        {"version=130001;several=1", 610, TraceMode::single, false, 1},
        {"version=26;kernel=208", 610, TraceMode::single, false, 1},
    };
    for (const Case& c : cases) {
        const std::string words = c.script;
        CAPTURE(words);
        CAPTURE(c.driver);
        Lab lab(c.script);
        lab.setup.driver_branch = c.driver;
        const TracerStatus status = lab.start();
        CHECK(status.mode == c.mode);
        CHECK((lab.fake.second_family() != 0) == c.second_family);
        CHECK(lab.fake.subscribe_calls() == c.calls);
        const Region region(5);
        lab.launch(lab.kernel());
        lab.stop();
        REQUIRE(lab.sink.all.size() == 1);
        CHECK(lab.sink.all[0].path == 5);
    }
}

TEST_CASE("cupti: other refusals are one sentence") {
    // As libraries answer where there is no driver: 12.6, 13.0, and 13.3 on.
    for (const char* script :
         {"refuse=15;version=24;kernel=208", "refuse=999", "version_error=999"}) {
        const std::string words = script;
        CAPTURE(words);
        Lab lab(script);
        const TracerStatus status = lab.start();
        CHECK(status.mode == TraceMode::none);
        CHECK(status.words.find("(CUPTI error ") != std::string::npos);
        CHECK(status.words.find("there may be no NVIDIA driver") != std::string::npos);
        CHECK(status.remedy.starts_with("nvidia-smi"));
        CHECK(lab.fake.kinds() == 0);
    }
}

TEST_CASE("cupti: kernels are recorded with copies and sets, or not at all") {
    for (const int kind : {1, 2, 10}) {
        const std::string script = "enable_error=14;enable_error_kind=" + std::to_string(kind);
        Lab lab(script.c_str());
        const TracerStatus status = lab.start();
        CHECK(status.mode == TraceMode::none);
        CHECK(status.words.find("records could not be enabled") != std::string::npos);
        CHECK(lab.fake.kinds() == 0);
        CHECK(lab.fake.subscribers() == 0);
        CHECK(lab.fake.watches(1, kCuLaunchKernel) == 0);
    }
    Lab lab;
    lab.started();
    CHECK(lab.fake.kinds() == (1 << 10 | 1 << 1 | 1 << 2 | 1 << 17));
}

TEST_CASE("cupti: without records of its own cost, kernels are recorded all the same") {
    Lab lab("enable_error=14;enable_error_kind=17");
    lab.started();
    lab.launch(lab.kernel());
    lab.stop();
    CHECK(lab.sink.all.size() == 1);
    CHECK(lab.tracer->counters().library_ns == 0);
}

TEST_CASE("cupti: the library's own cost is told, and what ran beside it") {
    Lab lab;
    lab.started();
    const std::uint64_t base = lab.fake.now();
    const auto overhead = [&](std::uint32_t what, std::uint64_t from, std::uint64_t to) {
        FakeLaunch o{};
        o.kind = 17;
        o.copy_kind = what;
        o.start = base + from;
        o.end = base + to;
        lab.launch(o);
    };
    overhead(1U << 16U, 10'000, 15'000);  // a flush
    overhead(2U << 16U, 50'000, 51'000);  // instrumentation
    overhead(4U << 16U, 0, 90'000);       // a module is loaded: not the tracer's doing
    overhead(1U << 16U, 0, 0);
    for (const auto& [from, to] :
         {std::pair{9'000, 10'000}, std::pair{9'000, 10'001}, std::pair{14'999, 16'000},
          std::pair{15'000, 50'000}, std::pair{50'500, 50'600}, std::pair{60'000, 70'000}}) {
        FakeLaunch l = lab.kernel();
        l.start = base + static_cast<std::uint64_t>(from);
        l.end = base + static_cast<std::uint64_t>(to);
        lab.launch(l);
    }
    lab.stop();
    const TracerCounters n = lab.tracer->counters();
    CHECK(n.kernels == 6);
    CHECK(n.library_ns == 6'000);
    CHECK(n.disturbed == 3);
    CHECK(n.unexpected == 0);
    CHECK(complaint(n) ==
          "3 (50.0 %) ran while the vendor's library worked for the tracer: they may have taken "
          "longer");
}

TEST_CASE("cupti: what a version is known to get wrong") {
    CHECK(cupti::known_trouble(130'500).empty());
    CHECK(cupti::known_trouble(130'001).find("wrong launch") != std::string::npos);
    CHECK(cupti::known_trouble(130'001).find("hang") == std::string::npos);
    CHECK(cupti::known_trouble(130'000).find("hang") != std::string::npos);
    CHECK(cupti::known_trouble(24).find("conditional nodes") != std::string::npos);
    CHECK(cupti::known_trouble(18).find("conditional nodes") == std::string::npos);
    Lab lab("version=130400;kernel=248;memcpy=112;memset=104");
    CHECK(lab.start().caution == "its memory grows in long traces; 13.4 Update 1 mends that");
}

TEST_CASE("cupti: a session hears of its own losses only") {
    TracerCounters before;
    before.activities = 90;
    before.dropped = 10;
    before.launches = 100;
    before.buffers = 3;
    TracerCounters now = before;
    now.activities = 190;
    now.launches = 200;
    now.launches_open = 2;
    now.buffers = 4;
    CHECK(since(now, before).activities == 100);
    CHECK(since(now, before).launches_open == 2);
    CHECK(complaint(since(now, before)).empty());
    CHECK_FALSE(complaint(now).empty());
    TracerCounters again;  // of a new run of the tracer
    again.activities = 5;
    again.launches = 5;
    again.buffers = 1;
    CHECK(since(again, before).activities == 5);
}

TEST_CASE("cupti: one tracer at a time") {
    Lab lab;
    lab.started();
    Sink other_sink;
    const auto other = cupti::make_tracer({});
    TracerSetup setup = lab.setup;
    setup.sink = &other_sink;
    const TracerStatus status = other->start(setup);
    CHECK(status.mode == TraceMode::none);
    CHECK(status.words.find("already") != std::string::npos);
    CHECK(lab.fake.subscribe_calls() == 1);
    lab.stop();
    CHECK(other->start(setup).tracing());
    other->stop(0);
}

// ---- beginning and end ----------------------------------------------------------------------

TEST_CASE("cupti: after the end nothing is left in the way") {
    Lab lab;
    lab.started();
    CHECK(lab.fake.watches(1, kCuLaunchKernel) == 1);
    CHECK(lab.fake.watches(1, kCuGraphLaunch) == 1);
    CHECK(lab.fake.watches(2, kCudaMemcpyAsync) == 1);
    CHECK(lab.fake.watches(2, 211) == 0);  // cudaLaunchKernel: its driver call is watched
    CHECK(lab.fake.watches(3, 13) == 1);
    lab.launch(lab.kernel());
    lab.stop();
    CHECK(lab.fake.kinds() == 0);
    CHECK(lab.fake.subscribers() == 0);
    CHECK(lab.fake.buffers_out() == 0);
    for (std::uint32_t domain = 1; domain <= 3; ++domain) {
        for (std::uint32_t call = 0; call < 1024; ++call) {
            REQUIRE(lab.fake.watches(domain, call) == 0);
        }
    }
    lab.launch(lab.kernel());
    CHECK(lab.sink.all.size() == 1);
    lab.stop();  // again: nothing
    CHECK(lab.tracer->status().mode == TraceMode::none);
}

TEST_CASE("cupti: started again, ids begin anew and nothing is mixed up") {
    Lab lab;
    for (std::uint32_t run = 1; run <= 3; ++run) {
        lab.sink.all.clear();
        lab.started();
        // Captured launches stay open, with ids that the next run has too.
        FakeLaunch silent = lab.kernel();
        silent.kind = 0;
        {
            const Region region(run * 1000);
            for (int i = 0; i < 20; ++i) lab.launch(silent);
        }
        for (std::uint32_t i = 1; i <= 50; ++i) {
            const Region region(run * 100 + i);
            CHECK(lab.launch(lab.kernel()) == 20 + i);
        }
        // Of this run's id 5, if the launch of an earlier run were still known.
        FakeLaunch record = lab.kernel("r", 3);
        record.call = 0;
        record.correlation = 5;
        lab.launch(record);
        lab.stop();
        const auto all = lab.sink.on_stream(7);
        REQUIRE(all.size() == 50);
        for (std::uint32_t i = 1; i <= 50; ++i) CHECK(all[i - 1].path == run * 100 + i);
        bool right = true;
        for (const ActivityRecord& a : lab.sink.all) {
            if (lab.sink.name(a) == "r") right = right && a.path == run * 1000;
        }
        CHECK(right);
        CHECK(lab.tracer->counters().launches == 70);
    }
}

TEST_CASE("cupti: launches left from an earlier run are known by their epoch") {
    struct Reader final : LaunchReader {
        std::vector<std::pair<std::uint32_t, std::uint32_t>> launches;
        std::vector<std::uint64_t> nodes;
        void launch(std::uint32_t id, std::uint32_t path) override {
            launches.emplace_back(id, path);
        }
        void node_created(std::uint64_t node, std::uint32_t) override { nodes.push_back(node); }
        void node_cloned(std::uint64_t node, std::uint64_t) override { nodes.push_back(node); }
    };
    LaunchRing ring;
    Reader reader;
    ring.launch(1, 10, 1);
    ring.node_created(1, 0x1'0000'0001U, 1);
    ring.launch(2, 10, 2);
    ring.node_cloned(2, 0x2'0000'0001U, 5);
    ring.launch(2, 11, 3);
    ring.drain(2, reader);
    REQUIRE(reader.launches.size() == 2);
    CHECK(reader.launches[0] == std::pair<std::uint32_t, std::uint32_t>{10, 2});
    CHECK(reader.launches[1] == std::pair<std::uint32_t, std::uint32_t>{11, 3});
    REQUIRE(reader.nodes.size() == 1);
    CHECK(reader.nodes[0] == 0x2'0000'0001U);

    // Full: the latest are lost and counted, and the ring goes on.
    for (std::uint32_t i = 1; i <= LaunchRing::kEntries + 100; ++i) ring.launch(2, i, i);
    CHECK(ring.lost() == 100);
    reader.launches.clear();
    ring.drain(2, reader);
    CHECK(reader.launches.size() == LaunchRing::kEntries);
    CHECK(reader.launches.back().first == LaunchRing::kEntries);
    ring.launch(2, 7, 7);
    ring.drain(2, reader);
    CHECK(reader.launches.back().first == 7);
}

TEST_CASE("cupti: a launch is known until its record came, however many follow it") {
    LaunchTable table;
    table.add(1, 111);
    for (std::uint32_t id = 2; id <= 3 * LaunchTable::kSlots; ++id) {
        table.add(id, id);
        REQUIRE(table.find(id) == id);
    }
    CHECK(table.open() == 1);
    CHECK(table.find(1) == 111);
    CHECK_FALSE(table.find(2).has_value());  // had its record long ago
    // Launches that never have one do not add up.
    for (std::uint32_t id = 1; id <= 4 * LaunchTable::kSlots; ++id) table.add(id, id);
    CHECK(table.aside() <= LaunchTable::kMostAside);
}

TEST_CASE("cupti: threads come and go, and one launches while tracing ends") {
    Lab lab;
    lab.started();
    for (int i = 0; i < 200; ++i) {
        std::thread([&] { lab.launch(lab.kernel()); }).join();
    }
    std::atomic<bool> over{false};
    std::thread busy([&] {
        while (!over.load()) lab.launch(lab.kernel("busy", 9));
    });
    sleep_ms(5);
    lab.stop();
    over = true;
    busy.join();
    CHECK(lab.sink.on_stream(7).size() == 200);
    // A thread that launches without a pause may fill its ring before we get to run.
    CHECK(lab.tracer->counters().unmatched <= lab.tracer->counters().launches_lost);
}

TEST_CASE("cupti: the clock is set while tracing") {
    Lab lab;
    lab.started();
    const std::int64_t before = now_ns();
    lab.launch(lab.kernel("before", 1));
    REQUIRE(lab.tracer->flush(1'000'000'000));
    sleep_ms(30);
    lab.fake.set_clock(3'600'000'000'000);
    lab.launch(lab.kernel("after", 2));
    REQUIRE(lab.tracer->flush(1'000'000'000));
    lab.stop();
    const std::int64_t after = now_ns();
    REQUIRE(lab.sink.all.size() == 2);
    for (const ActivityRecord& a : lab.sink.all) {
        CHECK(a.begin_ns >= before);
        CHECK(a.begin_ns <= after);
    }
    CHECK(lab.tracer->counters().clock_steps == 1);
    CHECK(lab.tracer->counters().clock_residual_ns < 1'000'000);
}

TEST_CASE("cupti: a forked child does not trace, and does not hang") {
    Lab lab;
    lab.started();
    lab.launch(lab.kernel());
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        ::alarm(20);
        lab.tracer->flush(1'000'000'000);
        lab.tracer->stop(1'000'000'000);
        lab.tracer.reset();
        ::_exit(0);
    }
    int status = -1;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(status == 0);
    lab.stop();
    CHECK(lab.sink.all.size() == 1);
}

// ---- the library ----------------------------------------------------------------------------

TEST_CASE("cupti: the copy that is loaded is the one that is used") {
    const Lab lab;
    REQUIRE(cupti::loaded_libraries("libcupti.so").size() == 1);
    cupti::Places places;
    places.file = "/nonexistent/libcupti.so.12";  // not even looked at
    const cupti::Library library = cupti::open_library(places);
    REQUIRE(library);
    CHECK(library.was_loaded);
    CHECK(library.path == FAKE_CUPTI_PATH);
    CHECK(cupti::loaded_libraries("libcupti.so").size() == 1);
}

TEST_CASE("cupti: where it is looked for, best first") {
    const FakeTree tree;
    const auto touch = [&](const std::string& path) { tree.write(path, ""); };
    touch("site/nvidia/cu13/lib/libcupti.so.13");
    touch("site/nvidia/cuda_cupti/lib/libcupti.so.12");
    touch("cuda/extras/CUPTI/lib64/libcupti.so.12");
    touch("cuda/lib64/libcupti.so.13");
    cupti::Places places;
    places.folders = {"", tree.path("other"), tree.path("site")};
    places.cuda_home = tree.path("cuda");
    const std::string site = tree.path("site/nvidia/");
    const std::string cuda = tree.path("cuda/");
    CHECK(cupti::candidates(places, 0) ==
          std::vector<std::string>{
              site + "cu13/lib/libcupti.so.13", site + "cuda_cupti/lib/libcupti.so.12",
              cuda + "lib64/libcupti.so.13", cuda + "extras/CUPTI/lib64/libcupti.so.12",
              "libcupti.so.13", "libcupti.so.12"});
    CHECK(cupti::candidates(places, 12) ==
          std::vector<std::string>{site + "cuda_cupti/lib/libcupti.so.12",
                                   cuda + "extras/CUPTI/lib64/libcupti.so.12", "libcupti.so.12"});
    places.file = "/this/one";
    CHECK(cupti::candidates(places, 0) == std::vector<std::string>{"/this/one"});
}

TEST_CASE("cupti: without a library, that is said in one sentence") {
    if (!cupti::loaded_libraries("libcupti.so").empty()) {
        MESSAGE("one is loaded already: not tried");
        return;
    }
    cupti::Places places;
    places.file = "/nonexistent/libcupti.so.13";
    Sink sink;
    TracerSetup setup;
    setup.sink = &sink;
    setup.current_path = current_path;
    const auto tracer = cupti::make_tracer(places);
    const TracerStatus status = tracer->start(setup);
    CHECK(status.mode == TraceMode::none);
    CHECK(status.words.starts_with("libcupti was not found, so no kernels are recorded"));
    CHECK(status.remedy.starts_with("pip install nvidia-cuda-cupti"));
    tracer->stop(0);
    CHECK_FALSE(tracer->flush(0));
}

TEST_CASE("cupti: versions in words") {
    CHECK(cupti::version_words(18) == "11.8");
    CHECK(cupti::version_words(26) == "12.8");
    CHECK(cupti::version_words(28) == "12.9");
    CHECK(cupti::version_words(130001) == "13.0");
    CHECK(cupti::version_words(130300) == "13.3");
}

TEST_CASE("cupti: the driver's branch") {
    const FakeTree tree;
    CHECK(cupti::nvidia_driver_branch(tree.path("proc")) == 0);
    tree.write("proc/driver/nvidia/version",
               "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sun Jul 27 2025\n"
               "GCC version:  gcc version 12.2.0 (Debian)\n");
    CHECK(cupti::nvidia_driver_branch(tree.path("proc")) == 580);
    tree.write("proc/driver/nvidia/version",
               "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  610.12  Release Build\n");
    CHECK(cupti::nvidia_driver_branch(tree.path("proc")) == 610);
}
