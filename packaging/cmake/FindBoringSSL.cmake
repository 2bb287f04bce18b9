# FindBoringSSL: the BoringSSL that Postern is built on.
#
#   BORINGSSL_ROOT   install tree of an upstream build (include/, lib/libssl.a, lib/libcrypto.a);
#                    unset: Debian's android-libboringssl-dev.
# Defines BoringSSL::SSL and BoringSSL::Crypto, and BoringSSL_VERSION (the API version) and
# BoringSSL_RUNPATH (the private library folder, empty for a static build).
# The system's OpenSSL is never picked up: every search is restricted to the tree that was asked for.

set(BORINGSSL_ROOT "" CACHE PATH "Install tree of an upstream BoringSSL; empty: Debian's")
if(NOT "${BORINGSSL_ROOT}" STREQUAL "${BoringSSL_LAST_ROOT}")
  # Another tree than at the last configuration: what was found then must not be kept.
  unset(BoringSSL_INCLUDE_DIR CACHE)
  unset(BoringSSL_SSL_LIBRARY CACHE)
  unset(BoringSSL_CRYPTO_LIBRARY CACHE)
endif()
set(BoringSSL_LAST_ROOT "${BORINGSSL_ROOT}" CACHE INTERNAL "BORINGSSL_ROOT of the last configuration")

if(BORINGSSL_ROOT)
  set(_bssl_include ${BORINGSSL_ROOT}/include)
  set(_bssl_lib ${BORINGSSL_ROOT}/lib ${BORINGSSL_ROOT}/lib64)
else()
  set(_bssl_include /usr/include/android)
  if(CMAKE_LIBRARY_ARCHITECTURE)
    set(_bssl_lib /usr/lib/${CMAKE_LIBRARY_ARCHITECTURE}/android)
  else()
    file(GLOB _bssl_lib /usr/lib/*/android)
  endif()
endif()

find_path(BoringSSL_INCLUDE_DIR openssl/base.h PATHS ${_bssl_include} NO_DEFAULT_PATH)
find_library(BoringSSL_SSL_LIBRARY NAMES libssl.a ssl libssl.so.0 PATHS ${_bssl_lib} NO_DEFAULT_PATH)
find_library(BoringSSL_CRYPTO_LIBRARY NAMES libcrypto.a crypto libcrypto.so.0 PATHS ${_bssl_lib} NO_DEFAULT_PATH)

if(BoringSSL_INCLUDE_DIR)
  file(READ ${BoringSSL_INCLUDE_DIR}/openssl/base.h _bssl_base)
  if(NOT _bssl_base MATCHES "define OPENSSL_IS_BORINGSSL")
    message(FATAL_ERROR "${BoringSSL_INCLUDE_DIR} is not BoringSSL")
  endif()
  string(REGEX MATCH "BORINGSSL_API_VERSION ([0-9]+)" _ "${_bssl_base}")
  set(BoringSSL_VERSION ${CMAKE_MATCH_1})
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(BoringSSL
  REQUIRED_VARS BoringSSL_SSL_LIBRARY BoringSSL_CRYPTO_LIBRARY BoringSSL_INCLUDE_DIR
  VERSION_VAR BoringSSL_VERSION
  REASON_FAILURE_MESSAGE
    "install android-libboringssl-dev, or set BORINGSSL_ROOT to the install tree of an upstream build")

if(BoringSSL_FOUND AND NOT TARGET BoringSSL::SSL)
  set(BoringSSL_RUNPATH "")
  if(BoringSSL_SSL_LIBRARY MATCHES "\\.so")
    get_filename_component(BoringSSL_RUNPATH ${BoringSSL_SSL_LIBRARY} DIRECTORY)
  endif()
  find_package(Threads REQUIRED)
  add_library(BoringSSL::Crypto UNKNOWN IMPORTED)
  set_target_properties(BoringSSL::Crypto PROPERTIES
    IMPORTED_LOCATION ${BoringSSL_CRYPTO_LIBRARY}
    INTERFACE_SYSTEM_INCLUDE_DIRECTORIES ${BoringSSL_INCLUDE_DIR}
    INTERFACE_INCLUDE_DIRECTORIES ${BoringSSL_INCLUDE_DIR}
    INTERFACE_LINK_LIBRARIES Threads::Threads)
  add_library(BoringSSL::SSL UNKNOWN IMPORTED)
  set_target_properties(BoringSSL::SSL PROPERTIES
    IMPORTED_LOCATION ${BoringSSL_SSL_LIBRARY}
    INTERFACE_LINK_LIBRARIES BoringSSL::Crypto)
endif()
