rockspec_format = "3.0"
package = "perigee"
version = "scm-1"
-- For `luarocks make` in a clone, which builds what it stands in and fetches nothing.
source = { url = "file://." }
description = {
  summary = "A Lua-scriptable application host",
  detailed = [[
One binary that runs Lua files as a supervised multi-process application: HTTP handlers in
worker processes, reload without a lost request, state shared across processes.]],
  license = "not chosen yet",
}
dependencies = { "lua == 5.1" }
build = {
  type = "command",
  build_command = "cmake --preset release && cmake --build --preset release",
  install = {
    bin = { perigee = "build/release/perigee" },
  },
}
