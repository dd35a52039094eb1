#include "recorder/log.h"

#include <doctest/doctest.h>

#include <numeric>

using namespace picojoule;

namespace {
Record record(RecordKind kind, std::int64_t a, std::int64_t b, std::uint32_t d = 0) {
    Record r;
    r.kind = kind;
    r.a = a;
    r.b = b;
    r.d = d;
    return r;
}
}  // namespace

TEST_CASE("positions stay valid while the oldest part is forgotten") {
    Log log;
    for (int i = 0; i < 20'000; ++i) log.append(record(RecordKind::tick, i, 0));
    log.trim(15'000);
    CHECK(log.begin() == 15'000);
    CHECK(log.end() == 20'000);
    CHECK(log.slice(17'000, 17'001)[0].a == 17'000);
    CHECK(log.slice(0, 15'001).size() == 1);
    CHECK(log.slice(30'000, 40'000).empty());
}

TEST_CASE("thinned cells keep every nanosecond and every call") {
    std::vector<Record> cells;
    std::int64_t time = 0;
    for (int snapshot = 1; snapshot <= 101; ++snapshot) {
        for (std::uint32_t path = 1; path <= 3; ++path) {
            if ((snapshot + static_cast<int>(path)) % 4 == 0) continue;
            cells.push_back(record(RecordKind::cell, snapshot * 10, snapshot + path, path));
            cells.back().c = (1ULL << 32U) | 1U;
            time += cells.back().b;
        }
    }
    const auto before = cells.size();
    thin_cells(cells);
    CHECK(cells.size() < before * 3 / 4);
    CHECK(std::accumulate(cells.begin(), cells.end(), std::int64_t{0},
                          [](auto s, const Record& r) { return s + r.b; }) == time);
    CHECK(std::accumulate(cells.begin(), cells.end(), std::uint64_t{0},
                          [](auto s, const Record& r) { return s + (r.c >> 32U); }) == before);
    for (std::size_t i = 1; i < cells.size(); ++i) CHECK(cells[i].a >= cells[i - 1].a);
}

TEST_CASE("thinned ticks keep the newest total and all that tell of something") {
    std::vector<Record> ticks;
    for (int i = 0; i < 100; ++i) {
        ticks.push_back(record(RecordKind::tick, i, i - 1));
        if (i == 51) ticks.back().flags = tick_flag::kReset;
    }
    thin_ticks(ticks);
    CHECK(ticks.size() < 55);
    CHECK(std::any_of(ticks.begin(), ticks.end(), [](const Record& r) { return r.flags != 0; }));
}

TEST_CASE("thinned spans lose the shorter half") {
    std::vector<Record> spans;
    for (int i = 0; i < 1000; ++i)
        spans.push_back(record(RecordKind::span, i, i + 1 + (i * 7919) % 1000));
    const auto least = thin_spans(spans);
    CHECK(spans.size() == doctest::Approx(500).epsilon(0.02));
    for (const Record& r : spans) CHECK(r.b - r.a >= least);
}

TEST_CASE("a merged pair of snapshots has one time, the later one") {
    std::vector<Record> cells{
        record(RecordKind::cell, 100, 5, 1), record(RecordKind::cell, 100, 6, 2),
        record(RecordKind::cell, 200, 7, 1), record(RecordKind::cell, 300, 8, 2)};
    thin_cells(cells);
    REQUIRE(cells.size() == 3);
    CHECK(cells[0].a == 200);
    CHECK(cells[0].b == 12);
    CHECK(cells[1].a == 200);
    CHECK(cells[2].a == 300);
}
