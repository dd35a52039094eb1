#include "analysis/likeness.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "analysis/dense.h"

namespace picojoule {
namespace {

constexpr int kIterations = 60;
// Multiplications that the covariance may cost; of more rows some are left out.
constexpr double kMostWork = 2e7;
constexpr double kNothing = 1e-12;  // of the rows' square: rounding

// Of the rows.
Matrix covariance(const Rows& rows, std::size_t columns) {
    std::vector<double> mean(columns, 0.0);
    Matrix out(columns, columns);
    const double work = static_cast<double>(rows.entries.size()) * static_cast<double>(columns);
    const auto stride = static_cast<std::size_t>(std::ceil(std::max(1.0, work / kMostWork)));
    const std::size_t taken = (rows.size() + stride - 1) / stride;
    const auto n = static_cast<double>(taken);
    for (std::size_t k = 0; k < rows.size(); k += stride) {
        for (const Entry& a : rows.row(k)) {
            mean[a.col] += a.s / n;
            for (const Entry& b : rows.row(k)) out(a.col, b.col) += a.s * b.s / n;
        }
    }
    for (std::size_t i = 0; i < columns; ++i) {
        for (std::size_t j = 0; j < columns; ++j) out(i, j) -= mean[i] * mean[j];
    }
    return out;
}

// The direction of most variance, taken out of `cov`; empty: there is none above `nothing`.
std::vector<double> take_first(Matrix& cov, std::size_t columns, double nothing) {
    // From the column that varies most, so that the start is never at right angles to it.
    std::size_t widest = 0;
    for (std::size_t i = 1; i < columns; ++i) {
        if (cov(i, i) > cov(widest, widest)) widest = i;
    }
    if (!(cov(widest, widest) > nothing)) return {};
    std::vector<double> x(columns), y(columns);
    for (std::size_t i = 0; i < columns; ++i) x[i] = cov(i, widest);
    double size = 0.0;
    for (int round = 0; round < kIterations; ++round) {
        size = std::sqrt(std::inner_product(x.begin(), x.end(), x.begin(), 0.0));
        if (!(size > 0.0)) return {};
        for (double& v : x) v /= size;
        for (std::size_t i = 0; i < columns; ++i) {
            y[i] = 0.0;
            for (std::size_t j = 0; j < columns; ++j) y[i] += cov(i, j) * x[j];
        }
        std::swap(x, y);
    }
    size = std::sqrt(std::inner_product(x.begin(), x.end(), x.begin(), 0.0));
    if (!(size > 0.0)) return {};
    for (double& v : x) v /= size;
    for (std::size_t i = 0; i < columns; ++i) {
        for (std::size_t j = 0; j < columns; ++j) cov(i, j) -= size * x[i] * x[j];
    }
    return x;
}

}  // namespace

std::vector<std::uint32_t> kinds_by_content(const Rows& rows, std::size_t columns,
                                            std::size_t parts) {
    const std::size_t n = rows.size();
    std::vector<std::uint32_t> out(n, 0);
    Matrix cov = covariance(rows, columns);
    double square = 0.0;  // mean, of a row
    for (const Entry& e : rows.entries) square += e.s * e.s / static_cast<double>(n);
    std::vector<std::size_t> order(n);
    std::vector<double> along(n);
    for (int mixture = 0; mixture < 2; ++mixture) {
        const std::vector<double> direction = take_first(cov, columns, kNothing * square);
        if (direction.empty()) break;
        for (std::size_t k = 0; k < n; ++k) along[k] = rows.dot(k, direction);
        std::iota(order.begin(), order.end(), std::size_t{0});
        std::stable_sort(order.begin(), order.end(),
                         [&](std::size_t a, std::size_t b) { return along[a] < along[b]; });
        std::uint32_t part = 0;
        for (std::size_t i = 0; i < n; ++i) {
            const bool same = i > 0 && along[order[i]] == along[order[i - 1]];
            if (!same) part = static_cast<std::uint32_t>(i * parts / n);
            out[order[i]] = out[order[i]] * static_cast<std::uint32_t>(parts) + part;
        }
    }
    return out;
}

}  // namespace picojoule
