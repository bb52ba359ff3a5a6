# Writes each Lua and JSON file of a service as `const char SERVICE_FILE_EXTENSION[]`, NUL-terminated.
# Run as a script: -DNAME=service -DFILES=a.lua;b.json -DOUT=file.c
set(text "")
foreach(file ${FILES})
  get_filename_component(base ${file} NAME_WE)
  get_filename_component(extension ${file} LAST_EXT)
  string(SUBSTRING ${extension} 1 -1 extension)
  file(READ ${file} source HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${source}")
  set(name ${NAME}_${base}_${extension})
  string(APPEND text "extern const char ${name}[];\nconst char ${name}[] = {${bytes}0};\n")
endforeach()
file(WRITE ${OUT} "${text}")
