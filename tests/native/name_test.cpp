#include "tracers/name.h"

#include <doctest/doctest.h>

#include <string>

using picojoule::demangled;
using picojoule::short_name;

TEST_CASE("name: demangling") {
    CHECK(demangled("_Z3addPfS_i") == "add(float*, float*, int)");
    CHECK(demangled("_Z1fIfEvi") == "void f<float>(int)");
    CHECK(demangled("ampere_sgemm_128x64_nn") == "ampere_sgemm_128x64_nn");
    CHECK(demangled("_Znot_a_name") == "_Znot_a_name");
    CHECK(demangled("_") == "_");
    CHECK(demangled("") == "");
    CHECK(demangled(nullptr) == "(no name)");
}

TEST_CASE("name: short names tell kernels apart in a table") {
    struct Case {
        const char* name;
        const char* expected;
    };
    const Case cases[] = {
        {"add(float*, float*, int)", "add"},
        {"void f<float>(int)", "f"},
        {"triton_poi_fused_add_0", "triton_poi_fused_add_0"},
        {"void at::native::vectorized_elementwise_kernel<4, at::native::FillFunctor<float>, "
         "std::array<char*, 1ul> >(int, at::native::FillFunctor<float>, std::array<char*, 1ul>)",
         "vectorized_elementwise_kernel"},
        {"void at::native::(anonymous namespace)::softmax_warp_forward<float, float, 10, true>"
         "(float*, float const*, int, int, int, bool const*, int, bool)",
         "softmax_warp_forward"},
        {"void cutlass::Kernel2<cutlass_80_tensorop_bf16_s16816gemm_bf16_128x128>"
         "(cutlass_80_tensorop_bf16_s16816gemm_bf16_128x128::Params)",
         "Kernel2<cutlass_80_tensorop_bf16_s16816gemm_bf16_128x128>"},
        {"void cutlass::device_kernel<flash::enable_sm90<flash::Fwd<int, 3> >, 2>(int)",
         "device_kernel<enable_sm90>"},
        {"ns::Thing<int>::operator()(float) const", "operator()"},
        {"bool ns::operator< <int>(ns::A const&, ns::A const&)", "operator<"},
        {"void kernel(int)", "kernel"},
        {"(anonymous namespace)::go(int)", "go"},
        {"void (anonymous namespace)::go<(anonymous namespace)::T>(int)", "go"},
        {"void thing<void (*)(int)>(void (*)(int))", "thing"},
        {"memcpy HtoD", "memcpy HtoD"},
        {"", ""},
        {"f(", "f"},
        {"a<b", "a"},
        {">>>", ">>>"},
    };
    for (const Case& c : cases) {
        const std::string name = c.name;
        CAPTURE(name);
        CHECK(short_name(name) == std::string(c.expected));
    }
}
