# perigee_embed(OUTPUT file.c ABI header… ROOT directory MODULES path…): the Lua modules and ABI
# headers as one C file. EXTRA_ROOT and EXTRA_MODULES add modules of a second directory.
find_program(LUAJIT_PROGRAM luajit REQUIRED)

function(perigee_embed)
  cmake_parse_arguments(EMBED "" "OUTPUT;ROOT;EXTRA_ROOT" "ABI;MODULES;EXTRA_MODULES" ${ARGN})
  list(TRANSFORM EMBED_MODULES PREPEND ${EMBED_ROOT}/ OUTPUT_VARIABLE files)
  list(TRANSFORM EMBED_EXTRA_MODULES PREPEND ${EMBED_EXTRA_ROOT}/ OUTPUT_VARIABLE extra_files)
  add_custom_command(
    OUTPUT ${EMBED_OUTPUT}
    COMMAND ${LUAJIT_PROGRAM} ${CMAKE_SOURCE_DIR}/cmake/embed.lua ${EMBED_OUTPUT} ${EMBED_ABI}
      -- ${EMBED_ROOT} ${EMBED_MODULES} -- ${EMBED_EXTRA_ROOT} ${EMBED_EXTRA_MODULES}
    DEPENDS ${CMAKE_SOURCE_DIR}/cmake/embed.lua ${EMBED_ABI} ${files} ${extra_files}
    COMMENT "Embedding the Lua modules"
    VERBATIM)
endfunction()
