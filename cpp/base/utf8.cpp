#include "base/utf8.h"

#include <cstddef>

namespace picojoule {

void append_utf8(std::string& out, char32_t c) {
    if (c >= 0x110000U || (c >= 0xD800U && c < 0xE000U)) c = 0xFFFDU;
    const auto tail = [&](unsigned shift) {
        out.push_back(static_cast<char>(0x80U | ((c >> shift) & 0x3FU)));
    };
    if (c < 0x80U) {
        out.push_back(static_cast<char>(c));
    } else if (c < 0x800U) {
        out.push_back(static_cast<char>(0xC0U | (c >> 6U)));
        tail(0);
    } else if (c < 0x10000U) {
        out.push_back(static_cast<char>(0xE0U | (c >> 12U)));
        tail(6);
        tail(0);
    } else {
        out.push_back(static_cast<char>(0xF0U | (c >> 18U)));
        tail(12);
        tail(6);
        tail(0);
    }
}

std::string as_utf8(std::string_view text) {
    std::string out(text);
    for (std::size_t i = 0; i < out.size();) {
        const auto lead = static_cast<unsigned char>(out[i]);
        const std::size_t length = lead < 0x80U                    ? 1
                                   : lead >= 0xC2U && lead < 0xE0U ? 2
                                   : lead >= 0xE0U && lead < 0xF0U ? 3
                                   : lead >= 0xF0U && lead < 0xF5U ? 4
                                                                   : 0;
        bool good = length != 0 && i + length <= out.size();
        for (std::size_t k = 1; good && k < length; ++k)
            good = (static_cast<unsigned char>(out[i + k]) & 0xC0U) == 0x80U;
        if (good && length > 2) {  // overlong, a surrogate, or past the last code point
            const auto second = static_cast<unsigned char>(out[i + 1]);
            good = !(lead == 0xE0U && second < 0xA0U) && !(lead == 0xEDU && second >= 0xA0U) &&
                   !(lead == 0xF0U && second < 0x90U) && !(lead == 0xF4U && second >= 0x90U);
        }
        if (!good) out[i] = '?';
        i += good ? length : 1;
    }
    return out;
}

}  // namespace picojoule
