#include "tracers/block_pool.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstring>

namespace picojoule {

BlockPool::BlockPool() noexcept {
    void* memory = ::mmap(nullptr, kBlockBytes * kBlocks, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        free_.store(0);
    } else {
        memory_ = static_cast<std::uint8_t*>(memory);
    }
}

std::uint8_t* BlockPool::take(std::uint32_t epoch, unsigned most) noexcept {
    std::uint64_t free = free_.load(std::memory_order_relaxed);
    for (;;) {
        const auto out = kBlocks - static_cast<unsigned>(std::popcount(free));
        if (free == 0 || out >= most) return nullptr;
        // The lowest first: those that were used already are in memory, the others may never be.
        const std::uint64_t bit = free & (~free + 1);
        if (free_.compare_exchange_weak(free, free & ~bit, std::memory_order_acquire,
                                        std::memory_order_relaxed)) {
            const auto index = static_cast<unsigned>(std::countr_zero(bit));
            blocks_[index].epoch = epoch;
            return memory_ + index * kBlockBytes;
        }
    }
}

bool BlockPool::full(const std::uint8_t* bytes, std::size_t valid) noexcept {
    if (memory_ == nullptr || bytes < memory_ || bytes >= memory_ + kBlocks * kBlockBytes) {
        return false;
    }
    const auto index = static_cast<std::size_t>(bytes - memory_) / kBlockBytes;
    blocks_[index].valid = std::min(valid, kBlockBytes);
    blocks_[index].order = order_.fetch_add(1, std::memory_order_relaxed);
    full_.fetch_or(std::uint64_t{1} << index, std::memory_order_release);
    return true;
}

std::size_t BlockPool::collect(std::span<Full> into) noexcept {
    std::uint64_t bits = full_.load(std::memory_order_acquire);
    std::size_t n = 0;
    std::uint64_t taken = 0;
    while (bits != 0 && n < into.size()) {
        const std::uint64_t bit = bits & (~bits + 1);
        const auto index = static_cast<std::uint32_t>(std::countr_zero(bit));
        into[n++] = {memory_ + index * kBlockBytes, blocks_[index].valid, blocks_[index].epoch,
                     index};
        bits &= ~bit;
        taken |= bit;
    }
    full_.fetch_and(~taken, std::memory_order_relaxed);
    held_.fetch_add(static_cast<unsigned>(n), std::memory_order_relaxed);
    std::sort(into.begin(), into.begin() + static_cast<std::ptrdiff_t>(n),
              [this](const Full& a, const Full& b) {
                  return blocks_[a.index].order < blocks_[b.index].order;
              });
    return n;
}

void BlockPool::give_back(const Full& block) noexcept {
    std::memset(block.bytes, 0, block.valid);
    held_.fetch_sub(1, std::memory_order_relaxed);
    free_.fetch_or(std::uint64_t{1} << block.index, std::memory_order_release);
}

unsigned BlockPool::lent() const noexcept {
    const auto out = kBlocks - static_cast<unsigned>(std::popcount(free_.load() & kAll));
    const unsigned ours =
        static_cast<unsigned>(std::popcount(full_.load())) + held_.load(std::memory_order_relaxed);
    return memory_ == nullptr || out < ours ? 0 : out - ours;
}

}  // namespace picojoule
