# Language level, warnings, sanitizers, and the libraries that everything is built on.
set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE RelWithDebInfo)
endif()
set(CMAKE_C_FLAGS_RELWITHDEBINFO "-O2 -g")
add_compile_definitions(_GNU_SOURCE CORBEL_VERSION="${PROJECT_VERSION}")
add_compile_options(-fno-omit-frame-pointer -fstack-protector-strong)

# For our own code only; generated code is built without them (see contract.cmake).
add_library(corbel_warnings INTERFACE)
target_compile_options(corbel_warnings INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes
  -Wvla -Wformat=2 -Wundef -Wpointer-arith -Wcast-qual -Wwrite-strings -Wno-gnu-zero-variadic-macro-arguments)
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
  # ", ##__VA_ARGS__" is used on purpose in logging macros.
  target_compile_options(corbel_warnings INTERFACE -Wno-variadic-macros)
endif()
if(CORBEL_WERROR)
  target_compile_options(corbel_warnings INTERFACE -Werror)
endif()

if(CORBEL_SANITIZE)
  add_compile_options(-fsanitize=${CORBEL_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${CORBEL_SANITIZE})
endif()

# Fuzzing is guided by the coverage of the code under test, so the libraries are instrumented, too.
if(CORBEL_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

find_package(PkgConfig REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(ZLIB REQUIRED)
find_package(Threads REQUIRED)
# Debian's nng brings a CMake package and no .pc file.
find_package(nng CONFIG REQUIRED)
if(CORBEL_SANITIZE MATCHES "thread")
  # nng as an archive, with what ThreadSanitizer cannot see in it said by tests/tsan/nng.c.
  find_library(NNG_ARCHIVE libnng.a REQUIRED)
  add_library(corbel_tsan_nng STATIC ${CMAKE_SOURCE_DIR}/tests/tsan/nng.c)
  set(nng_libraries corbel_tsan_nng ${NNG_ARCHIVE}
    -Wl,--wrap=nni_atomic_dec_nv,--wrap=nni_atomic_get,-u,__wrap_nni_atomic_dec_nv)
  foreach(name mbedtls mbedx509 mbedcrypto)
    find_library(library_${name} ${name} REQUIRED)
    list(APPEND nng_libraries ${library_${name}})
  endforeach()
elseif(CORBEL_SANITIZE MATCHES "address")
  add_library(corbel_asan_nng STATIC ${CMAKE_SOURCE_DIR}/tests/asan/nng.c)
  set(nng_libraries corbel_asan_nng -Wl,-u,__lsan_default_suppressions nng::nng)
else()
  set(nng_libraries nng::nng)
endif()
pkg_check_modules(PROTOBUF_C REQUIRED IMPORTED_TARGET libprotobuf-c)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)
pkg_check_modules(YAML REQUIRED IMPORTED_TARGET yaml-0.1)
pkg_check_modules(CURL REQUIRED IMPORTED_TARGET libcurl)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
pkg_check_modules(PQ REQUIRED IMPORTED_TARGET libpq)
pkg_check_modules(SQLITE REQUIRED IMPORTED_TARGET sqlite3)
pkg_check_modules(HIREDIS REQUIRED IMPORTED_TARGET hiredis)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(MHD REQUIRED IMPORTED_TARGET libmicrohttpd)
pkg_check_modules(GNUTLS REQUIRED IMPORTED_TARGET gnutls)
pkg_check_modules(SECCOMP REQUIRED IMPORTED_TARGET libseccomp)
pkg_check_modules(PYTHON REQUIRED IMPORTED_TARGET python3-embed)
# Debian's wslay brings no .pc file.
find_library(wslay_library wslay REQUIRED)
pkg_check_modules(CHECK IMPORTED_TARGET check)
