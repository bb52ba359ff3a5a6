# How libraries, services, clients and tests are declared.

# corbel_library(name DEPENDS …): common/name as the static library corbel_name.
function(corbel_library name)
  cmake_parse_arguments(L "" "" "DEPENDS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/common/${name}/*.c)
  if(NOT sources)
    add_library(corbel_${name} INTERFACE)
    target_include_directories(corbel_${name} INTERFACE ${CMAKE_SOURCE_DIR}/common)
    target_link_libraries(corbel_${name} INTERFACE ${L_DEPENDS} Threads::Threads)
    return()
  endif()
  add_library(corbel_${name} STATIC ${sources})
  target_include_directories(corbel_${name} PUBLIC ${CMAKE_SOURCE_DIR}/common)
  target_link_libraries(corbel_${name} PUBLIC ${L_DEPENDS} Threads::Threads PRIVATE corbel_warnings)
endfunction()

# corbel_service(name DEPENDS …): services/name as a library, and the daemon of that name. Its migrations
# (schema/NNN_name.sql) are embedded as `NAME_migrations`, see embed_migrations.cmake.
set_property(GLOBAL PROPERTY CORBEL_SERVICES)
function(corbel_service name)
  cmake_parse_arguments(S "" "" "DEPENDS" ${ARGN})
  set(dir ${CMAKE_SOURCE_DIR}/services/${name})
  file(GLOB sources CONFIGURE_DEPENDS ${dir}/*.c)
  list(REMOVE_ITEM sources ${dir}/main.c)
  if(NOT sources)
    return()
  endif()
  file(GLOB migrations CONFIGURE_DEPENDS ${dir}/schema/*.sql)
  if(migrations)
    set(embedded ${CMAKE_BINARY_DIR}/gen/migrations/${name}.c)
    add_custom_command(OUTPUT ${embedded}
      COMMAND ${CMAKE_COMMAND} -DNAME=${name} "-DFILES=${migrations}" -DOUT=${embedded}
              -P ${CMAKE_SOURCE_DIR}/cmake/embed_migrations.cmake
      DEPENDS ${migrations} ${CMAKE_SOURCE_DIR}/cmake/embed_migrations.cmake VERBATIM)
    list(APPEND sources ${embedded})
  endif()
  file(GLOB scripts CONFIGURE_DEPENDS ${dir}/*.lua ${dir}/*.json)
  if(scripts)
    set(embedded_scripts ${CMAKE_BINARY_DIR}/gen/scripts/${name}.c)
    add_custom_command(OUTPUT ${embedded_scripts}
      COMMAND ${CMAKE_COMMAND} -DNAME=${name} "-DFILES=${scripts}" -DOUT=${embedded_scripts}
              -P ${CMAKE_SOURCE_DIR}/cmake/embed_scripts.cmake
      DEPENDS ${scripts} ${CMAKE_SOURCE_DIR}/cmake/embed_scripts.cmake VERBATIM)
    list(APPEND sources ${embedded_scripts})
  endif()
  add_library(service_${name} STATIC ${sources})
  target_include_directories(service_${name} PUBLIC ${CMAKE_SOURCE_DIR}/services/${name} ${CMAKE_SOURCE_DIR}/services)
  target_link_libraries(service_${name} PUBLIC corbel_daemon ${S_DEPENDS} PRIVATE corbel_warnings)
  set_property(GLOBAL APPEND PROPERTY CORBEL_SERVICES ${name})
  if(EXISTS ${dir}/main.c)
    add_executable(${name} ${dir}/main.c)
    target_link_libraries(${name} PRIVATE service_${name} corbel_warnings)
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
  endif()
endfunction()

# clients/cli as bin/corbel, linked with every service because `corbel serve` hosts them.
function(corbel_clients)
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/clients/cli/*.c)
  if(NOT sources)
    return()
  endif()
  get_property(services GLOBAL PROPERTY CORBEL_SERVICES)
  # corbel/services.gen.h: what `corbel serve` hosts, in the order of the corbel_service() lines. Each folder
  # services/NAME exports `const struct service NAME_service`.
  set(list "#include \"daemon/service.h\"\n")
  set(entries "")
  foreach(service ${services})
    string(APPEND list "extern const struct service ${service}_service;\n")
    string(APPEND entries " &${service}_service,")
  endforeach()
  file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/gen/corbel/services.gen.h CONTENT "${list}#define CORBEL_SERVICES${entries}\n" @ONLY)
  add_executable(corbel ${sources})
  target_include_directories(corbel PRIVATE ${CMAKE_SOURCE_DIR}/clients/cli ${CMAKE_SOURCE_DIR}/services)
  foreach(service ${services})
    target_link_libraries(corbel PRIVATE service_${service})
  endforeach()
  target_link_libraries(corbel PRIVATE corbel_daemon corbel_events corbel_http PkgConfig::CURL PkgConfig::JANSSON PkgConfig::YAML corbel_warnings)
  set_target_properties(corbel PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
  # Everything that an installation runs.
  add_custom_target(daemons DEPENDS corbel)
  foreach(service ${services})
    if(TARGET ${service})
      add_dependencies(daemons ${service})
    endif()
  endforeach()
endfunction()

# corbel_program(dir file libraries…): one executable per C file, into bin/<dir>/.
function(corbel_program dir file out)
  get_filename_component(name ${file} NAME_WE)
  add_executable(${name} ${file})
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests ${CMAKE_SOURCE_DIR}/common ${CMAKE_SOURCE_DIR}/services)
  get_property(services GLOBAL PROPERTY CORBEL_SERVICES)
  foreach(service ${services})
    target_link_libraries(${name} PRIVATE service_${service})
  endforeach()
  target_link_libraries(${name} PRIVATE corbel_daemon corbel_outbound sandboxd_runner corbel_warnings ${ARGN})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin/${dir})
  set(${out} ${name} PARENT_SCOPE)
endfunction()

# corbel_test_contract(program): if there is tests/contracts/NAME.proto for the program NAME_test or NAME_fuzz, it
# gets this contract for its own. Its tables stand before those of the real contract, which is then not linked.
function(corbel_test_contract program)
  string(REGEX REPLACE "_(test|fuzz)$" "" name ${program})
  set(root ${CMAKE_SOURCE_DIR}/tests/contracts)
  set(proto ${root}/${name}.proto)
  if(NOT EXISTS ${proto})
    return()
  endif()
  set(out ${CMAKE_BINARY_DIR}/gen-${name})
  file(MAKE_DIRECTORY ${out})
  set(made ${out}/corbel/contract.gen.c ${out}/${name}.pb-c.c)
  add_custom_command(
    OUTPUT ${made} ${out}/${name}.pb-c.h ${out}/corbel/contract.gen.h
    COMMAND ${PROTOC} -I${root} -I${PROTO_ROOT} -I${PROTOBUF_INCLUDE} --c_out=${out} --include_imports
            --include_source_info --descriptor_set_out=${out}/set.desc ${name}.proto
    COMMAND ${CMAKE_COMMAND} -E env ASAN_OPTIONS=detect_leaks=0 $<TARGET_FILE:apigen> --descriptor=${out}/set.desc --out=${out}
    WORKING_DIRECTORY ${root} DEPENDS apigen ${proto} ${PROTO_ROOT}/corbel/options.proto VERBATIM)
  target_sources(${program} PRIVATE ${made})
  set_source_files_properties(${made} PROPERTIES COMPILE_OPTIONS -w)
  target_include_directories(${program} SYSTEM BEFORE PRIVATE ${out})
endfunction()

# tests/unit and tests/component: every *_test.c is one Check program and one ctest test, labelled by its
# folder. tests/support holds what they share. tests/bench/*_bench.c are programs, and *_load.c what
# the scripts beside them use. tests/e2e (black box) and
# tests/house (the source tree and the generator) are pytest.
function(corbel_tests)
  if(NOT CHECK_FOUND)
    return()
  endif()
  file(GLOB support CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/support/*.c)
  add_library(corbel_test_support INTERFACE)
  if(support)
    add_library(corbel_test_support_c STATIC ${support})
    target_include_directories(corbel_test_support_c PUBLIC ${CMAKE_SOURCE_DIR}/tests PRIVATE ${CMAKE_SOURCE_DIR}/services)
    corbel_protobuf(TARGET corbel_test_messages ROOT ${CMAKE_SOURCE_DIR}/tests/support FILES otlp.proto)
    target_link_libraries(corbel_test_support_c PUBLIC corbel_daemon corbel_outbound $<LINK_ONLY:service_cached> sandboxd_runner sandboxd_filter corbel_test_messages PkgConfig::CHECK PkgConfig::JANSSON
      PRIVATE corbel_warnings)
    target_link_libraries(corbel_test_support INTERFACE corbel_test_support_c)
  endif()
  foreach(layer unit component)
    file(GLOB files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/${layer}/*_test.c)
    foreach(file ${files})
      corbel_program(${layer} ${file} name corbel_test_support PkgConfig::CHECK m)
      corbel_test_contract(${name})
      add_test(NAME ${layer}.${name} COMMAND ${name})
      set_tests_properties(${layer}.${name} PROPERTIES LABELS ${layer} TIMEOUT 900
        ENVIRONMENT "CORBEL_BIN=${CMAKE_BINARY_DIR}/bin;CORBEL_SOURCE=${CMAKE_SOURCE_DIR};CK_DEFAULT_TIMEOUT=60")
    endforeach()
  endforeach()
  # A cached that cache_loss_test has to find out: its own follower comes before the library's.
  file(GLOB follower CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/component/unlogged_follower.c)
  if(follower)
    add_executable(cached_unlogged ${CMAKE_SOURCE_DIR}/services/cached/main.c ${follower})
    target_link_libraries(cached_unlogged PRIVATE service_cached corbel_warnings)
    set_target_properties(cached_unlogged PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin/component)
    add_dependencies(cache_loss_test cached_unlogged)
  endif()
  file(GLOB files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/bench/*_bench.c ${CMAKE_SOURCE_DIR}/tests/bench/*_load.c)
  foreach(file ${files})
    corbel_program(bench ${file} name m PkgConfig::PQ PkgConfig::SQLITE)
  endforeach()
  if(CORBEL_FUZZ)
    file(GLOB files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/fuzz/*_fuzz.c)
    foreach(file ${files})
      corbel_program(fuzz ${file} name)
      corbel_test_contract(${name})
      target_compile_options(${name} PRIVATE -fsanitize=fuzzer)
      target_link_options(${name} PRIVATE -fsanitize=fuzzer)
    endforeach()
  endif()
  foreach(layer house e2e)
    file(GLOB files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/${layer}/test_*.py)
    foreach(file ${files})
      get_filename_component(name ${file} NAME_WE)
      add_test(NAME ${layer}.${name} COMMAND /usr/bin/python3 -m pytest -q -p no:cacheprovider ${file})
      set_tests_properties(${layer}.${name} PROPERTIES LABELS ${layer} TIMEOUT 900
        ENVIRONMENT "CORBEL_BIN=${CMAKE_BINARY_DIR}/bin;CORBEL_SOURCE=${CMAKE_SOURCE_DIR};CORBEL_BUILD=${CMAKE_BINARY_DIR}")
    endforeach()
  endforeach()
endfunction()

# services/sandboxd/runner as a library, and the program that it starts. The program is never built with
# sanitizers: its children live under a limit of their address space, of which those reserve terabytes.
function(corbel_zygote)
  set(dir ${CMAKE_SOURCE_DIR}/services/sandboxd)
  file(GLOB sources CONFIGURE_DEPENDS ${dir}/runner/*.c)
  add_library(sandboxd_runner STATIC ${sources})
  target_include_directories(sandboxd_runner PUBLIC ${dir})
  target_link_libraries(sandboxd_runner PUBLIC corbel_api corbel_telemetry PkgConfig::SECCOMP PRIVATE corbel_warnings)

  file(GLOB sources CONFIGURE_DEPENDS ${dir}/zygote/*.c)
  file(GLOB scripts CONFIGURE_DEPENDS ${dir}/zygote/*.py)
  set(embedded ${CMAKE_BINARY_DIR}/gen/scripts/zygote.c)
  add_custom_command(OUTPUT ${embedded}
    COMMAND ${CMAKE_COMMAND} -DNAME=zygote "-DFILES=${scripts}" -DOUT=${embedded}
            -P ${CMAKE_SOURCE_DIR}/cmake/embed_scripts.cmake
    DEPENDS ${scripts} ${CMAKE_SOURCE_DIR}/cmake/embed_scripts.cmake VERBATIM)
  add_executable(corbel-zygote ${sources} ${embedded})
  target_include_directories(corbel-zygote PRIVATE ${dir} ${CMAKE_SOURCE_DIR}/common)
  target_compile_options(corbel-zygote PRIVATE -fno-sanitize=all)
  target_link_options(corbel-zygote PRIVATE -fno-sanitize=all)
  add_dependencies(sandboxd_runner corbel-zygote)
  target_link_libraries(corbel-zygote PRIVATE PkgConfig::PYTHON corbel_warnings)
  set_target_properties(corbel-zygote PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
  # The filter by itself, for the tests: most of what it refuses cannot be tried from Python.
  add_library(sandboxd_filter STATIC EXCLUDE_FROM_ALL ${dir}/zygote/seccomp.c)
  target_include_directories(sandboxd_filter PRIVATE ${dir} ${CMAKE_SOURCE_DIR}/common)
  target_link_libraries(sandboxd_filter PRIVATE corbel_warnings)
endfunction()
