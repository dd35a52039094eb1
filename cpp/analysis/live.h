// The estimator for runs without an end: readings and spans are folded into normal equations as
// they come, in memory that does not grow with time (K^2 for K classes, and the latest readings).
//
// The model is that of attribute.h with one rate a class over all time; what a reading has beyond
// it is process noise, and its energy is credited to what ran in that reading. Different from the
// batch: edges stay where they were told (no clock is fitted), there is no sensor lag and no slow
// drift, and a reading's weight is that of the noise as it was known when it was folded (with up to
// 200 classes the first kRing readings are folded anew once their noise is known). Pure: no thread,
// no clock. What update() does depends only on the sequence of readings and spans, not on how it is
// cut into calls.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <optional>
#include <span>
#include <vector>

#include "analysis/attribute.h"
#include "analysis/posterior.h"
#include "analysis/rows.h"
#include "analysis/tridiagonal.h"

namespace picojoule {

struct LiveSettings {
    std::size_t n_classes{};                   // more may come
    std::vector<double> prior_rate, prior_cv;  // of the first classes; NaN: none
    double gain_std{0.05};
    bool baseline{true};
};

struct LiveBatch {
    std::span<const std::int64_t> begin_ns, end_ns;
    std::span<const double> value, edge_std_ns, value_std;
    // Window k begins with the edge that ends the one before it, of the last batch for k = 0.
    std::span<const std::uint8_t> joined;
    Spans spans;
    // All spans that begin before were told, now or earlier.
    std::int64_t complete_until_ns{std::numeric_limits<std::int64_t>::min()};
};

class LiveAttribution {
  public:
    // Readings from which the noise is found.
    static constexpr std::size_t kRing = 512;

    explicit LiveAttribution(LiveSettings settings);

    // REQUIRES: checked input (bindings do): windows of positive length in order of their begin,
    // no span that begins before folded_until_ns(), finite values.
    void update(const LiveBatch& batch);

    // Rates of the classes, the baseline's first: (1 + K,). Each call continues from the last one's
    // result (coordinate descent), so it is cheap and, among many classes, a little behind.
    const std::vector<double>& rates();
    // All of it, solved anew; of the readings that were folded. REQUIRES: folded() > 0.
    [[nodiscard]] Attributed result(std::optional<double> total = std::nullopt) const;

    [[nodiscard]] std::size_t n_classes() const { return n_classes_; }
    [[nodiscard]] std::size_t folded() const { return n_; }
    [[nodiscard]] std::size_t waiting() const { return waiting_.size(); }
    [[nodiscard]] std::size_t spans_kept() const { return from_.size(); }
    [[nodiscard]] double total() const { return sum_value_; }
    [[nodiscard]] std::vector<double> time_s() const;  // (K,)
    [[nodiscard]] double idle_s() const { return idle_s_; }
    // No window was told yet: lowest.
    [[nodiscard]] std::int64_t last_begin_ns() const { return last_begin_; }
    [[nodiscard]] std::int64_t last_end_ns() const { return last_end_; }
    [[nodiscard]] std::int64_t folded_until_ns() const { return folded_until_; }
    // Lower triangle of the information that the readings brought, baseline first; for tests.
    [[nodiscard]] Matrix information() const;

  private:
    static constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::min();

    struct Waiting {
        std::int64_t begin_ns, end_ns;
        double value, edge_std_ns, value_std;
        bool joined;
    };
    struct Piece {  // seconds of a class at a level (overlap.h)
        std::uint32_t col, level;
        double s;
    };
    struct Share {
        std::uint32_t col;
        double share;
    };
    struct Window {
        std::vector<Piece> pieces;  // while the rule of sharing may still change
        std::vector<Entry> row;
        std::vector<Share> begin, end;  // what ran at its edges
        double begin_std_ns{}, end_std_ns{};
        double value{}, value2{}, aside2{}, length_s{};
        bool joined{};
    };
    // Readings that left the ring, in one piece.
    struct Stretch {
        std::vector<double> own;  // seconds of each column
        double modelled{};        // their energy by the rates of that time
        double credited{};        // of which so much would be credited, were it a deviation
    };

    [[nodiscard]] std::size_t width() const { return n_classes_ + 1; }
    [[nodiscard]] double blur_std_ns(double given) const;
    void fold_waiting();
    void book(std::size_t count);
    void forget_spans();
    void make_room();
    void make_row(Window& w);
    [[nodiscard]] double edge2(const std::vector<Share>& at, double std_ns) const;
    void fold(Window& w);
    void restart();
    void refold();
    void flush();

    // live_noise.cpp
    void refit(bool at_leisure);
    void fit_by_evidence();
    void fit_by_residuals();
    void look_for_outliers();
    void retire(std::size_t count);
    [[nodiscard]] NoiseShape ring_shape() const;
    [[nodiscard]] std::vector<double> ring_residuals(const std::vector<double>& x) const;
    // What of each deviation in the ring is energy, to its classes.
    void credit(std::size_t count, const std::vector<double>& x, std::vector<double>& energy,
                std::vector<double>& var) const;

    // live_result.cpp
    [[nodiscard]] Prior prior(double contrast) const;
    void equations(Matrix& h, std::vector<double>& b, const Prior& before) const;
    [[nodiscard]] double evidence(double contrast) const;
    [[nodiscard]] Attributed solved(std::optional<double> total) const;
    void improve(std::vector<double>& x, int sweeps) const;

    LiveSettings settings_;
    std::size_t n_classes_{};

    // Told and not folded yet.
    std::deque<Waiting> waiting_;
    std::vector<std::int64_t> from_, to_;
    std::vector<std::int32_t> cls_;
    std::int64_t complete_until_{kNever};
    std::int64_t last_begin_{kNever}, last_end_{kNever}, folded_until_{kNever};
    std::int64_t origin_{};
    double last_blur_ns_{}, most_blur_ns_{};

    // Kept exactly, of all time that was folded.
    std::vector<double> time_;  // (K, kMostAtOnce) seconds
    double idle_s_{}, sum_value_{}, sum_length_s_{}, sum_edge_ns_{};
    std::size_t n_{};
    bool contiguous_{true}, has_std_{}, concurrent_{};

    // The equations. Column 0 is the baseline: classes may be added at the end.
    std::size_t room_{};
    Matrix a_;
    std::vector<double> c_, row_sum_;
    double yy_{}, log_det_{};
    Panels panel_{kPanel, 0};
    std::vector<double> u_;  // the last reading, whitened, with its value, variance and end's part
    double y_{}, d_{}, edge_var_{}, residual_{};
    static constexpr std::size_t kPanel = 32;

    Hyper hyper_;
    double mean_rate_{}, process0_{};
    double far_{std::numeric_limits<double>::infinity()};
    std::vector<std::uint32_t> seen_;  // readings with this column
    std::size_t next_refit_, last_refit_{};
    std::deque<Window> ring_;
    std::vector<double> x_;    // at the last refit
    std::vector<double> now_;  // at the last call of rates()
    std::size_t free_{};       // how many of x_ are not 0

    std::vector<double> credit_, credit_var_;  // of what left the ring
    std::vector<Stretch> stretches_;
};

}  // namespace picojoule
