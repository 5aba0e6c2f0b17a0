--- Running a program to its end.
local uv = require "luv"

--- @param argv list of strings
--- @param env list of "NAME=value", or nil for ours
--- @return text: stdout and stderr as they came; status, -1 when it cannot be started
return function(argv, env)
  local out, err, status = uv.new_pipe(false), uv.new_pipe(false), nil
  local text = {}
  local process = uv.spawn(argv[1], { args = { unpack(argv, 2) }, stdio = { nil, out, err }, env = env },
    function(code) status = code end)
  if not process then return "cannot be started", -1 end
  for _, pipe in ipairs { out, err } do
    pipe:read_start(function(_, chunk)
      if chunk then text[#text + 1] = chunk else pipe:close() end
    end)
  end
  while not status or not out:is_closing() or not err:is_closing() do uv.run "once" end
  process:close()
  return table.concat(text), status
end
