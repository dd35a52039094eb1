// The little linear algebra that the solver needs: symmetric positive definite systems of a few
// hundred unknowns. Row-major, results the same for any number of threads.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace picojoule {

class Matrix {
  public:
    Matrix() = default;
    Matrix(std::size_t rows, std::size_t cols) : cols_(cols), data_(rows * cols, 0.0) {}
    double& operator()(std::size_t r, std::size_t c) { return data_[r * cols_ + c]; }
    double operator()(std::size_t r, std::size_t c) const { return data_[r * cols_ + c]; }
    [[nodiscard]] double* row(std::size_t r) { return data_.data() + r * cols_; }
    [[nodiscard]] const double* row(std::size_t r) const { return data_.data() + r * cols_; }
    void clear() { std::fill(data_.begin(), data_.end(), 0.0); }
    [[nodiscard]] std::size_t cols() const { return cols_; }
    [[nodiscard]] std::size_t rows() const { return cols_ == 0 ? 0 : data_.size() / cols_; }
    [[nodiscard]] const std::vector<double>& data() const { return data_; }

  private:
    std::size_t cols_{};
    std::vector<double> data_;
};

// A batch of rows, kept in panels of a few columns: how products of columns are read fastest.
class Panels {
  public:
    static constexpr std::size_t kWide = 8;
    Panels(std::size_t most_rows, std::size_t width)
        : most_(most_rows),
          width_(width),
          data_((width + kWide - 1) / kWide * kWide * most_rows, 0.0) {}
    void add(const double* row, double factor) {
        double* out = data_.data() + rows_ * kWide;
        for (std::size_t i = 0; i < width_; ++i) {
            out[i / kWide * kWide * most_ + i % kWide] = row[i] * factor;
        }
        ++rows_;
    }
    [[nodiscard]] bool full() const { return rows_ == most_; }
    void clear() { rows_ = 0; }
    [[nodiscard]] std::size_t rows() const { return rows_; }
    // Where column i begins; its rows are kWide apart.
    [[nodiscard]] const double* column(std::size_t i) const {
        return data_.data() + i / kWide * kWide * most_ + i % kWide;
    }

  private:
    std::size_t most_, width_, rows_{};
    std::vector<double> data_;
};

// The lower triangle of sum += u u' over a batch of rows u; only block rows whose number is `part`
// modulo `parts`, so that threads share the work without sharing a sum.
void add_outer(Matrix& sum, const Panels& batch, std::size_t part, std::size_t parts);

// Lower Cholesky factor in place of the lower triangle of `a`. False if not positive definite.
bool cholesky(Matrix& a);
double log_det(const Matrix& factor);
void solve(const Matrix& factor, std::span<double> x);
Matrix inverse(const Matrix& factor);  // full and symmetric

struct Bounded {
    std::vector<double> x;
    std::vector<std::uint8_t> free;  // not held at 0
};
// Least of x' h x / 2 - b' x with x >= 0 where `bounded`; h by its lower triangle, positive
// definite. Block principal pivoting (Portugal, Judice, Vicente, Math. Comp. 63, 1994).
Bounded solve_bounded(const Matrix& h, std::span<const double> b,
                      std::span<const std::uint8_t> bounded);

// A least of `f` near `start` by Nelder and Mead (Computer Journal 7, 1965); deterministic.
template <class F>
std::vector<double> least(F&& f, std::vector<double> start, const std::vector<double>& step,
                          int most_calls) {
    const std::size_t d = start.size();
    if (d == 0) return start;
    struct Point {
        std::vector<double> x;
        double y;
    };
    std::vector<Point> s;
    s.push_back({start, f(start)});
    for (std::size_t i = 0; i < d; ++i) {
        auto x = start;
        x[i] += step[i];
        const double y = f(x);
        s.push_back({std::move(x), y});
    }
    int calls = static_cast<int>(d) + 1;
    const auto by_value = [](const Point& a, const Point& b) { return a.y < b.y; };
    while (calls < most_calls) {
        std::stable_sort(s.begin(), s.end(), by_value);
        if (s.back().y - s.front().y < 1e-3) break;
        std::vector<double> mid(d, 0.0);
        for (std::size_t i = 0; i < d; ++i) {
            for (std::size_t k = 0; k < d; ++k) mid[k] += s[i].x[k] / static_cast<double>(d);
        }
        const auto along = [&](double t) {
            std::vector<double> x(d);
            for (std::size_t k = 0; k < d; ++k) x[k] = mid[k] + t * (s.back().x[k] - mid[k]);
            ++calls;
            const double y = f(x);
            return Point{std::move(x), y};
        };
        Point reflected = along(-1.0);
        if (reflected.y < s.front().y) {
            Point further = along(-2.0);
            s.back() = further.y < reflected.y ? std::move(further) : std::move(reflected);
        } else if (reflected.y < s[d - 1].y) {
            s.back() = std::move(reflected);
        } else {
            Point nearer = along(reflected.y < s.back().y ? -0.5 : 0.5);
            if (nearer.y < std::min(reflected.y, s.back().y)) {
                s.back() = std::move(nearer);
            } else {
                for (std::size_t i = 1; i <= d; ++i) {
                    for (std::size_t k = 0; k < d; ++k) {
                        s[i].x[k] = 0.5 * (s[i].x[k] + s.front().x[k]);
                    }
                    s[i].y = f(s[i].x);
                    ++calls;
                }
            }
        }
    }
    return std::min_element(s.begin(), s.end(), by_value)->x;
}

}  // namespace picojoule
