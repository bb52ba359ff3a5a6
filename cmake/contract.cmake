# From proto/ to code: protobuf-c messages, then what tools/apigen writes from the descriptor set.
find_program(PROTOC protoc REQUIRED)
find_program(PROTOC_GEN_C protoc-gen-c REQUIRED)
find_path(PROTOBUF_INCLUDE google/protobuf/descriptor.proto REQUIRED)

set(CONTRACT_GEN ${CMAKE_BINARY_DIR}/gen)
set(PROTO_ROOT ${CMAKE_SOURCE_DIR}/proto)
file(MAKE_DIRECTORY ${CONTRACT_GEN})

# corbel_protobuf(TARGET name ROOT dir FILES a.proto …): a library of protobuf-c messages.
function(corbel_protobuf)
  cmake_parse_arguments(P "" "TARGET;ROOT" "FILES" ${ARGN})
  set(sources)
  foreach(file ${P_FILES})
    string(REGEX REPLACE "\\.proto$" ".pb-c.c" c_file ${file})
    string(REGEX REPLACE "\\.proto$" ".pb-c.h" h_file ${file})
    add_custom_command(
      OUTPUT ${CONTRACT_GEN}/${c_file} ${CONTRACT_GEN}/${h_file}
      COMMAND ${PROTOC} -I${P_ROOT} -I${PROTOBUF_INCLUDE} --c_out=${CONTRACT_GEN} ${file}
      DEPENDS ${P_ROOT}/${file} VERBATIM)
    list(APPEND sources ${CONTRACT_GEN}/${c_file} ${CONTRACT_GEN}/${h_file})
  endforeach()
  add_library(${P_TARGET} STATIC ${sources})
  target_include_directories(${P_TARGET} SYSTEM PUBLIC ${CONTRACT_GEN})
  target_link_libraries(${P_TARGET} PUBLIC PkgConfig::PROTOBUF_C)
  target_compile_options(${P_TARGET} PRIVATE -w)
endfunction()

file(GLOB CONTRACT_PROTOS RELATIVE ${PROTO_ROOT} CONFIGURE_DEPENDS ${PROTO_ROOT}/corbel/*.proto)

# protobuf's own descriptor.proto and our options: the generator reads them, messages include them.
add_custom_command(
  OUTPUT ${CONTRACT_GEN}/google/protobuf/descriptor.pb-c.c ${CONTRACT_GEN}/google/protobuf/descriptor.pb-c.h
  COMMAND ${PROTOC} -I${PROTOBUF_INCLUDE} --c_out=${CONTRACT_GEN} google/protobuf/descriptor.proto VERBATIM)
add_library(corbel_descriptor STATIC
  ${CONTRACT_GEN}/google/protobuf/descriptor.pb-c.c ${CONTRACT_GEN}/google/protobuf/descriptor.pb-c.h)
target_include_directories(corbel_descriptor SYSTEM PUBLIC ${CONTRACT_GEN})
target_link_libraries(corbel_descriptor PUBLIC PkgConfig::PROTOBUF_C)
target_compile_options(corbel_descriptor PRIVATE -w)

corbel_protobuf(TARGET corbel_messages ROOT ${PROTO_ROOT} FILES ${CONTRACT_PROTOS})
target_link_libraries(corbel_messages PUBLIC corbel_descriptor)
add_dependencies(corbel_messages corbel_descriptor)

# apigen: one descriptor set in; C tables, openapi.json and reference pages out.
file(GLOB APIGEN_SOURCES CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tools/apigen/*.c)
file(GLOB SERVED_PROTOS RELATIVE ${PROTO_ROOT} CONFIGURE_DEPENDS ${PROTO_ROOT}/corbel/*.proto)
list(FILTER SERVED_PROTOS EXCLUDE REGEX "options\\.proto$|bus\\.proto$")
list(TRANSFORM CONTRACT_PROTOS PREPEND ${PROTO_ROOT}/ OUTPUT_VARIABLE CONTRACT_PROTO_PATHS)
set(DESCRIPTOR_SET ${CONTRACT_GEN}/corbel.desc)
add_custom_command(
  OUTPUT ${DESCRIPTOR_SET}
  COMMAND ${PROTOC} -I${PROTO_ROOT} -I${PROTOBUF_INCLUDE} --include_imports --include_source_info
          --descriptor_set_out=${DESCRIPTOR_SET} ${SERVED_PROTOS}
  WORKING_DIRECTORY ${PROTO_ROOT}
  DEPENDS ${CONTRACT_PROTO_PATHS} VERBATIM)

if(APIGEN_SOURCES)
  add_executable(apigen ${APIGEN_SOURCES})
  target_include_directories(apigen PRIVATE ${CMAKE_SOURCE_DIR}/common ${CMAKE_SOURCE_DIR}/tools/apigen)
  target_link_libraries(apigen PRIVATE corbel_messages corbel_descriptor corbel_http corbel_warnings)
  set(GENERATED ${CONTRACT_GEN}/corbel/contract.gen.c ${CONTRACT_GEN}/corbel/contract.gen.h
      ${CONTRACT_GEN}/openapi.json)
  add_custom_command(
    OUTPUT ${GENERATED}
    # It lives for a moment and frees nothing, which leak detection in a sanitizer build would mind.
    COMMAND ${CMAKE_COMMAND} -E env ASAN_OPTIONS=detect_leaks=0 $<TARGET_FILE:apigen> --descriptor=${DESCRIPTOR_SET} --out=${CONTRACT_GEN}
    DEPENDS apigen ${DESCRIPTOR_SET} VERBATIM)
  add_library(corbel_contract STATIC ${GENERATED})
  target_compile_options(corbel_contract PRIVATE -w)
  target_include_directories(corbel_contract PUBLIC ${CMAKE_SOURCE_DIR}/common)
  target_include_directories(corbel_contract SYSTEM PUBLIC ${CONTRACT_GEN})
  target_link_libraries(corbel_contract PUBLIC corbel_messages)
else()
  add_library(corbel_contract INTERFACE)
  target_link_libraries(corbel_contract INTERFACE corbel_messages)
endif()
