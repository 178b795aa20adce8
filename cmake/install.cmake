# cmake --install: headers, both libraries, the program, the CMake package and the pkg-config file.

include(CMakePackageConfigHelpers)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/nacre)

install(DIRECTORY include/nacre DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
# Two exports: the shared library is usable without the packages that the static one links.
install(TARGETS nacre EXPORT nacre_targets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS nacre_static EXPORT nacre_static_targets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
if(TARGET nacre_program)
    install(TARGETS nacre_program RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
install(EXPORT nacre_targets NAMESPACE nacre:: DESTINATION ${package_dir})
install(EXPORT nacre_static_targets NAMESPACE nacre:: DESTINATION ${package_dir})

set(static_packages Threads)
foreach(name ZLIB PNG)
    if(NACRE_HAVE_${name})
        string(APPEND static_packages " ${name}")
    endif()
endforeach()
configure_package_config_file(cmake/nacre-config.cmake.in nacre-config.cmake
    INSTALL_DESTINATION ${package_dir} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(nacre-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/nacre-config.cmake
    ${PROJECT_BINARY_DIR}/nacre-config-version.cmake DESTINATION ${package_dir})

# What a program that links libnacre.a needs besides. Not Requires.private: the packages' own static
# dependencies are rarely installed, and their shared libraries do not need them.
set(pc_private_libs "-lm -pthread")
foreach(pair ZLIB:z PNG:png)
    string(REPLACE ":" ";" pair ${pair})
    list(GET pair 0 name)
    list(GET pair 1 library)
    if(NACRE_HAVE_${name})
        string(APPEND pc_private_libs " -l${library}")
    endif()
endforeach()
if(CMAKE_DL_LIBS)
    string(APPEND pc_private_libs " -l${CMAKE_DL_LIBS}")
endif()
# From lib/pkgconfig up to the prefix, so that an installed tree can be moved.
file(RELATIVE_PATH pc_prefix /p/${CMAKE_INSTALL_LIBDIR}/pkgconfig /p)
configure_file(cmake/nacre.pc.in nacre.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/nacre.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
