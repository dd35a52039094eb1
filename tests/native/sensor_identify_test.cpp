// Sensors of known make are recognised, by a known power and by what ran alone; what is claimed to
// be known must be so.
#include "analysis/sensor_identify.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <random>
#include <string>

using namespace picojoule;

namespace {

constexpr double kMs = 1e6;

// A power that steps at random between levels, known exactly, and what a sensor said of it.
struct Scene {
    std::vector<std::int64_t> begin, end;
    std::vector<std::int32_t> cls;
    std::vector<double> level{90.0, 180.0, 320.0, 410.0};
    std::vector<std::int64_t> poll_ns;
    std::vector<double> said;

    [[nodiscard]] StepCurve power() const {
        std::vector<double> at, rate;
        for (std::size_t i = 0; i < begin.size(); ++i) {
            at.push_back(static_cast<double>(begin[i]));
            rate.push_back(level[static_cast<std::size_t>(cls[i])]);
        }
        return {at, rate, level[0]};
    }
    [[nodiscard]] Spans spans() const { return {begin, end, cls}; }
};

struct Make {
    SensorShape shape;
    double period, window, tau, delay, gain, offset, noise, poll;  // ms, W
};

Scene scene(const Make& m, double seconds, unsigned seed) {
    std::mt19937_64 random(seed);
    Scene s;
    std::exponential_distribution<double> length(1.0 / (40.0 * kMs));
    std::uniform_int_distribution<std::int32_t> cls(0, 3);
    double t = 0.0;
    while (t < seconds * 1e9) {
        const double next = t + 5.0 * kMs + length(random);
        s.begin.push_back(std::llround(t));
        s.end.push_back(std::llround(next));
        s.cls.push_back(cls(random));
        t = next;
    }
    StepCurve power = s.power();
    power.set_lag(m.shape == SensorShape::lag ? m.tau * kMs : 0.0);
    std::normal_distribution<double> noise(0.0, m.noise);
    const Response r{m.shape, m.window * kMs, m.delay * kMs, m.tau * kMs};
    const double first = 31.7 * kMs;
    double value = 0.0, joules = 0.0, tick = first;
    double poll = 0.0;
    std::uniform_real_distribution<double> step(0.8 * m.poll * kMs, 1.2 * m.poll * kMs);
    while (poll < seconds * 1e9) {
        while (tick <= poll) {
            const double watts =
                m.gain * respond(power, r, tick, tick - m.period * kMs) + m.offset + noise(random);
            joules += watts * m.period * 1e-3;
            value = m.shape == SensorShape::integral ? joules : watts;
            tick += m.period * kMs;
        }
        s.poll_ns.push_back(std::llround(poll));
        s.said.push_back(value);
        poll += step(random);
    }
    return s;
}

Identified identify(const Scene& s, const Make& m, bool known_power, const char* family = "") {
    const bool counter = m.shape == SensorShape::integral;
    SensorReference reference;
    if (known_power) {
        const StepCurve power = s.power();
        std::vector<std::int64_t> at;
        std::vector<double> watts;
        for (std::int64_t t = 0; t < s.end.back(); t += 200'000) {
            at.push_back(t);
            watts.push_back(power.at(static_cast<double>(t)));
        }
        reference = power_reference(at, watts, 0);
    } else {
        reference = span_reference(s.spans(), 4, 0);
    }
    const SensorSeries series =
        sensor_series(s.poll_ns, s.said, counter, std::numeric_limits<double>::quiet_NaN(), 0);
    return identify_sensor(series, counter, reference,
                           sensor_prior(family, counter ? "energy" : "instant"));
}

// Within four of the standard deviations claimed and a floor for the steps of the reference.
void check(const Fitted& f, double truth, double floor) {
    CHECK(f.from_data);
    CHECK(std::abs(f.value - truth) < 4.0 * f.std + floor);
    CHECK(f.std < 20.0 * floor);
}

}  // namespace

TEST_CASE("sensor: integrals and lags of stepping powers are exact") {
    StepCurve c({0.0, 10.0, 30.0}, {2.0, 5.0, 1.0}, 4.0);
    CHECK(c.integral(0.0) == doctest::Approx(0.0));
    CHECK(c.integral(-5.0) == doctest::Approx(-20.0));
    CHECK(c.integral(20.0) == doctest::Approx(70.0));
    CHECK(c.integral(40.0) == doctest::Approx(130.0));
    CHECK(c.at(9.0) == 2.0);
    c.set_lag(7.0);
    CHECK(c.at(0.0) == doctest::Approx(4.0));
    CHECK(c.at(10.0) == doctest::Approx(2.0 + 2.0 * std::exp(-10.0 / 7.0)));
    double sum = 0.0;  // by Simpson's rule, piece by piece
    for (int i = 0; i < 4000; ++i) {
        const double a = 0.01 * i, h = 0.01;
        sum += h / 6.0 * (c.at(a) + 4.0 * c.at(a + 0.5 * h) + c.at(a + h));
    }
    CHECK(c.integral(40.0) == doctest::Approx(sum).epsilon(1e-4));
}

TEST_CASE("sensor: a duty-cycled boxcar, by a known power") {
    const Make m{SensorShape::boxcar, 100.1, 22.6, 0.0, 3.0, 0.96, -4.0, 0.4, 3.1};
    const Identified found = identify(scene(m, 25.0, 3), m, true);
    CHECK(found.shape == SensorShape::boxcar);
    CHECK(found.shape_odds > 20.0);
    CHECK(found.clock.period_ns == doctest::Approx(m.period * kMs).epsilon(2e-5));
    check(found.window_ns, m.window * kMs, 0.2 * kMs);
    check(found.delay_ns, m.delay * kMs, 0.2 * kMs);
    check(found.gain, m.gain, 1e-3);
    check(found.offset_w, m.offset, 0.3);
    CHECK(found.noise_w == doctest::Approx(m.noise).epsilon(0.35));
}

TEST_CASE("sensor: the same by its spans alone; gain and offset stay the table's") {
    const Make m{SensorShape::boxcar, 100.1, 22.6, 0.0, 3.0, 0.96, -4.0, 0.4, 3.1};
    const Identified found = identify(scene(m, 25.0, 4), m, false, "nvidia gh100");
    CHECK(found.shape == SensorShape::boxcar);
    CHECK(std::abs(found.window_ns.value - m.window * kMs) < 0.5 * kMs);
    check(found.delay_ns, m.delay * kMs, 0.2 * kMs);
    CHECK_FALSE(found.gain.from_data);
    CHECK(found.gain.value == sensor_prior("nvidia gh100", "instant")->gain.mean);
    CHECK_FALSE(found.offset_w.from_data);
}

TEST_CASE("sensor: a window as long as the period, and one of ten periods") {
    for (const double window : {100.0, 1000.0}) {
        const Make m{SensorShape::boxcar, 100.0, window, 0.0, 1.0, 1.03, 5.0, 0.3, 2.3};
        const Identified found = identify(scene(m, 40.0, 5), m, true);
        CAPTURE(window);
        CHECK(found.shape == SensorShape::boxcar);
        check(found.window_ns, window * kMs, 0.3 * kMs);
        check(found.gain, m.gain, 1e-3);
    }
}

TEST_CASE("sensor: a first-order lag is not taken for a boxcar") {
    const Make m{SensorShape::lag, 15.3, 0.0, 41.0, 2.0, 1.02, 0.8, 0.3, 2.1};
    const Identified found = identify(scene(m, 20.0, 6), m, true);
    CHECK(found.shape == SensorShape::lag);
    CHECK(found.shape_odds > 50.0);
    check(found.tau_ns, m.tau * kMs, 0.2 * kMs);
    check(found.delay_ns, m.delay * kMs, 0.2 * kMs);
    check(found.gain, m.gain, 1e-3);
}

TEST_CASE("sensor: a counter that integrates, and one that sums up a duty-cycled gauge") {
    Make m{SensorShape::integral, 100.0, 0.0, 0.0, 2.0, 1.0, 0.0, 0.1, 1.7};
    const Identified true_integral = identify(scene(m, 25.0, 7), m, true);
    CHECK(true_integral.shape == SensorShape::integral);
    CHECK(true_integral.shape_odds > 3.0);  // a boxcar of one period is the same thing
    check(true_integral.delay_ns, m.delay * kMs, 0.2 * kMs);

    Make gauge = m;
    gauge.shape = SensorShape::boxcar;
    gauge.window = 25.0;
    Scene s = scene(gauge, 25.0, 8);
    double joules = 0.0;  // the gauge's values, added up tick by tick
    double last = s.said.front();
    for (double& v : s.said) {
        if (v != last) joules += 0.1 * v;
        last = v;
        v = joules;
    }
    const Identified summed = identify(s, m, true);
    CHECK(summed.shape == SensorShape::boxcar);
    CHECK(std::abs(summed.window_ns.value - 25.0 * kMs) < 1.5 * kMs);
}

TEST_CASE("sensor: from steady power nothing is learned, and nothing claimed") {
    const Make m{SensorShape::boxcar, 100.0, 25.0, 0.0, 0.0, 1.0, 0.0, 0.3, 3.1};
    Scene s = scene(m, 20.0, 9);
    for (double& level : s.level) level = 200.0;
    std::mt19937_64 random(1);
    std::normal_distribution<double> noise(200.0, 0.3);
    double now = 200.0, old = s.said.front();
    for (double& v : s.said) {
        if (v != old) now = noise(random);
        old = v;
        v = now;
    }
    const Identified found = identify(s, m, true, "nvidia gh100");
    const SensorPrior& p = *sensor_prior("nvidia gh100", "instant");
    CHECK(found.shape == SensorShape::boxcar);
    CHECK_FALSE(found.window_ns.from_data);
    CHECK(std::abs(found.window_ns.value * 1e-9 - p.window_s.mean) < p.window_s.std);
    CHECK(found.window_ns.std * 1e-9 == doctest::Approx(p.window_s.std).epsilon(0.4));
    CHECK_FALSE(found.gain.from_data);

    s.said.assign(s.said.size(), 200.0);  // no tick at all: the table, or nothing
    const Identified table = identify(s, m, true, "nvidia gh100");
    CHECK_FALSE(table.fitted);
    CHECK(table.window_ns.value * 1e-9 == doctest::Approx(p.window_s.mean));
    CHECK(std::isnan(identify(s, m, true).window_ns.value));
}

TEST_CASE("sensor: the table knows products by name, and generations by NVML's number") {
    CHECK(sensor_family("NVIDIA H100 80GB HBM3") == "nvidia gh100");
    CHECK(sensor_family("NVIDIA GH200 480GB") == "nvidia gh200");
    CHECK(sensor_family("NVIDIA A100-SXM4-80GB") == "nvidia ga100");
    CHECK(sensor_family("NVIDIA GeForce RTX 3090 Ti") == "nvidia ga10x ad10x");
    CHECK(sensor_family("NVIDIA RTX A5000") == "nvidia ga10x ad10x");
    CHECK(sensor_family("Tesla K40m") == "nvidia kepler k40");
    CHECK(sensor_family("Tesla V100-SXM2-16GB") == "nvidia volta pascal");
    CHECK(sensor_family("NVIDIA A10") == "nvidia ga10x ad10x");
    CHECK(sensor_family("NVIDIA A1000") == "");
    CHECK(sensor_family("") == "");
    CHECK(sensor_family("Fake H100", 8, false) == "nvidia ga10x ad10x");
    CHECK(sensor_family("NVIDIA GH200 480GB", 9, false) == "nvidia gh200");
    CHECK(sensor_family("Quadro RTX 8000", 6, false) == "nvidia turing rtx8000");
    CHECK(sensor_family("something", 99, false) == "");
    for (const SensorPrior& p : sensor_table()) {
        CAPTURE(p.family);
        CHECK(sensor_prior(p.family, p.field) == &p);
        CHECK(std::string(p.source) != "");
        CHECK(p.gain.std > 0.0);
    }
    CHECK(sensor_prior("nvidia gh100", "memory") == sensor_prior("nvidia gh100", "average"));
    CHECK(sensor_prior("nvidia gh100", "energy") == sensor_prior("nvidia", "energy"));
    CHECK(sensor_prior("", "instant") == nullptr);
}
