// Folding: from spans and readings to normal equations.
#include "analysis/live.h"

#include <algorithm>
#include <cmath>

namespace picojoule {
namespace {

constexpr std::size_t kFirstRefit = 32;
// Spans that far from an edge, in its standard deviations, do not matter to it (overlap.cpp).
constexpr double kReach = 4.0;
constexpr double kLeastStdNs = 100.0;
// What a reading of which all classes were seen so often is off by is no matter of their rates.
constexpr std::uint32_t kOften = 16;

std::int64_t reach_ns(double std_ns) {
    return static_cast<std::int64_t>(std::ceil(kReach * std::max(std_ns, kLeastStdNs)));
}

}  // namespace

LiveAttribution::LiveAttribution(LiveSettings settings)
    : settings_(std::move(settings)), next_refit_(kFirstRefit) {
    n_classes_ = settings_.n_classes;
    time_.assign(n_classes_ * kMostAtOnce, 0.0);
    make_room();
}

void LiveAttribution::update(const LiveBatch& batch) {
    for (const std::int32_t c : batch.spans.cls) {
        n_classes_ = std::max(n_classes_, static_cast<std::size_t>(c) + 1);
    }
    time_.resize(n_classes_ * kMostAtOnce, 0.0);
    from_.insert(from_.end(), batch.spans.begin_ns.begin(), batch.spans.begin_ns.end());
    to_.insert(to_.end(), batch.spans.end_ns.begin(), batch.spans.end_ns.end());
    cls_.insert(cls_.end(), batch.spans.cls.begin(), batch.spans.cls.end());
    for (std::size_t k = 0; k < batch.value.size(); ++k) {
        const bool first = last_begin_ == kNever;
        if (first) origin_ = folded_until_ = batch.begin_ns[k];
        const bool joined = !first && batch.joined[k] != 0;
        waiting_.push_back({batch.begin_ns[k], batch.end_ns[k], batch.value[k],
                            batch.edge_std_ns[k], batch.value_std[k], joined});
        last_begin_ = batch.begin_ns[k];
        last_end_ = batch.end_ns[k];
    }
    complete_until_ = std::max(complete_until_, batch.complete_until_ns);
    fold_waiting();
    forget_spans();
}

// Where nothing was told, it is what was found; at first an edge counts as sharp.
double LiveAttribution::blur_std_ns(double given) const {
    if (given > 0.0) return given;
    return n_ < kFirstRefit ? 0.0 : kUnknownEdgeNs * std::sqrt(hyper_.edge_scale);
}

void LiveAttribution::fold_waiting() {
    while (!waiting_.empty()) {
        // The noise is found anew after certain readings, however they were told.
        const std::size_t most = std::min(waiting_.size(), next_refit_ - n_);
        std::size_t count = 0;
        while (count < most) {
            const Waiting& w = waiting_[count];
            if (w.end_ns + reach_ns(blur_std_ns(w.edge_std_ns)) > complete_until_) break;
            ++count;
        }
        if (count == 0) return;
        book(count);
        if (n_ == next_refit_) refit(false);
    }
}

// Folds the first `count` waiting readings, and accounts for the time up to their ends.
void LiveAttribution::book(std::size_t count) {
    struct Point {
        double t, std;
    };
    const auto at = [&](std::int64_t t) { return static_cast<double>(t - origin_); };
    std::vector<Point> points{{at(folded_until_), 0.0}};
    std::vector<double> begin_std(count), end_std(count);
    for (std::size_t k = 0; k < count; ++k) {
        const Waiting& w = waiting_[k];
        end_std[k] = blur_std_ns(w.edge_std_ns);
        begin_std[k] = w.joined ? last_blur_ns_ : end_std[k];
        last_blur_ns_ = end_std[k];
        most_blur_ns_ = std::max(most_blur_ns_, end_std[k]);
        points.push_back({at(w.begin_ns), begin_std[k]});
        points.push_back({at(w.end_ns), end_std[k]});
    }
    std::stable_sort(points.begin(), points.end(),
                     [](const Point& x, const Point& y) { return x.t < y.t; });
    std::vector<double> edges, std_ns;
    for (const Point& p : points) {
        if (edges.empty() || p.t > edges.back()) {
            edges.push_back(p.t);
            std_ns.push_back(p.std);
        } else {
            std_ns.back() = std::max(std_ns.back(), p.std);
        }
    }
    const Overlap over = overlap({from_, to_, cls_}, n_classes_, edges, std_ns, origin_);
    concurrent_ |= over.concurrent;
    make_room();
    const auto place = [&](std::int64_t t) {
        return static_cast<std::size_t>(std::lower_bound(edges.begin(), edges.end(), at(t)) -
                                        edges.begin());
    };
    for (std::size_t i = place(folded_until_); i + 1 < edges.size(); ++i) {
        for (const Booked& b : over.intervals.row(i)) {
            time_[b.cls * kMostAtOnce + b.level - 1] += b.ns * 1e-9;
        }
        idle_s_ += over.intervals.idle_ns[i] * 1e-9;
    }
    const auto col = [&](std::uint32_t cls) { return cls < n_classes_ ? cls + 1 : 0U; };
    for (std::size_t k = 0; k < count; ++k) {
        const Waiting told = waiting_.front();
        waiting_.pop_front();
        Window w;
        const std::size_t first = place(told.begin_ns), last = place(told.end_ns);
        double idle = 0.0;
        for (std::size_t i = first; i < last; ++i) {
            for (const Booked& b : over.intervals.row(i)) {
                w.pieces.push_back({col(b.cls), b.level, b.ns * 1e-9});
            }
            idle += over.intervals.idle_ns[i] * 1e-9;
        }
        w.pieces.push_back({0, 1, idle});
        const auto around = [&](std::size_t edge, double sign, std::vector<Share>& out) {
            for (const Blur& b : over.blurs.row(edge)) {
                if (b.ns != 0.0) w.pieces.push_back({col(b.cls), b.level, sign * b.ns * 1e-9});
                out.push_back({col(b.cls), b.share});
            }
        };
        around(last, 1.0, w.end);
        around(first, -1.0, w.begin);
        w.joined = told.joined;
        w.value = told.value;
        w.value2 = told.value_std * told.value_std;
        w.length_s = static_cast<double>(told.end_ns - told.begin_ns) * 1e-9;
        has_std_ |= told.edge_std_ns > 0.0;
        w.end_std_ns = told.edge_std_ns > 0.0 ? told.edge_std_ns : kUnknownEdgeNs;
        w.begin_std_ns = begin_std[k] > 0.0 && told.edge_std_ns > 0.0 ? begin_std[k] : w.end_std_ns;
        sum_edge_ns_ += w.end_std_ns;
        make_row(w);
        sum_value_ += w.value;
        sum_length_s_ += w.length_s;
        if (n_ == 0) {  // a scale to begin with: a thousandth of a reading's energy
            mean_rate_ = sum_value_ / sum_length_s_;
            process0_ = std::max(1e-24, 1e-6 * mean_rate_ * mean_rate_ * w.length_s);
            hyper_.process = process0_;
            hyper_.sharing = 0.0;
            hyper_.contrast = kContrast;
            std::fill(x_.begin(), x_.end(), mean_rate_);
            if (!settings_.baseline) x_[0] = 0.0;
        } else {
            contiguous_ &= w.joined;
        }
        ++n_;
        for (const Entry& e : w.row) ++seen_[e.col];
        ring_.push_back(std::move(w));
        fold(ring_.back());
        folded_until_ = std::max(folded_until_, told.end_ns);
    }
}

void LiveAttribution::forget_spans() {
    if (last_begin_ == kNever) return;
    std::int64_t needed = std::min(last_end_, folded_until_);
    if (!waiting_.empty()) needed = std::min(needed, waiting_.front().begin_ns);
    // A later window may begin as early as the last one that was told.
    needed = std::min(needed, last_begin_) - 2 * reach_ns(most_blur_ns_);
    std::size_t kept = 0;
    for (std::size_t i = 0; i < from_.size(); ++i) {
        if (to_[i] <= needed) continue;
        from_[kept] = from_[i];
        to_[kept] = to_[i];
        cls_[kept++] = cls_[i];
    }
    from_.resize(kept);
    to_.resize(kept);
    cls_.resize(kept);
}

// Columns for all classes there are; the new ones begin without information.
void LiveAttribution::make_room() {
    if (width() <= room_) return;
    flush();
    const std::size_t wanted = n_ == 0 ? width() : std::max(width(), room_ + room_ / 4);
    Matrix wider(wanted, wanted);
    for (std::size_t i = 0; i < room_; ++i) std::copy_n(a_.row(i), i + 1, wider.row(i));
    a_ = std::move(wider);
    const double usual = mean_rate_;
    room_ = wanted;
    panel_ = Panels(kPanel, room_);
    for (auto* v : {&c_, &u_, &row_sum_, &credit_, &credit_var_}) v->resize(room_, 0.0);
    x_.resize(room_, usual);
    now_.resize(room_, usual);
    seen_.resize(room_, 0);
}

void LiveAttribution::make_row(Window& w) {
    struct Dense {  // Sharing counts classes and has the baseline where it is told
        std::vector<double>& sum;
        void add(std::size_t col, double s) { sum[col] += s; }
    };
    static thread_local std::vector<double> sum;
    sum.assign(room_, 0.0);
    Dense dense{sum};
    const Sharing share(hyper_.sharing, settings_.baseline);
    for (const Piece& p : w.pieces) {
        if (p.col != 0) {
            share.add(dense, p.col, p.level, p.s, 0);
        } else if (settings_.baseline) {
            dense.add(0, p.s);
        }
    }
    w.row.clear();
    for (std::uint32_t i = 0; i < room_; ++i) {
        if (sum[i] != 0.0) w.row.push_back({i, sum[i]});
    }
}

// Variance of energy by the error of an edge's time, where `at` ran.
double LiveAttribution::edge2(const std::vector<Share>& at, double std_ns) const {
    double rate = 0.0;
    for (const Share& s : at) rate += s.share * x_[s.col];
    const double joules = 1e-9 * std_ns * std::max(rate, 0.02 * std::abs(mean_rate_));
    return joules * joules;
}

// The step of Tridiagonal for one reading more, and its row into the equations.
void LiveAttribution::fold(Window& w) {
    const double begin = w.joined ? edge_var_ : hyper_.edge_scale * edge2(w.begin, w.begin_std_ns);
    const double end = hyper_.edge_scale * edge2(w.end, w.end_std_ns);
    const double own = w.value2 + w.aside2 + hyper_.process * w.length_s + begin + end;
    const double link = w.joined && d_ > 0.0 ? -begin / d_ : 0.0;
    const auto left = [&](double variance) {
        const double diagonal = std::max(variance, 1e-30);
        return std::max(diagonal + link * begin, 1e-12 * diagonal);
    };
    d_ = left(own);
    double r = w.value;
    bool usual = true;
    for (const Entry& e : w.row) {
        r -= e.s * x_[e.col];
        usual &= seen_[e.col] >= kOften || std::abs(e.s) < 0.01 * w.length_s;
    }
    residual_ = r - link * residual_;
    if (usual && residual_ * residual_ > far_ * far_ * d_) {
        w.aside2 = r * r;
        d_ = left(own + w.aside2);
        ++hyper_.outliers;
    }
    edge_var_ = end;
    for (double& v : u_) v *= -link;
    for (const Entry& e : w.row) {
        u_[e.col] += e.s;
        row_sum_[e.col] += e.s;
    }
    y_ = w.value - link * y_;
    const double weight = 1.0 / d_;
    for (std::size_t i = 0; i < room_; ++i) c_[i] += u_[i] * y_ * weight;
    yy_ += y_ * y_ * weight;
    log_det_ += std::log(d_);
    panel_.add(u_.data(), std::sqrt(weight));
    if (panel_.full()) flush();
}

void LiveAttribution::flush() {
    if (panel_.rows() == 0) return;
    add_outer(a_, panel_, 0, 1);
    panel_.clear();
}

void LiveAttribution::restart() {
    a_.clear();
    panel_.clear();
    for (auto* v : {&c_, &u_, &row_sum_}) std::fill(v->begin(), v->end(), 0.0);
    yy_ = log_det_ = y_ = d_ = edge_var_ = residual_ = 0.0;
}

// REQUIRES: all readings are still in the ring.
void LiveAttribution::refold() {
    restart();
    for (Window& w : ring_) {
        make_row(w);
        fold(w);
    }
    flush();
}

Matrix LiveAttribution::information() const {
    Matrix all = a_;
    if (panel_.rows() > 0) add_outer(all, panel_, 0, 1);
    return all;
}

std::vector<double> LiveAttribution::time_s() const {
    std::vector<double> out(n_classes_, 0.0);
    for (std::size_t i = 0; i < time_.size(); ++i) out[i / kMostAtOnce] += time_[i];
    return out;
}

}  // namespace picojoule
