# Says which compiler builds, and refuses one that cannot make a shared library of C++20 code. Sets
# VIRNUC_CXX_RUNTIME to "shared" or "static": how this compiler links its C++ library. Both work, since _core exports
# its initialization function and nothing else (csrc/bindings/exports.map).
try_compile(virnuc_links_shared_library
  SOURCE_FROM_CONTENT probe.cpp [[
    #include <concepts>
    #include <sstream>
    extern "C" unsigned long digits(int number) {
        static_assert(std::integral<int>);
        std::ostringstream text;
        text << number;
        if (number < 0) throw number;
        return text.str().size();
    }
  ]]
  COMPILE_DEFINITIONS -fPIC
  LINK_OPTIONS -shared
  CXX_STANDARD 20
  CXX_STANDARD_REQUIRED ON
  OUTPUT_VARIABLE virnuc_probe_output
  COPY_FILE "${CMAKE_BINARY_DIR}/probe.so")
if(NOT virnuc_links_shared_library)
  message("${virnuc_probe_output}")
  message(FATAL_ERROR "The C++ compiler ${CMAKE_CXX_COMPILER} (${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}) \
cannot link a shared library of C++20 code (its output is above); name another one, such as \
CXX=/usr/bin/g++ pip install .")
endif()

file(STRINGS "${CMAKE_BINARY_DIR}/probe.so" virnuc_cxx_library REGEX "^lib(std)?c\\+\\+\\.so" LIMIT_COUNT 1)
if(virnuc_cxx_library)
  set(VIRNUC_CXX_RUNTIME "shared")
else()
  set(VIRNUC_CXX_RUNTIME "static")
endif()
message(STATUS "C++ compiler: ${CMAKE_CXX_COMPILER}, ${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}, "
  "C++ library: ${VIRNUC_CXX_RUNTIME} ${virnuc_cxx_library}")
