# How a room (a folder of the house) and its tests are built: one place for flags and rules.

set(IMAGO_WARNINGS -Wall -Wextra -Wshadow -Wconversion -Wvla -Wformat=2 -Wundef
                   -Wdouble-promotion -Wmissing-prototypes -Werror)

add_library(imago_flags INTERFACE)
target_include_directories(imago_flags INTERFACE "${PROJECT_SOURCE_DIR}" "${PROJECT_SOURCE_DIR}/include")
target_compile_definitions(imago_flags INTERFACE _GNU_SOURCE)
target_compile_options(imago_flags INTERFACE
  $<$<COMPILE_LANGUAGE:C>:${IMAGO_WARNINGS}>
  $<$<COMPILE_LANGUAGE:C>:-include$<SEMICOLON>${PROJECT_SOURCE_DIR}/base/banned.h>
  $<$<COMPILE_LANGUAGE:CXX>:-Wall$<SEMICOLON>-Wextra$<SEMICOLON>-Werror>
  -fno-math-errno -ffp-contract=off)
if(IMAGO_SANITIZE)
  target_compile_options(imago_flags INTERFACE -fsanitize=${IMAGO_SANITIZE}
                         -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(imago_flags INTERFACE -fsanitize=${IMAGO_SANITIZE})
endif()
if(IMAGO_FUZZ) # coverage inside the rooms, without which a fuzzer is blind
  target_compile_options(imago_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
if(IMAGO_COVERAGE)
  target_compile_options(imago_flags INTERFACE --coverage)
  target_link_options(imago_flags INTERFACE --coverage)
endif()

# imago_room(NAME SOURCES a.c … [LINK targets …]): the object library imago_NAME.
function(imago_room name)
  cmake_parse_arguments(ROOM "" "" "SOURCES;LINK" ${ARGN})
  add_library(imago_${name} OBJECT ${ROOM_SOURCES})
  target_link_libraries(imago_${name} PUBLIC imago_flags ${ROOM_LINK} Threads::Threads m)
  set_property(GLOBAL APPEND PROPERTY IMAGO_ROOMS imago_${name})
endfunction()

# imago_room_objects(TARGET room …): adds the objects and the libraries of rooms to a program.
function(imago_room_objects target)
  foreach(room ${ARGN})
    target_sources(${target} PRIVATE $<TARGET_OBJECTS:imago_${room}>)
    target_link_libraries(${target} PRIVATE imago_${room})
  endforeach()
endfunction()

# imago_test(NAME ROOMS base image … [SOURCES more.c …] [LINK …] [TIMEOUT s] [ARGS …]): builds NAME.c
# of the current folder with cmocka and the rooms it tests, and registers it with ctest as
# <folder>.<NAME without test_>.
function(imago_test name)
  cmake_parse_arguments(TEST "" "TIMEOUT" "ROOMS;SOURCES;LINK;ARGS;DEFINES" ${ARGN})
  get_filename_component(folder "${CMAKE_CURRENT_SOURCE_DIR}" NAME)
  set(target ${folder}_${name})
  add_executable(${target} ${name}.c ${TEST_SOURCES})
  imago_room_objects(${target} ${TEST_ROOMS})
  target_link_libraries(${target} PRIVATE PkgConfig::CMOCKA ${TEST_LINK})
  target_compile_definitions(${target} PRIVATE IMAGO_SOURCE_DIR="${PROJECT_SOURCE_DIR}"
                             IMAGO_BINARY_DIR="${PROJECT_BINARY_DIR}" ${TEST_DEFINES})
  string(REGEX REPLACE "^test_" "" short ${name})
  add_test(NAME ${folder}.${short} COMMAND ${target} ${TEST_ARGS})
  if(NOT TEST_TIMEOUT)
    set(TEST_TIMEOUT 300)
  endif()
  set_tests_properties(${folder}.${short} PROPERTIES TIMEOUT ${TEST_TIMEOUT} SKIP_RETURN_CODE 77)
endfunction()
