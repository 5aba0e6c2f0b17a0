std = "luajit"
max_line_length = 110
exclude_files = { "build" }
files["spec"] = { std = "+busted" }
files["scripts/apps"] = { std = "luajit" }
