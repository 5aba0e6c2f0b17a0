std = "luajit"
max_line_length = 110
exclude_files = { "build" }
files["spec"] = { std = "+busted" }
-- The scheduler is what stands behind these two for everybody else.
files["lua/perigee/scheduler.lua"] = { globals = { "coroutine.resume", "coroutine.wrap" } }
