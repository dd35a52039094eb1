#include "analysis/dense.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace picojoule {
namespace {

constexpr std::size_t kTile = 4;
constexpr std::size_t kBlock = 64;
using Pair = double __attribute__((vector_size(16), aligned(8)));

// 4 x 4 of sum += u_i' u_j over a batch, kept in registers.
void tile(double* sum, std::size_t stride, const double* u_i, const double* u_j, std::size_t width,
          std::size_t count) {
    Pair s[kTile][2] = {};
    for (std::size_t r = 0; r < count; ++r) {
        const double* a = u_i + r * width;
        const auto* b = reinterpret_cast<const Pair*>(u_j + r * width);
        const Pair b0 = b[0];
        const Pair b1 = b[1];
        for (std::size_t i = 0; i < kTile; ++i) {
            const Pair v = {a[i], a[i]};
            s[i][0] += v * b0;
            s[i][1] += v * b1;
        }
    }
    for (std::size_t i = 0; i < kTile; ++i) {
        for (std::size_t j = 0; j < 2; ++j) {
            sum[i * stride + 2 * j] += s[i][j][0];
            sum[i * stride + 2 * j + 1] += s[i][j][1];
        }
    }
}

}  // namespace

void add_outer(Matrix& sum, const double* batch, std::size_t count, std::size_t part,
               std::size_t parts) {
    const std::size_t width = sum.cols();
    const std::size_t whole = width / kTile * kTile;
    std::size_t block = 0;
    for (std::size_t i0 = 0; i0 < width; i0 += kBlock, ++block) {
        if (block % parts != part) continue;
        const std::size_t i1 = std::min(width, i0 + kBlock);
        const std::size_t i_whole = std::min(i1, whole);
        for (std::size_t i = i0; i < i_whole; i += kTile) {
            for (std::size_t j = 0; j <= i; j += kTile) {
                tile(sum.row(i) + j, width, batch + i, batch + j, width, count);
            }
        }
        for (std::size_t i = std::max(i0, whole); i < i1; ++i) {  // the last rows, one by one
            double* out = sum.row(i);
            for (std::size_t r = 0; r < count; ++r) {
                const double* u = batch + r * width;
                const double v = u[i];
                for (std::size_t j = 0; j <= i; ++j) out[j] += v * u[j];
            }
        }
    }
}

bool cholesky(Matrix& a) {
    const std::size_t n = a.cols();
    for (std::size_t i = 0; i < n; ++i) {
        double* ri = a.row(i);
        for (std::size_t j = 0; j <= i; ++j) {
            const double* rj = a.row(j);
            double s[4] = {};
            std::size_t k = 0;
            for (; k + 4 <= j; k += 4) {
                for (std::size_t q = 0; q < 4; ++q) s[q] += ri[k + q] * rj[k + q];
            }
            double rest = 0.0;
            for (; k < j; ++k) rest += ri[k] * rj[k];
            const double value = ri[j] - ((s[0] + s[1]) + (s[2] + s[3]) + rest);
            if (i == j) {
                if (!(value > 0.0)) return false;
                ri[i] = std::sqrt(value);
            } else {
                ri[j] = value / rj[j];
            }
        }
    }
    return true;
}

double log_det(const Matrix& factor) {
    double sum = 0.0;
    for (std::size_t i = 0; i < factor.cols(); ++i) sum += 2.0 * std::log(factor(i, i));
    return sum;
}

void solve(const Matrix& factor, std::span<double> x) {
    const std::size_t n = factor.cols();
    for (std::size_t i = 0; i < n; ++i) {
        double v = x[i];
        const double* r = factor.row(i);
        for (std::size_t k = 0; k < i; ++k) v -= r[k] * x[k];
        x[i] = v / r[i];
    }
    for (std::size_t i = n; i-- > 0;) {
        const double v = x[i] / factor(i, i);
        x[i] = v;
        const double* r = factor.row(i);
        for (std::size_t k = 0; k < i; ++k) x[k] -= r[k] * v;
    }
}

Matrix inverse(const Matrix& factor) {
    const std::size_t n = factor.cols();
    // Rows of L^-1, transposed: t(j, i) = L^-1(i, j), so that inner loops run along rows.
    Matrix t(n, n);
    for (std::size_t j = 0; j < n; ++j) {
        double* row = t.row(j);
        row[j] = 1.0 / factor(j, j);
        for (std::size_t i = j + 1; i < n; ++i) {
            const double* r = factor.row(i);
            double v = 0.0;
            for (std::size_t k = j; k < i; ++k) v -= r[k] * row[k];
            row[i] = v / r[i];
        }
    }
    Matrix out(n, n);
    for (std::size_t i = 0; i < n; ++i) {
        for (std::size_t j = 0; j <= i; ++j) {
            const double* a = t.row(i);
            const double* b = t.row(j);
            double v = 0.0;
            for (std::size_t k = i; k < n; ++k) v += a[k] * b[k];
            out(i, j) = out(j, i) = v;
        }
    }
    return out;
}

Bounded solve_bounded(const Matrix& h, std::span<const double> b,
                      std::span<const std::uint8_t> bounded) {
    const std::size_t n = h.cols();
    Bounded out{std::vector<double>(n, 0.0), std::vector<std::uint8_t>(n, 1)};
    std::size_t fewest = n + 1;
    int patience = 3;  // whole blocks are exchanged as long as that helps, then one at a time
    for (std::size_t round = 0; round < 10 * n + 10; ++round) {
        std::vector<std::size_t> at;
        for (std::size_t i = 0; i < n; ++i) {
            if (out.free[i] != 0) at.push_back(i);
        }
        Matrix a(at.size(), at.size());
        std::vector<double> x(at.size());
        for (std::size_t i = 0; i < at.size(); ++i) {
            for (std::size_t j = 0; j <= i; ++j) a(i, j) = h(at[i], at[j]);
            x[i] = b[at[i]];
        }
        if (!at.empty()) {
            if (!cholesky(a)) break;
            solve(a, x);
        }
        std::fill(out.x.begin(), out.x.end(), 0.0);
        for (std::size_t i = 0; i < at.size(); ++i) out.x[at[i]] = x[i];
        std::vector<std::size_t> wrong;
        for (std::size_t i = 0; i < n; ++i) {
            if (bounded[i] == 0) continue;
            if (out.free[i] != 0) {
                if (out.x[i] < 0.0) wrong.push_back(i);
                continue;
            }
            double gradient = -b[i];
            for (const std::size_t k : at) {
                gradient += (k <= i ? h(i, k) : h(k, i)) * out.x[k];
            }
            if (gradient < -1e-9 * (std::abs(b[i]) + 1e-300)) wrong.push_back(i);
        }
        if (wrong.empty()) break;
        if (wrong.size() < fewest) {
            fewest = wrong.size();
            patience = 3;
        } else if (patience > 0) {
            --patience;
        }
        if (patience > 0) {
            for (const std::size_t i : wrong) out.free[i] ^= 1U;
        } else {
            out.free[wrong.back()] ^= 1U;
        }
    }
    for (std::size_t i = 0; i < n; ++i) {
        if (bounded[i] != 0) out.x[i] = std::max(0.0, out.x[i]);
    }
    return out;
}

}  // namespace picojoule
