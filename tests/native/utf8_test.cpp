#include "base/utf8.h"

#include <doctest/doctest.h>

#include <string>

using picojoule::append_utf8;
using picojoule::as_utf8;

namespace {
std::string encoded(char32_t c) {
    std::string out;
    append_utf8(out, c);
    return out;
}
}  // namespace

TEST_CASE("utf8: code points at the edges of each length") {
    CHECK(encoded(0x7F) == "\x7F");
    CHECK(encoded(0x80) == "\xC2\x80");
    CHECK(encoded(0x7FF) == "\xDF\xBF");
    CHECK(encoded(0x800) == "\xE0\xA0\x80");
    CHECK(encoded(0xFFFF) == "\xEF\xBF\xBF");
    CHECK(encoded(0x10000) == "\xF0\x90\x80\x80");
    CHECK(encoded(0x10FFFF) == "\xF4\x8F\xBF\xBF");
    for (const char32_t none : {0xD800, 0xDFFF, 0x110000, 0x7FFFFFFF})
        CHECK(encoded(none) == "\xEF\xBF\xBD");
}

TEST_CASE("utf8: every code point passes unchanged") {
    for (char32_t c = 0; c < 0x110000; ++c) {
        const std::string text = encoded(c);
        if (as_utf8(text) != text) FAIL("U+" << static_cast<unsigned>(c));
    }
}

TEST_CASE("utf8: bytes that are no text") {
    CHECK(as_utf8("a\xFFz") == "a?z");
    CHECK(as_utf8("\xC0\xAF") == "??");            // overlong
    CHECK(as_utf8("\xE0\x9F\xBF") == "???");       // overlong
    CHECK(as_utf8("\xF0\x8F\xBF\xBF") == "????");  // overlong
    CHECK(as_utf8("\xED\xA0\x80") == "???");       // a surrogate
    CHECK(as_utf8("\xF4\x90\x80\x80") == "????");  // past the last
    CHECK(as_utf8("\xE2\x88") == "??");            // cut off
    CHECK(as_utf8("\xE2\x88\x91\xE2") == "\xE2\x88\x91?");
}
