# Writes the files of the page as one C file: cmake -DOUT=page_assets.c "-DFILES=a.js|b.css" -P embed.cmake
# A row a file: name, media type, entity tag (of its SHA-256), bytes.
set(type_html "text/html; charset=utf-8")
set(type_css "text/css; charset=utf-8")
set(type_js "text/javascript; charset=utf-8")
set(type_svg "image/svg+xml")
string(REPLACE "|" ";" FILES "${FILES}")
set(arrays "")
set(rows "")
set(number 0)
foreach(file IN LISTS FILES)
  get_filename_component(name "${file}" NAME)
  get_filename_component(ending "${file}" LAST_EXT)
  string(SUBSTRING "${ending}" 1 -1 ending)
  if(NOT DEFINED type_${ending})
    message(FATAL_ERROR "${name}: no media type is known for '.${ending}'")
  endif()
  file(SHA256 "${file}" digest)
  string(SUBSTRING "${digest}" 0 16 digest)
  file(READ "${file}" hex HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
  string(APPEND arrays "static const unsigned char bytes_${number}[] = {${bytes}};\n")
  string(APPEND rows "    {\"${name}\", \"${type_${ending}}\", \"\\\"${digest}\\\"\", bytes_${number}, sizeof(bytes_${number})},\n")
  math(EXPR number "${number} + 1")
endforeach()
file(WRITE "${OUT}" "/* made by daemon/page/embed.cmake: change the files of daemon/page/ instead */
#include \"daemon/page_internal.h\"

${arrays}
const page_asset page_assets[] = {
${rows}};
const size_t page_n_assets = sizeof(page_assets) / sizeof(page_assets[0]);
")
