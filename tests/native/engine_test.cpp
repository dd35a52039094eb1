// The engine with all its threads, on a replayed meter: sessions, regions, journals, side by side.
#include "recorder/engine.h"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <stdexcept>
#include <thread>

using namespace picojoule;

namespace {

// A counter that ticks every 20 ms and gains 2 J each time: 100 W.
std::string steady_meter(double seconds) {
    Trace t;
    t.begin_ns = 1'000'000'000;
    Channel c;
    c.meter = "test";
    c.domain = "gpu:0";
    c.field = "energy";
    c.quantity = Quantity::energy;
    c.unit = 1e-3;
    t.channels.push_back(c);
    t.paths.emplace_back();
    const int ticks = static_cast<int>(seconds * 50);
    for (int k = 0; k < ticks; ++k) {
        Record r;
        r.kind = RecordKind::tick;
        r.a = r.b = t.begin_ns + k * 20 * kNsPerMs;
        r.c = static_cast<std::uint64_t>(2000 * k);
        t.ticks.push_back(r);
    }
    t.end_ns = t.ticks.back().a;
    return std::string("replay:").append(offer_replay(std::move(t)));
}

SessionOptions on(const std::string& meter) {
    SessionOptions options;
    options.all_sources = false;
    options.sources = {meter};
    return options;
}

void rest(int ms) {
    std::this_thread::sleep_for(std::chrono::milliseconds(ms));
}

}  // namespace

TEST_CASE("a session is an interval of one shared record, closed by the next tick") {
    Engine& engine = Engine::instance();
    const std::string meter = steady_meter(60);
    const auto outer = engine.begin(on(meter));
    rest(150);
    const auto inner = engine.begin(on(meter));
    rest(100);
    engine.end(*inner);
    REQUIRE(engine.wait(*inner, 3 * kNsPerS));
    engine.end(*outer);
    REQUIRE(engine.wait(*outer, 3 * kNsPerS));
    const Trace a = engine.trace(*outer);
    const Trace b = engine.trace(*inner);
    CHECK(a.begin_ns < b.begin_ns);
    CHECK(b.end_ns < a.end_ns);
    for (const Trace* t : {&a, &b}) {
        REQUIRE(t->channels.size() == 1);
        REQUIRE(t->ticks.size() >= 3);
        CHECK(t->ticks.back().a > t->end_ns);  // the closing edge
        for (std::size_t i = 1; i < t->ticks.size(); ++i) {
            CHECK(t->ticks[i].c >= t->ticks[i - 1].c);
            CHECK(t->ticks[i].b <= t->ticks[i].a);
        }
    }
    engine.shutdown();
}

TEST_CASE("threads begin, end and name regions at once, with journals being written") {
    const auto folder = std::filesystem::temp_directory_path() /
                        std::string("pj-engine-").append(std::to_string(::getpid()));
    std::filesystem::create_directories(folder);
    const std::string meter = steady_meter(60);
    Engine& engine = Engine::instance();
    const PathId path = RegionStore::instance().paths().intern(kRootPath, "engine test");
    std::vector<std::thread> threads;
    for (int n = 0; n < 4; ++n) {
        threads.emplace_back([&, n] {
            for (int i = 0; i < 6; ++i) {
                SessionOptions options = on(meter);
                options.name = "s";
                options.journal = (folder / std::to_string(10 * n + i)).string();
                const auto session = engine.begin(options);
                for (int k = 0; k < 500; ++k) {
                    ThreadRegions& mine = RegionStore::this_thread();
                    const std::int64_t now = now_ns();
                    mine.enter(path, now);
                    mine.keep_span({now, now + 10, path});
                    mine.exit(path, now_ns());
                }
                rest(5);
                engine.end(*session);
                REQUIRE(engine.wait(*session, 5 * kNsPerS));
                CHECK(engine.flush_journal(*session, 5 * kNsPerS).empty());
                const JournalReading reading = read_journal(options.journal);
                CHECK(reading.problem == JournalProblem::none);
                CHECK(reading.trace.complete);
                CHECK(reading.trace.end_ns == session->end_ns);
                std::uint64_t calls = 0;
                for (const Record& r : engine.trace(*session).cells) calls += r.c >> 32U;
                CHECK(calls >= 500);  // one's own, and those of the others meanwhile
            }
        });
    }
    for (auto& t : threads) t.join();
    engine.shutdown();
    std::filesystem::remove_all(folder);
}

TEST_CASE("a meter that goes away is a gap and ends nothing else") {
    Engine& engine = Engine::instance();
    const auto session = engine.begin(on(steady_meter(0.3)));
    rest(600);
    engine.end(*session);
    REQUIRE(engine.wait(*session, 3 * kNsPerS));
    const Trace t = engine.trace(*session);
    REQUIRE(t.gaps.size() == 1);
    CHECK(t.gaps[0].reason.find("ended") != std::string::npos);
    CHECK(t.gaps[0].end_ns == t.end_ns);
    engine.shutdown();
}

TEST_CASE("an unknown meter and one that does not work are refused in words") {
    Engine& engine = Engine::instance();
    CHECK_THROWS_AS(engine.begin(on("nope")), std::invalid_argument);
    CHECK_THROWS_AS(engine.begin(on("replay:none")), std::runtime_error);
    engine.shutdown();
}

#if !defined( \
    __SANITIZE_THREAD__)  // a forked child of a threaded program is more than it can follow
TEST_CASE("a forked child has an engine of its own and leaves the parent's alone") {
    Engine& engine = Engine::instance();
    const std::string meter = steady_meter(60);
    const auto session = engine.begin(on(meter));
    const pid_t child = ::fork();
    if (child == 0) {
        const bool fresh = Engine::existing() == nullptr;
        const auto own = Engine::instance().begin(on(meter));
        rest(50);
        Engine::instance().end(*own);
        const bool complete = Engine::instance().wait(*own, 3 * kNsPerS);
        ::_exit(fresh && complete ? 0 : 1);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
    engine.end(*session);
    CHECK(engine.wait(*session, 3 * kNsPerS));
    engine.shutdown();
}
#endif
