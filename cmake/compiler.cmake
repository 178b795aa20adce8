# How everything is compiled: the language, the warnings, the sanitizers.

set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(top_level)
    # Unoptimised code is too slow for tests that train.
    set(CMAKE_C_FLAGS_DEBUG "-O1 -g")
endif()

# Linked by every target of this build; never installed.
add_library(nacre_build_flags INTERFACE)
target_compile_options(nacre_build_flags INTERFACE
    -Wall -Wextra -Wpedantic -Wshadow -Wconversion
    # The same bits from every compiler: fused multiply-add only where it is written.
    -ffp-contract=off)
if(CMAKE_C_COMPILER_ID STREQUAL "GNU" AND CMAKE_C_COMPILER_VERSION VERSION_LESS 13
   AND CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64)$")
    # gcc 12 for Arm crashes on vectorising a maximum of doubles; kernels vectorise by hand.
    target_compile_options(nacre_build_flags INTERFACE
        $<$<NOT:$<BOOL:$<TARGET_PROPERTY:NACRE_KERNEL>>>:-fno-tree-vectorize>)
endif()
if(NACRE_WERROR)
    target_compile_options(nacre_build_flags INTERFACE -Werror)
endif()
if(CMAKE_BUILD_TYPE STREQUAL "Release")
    # No path of the build machine in the binaries.
    target_compile_options(nacre_build_flags INTERFACE
        "-ffile-prefix-map=${PROJECT_SOURCE_DIR}/=")
endif()
if(NACRE_FUZZ)
    if(NOT CMAKE_C_COMPILER_ID MATCHES "Clang")
        message(FATAL_ERROR "NACRE_FUZZ needs clang: add -DCMAKE_C_COMPILER=clang")
    endif()
    target_compile_options(nacre_build_flags INTERFACE
        $<$<NOT:$<BOOL:$<TARGET_PROPERTY:NACRE_KERNEL>>>:-fsanitize=fuzzer-no-link>)
endif()
if(NACRE_SANITIZE)
    # UBSan's checks in fully unrolled tiles take a compiler minutes and prove little beyond ASan's; the
    # fuzzers drive parsers, which call no kernel.
    if(NACRE_FUZZ)
        set(sanitize_kernels "")
    else()
        string(REGEX REPLACE ",?undefined" "" sanitize_kernels "${NACRE_SANITIZE}")
    endif()
    set(kernel $<BOOL:$<TARGET_PROPERTY:NACRE_KERNEL>>)
    target_compile_options(nacre_build_flags INTERFACE
        $<$<NOT:${kernel}>:-fsanitize=${NACRE_SANITIZE}>
        $<$<AND:${kernel},$<BOOL:${sanitize_kernels}>>:-fsanitize=${sanitize_kernels}>
        -fno-sanitize-recover=all -fno-omit-frame-pointer)
    target_link_options(nacre_build_flags INTERFACE -fsanitize=${NACRE_SANITIZE})
endif()
if(NACRE_COVERAGE)
    target_compile_options(nacre_build_flags INTERFACE --coverage -fprofile-update=atomic)
    target_link_options(nacre_build_flags INTERFACE --coverage)
endif()
