// Which windows hold much the same: by the two mixtures of classes in which windows differ most.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "analysis/rows.h"

namespace picojoule {

// (n,) numbers of kinds, each of `parts` by rank in the first mixture and of `parts` in the second.
// REQUIRES: parts >= 1, n >= 1
std::vector<std::uint32_t> kinds_by_content(const Rows& rows, std::size_t columns,
                                            std::size_t parts);

}  // namespace picojoule
