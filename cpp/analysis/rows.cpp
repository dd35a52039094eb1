#include "analysis/rows.h"

#include <algorithm>
#include <cmath>

#include "analysis/regular.h"

namespace picojoule {
namespace {

// A lag is resolved by so many steps; inside one it is taken as even what ran where.
constexpr double kLagSteps = 64.0;
constexpr double kMostSteps = 4096.0;  // between two edges
// So many lags before the first reading what ran then still counts.
constexpr double kLagsBefore = 10.0;

// Adds up entries of one row by column.
class RowBuilder {
  public:
    explicit RowBuilder(std::size_t columns) : sum_(columns, 0.0), seen_(columns, 0) {}
    void add(std::size_t col, double s) {
        if (seen_[col] == 0) {
            seen_[col] = 1;
            touched_.push_back(static_cast<std::uint32_t>(col));
        }
        sum_[col] += s;
    }
    void flush(Rows& out) {
        for (const std::uint32_t col : touched_) {
            if (sum_[col] != 0.0) out.entries.push_back({col, sum_[col]});
            sum_[col] = 0.0;
            seen_[col] = 0;
        }
        touched_.clear();
        out.start.push_back(out.entries.size());
    }

  private:
    std::vector<double> sum_;
    std::vector<std::uint8_t> seen_;
    std::vector<std::uint32_t> touched_;
};

}  // namespace

Equations::Equations(const AttributeInput& input)
    : n_classes_(input.n_classes), baseline_(input.baseline), lag_s_(input.lag_s) {
    settle_edges(input);
    const std::int64_t origin =
        !input.begin_ns.empty() ? input.begin_ns.front() : input.total->begin_ns;
    overlap_ = overlap(input.spans, n_classes_, edges_, std_, origin);
}

void Equations::settle_edges(const AttributeInput& input) {
    const std::size_t n = input.begin_ns.size();
    const std::int64_t origin = n > 0 ? input.begin_ns.front() : input.total->begin_ns;
    std::vector<double> begin(n), end(n), end_std(n), begin_std(n);
    for (std::size_t k = 0; k < n; ++k) {
        begin[k] = static_cast<double>(input.begin_ns[k] - origin);
        end[k] = static_cast<double>(input.end_ns[k] - origin);
        begin_std[k] = end_std[k] = input.edge_std_ns[k];
        if (k > 0 && input.shared[k - 1] != 0) begin_std[k] = end_std[k - 1];
        has_std_ |= input.edge_std_ns[k] > 0.0;
    }
    clock_error_ = input.clock_error;
    if (input.settle_edges && !(clock_error_.offset2_ns2 > 0.0)) {
        clock_error_ = settle_on_clock(begin, end, begin_std, end_std, input.shared);
    }
    for (std::size_t k = 0; k < n; ++k) {
        begin_std[k] *= input.edge_factor;
        end_std[k] *= input.edge_factor;
    }
    double total_begin = 0.0, total_end = 0.0;
    if (input.total) {
        total_begin = static_cast<double>(input.total->begin_ns - origin);
        total_end = static_cast<double>(input.total->end_ns - origin);
    }
    if (input.clock != nullptr) {
        const auto move = [&](double& t) { t += input.clock->at(1e-9 * t); };
        for (std::size_t k = 0; k < n; ++k) {
            const bool one = k > 0 && input.shared[k - 1] != 0;
            if (one) {
                begin[k] = end[k - 1];
            } else {
                move(begin[k]);
            }
            move(end[k]);
            end[k] = std::max(end[k], begin[k] + 1.0);
        }
        move(total_begin);
        move(total_end);
        total_end = std::max(total_end, total_begin + 1.0);
    }
    struct Point {
        double t, std;
        std::size_t k;  // 2 k: begin of window k, 2 k + 1: its end, 2 n and 2 n + 1: the total's
    };
    std::vector<Point> points;
    for (std::size_t k = 0; k < n; ++k) {
        points.push_back({begin[k], begin_std[k], 2 * k});
        points.push_back({end[k], end_std[k], 2 * k + 1});
    }
    if (input.total) {
        points.push_back({total_begin, 0.0, 2 * n});
        points.push_back({total_end, 0.0, 2 * n + 1});
    }
    std::stable_sort(points.begin(), points.end(),
                     [](const Point& a, const Point& b) { return a.t < b.t; });
    first_.assign(n, 0);
    last_.assign(n, 0);
    std::size_t before = 0;
    if (lag_s_ > 0.0 && !points.empty()) {
        edges_.push_back(points.front().t - 1e9 * kLagsBefore * lag_s_);
        std_.push_back(0.0);
    }
    for (const Point& p : points) {
        if (lag_s_ > 0.0) {  // what is still in the sensor, step by step
            const double gap = p.t - edges_.back();
            const double pieces = std::min(kMostSteps, std::ceil(gap * 1e-9 * kLagSteps / lag_s_));
            const double from = edges_.back();
            for (double i = 1.0; i < pieces; ++i) {
                edges_.push_back(from + gap * i / pieces);
                std_.push_back(0.0);
            }
            if (before == 0) before = edges_.size();
        }
        if (edges_.empty() || p.t > edges_.back()) {
            edges_.push_back(p.t);
            std_.push_back(p.std);
        } else {
            std_.back() = std::max(std_.back(), p.std);
        }
        const std::size_t at = edges_.size() - 1;
        if (p.k >= 2 * n) {
            (p.k == 2 * n ? from_ : to_) = at;
        } else {
            (p.k % 2 == 0 ? first_ : last_)[p.k / 2] = at;
        }
    }
    if (!input.total) {
        from_ = before;
        to_ = edges_.size() - 1;
    }
}

Rows Equations::windows(double sharing) const {
    const Sharing share(sharing, baseline_);
    Rows out;
    RowBuilder row(n_classes_ + 1);
    const auto blur = [&](std::size_t edge, double sign) {
        if (std_[edge] <= 0.0) return;
        for (const Blur& b : overlap_.blurs.row(edge)) {
            if (b.cls < n_classes_) {
                share.add(row, b.cls, b.level, sign * b.ns * 1e-9, n_classes_);
            } else if (baseline_) {
                row.add(n_classes_, sign * b.ns * 1e-9);
            }
        }
    };
    // A first-order lag: the window of the lagged power holds what came in, less what is still to
    // come out at its end, plus what was at its begin.
    std::vector<double> state;  // of the power still in the sensor, by column, seconds / lag
    std::size_t state_at = 0;
    if (lag_s_ > 0.0) {
        state.assign(n_classes_ + 1, 0.0);
        if (baseline_) state[n_classes_] = 1.0;
    }
    const auto lag_to = [&](std::size_t edge) {
        // Inside an elementary interval each class is taken as spread evenly over it; these
        // intervals are much shorter than the lag (settle_edges).
        for (; state_at < edge; ++state_at) {
            const double dt = (edges_[state_at + 1] - edges_[state_at]) * 1e-9;
            const double fade = std::exp(-dt / lag_s_);
            for (double& s : state) s *= fade;
            for (const Booked& b : overlap_.intervals.row(state_at)) {
                state[b.cls] += (1.0 - fade) * share.own[b.level] * b.ns * 1e-9 / dt;
                if (baseline_) {
                    state[n_classes_] += (1.0 - fade) * share.base[b.level] * b.ns * 1e-9 / dt;
                }
            }
            if (baseline_) {
                state[n_classes_] +=
                    (1.0 - fade) * overlap_.intervals.idle_ns[state_at] * 1e-9 / dt;
            }
        }
    };
    for (std::size_t k = 0; k < first_.size(); ++k) {
        for (std::size_t i = first_[k]; i < last_[k]; ++i) {
            for (const Booked& b : overlap_.intervals.row(i)) {
                share.add(row, b.cls, b.level, b.ns * 1e-9, n_classes_);
            }
            if (baseline_ && overlap_.intervals.idle_ns[i] > 0.0) {
                row.add(n_classes_, overlap_.intervals.idle_ns[i] * 1e-9);
            }
        }
        blur(last_[k], 1.0);
        blur(first_[k], -1.0);
        if (lag_s_ > 0.0) {
            lag_to(first_[k]);
            for (std::size_t c = 0; c <= n_classes_; ++c) {
                if (state[c] > 1e-12) row.add(c, lag_s_ * state[c]);
            }
            lag_to(last_[k]);
            for (std::size_t c = 0; c <= n_classes_; ++c) {
                if (state[c] > 1e-12) row.add(c, -lag_s_ * state[c]);
            }
        }
        row.flush(out);
    }
    return out;
}

double Equations::rate_at(std::size_t edge, std::span<const double> x) const {
    double sum = 0.0;
    for (const Blur& b : overlap_.blurs.row(edge)) {
        if (b.cls < n_classes_ || baseline_) sum += b.share * x[b.cls];
    }
    return sum;
}

std::uint32_t Equations::likeliest(std::size_t edge) const {
    auto out = static_cast<std::uint32_t>(n_classes_);
    double most = 0.0;
    for (const Blur& b : overlap_.blurs.row(edge)) {
        if (b.share > most) {
            most = b.share;
            out = b.cls;
        }
    }
    return out;
}

double Equations::begin_rate(std::size_t k, std::span<const double> x) const {
    return rate_at(first_[k], x);
}

double Equations::end_rate(std::size_t k, std::span<const double> x) const {
    return rate_at(last_[k], x);
}

std::vector<double> Equations::baseline_shares(double sharing) const {
    const Sharing share(sharing, baseline_);
    std::vector<double> out(n_classes_, 0.0);
    if (!baseline_) return out;
    for (std::size_t i = from_; i < to_; ++i) {
        for (const Booked& b : overlap_.intervals.row(i)) {
            out[b.cls] += share.base[b.level] * b.ns * 1e-9;
        }
    }
    return out;
}

void Equations::times(std::vector<double>& time_s, double& idle_s) const {
    time_s.assign(n_classes_, 0.0);
    idle_s = 0.0;
    for (std::size_t i = from_; i < to_; ++i) {
        for (const Booked& b : overlap_.intervals.row(i)) time_s[b.cls] += b.ns * 1e-9;
        idle_s += overlap_.intervals.idle_ns[i] * 1e-9;
    }
}

}  // namespace picojoule
