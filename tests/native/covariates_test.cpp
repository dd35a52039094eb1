#include "analysis/covariates.h"

#include <doctest/doctest.h>

#include <limits>

#include "analysis/drift.h"
#include "analysis/likeness.h"

using namespace picojoule;

namespace {

Record tick(std::uint16_t channel, std::int64_t old_ns, std::int64_t new_ns, std::uint64_t raw,
            std::uint8_t flags = 0) {
    Record r;
    r.kind = RecordKind::tick;
    r.id = channel;
    r.a = new_ns;
    r.b = old_ns;
    r.c = raw;
    r.flags = flags;
    return r;
}

Trace with_clocks() {
    Trace t;
    t.begin_ns = 1000;
    t.end_ns = 2000;
    t.channels.resize(3);
    t.channels[0].domain = t.channels[1].domain = "gpu:0";
    t.channels[2].domain = "gpu:1";
    t.channels[0].quantity = Quantity::energy;
    t.channels[1].quantity = t.channels[2].quantity = Quantity::frequency;
    t.channels[1].unit = t.channels[2].unit = 1e6;
    return t;
}

}  // namespace

TEST_CASE("a clock that changed stood at its old value until it was last seen") {
    Trace t = with_clocks();
    t.ticks = {tick(1, 900, 950, 1700, tick_flag::kHeld), tick(0, 1000, 1010, 5),
               tick(1, 1200, 1210, 1500)};
    const auto found = covariates_of(t, "gpu:0");
    REQUIRE(found.size() == 1);
    CHECK(found[0].t_ns == std::vector<std::int64_t>{-100, -50, 200, 210});
    CHECK(found[0].value == std::vector<double>{1.7e9, 1.7e9, 1.7e9, 1.5e9});
}

TEST_CASE("looks at an instant are points") {
    Trace t = with_clocks();
    t.ticks = {tick(1, 1100, 1100, 1700), tick(1, 1200, 1200, 1600), tick(1, 1300, 1300, 1700)};
    const auto found = covariates_of(t, "gpu:0");
    REQUIRE(found.size() == 1);
    CHECK(found[0].t_ns == std::vector<std::int64_t>{100, 200, 300});
    CHECK(found[0].value == std::vector<double>{1.7e9, 1.6e9, 1.7e9});
    // With the clock's third power at most, or so.
    CHECK(found[0].std_per_unit == doctest::Approx(3.0 / 1.65e9));
}

TEST_CASE("a steady clock, and that of another device, say nothing") {
    Trace t = with_clocks();
    t.ticks = {tick(1, 1100, 1100, 1700), tick(1, 1200, 1200, 1700), tick(2, 1200, 1200, 1700),
               tick(2, 1300, 1300, 1600)};
    CHECK(covariates_of(t, "gpu:0").empty());
    CHECK(covariates_of(t, "gpu:1").size() == 1);
}

TEST_CASE("a temperature is one, and other gauges are not") {
    Trace t = with_clocks();
    t.channels[1].quantity = Quantity::temperature;
    t.channels[1].unit = 1.0;
    t.channels[2].domain = "gpu:0";
    t.channels[2].quantity = Quantity::ratio;
    t.ticks = {tick(1, 1100, 1100, 45), tick(1, 1200, 1200, 46), tick(2, 1200, 1200, 1),
               tick(2, 1300, 1300, 2)};
    const auto found = covariates_of(t, "gpu:0");
    REQUIRE(found.size() == 1);
    CHECK(found[0].value == std::vector<double>{45.0, 46.0});
    CHECK(found[0].std_per_unit == 0.01);
}

TEST_CASE("rates may move with a series by its spread, and no more than a unit of it can do") {
    const std::vector<double> t = {0.0, 1.0, 2.0, 3.0}, length(4, 1.0), model(4, 100.0);
    NoiseShape shape;
    shape.value2.assign(4, 1.0);
    shape.length_s = length;
    shape.begin2.assign(4, 0.0);
    shape.end2.assign(4, 0.0);
    shape.shared.assign(4, 0);
    const Tridiagonal noise(shape, NoiseScale{});
    const auto most = [&](double step, double std_per_unit) {
        DriftBasis drift;
        drift.give(t, {45.0, 45.0, 45.0 + step, 45.0 + step}, std_per_unit);
        drift.update(t, length, model, std::vector<double>(4, 0.0), noise);
        REQUIRE(drift.terms() == 1);
        double at_end = 0.0;
        drift.at(3.0, &at_end);
        return kDriftStd * at_end;  // half the step above the mean
    };
    CHECK(most(1.0, 0.01) == doctest::Approx(0.005));
    CHECK(most(40.0, 0.01) == doctest::Approx(kDriftStd));
    CHECK(most(1.0, std::numeric_limits<double>::infinity()) == doctest::Approx(kDriftStd));
}

TEST_CASE("windows of like content are of one kind") {
    Rows rows;
    for (int k = 0; k < 80; ++k) {  // four mixtures of two classes that take turns
        const double share = 0.1 + 0.25 * (k % 4);
        rows.entries.push_back({0, share});
        rows.entries.push_back({1, 1.0 - share});
        rows.start.push_back(rows.entries.size());
    }
    const auto kinds = kinds_by_content(rows, 2, 4);
    for (std::size_t k = 4; k < 80; ++k) CHECK(kinds[k] == kinds[k % 4]);
    for (std::size_t k = 1; k < 4; ++k) CHECK(kinds[k] != kinds[k - 1]);
}

TEST_CASE("windows that all hold the same are of one kind") {
    Rows rows;
    for (int k = 0; k < 10; ++k) {
        rows.entries.push_back({0, 0.5});
        rows.start.push_back(rows.entries.size());
    }
    for (const auto kind : kinds_by_content(rows, 3, 4)) CHECK(kind == 0);
}
