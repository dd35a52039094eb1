#include "analysis/overlap.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace picojoule {
namespace {

// Beyond so many standard deviations a normal error is taken as impossible.
constexpr double kReach = 4.0;
// An edge without any error still has neighbours on both sides that say what ran there.
constexpr double kLeastStdNs = 100.0;

struct Span {
    double begin;
    double end;
    std::uint32_t cls;
};

struct Order {
    std::vector<std::uint32_t> index;  // empty: as given
    [[nodiscard]] std::size_t at(std::size_t i) const { return index.empty() ? i : index[i]; }
};

Order order_of(const Spans& spans) {
    Order out;
    if (!std::is_sorted(spans.begin_ns.begin(), spans.begin_ns.end())) {
        out.index.resize(spans.begin_ns.size());
        std::iota(out.index.begin(), out.index.end(), 0U);
        std::stable_sort(out.index.begin(), out.index.end(), [&](std::uint32_t a, std::uint32_t b) {
            return spans.begin_ns[a] < spans.begin_ns[b];
        });
    }
    return out;
}

// Sums what falls into one row, by class and level.
class RowSum {
  public:
    explicit RowSum(std::size_t n_classes) : place_(n_classes * kMostAtOnce, kNone) {}

    void add(std::uint32_t cls, std::uint32_t level, double ns) {
        if (ns <= 0.0) return;
        std::uint32_t& place = place_[cls * kMostAtOnce + level - 1];
        if (place == kNone) {
            place = static_cast<std::uint32_t>(row_.size());
            row_.push_back({cls, level, 0.0});
        }
        row_[place].ns += ns;
    }
    void flush(BookedRows& out, double idle_ns) {
        for (const Booked& b : row_) place_[b.cls * kMostAtOnce + b.level - 1] = kNone;
        out.entries.insert(out.entries.end(), row_.begin(), row_.end());
        out.start.push_back(out.entries.size());
        out.idle_ns.push_back(std::max(0.0, idle_ns));
        row_.clear();
    }

  private:
    static constexpr std::uint32_t kNone = std::numeric_limits<std::uint32_t>::max();
    std::vector<std::uint32_t> place_;
    std::vector<Booked> row_;
};

// Around one instant: what ran there, weighed by a normal error.
class Blurrer {
  public:
    Blurrer(std::size_t n_classes, BlurRows& out)
        : idle_(static_cast<std::uint32_t>(n_classes)), out_(out) {}

    // `near`: all spans that touch [at - reach, at + reach], and others, in any order.
    void edge(double at, double std_ns, const std::vector<Span>& near) {
        const double sd = std::max(std_ns, kLeastStdNs);
        const double from = at - kReach * sd;
        const double to = at + kReach * sd;
        cuts_.clear();
        for (const Span& s : near) {
            if (s.end <= from || s.begin >= to || s.end <= s.begin) continue;
            cuts_.push_back({std::max(from, s.begin), +1, s.cls});
            cuts_.push_back({std::min(to, s.end), -1, s.cls});
        }
        std::sort(cuts_.begin(), cuts_.end(), [](const Cut& a, const Cut& b) {
            return a.at != b.at ? a.at < b.at : a.step < b.step;
        });
        row_.clear();
        running_.clear();
        const bool blurred = std_ns >= kLeastStdNs;  // less than that moves no time worth a word
        double now = from;
        const auto advance = [&](double next) {
            if (next <= now) return;
            const Weight w = between(now, next, at, sd);
            const double ns = blurred ? w.ns : 0.0;
            const auto level = std::min<std::uint32_t>(
                kMostAtOnce, static_cast<std::uint32_t>(std::max<std::size_t>(1, running_.size())));
            if (running_.empty()) {
                add({idle_, level, ns, w.share});
            } else {
                for (const std::uint32_t cls : running_) add({cls, level, ns, w.share});
            }
            now = next;
        };
        for (const Cut& cut : cuts_) {
            advance(cut.at);
            if (cut.step > 0) {
                running_.push_back(cut.cls);
            } else {
                const auto it = std::find(running_.begin(), running_.end(), cut.cls);
                if (it != running_.end()) running_.erase(it);
            }
        }
        advance(to);
        out_.entries.insert(out_.entries.end(), row_.begin(), row_.end());
        out_.start.push_back(out_.entries.size());
    }

  private:
    struct Cut {
        double at;
        int step;
        std::uint32_t cls;
    };
    struct Weight {
        double ns, share;
    };
    // The true instant is at + N(0, sd). Expected time in [a, b) before it is the integral of
    // P(true > u) du; minus the part that is before `at` anyway.
    static Weight between(double a, double b, double at, double sd) {
        const auto upper = [&](double u) {  // integral of P(true > u) from u to infinity
            const double x = (u - at) / sd;
            return sd * (std::exp(-0.5 * x * x) * 0.3989422804014327 -
                         x * 0.5 * std::erfc(x * 0.7071067811865476));
        };
        const auto below = [&](double u) { return std::min(u, at); };
        const auto cdf = [&](double u) {
            return 0.5 * std::erfc((at - u) / sd * 0.7071067811865476);
        };
        return {upper(a) - upper(b) - (below(b) - below(a)), cdf(b) - cdf(a)};
    }
    void add(const Blur& b) {
        for (Blur& known : row_) {
            if (known.cls == b.cls && known.level == b.level) {
                known.ns += b.ns;
                known.share += b.share;
                return;
            }
        }
        row_.push_back(b);
    }

    std::uint32_t idle_;
    BlurRows& out_;
    std::vector<Cut> cuts_;
    std::vector<std::uint32_t> running_;
    std::vector<Blur> row_;
};

}  // namespace

Overlap overlap(const Spans& spans, std::size_t n_classes, std::span<const double> edges_ns,
                std::span<const double> std_ns, std::int64_t origin_ns) {
    Overlap out;
    if (edges_ns.empty()) return out;
    const Order order = order_of(spans);
    const std::size_t m = spans.begin_ns.size();
    const auto span_at = [&](std::size_t i) -> Span {
        const std::size_t k = order.at(i);
        return {static_cast<double>(spans.begin_ns[k] - origin_ns),
                static_cast<double>(spans.end_ns[k] - origin_ns),
                static_cast<std::uint32_t>(spans.cls[k])};
    };

    RowSum sum(n_classes);
    Blurrer blurrer(n_classes, out.blurs);
    struct Run {
        double end;
        std::uint32_t cls;
    };
    std::vector<Run> running;  // few: as many as there are streams
    std::vector<Span> recent;  // what may still touch the surroundings of the next edge
    double now = edges_ns.front();
    double idle = 0.0;
    bool inside = false;  // of [first edge, last edge]

    const auto book = [&](double to) {  // [now, to) with what runs
        if (to <= now) return;
        if (inside) {
            if (running.empty()) {
                idle += to - now;
            } else {
                const auto level =
                    static_cast<std::uint32_t>(std::min<std::size_t>(running.size(), kMostAtOnce));
                out.concurrent |= running.size() > 1;
                for (const Run& r : running) sum.add(r.cls, level, to - now);
            }
        }
        now = to;
    };
    const auto finish_until = [&](double t) {
        while (!running.empty()) {
            const auto first =
                std::min_element(running.begin(), running.end(),
                                 [](const Run& a, const Run& b) { return a.end < b.end; });
            if (first->end > t) break;
            book(first->end);
            *first = running.back();
            running.pop_back();
        }
    };
    std::size_t next = 0;  // span
    now = std::numeric_limits<double>::lowest();
    // Spans up to `t` begin, in order; each edge closes its row.
    const auto begin_until = [&](double t) {
        while (next < m) {
            const Span s = span_at(next);
            if (s.begin >= t) break;
            ++next;
            finish_until(s.begin);
            book(s.begin);
            if (s.end > s.begin) running.push_back({s.end, s.cls});
        }
        finish_until(t);
        book(t);
    };
    const auto reach = [&](std::size_t e) { return kReach * std::max(std_ns[e], kLeastStdNs); };
    // A later edge may be less certain and reach further back than this one.
    std::vector<double> needed_from(edges_ns.size());
    double least = std::numeric_limits<double>::infinity();
    for (std::size_t e = edges_ns.size(); e-- > 0;) {
        needed_from[e] = least = std::min(least, edges_ns[e] - reach(e));
    }
    std::size_t ahead = 0;  // span, for the surroundings of edges
    for (std::size_t e = 0; e < edges_ns.size(); ++e) {
        begin_until(edges_ns[e]);
        if (e > 0) sum.flush(out.intervals, idle);
        idle = 0.0;
        inside = e + 1 < edges_ns.size();
        const double to = edges_ns[e] + reach(e);
        for (; ahead < m; ++ahead) {
            const Span s = span_at(ahead);
            if (s.begin >= to) break;
            if (s.end > needed_from[e]) recent.push_back(s);
        }
        std::erase_if(recent, [&](const Span& s) { return s.end <= needed_from[e]; });
        blurrer.edge(edges_ns[e], std_ns[e], recent);
    }
    return out;
}

}  // namespace picojoule
