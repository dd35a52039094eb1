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

TEST_CASE("thinned series still say since when they were looked at") {
    const auto record = [](std::uint16_t id, std::int64_t b, std::int64_t a, std::uint64_t value,
                           std::uint8_t flags) {
        Record r;
        r.kind = RecordKind::tick;
        r.id = id;
        r.a = a;
        r.b = b;
        r.c = value;
        r.flags = flags;
        return r;
    };
    constexpr auto kHeld = tick_flag::kHeld;
    std::vector<Record> rows = {
        record(0, 9, 10, 5, kHeld),               // the first: stays
        record(1, 9, 10, 1, kHeld),               // another series
        record(0, 10, 20, 5, kHeld),              // goes
        record(0, 20, 30, 5, kHeld),              // stays, and holds since 10
        record(0, 33, 34, 6, 0),                  // a change: goes
        record(0, 34, 44, 6, kHeld),              // stays: 6 since 33
        record(0, 90, 91, 6, kHeld),              // looked at again after a pause: stays
        record(0, 95, 96, 7, 0),                  // goes
        record(0, 97, 98, 8, tick_flag::kReset),  // stays
    };
    thin_states(rows);
    std::vector<std::pair<std::int64_t, std::int64_t>> kept;
    for (const Record& r : rows) {
        if (r.id == 0) kept.emplace_back(r.b, r.a);
    }
    CHECK(kept == std::vector<std::pair<std::int64_t, std::int64_t>>{
                      {9, 10}, {10, 30}, {33, 44}, {90, 91}, {97, 98}});
    CHECK(rows.size() == 6);
}

TEST_CASE("a series that stands still is thinned as well") {
    std::vector<Record> rows(1000);
    for (std::size_t i = 0; i < rows.size(); ++i) {
        rows[i].kind = RecordKind::tick;
        rows[i].b = static_cast<std::int64_t>(i);
        rows[i].a = static_cast<std::int64_t>(i + 1);
        rows[i].flags = tick_flag::kHeld;
    }
    thin_states(rows);
    CHECK(rows.size() <= 502);
    for (std::size_t i = 1; i < rows.size(); ++i) CHECK(rows[i].b == rows[i - 1].a);
}
