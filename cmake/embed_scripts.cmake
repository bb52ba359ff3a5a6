# Writes each Lua file of a service as `const char SERVICE_FILE_lua[]`.
# Run as a script: -DNAME=service -DFILES=a.lua;b.lua -DOUT=file.c
set(text "")
foreach(file ${FILES})
  get_filename_component(base ${file} NAME_WE)
  file(READ ${file} source HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${source}")
  string(APPEND text "extern const char ${NAME}_${base}_lua[];\nconst char ${NAME}_${base}_lua[] = {${bytes}0};\n")
endforeach()
file(WRITE ${OUT} "${text}")
