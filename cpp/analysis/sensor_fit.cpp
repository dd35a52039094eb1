#include "analysis/sensor_fit.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace picojoule {
namespace {

constexpr double kReach = 2.5;  // standard deviations of a tick's time that cells cover
constexpr int kRounds = 40;
constexpr int kCoarseRounds = 6;   // where cells are few, so is the accuracy that is asked for
constexpr double kSettled = 1e-4;  // change of the cost that ends the rounds
constexpr double kUniform2 = 1.0 / 12.0;

double normal_cdf(double z) {
    return 0.5 * std::erfc(-z / std::sqrt(2.0));
}

}  // namespace

SensorFit::SensorFit(std::vector<TickReading> readings, SensorReference& reference,
                     LinearPrior prior, double least_noise)
    : readings_(std::move(readings)),
      reference_(reference),
      prior_(std::move(prior)),
      least_noise_(least_noise),
      width_(reference.columns.size() + 1) {}

void SensorFit::fill(const Response& response, int cells) {
    const auto q_count = static_cast<std::size_t>(cells);
    const std::size_t n = readings_.size();
    for (StepCurve& c : reference_.columns) c.set_lag(response.tau_ns);
    x_.assign(n * q_count * width_, 1.0);
    slope_.assign(n * q_count * width_, 0.0);
    log_weight_.assign(n * q_count, 0.0);
    std::vector<double> edge(q_count + 1);
    for (std::size_t k = 0; k < n; ++k) {
        const TickReading& r = readings_[k];
        const double reach = kReach * r.std_ns;
        const double lo = std::max(r.tick_ns - reach, std::min(r.lo_ns, r.tick_ns));
        const double hi = std::min(r.tick_ns + reach, std::max(r.hi_ns, r.tick_ns));
        const double width = std::max(1.0, hi - lo) / cells;
        double whole = 0.0;
        for (std::size_t q = 0; q < q_count; ++q) {
            const double a = lo + width * static_cast<double>(q);
            const double s = std::max(r.std_ns, 1.0);
            const double mass =
                normal_cdf((a + width - r.tick_ns) / s) - normal_cdf((a - r.tick_ns) / s);
            log_weight_[k * q_count + q] = mass;
            whole += mass;
        }
        for (std::size_t q = 0; q < q_count; ++q) {
            double& w = log_weight_[k * q_count + q];
            w = std::log(std::max(w / whole, 1e-12));
        }
        for (std::size_t c = 0; c + 1 < width_; ++c) {
            const StepCurve& column = reference_.columns[c];
            for (std::size_t q = 0; q <= q_count; ++q) {
                const double at = lo + width * static_cast<double>(q);
                edge[q] = respond(column, response, at, r.before_ns + (at - r.tick_ns));
            }
            for (std::size_t q = 0; q < q_count; ++q) {
                const std::size_t i = (k * q_count + q) * width_ + c;
                x_[i] = 0.5 * (edge[q] + edge[q + 1]);
                slope_[i] = edge[q + 1] - edge[q];
            }
        }
    }
}

Judged SensorFit::judge(const Response& response, int cells) {
    fill(response, cells);
    const auto q_count = static_cast<std::size_t>(cells);
    const std::size_t n = readings_.size(), w = width_;
    Judged out;
    out.factor = prior_.mean;
    double noise2 = 0.0;
    {
        double mean = 0.0, square = 0.0;
        for (const TickReading& r : readings_) mean += r.value / static_cast<double>(n);
        for (const TickReading& r : readings_) square += (r.value - mean) * (r.value - mean);
        noise2 = std::max(least_noise_ * least_noise_, 0.05 * square / static_cast<double>(n));
    }
    std::vector<double> share(n * q_count), residual(n);
    for (std::size_t i = 0; i < share.size(); ++i) share[i] = std::exp(log_weight_[i]);
    std::vector<double> u(w), b(w), spread(n * q_count, 1.0);
    for (auto& v : spread) v = noise2;
    double cost = 0.0;
    const int rounds = cells <= 3 ? kCoarseRounds : kRounds;
    for (int round = 0; round < rounds; ++round) {
        Matrix h(w, w);
        std::fill(b.begin(), b.end(), 0.0);
        for (std::size_t c = 0; c < w; ++c) {
            const double p = 1.0 / (prior_.std[c] * prior_.std[c]);
            h(c, c) = p;
            b[c] = p * prior_.mean[c];
        }
        for (std::size_t k = 0; k < n; ++k) {
            for (std::size_t q = 0; q < q_count; ++q) {
                const std::size_t i = k * q_count + q;
                const double weight = share[i] / spread[i];
                if (share[i] < 1e-12) continue;
                const double* x = &x_[i * w];
                for (std::size_t c = 0; c < w; ++c) {
                    const double xw = x[c] * weight;
                    b[c] += xw * readings_[k].value;
                    for (std::size_t d = 0; d <= c; ++d) h(c, d) += xw * x[d];
                }
            }
        }
        if (!cholesky(h)) break;
        out.factor = b;
        solve(h, out.factor);
        // Where each tick is, given its reading, and what noise that leaves.
        double now = 0.0, left = 0.0;
        for (std::size_t k = 0; k < n; ++k) {
            double most = -1e300;
            residual[k] = 0.0;
            for (std::size_t q = 0; q < q_count; ++q) {
                const std::size_t i = k * q_count + q;
                double y = readings_[k].value, slope = 0.0;
                for (std::size_t c = 0; c < w; ++c) {
                    y -= x_[i * w + c] * out.factor[c];
                    slope += slope_[i * w + c] * out.factor[c];
                }
                spread[i] = noise2 + slope * slope * kUniform2;
                u.resize(std::max(u.size(), q_count));
                u[q] = y;
                share[i] =
                    log_weight_[i] - 0.5 * (y * y / spread[i] + std::log(spread[i] * 6.2831853));
                most = std::max(most, share[i]);
            }
            double sum = 0.0;
            for (std::size_t q = 0; q < q_count; ++q) {
                double& s = share[k * q_count + q];
                s = std::exp(s - most);
                sum += s;
            }
            now -= most + std::log(sum);
            for (std::size_t q = 0; q < q_count; ++q) {
                const std::size_t i = k * q_count + q;
                share[i] /= sum;
                const double gain = noise2 / spread[i];
                left += share[i] * (u[q] * u[q] * gain * gain + noise2 * (1.0 - gain));
                residual[k] += share[i] * u[q] * gain;
            }
        }
        for (std::size_t c = 0; c < w; ++c) {
            const double z = (out.factor[c] - prior_.mean[c]) / prior_.std[c];
            now += 0.5 * z * z + std::log(prior_.std[c]);
        }
        now += 0.5 * log_det(h);  // the factors integrated out, not only put at their best
        noise2 = (left + least_noise_ * least_noise_) / (static_cast<double>(n) + 1.0);
        noise2 = std::max(noise2, least_noise_ * least_noise_);
        const bool same = round > 3 && std::abs(now - cost) < kSettled;
        cost = now;
        if (same || round + 1 == rounds) out.covariance = inverse(h);
        if (same) break;
    }
    out.cost = cost;
    out.noise = std::sqrt(noise2);
    double square = 0.0, next = 0.0;
    for (std::size_t k = 0; k < n; ++k) {
        square += residual[k] * residual[k];
        if (k > 0) next += residual[k] * residual[k - 1];
    }
    out.echo = square > 0.0 ? std::clamp(next / square, 0.0, 0.95) : 0.0;
    return out;
}

}  // namespace picojoule
