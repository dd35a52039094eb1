#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "base/clock.h"
#include "fake_tree.h"
#include "sources/simulated_sensor.h"

using namespace picojoule;
using namespace picojoule::testing;

namespace {

using Shape = SimulatedSensorSpec::Shape;

// 100 W for 0.6 s, then 400 W for 0.4 s: 220 J a turn.
Waveform wave() {
    return Waveform({{100.0, 600'000'000}, {400.0, 400'000'000}});
}

SimulatedSensorSpec spec_of(Shape shape) {
    SimulatedSensorSpec spec;
    spec.shape = shape;
    return spec;
}

Discovery discover(const std::string& argument) {
    Environment environment;
    environment.argument = argument;
    return factory("simulate").discover(environment);
}

const std::string kWhole = "name=x;shape=integral;period_ns=1e8;quantum=0.001;levels=250:1000000";

}  // namespace

TEST_CASE("simulate: joules of a waveform are exact, also before 0 and after years") {
    const Waveform w = wave();
    CHECK(w.energy(0, 1'000'000'000) == doctest::Approx(220.0).epsilon(1e-14));
    CHECK(w.energy(500'000'000, 700'000'000) == doctest::Approx(10.0 + 40.0).epsilon(1e-14));
    CHECK(w.energy(-400'000'000, 0) == doctest::Approx(160.0).epsilon(1e-14));
    const std::int64_t late = 300'000'000LL * kNsPerS;
    CHECK(w.energy(late + 590'000'000, late + 610'000'000) == doctest::Approx(5.0).epsilon(1e-12));
    CHECK(w.energy(5, 5) == 0.0);
}

TEST_CASE("simulate: a lag has settled into the repetition") {
    const Waveform w = wave();
    const double tau = 50e6;
    // Twelve time constants after a step it is forgotten to 1e-5.
    CHECK(w.lagged(599'999'999, tau) == doctest::Approx(100.0 + 300.0 * std::exp(-12.0)));
    const double at_step = w.lagged(600'000'000, tau);
    CHECK(w.lagged(650'000'000, tau) ==
          doctest::Approx(400.0 + (at_step - 400.0) * std::exp(-1.0)).epsilon(1e-12));
    // Where the lag is long, its mean is that of the power.
    double sum = 0.0;
    for (int i = 0; i < 1000; ++i) sum += w.lagged(i * 1'000'000, 5e9);
    CHECK(sum / 1000 == doctest::Approx(220.0).epsilon(1e-4));
}

TEST_CASE("simulate: a counter shows the joules up to its newest tick") {
    SimulatedSensor sensor(spec_of(Shape::integral), wave(), 1'000'000'000);
    CHECK(sensor.show(1'050'000'000) == 0);
    CHECK(sensor.show(1'100'000'000) == 10'000);
    CHECK(sensor.show(1'199'999'999) == 10'000);
    CHECK(sensor.show(1'700'000'000) == 100'000);
    CHECK(sensor.show(11'000'000'000) == 2'200'000);
}

TEST_CASE("simulate: a register wraps where it is told to") {
    SimulatedSensorSpec spec = spec_of(Shape::integral);
    spec.wrap_at = 30'000;
    SimulatedSensor sensor(spec, wave(), 0);
    CHECK(sensor.show(200'000'000) == 20'000);
    CHECK(sensor.show(400'000'000) == 10'000);
}

TEST_CASE("simulate: a boxcar sees its window and nothing else") {
    SimulatedSensorSpec spec = spec_of(Shape::boxcar);
    spec.window_ns = 25e6;
    spec.delay_ns = 5e6;
    spec.phase_ns = 10e6;
    spec.gain = 0.5;
    spec.offset_w = 3.0;
    SimulatedSensor sensor(spec, wave(), 0);
    CHECK(sensor.show(500'000'000) == 53'000);
    // Tick at 0.61 s, window from 0.58 to 0.605 s: 20 ms of 100 W and 5 ms of 400 W.
    CHECK(sensor.show(610'000'000) == 83'000);
    CHECK(sensor.show(710'000'000) == 203'000);
}

TEST_CASE("simulate: a window as long as the period reaches from tick to tick") {
    SimulatedSensorSpec spec = spec_of(Shape::boxcar);
    spec.window_ns = spec.period_ns;
    spec.jitter_ns = 1e6;
    spec.quantum = 1e-9;
    SimulatedSensor sensor(spec, wave(), 0);
    double joules = 0.0;
    for (std::int64_t k = 1; k <= 50; ++k) {
        const double watts = static_cast<double>(sensor.show(sensor.tick_ns(k))) * 1e-9;
        joules += watts * static_cast<double>(sensor.tick_ns(k) - sensor.tick_ns(k - 1)) * 1e-9;
    }
    CHECK(joules == doctest::Approx(wave().energy(sensor.tick_ns(0), sensor.tick_ns(50))));
}

TEST_CASE("simulate: a counter of samples knows only of its windows") {
    SimulatedSensorSpec spec = spec_of(Shape::sampled);
    spec.window_ns = 20e6;
    // A load that repeats with the sensor and is low in every window.
    SimulatedSensor sensor(spec, Waveform({{500.0, 75'000'000}, {100.0, 25'000'000}}), 0);
    CHECK(sensor.show(10'000'000'000) == 1'000'000);  // 100 W, where 400 W flowed
}

TEST_CASE("simulate: missed ticks leave the old value, latency delays the new one") {
    SimulatedSensorSpec spec = spec_of(Shape::integral);
    spec.missed = 0.3;
    spec.latency_ns = 20e6;
    const SimulatedSensor sensor(spec, wave(), 0);
    int published = 0;
    std::int64_t before = sensor.newest(0);
    for (std::int64_t t = 0; t < 1000 * 100'000'000LL; t += 25'000'000) {
        const std::int64_t k = sensor.newest(t);
        REQUIRE(k >= before);
        published += k != before ? 1 : 0;
        before = k;
        REQUIRE(sensor.tick_ns(k) <= t);
    }
    CHECK(published > 630);
    CHECK(published < 770);
}

TEST_CASE("simulate: the same seed gives the same noise, about as large as asked for") {
    SimulatedSensorSpec spec = spec_of(Shape::boxcar);
    spec.window_ns = 25e6;
    spec.noise_w = 2.0;
    spec.seed = 7;
    const Waveform flat({{300.0, 1'000'000'000}});
    SimulatedSensor one(spec, flat, 0);
    SimulatedSensor same(spec, flat, 0);
    spec.seed = 8;
    SimulatedSensor other(spec, flat, 0);
    double squares = 0.0;
    int equal = 0;
    for (std::int64_t k = 1; k <= 2000; ++k) {
        const std::int64_t t = k * 100'000'000;
        const std::uint64_t shown = one.show(t);
        REQUIRE(same.show(t) == shown);
        equal += other.show(t) == shown ? 1 : 0;
        const double off = static_cast<double>(shown) * 1e-3 - 300.0;
        squares += off * off;
    }
    CHECK(equal < 20);
    CHECK(std::sqrt(squares / 2000) == doctest::Approx(2.0).epsilon(0.06));
}

TEST_CASE("simulate: the meter reads, and says that it is simulated") {
    const Discovery found = discover(kWhole + ";domain=gpu:3");
    REQUIRE(found.sources.size() == 1);
    const Channel* channel = find_channel(*found.sources[0], "gpu:3");
    REQUIRE(channel != nullptr);
    CHECK(channel->provenance == Provenance::simulated);
    CHECK(std::string(to_string(channel->provenance)) == "simulated");
    CHECK(channel->quantity == Quantity::energy);
    CHECK(channel->meter == "simulate");
    CHECK(channel->unit == doctest::Approx(1e-3));
    std::vector<RawValue> values(1);
    CHECK(found.sources[0]->read(values) == ReadStatus::ok);
    CHECK(values[0].valid);
}

TEST_CASE("simulate: what is not complete is refused, with a remedy") {
    for (const char* wrong :
         {"shape=round;levels=1:1", "shape=integral", "shape=integral;levels=1:0",
          "shape=integral;levels=1", "shape=integral;levels=x:5", "shape=boxcar;levels=1:1",
          "shape=lag;levels=1:1", "shape=integral;period_ns=nan;levels=1:1",
          "shape=integral;quantum=0;levels=1:1", "shape=integral;missed=1;levels=1:1",
          "shape=integral;seed=-1;levels=1:1"}) {
        CAPTURE(wrong);
        const Discovery found = discover(wrong);
        CHECK(found.sources.empty());
        REQUIRE(count(found, Finding::State::refused) == 1);
        CHECK_FALSE(found.findings[0].remedy.empty());
    }
    // Nobody asked for one: nothing is wrong.
    CHECK(count(discover(""), Finding::State::absent) == 1);
}
