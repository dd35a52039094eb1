// Whether what classes draw depends on what ran before them, beyond what drift explains: a power
// cap or a governor that answers to the load, a sensor that is not as it was taken to be. Windows
// of like content then err alike, again and again, and more of them help no further.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <utility>

#include "analysis/likeness.h"
#include "analysis/solver.h"

namespace picojoule {
namespace {

// So far beyond chance (standard deviations of the sum of squares) must likeness be.
constexpr double kFar = 5.0;
// The fit takes up most of what is alike in windows; what is left to see of it is less than half:
// simulated power caps, 60 and 600 s.
constexpr double kHidden = 2.5;
constexpr std::size_t kMostKinds = 4096;
// Kinds by what windows hold: more than there are rates, which take up as many effects.
constexpr double kOverRates = 2.0, kLeastKinds = 40.0;

}  // namespace

// Which windows are of a kind: those that begin in the same class, in the same one of so many parts
// of it, and that end in the same.
struct Solver::Likeness {
    std::uint64_t parts;
    bool end;
};

// Sums over the windows of each kind, all whitened.
struct Solver::Kinds {
    std::vector<std::uint32_t> of;     // (n,) of each window
    std::vector<double> weight, pull;  // of a relative effect that a kind has
    std::vector<double> many;
    double beyond{}, variance{};  // standard deviations beyond chance; of the effect
};

std::vector<std::uint32_t> Solver::likes(const std::vector<double>& begun,
                                         const Likeness& like) const {
    std::map<std::uint64_t, std::uint32_t> number;
    std::vector<std::uint32_t> out(n_);
    for (std::size_t k = 0; k < n_; ++k) {
        const std::uint64_t from = eq_.at_begin(k), to = like.end ? eq_.at_end(k) : 0;
        const auto part = static_cast<std::uint64_t>(begun[k] * static_cast<double>(like.parts));
        const std::uint64_t key = (from * (k_ + 1) + to) * like.parts + part;
        out[k] = number.emplace(key, static_cast<std::uint32_t>(number.size())).first->second;
    }
    return out;
}

Solver::Kinds Solver::kinds(std::vector<std::uint32_t> of, const Tridiagonal& noise,
                            const std::vector<double>& r, double fitted) const {
    Kinds out;
    out.of = std::move(of);
    const std::size_t g = *std::max_element(out.of.begin(), out.of.end()) + 1U;
    out.weight.assign(g, 0.0);
    out.pull.assign(g, 0.0);
    out.many.assign(g, 0.0);
    double z = 0.0;
    for (std::size_t k = 0; k < n_; ++k) {
        z = r[k] - noise.link(k) * z;
        const double model = in_.value[k] - r[k];
        out.weight[out.of[k]] += noise.weight(k) * model * model;
        out.pull[out.of[k]] += noise.weight(k) * model * z;
        out.many[out.of[k]] += 1.0;
    }
    double kinds = 0.0, squares = 0.0, weights = 0.0;
    for (std::size_t c = 0; c < g; ++c) {
        if (out.many[c] < 2.0 || !(out.weight[c] > 0.0)) continue;
        kinds += 1.0;
        squares += out.pull[c] * out.pull[c] / out.weight[c];
        weights += out.weight[c];
    }
    const double free = kinds - fitted;  // what is left of them to be seen
    if (g > kMostKinds || free < 5.0) return out;
    out.beyond = (squares - free) / std::sqrt(2.0 * free);
    out.variance = (squares - free) / weights * std::min(5.0, kinds / free);
    return out;
}

// The covariance with it, and with that of rates which are held at 0: that they are is not known
// where the model is not right.
double Solver::context_doubt(Matrix& v) const {
    if (n_ < 4 * p_) return 0.0;
    const Tridiagonal noise = this->noise();
    const std::vector<double> r = residuals();
    std::vector<double> begun(n_, 0.0);  // share of the class that a window begins with
    for (std::size_t k = 0; k < n_; ++k) {
        const std::uint32_t from = eq_.at_begin(k);
        for (const Entry& e : rows_.row(k)) {
            if (e.col == from) begun[k] = std::clamp(e.s / eq_.length_s(k), 0.0, 0.999);
        }
    }
    // Of the unknowns, what the readings determine: that many effects of kinds went into them.
    Matrix told(width(), width());
    prior().add_to(told);
    auto fitted = static_cast<double>(width());
    for (std::size_t i = 0; i < width(); ++i) {
        for (std::size_t j = 0; j <= i; ++j) fitted -= told(i, j) * v(i, j) * (i == j ? 1.0 : 2.0);
    }
    Kinds most;
    for (const Likeness& like : {Likeness{4, true}, Likeness{1, true}, Likeness{4, false}}) {
        Kinds found = kinds(likes(begun, like), noise, r, fitted);
        if (found.beyond > most.beyond) most = std::move(found);
    }
    const double parts = std::sqrt(kOverRates * static_cast<double>(p_) + kLeastKinds);
    Kinds found = kinds(kinds_by_content(rows_, p_, static_cast<std::size_t>(std::ceil(parts))),
                        noise, r, fitted);
    if (found.beyond > most.beyond) most = std::move(found);
    if (!(most.beyond > kFar)) return 0.0;
    const std::size_t w = width(), g = most.weight.size();
    Matrix h = normal(noise).a;
    prior().add_to(h);
    if (!cholesky(h)) return 0.0;
    Matrix moves(g, w);
    std::vector<double> u(w, 0.0);
    for (std::size_t k = 0; k < n_; ++k) {
        for (double& x : u) x *= -noise.link(k);
        add_equation(k, u.data());
        const double by = noise.weight(k) * (in_.value[k] - r[k]);
        for (std::size_t i = 0; i < w; ++i) moves(most.of[k], i) += by * u[i];
    }
    v = inverse(h);
    const double variance = kHidden * kHidden * most.variance;
    std::vector<double> x(w);
    for (std::size_t c = 0; c < g; ++c) {
        for (std::size_t i = 0; i < w; ++i) x[i] = moves(c, i);
        solve(h, x);
        for (std::size_t i = 0; i < w; ++i) {
            for (std::size_t j = 0; j < w; ++j) v(i, j) += variance * x[i] * x[j];
        }
    }
    return std::sqrt(variance);
}

}  // namespace picojoule
