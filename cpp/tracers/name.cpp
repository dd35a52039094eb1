#include "tracers/name.h"

#include <cxxabi.h>

#include <array>
#include <cstdlib>
#include <memory>

namespace picojoule {
namespace {

constexpr std::string_view kAnonymous = "(anonymous namespace)";
constexpr std::array<std::string_view, 4> kWrappers = {"Kernel", "Kernel2", "device_kernel",
                                                       "kernel"};

bool starts_operator(std::string_view text, std::size_t at) {
    constexpr std::string_view kOperator = "operator";
    if (text.substr(at, kOperator.size()) != kOperator) return false;
    const char before = at == 0 ? ':' : text[at - 1];
    return before == ':' || before == ' ';
}

// Calls visit(position, character) for what stands outside all brackets. An opening bracket itself
// is visited; visit returns false to stop. Operators' names ("operator<", "operator()") are passed
// over as a whole.
template <class Visit>
void at_top_level(std::string_view text, Visit&& visit) {
    int depth = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (depth == 0 && starts_operator(text, i)) {
            i += 8;
            if (text.substr(i, 2) == "()") {
                i += 2;
            } else {
                while (i < text.size() &&
                       (text[i] == '<' || text[i] == '>' || text[i] == '-' || text[i] == '=')) {
                    ++i;
                }
            }
            if (text.substr(i, 2) == " <") ++i;  // "operator< <int>"
            --i;
            continue;
        }
        const char c = text[i];
        const bool opens = c == '<' || c == '(' || c == '[' || c == '{';
        const bool closes = c == '>' || c == ')' || c == ']' || c == '}';
        if (closes && depth > 0) --depth;
        if (depth == 0 && !closes && !visit(i, c)) return;
        if (opens) ++depth;
    }
}

// Without the arguments: up to the last bracket that opens at the top level and is no name.
std::string_view without_arguments(std::string_view text) {
    std::size_t cut = text.size();
    at_top_level(text, [&](std::size_t i, char c) {
        if (c == '(' && i > 0 && text.substr(i, kAnonymous.size()) != kAnonymous) {
            cut = i;
            return text.find("::", i) != std::string_view::npos;  // a function inside a function
        }
        return true;
    });
    return text.substr(0, cut);
}

std::string_view last_component(std::string_view text) {
    std::size_t begin = 0;
    at_top_level(text, [&](std::size_t i, char c) {
        if (c == ' ' || (c == ':' && i > 0 && text[i - 1] == ':')) begin = i + 1;
        return true;
    });
    return text.substr(begin);
}

std::string_view without_template(std::string_view text, std::string_view& inside) {
    std::size_t cut = text.size();
    at_top_level(text, [&](std::size_t i, char c) {
        if (c != '<' || i == 0) return true;
        cut = i;
        return false;
    });
    inside = cut < text.size() ? text.substr(cut + 1) : std::string_view{};
    while (cut > 0 && text[cut - 1] == ' ') --cut;
    return text.substr(0, cut);
}

std::string_view first_argument(std::string_view inside) {
    std::size_t end = inside.size();
    int depth = 0;
    for (std::size_t i = 0; i < inside.size(); ++i) {
        const char c = inside[i];
        if (c == '<' || c == '(' || c == '{') ++depth;
        const bool closes = c == '>' || c == ')' || c == '}';
        if (depth == 0 && (c == ',' || closes)) {
            end = i;
            break;
        }
        if (closes) --depth;
    }
    while (end > 0 && inside[end - 1] == ' ') --end;
    return inside.substr(0, end);
}

}  // namespace

std::string demangled(const char* name) {
    if (name == nullptr) return "(no name)";
    if (name[0] != '_' || name[1] != 'Z') return name;
    int status = 0;
    const std::unique_ptr<char, decltype(&std::free)> text{
        abi::__cxa_demangle(name, nullptr, nullptr, &status), &std::free};
    return status == 0 && text ? std::string(text.get()) : std::string(name);
}

std::string short_name(std::string_view name) {
    if (name.find_first_of("(<:") == std::string_view::npos) return std::string(name);
    std::string_view inside;
    const std::string_view own = without_template(last_component(without_arguments(name)), inside);
    if (own.empty()) return std::string(name);
    for (const std::string_view wrapper : kWrappers) {
        if (own != wrapper || inside.empty()) continue;
        std::string_view deeper;
        const std::string_view kernel =
            without_template(last_component(first_argument(inside)), deeper);
        return std::string(own) + "<" + std::string(kernel) + ">";
    }
    return std::string(own);
}

}  // namespace picojoule
