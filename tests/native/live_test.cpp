#include "analysis/live.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <vector>

using picojoule::LiveAttribution;
using picojoule::LiveBatch;

namespace {

struct Told {
    std::vector<std::int64_t> begin, end, span_begin, span_end;
    std::vector<double> value, edge_std, value_std;
    std::vector<std::uint8_t> joined;
    std::vector<std::int32_t> cls;

    void window(std::int64_t from, std::int64_t to, double joules, bool joins, double std_ns) {
        begin.push_back(from);
        end.push_back(to);
        value.push_back(joules);
        edge_std.push_back(std_ns);
        value_std.push_back(0.1);
        joined.push_back(joins ? 1 : 0);
    }
    void span(std::int64_t from, std::int64_t to, std::int32_t c) {
        span_begin.push_back(from);
        span_end.push_back(to);
        cls.push_back(c);
    }
    void to(LiveAttribution& live, std::int64_t until) const {
        LiveBatch batch;
        batch.begin_ns = begin;
        batch.end_ns = end;
        batch.value = value;
        batch.edge_std_ns = edge_std;
        batch.value_std = value_std;
        batch.joined = joined;
        batch.spans = {span_begin, span_end, cls};
        batch.complete_until_ns = until;
        live.update(batch);
    }
};

constexpr std::int64_t kS = 1'000'000'000;

}  // namespace

TEST_CASE("live: the information of two linked readings is that of their covariance") {
    // Sharp edges but for the shared one, far from which nothing changes: rows are plain times.
    LiveAttribution live({});
    Told told;
    told.span(0, 3 * kS, 0);
    told.window(0, kS, 100.0, false, 0.0);
    told.window(kS, 2 * kS, 100.0, true, 0.0);
    told.to(live, 3 * kS);
    REQUIRE(live.folded() == 2);
    // 100 W; edges of 1e5 ns are 0.01 J, values 0.1 J, process 1e-6 * 100^2 a second.
    const double e2 = std::pow(100.0 * 1e-4, 2), own = 0.01 + 1e-2 + 2.0 * e2;
    // 1' S^-1 1 of [[own, -e2], [-e2, own]] is 2 / (own - e2).
    CHECK(live.information()(1, 1) == doctest::Approx(2.0 / (own - e2)).epsilon(1e-5));
    CHECK(live.information()(1, 0) == doctest::Approx(0.0));
    CHECK(live.total() == doctest::Approx(200.0));
}

TEST_CASE("live: a reading waits for the spans that touch it, over batches") {
    LiveAttribution live({});
    Told first;
    first.span(0, kS / 2, 0);
    first.span(9 * kS / 10, 12 * kS / 10, 1);  // into the next window
    first.window(0, kS, 100.0, false, 0.0);
    first.to(live, kS);
    CHECK(live.folded() == 0);
    CHECK(live.waiting() == 1);
    Told second;
    second.window(kS, 2 * kS, 50.0, true, 0.0);
    second.to(live, 3 * kS);
    CHECK(live.folded() == 2);
    CHECK(live.time_s()[0] == doctest::Approx(0.5).epsilon(1e-12));
    CHECK(live.time_s()[1] == doctest::Approx(0.3).epsilon(1e-12));
    CHECK(live.idle_s() == doctest::Approx(1.2).epsilon(1e-12));
    CHECK(live.folded_until_ns() == 2 * kS);
}

TEST_CASE("live: classes come later, and all adds up") {
    LiveAttribution live({});
    double joules = 0.0;
    for (int k = 0; k < 1500; ++k) {
        Told told;
        const std::int64_t at = k * kS / 10;
        const int most = k < 700 ? 2 : 30;
        double value = 0.0;
        for (int i = 0; i < 4; ++i) {
            const std::int64_t from = at + i * 20'000'000;
            const std::int64_t length = 5'000'000 + (k * 37 + i * 11) % 13 * 1'000'000;
            const int c = (k * 7 + i * i) % most;
            told.span(from, from + length, c);
            value += (200.0 + 10.0 * c - 60.0) * 1e-9 * static_cast<double>(length);
        }
        value += 6.0;
        joules += value;
        told.window(at, at + kS / 10, value, k > 0, 1e3);
        told.to(live, at + kS / 10 + kS / 100);
    }
    CHECK(live.folded() == 1500);
    CHECK(live.n_classes() == 30);
    CHECK(live.spans_kept() < 20);
    const auto found = live.result();
    double parts = found.baseline_energy;
    for (const double e : found.energy) parts += e;
    CHECK(parts == doctest::Approx(joules).epsilon(1e-9));
    const auto& now = live.rates();
    for (std::size_t c = 0; c < 30; ++c) {
        CHECK(found.rate[c] ==
              doctest::Approx(200.0 + 10.0 * static_cast<double>(c)).epsilon(0.02));
        CHECK(now[c + 1] == doctest::Approx(found.rate[c]).epsilon(0.02));
    }
}
