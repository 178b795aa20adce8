# libnacre, static and shared, from every src/<folder>/*.c except the program's.
# A new file needs no change here.

file(GLOB_RECURSE library_sources CONFIGURE_DEPENDS src/*.c)
list(FILTER library_sources EXCLUDE REGEX "/src/(cli|backend/cpu/kernels|backend/cuda)/")
file(GLOB kernel_sources CONFIGURE_DEPENDS src/backend/cpu/kernels/*.c)
if(NOT library_sources)
    message(FATAL_ERROR "src/ holds no C file: is this a complete checkout?")
endif()

# What `nacre info` reports about this build; nothing in it changes from build to build.
set(generated_dir ${PROJECT_BINARY_DIR}/generated)
string(TOUPPER "${CMAKE_BUILD_TYPE}" build_type_upper)
string(STRIP "${CMAKE_C_FLAGS} ${CMAKE_C_FLAGS_${build_type_upper}}" build_flags)
foreach(name ZLIB PNG CURL)
    if(NACRE_${name})
        set(NACRE_WANTED_${name} 1)
    else()
        set(NACRE_WANTED_${name} 0)
    endif()
endforeach()
configure_file(cmake/build_info.h.in ${generated_dir}/base/build_info.h @ONLY)

# Kernel levels: one body, compiled once per level with its own instruction set.
set(levels portable)
set(level_definitions "")
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
    list(APPEND levels avx2 avx512)
    set(flags_avx2 -mavx2 -mfma)
    set(flags_avx512 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma
        -mprefer-vector-width=512)
    set(level_definitions NACRE_BUILD_AVX2=1 NACRE_BUILD_AVX512=1)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64|ARM64)$")
    list(APPEND levels neon)
    set(level_definitions NACRE_BUILD_NEON=1)
endif()

# Settings shared by all objects of the library.
add_library(nacre_object_flags INTERFACE)
target_include_directories(nacre_object_flags INTERFACE
    ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/src ${generated_dir})
target_include_directories(nacre_object_flags SYSTEM INTERFACE ${optional_include_directories})
target_compile_definitions(nacre_object_flags INTERFACE
    NACRE_BUILDING ${level_definitions} ${optional_definitions})
target_link_libraries(nacre_object_flags INTERFACE nacre_build_flags ${linked_libraries})

add_library(nacre_objects OBJECT ${library_sources})
target_link_libraries(nacre_objects PRIVATE nacre_object_flags)
set(all_objects $<TARGET_OBJECTS:nacre_objects>)

if(kernel_sources)
    foreach(level IN LISTS levels)
        string(TOUPPER ${level} upper)
        add_library(nacre_kernels_${level} OBJECT ${kernel_sources})
        # -O3 in every preset: a kernel's bits and speed must not depend on the build type.
        target_compile_options(nacre_kernels_${level} PRIVATE ${flags_${level}} -O3)
        set_target_properties(nacre_kernels_${level} PROPERTIES NACRE_KERNEL ON)
        target_compile_definitions(nacre_kernels_${level} PRIVATE
            NACRE_LEVEL=${level} NACRE_LEVEL_${upper}=1)
        target_link_libraries(nacre_kernels_${level} PRIVATE nacre_object_flags)
        list(APPEND all_objects $<TARGET_OBJECTS:nacre_kernels_${level}>)
    endforeach()
endif()

add_library(nacre_static STATIC ${all_objects})
add_library(nacre SHARED ${all_objects})
set_target_properties(nacre_static PROPERTIES OUTPUT_NAME nacre)
set_target_properties(nacre PROPERTIES
    VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR} LINKER_LANGUAGE C)
set_target_properties(nacre_static PROPERTIES LINKER_LANGUAGE C)
target_compile_definitions(nacre INTERFACE NACRE_SHARED)
foreach(library nacre nacre_static)
    target_include_directories(${library} INTERFACE
        $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
        $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
    target_link_libraries(${library} PRIVATE ${linked_libraries} $<BUILD_INTERFACE:nacre_build_flags>)
    add_library(nacre::${library} ALIAS ${library})
endforeach()
