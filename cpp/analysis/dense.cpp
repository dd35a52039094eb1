#include "analysis/dense.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace picojoule {
namespace {

constexpr std::size_t kTile = 4;
constexpr std::size_t kWide = Panels::kWide;
constexpr std::size_t kBlock = 64;
using Quad = double __attribute__((vector_size(32), aligned(8)));

// 4 x 8 of u_i' u_j over a batch, kept in registers. Each element is a sum of its own in the order
// of the rows, so that the bytes do not depend on the width of the machine's registers (which is
// why this layer is compiled without fused multiplications).
[[gnu::always_inline]] inline void multiply(double* out, const double* u_i, const double* u_j,
                                            std::size_t count) {
    Quad s[kTile][2] = {};
    for (std::size_t r = 0; r < count; ++r) {
        const double* a = u_i + r * kWide;
        const auto* b = reinterpret_cast<const Quad*>(u_j + r * kWide);
        const Quad b0 = b[0];
        const Quad b1 = b[1];
        for (std::size_t i = 0; i < kTile; ++i) {
            s[i][0] += a[i] * b0;
            s[i][1] += a[i] * b1;
        }
    }
    for (std::size_t i = 0; i < kTile; ++i) {
        for (std::size_t j = 0; j < kWide; ++j) out[i * kWide + j] = s[i][j / 4][j % 4];
    }
}

using Tile = void (*)(double*, const double*, const double*, std::size_t);

void tile(double* out, const double* u_i, const double* u_j, std::size_t count) {
    multiply(out, u_i, u_j, count);
}

#ifdef __x86_64__
__attribute__((target("avx2"))) void tile_avx2(double* out, const double* u_i, const double* u_j,
                                               std::size_t count) {
    multiply(out, u_i, u_j, count);
}
#endif

Tile best_tile() {
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx2") != 0) return tile_avx2;
#endif
    return tile;
}

}  // namespace

void add_outer(Matrix& sum, const Panels& batch, std::size_t part, std::size_t parts) {
    const std::size_t width = sum.cols();
    const Tile product = best_tile();
    double out[kTile * kWide];
    std::size_t block = 0;
    for (std::size_t i0 = 0; i0 < width; i0 += kBlock, ++block) {
        if (block % parts != part) continue;
        for (std::size_t i = i0; i < std::min(width, i0 + kBlock); i += kTile) {
            for (std::size_t j = 0; j <= i; j += kWide) {
                product(out, batch.column(i), batch.column(j), batch.rows());
                for (std::size_t q = i; q < std::min(width, i + kTile); ++q) {
                    const double* from = out + (q - i) * kWide;
                    double* to = sum.row(q) + j;
                    if (q + 1 >= j + kWide) {  // left of the diagonal: a loop that is unrolled
                        for (std::size_t c = 0; c < kWide; ++c) to[c] += from[c];
                    } else {
                        for (std::size_t c = 0; c < q + 1 - j; ++c) to[c] += from[c];
                    }
                }
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
