// Text of other libraries, made fit for Python, which takes only UTF-8.
#pragma once

#include <string>
#include <string_view>

namespace picojoule {

// Appends one code point; U+FFFD for what is none (surrogates, past U+10FFFF).
void append_utf8(std::string& out, char32_t c);

// The text, with a question mark for each byte that belongs to no code point.
std::string as_utf8(std::string_view text);

}  // namespace picojoule
