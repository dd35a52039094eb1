// Names of kernels, for people.
#pragma once

#include <string>
#include <string_view>

namespace picojoule {

// "void f<float>(int)" of "_Z1fIfEvi"; what is no mangled name stays as it is.
std::string demangled(const char* name);

// The part of a demangled name that tells one kernel from another in a table: without result,
// scopes, arguments and template arguments. Where the function is a mere wrapper
// (cutlass::Kernel2<...>), the first template argument stays, for that is the kernel.
std::string short_name(std::string_view demangled_name);

}  // namespace picojoule
