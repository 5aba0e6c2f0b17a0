std = "luajit"
max_line_length = 110
files["spec"] = { std = "+busted" }
files["lua/perigee/scheduler.lua"] = { globals = { "coroutine.resume", "coroutine.wrap" } }
