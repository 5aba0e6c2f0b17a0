-- Turns the Lua modules and the ABI headers into one C file, at build time.
--
--   luajit embed.lua OUTPUT ABI-HEADER… -- ROOT MODULE.lua… -- ROOT MODULE.lua…
--
-- A module is named by its path below ROOT, which is also its chunk name, so that no path of the
-- machine it was built on is kept. Code is compiled with its line numbers.

local function fail(text)
  io.stderr:write("embed: ", text, "\n")
  os.exit(1)
end

local function read(path)
  local file, message = io.open(path, "rb")
  if not file then fail(message) end
  local text = file:read("*a")
  file:close()
  return text
end

--- Splits the arguments at "--".
local function groups(arguments)
  local list = { {} }
  for _, argument in ipairs(arguments) do
    if argument == "--" then
      list[#list + 1] = {}
    else
      table.insert(list[#list], argument)
    end
  end
  return list
end

local function c_bytes(text)
  local lines = {}
  for position = 1, #text, 20 do
    lines[#lines + 1] = (text:sub(position, position + 19):gsub(".", function(byte)
      return byte:byte() .. ","
    end))
  end
  return table.concat(lines, "\n")
end

local function module_name(path)
  return (path:gsub("%.lua$", ""):gsub("/init$", ""):gsub("/", "."))
end

local function compile(root, path)
  local chunk, message = loadstring(read(root .. "/" .. path), "@" .. path)
  if not chunk then fail(message) end
  return string.dump(chunk)
end

--- The declarations of a header: its directives and `extern "C"` are not for ffi.cdef.
local function declarations(path)
  return (("\n" .. read(path)):gsub("\n%s*#[^\n]*", "\n"))
end

local function main(arguments)
  local lists = groups(arguments)
  local output = table.remove(lists[1], 1)
  local abi, code, rows = {}, {}, {}
  for _, header in ipairs(lists[1]) do abi[#abi + 1] = declarations(header) end
  for i = 2, #lists do
    local root = table.remove(lists[i], 1)
    for _, path in ipairs(lists[i]) do
      local symbol = "code_" .. #rows
      code[#code + 1] = ("static const unsigned char %s[] = {\n%s\n};"):format(
        symbol, c_bytes(compile(root, path)))
      rows[#rows + 1] = ('\t{"%s", "%s", %s, sizeof %s},'):format(module_name(path), path, symbol, symbol)
    end
  end
  local file = assert(io.open(output, "wb"))
  file:write("/* Made by cmake/embed.lua from lua/ and the ABI headers. */\n",
    '#include "script/script_internal.h"\n\n', table.concat(code, "\n\n"),
    "\n\nconst struct embedded_module embedded_modules[] = {\n", table.concat(rows, "\n"), "\n};\n\n",
    "const size_t embedded_module_count = sizeof embedded_modules / sizeof *embedded_modules;\n\n",
    "const char embedded_abi[] = {\n", c_bytes(table.concat(abi, "\n")), "\n0};\n")
  assert(file:close())
end

main(arg)
