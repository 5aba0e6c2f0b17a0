-- That every critical section of the shared objects has a spec that kills a process at each of its steps.
local uv = require "luv"

local function read(path)
  local file = assert(io.open(path))
  local text = file:read "*a"
  file:close()
  return text
end

--- The texts of a folder's files whose names match.
local function files(folder, pattern)
  local texts, scan = {}, assert(uv.fs_scandir(folder))
  while true do
    local name = uv.fs_scandir_next(scan)
    if not name then return texts end
    if name:find(pattern) then texts[name] = read(folder .. "/" .. name) end
  end
end

--- Names of sections: the only literals with a dot in their midst that are no sentence and no file.
local function sections()
  local list = {}
  for file, text in pairs(files("host/shm", "%.c$")) do
    text = text:gsub("#include[^\n]*", "")
    for name in text:gmatch '"(%l+%.%l+)"' do list[name] = file end
    for name in text:gmatch 'shm_fault_begin%("([^"]+)"' do list[name] = file end
  end
  return list
end

describe("each critical section of the shared objects", function()
  it("is killed at each step by a spec", function()
    local specs = {}
    for name, text in pairs(files("spec/core", "_spec%.lua$")) do
      if text:find("each_step(", 1, true) and name ~= "fault_points_spec.lua" then
        specs[#specs + 1] = text
      end
    end
    specs = table.concat(specs)
    local count, missing = 0, {}
    for name, file in pairs(sections()) do
      count = count + 1
      if not specs:find('"' .. name .. '"', 1, true) then missing[#missing + 1] = name .. " of " .. file end
    end
    table.sort(missing)
    assert.same({}, missing)
    assert.is_true(count >= 48, count)
  end)

  it("has a name that the list above finds", function()
    local known = sections()
    for file, text in pairs(files("host/shm", "%.c$")) do
      for arguments in text:gmatch "\n\t+[^\n]*shm_guard_enter(%b())" do
        local name = arguments:match '"([^"]+)"%)$'
        assert.is_true(known[name] ~= nil or arguments:find ", section%)$" ~= nil, file .. ": " .. arguments)
      end
    end
  end)
end)
