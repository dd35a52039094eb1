// The equations of the windows: a sparse row each, over classes and the baseline, for a given rule
// of sharing what runs at once.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "analysis/attribute.h"
#include "analysis/regular.h"

namespace picojoule {

struct Entry {
    std::uint32_t col{};
    double s{};
};

// Column K is the baseline.
struct Rows {
    std::vector<std::size_t> start{0};
    std::vector<Entry> entries;
    [[nodiscard]] std::size_t size() const { return start.size() - 1; }
    [[nodiscard]] std::span<const Entry> row(std::size_t r) const {
        return {entries.data() + start[r], start[r + 1] - start[r]};
    }
    // row . x
    [[nodiscard]] double dot(std::size_t r, std::span<const double> x) const {
        double sum = 0.0;
        for (const Entry& e : row(r)) sum += e.s * x[e.col];
        return sum;
    }
};

// What runs with n - 1 others, in columns (Equations::windows has the rule).
struct Sharing {
    Sharing(double exponent, bool baseline) : baseline_col(baseline) {
        for (std::uint32_t n = 1; n <= kMostAtOnce; ++n) {
            const double count = static_cast<double>(n);
            own[n] = std::pow(count, -exponent);
            base[n] = 1.0 / count - own[n];
        }
    }
    template <class Builder>
    void add(Builder& row, std::size_t cls, std::uint32_t level, double s,
             std::size_t baseline) const {
        row.add(cls, own[level] * s);
        if (baseline_col && level > 1) row.add(baseline, base[level] * s);
    }
    bool baseline_col;
    double own[kMostAtOnce + 1]{};
    double base[kMostAtOnce + 1]{};
};

// Windows over the elementary intervals between all edges.
class Equations {
  public:
    explicit Equations(const AttributeInput& input);

    // What runs with n - 1 others adds n^-sharing of what it draws alone above the baseline, and is
    // credited that and 1/n of the baseline. 0: drawn powers add up, 1: they are averaged.
    [[nodiscard]] Rows windows(double sharing) const;
    // The elementary intervals inside the accounted interval, sharp edges: their middles, and of
    // each its entries, of which a class may have several.
    template <class Sink>
    void accounted(double sharing, Sink&& sink) const {
        const Sharing share(sharing, baseline_);
        for (std::size_t i = from_; i < to_; ++i) {
            const double middle_s = 0.5e-9 * (edges_[i] + edges_[i + 1]);
            Adder row{sink, middle_s};
            for (const Booked& b : overlap_.intervals.row(i)) {
                share.add(row, b.cls, b.level, b.ns * 1e-9, n_classes_);
            }
            if (baseline_ && overlap_.intervals.idle_ns[i] > 0.0) {
                row.add(n_classes_, overlap_.intervals.idle_ns[i] * 1e-9);
            }
        }
    }
    // Rate at the edges of window k, were the rates x: what an error of the edge's time means.
    [[nodiscard]] double begin_rate(std::size_t k, std::span<const double> x) const;
    [[nodiscard]] double end_rate(std::size_t k, std::span<const double> x) const;
    // The class that most likely runs there (of several, one), or K where nothing does.
    [[nodiscard]] std::uint32_t at_begin(std::size_t k) const { return likeliest(first_[k]); }
    [[nodiscard]] std::uint32_t at_end(std::size_t k) const { return likeliest(last_[k]); }
    [[nodiscard]] double begin_std_ns(std::size_t k) const { return std_[first_[k]]; }
    [[nodiscard]] double end_std_ns(std::size_t k) const { return std_[last_[k]]; }
    // Of edges that were put on a regular clock.
    [[nodiscard]] const ClockError& clock_error() const { return clock_error_; }
    [[nodiscard]] bool concurrent() const { return overlap_.concurrent; }
    [[nodiscard]] bool has_std() const { return has_std_; }
    [[nodiscard]] double length_s(std::size_t k) const {
        return (edges_[last_[k]] - edges_[first_[k]]) * 1e-9;
    }
    [[nodiscard]] double begin_s(std::size_t k) const { return 1e-9 * edges_[first_[k]]; }
    [[nodiscard]] double end_s(std::size_t k) const { return 1e-9 * edges_[last_[k]]; }
    [[nodiscard]] double middle_s(std::size_t k) const {
        return 0.5e-9 * (edges_[last_[k]] + edges_[first_[k]]);
    }
    // Seconds of the baseline that each class is credited for what it ran beside others.
    [[nodiscard]] std::vector<double> baseline_shares(double sharing) const;
    // Plain seconds of each class inside the accounted interval (each span counts), and idle.
    void times(std::vector<double>& time_s, double& idle_s) const;
    [[nodiscard]] double accounted_s() const {
        return edges_.empty() ? 0.0 : (edges_[to_] - edges_[from_]) * 1e-9;
    }

  private:
    template <class Sink>
    struct Adder {
        Sink& sink;
        double middle_s;
        void add(std::size_t col, double s) { sink(middle_s, col, s); }
    };
    void settle_edges(const AttributeInput& input);
    [[nodiscard]] std::uint32_t likeliest(std::size_t edge) const;
    [[nodiscard]] double rate_at(std::size_t edge, std::span<const double> x) const;

    std::size_t n_classes_{};
    bool baseline_{};
    bool has_std_{};
    double lag_s_{};
    ClockError clock_error_;
    std::vector<double> edges_, std_;        // distinct instants, ns after the first
    std::vector<std::size_t> first_, last_;  // (n,) indices into edges_
    std::size_t from_{}, to_{};              // of the accounted interval
    Overlap overlap_;
};

}  // namespace picojoule
